"""Movement without moving: how an element of a value is found in the memory of another.

A `View` says that a value reads `base` through one `AxisRead` per axis of the base: index = stride * i[axis] + offset.
Transposes, broadcasts, slices, flips, reshapes that only add or drop axes of size 1 and reductions over axes of size 1 cost
nothing this way.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rustorch.ir.dims import Size
from rustorch.ir.graph import Node, Value
from rustorch.ir.op import IndexMap, SameName, Trait
from rustorch.ir.types import TensorType, contiguous_strides


@dataclass(frozen=True)
class AxisRead:
    """One axis of the base is read at `stride * i[axis] + offset`; with axis None, at `offset`."""

    axis: int | None
    stride: Size
    offset: Size


@dataclass(frozen=True)
class View:
    """`base` read through one `AxisRead` per axis of the base."""

    base: Value
    reads: tuple[AxisRead, ...]

    def strided(self, rank: int) -> tuple[Size, tuple[Size, ...]]:
        """Offset and strides (in elements of the base's row-major memory) over `rank` axes of the reader."""
        offset: Size = 0
        strides: list[Size] = [0] * rank
        for read, step in zip(self.reads, contiguous_strides(tensor(self.base).shape), strict=True):
            offset = offset + step * read.offset
            if read.axis is not None:
                strides[read.axis] = strides[read.axis] + step * read.stride
        return offset, tuple(strides)

    def is_contiguous(self, shape: tuple[Size, ...]) -> bool:
        """Whether a reader of this shape finds its elements row by row from the first of the base on."""
        offset, strides = self.strided(len(shape))
        rows = contiguous_strides(shape)
        return offset == 0 and all(strides[k] == rows[k] for k in real_axes(shape))


def tensor(value: Value) -> TensorType:
    """The tensor type of a value."""
    assert isinstance(value.type, TensorType), value
    return value.type


@functools.lru_cache(maxsize=4096)
def identity_reads(shape: tuple[Size, ...]) -> tuple[AxisRead, ...]:
    """Each axis read as it is; axes of size 1 at 0."""
    return tuple(AxisRead(None, 0, 0) if size == 1 else AxisRead(k, 1, 0) for k, size in enumerate(shape))


def real_axes(shape: tuple[Size, ...]) -> tuple[int, ...]:
    """The axes that are not of size 1."""
    return tuple(k for k, size in enumerate(shape) if size != 1)


def is_virtual(node: Node) -> bool:
    """Whether a node moves elements in a way that a view can follow."""
    if isinstance(node.op.lower, SameName):
        return False
    if node.op.name == "reshape":
        before, after = tensor(node.operands[0]).shape, tensor(node.result).shape
        return [s for s in before if s != 1] == [s for s in after if s != 1]
    if node.op.has(Trait.REDUCTION):
        axes: Any = node.attrs["axes"]
        return all(tensor(node.operands[0]).shape[axis] == 1 for axis in axes)
    return isinstance(node.op.lower, IndexMap)


def access(node: Node) -> tuple[AxisRead, ...]:
    """How the operand of a virtual node is read, per operand axis, in terms of result axes."""
    if node.op.name == "reshape" or node.op.has(Trait.REDUCTION):
        after = iter(real_axes(tensor(node.result).shape))
        return tuple(AxisRead(None, 0, 0) if s == 1 else AxisRead(next(after), 1, 0) for s in tensor(node.operands[0]).shape)
    assert isinstance(node.op.lower, IndexMap)
    types = tuple(v.type for v in node.operands)
    (reads,) = node.op.lower.access(node.result.type, types, node.attrs)
    return tuple(AxisRead(*read) for read in reads)


def compose(reads: tuple[AxisRead, ...], inner: tuple[AxisRead, ...]) -> tuple[AxisRead, ...]:
    """Reads of the innermost base: `reads` say how the middle value is read, `inner` how the middle reads the base."""
    composed: list[AxisRead] = []
    for read in inner:
        if read.axis is None:
            composed.append(AxisRead(None, 0, read.offset))
            continue
        outer = reads[read.axis]
        offset = read.stride * outer.offset + read.offset
        composed.append(AxisRead(outer.axis, read.stride * outer.stride if outer.axis is not None else 0, offset))
    return tuple(composed)


def view(value: Value, producers: Mapping[Value, Node], stops: Callable[[Value], bool], through: bool = False) -> View:
    """The value seen through all movement behind it, as far as a value that `stops` (is in memory) or that computes.

    With `through`, the value itself does not stop: its own movement is followed (to fill its memory).
    """
    reads = identity_reads(tensor(value).shape)
    first = value
    while not stops(value) or (through and value is first):
        node = producers.get(value)
        if node is None or not is_virtual(node):
            break
        reads = compose(reads, access(node))
        value = node.operands[0]
    return View(value, reads)


def follows(reads: tuple[AxisRead, ...], base_shape: tuple[Size, ...], reader_axes: tuple[int, ...]) -> bool:
    """Whether the real axes of the base are exactly `reader_axes`, in order, unstrided."""
    seen = [read for read, size in zip(reads, base_shape, strict=True) if size != 1]
    if any(read.offset != 0 for read in reads):
        return False
    return tuple(read.axis for read in seen) == reader_axes and all(read.stride == 1 for read in seen)
