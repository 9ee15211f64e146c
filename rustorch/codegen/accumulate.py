"""The running values of reductions while their loops run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rustorch.codegen.loops import Index, LoopEmitter, identity, lane_type
from rustorch.codegen.schedule import WIDE_ABOVE, Schedule
from rustorch.ir.builder import Builder
from rustorch.ir.dims import Size, evaluate, symbols
from rustorch.ir.dtypes import f64
from rustorch.ir.graph import Node, Value
from rustorch.ir.op import REGISTRY, Monoid
from rustorch.ir.types import VectorType, element

Run = Callable[[Builder, Index, Index, list[Value]], list[Value]]
"""A loop over [lo, hi) with carried values."""


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


class Accumulators:
    """The running values of one level's reductions: `count` vectors each, float32 sums of many elements in float64 blocks."""

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
        """`sizes` are those of the reduced axes; `across` says that the lanes run along one of them."""
        self.emitter, self.schedule, self.read = emitter, schedule, read
        self.reductions, self.rows, self.across = reductions, rows, across
        self.lanes = schedule.lanes if across else rows[0].lanes
        self.many = not all(isinstance(s, int) for s in sizes) or _product(sizes) > WIDE_ABOVE
        self.counts = [self._count(n) for n in reductions]

    def _count(self, node: Node) -> int:
        if not self.across:
            return len(self.rows)
        return min(self.schedule.accumulators(element(node.result.type)), self.schedule.unroll)

    def _is_wide(self, node: Node) -> bool:
        assert isinstance(node.op.lower, Monoid)
        return self.many and node.op.lower.combine == "add" and element(node.result.type).short == "f32"

    def start(self, b: Builder) -> list[Value]:
        """The identities that the outermost reduced loop carries in."""
        carried: list[Value] = []
        for node, count in zip(self.reductions, self.counts, strict=True):
            start = b.const(0.0, lane_type(f64, self.lanes)) if self._is_wide(node) else identity(b, node, self.lanes)
            carried += [start] * count
        return carried

    def add(self, b: Builder, carried: list[Value], copy: int, frame: Frame) -> list[Value]:
        """The carried values with copy number `copy` of the body added."""
        result = list(carried)
        at = 0
        for node, count in zip(self.reductions, self.counts, strict=True):
            assert isinstance(node.op.lower, Monoid)
            slot = at + copy % count
            with b.at(node.location):
                x = self.read(b, node.operands[0], frame)
                if frame.mask is not None and self.across:
                    x = b.select(frame.mask, x, identity(b, node, frame.lanes))
                result[slot] = b.emit(REGISTRY[node.op.lower.combine], (result[slot], x))[0]
            at += count
        return result

    def blocked(self, b: Builder, lo: Index, hi: Index, step: int, carried: list[Value], run: Run) -> list[Value]:
        """Run a loop over [lo, hi); float32 sums of many elements block by block, each block added to the float64 sums."""
        wide = [self._is_wide(n) for n, count in zip(self.reductions, self.counts, strict=True) for _ in range(count)]
        if not any(wide):
            return run(b, lo, hi, carried)
        emitter = self.emitter
        block = max(step, WIDE_ABOVE // step * step) if self.across else WIDE_ABOVE // 8

        def one(c: Builder, start: Index, end: Index, values: list[Value]) -> list[Value]:
            inner = [
                c.const(0.0, lane_type(element(node.result.type), self.lanes)) if self._is_wide(node) else values[at]
                for at, node in enumerate(self._slots())
            ]
            done = run(c, start, end, inner)
            return [
                c.add(values[at], c.convert(done[at], dtype=f64)) if is_wide else done[at] for at, is_wide in enumerate(wide)
            ]

        if isinstance(lo, int) and isinstance(hi, int) and hi - lo <= block:
            return one(b, lo, hi, carried) if hi > lo else carried

        def body(c: Builder, i: Index, values: list[Value]) -> Sequence[Value]:
            end = c.minimum(emitter.as_value(c, emitter.add(c, i, block)), emitter.as_value(c, hi))
            return one(c, i, end, values)

        return emitter.loop(b, lo, hi, block, carried, body)

    def _slots(self) -> list[Node]:
        return [node for node, count in zip(self.reductions, self.counts, strict=True) for _ in range(count)]

    def finish(self, b: Builder, carried: list[Value]) -> None:
        """Combine accumulators and lanes as a tree and hand the results to the rows."""
        at = 0
        for node, count in zip(self.reductions, self.counts, strict=True):
            with b.at(node.location):
                self._finish(b, node, carried[at : at + count])
            at += count

    def _finish(self, b: Builder, node: Node, values: list[Value]) -> None:
        assert isinstance(node.op.lower, Monoid)
        dtype = element(node.result.type)
        if not self.across:
            for row, value in zip(self.rows, values, strict=True):
                row.values[node.result] = b.convert(value, dtype=dtype) if self._is_wide(node) else value
            return
        while len(values) > 1:
            half = -(-len(values) // 2)
            combine = REGISTRY[node.op.lower.combine]
            values = [b.emit(combine, (values[k], values[k + half]))[0] if k + half < len(values) else values[k] for k in range(half)]
        total = values[0]
        if isinstance(total.type, VectorType):
            total = b.reduce_lanes(total, combine=node.op.lower.combine)
        self.rows[0].values[node.result] = b.convert(total, dtype=dtype) if self._is_wide(node) else total


def unblocked(b: Builder, lo: Index, hi: Index, step: int, carried: list[Value], run: Run) -> list[Value]:
    """Run a loop over [lo, hi) as it is."""
    return run(b, lo, hi, carried)


def _product(sizes: Sequence[Size]) -> int:
    total = 1
    for size in sizes:
        total *= evaluate(size, dict.fromkeys(symbols(size), 1))
    return total
