"""Steps with loop nests of their own: the filling of a pad, the additions of a scatter."""

from __future__ import annotations

from collections.abc import Sequence

from rustorch.codegen.fuse import Plan, Step
from rustorch.codegen.loops import Index, LoopEmitter, Lowered
from rustorch.codegen.schedule import Schedule
from rustorch.codegen.target import Target
from rustorch.codegen.views import tensor
from rustorch.ir.builder import Builder
from rustorch.ir.dims import Size
from rustorch.ir.dtypes import i64
from rustorch.ir.graph import Value
from rustorch.ir.op import REGISTRY
from rustorch.ir.types import Type, VectorType, contiguous_strides, element


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
    whole = emitter.down(b, size, lanes)

    def write(c: Builder, i: Index, type_: Type) -> Sequence[Value]:
        value = c.const(node.attrs["value"], type_)
        c.emit(REGISTRY["store"], (buffer, index(c, i), value), {"offset": 0})
        return ()

    emitter.loop(b, 0, whole, lanes, (), lambda c, i, _: write(c, i, VectorType(dtype, lanes)))
    emitter.loop(b, whole, size, 1, (), lambda c, i, _: write(c, i, dtype))
    return emitter.lowered(Schedule(0, lanes, 1, 0))


def lower_scatter(plan: Plan, step: Step, name: str) -> Lowered:
    """A copy of the first operand, then the updates one after the other: equal indices are combined in order."""
    emitter = LoopEmitter(plan, name)
    b, (node,) = emitter.b, step.nodes
    b.location = node.location
    x, indices, updates = node.operands
    axis: int = node.attrs["axis"]
    combine: str = node.attrs.get("combine", "add")
    result = emitter.buffer(node.result)
    strides = contiguous_strides(tensor(node.result).shape)
    dtype = tensor(node.result).dtype

    def linear(c: Builder, at: Sequence[Index], steps: Sequence[Size], start: Size = 0) -> Value:
        return emitter.place(c, start, zip(at, steps, strict=True))

    def read(c: Builder, value: Value, at: Sequence[Index]) -> Value:
        seen = plan.view(value)
        producer = plan.producers.get(seen.base)
        if producer is not None and producer.op.name == "const" and not plan.in_memory(seen.base):
            return c.const(producer.attrs["value"], tensor(value).dtype)
        offset, steps = seen.strided(tensor(value).rank)
        index = linear(c, at, steps, offset)
        return c.emit(REGISTRY["load"], (emitter.buffer(seen.base), index), {"type": tensor(value).dtype, "offset": 0})[0]

    def copy(c: Builder, at: list[Index]) -> None:
        c.emit(REGISTRY["store"], (result, linear(c, at, strides), read(c, x, at)), {"offset": 0})

    def update(c: Builder, at: list[Index]) -> None:
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
        new = read(c, updates, at)
        after = new if combine == "replace" else getattr(c, combine)(before, new)
        c.emit(REGISTRY["store"], (result, index, c.select(inside, after, before)), {"offset": 0})

    emitter.nest(b, tensor(x).shape, copy)
    if all(s != 0 for s in tensor(node.result).shape):
        emitter.nest(b, tensor(updates).shape, update)
    return emitter.lowered(Schedule(None, 1, 1, 0))
