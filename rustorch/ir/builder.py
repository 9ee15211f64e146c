"""The only maker of nodes: infers types, numbers values (equal pure nodes become one), tries rules, hoists in loops.

    b = Builder()
    x = b.input(f32["n"], "x")
    y = b.mul(x, b.exp(x))            # any registered op by its name
    graph = b.build((b.reduce_sum(y, axes=(0,)),), "f")

A Python number as operand becomes a constant of the other operands' type. Names that are Python keywords end in `_`
(`b.and_`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np

from rustorch.errors import CompilerBug
from rustorch.ir.graph import Attribute, Graph, Node, Payload, Value
from rustorch.ir.location import UNKNOWN, Location
from rustorch.ir.op import REGISTRY, OpDef
from rustorch.ir.types import BufferType, Type, element

Operand = Value | int | float | bool


class Rewriter(Protocol):
    """Rules to try on a node at emission: a replacement value per result, or None to keep the node."""

    def __call__(self, b: Builder, node: Node) -> Sequence[Value] | None: ...


_NO_ATTRS: Mapping[str, Attribute] = {}
_NUMBERS: dict[tuple[Any, ...], Any] = {}
"""Python numbers rounded to element types: asking numpy takes two microseconds."""


class Builder:
    """Builds one graph, or (with `parent`) a region of one. `rewriter` is tried on every new node."""

    def __init__(self, rewriter: Rewriter | None = None, parent: Builder | None = None, guarded: bool = False) -> None:
        self.rewriter, self.parent, self.guarded = rewriter, parent, guarded
        self.inputs: list[Value] = []
        self.nodes: list[Node] = []
        self.location: Location = UNKNOWN
        self._numbered: dict[tuple[Any, ...], tuple[Value, ...]] = {}
        self._made: dict[Value, Node] = {}
        self._owned: set[Value] = set()
        self._inferred: dict[tuple[Any, ...], Type | tuple[Type, ...]] = {} if parent is None else parent._inferred
        """Result types by op, attributes and operand types."""
        self._fuel = 64

    # --- inputs, constants, the graph ---------------------------------------------------------------------------------

    def input(self, type_: Type, hint: str = "") -> Value:
        """A new input."""
        value = Value(type_, hint)
        self.inputs.append(value)
        self._owned.add(value)
        return value

    def const(self, value: Any, like: Value | Type) -> Value:
        """A constant of the type of `like`: a number (repeated over the whole shape) or an array of that shape."""
        type_ = like.type if isinstance(like, Value) else like
        dtype = element(type_)
        if isinstance(value, np.ndarray) and value.ndim:
            if value.size and (value == value.flat[0]).all() and not np.isnan(value.flat[0]):
                value = value.flat[0].item() if not _is_negative_zero_mix(value) else value
            if isinstance(value, np.ndarray):
                payload = Payload(value.astype(dtype.numpy, copy=False))
                return self.emit(REGISTRY["const"], (), {"value": payload, "type": type_})[0]
        kind = (type(value), value, dtype, math.copysign(1.0, value)) if isinstance(value, (bool, int, float)) else None
        number = _NUMBERS.get(kind) if kind is not None else None
        if number is None:
            with np.errstate(over="ignore"):  # 1e300 is inf in f32
                number = np.asarray(value).astype(dtype.numpy).item()
            if kind is not None:
                if len(_NUMBERS) > 10_000:
                    _NUMBERS.clear()
                _NUMBERS[kind] = number
        return self.emit(REGISTRY["const"], (), {"value": number, "type": type_})[0]

    def build(self, outputs: Sequence[Value], name: str = "main") -> Graph:
        """The finished graph."""
        return Graph(name, tuple(self.inputs), tuple(self.nodes), tuple(outputs))

    def forget(self) -> None:
        """Share no later node with an earlier one: a recorder keeps the values of two equal calls apart, for their gradients."""
        self._numbered.clear()

    def share(self, nodes: dict[tuple[Any, ...], tuple[Value, ...]]) -> dict[tuple[Any, ...], tuple[Value, ...]]:
        """Share later nodes with those of a table, which grows by them, instead of with those so far; gives the table of those."""
        before, self._numbered = self._numbered, nodes
        return before

    def producer(self, value: Value) -> Node | None:
        """The node that made a value, or None for an input."""
        builder: Builder | None = self
        while builder is not None:
            node = builder._made.get(value)
            if node is not None:
                return node
            builder = builder.parent
        return None

    # --- emission -----------------------------------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)
        op = REGISTRY[name.removesuffix("_")]

        def emit(*operands: Operand, **attrs: Attribute) -> Any:
            results = self.emit(op, self._values(op, operands), attrs)
            return results[0] if len(results) == 1 else results

        self.__dict__[name] = emit
        return emit

    def emit(
        self,
        op: OpDef,
        operands: Sequence[Value],
        attrs: Mapping[str, Attribute] | None = None,
        regions: tuple[Graph, ...] = (),
    ) -> tuple[Value, ...]:
        """The results of a new node, or of an equal one that exists, or what a rule makes of it."""
        attrs = attrs or _NO_ATTRS
        operands = tuple(operands)
        if not op.pure or regions:
            made = op.infer(*[v.type for v in operands], **attrs, **({"regions": regions} if regions else {}))
            return self._add(Node(op, operands, attrs, _values_of(made), regions, self.location))
        said = tuple([(k, _exact(v)) for k, v in sorted(attrs.items())]) if attrs else ()
        builder = self if self.parent is None else self._home(operands)
        key = _key(op, operands, said)
        known = builder._numbered.get(key) if builder.parent is None else builder._lookup(key)
        if known is not None:
            return known
        kind = (op.name, said, *[v.type for v in operands])
        types = self._inferred.get(kind)
        if types is None:
            types = self._inferred[kind] = op.infer(*[v.type for v in operands], **attrs)
        node = Node(op, operands, attrs, _values_of(types), (), self.location)
        if builder.rewriter is not None:
            replacement = builder._rewrite(node)
            if replacement is not None:
                builder._numbered[key] = replacement
                return replacement
        builder._numbered[key] = node.results
        return builder._add(node)

    def _add(self, node: Node) -> tuple[Value, ...]:
        self.nodes.append(node)
        for value in node.results:
            self._made[value] = node
            self._owned.add(value)
        return node.results

    @contextmanager
    def at(self, location: Location) -> Iterator[None]:
        """Nodes emitted inside come from `location`."""
        before, self.location = self.location, location
        try:
            yield
        finally:
            self.location = before

    def region(self, guarded: bool = False) -> Builder:
        """A builder for a region inside this graph; it sees the values of this one. Nothing moves out of a guarded one."""
        inner = Builder(self.rewriter, parent=self, guarded=guarded)
        inner.location = self.location
        return inner

    def element(self, value: Value) -> str:
        """The element type of a value, as the IR spells it."""
        return element(value.type).short

    # --- inside ---------------------------------------------------------------------------------------------------------

    def _values(self, op: OpDef, operands: Sequence[Operand]) -> list[Value]:
        if all(isinstance(x, Value) for x in operands):
            return list(operands)  # type: ignore[arg-type]
        type_ = _literal_type(operands)
        if type_ is None:
            raise CompilerBug(f"{op.name}: no operand says the type of the literals {operands}")
        return [x if isinstance(x, Value) else self.const(x, _typed_for(x, type_)) for x in operands]

    def _home(self, operands: tuple[Value, ...]) -> Builder:
        """In a region: the outermost builder that knows all operands (loop-invariant code moves out by construction)."""
        builder = self
        while builder.parent is not None and not builder.guarded and not any(v in builder._owned for v in operands):
            builder = builder.parent
        return builder

    def _lookup(self, key: tuple[Any, ...]) -> tuple[Value, ...] | None:
        builder: Builder | None = self
        while builder is not None:
            known = builder._numbered.get(key)
            if known is not None:
                return known
            builder = builder.parent
        return None

    def _rewrite(self, node: Node) -> tuple[Value, ...] | None:
        if self.rewriter is None or self._fuel <= 0:
            return None
        self._fuel -= 1
        before, self.location = self.location, node.location
        try:
            replacement = self.rewriter(self, node)
        finally:
            self.location = before
            self._fuel += 1
        return None if replacement is None else tuple(replacement)


def _key(op: OpDef, operands: tuple[Value, ...], said: tuple[Any, ...]) -> tuple[Any, ...]:
    if op.commutative and len(operands) == 2:
        x, y = map(id, operands)
        return (op.name, x, y, said) if x <= y else (op.name, y, x, said)
    return (op.name, *map(id, operands), said)


def _values_of(types: Type | tuple[Type, ...]) -> tuple[Value, ...]:
    return tuple([Value(t) for t in types]) if isinstance(types, tuple) else (Value(types),)


def _exact(attribute: Attribute) -> Any:
    """A hashable key that tells 1, 1.0, True, 0.0 and -0.0 apart, and NaN equal to itself."""
    if isinstance(attribute, float):
        return ("float", attribute.hex())
    if isinstance(attribute, (bool, int)):
        return (type(attribute).__name__, attribute)
    if isinstance(attribute, tuple):
        return tuple(map(_exact, attribute))
    return attribute


def _literal_type(operands: Sequence[Operand]) -> Type | None:
    """The type for literals: that of the last non-bool operand, else of any."""
    types = [x.type for x in operands if isinstance(x, Value) and not isinstance(x.type, BufferType)]
    if not types:
        return None
    return next((t for t in reversed(types) if element(t).kind != "bool"), types[-1])


def _typed_for(literal: int | float | bool, type_: Type) -> Type:
    if isinstance(literal, bool) and element(type_).kind != "bool":
        raise CompilerBug(f"literal {literal} for a value of type {type_}")
    return type_


def _is_negative_zero_mix(array: np.ndarray[Any, Any]) -> bool:
    return array.dtype.kind == "f" and bool((array == 0).all()) and len(set(np.signbit(array).flat)) > 1
