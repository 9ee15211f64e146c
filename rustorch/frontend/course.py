"""In which order a backward pass comes to the values of a segment, and to which of them it comes.

The order is PyTorch's: of the operations whose results have their whole gradient, the one that was recorded last runs next, so
operations run in the reverse order of recording; a leaf has its gradient as soon as the first recorded of its readers has run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rustorch.autodiff.forms import is_led
from rustorch.frontend.history import flow_back, saves
from rustorch.frontend.segment import Building, Primitive, value_of
from rustorch.frontend.trace import Trace


@dataclass(frozen=True)
class Course:
    """The way of gradients through one segment."""

    reached: frozenset[int]
    """Numbers whose gradient flows on to one that is wanted, or is wanted itself."""
    runs: frozenset[int]
    """Operations that gradients pass, each by the number of its first result."""
    ready: dict[int, int]
    """For each wanted number with readers, the operation that is the last to add to its gradient."""
    bits: int
    """Operations that need values of the forward pass (bits, by the number of their first result)."""


def course(segment: Any, roots: Sequence[int], wanted: Sequence[int]) -> Course:
    """The way from `roots` to `wanted`; remembered with the program that the segment is."""
    memo = {} if isinstance(segment, Trace) else segment.at.memo
    key = ("course", tuple(roots), tuple(wanted))
    known: Course | None = memo.get(key)
    if known is None:
        known = memo[key] = _course(building_of(segment), roots, wanted)
    return known


def building_of(segment: Any) -> Building:
    """The graph of a segment, open or closed."""
    found: Building = segment.building if isinstance(segment, Trace) else segment.building()
    return found


def _course(building: Building, roots: Sequence[int], wanted: Sequence[int]) -> Course:
    sources = building.values(wanted)
    nodes = building.b.nodes[: building.places[max(roots)]] if roots else []
    active, path = flow_back(nodes, sources)
    reached = {v for v in building.values(roots) if v in active}
    number_of = {v: n for n, v in zip(wanted, sources, strict=True)}
    runs: set[int] = set()
    ready: dict[int, int] = {}
    bits = 0
    for place in reversed(path):
        node = nodes[place]
        if not any(v in reached for v in node.results):
            continue
        first = building.first_of(place)
        runs.add(first)
        if saves(node):
            bits |= 1 << first
        for index, value in enumerate(node.operands):
            if value in active and is_led(node, index):
                reached.add(value)
                if value in number_of:
                    ready[number_of[value]] = first
    numbers = frozenset(n for n, x in enumerate(building.ir) if value_of(x) in reached)
    return Course(numbers, frozenset(runs), ready, bits)


@dataclass(frozen=True)
class Spot:
    """An operation of a segment."""

    operation: Primitive
    key: tuple[Any, ...]
    first: int
    """The number of its first result."""
    count: int
    """Of its results."""


def operation_at(segment: Any, number: int) -> Spot:
    """The operation that gave a value."""
    if isinstance(segment, Trace):
        made = segment.building.made
        same = made[number]
        first = end = number
        while first > 0 and made[first - 1] is same:
            first -= 1
        while end < len(made) and made[end] is same:
            end += 1
        return Spot(*same, first, end - first)
    end = 0
    for step in segment.at.path():
        end += len(step.types)
        if number < end:
            assert step.operation is not None
            return Spot(step.operation, step.key, end - len(step.types), len(step.types))
    raise IndexError(number)
