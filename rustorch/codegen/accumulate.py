"""The running values of reductions while their loops run.

Sums and products of floats have an order, which Note [The tree of a reduction] in `walk.py` defines: elements go to lanes, lanes make
a block, blocks are added up. Here a block has A vectors of lanes as accumulators; vector number j of a piece is added to accumulator
j mod A. A loop body with fewer than A copies does not name all accumulators: it rotates them. They are combined as a tree, which over
2^k accumulators gives the same bits from any rotation (addition commutes), so it does not matter how far a block has turned them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from rustorch.codegen.loops import Index, LoopEmitter, identity, lane_type
from rustorch.codegen.schedule import Schedule
from rustorch.codegen.walk import Segment, Walk
from rustorch.ir.builder import Builder
from rustorch.ir.dims import Size
from rustorch.ir.dtypes import f32, f64
from rustorch.ir.graph import Attribute, Node, Value
from rustorch.ir.op import REGISTRY, Monoid
from rustorch.ir.types import BufferType, DType, VectorType, element

Run = Callable[[Builder, dict[int, Index], Segment, list[Value]], list[Value]]
"""A loop over a segment of the run at an index of the outer reduced axes, with carried values."""


@dataclass
class Frame:
    """One copy of the loop body: where it stands on each axis, its mask, and the values computed so far."""

    index: dict[int, Index]
    lanes: int
    offset: int = 0
    """Elements along the vector axis beyond `index` (the copy's place in an unrolled body)."""
    mask: Value | None = None
    row: Frame | None = None
    values: dict[Value, Value] = field(default_factory=dict)
    staged: Index = 0
    """Where the copy's elements lie in the piece that is staged."""
    is_moved: bool = False
    """Whether this is where a pad reads: outside of memory where the mask does not hold."""
    moved: dict[tuple[tuple[Size, Size], ...], Frame] = field(default_factory=dict)
    """Frames that pads read at, by what is added before, and the size, of each axis."""

    @property
    def masks(self) -> tuple[Value, ...]:
        """The mask as the last operand of a load or store; none where all lanes count."""
        return () if self.mask is None else (self.mask,)


@dataclass(frozen=True)
class Part:
    """One reduction with `slots` accumulators and `results` values at the end."""

    node: Node
    slots: int
    results: int
    is_apart: bool
    """Whether it has an order and several blocks: then the totals of the blocks are carried, else the accumulators."""
    stage: Value | None = None
    """Scratch that the values of a piece go through before they are added."""

    @property
    def carried(self) -> int:
        """The number of values that loops around a block carry."""
        return self.results if self.is_apart else self.slots

    @property
    def dtype(self) -> DType:
        """The element type of the reduction."""
        return element(self.node.result.type)

    @property
    def total(self) -> DType:
        """The element type in which blocks are added."""
        return f64 if self.is_apart and self.dtype is f32 and has_order(self.node) else self.dtype

    def joined(self, b: Builder, x: Value, y: Value) -> Value:
        """Two partial results as one."""
        return joined(b, self.node, x, y)


class Accumulators:
    """The running values of one level's reductions along a walk."""

    def __init__(
        self,
        emitter: LoopEmitter,
        schedule: Schedule,
        walk: Walk,
        reductions: list[Node],
        rows: list[Frame],
        across: bool,
        read: Callable[[Builder, Value, Frame], Value],
        in_blocks: bool = False,
    ) -> None:
        """`across` says that the lanes lie along the innermost reduced axis; else each of `rows` has an accumulator of its own.

        With `in_blocks` there is no total: every block is asked for by itself.
        """
        self.emitter, self.walk, self.rows, self.across, self.read, self.in_blocks = emitter, walk, rows, across, read, in_blocks
        self.lanes = schedule.lanes if across else rows[0].lanes
        self.most = max((schedule.accumulators(element(n.result.type)) for n in reductions), default=1)
        staged = across and not self._starts_at_lane_zero(schedule)
        self.parts = [self._part(schedule, n, staged and has_order(n)) for n in reductions]
        self.is_staged = any(p.stage is not None for p in self.parts)

    def _part(self, schedule: Schedule, node: Node, staged: bool) -> Part:
        dtype = element(node.result.type)
        slots = len(self.rows)
        if self.across:  # no more accumulators than there are vectors
            slots, length = schedule.accumulators(dtype), self.walk.length
            slots = min(slots, max(1, -(-length // self.lanes))) if isinstance(length, int) else slots
        size = self.walk.block or 1
        size = min(size, self.walk.length) if isinstance(self.walk.length, int) else size
        stage = self.emitter.scratch_buffer(BufferType(dtype, (size,))) if staged else None
        is_apart = self.in_blocks or (has_order(node) and not self.walk.is_one_block)
        return Part(node, slots, 1 if self.across else len(self.rows), is_apart, stage)

    def _starts_at_lane_zero(self, schedule: Schedule) -> bool:
        """Whether every segment begins at the first lane."""
        return len(self.walk.group) == 1 or (isinstance(self.walk.inner, int) and self.walk.inner % schedule.virtual_lanes == 0)

    def start(self, b: Builder) -> list[Value]:
        """What the loop over blocks carries in."""
        return _flat(self._zeros(b, p) if p.is_apart else self._fresh(b, p) for p in self.parts)

    def run(self, b: Builder, carried: list[Value], loop: Run) -> list[Value]:
        """Run `loop` over all segments, block by block."""
        blocks: Index = 1 if self.walk.is_one_block else self.walk.blocks(b)
        return self.emitter.loop(b, 0, blocks, 1, carried, lambda c, number, values: self._block(c, number, values, loop))

    def one_block(self, b: Builder, number: Index, loop: Run) -> list[tuple[Node, list[Value]]]:
        """Block `number` alone: each reduction with a value for every row (for all of them where the lanes lie along the run)."""
        results = self._walked(b, number, _flat(self._fresh(b, p) for p in self.parts), loop)
        return [(part.node, self._folded(b, part, own)) for part, own in zip(self.parts, results, strict=True)]

    def add(self, b: Builder, carried: list[Value], copy: int, frame: Frame) -> list[Value]:
        """The accumulators with copy number `copy` of the loop body added."""
        groups = self._grouped(carried, [p.slots for p in self.parts])
        for part, own in zip(self.parts, groups, strict=True):
            with b.at(part.node.location):
                x = self.read(b, part.node.operands[0], frame)
                if part.stage is not None:
                    index, offset = self.emitter.as_value(b, frame.staged), frame.offset
                    b.emit(REGISTRY["store"], (part.stage, index, x, *frame.masks), {"offset": offset})
                    continue
                self._join(b, part, own, copy, x, frame.mask if self.across else None)
        return _flat(groups)

    def turned(self, carried: list[Value], copies: int) -> list[Value]:
        """The accumulators rotated by `copies` copies of the body, so that the next one finds its own in front."""
        groups = self._grouped(carried, [p.slots for p in self.parts])
        return _flat(own if p.stage is not None else _rotated(own, copies) for p, own in zip(self.parts, groups, strict=True))

    def finish(self, b: Builder, carried: list[Value]) -> None:
        """Hand the results to the rows."""
        for part, own in zip(self.parts, self._grouped(carried, [p.carried for p in self.parts]), strict=True):
            with b.at(part.node.location):
                results = own if part.is_apart else self._folded(b, part, own)
                for row, value in zip(self.rows, results, strict=True):
                    row.values[part.node.result] = value if part.total is part.dtype else b.convert(value, dtype=part.dtype)

    # --- one block ----------------------------------------------------------------------------------------------------------

    def _block(self, b: Builder, number: Index, carried: list[Value], loop: Run) -> list[Value]:
        """Walk one block. Parts that are apart get accumulators of their own, which begin at the identity."""
        states = self._grouped(carried, [p.carried for p in self.parts])
        begin = _flat(self._fresh(b, p) if p.is_apart else own for p, own in zip(self.parts, states, strict=True))
        ended = self._walked(b, number, begin, loop)
        after: list[list[Value]] = []
        for part, before, own in zip(self.parts, states, ended, strict=True):
            with b.at(part.node.location):
                if part.is_apart:
                    new = self._folded(b, part, own)
                    after.append([part.joined(b, x, b.convert(y, dtype=part.total)) for x, y in zip(before, new, strict=True)])
                else:
                    after.append(own)
        return _flat(after)

    def _walked(self, b: Builder, number: Index, begin: list[Value], loop: Run) -> list[list[Value]]:
        """The accumulators of each part after one block."""

        def piece(c: Builder, place: dict[int, Index], start: Index, count: Index, values: list[Value]) -> list[Value]:
            values = self.walk.segments(c, start, count, values, lambda d, segment, inside: self._segment(d, place, segment, inside, loop))
            return self._staged(c, count, values)

        return self._grouped(self.walk.pieces(b, number, begin, piece), [p.slots for p in self.parts])

    def _segment(self, b: Builder, place: dict[int, Index], segment: Segment, carried: list[Value], loop: Run) -> list[Value]:
        """One segment, after which the accumulators stand as before it."""
        values = loop(b, place, segment, carried)
        if not isinstance(segment.count, int) or not self.across:
            return values
        groups = self._grouped(values, [p.slots for p in self.parts])
        back = -segment.count // self.lanes
        return _flat(own if p.stage is not None else _rotated(own, back) for p, own in zip(self.parts, groups, strict=True))

    def _staged(self, b: Builder, count: Index, carried: list[Value]) -> list[Value]:
        """Add the values of a piece that were staged."""
        parts = [p for p in self.parts if p.stage is not None]
        if not parts:
            return carried
        groups = self._grouped(carried, [p.slots for p in self.parts])
        own = _flat(group for p, group in zip(self.parts, groups, strict=True) if p.stage is not None)

        def turn(c: Builder, i: Index, masks: list[Value | None], values: list[Value]) -> list[Value]:
            inside = self._grouped(values, [p.slots for p in parts])
            for copy, mask in enumerate(masks):
                for part, accumulators in zip(parts, inside, strict=True):
                    with c.at(part.node.location):
                        assert part.stage is not None
                        operands = (part.stage, self.emitter.as_value(c, i), *(() if mask is None else (mask,)))
                        attrs: dict[str, Attribute] = {"type": lane_type(part.dtype, self.lanes), "offset": copy * self.lanes}
                        x = c.emit(REGISTRY["reload"], operands, attrs)[0]
                        self._join(c, part, accumulators, copy, x, mask)
            return _flat(_rotated(accumulators, len(masks)) for accumulators in inside)

        ended = iter(self._grouped(self.emitter.vectors(b, 0, count, self.lanes, self.most, own, turn), [p.slots for p in parts]))
        back = -count // self.lanes if isinstance(count, int) else 0
        return _flat(_rotated(next(ended), back) if p.stage is not None else group for p, group in zip(self.parts, groups, strict=True))

    def of_stage(self, b: Builder, node: Node, stage: Value, schedule: Schedule, count: Index) -> Value:
        """One block of `count` elements that lie in `stage`, as a number."""
        self.most = schedule.accumulators(element(node.result.type))
        self.parts = [Part(node, self.most, 1, True, stage)]
        (total,) = self._folded(b, self.parts[0], self._staged(b, count, self._fresh(b, self.parts[0])))
        return total

    def _join(self, b: Builder, part: Part, own: list[Value], copy: int, x: Value, mask: Value | None) -> None:
        """Add `x` to the accumulator of a copy; masked lanes count as the identity."""
        if mask is not None:
            x = b.select(mask, x, identity(b, part.node, self.lanes))
        slot = copy % part.slots
        own[slot] = part.joined(b, own[slot], x)

    def combined(self, b: Builder, count: Index, read: Callable[[Builder, Node, Index, Frame], Value]) -> None:
        """Hand the totals of `count` blocks, which `read` gives, to the rows."""

        def one(c: Builder, number: Index, totals: list[Value]) -> list[Value]:
            after: list[list[Value]] = []
            for part, before in zip(self.parts, self._grouped(totals, [p.carried for p in self.parts]), strict=True):
                with c.at(part.node.location):
                    blocks = [read(c, part.node, number, row) for row in self.rows]
                    after.append([part.joined(c, x, c.convert(y, dtype=part.total)) for x, y in zip(before, blocks, strict=True)])
            return _flat(after)

        self.finish(b, self.emitter.loop(b, 0, count, 1, self.start(b), one))

    def _fresh(self, b: Builder, part: Part) -> list[Value]:
        return [identity(b, part.node, self.lanes)] * part.slots

    def _zeros(self, b: Builder, part: Part) -> list[Value]:
        """The totals of no blocks."""
        start = _monoid(part.node).identity(part.total)
        return [b.const(start, lane_type(part.total, 1 if self.across else self.lanes))] * part.results

    def _folded(self, b: Builder, part: Part, values: list[Value]) -> list[Value]:
        """Accumulators and their lanes as one number; those of rows as they are."""
        if not self.across:
            return values
        while len(values) > 1:
            half = -(-len(values) // 2)
            values = [part.joined(b, values[k], values[k + half]) if k + half < len(values) else values[k] for k in range(half)]
        (total,) = values
        if isinstance(total.type, VectorType):
            total = b.reduce_lanes(total, combine=_monoid(part.node).combine)
        return [total]

    def _grouped(self, values: list[Value], lengths: Sequence[int]) -> list[list[Value]]:
        waiting = iter(values)
        return [[next(waiting) for _ in range(length)] for length in lengths]


def joined(b: Builder, node: Node, x: Value, y: Value) -> Value:
    """Two partial results of a reduction as one."""
    return b.emit(REGISTRY[_monoid(node).combine], (x, y))[0]


def staged_sum(
    emitter: LoopEmitter, schedule: Schedule, walk: Walk, node: Node, stage: Value, b: Builder, count: Index
) -> Value:
    """One block of `count` elements that lie in `stage`, as a number."""
    accumulators = Accumulators(emitter, schedule, walk, [], [Frame({}, 1)], True, lambda c, v, f: v)
    return accumulators.of_stage(b, node, stage, schedule, count)


def _flat(groups: Iterable[list[Value]]) -> list[Value]:
    return [value for own in groups for value in own]


def _rotated(values: list[Value], by: int) -> list[Value]:
    """The values from number `by` on, then those before; backwards for a negative number."""
    by %= len(values)
    return values[by:] + values[:by]


def _monoid(node: Node) -> Monoid:
    assert isinstance(node.op.lower, Monoid)
    return node.op.lower


def has_order(node: Node) -> bool:
    """Whether the bits of a reduction depend on its order: sums and products of floats."""
    return _monoid(node).combine in ("add", "mul") and element(node.result.type).kind == "float"
