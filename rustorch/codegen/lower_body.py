"""One copy of a kernel's loop body: what it reads at the place where the loops stand, what it computes, what it writes.

`lower.py` makes the loops around it. A place is a `Frame`: indices, lanes, a mask, and the values computed so far.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rustorch.codegen.accumulate import Frame
from rustorch.codegen.fuse import Plan, Step, Store, is_kept
from rustorch.codegen.loops import Index, LoopEmitter, lane_type
from rustorch.codegen.space import Access, Iota, Space, Static
from rustorch.codegen.split import way_to
from rustorch.codegen.views import tensor
from rustorch.ir.builder import Builder
from rustorch.ir.dims import Size, product
from rustorch.ir.dtypes import i64
from rustorch.ir.graph import Node, Value
from rustorch.ir.op import REGISTRY
from rustorch.ir.types import BufferType, DType, element


class BodyEmitter(LoopEmitter):
    """Emits the body of one fused kernel."""

    def __init__(self, plan: Plan, step: Step, name: str) -> None:
        super().__init__(plan, name)
        self.step = step
        self.space = Space(plan, step)
        self.members = {v: node for node in step.nodes for v in node.results if v not in self.space.copies}
        self.vector: int | None = None
        """The axis that lanes run along."""
        self.spilled: dict[Value, Value] = {}
        """Rows of scratch, by the value that waits there for the next level."""
        self.is_inside = False
        """Whether the loop that is emitted stays inside of all pads along the vector axis."""

    # --- members -----------------------------------------------------------------------------------------------------------

    def _is_kept(self, value: Value) -> bool:
        return is_kept(self.step, value)

    def _needed(self, values: Sequence[Value]) -> list[Node]:
        """The full members that values need and that no spill provides, in order."""
        return way_to(self.plan, self.step, values, lambda v: v not in self.members or self._is_kept(v) or v in self.spilled)

    def _spill(self, b: Builder, value: Value, frame: Frame) -> None:
        type_ = BufferType(element(value.type), tuple(self.space.shape[k] for k in sorted(self.space.reduced)))
        if value not in self.spilled:
            self.spilled[value] = self.scratch_buffer(type_)
        index, offset = self._scratch_index(b, frame)
        b.emit(REGISTRY["store"], (self.spilled[value], index, frame.values[value], *frame.masks), {"offset": offset})

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
                elif node.op.name == "pad":
                    results = (self._pad(b, node, frame),)
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
                type_ = lane_type(element(source.type), frame.lanes)
                frame.values[source] = b.emit(
                    REGISTRY["reload"], (self.spilled[source], index, *frame.masks), {"type": type_, "offset": offset}
                )[0]
            if self._is_kept(source) and frame.row is not None:
                return self._widen(b, self._kept_value(b, source, frame.row), frame.lanes)
            if self._is_kept(source):
                return self._kept_value(b, source, frame)
            if source not in frame.values:
                again = self.step.inlined.get(source)
                self._evaluate(b, [again] if again is not None else self._needed([source]), frame)
            return frame.values[source]
        if isinstance(source, Static):
            return b.const(source.value, lane_type(source.dtype, frame.lanes))
        if isinstance(source, Iota):
            return self._iota(b, source, frame)
        return self._load(b, source, frame)

    def _prepare(self, b: Builder, values: Sequence[Value], rows: list[Frame]) -> None:
        """Compute the kept members behind `values` before the loops that read them: their checks run even where a loop has no turn."""
        for base in dict.fromkeys(self.plan.view(v).base for v in values):
            if base in self.members and self._is_kept(base):
                for row in rows:
                    self._kept_value(b, base, row)

    def _kept_value(self, b: Builder, value: Value, row: Frame) -> Value:
        if value not in row.values:
            self._evaluate(b, way_to(self.plan, self.step, [value], row.values.__contains__), row)
        return row.values[value]

    def _widen(self, b: Builder, value: Value, lanes: int) -> Value:
        if lanes > 1 and isinstance(value.type, DType):
            return b.splat(value, lanes=lanes)  # type: ignore[no-any-return]
        return value

    # --- memory -------------------------------------------------------------------------------------------------------------

    def _linear(self, b: Builder, access: Access, frame: Frame) -> tuple[Index, int, Size]:
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
        return total, constant, lane_stride

    def _load(self, b: Builder, access: Access, frame: Frame) -> Value:
        place, offset, stride = self._linear(b, access, frame)
        index = self.as_value(b, place)
        buffer = self.buffer(access.base)
        if frame.is_moved and frame.mask is not None and (frame.lanes == 1 or stride == 0):  # it may stand outside
            where = self._widen(b, self.as_value(b, self.add(b, place, offset)), frame.lanes)
            return b.emit(REGISTRY["load_indexed"], (buffer, where, frame.mask))[0]
        if frame.lanes == 1 or stride == 0:
            scalar = b.emit(REGISTRY["load"], (buffer, index), {"type": buffer.type.dtype, "offset": offset})[0]  # type: ignore[union-attr]
            return self._widen(b, scalar, frame.lanes)
        type_ = lane_type(tensor(access.base).dtype, frame.lanes)
        if stride == 1:
            return b.emit(REGISTRY["load"], (buffer, index, *frame.masks), {"type": type_, "offset": offset})[0]
        step = self.as_value(b, self.size(stride))
        return b.emit(REGISTRY["load_strided"], (buffer, index, step, *frame.masks), {"type": type_, "offset": offset})[0]

    def _iota(self, b: Builder, iota: Iota, frame: Frame) -> Value:
        index, offset, stride = self._linear(b, iota.access, frame)
        value = self._lanes(b, self.add(b, index, offset), stride, frame.lanes)
        if iota.dtype is i64:
            return value
        return b.convert(value, dtype=iota.dtype)  # type: ignore[no-any-return]

    def _lanes(self, b: Builder, first: Index, stride: Size, lanes: int) -> Value:
        """The number `first + lane * stride` of every lane."""
        value = self._widen(b, self.as_value(b, first), lanes)
        if stride == 0 or lanes == 1:
            return value
        steps = self._scaled(b, b.lane_index(lanes=lanes), stride, lanes)
        return steps if first == 0 and isinstance(first, int) else b.add(value, steps)

    def _scaled(self, b: Builder, x: Value, factor: Size, lanes: int) -> Value:
        """Every lane of x times a size."""
        return x if factor == 1 else b.mul(x, self._widen(b, self.as_value(b, self.size(factor)), lanes))

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
        first = self.add(b, index, offset)
        where = self._scaled(b, chosen, step, frame.lanes)
        if stride != 0 or first != 0:
            where = b.add(self._lanes(b, first, stride, frame.lanes), where)
        return b.emit(REGISTRY["load_indexed"], (self.buffer(access.base), where, inside))[0]

    def _pad(self, b: Builder, node: Node, frame: Frame) -> Value:
        """The operand where the frame stands inside it, else the filling. What is outside is not read."""
        (operand,), dtype = node.operands, tensor(node.result).dtype
        low: Any = node.attrs["low"]
        key = tuple(zip(low, tensor(operand).shape, strict=True))
        if key not in frame.moved:
            frame.moved[key] = self._moved(b, frame, key, tensor(node.result).shape)
        inside = frame.moved[key]
        value = self._widen(b, self.read(b, operand, inside), frame.lanes)
        if inside.mask is frame.mask:
            return value
        return b.select(inside.mask, value, b.const(node.attrs["value"], lane_type(dtype, frame.lanes)))  # type: ignore[no-any-return]

    def _moved(self, b: Builder, frame: Frame, key: tuple[tuple[Size, Size], ...], shape: tuple[Size, ...]) -> Frame:
        """A frame that stands where the operand of a pad lies, with its mask."""
        mask, index = frame.mask, dict(frame.index)
        for axis, (low, size) in enumerate(key):
            at = index[axis] = self.sub(b, frame.index[axis], self.size(low))
            if shape[axis] == size or (axis == self.vector and self.is_inside):
                continue
            if axis == self.vector and frame.lanes > 1:
                first = self.add(b, at, frame.offset)
                below = b.mask_below(self.as_value(b, self.sub(b, self.size(size), first)), lanes=frame.lanes)
                before = b.mask_below(self.as_value(b, self.sub(b, 0, first)), lanes=frame.lanes)
                inside = below if low == 0 else b.and_(below, b.not_(before))
            else:
                place = self.as_value(b, self.add(b, at, frame.offset if axis == self.vector else 0))
                inside = self._widen(b, b.and_(b.ge(place, 0), b.lt(place, self.as_value(b, self.size(size)))), frame.lanes)
            mask = inside if mask is None else b.and_(mask, inside)
        return Frame(index, frame.lanes, frame.offset, mask, is_moved=True)

    def _write(self, b: Builder, stores: Sequence[Store], frame: Frame) -> None:
        for item in stores:
            source = self.read(b, item.value, frame, through=item.value is item.target)
            access = self.space.stores[item]
            place, offset, stride = self._linear(b, access, frame)
            index = self.as_value(b, place)
            buffer = self.buffer(item.target)
            producer = self.plan.producers.get(item.value)
            with b.at(producer.location if producer is not None else b.location):
                if frame.lanes == 1 or stride == 1:
                    b.emit(REGISTRY["store"], (buffer, index, source, *frame.masks), {"offset": offset})
                else:
                    step = self.as_value(b, self.size(stride))
                    b.emit(REGISTRY["store_strided"], (buffer, index, source, step, *frame.masks), {"offset": offset})

    def _partial_place(self, b: Builder, node: Node, block: Index, row: Frame) -> tuple[Value, int]:
        """Where a row's partial result of a block lies."""
        place, offset, _ = self._linear(b, self.space.partials[node], row)
        apart = product(tensor(self.space.partials[node].base).shape[1:])
        return self.as_value(b, self.add(b, self.mul(b, block, self.size(apart)), place)), offset

    def _store_partial(self, b: Builder, node: Node, block: Index, frame: Frame, value: Value) -> None:
        place, offset = self._partial_place(b, node, block, frame)
        b.emit(REGISTRY["store"], (self.buffer(self.space.partials[node].base), place, value, *frame.masks), {"offset": offset})
