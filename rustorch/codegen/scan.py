"""Scans as loop nests: what is gathered stays in registers on the way along the axis, in one lane for each place beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rustorch.codegen.fuse import Plan, Step
from rustorch.codegen.loops import Index, LoopEmitter, Lowered, lane_type
from rustorch.codegen.schedule import Schedule
from rustorch.codegen.target import Target
from rustorch.codegen.views import tensor
from rustorch.ir.builder import Builder
from rustorch.ir.dims import Size
from rustorch.ir.dtypes import f64, i64
from rustorch.ir.graph import Node, Value
from rustorch.ir.op import REGISTRY
from rustorch.ir.types import DType, contiguous_strides, element

_APART = 2
"""Accesses a turn at which lanes that lie apart in memory (the scanned axis is the last) still pay."""

_ROWS = 4
"""Rows of single elements that are scanned together: what one carries takes longer to come than the processor can wait."""

Values = list[Value]
Turn = Callable[[Builder, Values, Values, Value], tuple[Values, Values]]
"""Of a builder, what is carried, the operands' elements and the place along the axis: what is carried on, and the results."""


@dataclass(frozen=True)
class _Scan:
    """What a scan carries (element types and first numbers), and one turn of it."""

    first: tuple[tuple[DType, int | float], ...]
    turn: Turn


def _wide(dtype: DType) -> DType:
    """Floats are gathered in f64."""
    return f64 if dtype.is_floating_point else dtype


def _converted(c: Builder, x: Value, dtype: DType) -> Value:
    converted: Value = x if element(x.type) is dtype else c.convert(x, dtype=dtype)
    return converted


def _gathered(dtype: DType, first: int, combine: str) -> _Scan:
    """Sums and products."""

    def turn(c: Builder, carried: Values, elements: Values, place: Value) -> tuple[Values, Values]:
        (total,) = c.emit(REGISTRY[combine], (carried[0], _converted(c, elements[0], _wide(dtype))))
        return [total], [_converted(c, total, dtype)]

    return _Scan(((_wide(dtype), first),), turn)


def _recurrence(dtype: DType) -> _Scan:
    def turn(c: Builder, carried: Values, elements: Values, place: Value) -> tuple[Values, Values]:
        factor, term = (_converted(c, x, f64) for x in elements)
        state = c.add(c.mul(factor, carried[0]), term)
        return [state], [_converted(c, state, dtype)]

    return _Scan(((f64, 0),), turn)


def _extreme(dtype: DType, compare: str, worst: int | float) -> _Scan:
    def turn(c: Builder, carried: Values, elements: Values, place: Value) -> tuple[Values, Values]:
        (best, at), (x,) = carried, elements
        (better,) = c.emit(REGISTRY[compare], (x, best))
        wins = c.or_(better, c.ne(x, x))
        if dtype.is_floating_point:
            wins = c.or_(c.and_(better, c.eq(best, best)), c.ne(x, x))
        best, at = c.select(wins, x, best), c.select(wins, place, at)
        return [best, at], [best, at]

    return _Scan(((dtype, worst), (i64, 0)), turn)


def _logarithm(dtype: DType) -> _Scan:
    """log(exp y + exp x), by the definition of `logaddexp`."""

    def turn(c: Builder, carried: Values, elements: Values, place: Value) -> tuple[Values, Values]:
        expand = REGISTRY["logaddexp"].expand
        assert expand is not None
        y = expand(c, carried[0], elements[0])
        return [y], [y]

    return _Scan(((dtype, -np.inf),), turn)


def _scan(node: Node) -> _Scan:
    dtype = tensor(node.results[0]).dtype
    lowest, highest = (-np.inf, np.inf) if dtype.is_floating_point else (int(np.iinfo(dtype.numpy).min), int(np.iinfo(dtype.numpy).max))
    makers: dict[str, Callable[[], _Scan]] = {
        "cumsum": lambda: _gathered(dtype, 0, "add"),
        "cumprod": lambda: _gathered(dtype, 1, "mul"),
        "recurrence": lambda: _recurrence(dtype),
        "cummax": lambda: _extreme(dtype, "ge", lowest),
        "cummin": lambda: _extreme(dtype, "le", highest),
        "logcumsumexp": lambda: _logarithm(dtype),
    }
    return makers[node.op.name]()


def lower_scan(plan: Plan, step: Step, target: Target, name: str) -> Lowered:
    """The nest of a scan: lanes run along the last axis that is not scanned, whole vectors first, then single elements."""
    return _Lowering(plan, step, target, name).run()


