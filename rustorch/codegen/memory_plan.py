"""Where every value in memory lives: an input, an output, a constant, or a place in the one arena of the graph.

Values whose lives do not meet may share bytes, and so may what a step writes and what it reads for the last time, where it goes
element by element. They are placed one after the other, each as low as those that live at the same
time allow: large ones first (Pisarchyk & Lee, Efficient Memory Management for Deep Neural Net Inference, 2020, "greedy by
size"), in the order of the steps, or long lives first, whichever needs the smallest arena. Symbolic sizes lie behind them and
share among equals.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from rustorch.codegen.views import tensor
from rustorch.ir.dims import Dim, Size
from rustorch.ir.graph import Graph, Value

ALIGNMENT = 64
MANY = 1000
"""So many values and scratches are placed with more care than time allows for longer lists."""


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
    """The largest sum of arena values that are alive at one step: no arena could be smaller."""
    lifetimes: dict[Value, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Use:
    """One step's memory: what it writes first, what it touches, and the scratch bytes of its own."""

    touches: tuple[Value, ...]
    scratch: tuple[Size, ...] = ()
    reused: tuple[tuple[Value, Value], ...] = ()
    """Pairs of values of one size, of which the first may take the place of the second where that is last touched here."""


def align(size: Size) -> Size:
    """The size rounded up to the alignment of places."""
    if isinstance(size, Dim):
        return (size + (ALIGNMENT - 1)) // ALIGNMENT * ALIGNMENT
    return -(-size // ALIGNMENT) * ALIGNMENT


def value_bytes(value: Value) -> Size:
    """Bytes of a tensor value in memory."""
    type_ = tensor(value)
    return type_.size * type_.dtype.itemsize


@dataclass(eq=False)
class _Piece:
    """Bytes of the arena that one value or one step's scratch needs from step `first` to step `last`."""

    size: Size
    first: int
    last: int
    offset: Size = 0


def plan_memory(
    graph: Graph, outputs: Sequence[Value], constants: Iterable[Value], uses: Sequence[Use]
) -> tuple[MemoryPlan, list[list[Size]]]:
    """Places for all values that the steps touch, and for each step the offsets of its scratch."""
    places: dict[Value, Place] = {value: Place("input", k) for k, value in enumerate(graph.inputs)}
    places.update({value: Place("constant", k) for k, value in enumerate(constants)})
    places.update({value: Place("output", k) for k, value in enumerate(outputs)})
    pieces: dict[Value, _Piece] = {}
    for number, use in enumerate(uses):
        for value in use.touches:
            if value not in places:
                pieces.setdefault(value, _Piece(align(value_bytes(value)), number, number)).last = number
    lifetimes = {value: (piece.first, piece.last) for value, piece in pieces.items()}
    for number, use in enumerate(uses):
        for new, old in use.reused:
            if new in pieces and old in pieces and lifetimes[new][0] == number == lifetimes[old][1] == pieces[old].last:
                pieces[old].last = lifetimes[new][1]
                pieces[new] = pieces[old]
                break
    scratch = [[_Piece(align(size), number, number) for size in use.scratch] for number, use in enumerate(uses)]
    everything = [*dict.fromkeys(pieces.values()), *(piece for own in scratch for piece in own)]
    alive = _most_alive(everything, len(uses))
    end: Size = _place_known([p for p in everything if isinstance(p.size, int)], alive)
    end = _place_symbolic([p for p in everything if not isinstance(p.size, int)], end)
    places.update({value: Place("arena", offset=piece.offset) for value, piece in pieces.items()})
    return MemoryPlan(places, end, alive, lifetimes), [[p.offset for p in own] for own in scratch]


def _place_known(pieces: Sequence[_Piece], enough: Size) -> int:
    """Place the pieces in the order that needs least, or the first that needs no more than `enough`; gives the end of the last.

    That takes time with the square of their number, so many pieces are placed as they come instead.
    """
    if len(pieces) > MANY:
        return _as_they_come(pieces)
    orders: list[Callable[[_Piece], tuple[int, int]]] = [
        lambda p: (-_bytes(p), p.first),
        lambda p: (p.first, -_bytes(p)),
        lambda p: (p.first - p.last, -_bytes(p)),
    ]
    end, offsets = _lowest(sorted(pieces, key=orders[0]))
    for order in orders[1:]:
        if end == enough:
            break
        end, offsets = min((end, offsets), _lowest(sorted(pieces, key=order)), key=lambda found: found[0])
    for piece, offset in offsets.items():
        piece.offset = offset
    return end


def _lowest(pieces: Sequence[_Piece]) -> tuple[int, dict[_Piece, int]]:
    """Each piece in turn in the lowest gap between those that it meets: the end of the last, and all offsets."""
    end = 0
    offsets: dict[_Piece, int] = {}
    placed: list[tuple[int, int, int, int]] = []
    """Start and end in bytes, first and last step, in order of start."""
    for piece in pieces:
        start, size, first, last = 0, _bytes(piece), piece.first, piece.last
        for low, high, begins, ends in placed:
            if low >= start + size:
                break
            if high > start and begins <= last and first <= ends:
                start = high
        offsets[piece] = start
        end = max(end, start + size)
        bisect.insort(placed, (start, start + size, first, last))
    return end, offsets


def _as_they_come(pieces: Sequence[_Piece]) -> int:
    """Place the pieces step by step, each in the smallest gap that takes it; gives the end of the last. n log n."""
    ends = sorted(pieces, key=lambda p: p.last)
    gaps: list[tuple[int, int]] = []
    """Size and start of each gap, in order."""
    sizes: dict[int, int] = {}
    """Size of each gap by its start, and start by its end."""
    starts: dict[int, int] = {}
    end = top = freed = 0

    def close(start: int, size: int) -> None:
        gaps.pop(bisect.bisect_left(gaps, (size, start)))
        del sizes[start], starts[start + size]

    def open_(start: int, size: int) -> None:
        bisect.insort(gaps, (size, start))
        sizes[start], starts[start + size] = size, start

    for piece in sorted(pieces, key=lambda p: (p.first, -_bytes(p))):
        while ends[freed].last < piece.first:
            start, size = _integer(ends[freed].offset), _bytes(ends[freed])
            freed += 1
            if start + size in sizes:  # the gap behind
                behind = sizes[start + size]
                close(start + size, behind)
                size += behind
            if start in starts:  # the gap before
                before = starts[start]
                size += start - before
                close(before, start - before)
                start = before
            if start + size == end:
                end = start
            elif size:
                open_(start, size)
        need = _bytes(piece)
        found = bisect.bisect_left(gaps, (need, 0))
        if need and found < len(gaps):
            size, start = gaps[found]
            close(start, size)
            if size > need:
                open_(start + need, size - need)
            piece.offset = start
        else:
            piece.offset = end
            end += need
        top = max(top, end)
    return top


def _integer(size: Size) -> int:
    assert isinstance(size, int)
    return size


def _bytes(piece: _Piece) -> int:
    assert isinstance(piece.size, int)
    return piece.size


def _place_symbolic(pieces: Sequence[_Piece], start: Size) -> Size:
    """Place the pieces from `start` on; a piece takes the place of one of equal size whose life is over."""
    end = start
    over: dict[Size, list[_Piece]] = {}
    """For each size, the last piece of each place."""
    for piece in sorted(pieces, key=lambda p: p.first):
        known = over.setdefault(piece.size, [])
        before = next((other for other in known if other.last < piece.first), None)
        if before is not None:
            known.remove(before)
            piece.offset = before.offset
        else:
            piece.offset = end
            end = end + piece.size
        known.append(piece)
    return end


def _most_alive(pieces: Sequence[_Piece], steps: int) -> Size:
    """The largest sum of sizes alive at one step; symbolic ones, which cannot be compared, count as if all were."""
    change = [0] * (steps + 1)
    symbolic: Size = 0
    for piece in pieces:
        if isinstance(piece.size, int):
            change[piece.first] += piece.size
            change[piece.last + 1] -= piece.size
        else:
            symbolic = symbolic + piece.size
    return max(accumulate(change)) + symbolic
