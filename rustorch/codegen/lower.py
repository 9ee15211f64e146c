"""From a fused kernel to loops: one loop graph per kernel, already vectorised as its schedule says.

The loops are: kept axes outermost; then, once per *level*, the reduced axes. A level computes the reductions whose operands
are known, so a softmax runs level 0 (maximum), level 1 (sum of exponentials) and level 2 (quotients) over a row that is in
cache. The innermost axis is the vector axis; its last, partial vector is masked. Loop-invariant code moves outwards by
itself, because the builder emits a pure node where its operands are defined.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rustorch.codegen.fuse import Plan, Step, Store, is_kept
from rustorch.codegen.schedule import WIDE_ABOVE, Schedule, schedule
from rustorch.codegen.space import Access, Iota, Space, Static
from rustorch.codegen.target import Target
from rustorch.codegen.views import tensor
from rustorch.ir.builder import Builder
from rustorch.ir.dims import Dim, Size, evaluate, symbols
from rustorch.ir.dtypes import f64, i32, i64
from rustorch.ir.graph import Graph, Node, Value
from rustorch.ir.op import REGISTRY, Monoid, Trait
from rustorch.ir.types import BufferType, DType, Type, VectorType, contiguous_strides, element

Index = int | Value
HEAVY = 10
"""Values of at least this cost are kept for the next level instead of being computed again."""


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


@dataclass(frozen=True)
class Lowered:
    """A kernel as a loop graph. Its inputs stand for `memory`, then `scratch`, then the symbolic sizes `dims`, in order."""

    graph: Graph
    memory: tuple[Value, ...]
    scratch: tuple[BufferType, ...]
    dims: tuple[str, ...]
    schedule: Schedule
    flagged: bool = False
    """Whether the last memory input is the flag of failed checks."""


_OPAQUE: dict[str, Callable[[Builder, Value, Value], Value]] = {
    "floordiv": lambda b, x, y: b.div(x, y),  # sizes are not negative
    "mod": lambda b, x, y: b.sub(x, b.mul(b.div(x, y), y)),
    "min": lambda b, x, y: b.minimum(x, y),
    "max": lambda b, x, y: b.maximum(x, y),
}


class LoopEmitter:
    """What every lowering needs: sizes, index arithmetic, memory parameters, loops."""

    def __init__(self, plan: Plan, name: str) -> None:
        self.plan, self.name = plan, name
        self.b = Builder()
        self.memory: dict[Value, Value] = {}
        self.scratch: list[tuple[BufferType, Value]] = []
        self.dims: dict[str, Value] = {}
        self.flag: Value | None = None

    def root(self, value: Value) -> Value:
        """The value whose memory this is."""
        while value in self.plan.aliases:
            value = self.plan.aliases[value]
        return value

    def buffer(self, value: Value) -> Value:
        """The loop-level buffer behind a tensor value."""
        owner = self.root(value)
        found = self.memory.get(owner)
        if found is None:
            type_ = tensor(owner)
            found = self.memory[owner] = Value(BufferType(type_.dtype, type_.shape), owner.hint)
            self.b._owned.add(found)
        return found

    def scratch_buffer(self, type_: BufferType) -> Value:
        """A buffer of this kernel's own."""
        value = Value(type_, "scratch")
        self.b._owned.add(value)
        self.scratch.append((type_, value))
        return value

    def flag_buffer(self) -> Value:
        """The word that a failed check writes its number to."""
        if self.flag is None:
            self.flag = Value(BufferType(i32, (1,)), "flag")
            self.b._owned.add(self.flag)
        return self.flag

    def lowered(self, schedule_: Schedule) -> Lowered:
        """The finished kernel."""
        flag = [] if self.flag is None else [self.flag]
        inputs = [*self.memory.values(), *(v for _, v in self.scratch), *flag, *self.dims.values()]
        graph = Graph(self.name, tuple(inputs), tuple(self.b.nodes), ())
        return Lowered(
            graph, tuple(self.memory), tuple(t for t, _ in self.scratch), tuple(self.dims), schedule_, self.flag is not None
        )

    # --- index arithmetic -------------------------------------------------------------------------------------------------

    def size(self, size: Size) -> Index:
        """A size as an index: an int stays one, a symbol becomes a run-time input of the kernel."""
        if not isinstance(size, Dim):
            return size
        total: Index = 0
        for monomial, coefficient in size.terms:
            term: Index = coefficient
            for atom in monomial:
                if atom.kind == "symbol":
                    value: Index = self._dim(atom.name)
                else:
                    left, right = self.as_value(self.b, self.size(atom.left)), self.as_value(self.b, self.size(atom.right))
                    value = _OPAQUE[atom.kind](self.b, left, right)
                term = self.mul(self.b, term, value)
            total = self.add(self.b, total, term)
        return total

    def _dim(self, name: str) -> Value:
        if name not in self.dims:
            self.dims[name] = Value(i64, name)
            self.b._owned.add(self.dims[name])
        return self.dims[name]

    def as_value(self, b: Builder, index: Index) -> Value:
        """An index as a value."""
        return b.const(index, i64) if isinstance(index, int) else index

    def add(self, b: Builder, x: Index, y: Index) -> Index:
        """x + y."""
        if isinstance(x, int) and isinstance(y, int):
            return x + y
        if x == 0 and isinstance(x, int):
            return y
        if y == 0 and isinstance(y, int):
            return x
        result: Value = b.add(self.as_value(b, x), self.as_value(b, y))
        return result

    def mul(self, b: Builder, x: Index, y: Index) -> Index:
        """x * y."""
        if isinstance(x, int) and isinstance(y, int):
            return x * y
        for a, c in ((x, y), (y, x)):
            if isinstance(a, int) and a in (0, 1):
                return 0 if a == 0 else c
        result: Value = b.mul(self.as_value(b, x), self.as_value(b, y))
        return result

    def loop(
        self, b: Builder, lo: Index, hi: Index, step: int, carried: Sequence[Value], body: Callable[[Builder, Index, list[Value]], Sequence[Value]]
    ) -> list[Value]:
        """`for lo..hi step` with carried values; a loop of one known turn is just its body."""
        if isinstance(lo, int) and isinstance(hi, int):
            if hi <= lo:
                return list(carried)
            if hi - lo <= step:
                return list(body(b, lo, list(carried)))
        inner = b.region()
        i = inner.input(i64, "i")
        inits = [inner.input(v.type, v.hint) for v in carried]
        yielded = body(inner, i, inits)
        region = inner.build(yielded, "body")
        return list(b.emit(REGISTRY["for"], (self.as_value(b, lo), self.as_value(b, hi), *carried), {"step": step}, (region,)))


