"""What every lowering needs: memory parameters, sizes and index arithmetic, loops."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from rustorch.codegen.fuse import Plan
from rustorch.codegen.schedule import TASK_CYCLES, Schedule
from rustorch.codegen.views import tensor
from rustorch.ir.builder import Builder
from rustorch.ir.dims import Dim, Size, product
from rustorch.ir.dtypes import i32, i64
from rustorch.ir.graph import Graph, Node, Value
from rustorch.ir.op import REGISTRY, Monoid
from rustorch.ir.types import BufferType, DType, Type, VectorType, element

Index = int | Value
"""A place or size in elements: an int where it is known, an i64 value where it is not."""
Body = Callable[[Builder, Index, list[Value]], Sequence[Value]]
"""A loop body: its builder, index and carried values to the carried values of the next turn."""


FEW_CALLS, SCRATCH_BYTES = 16, 1 << 20
"""Calls that may share a kernel however much scratch they need, and the scratch that more of them may have together."""


@dataclass(frozen=True)
class Share:
    """A kernel whose `units` may be done by several calls, in any order and at once."""

    units: Size
    cycles: Size
    """An estimate of the work of all units."""
    most: int = 256
    """Calls at once; each has scratch of its own."""

    def bounded(self, scratch: Size = 0) -> Share:
        """No more calls at once than there is work for; of those with much scratch, no more than there is room for."""
        most = self.most
        for bound in (self.units, self.cycles // TASK_CYCLES):
            most = min(most, bound) if isinstance(bound, int) else most
        if scratch != 0:
            most = min(most, max(FEW_CALLS, SCRATCH_BYTES // scratch) if isinstance(scratch, int) else FEW_CALLS)
        return replace(self, most=most)


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
    share: Share | None = None
    """How calls may share the kernel; then its last two inputs are the first and the limit of the units to do."""
    reused: tuple[tuple[Value, Value], ...] = ()
    """Pairs of what is written and what is read: the first may lie where the second did, if that is not needed any more."""


_OPAQUE: dict[str, Callable[[Builder, Value, Value], Value]] = {
    "floordiv": lambda b, x, y: b.div(x, y),  # sizes are not negative
    "mod": lambda b, x, y: b.sub(x, b.mul(b.div(x, y), y)),
    "min": lambda b, x, y: b.minimum(x, y),
    "max": lambda b, x, y: b.maximum(x, y),
}


def lane_type(dtype: DType, lanes: int) -> Type:
    """A vector of `lanes` elements; for one lane, the bare element type."""
    return dtype if lanes == 1 else VectorType(dtype, lanes)


def identity(b: Builder, node: Node, lanes: int) -> Value:
    """The neutral element of a reduction."""
    assert isinstance(node.op.lower, Monoid)
    dtype = element(node.result.type)
    return b.const(node.op.lower.identity(dtype), lane_type(dtype, lanes))


class LoopEmitter:
    """What every lowering needs: sizes, index arithmetic, memory parameters, loops."""

    def __init__(self, plan: Plan, name: str) -> None:
        self.plan, self.name = plan, name
        self.b = Builder()
        self.memory: dict[Value, Value] = {}
        self.scratch: list[tuple[BufferType, Value]] = []
        self.dims: dict[str, Value] = {}
        self.flag: Value | None = None
        self.units: tuple[Value, Value] | None = None
        """The first and the limit of the units to do, where calls share the kernel."""

    def shared(self) -> tuple[Value, Value]:
        """Let calls share the kernel."""
        self.units = (Value(i64, "first"), Value(i64, "limit"))
        self.b._owned.update(self.units)
        return self.units

    def buffer(self, value: Value) -> Value:
        """The loop-level buffer behind a tensor value."""
        owner = self.plan.root(value)
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

    def lowered(self, schedule_: Schedule, share: Share | None = None) -> Lowered:
        """The finished kernel."""
        flag = [] if self.flag is None else [self.flag]
        if share is not None:
            share = share.bounded(sum((product(t.shape) * t.dtype.itemsize for t, _ in self.scratch), start=0))
        inputs = [*self.memory.values(), *(v for _, v in self.scratch), *flag, *self.dims.values(), *(self.units or ())]
        graph = Graph(self.name, tuple(inputs), tuple(self.b.nodes), ())
        return Lowered(
            graph, tuple(self.memory), tuple(t for t, _ in self.scratch), tuple(self.dims), schedule_, self.flag is not None, share
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

    def sub(self, b: Builder, x: Index, y: Index) -> Index:
        """x - y."""
        if isinstance(y, int):
            return self.add(b, x, -y)
        if x is y:
            return 0
        result: Value = b.sub(self.as_value(b, x), y)
        return result

    def quotient(self, b: Builder, x: Index, y: Index) -> Index:
        """x // y of numbers that are not negative; 0 where y is."""
        if y == 1 and isinstance(y, int):
            return x
        if isinstance(x, int) and (x == 0 or isinstance(y, int)):
            return x // y if isinstance(y, int) and y else 0
        result: Value = b.div(self.as_value(b, x), self.as_value(b, y))
        return result

    def ceiling(self, b: Builder, x: Index, y: Index) -> Index:
        """x / y rounded up."""
        return self.quotient(b, self.add(b, x, self.sub(b, y, 1)), y)

    def down(self, b: Builder, x: Index, step: int) -> Index:
        """x rounded down to a multiple of `step`, a power of two."""
        if isinstance(x, int):
            return x // step * step
        result: Value = b.and_(x, b.const(-step, i64))
        return result

    def place(self, b: Builder, offset: Size, at: Iterable[tuple[Index, Size]]) -> Value:
        """The place in memory, in elements, of indices with their strides."""
        total = self.size(offset)
        for index, stride in at:
            total = self.add(b, total, self.mul(b, index, self.size(stride)))
        return self.as_value(b, total)

    def least(self, b: Builder, x: Index, y: Index) -> Index:
        """The smaller of two."""
        if isinstance(x, int) and isinstance(y, int):
            return min(x, y)
        result: Value = b.minimum(self.as_value(b, x), self.as_value(b, y))
        return result

    def most(self, b: Builder, x: Index, y: Index) -> Index:
        """The larger of two."""
        if isinstance(x, int) and isinstance(y, int):
            return max(x, y)
        result: Value = b.maximum(self.as_value(b, x), self.as_value(b, y))
        return result

    def vectors(
        self,
        b: Builder,
        start: Index,
        count: Index,
        lanes: int,
        unroll: int,
        carried: Sequence[Value],
        body: Callable[[Builder, Index, list[Value | None], list[Value]], Sequence[Value]],
        turns: tuple[Index, Index] | None = None,
    ) -> list[Value]:
        """`count` elements from `start` on: full turns of `unroll` vectors, then what is left, its last vector masked.

        `body` gets the index of the turn's first element and a mask, or None, for each of its vectors. With `turns`, of the turns
        from 0 on only those from the first to the limit.
        """
        turn = lanes * unroll
        end = behind = self.add(b, start, count)

        def full(c: Builder, i: Index, values: list[Value]) -> Sequence[Value]:
            return body(c, i, [None] * unroll, values)

        def tail(c: Builder, i: Index, values: list[Value]) -> Sequence[Value]:
            masks: list[Value | None] = []
            if isinstance(count, int):
                rest = count % turn
                for u in range(-(-rest // lanes)):
                    left = rest - u * lanes
                    masks.append(None if left >= lanes else c.mask_below(c.const(left, i64), lanes=lanes))
            else:
                left_value = c.sub(self.as_value(c, behind), self.as_value(c, i))
                masks = [c.mask_below(self.as_value(c, self.add(c, left_value, -u * lanes)), lanes=lanes) for u in range(unroll)]
            return body(c, i, masks, values)

        main = self.add(b, start, self.down(b, count, turn))
        first, last, rest = start, main, main
        if turns is not None:
            first, limit = (self.add(b, start, self.mul(b, t, turn)) for t in turns)
            last, rest, end = self.least(b, limit, main), self.most(b, first, main), self.least(b, limit, end)
        values = self.loop(b, first, last, turn, carried, full)
        if isinstance(count, int) and count % turn == 0:
            return values
        return self.loop(b, rest, end, turn, values, tail)

    def nest(
        self,
        b: Builder,
        sizes: Sequence[Size | tuple[Index, Index]],
        body: Callable[[Builder, list[Index]], None],
        at: Sequence[Index] = (),
    ) -> None:
        """One loop a size, outermost first, around `body`, which gets the indices; `at` are those of loops around the nest.

        In place of a size there may be the first index and the limit.
        """
        if not sizes:
            body(b, list(at))
            return

        def inside(c: Builder, i: Index, _: list[Value]) -> Sequence[Value]:
            self.nest(c, sizes[1:], body, (*at, i))
            return ()

        first, limit = sizes[0] if isinstance(sizes[0], tuple) else (0, self.size(sizes[0]))
        self.loop(b, first, limit, 1, (), inside)

    def loop(self, b: Builder, lo: Index, hi: Index, step: int, carried: Sequence[Value], body: Body) -> list[Value]:
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
