"""The iteration space of a kernel: its axes, and where every operand and result lies along them.

Adjacent axes that every access walks as one are collapsed, so `f32[128, 10]` read and written row by row is one axis of 1280.
"""

from __future__ import annotations

from dataclasses import dataclass

from rustorch.codegen.fuse import Plan, Step, Store, is_kept
from rustorch.codegen.views import AxisRead, is_virtual, real_axes, tensor
from rustorch.ir.dims import Size
from rustorch.ir.graph import Node, Value
from rustorch.ir.types import DType, TensorType, contiguous_strides


@dataclass(eq=False)
class Access:
    """Element (i0, i1, …) of the space lies at `offset + sum(strides[k] * ik)` of the memory of `base`."""

    base: Value
    offset: Size
    strides: tuple[Size, ...]


@dataclass(eq=False)
class Static:
    """The same number everywhere."""

    value: int | float | bool
    dtype: DType


@dataclass(eq=False)
class Iota:
    """Counts along the space: the number is the access's index."""

    access: Access
    dtype: DType


Source = Value | Access | Static | Iota


class Space:
    """Axes and accesses of one kernel step."""

    def __init__(self, plan: Plan, step: Step) -> None:
        self.plan, self.step = plan, step
        self.shape, self.reduced = step.shape, step.reduced
        self.copies = {node.result for node in step.nodes if is_virtual(node) or not node.operands}
        self.members = {v for node in step.nodes for v in node.results} - self.copies | set(step.inlined)
        self.stores: dict[Store, Access] = {}
        self.gathers: dict[Node, tuple[Access, Size, Size]] = {}
        self.partials: dict[Node, Access] = {}
        """Block 0 of each reduction that is made or combined in blocks; the blocks lie one behind the other."""
        self._sources: dict[tuple[Value, bool], Source] = {}
        for node, memory in {**step.partials, **step.combines}.items():
            kept = self._side_axes(node) if node in step.sides else step.kept
            placed: list[Size] = [0] * len(step.shape)
            for axis, stride in zip(kept, contiguous_strides(tensor(memory).shape[1:]), strict=True):
                placed[axis] = stride
            self.partials[node] = Access(memory, 0, tuple(placed))
        for node in (*step.inlined.values(), *step.nodes):
            if node in step.combines:
                continue
            if node.op.name == "gather":
                self._gather(node)
                self.source(node.operands[1])
            elif node.result not in self.copies:
                for operand in node.operands:
                    self.source(operand)
        for store in step.stores:
            self.source(store.value, store.value is store.target)
            self._store(store)
        if not any(node.op.name == "pad" for node in step.nodes):  # a pad looks at each axis by itself
            self._collapse()

    def _side_axes(self, node: Node) -> tuple[int, ...]:
        """The axes that a side keeps: the last one, or none."""
        last = len(self.step.shape) - 1
        return (last,) if real_axes(tensor(node.result).shape) else ()

    def source(self, value: Value, through: bool = False) -> Source:
        """Where a value comes from: a member (as its defining value), memory, a number, or counting."""
        key = (value, through)
        if key not in self._sources:
            self._sources[key] = self._find(value, through and value not in self.members)
        return self._sources[key]

    def _find(self, value: Value, through: bool) -> Source:
        seen = self.plan.view(value, through)
        if value in self.members:
            return value
        if seen.base in self.members:
            return seen.base
        node = self.plan.producers.get(seen.base)
        if node is not None:  # numbers and counts are made anew where they are read, in memory or not
            if node.op.name == "const" and isinstance(node.attrs["value"], (int, float, bool)):
                return Static(node.attrs["value"], tensor(seen.base).dtype)
            if node.op.name == "iota":
                return Iota(self._iota(node, seen.reads, value), tensor(seen.base).dtype)
        offset, strides = seen.strided(tensor(value).rank)
        return Access(seen.base, offset, self._place(value, strides))

    def _positions(self, value: Value) -> tuple[int, ...]:
        """The axis of the space behind each real axis of a value."""
        return self.step.kept if is_kept(self.step, value) else tuple(range(len(self.step.shape)))

    def _place(self, value: Value, strides: tuple[Size, ...]) -> tuple[Size, ...]:
        placed: list[Size] = [0] * len(self.step.shape)
        for position, axis in zip(self._positions(value), real_axes(tensor(value).shape), strict=True):
            placed[position] = strides[axis]
        return tuple(placed)

    def _iota(self, node: Node, reads: tuple[AxisRead, ...], value: Value) -> Access:
        read = reads[node.attrs["axis"]]
        strides: list[Size] = [0] * tensor(value).rank
        if read.axis is not None:
            strides[read.axis] = read.stride
        return Access(node.result, read.offset, self._place(value, tuple(strides)))

    def _store(self, store: Store) -> None:
        shape = tensor(store.value).shape
        strides = store.strides if store.strides is not None else contiguous_strides(shape)
        self.stores[store] = Access(store.target, store.offset, self._place(store.value, strides))

    def _gather(self, node: Node) -> None:
        operand, axis = node.operands[0], node.attrs["axis"]
        seen = self.plan.view(operand)
        offset, strides = seen.strided(tensor(operand).rank)
        along = strides[axis]
        others = tuple(0 if k == axis else s for k, s in enumerate(strides))
        result = TensorType(tensor(node.result).dtype, tensor(node.result).shape)
        placed: list[Size] = [0] * len(self.step.shape)
        for position, k in zip(self._positions(node.result), real_axes(result.shape), strict=True):
            placed[position] = others[k]
        self.gathers[node] = (Access(seen.base, offset, tuple(placed)), tensor(operand).shape[axis], along)

    def accesses(self) -> list[Access]:
        """All places in memory."""
        found = [a for a in self._sources.values() if isinstance(a, Access)]
        found += [a.access for a in self._sources.values() if isinstance(a, Iota)]
        found += list(self.stores.values())
        found += [a for a, _, _ in self.gathers.values()]
        found += self.partials.values()
        return found

    def _collapse(self) -> None:
        accesses = self.accesses()
        k = len(self.shape) - 2
        while k >= 0:
            same = (k in self.reduced) == (k + 1 in self.reduced)
            size = self.shape[k + 1]
            if same and all(a.strides[k] == a.strides[k + 1] * size for a in accesses):
                for a in accesses:
                    a.strides = a.strides[:k] + a.strides[k + 1 :]
                self.shape = self.shape[:k] + (self.shape[k] * size,) + self.shape[k + 2 :]
                self.reduced = frozenset(r if r <= k else r - 1 for r in self.reduced if r != k + 1)
            k -= 1