class _Lowering(LoopEmitter):
    def __init__(self, plan: Plan, step: Step, target: Target, name: str) -> None:
        super().__init__(plan, name)
        (self.node,) = step.nodes
        self.scan = _scan(self.node)
        self.shape = tensor(self.node.results[0]).shape
        self.axis: int = self.node.attrs["axis"]
        self.reverse = bool(self.node.attrs.get("reverse", False))
        beside = [a for a, size in enumerate(self.shape) if a != self.axis and size != 1]
        self.across = beside[-1] if beside else None
        """The axis that lanes run along."""
        self.lanes = target.lanes(max(dtype.bits for dtype, _ in self.scan.first))
        width = self.shape[self.across] if self.across is not None else 1
        if isinstance(width, int) and width < self.lanes:
            self.lanes = 1
        if self.across is not None and self.axis > self.across and len((*self.node.operands, *self.node.results)) > _APART:
            self.lanes = 1
        self.around = [a for a in range(len(self.shape)) if a not in (self.axis, self.across)]
        self.sources: list[tuple[Value, Size, tuple[Size, ...]]] = []
        for operand in self.node.operands:
            seen = plan.view(operand)
            self.sources.append((seen.base, *seen.strided(len(self.shape))))
        rows = contiguous_strides(self.shape)
        self.targets = [(result, 0, rows) for result in self.node.results]

    def run(self) -> Lowered:
        """The kernel."""
        self.b.location = self.node.location
        for value, _, _ in (*self.sources, *self.targets):
            self.buffer(value)
        sizes = [self.shape[a] for a in self.around]
        self.nest(self.b, sizes, lambda c, at: self._rows(c, dict(zip(self.around, at, strict=True))))
        return self.lowered(Schedule(self.across, self.lanes, 1, 0))

    def _rows(self, b: Builder, at: dict[int, Index]) -> None:
        if self.across is None:
            self._row(b, [at], 1)
            return
        axis, size = self.across, self.size(self.shape[self.across])

        def rows(lanes: int, many: int) -> Callable[[Builder, Index, Values], Sequence[Value]]:
            def row(c: Builder, i: Index, _: Values) -> Sequence[Value]:
                self._row(c, [{**at, axis: self.add(c, i, k)} for k in range(many)], lanes)
                return ()

            return row

        many = _ROWS if self.lanes == 1 else 1
        step = self.lanes * many
        whole = self.down(b, size, step)
        self.loop(b, 0, whole, step, (), rows(self.lanes, many))
        self.loop(b, whole, size, 1, (), rows(1, 1))

    def _row(self, b: Builder, rows: Sequence[dict[int, Index]], lanes: int) -> None:
        """Once along the axis, in all the rows together."""
        count, width = self.size(self.shape[self.axis]), len(self.scan.first)
        start = [b.const(first, lane_type(dtype, lanes)) for dtype, first in self.scan.first] * len(rows)

        def turn(c: Builder, i: Index, carried: Values) -> Sequence[Value]:
            along = self.sub(c, self.add(c, count, -1), self.as_value(c, i)) if self.reverse else i
            place = self.as_value(c, along)
            place = c.splat(place, lanes=lanes) if lanes > 1 else place
            following: Values = []
            for k, row in enumerate(rows):
                where = {**row, self.axis: along}
                elements = [self._load(c, source, where, lanes) for source in self.sources]
                own, results = self.scan.turn(c, carried[k * width : (k + 1) * width], elements, place)
                following += own
                for written, result in zip(self.targets, results, strict=True):
                    self._store(c, written, where, result, lanes)
            return following

        self.loop(b, 0, count, 1, start, turn)

    def _load(self, c: Builder, source: tuple[Value, Size, tuple[Size, ...]], at: dict[int, Index], lanes: int) -> Value:
        base, offset, strides = source
        buffer, index = self.buffer(base), self.place(c, offset, ((i, strides[axis]) for axis, i in at.items()))
        dtype = tensor(base).dtype
        step: Size = strides[self.across] if self.across is not None else 0
        attrs: dict[str, Any] = {"type": lane_type(dtype, lanes), "offset": 0}
        if lanes == 1 or step == 1:
            return c.emit(REGISTRY["load"], (buffer, index), attrs)[0]
        if step == 0:
            one = c.emit(REGISTRY["load"], (buffer, index), {"type": dtype, "offset": 0})[0]
            return c.splat(one, lanes=lanes)  # type: ignore[no-any-return]
        return c.emit(REGISTRY["load_strided"], (buffer, index, self.as_value(c, self.size(step))), attrs)[0]

    def _store(self, c: Builder, written: tuple[Value, Size, tuple[Size, ...]], at: dict[int, Index], result: Value, lanes: int) -> None:
        base, offset, strides = written
        buffer, index = self.buffer(base), self.place(c, offset, ((i, strides[axis]) for axis, i in at.items()))
        step: Size = strides[self.across] if self.across is not None else 0
        if lanes == 1 or step == 1:
            c.emit(REGISTRY["store"], (buffer, index, result), {"offset": 0})
        else:
            c.emit(REGISTRY["store_strided"], (buffer, index, result, self.as_value(c, self.size(step))), {"offset": 0})
