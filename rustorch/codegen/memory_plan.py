"""Where every value in memory lives: an input, an output, a constant, or a place in the one arena of the graph.

Places are given in the order of the steps, best fit first, and given back after the last step that reads them. Symbolic
sizes are laid out one after the other without sharing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rustorch.codegen.views import tensor
from rustorch.ir.dims import Dim, Size
from rustorch.ir.graph import Graph, Value

ALIGNMENT = 64


@dataclass(frozen=True)
class Place:
    """`kind` is input, output or constant (then `index` counts them), or arena (then `offset` is in bytes)."""

    kind: str
    index: int = 0
    offset: Size = 0

    def __str__(self) -> str:
        return f"arena+{self.offset}" if self.kind == "arena" else f"{self.kind} {self.index}"


@dataclass
class MemoryPlan:
    """Places of the values in memory, and the size of the arena in bytes."""

    places: dict[Value, Place]
    arena_bytes: Size = 0
    live_bytes: Size = 0
    """The largest sum of arena values that are alive at one step (a bound on how small the arena could be)."""
    lifetimes: dict[Value, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Use:
    """One step's memory: what it writes first, what it touches, and the scratch bytes of its own."""

    touches: tuple[Value, ...]
    scratch: tuple[Size, ...] = ()


def align(size: Size) -> Size:
    """The size rounded up to the alignment of places."""
    if isinstance(size, Dim):
        return (size + (ALIGNMENT - 1)) // ALIGNMENT * ALIGNMENT
    return -(-size // ALIGNMENT) * ALIGNMENT


def value_bytes(value: Value) -> Size:
    """Bytes of a tensor value in memory."""
    type_ = tensor(value)
    return type_.size * type_.dtype.itemsize


def plan_memory(
    graph: Graph, outputs: Sequence[Value], constants: Iterable[Value], uses: Sequence[Use]
) -> tuple[MemoryPlan, list[list[Size]]]:
    """Places for all values that the steps touch, and for each step the offsets of its scratch."""
    places: dict[Value, Place] = {value: Place("input", k) for k, value in enumerate(graph.inputs)}
    places.update({value: Place("constant", k) for k, value in enumerate(constants)})
    places.update({value: Place("output", k) for k, value in enumerate(outputs)})
    plan = MemoryPlan(places)
    first: dict[Value, int] = {}
    last: dict[Value, int] = {}
    for number, use in enumerate(uses):
        for value in use.touches:
            if value not in places:
                first.setdefault(value, number)
                last[value] = number
    arena = _Arena()
    scratch: list[list[Size]] = []
    for number, use in enumerate(uses):
        for value in use.touches:
            if first.get(value) == number and value not in places:
                places[value] = Place("arena", offset=arena.take(align(value_bytes(value))))
                plan.lifetimes[value] = (number, last[value])
        taken = [(arena.take(align(size)), align(size)) for size in use.scratch]
        scratch.append([offset for offset, _ in taken])
        for offset, size in taken:
            arena.give(offset, size)
        for value in dict.fromkeys(use.touches):
            if last.get(value) == number:
                arena.give(places[value].offset, align(value_bytes(value)))
    plan.arena_bytes, plan.live_bytes = arena.size, arena.peak
    return plan, scratch


class _Arena:
    def __init__(self) -> None:
        self.size: Size = 0
        self.peak: Size = 0
        self._live: Size = 0
        self._free: list[tuple[int, int]] = []

    def take(self, size: Size) -> Size:
        """The offset of a place of `size` bytes."""
        self._live = self._live + size
        if isinstance(self._live, int):
            self.peak = max(self.peak, self._live) if isinstance(self.peak, int) else self.peak
        else:
            self.peak = self._live
        if isinstance(size, int):
            fitting = [(length, start) for start, length in self._free if length >= size]
            if fitting:
                length, start = min(fitting)
                self._free.remove((start, length))
                if length > size:
                    self._free.append((start + size, length - size))
                return start
            if isinstance(self.size, int):
                at_end = [(start, length) for start, length in self._free if start + length == self.size]
                if at_end:  # grow the free place at the end
                    self._free.remove(at_end[0])
                    self.size = at_end[0][0] + size
                    return at_end[0][0]
        offset = self.size
        self.size = self.size + size
        return offset

    def give(self, offset: Size, size: Size) -> None:
        """Free a place; symbolic places stay."""
        self._live = self._live - size
        if not isinstance(offset, int) or not isinstance(size, int):
            return
        start, end = offset, offset + size
        kept: list[tuple[int, int]] = []
        for other, length in self._free:
            if other + length == start:
                start = other
            elif other == end:
                end = other + length
            else:
                kept.append((other, length))
        self._free = [*kept, (start, end - start)]
