"""From a fused kernel to loops: one loop graph per kernel, already vectorised as its schedule says.

The loops are: kept axes outermost; then, once per *level*, the reduced axes. A level computes the reductions whose operands
are known, so a softmax runs level 0 (maximum), level 1 (sum of exponentials) and level 2 (quotients) over a row that is in
cache. The innermost axis is the vector axis; its last, partial vector is masked. Loop-invariant code moves outwards by
itself, because the builder emits a pure node where its operands are defined.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from rustorch.codegen.accumulate import Accumulators, Frame, has_order, joined, staged_sum
from rustorch.codegen.fuse import Plan, Step, Store
from rustorch.codegen.loops import Index, Lowered, Share, identity, lane_type
from rustorch.codegen.lower_body import BodyEmitter
from rustorch.codegen.schedule import COLUMN_BLOCK, ROW_BLOCK, TASK_CYCLES, schedule
from rustorch.codegen.split import levels, reductions
from rustorch.codegen.target import Target
from rustorch.codegen.views import real_axes, tensor
from rustorch.codegen.walk import Segment, Walk
from rustorch.ir.builder import Builder
from rustorch.ir.dims import Size, product
from rustorch.ir.graph import Node, Value
from rustorch.ir.op import REGISTRY
from rustorch.ir.types import BufferType, element

HEAVY = 10
"""Values of at least this cost are kept for the next level instead of being computed again."""


class KernelLowering(BodyEmitter):
    """Lowers one fused kernel."""

    def __init__(self, plan: Plan, step: Step, target: Target, name: str) -> None:
        super().__init__(plan, step, name)
        self.reductions = reductions(step)
        self.level = levels(plan, step)
        summed = [*self.reductions, *step.sides]
        self.loops = max([self.level[n.operands[0]] for n in summed] + [self._store_level(s) for s in step.stores], default=0) + 1
        dtypes = [element(v.type) for v in self.members] + [tensor(s.value).dtype for s in step.stores]
        dtypes += [element(v.type) for n in step.nodes for v in n.operands]
        cost = sum(n.op.cost for n in (*step.nodes, *step.inlined.values()) if n not in step.combines)
        accumulates = bool(self.reductions) and len(self.space.shape) - 1 in self.space.reduced
        self.schedule = schedule(self.space.shape, dtypes, cost, accumulates, target)
        self.vector = self.schedule.vector_axis
        self._unroll_nests()
        self.stages: dict[Node, Value] = {}
        """Scratch for the values of sums of everything beside rows."""
        self.block_of_rows: Index = 0

    def _unroll_nests(self) -> None:
        """Runs of unknown length inside another reduced loop must end with the accumulators as they began: no rotation."""
        if self.vector not in self.space.reduced or len(self.space.reduced) == 1 or isinstance(self.space.shape[-1], int):
            return
        most = max((self.schedule.accumulators(element(n.result.type)) for n in self.reductions), default=1)
        self.schedule = replace(self.schedule, unroll=max(self.schedule.unroll, most))

    # --- levels -----------------------------------------------------------------------------------------------------------

    def _store_level(self, store: Store) -> int:
        return 0 if self._is_kept(store.value) else self.level.get(self.plan.view(store.value).base, 0)

    def _spills(self, loop: int, order: list[Node]) -> list[Value]:
        """Heavy values of this level that a later level needs again: they go to a row of scratch."""
        later = [node.operands[0] for node in (*self.reductions, *self.step.sides) if self.level[node.operands[0]] > loop]
        later += [s.value for s in self.step.stores if not self._is_kept(s.value) and self._store_level(s) > loop]
        again = {node.results[0] for node in self._needed(later)}
        return [n.results[0] for n in order if n.op.cost >= HEAVY and n.results[0] in again]

    # --- the loops ----------------------------------------------------------------------------------------------------------

    def run(self) -> Lowered:
        """The loop graph."""
        shape = self.space.shape
        if any(size == 0 for size in shape):
            self._empty()
            return self.lowered(self.schedule)
        outer = [k for k in range(len(shape)) if k not in self.space.reduced and k != self.vector]
        share, shared = self._share(outer)
        if self.step.sides:
            return self._rows_with_sides(outer, share)
        if self.step.partials:
            first, limit = self.shared() if share is not None else (0, self.size(self._block_count()))
            self.loop(self.b, first, limit, 1, (), lambda b, number, _: self._outer(b, outer, {}, number))
            return self.lowered(self.schedule, share)
        bounds: dict[int, tuple[Index, Index]] = {}
        if share is not None:
            bounds[shared] = self.shared()
        self._outer(self.b, outer, bounds)
        return replace(self.lowered(self.schedule, share), reused=self._reused())

    def _outer(self, b: Builder, axes: list[int], bounds: dict[int, tuple[Index, Index]], block: Index | None = None) -> Sequence[Value]:
        """Loops over the kept axes that are walked one by one; those in `bounds` in part. They carry nothing."""
        sizes = [bounds.get(k, (0, self.size(self.space.shape[k]))) for k in axes]
        turns = bounds.get(self.vector) if self.vector is not None else None
        self.nest(b, sizes, lambda c, at: self._kept(c, dict(zip(axes, at, strict=True)), turns, block))
        return ()

    def _reused(self) -> tuple[tuple[Value, Value], ...]:
        """Pairs of what is written and what is read, element by element: the first may take the place of the second.

        Only where all reads come before the one write, and nothing is read elsewhere than where the loops stand.
        """
        step = self.step
        if len(step.stores) != 1 or step.reduced or step.combines or any(node.op.name in ("gather", "pad") for node in step.nodes):
            return ()
        (store,) = step.stores
        written, target = self.space.stores[store], self.plan.root(store.target)
        apart: dict[Value, bool] = {}
        for read in self.space.accesses():
            if read is not written and read.base is not None:
                root = self.plan.root(read.base)
                same = (read.offset, read.strides) == (written.offset, written.strides)
                apart[root] = apart.get(root, False) or not same
        kind = tensor(target)
        return tuple(
            (target, root)
            for root, is_apart in apart.items()
            if not is_apart and root is not target and (tensor(root).size, tensor(root).dtype.itemsize) == (kind.size, kind.dtype.itemsize)
        )

    def _share(self, outer: list[int]) -> tuple[Share | None, int]:
        """How calls may share the work, and the kept axis whose indices, or turns, they share; not where it is too little."""
        shape, lanes = self.space.shape, self.schedule.lanes
        per_vector = sum(2 * n.op.cost for n in self.step.nodes) + len(self.space.accesses()) + len(self.step.partials)
        elements = product(shape)
        cycles = elements * per_vector // lanes if isinstance(elements, int) else elements * max(1, per_vector // lanes)
        if self.step.combines or (isinstance(cycles, int) and cycles < 2 * TASK_CYCLES):
            return None, -1
        if self.step.sides:
            return Share(self._row_blocks(), cycles), -1
        if self.step.partials:
            return Share(self._block_count(), cycles), -1
        units: dict[int, Size] = {k: shape[k] for k in outer}
        if self.vector is not None and self.vector not in self.space.reduced:
            units[self.vector] = (shape[self.vector] + (lanes * self.schedule.unroll - 1)) // (lanes * self.schedule.unroll)
        # The outermost axis that is long enough: its parts lie together in memory.
        for axis, size in units.items():
            if not isinstance(size, int) or size >= 16:
                return Share(size, cycles), axis
        longest = max(units, key=lambda k: int(units[k]), default=-1)  # type: ignore[arg-type]
        if longest < 0 or units[longest] == 1:
            return None, -1
        return Share(units[longest], cycles), longest

    def _block_count(self) -> Size:
        """The number of blocks of a step that makes partial results."""
        memory = next(iter((self.step.partials or self.step.combines).values()))
        return tensor(memory).shape[0]

    # --- rows with sides ----------------------------------------------------------------------------------------------------

    def _row_blocks(self) -> Size:
        """The number of blocks of rows."""
        rows = product(tuple(self.space.shape[k] for k in range(len(self.space.shape)) if k not in self.space.reduced))
        return (rows + (COLUMN_BLOCK - 1)) // COLUMN_BLOCK

    def _rows_with_sides(self, outer: list[int], share: Share | None) -> Lowered:
        """Rows in blocks of `COLUMN_BLOCK`. A block adds its columns up in their partial results.

        Sums of everything have blocks of few rows, whose values are staged and added up when the last of these rows is done.
        """
        first, limit = self.shared() if share is not None else (0, self.size(self._row_blocks()))
        walk = Walk(self, self.space.shape, frozenset(outer), COLUMN_BLOCK)
        together = self._together()
        for node in self._everything():
            self.stages[node] = self.scratch_buffer(BufferType(element(node.result.type), (ROW_BLOCK,)))

        def block(b: Builder, number: Index, _: list[Value]) -> Sequence[Value]:
            self._clear_columns(b, number)
            start = self.mul(b, number, COLUMN_BLOCK)
            end = self.least(b, self.add(b, start, COLUMN_BLOCK), self.size(walk.length))
            self.loop(b, start, end, together, (), lambda c, at, _: group(c, number, at, self.least(c, self.add(c, at, together), end)))
            return ()

        def group(b: Builder, number: Index, start: Index, end: Index) -> Sequence[Value]:
            def row(c: Builder, r: Index, _: list[Value]) -> Sequence[Value]:
                self.block_of_rows = number
                staged = self.mul(c, self.sub(c, r, start), self.size(self.space.shape[-1]))
                self._row(c, [Frame(walk.place(c, r, outer), 1, staged=staged)], None)
                return ()

            self.loop(b, start, end, 1, (), row)
            for node, stage in self.stages.items():
                self._add_stage(b, node, stage, self.quotient(b, start, together), self.sub(b, end, start))
            return ()

        self.loop(self.b, first, limit, 1, (), block)
        return self.lowered(self.schedule, share)

    def _everything(self) -> list[Node]:
        """The sides that are sums of everything."""
        return [n for n in self.step.sides if not real_axes(tensor(n.result).shape)]

    def _together(self) -> int:
        """Rows in a block of a sum of everything."""
        row = self.space.shape[-1]
        return ROW_BLOCK // row if self._everything() and isinstance(row, int) else 1

    def _clear_columns(self, b: Builder, block: Index) -> None:
        """Begin the partial results of a block of columns with the identity."""
        assert self.vector is not None
        for node in self.step.sides:
            if node in self.stages:
                continue

            def turn(c: Builder, i: Index, masks: list[Value | None], values: list[Value], node: Node = node) -> Sequence[Value]:
                for copy, mask in enumerate(masks):
                    frame = Frame({len(self.space.shape) - 1: i}, self.schedule.lanes, copy * self.schedule.lanes, mask)
                    self._store_partial(c, node, block, frame, identity(c, node, frame.lanes))
                return ()

            self.vectors(b, 0, self.size(self.space.shape[-1]), self.schedule.lanes, self.schedule.unroll, (), turn)

    def _pass_by(self, b: Builder, node: Node, row: Frame, frame: Frame) -> None:
        """Add a copy of the body to its columns, or stage it."""
        with b.at(node.location):
            x = self.read(b, node.operands[0], frame)
            if node in self.stages:
                index = self.as_value(b, self.add(b, row.staged, frame.index[len(self.space.shape) - 1]))
                b.emit(REGISTRY["store"], (self.stages[node], index, x, *frame.masks), {"offset": frame.offset})
                return
            place, offset = self._partial_place(b, node, self.block_of_rows, frame)
            operands = (self.buffer(self.space.partials[node].base), place, *frame.masks)
            before = b.emit(REGISTRY["reload"], operands, {"type": lane_type(element(x.type), frame.lanes), "offset": offset})[0]
            self._store_partial(b, node, self.block_of_rows, frame, joined(b, node, before, x))

    def _add_stage(self, b: Builder, node: Node, stage: Value, block: Index, rows: Index) -> None:
        """Add up the rows that are staged, as the block that they are."""
        walk = Walk(self, (ROW_BLOCK,), frozenset((0,)), ROW_BLOCK)
        total = staged_sum(self, self.schedule, walk, node, stage, b, self.mul(b, rows, self.size(self.space.shape[-1])))
        self._store_partial(b, node, block, Frame({}, 1), total)

    def _empty(self) -> None:
        """Over an empty space only reductions that are not empty themselves have a value: their identity."""
        shape, reduced = self.space.shape, self.space.reduced
        self.space.shape = tuple(1 if k in reduced else s for k, s in enumerate(shape))
        if any(size == 0 for size in self.space.shape):
            return
        outer = [k for k in range(len(shape)) if k not in reduced]
        kept_stores = [s for s in self.step.stores if self._is_kept(s.value)]

        def body(b: Builder, at: list[Index]) -> None:
            frame = Frame(dict(zip(outer, at, strict=True)), 1)
            for node in self.reductions:
                frame.values[node.result] = identity(b, node, 1)
            self._write(b, kept_stores, frame)

        self.nest(self.b, [(0, self.size(shape[k])) for k in outer], body)

    def _kept(self, b: Builder, index: dict[int, Index], turns: tuple[Index, Index] | None, block: Index | None) -> None:
        """The work at one position of the kept axes that are walked one by one; of the vector axis, some `turns` or all."""
        if self.vector is None or self.vector in self.space.reduced:
            self._row(b, [Frame(index, 1)], block)
            return

        def body(c: Builder, frames: list[Frame], carried: list[Value]) -> Sequence[Value]:
            self._row(c, frames, block)
            return ()

        self._vector_loop(b, index, None, 0, self.size(self.space.shape[self.vector]), (), body, turns=turns)

    def _row(self, b: Builder, rows: list[Frame], block: Index | None) -> None:
        """All levels for one position of the kept axes (several vectors of them when unrolled); with `block`, of that block."""
        if self.step.combines:
            self._combine(b, rows)
        else:
            self._passes(b, rows, block)
        if self.space.reduced:
            kept_stores = [s for s in self.step.stores if self._is_kept(s.value)]
            for frame in rows:
                self._write(b, kept_stores, frame)

    def _passes(self, b: Builder, rows: list[Frame], block: Index | None) -> None:
        """One pass over the reduced axes for each level."""
        full_stores = [s for s in self.step.stores if not self._is_kept(s.value)]
        for loop in range(self.loops):
            own = [n for n in self.reductions if self.level[n.operands[0]] == loop]
            stores = [s for s in full_stores if self._store_level(s) == loop]
            if not self.space.reduced:
                for frame in rows:
                    self._write(b, stores, frame)
            elif own or stores or self._sides(loop):
                self._level(b, loop, rows, own, stores, block)

    def _sides(self, loop: int) -> list[Node]:
        """The sides whose values are there on a level."""
        return [n for n in self.step.sides if self.level[n.operands[0]] == loop]

    def _level(self, b: Builder, loop: int, rows: list[Frame], own: list[Node], stores: list[Store], block: Index | None) -> None:
        """One pass over the reduced axes: fills the rows with the results of `own`, writes `stores`; with `block`, of that block."""
        across = self.vector in self.space.reduced
        walk = self._walk(own)
        accumulators = Accumulators(self, self.schedule, walk, own, rows, across, self.read, in_blocks=block is not None)
        inner = walk.axes[-1]
        sides = self._sides(loop)
        wanted = [n.operands[0] for n in (*own, *sides)] + [s.value for s in stores]
        order = self._needed(wanted)
        self._prepare(b, [*wanted, *(v for node in order for v in node.operands)], rows)
        spills = self._spills(loop, order) if across else []

        def work(c: Builder, frames: list[Frame], carried: list[Value]) -> Sequence[Value]:
            for copy, frame in enumerate(frames):
                self._evaluate(c, order, frame)
                self._write(c, stores, frame)
                for value in spills:
                    self._spill(c, value, frame)
                for node in sides:
                    self._pass_by(c, node, rows[0], frame)
                carried = accumulators.add(c, carried, copy, frame)
            return accumulators.turned(carried, len(frames))

        def segment(c: Builder, place: dict[int, Index], at: Segment, carried: list[Value]) -> list[Value]:
            index = {**rows[0].index, **place, **at.place}
            if across:
                behind = at.behind if accumulators.is_staged else None
                return self._vector_loop(c, index, rows[0], at.start, at.count, carried, work, behind)
            return self.loop(
                c, at.start, self.add(c, at.start, at.count), 1, carried,
                lambda d, i, inside: work(d, [self._below(row, {**index, inner: i}) for row in rows], inside),
            )  # fmt: skip

        if block is None:
            accumulators.finish(b, accumulators.run(b, accumulators.start(b), segment))
            return
        for node, results in accumulators.one_block(b, block, segment):
            for row, value in zip(rows, results, strict=True):
                self._store_partial(b, node, block, row, value)

    def _walk(self, own: list[Node]) -> Walk:
        across = self.vector in self.space.reduced
        blocked = self.step.partials or self.step.combines or any(map(has_order, own))
        return Walk(self, self.space.shape, self.space.reduced, (ROW_BLOCK if across else COLUMN_BLOCK) if blocked else None)

    def _combine(self, b: Builder, rows: list[Frame]) -> None:
        """Fills the rows with the results of reductions whose blocks another step has added up."""
        across = self.vector in self.space.reduced
        accumulators = Accumulators(
            self, self.schedule, self._walk(self.reductions), self.reductions, rows, across, self.read, in_blocks=True
        )

        def read(c: Builder, node: Node, number: Index, row: Frame) -> Value:
            place, offset = self._partial_place(c, node, number, row)
            buffer = self.buffer(self.space.partials[node].base)
            type_ = lane_type(element(node.result.type), row.lanes)
            return c.emit(REGISTRY["load"], (buffer, place, *row.masks), {"type": type_, "offset": offset})[0]

        accumulators.combined(b, self.size(self._block_count()), read)

    def _below(self, row: Frame, index: dict[int, Index]) -> Frame:
        """A frame of the reduced loops under a row whose lanes run along a kept axis."""
        return Frame({**row.index, **index}, row.lanes, row.offset, row.mask, row)

    def _vector_loop(
        self,
        b: Builder,
        index: dict[int, Index],
        row: Frame | None,
        start: Index,
        count: Index,
        carried: Sequence[Value],
        body: Callable[[Builder, list[Frame], list[Value]], Sequence[Value]],
        behind: Index | None = None,
        turns: tuple[Index, Index] | None = None,
    ) -> list[Value]:
        """`count` elements of the vector axis in frames; the first of them lies `behind` elements after the start of its piece.

        With `turns`, only those turns of the loop.
        """
        assert self.vector is not None
        axis, lanes = self.vector, self.schedule.lanes

        def turn(c: Builder, i: Index, masks: list[Value | None], values: list[Value]) -> Sequence[Value]:
            staged = self.add(c, self.sub(c, i, start), behind) if behind is not None else 0
            frames = [Frame({**index, axis: i}, lanes, u * lanes, mask, row, staged=staged) for u, mask in enumerate(masks)]
            return body(c, frames, values)

        window = self._window(b) if row is None else None
        if window is None:
            return self.vectors(b, start, count, lanes, self.schedule.unroll, carried, turn, turns)
        # Turns inside of all pads need no masks.
        size = lanes * self.schedule.unroll
        first, limit = turns if turns is not None else (0, self.ceiling(b, count, size))
        low, high = self.ceiling(b, window[0], size), self.quotient(b, window[1], size)
        self.vectors(b, 0, count, lanes, self.schedule.unroll, (), turn, (first, self.least(b, limit, low)))
        self.is_inside = True
        whole = self.mul(b, high, size)
        self.vectors(b, 0, whole, lanes, self.schedule.unroll, (), turn, (self.most(b, first, low), self.least(b, limit, high)))
        self.is_inside = False
        return self.vectors(b, 0, count, lanes, self.schedule.unroll, (), turn, (self.most(b, first, self.most(b, low, high)), limit))

    def _window(self, b: Builder) -> tuple[Index, Index] | None:
        """The part of the vector axis that lies inside of all pads; None without pads along it."""
        assert self.vector is not None
        low: Index = 0
        high = self.size(self.space.shape[self.vector])
        found = False
        for node in self.step.nodes:
            size = tensor(node.operands[0]).shape[self.vector] if node.op.name == "pad" else 0
            if node.op.name == "pad" and size != self.space.shape[self.vector]:
                before: Any = node.attrs["low"]
                start = self.size(before[self.vector])
                low, high = self.most(b, low, start), self.least(b, high, self.add(b, start, self.size(size)))
                found = True
        return (low, high) if found and self.schedule.lanes > 1 else None


def lower_kernel(plan: Plan, step: Step, target: Target, name: str) -> Lowered:
    """The loop graph of a fused kernel."""
    return KernelLowering(plan, step, target, name).run()
