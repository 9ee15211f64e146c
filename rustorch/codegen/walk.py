"""How the elements of a reduction are walked: runs, blocks, pieces and segments. Note [The tree of a reduction] says why.

    run       the elements along the last reduced axes (those with no kept axis between them), at one index of the other reduced ones
    block     what is added up on one set of accumulators: several short runs, or at most `block` elements of a long one
    piece     what a block takes of one run
    segment   what a piece takes of the innermost axis, where the axes of a run lie apart in some operand's memory
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rustorch.codegen.loops import Index, LoopEmitter
from rustorch.ir.builder import Builder
from rustorch.ir.dims import Size, product
from rustorch.ir.graph import Value

Values = list[Value]
Place = dict[int, Index]
"""Where the loops stand: an index for each axis of the space."""


@dataclass(frozen=True)
class Segment:
    """`count` elements of the innermost axis from `start` on, at `place` on the other reduced axes."""

    place: Place
    start: Index
    count: Index
    behind: Index
    """Elements of the piece before these."""


Piece = Callable[[Builder, Place, Index, Index, Values], Values]
"""What is done with a piece: the index of its run, its start and the number of its elements, carried values."""
Each = Callable[[Builder, Segment, Values], Values]


class Walk:
    """The reduced axes of a kernel's space."""

    def __init__(self, emitter: LoopEmitter, shape: Sequence[Size], reduced: frozenset[int], block: int | None) -> None:
        """`block` is None where no order has to be kept: then one block takes everything."""
        self.emitter, self.shape, self.block = emitter, shape, block
        self.axes = sorted(reduced)
        self.outer, self.group = _runs(reduced)
        self.runs, self.length = (product(tuple(shape[k] for k in axes)) for axes in (self.outer, self.group))

    @property
    def inner(self) -> Size:
        """The size of the innermost axis."""
        return self.shape[self.axes[-1]]

    @property
    def is_one_block(self) -> bool:
        """Whether a single block is known to be enough."""
        if self.block is None:
            return True
        if not (isinstance(self.length, int) and isinstance(self.runs, int)):
            return False
        return self.length * self.runs == 0 or self.runs <= self.block // self.length

    def blocks(self, b: Builder) -> Index:
        """The number of blocks."""
        chunk = self._runs_together(b)
        chunks = self.emitter.ceiling(b, self.emitter.size(self.runs), chunk)
        return self.emitter.mul(b, chunks, self._pieces(b))

    def pieces(self, b: Builder, block: Index, carried: Values, piece: Piece) -> Values:
        """Call `piece` with the index of a run, the start and the number of elements, for all pieces of block number `block`."""
        emitter, length = self.emitter, self.emitter.size(self.length)
        pieces = self._pieces(b)
        chunk, part = (0, block) if self.runs == 1 else self._divided(b, block, pieces)
        start: Index = 0
        count: Index = length
        if self.block is not None and pieces != 1:
            start = emitter.mul(b, part, self.block)
            whole = isinstance(length, int) and length % self.block == 0
            count = self.block if whole else emitter.least(b, emitter.sub(b, length, start), self.block)
        together = self._runs_together(b)
        first = emitter.mul(b, chunk, together)
        end = emitter.least(b, emitter.add(b, first, together), emitter.size(self.runs))
        return emitter.loop(b, first, end, 1, carried, lambda c, q, values: piece(c, self.place(c, q, self.outer), start, count, values))

    def segments(self, b: Builder, start: Index, count: Index, carried: Values, each: Each) -> Values:
        """Call `each` with the segments of a piece of `count` elements from `start` on."""
        emitter = self.emitter
        if len(self.group) == 1:
            return each(b, Segment({}, start, count, 0), carried)
        size = emitter.size(self.inner)
        end = emitter.add(b, start, count)
        first, within = self._divided(b, start, size)
        everything = start == 0 and count == emitter.size(self.length)
        if self.block is not None and isinstance(size, int) and size % self.block == 0 and not everything:
            return each(b, Segment(self.place(b, first, self.group[:-1]), within, count, 0), carried)
        last = self.emitter.ceiling(b, end, size)
        whole = everything or (self.block is not None and isinstance(size, int) and self.block % size == 0)

        def one(c: Builder, r: Index, values: Values) -> Values:
            place, begin = self.place(c, r, self.group[:-1]), emitter.mul(c, r, size)
            if whole:
                return each(c, Segment(place, 0, size, emitter.sub(c, begin, start)), values)
            low = emitter.most(c, begin, start)
            high = emitter.least(c, emitter.add(c, begin, size), end)
            return each(c, Segment(place, emitter.sub(c, low, begin), emitter.sub(c, high, low), emitter.sub(c, low, start)), values)

        return emitter.loop(b, first, last, 1, carried, one)

    # --- numbers ------------------------------------------------------------------------------------------------------------

    def _runs_together(self, b: Builder) -> Index:
        """The number of runs in a block."""
        if self.block is None or self.runs == 1:
            return self.emitter.size(self.runs)
        if isinstance(self.length, int):
            return max(1, self.block // max(1, self.length))
        return self.emitter.most(b, self.emitter.quotient(b, self.block, self.emitter.size(self.length)), 1)

    def _pieces(self, b: Builder) -> Index:
        """The number of pieces of a run."""
        return 1 if self.block is None else self.emitter.ceiling(b, self.emitter.size(self.length), self.block)

    def place(self, b: Builder, number: Index, axes: Sequence[int]) -> Place:
        """The index on each of `axes` of element `number` in row-major order."""
        place: Place = {}
        for axis in reversed(axes[1:]):
            number, place[axis] = self._divided(b, number, self.emitter.size(self.shape[axis]))
        if axes:
            place[axes[0]] = number
        return place

    def _divided(self, b: Builder, x: Index, y: Index) -> tuple[Index, Index]:
        """Quotient and remainder."""
        quotient = self.emitter.quotient(b, x, y)
        return quotient, self.emitter.sub(b, x, self.emitter.mul(b, quotient, y))


def _runs(reduced: frozenset[int]) -> tuple[list[int], list[int]]:
    """The reduced axes that count runs, and those along which a run lies."""
    axes = sorted(reduced)
    apart = [k for k, (left, right) in enumerate(pairwise(axes)) if right != left + 1]
    first = apart[-1] + 1 if apart else 0
    return axes[:first], axes[first:]


def block_count(shape: Sequence[Size], reduced: frozenset[int], block: int) -> Size | None:
    """The number of blocks as a size; None where it depends on several sizes in a way that no size can say."""
    runs, length = (product(tuple(shape[k] for k in axes)) for axes in _runs(reduced))
    if isinstance(length, int) and length <= block:
        together = block // max(1, length)
        return (runs + (together - 1)) // together
    pieces = (length + (block - 1)) // block
    return runs * pieces if isinstance(length, int) or runs == 1 else None


# Note [The tree of a reduction]
#
# The order of additions is a function of the operand's shape, the reduced axes, the element type and the level. It does not depend on
# what else the kernel does, on which sizes the compiler knows, on how memory is walked, or on threads.
#
# 1. Axes of size 1 do not count. Reduced axes with no kept axis between them are one axis, in row-major order.
# 2. A run lies along the last of these. A run of more than B elements is cut into blocks of B (the last may be shorter); of shorter
#    ones, as many whole runs as B elements hold, at least one, make a block.
# 3. Where the last axis of the operand is reduced, B = `ROW_BLOCK`, and element i of a piece is added to lane i mod V of the block, where
#    V lanes are four vectors of the level. The lanes of a block are added by halves: lane l and lane l + V/2, then l and l + V/4 ...
#    Where the last axis is kept, B = `COLUMN_BLOCK` and V = 1.
# 4. Blocks are added in order. Those of f32 are added in f64, and the total is rounded to f32.
#
# Lanes and blocks start from the identity, which changes no bit: a lane without elements adds 0 to a sum that is not -0. Maxima, minima,
# integers and bools have the same result in any order, so they need no blocks. `tests/codegen/trees.py` says the same in numpy.
#
# A piece whose elements do not lie in one stretch of some operand (a row, a broadcast row) is walked in segments. Where a segment may
# start anywhere in the V lanes, its values go through a block of scratch and are added from there.
