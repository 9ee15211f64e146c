"""A `Function` that was applied, as one recorded operation: its results are what its forward made, with a derivative of their own.

The operation is a node `custom` without regions, so that gradients do not pass it by themselves: a backward pass stops there
(`walk.py`) and calls what stands in `segment.packed` for it. Where a traced function ends, regions are put in (`stated.py`), and from
then on the derivative is part of the graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from rustorch.frontend.segment import Building, Key, Primitive
from rustorch.ir.graph import Graph, Value
from rustorch.ir.op import REGISTRY


class Application(Protocol):
    """The Python side of an operation `APPLIED`."""

    def pull(self, cotangents: Sequence[Any], create: bool) -> list[Any]:
        """The gradient, or None, of each input that requires one, given those (or None) of the results."""

    def regions(self, trace: Any, node: Any) -> Stated:
        """The derivative as graphs, for the end of a trace."""

    def free(self) -> None:
        """Let go of what was saved."""


class Stated:
    """Regions for a node `custom`: which rules they are, and the further values that they read."""

    def __init__(self, rules: Sequence[str], regions: Sequence[Graph], read: Sequence[Value]) -> None:
        self.rules, self.regions, self.read = tuple(rules), tuple(regions), tuple(read)


class Applied(Primitive):
    """Its key: the Function's name; numbers of the inputs that require gradients; of what its forward made; whether it saved values;
    why there is no derivative, or "" where there is one."""

    name = "function"
    plural = True

    def build(self, building: Building, key: Key) -> tuple[Value, ...]:
        _, name, inputs, made, saves, refusal = key
        b = building.b
        attrs: dict[str, Any] = {"name": name, "inputs": len(inputs), "results": len(made)}
        attrs |= {} if saves else {"saves": False}
        attrs |= {"refusal": refusal} if refusal else {}
        results: tuple[Value, ...] = b.emit(REGISTRY["custom"], building.values((*inputs, *made)), attrs)
        return results

    def operands(self, key: Key) -> list[int]:
        return [*key[2], *key[3]]

    def require(self, building: Building, key: Key, results: Sequence[Value]) -> list[bool]:
        return [building.mode and any(building.grads[n] for n in key[2])] * len(results)


APPLIED = Applied()
