"""Nested containers and flat lists: tuples, lists, dicts (in their own order), named tuples and dataclasses.

A leaf is anything else. `None` is structure. `register` adds a class.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Iterator
from typing import Any

from rustorch.errors import ArgumentError, compose

Parts = tuple[list[Any], Hashable]
_registered: dict[type, tuple[Callable[[Any], Parts], Callable[[Hashable, list[Any]], Any]]] = {}


def register(cls: type, take_apart: Callable[[Any], Parts], put_together: Callable[[Hashable, list[Any]], Any]) -> None:
    """Make a class a container: `take_apart(x)` gives its children and what else it is; `put_together` is the way back."""
    _registered[cls] = (take_apart, put_together)


class Structure:
    """The shape of a nested container: a kind, what belongs to it, and the structures of its children. A leaf has kind "leaf"."""

    __slots__ = ("kind", "more", "children", "leaves", "_hash")

    def __init__(self, kind: Any, more: Hashable = None, children: tuple[Structure, ...] = ()) -> None:
        self.kind, self.more, self.children = kind, more, children
        self.leaves: int = 1 if kind == "leaf" else sum(c.leaves for c in children)
        self._hash = hash((kind, more, children))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Structure)
            and self._hash == other._hash
            and (self.kind, self.more, self.children) == (other.kind, other.more, other.children)
        )

    def __repr__(self) -> str:
        if self.kind == "leaf":
            return "*"
        name = self.kind if isinstance(self.kind, str) else self.kind.__name__
        return f"{name}({', '.join(map(repr, self.children))})"


LEAF = Structure("leaf")
NONE = Structure("none")


def flatten(x: Any) -> tuple[list[Any], Structure]:
    """The leaves of a container, and its structure."""
    leaves: list[Any] = []
    return leaves, _flatten(x, leaves)


def _flatten(x: Any, leaves: list[Any]) -> Structure:
    cls = type(x)
    if x is None:
        return NONE
    if cls is tuple or cls is list:
        return Structure(cls.__name__, None, tuple([_flatten(v, leaves) for v in x]))
    if cls is dict:
        return Structure("dict", tuple(x), tuple([_flatten(v, leaves) for v in x.values()]))
    parts = _parts(x)
    if parts is None:
        leaves.append(x)
        return LEAF
    children, more = parts
    return Structure(cls, more, tuple([_flatten(v, leaves) for v in children]))


def _parts(x: Any) -> Parts | None:
    cls = type(x)
    known = _registered.get(cls)
    if known is not None:
        return known[0](x)
    if isinstance(x, tuple) and hasattr(cls, "_fields"):
        return list(x), None
    if isinstance(x, dict):
        return list(x.values()), tuple(x)
    if dataclasses.is_dataclass(x) and not isinstance(x, type):
        names = tuple(f.name for f in dataclasses.fields(x))
        return [getattr(x, n) for n in names], names
    return None


def unflatten(structure: Structure, leaves: Any) -> Any:
    """The container of a structure with these leaves."""
    return _build(structure, iter(leaves))


def _build(structure: Structure, leaves: Iterator[Any]) -> Any:
    kind = structure.kind
    if kind == "leaf":
        return next(leaves)
    if kind == "none":
        return None
    children = [_build(c, leaves) for c in structure.children]
    if kind == "tuple":
        return tuple(children)
    if kind == "list":
        return children
    if kind == "dict":
        return dict(zip(structure.more, children, strict=True))  # type: ignore[call-overload]
    known = _registered.get(kind)
    if known is not None:
        return known[1](structure.more, children)
    if issubclass(kind, tuple):
        return kind(*children)
    if issubclass(kind, dict):
        return kind(zip(structure.more, children, strict=True))  # type: ignore[call-overload]
    made = object.__new__(kind)
    for name, child in zip(structure.more, children, strict=True):  # type: ignore[call-overload]
        object.__setattr__(made, name, child)
    return made


def map_leaves(function: Callable[[Any], Any], x: Any) -> Any:
    """The container with `function` applied to every leaf."""
    leaves, structure = flatten(x)
    return unflatten(structure, [function(v) for v in leaves])


def same_structure(x: Structure, y: Structure, what: str) -> None:
    """Refuse two structures that differ."""
    if x != y:
        raise ArgumentError(compose(f"{what}: the containers differ", f"{x!r} and {y!r}"))