class KernelLowering(LoopEmitter):
    """Lowers one fused kernel."""

    def __init__(self, plan: Plan, step: Step, target: Target, name: str) -> None:
        super().__init__(plan, name)
        self.step, self.target = step, target
        self.space = Space(plan, step)
        self.members = {v: node for node in step.nodes for v in node.results if v not in self.space.copies}
        self.reductions = [n for n in step.nodes if n.op.has(Trait.REDUCTION) and n.result in self.members]
        self.level = self._levels()
        self.loops = max([self.level[n.operands[0]] for n in self.reductions] + [self._store_level(s) for s in step.stores], default=0) + 1
        dtypes = [element(v.type) for v in self.members] + [tensor(s.value).dtype for s in step.stores]
        dtypes += [element(v.type) for n in step.nodes for v in n.operands]
        cost = sum(n.op.cost for n in step.nodes)
        self.schedule = schedule(
            self.space.shape, self.space.reduced, dtypes, cost, target, [element(n.result.type) for n in self.reductions]
        )
        self.vector = self.schedule.vector_axis
        self.spilled: dict[Value, Value] = {}

    # --- levels -----------------------------------------------------------------------------------------------------------

    def _levels(self) -> dict[Value, int]:
        level: dict[Value, int] = {}
        for node in self.step.nodes:
            highest = max((level.get(self.plan.view(v).base, 0) for v in node.operands), default=0)
            for operand in node.operands:
                level.setdefault(operand, level.get(self.plan.view(operand).base, 0))
            own = highest + 1 if node in self.reductions else highest
            for value in node.results:
                level[value] = own
        return level

    def _store_level(self, store: Store) -> int:
        return 0 if self._is_kept(store.value) else self.level.get(self.plan.view(store.value).base, 0)

    def _is_kept(self, value: Value) -> bool:
        return is_kept(self.step, value)

    # --- the loops ----------------------------------------------------------------------------------------------------------

    def run(self) -> Lowered:
        """The loop graph."""
        shape = self.space.shape
        if any(size == 0 for size in shape):
            self._empty()
            return self.lowered(self.schedule)
        outer = [k for k in range(len(shape)) if k not in self.space.reduced and k != self.vector]
        self._kept_loops(self.b, outer, {})
        return self.lowered(self.schedule)

    def _empty(self) -> None:
        """Over an empty space only reductions that are not empty themselves have a value: their identity."""
        shape, reduced = self.space.shape, self.space.reduced
        self.space.shape = tuple(1 if k in reduced else s for k, s in enumerate(shape))
        if any(size == 0 for size in self.space.shape):
            return
        outer = [k for k in range(len(shape)) if k not in reduced]
        kept_stores = [s for s in self.step.stores if self._is_kept(s.value)]

        def nest(b: Builder, axes: list[int], index: dict[int, Index]) -> None:
            if axes:
                self.loop(b, 0, self.size(shape[axes[0]]), 1, (), lambda c, i, _: nest(c, axes[1:], {**index, axes[0]: i}) or ())
                return
            frame = Frame(index, 1)
            for node in self.reductions:
                frame.values[node.result] = self._identity(b, node, 1)
            self._write(b, kept_stores, frame)

        nest(self.b, outer, {})

    def _kept_loops(self, b: Builder, axes: list[int], index: dict[int, Index]) -> None:
        if axes:
            axis = axes[0]
            self.loop(
                b, 0, self.size(self.space.shape[axis]), 1, (), lambda c, i, _: self._kept_loops(c, axes[1:], {**index, axis: i}) or ()
            )
            return
        if self.vector is None or self.vector in self.space.reduced:
            self._row(b, [Frame(dict(index), 1)])
        else:

            def body(c: Builder, frames: list[Frame], carried: list[Value]) -> Sequence[Value]:
                self._row(c, frames)
                return ()

            self._vector_loop(b, index, None, (), body)

    def _row(self, b: Builder, rows: list[Frame]) -> None:
        """All levels for one position of the kept axes (several vectors of them when unrolled)."""
        full_stores = [s for s in self.step.stores if not self._is_kept(s.value)]
        for loop in range(self.loops):
            reductions = [n for n in self.reductions if self.level[n.operands[0]] == loop]
            stores = [s for s in full_stores if self._store_level(s) == loop]
            if not self.space.reduced:
                for frame in rows:
                    self._write(b, stores, frame)
            elif reductions or stores:
                self._level(b, loop, rows, reductions, stores)
        if self.space.reduced:
            kept_stores = [s for s in self.step.stores if self._is_kept(s.value)]
            for frame in rows:
                self._write(b, kept_stores, frame)

    def _level(self, b: Builder, loop: int, rows: list[Frame], reductions: list[Node], stores: list[Store]) -> None:
        """One pass over the reduced axes: fills the rows with the results of `reductions`, writes `stores`."""
        across = self.vector in self.space.reduced
        accumulators = Accumulators(self, reductions, rows, across)
        order = self._needed([n.operands[0] for n in reductions] + [s.value for s in stores])
        spills = self._spills(loop, order) if across else []
        axes = sorted(self.space.reduced)
        inner = axes[-1]

        def work(c: Builder, frames: list[Frame], carried: list[Value]) -> Sequence[Value]:
            for copy, frame in enumerate(frames):
                self._evaluate(c, order, frame)
                self._write(c, stores, frame)
                for value in spills:
                    self._spill(c, value, frame)
                carried = accumulators.add(c, carried, copy, frame)
            return carried

        def innermost(c: Builder, index: dict[int, Index], carried: list[Value]) -> list[Value]:
            if across:
                return self._vector_loop(c, index, rows[0], carried, work, accumulators)
            size = self.size(self.space.shape[inner])
            return accumulators.blocked(c, 0, size, 1, carried, lambda d, lo, hi, acc: self.loop(
                d, lo, hi, 1, acc, lambda e, i, values: work(e, [self._below(row, {**index, inner: i}) for row in rows], values)
            ))

        def nest(c: Builder, remaining: list[int], index: dict[int, Index], carried: list[Value]) -> list[Value]:
            if not remaining:
                return innermost(c, index, carried)
            axis = remaining[0]
            return self.loop(
                c, 0, self.size(self.space.shape[axis]), 1, carried, lambda d, i, values: nest(d, remaining[1:], {**index, axis: i}, values)
            )

        accumulators.finish(b, nest(b, axes[:-1], dict(rows[0].index), accumulators.start(b)))

    def _below(self, row: Frame, index: dict[int, Index]) -> Frame:
        """A frame of the reduced loops under a row whose lanes run along a kept axis."""
        return Frame({**row.index, **index}, row.lanes, row.offset, row.mask, row)

    def _vector_loop(
        self,
        b: Builder,
        index: dict[int, Index],
        row: Frame | None,
        carried: Sequence[Value],
        body: Callable[[Builder, list[Frame], list[Value]], Sequence[Value]],
        accumulators: Accumulators | None = None,
    ) -> list[Value]:
        """The vector axis: full turns of `unroll` vectors, then what is left, its last vector masked."""
        assert self.vector is not None
        axis, lanes, unroll = self.vector, self.schedule.lanes, self.schedule.unroll
        turn = lanes * unroll
        size = self.space.shape[axis]

        def frames(c: Builder, i: Index, masks: list[Value | None]) -> list[Frame]:
            return [Frame({**index, axis: i}, lanes, u * lanes, mask, row) for u, mask in enumerate(masks)]

        def full(c: Builder, i: Index, values: list[Value]) -> Sequence[Value]:
            return body(c, frames(c, i, [None] * unroll), values)

        def tail(c: Builder, i: Index, values: list[Value]) -> Sequence[Value]:
            masks: list[Value | None] = []
            if isinstance(size, int):
                rest = size % turn
                for u in range(-(-rest // lanes)):
                    left = rest - u * lanes
                    masks.append(None if left >= lanes else c.mask_below(c.const(left, i64), lanes=lanes))
            else:
                left_value = c.sub(self.as_value(c, self.size(size)), self.as_value(c, i))
                masks = [c.mask_below(self.as_value(c, self.add(c, left_value, -u * lanes)), lanes=lanes) for u in range(unroll)]
            return body(c, frames(c, i, masks), values)

        if isinstance(size, int):
            main: Index = size // turn * turn
        else:
            whole = self.as_value(b, self.size(size))
            main = b.and_(whole, b.const(-turn, i64))
        run = accumulators.blocked if accumulators is not None else _unblocked
        values = run(b, 0, main, turn, list(carried), lambda c, lo, hi, acc: self.loop(c, lo, hi, turn, acc, full))
        end = self.size(size)
        if isinstance(main, int) and main == end:
            return values
        return run(b, main, end, turn, values, lambda c, lo, hi, acc: self.loop(c, lo, hi, turn, acc, tail))

    # --- the body -----------------------------------------------------------------------------------------------------------

    def _needed(self, values: Sequence[Value]) -> list[Node]:
        """The full members that values need and that no spill provides, in order."""
        wanted = {self.plan.view(v).base for v in values}
        found: list[Node] = []
        for node in reversed(self.step.nodes):
            value = node.results[0]
            if value in wanted and value in self.members and not self._is_kept(value) and value not in self.spilled:
                found.append(node)
                wanted.update(self.plan.view(v).base for v in node.operands)
        return found[::-1]

    def _spills(self, loop: int, order: list[Node]) -> list[Value]:
        """Heavy values of this level that a later level needs again: they go to a row of scratch."""
        later: list[Value] = []
        for node in self.reductions:
            if self.level[node.operands[0]] > loop:
                later.append(node.operands[0])
        later += [s.value for s in self.step.stores if not self._is_kept(s.value) and self._store_level(s) > loop]
        again = {node.results[0] for node in self._needed(later)}
        return [n.results[0] for n in order if n.op.cost >= HEAVY and n.results[0] in again]

    def _spill(self, b: Builder, value: Value, frame: Frame) -> None:
        type_ = BufferType(element(value.type), tuple(self.space.shape[k] for k in sorted(self.space.reduced)))
        if value not in self.spilled:
            self.spilled[value] = self.scratch_buffer(type_)
        index, offset = self._scratch_index(b, frame)
        mask = () if frame.mask is None else (frame.mask,)
        b.emit(REGISTRY["store"], (self.spilled[value], index, frame.values[value], *mask), {"offset": offset})

    def _scratch_index(self, b: Builder, frame: Frame) -> tuple[Value, int]:
        total: Index = 0
        step: Size = 1
        for axis in sorted(self.space.reduced, reverse=True):
            total = self.add(b, self.mul(b, frame.index[axis], self.size(step)), total)
            step = step * self.space.shape[axis]
        return self.as_value(b, total), frame.offset

    def _evaluate(self, b: Builder, order: Sequence[Node], frame: Frame) -> None:
        for node in order:
            if node.results[0] in frame.values:
                continue
            with b.at(node.location):
                if node.op.name == "gather":
                    results: tuple[Value, ...] = (self._gather(b, node, frame),)
                else:
                    operands = [self.read(b, v, frame) for v in node.operands]
                    results = b.emit(node.op, operands, node.attrs)
            frame.values.update(zip(node.results, results, strict=True))

    def read(self, b: Builder, operand: Value, frame: Frame, through: bool = False) -> Value:
        """An operand at the frame's position."""
        source = self.space.source(operand, through)
        if isinstance(source, Value):
            if source in self.spilled and source not in frame.values:
                index, offset = self._scratch_index(b, frame)
                mask = () if frame.mask is None else (frame.mask,)
                type_ = self._type(element(source.type), frame.lanes)
                frame.values[source] = b.emit(
                    REGISTRY["reload"], (self.spilled[source], index, *mask), {"type": type_, "offset": offset}
                )[0]
            if self._is_kept(source) and frame.row is not None:
                return self._widen(b, self._kept_value(b, source, frame.row), frame.lanes)
            if self._is_kept(source):
                return self._kept_value(b, source, frame)
            if source not in frame.values:
                self._evaluate(b, self._needed([source]), frame)
            return frame.values[source]
        if isinstance(source, Static):
            return b.const(source.value, self._type(source.dtype, frame.lanes))
        if isinstance(source, Iota):
            return self._iota(b, source, frame)
        return self._load(b, source, frame)

    def _kept_value(self, b: Builder, value: Value, row: Frame) -> Value:
        if value not in row.values:
            wanted = {value}
            order: list[Node] = []
            for node in reversed(self.step.nodes):
                if node.results[0] in wanted and node.results[0] not in row.values:
                    order.append(node)
                    wanted.update(self.plan.view(v).base for v in node.operands)
            self._evaluate(b, order[::-1], row)
        return row.values[value]

    def _widen(self, b: Builder, value: Value, lanes: int) -> Value:
        if lanes > 1 and isinstance(value.type, DType):
            return b.splat(value, lanes=lanes)  # type: ignore[no-any-return]
        return value

    def _type(self, dtype: DType, lanes: int) -> Type:
        return dtype if lanes == 1 else VectorType(dtype, lanes)

    def _linear(self, b: Builder, access: Access, frame: Frame) -> tuple[Value, int, Size]:
        """Index of the frame's first lane, the constant part apart, and the stride from lane to lane."""
        total: Index = 0
        constant = access.offset if isinstance(access.offset, int) else 0
        if not isinstance(access.offset, int):
            total = self.size(access.offset)
        for axis, stride in enumerate(access.strides):
            if axis not in frame.index or stride == 0:
                continue
            total = self.add(b, total, self.mul(b, frame.index[axis], self.size(stride)))
        lane_stride: Size = access.strides[self.vector] if self.vector is not None and frame.lanes > 1 else 0
        if frame.offset and lane_stride != 0:
            if isinstance(lane_stride, int):
                constant += frame.offset * lane_stride
            else:
                total = self.add(b, total, self.mul(b, self.size(lane_stride), frame.offset))
        return self.as_value(b, total), constant, lane_stride

    def _load(self, b: Builder, access: Access, frame: Frame) -> Value:
        index, offset, stride = self._linear(b, access, frame)
        buffer = self.buffer(access.base)
        mask = () if frame.mask is None else (frame.mask,)
        if frame.lanes == 1 or stride == 0:
            scalar = b.emit(REGISTRY["load"], (buffer, index), {"type": buffer.type.dtype, "offset": offset})[0]  # type: ignore[union-attr]
            return self._widen(b, scalar, frame.lanes)
        type_ = self._type(tensor(access.base).dtype, frame.lanes)
        if stride == 1:
            return b.emit(REGISTRY["load"], (buffer, index, *mask), {"type": type_, "offset": offset})[0]
        step = self.as_value(b, self.size(stride))
        return b.emit(REGISTRY["load_strided"], (buffer, index, step, *mask), {"type": type_, "offset": offset})[0]

    def _iota(self, b: Builder, iota: Iota, frame: Frame) -> Value:
        index, offset, stride = self._linear(b, iota.access, frame)
        first: Value = self.as_value(b, self.add(b, index, offset))
        value = self._widen(b, first, frame.lanes)
        if stride != 0 and frame.lanes > 1:
            steps = b.lane_index(lanes=frame.lanes)
            value = b.add(value, b.mul(steps, self._widen(b, self.as_value(b, self.size(stride)), frame.lanes)))
        if iota.dtype is i64:
            return value
        return b.convert(value, dtype=iota.dtype)  # type: ignore[no-any-return]

    def _gather(self, b: Builder, node: Node, frame: Frame) -> Value:
        access, size, step = self.space.gathers[node]
        chosen = self.read(b, node.operands[1], frame)
        if element(chosen.type) is not i64:
            chosen = b.convert(chosen, dtype=i64)
        inside = b.and_(b.ge(chosen, 0), b.lt(chosen, self._widen(b, self.as_value(b, self.size(size)), frame.lanes)))
        outside = b.not_(inside)
        if frame.mask is not None:
            outside, inside = b.and_(outside, frame.mask), b.and_(inside, frame.mask)
        b.emit(REGISTRY["check"], (outside, self.flag_buffer()), {"number": 1})
        index, offset, stride = self._linear(b, access, frame)
        first = self._widen(b, self.as_value(b, self.add(b, index, offset)), frame.lanes)
        if stride != 0 and frame.lanes > 1:
            lanes = b.lane_index(lanes=frame.lanes)
            first = b.add(first, b.mul(lanes, self._widen(b, self.as_value(b, self.size(stride)), frame.lanes)))
        where = b.add(first, b.mul(chosen, self._widen(b, self.as_value(b, self.size(step)), frame.lanes)))
        return b.emit(REGISTRY["load_indexed"], (self.buffer(access.base), where, inside))[0]

    def _write(self, b: Builder, stores: Sequence[Store], frame: Frame) -> None:
        for item in stores:
            source = self.read(b, item.value, frame, through=item.value is item.target)
            access = self.space.stores[item]
            index, offset, stride = self._linear(b, access, frame)
            buffer = self.buffer(item.target)
            mask = () if frame.mask is None else (frame.mask,)
            producer = self.plan.producers.get(item.value)
            with b.at(producer.location if producer is not None else b.location):
                if frame.lanes == 1 or stride == 1:
                    b.emit(REGISTRY["store"], (buffer, index, source, *mask), {"offset": offset})
                else:
                    step = self.as_value(b, self.size(stride))
                    b.emit(REGISTRY["store_strided"], (buffer, index, source, step, *mask), {"offset": offset})

    def _identity(self, b: Builder, node: Node, lanes: int) -> Value:
        assert isinstance(node.op.lower, Monoid)
        dtype = element(node.result.type)
        return b.const(node.op.lower.identity(dtype), self._type(dtype, lanes))


class Accumulators:
    """The running values of one level's reductions: `count` vectors each, float32 sums of many elements in float64 blocks."""

    def __init__(self, kernel: KernelLowering, reductions: list[Node], rows: list[Frame], across: bool) -> None:
        self.kernel, self.reductions, self.rows, self.across = kernel, reductions, rows, across
        self.lanes = kernel.schedule.lanes if across else rows[0].lanes
        sizes = [kernel.space.shape[k] for k in kernel.space.reduced]
        self.many = not all(isinstance(s, int) for s in sizes) or _product(sizes) > WIDE_ABOVE
        self.counts = [self._count(n) for n in reductions]

    def _count(self, node: Node) -> int:
        if not self.across:
            return len(self.rows)
        return min(self.kernel.schedule.accumulators(element(node.result.type)), self.kernel.schedule.unroll)

    def _is_wide(self, node: Node) -> bool:
        assert isinstance(node.op.lower, Monoid)
        return self.many and node.op.lower.combine == "add" and element(node.result.type).short == "f32"

    def start(self, b: Builder) -> list[Value]:
        """The identities that the outermost reduced loop carries in."""
        carried: list[Value] = []
        for node, count in zip(self.reductions, self.counts, strict=True):
            identity = self.kernel._identity(b, node, self.lanes)
            if self._is_wide(node):
                identity = b.const(0.0, self.kernel._type(f64, self.lanes))
            carried += [identity] * count
        return carried

    def add(self, b: Builder, carried: list[Value], copy: int, frame: Frame) -> list[Value]:
        """The carried values with copy number `copy` of the body added."""
        result = list(carried)
        at = 0
        for node, count in zip(self.reductions, self.counts, strict=True):
            assert isinstance(node.op.lower, Monoid)
            slot = at + copy % count
            with b.at(node.location):
                x = self.kernel.read(b, node.operands[0], frame)
                if frame.mask is not None and self.across:
                    x = b.select(frame.mask, x, self.kernel._identity(b, node, frame.lanes))
                result[slot] = b.emit(REGISTRY[node.op.lower.combine], (result[slot], x))[0]
            at += count
        return result

    def blocked(
        self,
        b: Builder,
        lo: Index,
        hi: Index,
        step: int,
        carried: list[Value],
        run: Callable[[Builder, Index, Index, list[Value]], list[Value]],
    ) -> list[Value]:
        """Run a loop over [lo, hi); float32 sums of many elements block by block, each block added to the float64 sums."""
        wide = [self._is_wide(n) for n, count in zip(self.reductions, self.counts, strict=True) for _ in range(count)]
        if not any(wide):
            return run(b, lo, hi, carried)
        kernel = self.kernel
        block = max(step, WIDE_ABOVE // step * step) if self.across else WIDE_ABOVE // 8

        def one(c: Builder, start: Index, end: Index, values: list[Value]) -> list[Value]:
            inner = [
                c.const(0.0, kernel._type(element(node.result.type), self.lanes)) if self._is_wide(node) else values[at]
                for at, node in enumerate(self._slots())
            ]
            done = run(c, start, end, inner)
            return [
                c.add(values[at], c.convert(done[at], dtype=f64)) if is_wide else done[at] for at, is_wide in enumerate(wide)
            ]

        if isinstance(lo, int) and isinstance(hi, int) and hi - lo <= block:
            return one(b, lo, hi, carried) if hi > lo else carried

        def body(c: Builder, i: Index, values: list[Value]) -> Sequence[Value]:
            end = c.minimum(kernel.as_value(c, kernel.add(c, i, block)), kernel.as_value(c, hi))
            return one(c, i, end, values)

        return kernel.loop(b, lo, hi, block, carried, body)

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


def _unblocked(
    b: Builder, lo: Index, hi: Index, step: int, carried: list[Value], run: Callable[[Builder, Index, Index, list[Value]], list[Value]]
) -> list[Value]:
    return run(b, lo, hi, carried)


def _product(sizes: Sequence[Size]) -> int:
    total = 1
    for size in sizes:
        total *= evaluate(size, {name: 1 for name in symbols(size)})
    return total


def lower_kernel(plan: Plan, step: Step, target: Target, name: str) -> Lowered:
    """The loop graph of a fused kernel."""
    return KernelLowering(plan, step, target, name).run()


def lower_fill(plan: Plan, step: Step, target: Target, name: str) -> Lowered:
    """Fills the whole result of a `pad` with its value."""
    emitter = LoopEmitter(plan, name)
    b, (node,) = emitter.b, step.nodes
    b.location = node.location
    buffer = emitter.buffer(node.result)
    dtype = tensor(node.result).dtype
    lanes = target.lanes(dtype.bits)
    size = emitter.size(tensor(node.result).size)
    index = emitter.as_value
    whole: Index = size // lanes * lanes if isinstance(size, int) else b.and_(size, b.const(-lanes, i64))

    def write(c: Builder, i: Index, type_: Type) -> Sequence[Value]:
        value = c.const(node.attrs["value"], type_)
        c.emit(REGISTRY["store"], (buffer, index(c, i), value), {"offset": 0})
        return ()

    emitter.loop(b, 0, whole, lanes, (), lambda c, i, _: write(c, i, VectorType(dtype, lanes)))
    emitter.loop(b, whole, size, 1, (), lambda c, i, _: write(c, i, dtype))
    return emitter.lowered(Schedule(0, lanes, 1, 0))


def lower_scatter(plan: Plan, step: Step, name: str) -> Lowered:
    """A copy of the first operand, then the updates one after the other: equal indices add up in order."""
    emitter = LoopEmitter(plan, name)
    b, (node,) = emitter.b, step.nodes
    b.location = node.location
    x, indices, updates = node.operands
    axis: int = node.attrs["axis"]
    result = emitter.buffer(node.result)
    strides = contiguous_strides(tensor(node.result).shape)
    dtype = tensor(node.result).dtype

    def linear(c: Builder, at: Sequence[Index], steps: Sequence[Size], start: Size = 0) -> Value:
        total = emitter.size(start)
        for i, stride in zip(at, steps, strict=True):
            total = emitter.add(c, total, emitter.mul(c, i, emitter.size(stride)))
        return emitter.as_value(c, total)

    def read(c: Builder, value: Value, at: Sequence[Index]) -> Value:
        seen = plan.view(value)
        producer = plan.producers.get(seen.base)
        if producer is not None and producer.op.name == "const" and not plan.in_memory(seen.base):
            return c.const(producer.attrs["value"], tensor(value).dtype)
        offset, steps = seen.strided(tensor(value).rank)
        index = linear(c, at, steps, offset)
        return c.emit(REGISTRY["load"], (emitter.buffer(seen.base), index), {"type": tensor(value).dtype, "offset": 0})[0]

    def nest(c: Builder, shape: Sequence[Size], at: list[Index], body: Callable[[Builder, list[Index]], None]) -> None:
        if len(at) == len(shape):
            body(c, at)
            return

        def inside(d: Builder, i: Index, _: list[Value]) -> Sequence[Value]:
            nest(d, shape, [*at, i], body)
            return ()

        emitter.loop(c, 0, emitter.size(shape[len(at)]), 1, (), inside)

    def copy(c: Builder, at: list[Index]) -> None:
        c.emit(REGISTRY["store"], (result, linear(c, at, strides), read(c, x, at)), {"offset": 0})

    def add(c: Builder, at: list[Index]) -> None:
        chosen = read(c, indices, at)
        if element(chosen.type) is not i64:
            chosen = c.convert(chosen, dtype=i64)
        length = emitter.as_value(c, emitter.size(tensor(x).shape[axis]))
        inside = c.and_(c.ge(chosen, 0), c.lt(chosen, length))
        c.emit(REGISTRY["check"], (c.not_(inside), emitter.flag_buffer()), {"number": 1})
        safe = c.select(inside, chosen, 0)
        place: list[Index] = [*at]
        place[axis] = safe
        index = linear(c, place, strides)
        before = c.emit(REGISTRY["reload"], (result, index), {"type": dtype, "offset": 0})[0]
        after = c.add(before, read(c, updates, at))
        c.emit(REGISTRY["store"], (result, index, c.select(inside, after, before)), {"offset": 0})

    nest(b, tensor(x).shape, [], copy)
    if all(s != 0 for s in tensor(node.result).shape):
        nest(b, tensor(updates).shape, [], add)
    return emitter.lowered(Schedule(None, 1, 1, 0))
