"""Which values of a program a derivative needs: what a graph saves, and `backward` gives up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rustorch.autodiff.forms import is_led
from rustorch.frontend.segment import Building
from rustorch.ir.graph import Node, Value
from rustorch.ir.op import Linear, Stated, Zero


def used_history(building: Building, roots: Sequence[int], wanted: Sequence[int]) -> int:
    """Bits of the numbers on the way from `wanted` to `roots` whose operations need values of the forward pass."""
    return history_of(building, roots, wanted)[0]


def history_of(building: Building, roots: Sequence[int], wanted: Sequence[int]) -> tuple[int, tuple[int, ...]]:
    """As `used_history`, and those of `wanted` from which a way leads to `roots`."""
    sources = building.values(wanted)
    nodes = building.b.nodes[: building.places[max(roots)]] if roots else []
    _, path = flow_back(nodes, sources)
    needed = set(building.values(roots))
    bits = 0
    for place in reversed(path):
        node = nodes[place]
        if not any(v in needed for v in node.results):
            continue
        needed.update(node.operands)
        if saves(node):
            bits |= 1 << building.first_of(place)
    return bits, tuple(n for n, v in zip(wanted, sources, strict=True) if v in needed)


def differentiable(nodes: Sequence[Node], sources: Iterable[Value]) -> set[Value]:
    """The values from which gradients flow back to any of `sources`, those included."""
    return flow_back(nodes, sources)[0]


def flow_back(nodes: Sequence[Node], sources: Iterable[Value]) -> tuple[set[Value], list[int]]:
    """As `differentiable`, and the places of the nodes that gradients pass on their way, in order."""
    active = set(sources)
    path: list[int] = []
    for place, node in enumerate(nodes):
        if any(v in active and is_led(node, i) for i, v in enumerate(node.operands)):
            active.update(node.results)
            path.append(place)
    return active, path


def saves(node: Node) -> bool:
    """Whether the derivative of a node reads values of the forward pass."""
    if isinstance(node.op.derivative, Stated):
        return bool(node.attrs.get("saves", True))
    return not isinstance(node.op.derivative, (Linear, Zero))
