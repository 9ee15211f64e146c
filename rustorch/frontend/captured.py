"""What a function that is traced changes outside: counters, lists, attributes. It happens once for each program, not in each call.

Looked at are the function's free variables, the globals that it names, the object that it is a method of, and static arguments: which
object each is, and what a container or an object of the user's holds, one level deep.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from types import CodeType, FunctionType, ModuleType
from typing import Any

from rustorch.frontend.base import TensorBase

LARGEST = 1000
"""Containers with more parts are not looked into."""

Contents = tuple[Any, ...]


class Captured:
    """What there was when it was made."""

    def __init__(self, function: Any, others: Mapping[str, Any]) -> None:
        self.function, self.others = function, others
        self._before = {name: (x, contents(x)) for name, x in self._variables()}

    def changed(self) -> list[str]:
        """Names of what is not as it was."""
        now = dict(self._variables())
        missing = object()
        found = []
        for name, (x, held) in self._before.items():
            new = now.get(name, missing)
            if new is not x or not _same(held, contents(new)):
                found.append(name)
        return found

    def _variables(self) -> Iterator[tuple[str, Any]]:
        yield from self.others.items()
        for function in _wrapped(self.function):
            if not isinstance(function, FunctionType):
                continue
            for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
                try:
                    yield name, cell.cell_contents
                except ValueError:  # not assigned yet
                    continue
            for name in dict.fromkeys(_names(function.__code__)):
                if name in function.__globals__:
                    yield name, function.__globals__[name]


def _wrapped(function: Any) -> Iterator[Any]:
    """A function, and those that transforms have wrapped."""
    for _ in range(20):
        owner = getattr(function, "__func__", function)
        yield owner
        following = getattr(owner, "__wrapped__", None)
        if following is None:
            return
        function = following


def _names(code: CodeType) -> Iterator[str]:
    """Names that a function or one inside it reads or writes by name."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def contents(x: Any) -> Contents | None:
    """The parts of a container, or of an object of a class of the user's; None for anything else."""
    parts: Iterable[Any]
    if isinstance(x, dict):
        parts = [part for item in x.items() for part in item] if len(x) <= LARGEST else ()
    elif isinstance(x, (list, set, deque)):
        parts = x if len(x) <= LARGEST else ()
    elif is_users(x):
        parts = [part for item in vars(x).items() for part in item]
    else:
        return None
    return tuple(parts)


def is_users(x: Any) -> bool:
    """Whether an object of a class of the user's can hold attributes that a program depends on."""
    if isinstance(x, (type, ModuleType, FunctionType, TensorBase)) or not hasattr(x, "__dict__"):
        return False
    return not str(type(x).__module__).startswith(("rustorch", "builtins", "functools"))


def _same(before: Contents | None, after: Contents | None) -> bool:
    if before is None or after is None:
        return before is after
    return len(before) == len(after) and all(x is y for x, y in zip(before, after, strict=True))


class Attributes:
    """The attributes of static arguments when a program was made for them: it holds as long as they are the same."""

    def __init__(self, objects: Iterable[Any]) -> None:
        self._seen = [(x, contents(x)) for x in objects if is_users(x)]

    def hold(self) -> bool:
        """Whether they are."""
        return all(_same(seen, contents(x)) for x, seen in self._seen)
