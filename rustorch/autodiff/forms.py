"""What both directions of differentiation ask of an op and of a value."""

from __future__ import annotations

from typing import Any

from rustorch.errors import CompilerBug, GradError, compose
from rustorch.ir.builder import Builder
from rustorch.ir.dtypes import FLOATS
from rustorch.ir.graph import Graph, Node, Value
from rustorch.ir.op import Linear, Multilinear, NotDifferentiable, Stated
from rustorch.ir.printer import attribute_text
from rustorch.ir.rewrite import expansion
from rustorch.ir.types import element

CUT = "detach"
"""The op that ends every path: its operand is not reached, where other ops of derivative zero reach theirs with zeros."""


def carries(value: Value) -> bool:
    """Whether tangents and cotangents exist for a value: for floating-point ones only."""
    return element(value.type) in FLOATS


def is_followed(node: Node, index: int) -> bool:
    """Whether operand `index` is one that the op's derivative speaks of."""
    if node.op.name == CUT or not carries(node.operands[index]):
        return False
    form = node.op.derivative
    if isinstance(form, Stated):
        return index < node.attrs["inputs"] and bool(node.regions or node.attrs.get("refusal"))
    if isinstance(form, (Linear, Multilinear)) and form.transposes:
        return not isinstance(form.transposes[index], NotDifferentiable)
    return True


def is_led(node: Node, index: int) -> bool:
    """Whether gradients pass from operand `index`: by the op's derivative, or led around the node by the front end."""
    if isinstance(node.op.derivative, Stated):
        return index < node.attrs["inputs"] and carries(node.operands[index])
    return is_followed(node, index)


def no_derivative(node: Node, why: str) -> GradError:
    """The error for asking the derivative of an op that has none."""
    at = str(node.location) if node.location.line else ""
    return GradError(compose(f"{node.op.name} has no derivative", why, at=at, todo="Detach its operand where no gradient is wanted."))


def scaled(b: Builder, x: Value, partial: Value | float) -> Value:
    """`x * partial`; nothing is emitted for 1, and a negation for -1."""
    number = partial if not isinstance(partial, Value) else _splat(b, partial)
    if number == 1:
        return x
    product: Value = b.neg(x) if number == -1 else b.mul(x, partial)
    return product


def _splat(b: Builder, value: Value) -> Any:
    """The number that a constant repeats, or None."""
    node = b.producer(value)
    return node.attrs["value"] if node is not None and node.op.name == "const" else None


class Expansions:
    """The expansions met on one walk, each made once."""

    def __init__(self) -> None:
        self._made: dict[tuple[Any, ...], Graph] = {}

    def of(self, node: Node) -> Graph:
        """The definition by other ops that stands for a node."""
        attrs = tuple((name, attribute_text(value)) for name, value in node.attrs.items())
        key = (node.op.name, tuple(v.type for v in node.operands), attrs)
        graph = self._made.get(key)
        if graph is None:
            made = expansion(node)
            if made is None:
                raise CompilerBug(f"{node.op.name} takes its derivative from an expansion that it lacks for {key[1]}")
            graph = self._made[key] = made
        return graph
