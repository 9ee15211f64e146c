"""Back from windows: elements put to the places they came from, windows as columns, and columns added up again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product as every
from typing import Any

from rustorch.errors import ArgumentError, DTypeError, ShapeError, compose
from rustorch.frontend.emit import Builder, TensorType, Value, dtype_of, operation, shape_of
from rustorch.functional.pooling import Steps, each
from rustorch.ir.dims import product
from rustorch.ir.dtypes import i64
from rustorch.ops.movement import spaced

_Numbers = tuple[int, ...]


@operation(name="max_unpool")
def _unpooled(b: Builder, input: Value, indices: Value, size: _Numbers) -> Value:
    """Zeros, with each element at its place in the flattened last dimensions."""
    lead = shape_of(input)[: len(shape_of(input)) - len(size)]
    count = product(shape_of(input)[len(lead) :])
    empty = b.const(0, TensorType(dtype_of(input), (*lead, math.prod(size))))
    flat, places = (b.reshape(x, shape=(*lead, count)) for x in (input, indices))
    found: Value = b.reshape(b.scatter(empty, places, flat, axis=len(lead), combine="replace"), shape=(*lead, *size))
    return found


def _unpool(
    rank: int, input: Any, indices: Any, kernel_size: Steps, stride: Steps | None, padding: Steps, output_size: Sequence[int] | None
) -> Any:
    name = f"max_unpool{rank}d"
    if indices.dtype is not i64:
        raise DTypeError(f"elements in indices should be type int64 but got: {indices.dtype}")
    if tuple(indices.shape) != tuple(input.shape):
        raise ShapeError(
            f"Expected shape of indices to be same as that of the input tensor ({list(input.shape)}) "
            f"but got indices tensor with shape: {list(indices.shape)}"
        )
    window = each(kernel_size, rank, "kernel_size", name)
    steps = window if stride is None else each(stride, rank, "stride", name)
    around = each(padding, rank, "padding", name)
    usual = [(n - 1) * s - 2 * p + k for n, s, p, k in zip(input.shape[input.ndim - rank :], steps, around, window, strict=True)]
    size = tuple(usual)
    if output_size is not None:
        size = tuple(output_size)
        if len(size) == rank + 2:
            size = size[2:]
        if len(size) != rank:
            raise ArgumentError(
                f"output_size should be a sequence containing {rank} or {rank + 2} elements, but it has a length of '{len(output_size)}'"
            )
        for axis, (n, normal, step) in enumerate(zip(size, usual, steps, strict=True)):
            if not normal - step < n < normal + step:
                raise ArgumentError(f'invalid output_size "{size}" (dim {axis} must be between {normal - step} and {normal + step})')
    return _unpooled(input, indices, size)


def max_unpool1d(
    input: Any, indices: Any, kernel_size: Steps, stride: Steps | None = None, padding: Steps = 0, output_size: Sequence[int] | None = None
) -> Any:
    """Zeros, with each element of a `max_pool1d` at the place that it came from (`indices`). An index outside is an error."""
    return _unpool(1, input, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(
    input: Any, indices: Any, kernel_size: Steps, stride: Steps | None = None, padding: Steps = 0, output_size: Sequence[int] | None = None
) -> Any:
    """`max_unpool1d` over the last two dimensions."""
    return _unpool(2, input, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(
    input: Any, indices: Any, kernel_size: Steps, stride: Steps | None = None, padding: Steps = 0, output_size: Sequence[int] | None = None
) -> Any:
    """`max_unpool1d` over the last three dimensions."""
    return _unpool(3, input, indices, kernel_size, stride, padding, output_size)


# --- Windows as columns -----------------------------------------------------------------------------------------------


def _blocks(size: Sequence[int], window: _Numbers, dilation: _Numbers, padding: _Numbers, stride: _Numbers) -> tuple[int, ...]:
    """The number of windows along each dimension."""
    return tuple(
        (n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, d, p, s in zip(size, window, dilation, padding, stride, strict=True)
    )


@operation(name="unfold")
def _unfolded(
    b: Builder, input: Value, window: _Numbers, dilation: _Numbers, padding: _Numbers, stride: _Numbers, blocks: _Numbers
) -> Value:
    """[batch, channels · elements of a window, windows]."""
    batch, channels, *_ = shape_of(input)
    around = (0, 0, *padding)
    x = b.pad(input, low=around, high=around, value=dtype_of(input).numpy.type(0).item())
    parts = []
    for tap in every(*map(range, window)):
        starts = [t * d for t, d in zip(tap, dilation, strict=True)]
        limits = [at + (n - 1) * s + 1 for at, n, s in zip(starts, blocks, stride, strict=True)]
        part = b.slice(x, starts=(0, 0, *starts), limits=(batch, channels, *limits), strides=(1, 1, *stride))
        parts.append(b.reshape(part, shape=(batch, channels, 1, *blocks)))
    found: Value = b.reshape(b.concat(*parts, axis=2), shape=(batch, channels * math.prod(window), math.prod(blocks)))
    return found


@operation(name="fold")
def _folded(
    b: Builder, input: Value, size: _Numbers, window: _Numbers, dilation: _Numbers, padding: _Numbers, stride: _Numbers, blocks: _Numbers
) -> Value:
    """The transpose of `unfold`: each column's elements added to the places they stand for."""
    batch, rows, _ = shape_of(input)
    elements, rank = math.prod(window), len(size)
    columns = b.reshape(input, shape=(batch, rows // elements, elements, *blocks))
    channels = shape_of(columns)[1]
    whole = [n + 2 * p for n, p in zip(size, padding, strict=True)]
    zero = dtype_of(input).numpy.type(0).item()
    total: Value | None = None
    for number, tap in enumerate(every(*map(range, window))):
        at = (0, 0, number, *(0,) * rank)
        part = b.slice(columns, starts=at, limits=(batch, channels, number + 1, *blocks), strides=(1,) * (rank + 3))
        part = b.reshape(part, shape=(batch, channels, *blocks))
        starts = [t * d for t, d in zip(tap, dilation, strict=True)]
        extent = [(n - 1) * s + 1 for n, s in zip(blocks, stride, strict=True)]
        for axis, (step, length) in enumerate(zip(stride, extent, strict=True), 2):
            part = spaced(b, part, axis, step, length) if step > 1 else part
        behind = tuple(n - start - length for n, start, length in zip(whole, starts, extent, strict=True))
        part = b.pad(part, low=(0, 0, *starts), high=(0, 0, *behind), value=zero)
        total = part if total is None else b.add(total, part)
    assert total is not None
    limits = tuple(p + n for p, n in zip(padding, size, strict=True))
    found: Value = b.slice(total, starts=(0, 0, *padding), limits=(batch, channels, *limits), strides=(1,) * (rank + 2))
    return found


def unfold(input: Any, kernel_size: Steps, dilation: Steps = 1, padding: Steps = 0, stride: Steps = 1) -> Any:
    """The windows of images [batch, channels, height, width] as columns [batch, channels · window, windows]."""
    if input.ndim not in (3, 4):
        raise ShapeError(
            "Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero dimensions for input, "
            f"but got: {list(input.shape)}"
        )
    window, spacing, around, steps = (
        each(value, 2, name, "unfold")
        for value, name in ((kernel_size, "kernel_size"), (dilation, "dilation"), (padding, "padding"), (stride, "stride"))
    )
    size = tuple(input.shape[-2:])
    blocks = _blocks(size, window, spacing, around, steps)
    if min(blocks) < 1:
        raise ShapeError(
            f"Given input with spatial size {size}, kernel_size={window}, dilation={spacing}, padding={around}, "
            f"calculated shape of the array of sliding blocks as {blocks}, but its components must be at least one."
        )
    if input.ndim == 3:
        return _unfolded(input.unsqueeze(0), window, spacing, around, steps, blocks).squeeze(0)
    return _unfolded(input, window, spacing, around, steps, blocks)


def fold(
    input: Any, output_size: Steps, kernel_size: Steps, dilation: Steps = 1, padding: Steps = 0, stride: Steps = 1
) -> Any:
    """Columns [batch, channels · window, windows] added up to images [batch, channels, height, width] of `output_size`."""
    if input.ndim not in (2, 3):
        raise ShapeError(
            f"Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and non-zero dimensions for input, "
            f"but got: {list(input.shape)}"
        )
    size, window, spacing, around, steps = (
        each(value, 2, name, "fold")
        for value, name in (
            (output_size, "output_size"), (kernel_size, "kernel_size"), (dilation, "dilation"), (padding, "padding"), (stride, "stride"),
        )
    )  # fmt: skip
    rows, count = input.shape[-2:]
    if rows % math.prod(window):
        raise ShapeError(
            compose(f"Expected size of input's dimension 1 to be divisible by the product of kernel_size, "
                    f"but got input.size(1)={rows} and kernel_size={window}.")
        )  # fmt: skip
    blocks = _blocks(size, window, spacing, around, steps)
    if min(blocks) < 1 or math.prod(blocks) != count:
        raise ShapeError(
            f"Given output_size={size}, kernel_size={window}, dilation={spacing}, padding={around}, stride={steps}, expected size of "
            f"input's dimension 2 to match the calculated number of sliding blocks {blocks[0]} * {blocks[1]} = {math.prod(blocks)}, "
            f"but got input.size(2)={count}."
        )
    if input.ndim == 2:
        return _folded(input.unsqueeze(0), size, window, spacing, around, steps, blocks).squeeze(0)
    return _folded(input, size, window, spacing, around, steps, blocks)
