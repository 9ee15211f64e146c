"""The running values of reductions while their loops run.

A *run* goes once along the innermost reduced axis. Where the lanes lie along that axis, vector number j of a run is added to
accumulator j mod A. A loop body with fewer than A copies does not name all accumulators: it rotates them.

At the end the accumulators are combined as a tree, then their lanes. A tree over 2^k accumulators gives the same bits from any
rotation (addition commutes), so it does not matter how far a run of unknown length has turned them.

Sums of float32 are made in blocks: within one in float32; blocks and runs are added in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from rustorch.codegen.loops import Index, LoopEmitter, identity, lane_type
from rustorch.codegen.schedule import COLUMN_BLOCK, ROW_BLOCK, Schedule
from rustorch.ir.builder import Builder
from rustorch.ir.dims import Size
from rustorch.ir.dtypes import f32, f64
from rustorch.ir.graph import Node, Value
from rustorch.ir.op import REGISTRY, Monoid
from rustorch.ir.types import VectorType, element

Run = Callable[[Builder, Index, Index, list[Value]], list[Value]]
"""A loop that starts at an index, over a number of elements, with carried values."""


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

    @property
    def masks(self) -> tuple[Value, ...]:
        """The mask as the last operand of a load or store; none where all lanes count."""
        return () if self.mask is None else (self.mask,)


@dataclass(frozen=True)
class _Part:
    """One reduction with `slots` accumulators and `results` values at the end."""

    node: Node
    slots: int
    results: int
    is_apart: bool
    """Whether it is a float32 sum in several blocks: then the sums of the blocks are carried, else the accumulators."""

    @property
    def carried(self) -> int:
        """The number of values that loops around a block carry."""
        return self.results if self.is_apart else self.slots

    def joined(self, b: Builder, x: Value, y: Value) -> Value:
        """Two partial results as one."""
        return b.emit(REGISTRY[_monoid(self.node).combine], (x, y))[0]


class Accumulators:
    """The running values of one level's reductions over reduced axes of `sizes`, outermost first."""

    def __init__(
        self,
        emitter: LoopEmitter,
        schedule: Schedule,
        sizes: Sequence[Size],
        reductions: list[Node],
        rows: list[Frame],
        across: bool,
        read: Callable[[Builder, Value, Frame], Value],
    ) -> None:
        """`across` says that the lanes lie along the innermost reduced axis; else each of `rows` has an accumulator of its own."""
        self.emitter, self.rows, self.across, self.read = emitter, rows, across, read
        self.lanes = schedule.lanes if across else rows[0].lanes
        self.size = sizes[-1]
        self.block = ROW_BLOCK if across else COLUMN_BLOCK
        self.blocked = any(map(_is_narrow, reductions)) and not (isinstance(self.size, int) and self.size <= self.block)
        several = self.blocked or len(sizes) > 1
        self.parts = [_Part(n, self._slots(schedule, n), 1 if across else len(rows), several and _is_narrow(n)) for n in reductions]

    def _slots(self, schedule: Schedule, node: Node) -> int:
        """Accumulators of a reduction: no more than there are vectors."""
        if not self.across:
            return len(self.rows)
        most = schedule.accumulators(element(node.result.type))
        return min(most, max(1, -(-self.size // self.lanes))) if isinstance(self.size, int) else most

    def start(self, b: Builder) -> list[Value]:
        """What the outermost reduced loop carries in."""
        return _flat(self._zeros(b, p) if p.is_apart else self._fresh(b, p) for p in self.parts)

    def run(self, b: Builder, carried: list[Value], loop: Run) -> list[Value]:
        """Run `loop` along the innermost reduced axis, block by block where there are float32 sums."""
        length = self.emitter.size(self.size)
        if not self.blocked:
            return self._block(b, 0, length, carried, loop)

        def one(c: Builder, start: Index, values: list[Value]) -> list[Value]:
            if isinstance(length, int) and length % self.block == 0:
                return self._block(c, start, self.block, values, loop)
            left = c.sub(self.emitter.as_value(c, length), self.emitter.as_value(c, start))
            return self._block(c, start, c.minimum(left, self.block), values, loop)

        return self.emitter.loop(b, 0, length, self.block, carried, one)

    def add(self, b: Builder, carried: list[Value], copy: int, frame: Frame) -> list[Value]:
        """The accumulators with copy number `copy` of the loop body added."""
        groups = self._grouped(carried, [p.slots for p in self.parts])
        for part, own in zip(self.parts, groups, strict=True):
            with b.at(part.node.location):
                x = self.read(b, part.node.operands[0], frame)
                if frame.mask is not None and self.across:
                    x = b.select(frame.mask, x, identity(b, part.node, frame.lanes))
                slot = copy % part.slots
                own[slot] = part.joined(b, own[slot], x)
        return _flat(groups)

    def turned(self, carried: list[Value], copies: int) -> list[Value]:
        """The accumulators rotated by `copies` copies of the body, so that the next one finds its own in front."""
        groups = self._grouped(carried, [p.slots for p in self.parts])
        return _flat(_rotated(own, copies) for own in groups)

    def finish(self, b: Builder, carried: list[Value]) -> None:
        """Hand the results to the rows."""
        for part, own in zip(self.parts, self._grouped(carried, [p.carried for p in self.parts]), strict=True):
            dtype = element(part.node.result.type)
            with b.at(part.node.location):
                results = own if part.is_apart else self._folded(b, part, own)
                for row, value in zip(self.rows, results, strict=True):
                    row.values[part.node.result] = b.convert(value, dtype=dtype) if part.is_apart else value

    # --- one block ----------------------------------------------------------------------------------------------------------

    def _block(self, b: Builder, start: Index, count: Index, carried: list[Value], loop: Run) -> list[Value]:
        """Run `loop` over `count` elements. Sums that are carried apart get their own accumulators, which begin at zero."""
        states = self._grouped(carried, [p.carried for p in self.parts])
        begin = _flat(self._fresh(b, p) if p.is_apart else own for p, own in zip(self.parts, states, strict=True))
        ended = self._grouped(loop(b, start, count, begin), [p.slots for p in self.parts])
        after: list[list[Value]] = []
        for part, before, own in zip(self.parts, states, ended, strict=True):
            with b.at(part.node.location):
                if part.is_apart:
                    new = self._folded(b, part, own)
                    after.append([b.add(x, b.convert(y, dtype=f64)) for x, y in zip(before, new, strict=True)])
                elif isinstance(count, int) and self.across:
                    after.append(_rotated(own, -count // self.lanes))
                else:
                    after.append(own)
        return _flat(after)

    def _fresh(self, b: Builder, part: _Part) -> list[Value]:
        return [identity(b, part.node, self.lanes)] * part.slots

    def _zeros(self, b: Builder, part: _Part) -> list[Value]:
        return [b.const(0.0, lane_type(f64, 1 if self.across else self.lanes))] * part.results

    def _folded(self, b: Builder, part: _Part, values: list[Value]) -> list[Value]:
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


def _flat(groups: Iterable[list[Value]]) -> list[Value]:
    return [value for own in groups for value in own]


def _rotated(values: list[Value], by: int) -> list[Value]:
    """The values from number `by` on, then those before; backwards for a negative number."""
    by %= len(values)
    return values[by:] + values[:by]


def _monoid(node: Node) -> Monoid:
    assert isinstance(node.op.lower, Monoid)
    return node.op.lower


def _is_narrow(node: Node) -> bool:
    """Whether it is a sum of float32."""
    return _monoid(node).combine == "add" and element(node.result.type) is f32
