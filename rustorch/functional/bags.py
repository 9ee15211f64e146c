"""Rows of tables in bags: sums, means or extremes of several rows each."""

from __future__ import annotations

import math
from typing import Any

from rustorch.errors import ArgumentError, ShapeError, Unsupported, compose
from rustorch.frontend.emit import Builder, TensorType, Value, broadcast_to, convert, dtype_of, operation, reduce, reshape, shape_of
from rustorch.functional.layer import _embedding
from rustorch.ir.dtypes import bool_, i64


@operation(name="embedding_bag")
def _embedding_bag(
    b: Builder, input: Value, weight: Value, bags: Value, mode: str, count: int, scale: Value | None, padding_idx: int | None
) -> Value:
    """Rows combined by the number of their bag."""
    (many,), width = shape_of(input), shape_of(weight)[1]
    rows = _embedding.emit(b, input, weight, padding_idx)
    if scale is not None:
        rows = b.mul(rows, b.broadcast_to(convert(b, scale, dtype_of(rows)), shape=shape_of(rows), dims=(0,)))
    places = b.broadcast_to(bags, shape=(many, width), dims=(0,))
    kept = b.const(True, TensorType(bool_, shape_of(rows))) if padding_idx is None else b.broadcast_to(
        b.ne(convert(b, input, i64), padding_idx), shape=shape_of(rows), dims=(0,)
    )
    shape = (count, width)
    zero = b.const(0.0, TensorType(dtype_of(rows), shape))
    ones = b.scatter_add(zero, places, convert(b, kept, dtype_of(rows)), axis=0)
    if mode == "max":
        low = b.select(kept, rows, b.const(-math.inf, rows))
        top = b.scatter(b.const(-math.inf, zero), places, low, axis=0, combine="maximum")
        return b.select(b.gt(ones, 0.0), top, zero)  # type: ignore[no-any-return]
    total = b.scatter_add(zero, places, b.select(kept, rows, b.const(0.0, rows)), axis=0)
    return total if mode == "sum" else b.div(total, b.maximum(ones, 1.0))  # type: ignore[no-any-return]


@operation(name="bag_numbers", blocks=True)
def _bag_numbers(b: Builder, offsets: Value, count: int) -> Value:
    """The bag of each place: how many offsets are not beyond it, less one."""
    (bags,) = shape_of(offsets)
    table = TensorType(i64, (count, bags))
    begun = b.ge(b.iota(type=table, axis=0), broadcast_to(b, convert(b, offsets, i64), table.shape))
    found: Value = b.sub(reduce(b, "sum", convert(b, begun, i64), 1), 1)
    return found


@operation(name="bag_numbers", blocks=True)
def _row_numbers(b: Builder, input: Value) -> Value:
    """The row of each element, flat."""
    rows, width = shape_of(input)
    return reshape(b, b.iota(type=TensorType(i64, (rows, width)), axis=0), (rows * width,))


def embedding_bag(
    input: Any,
    weight: Any,
    offsets: Any = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Any = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Any:
    """The rows of `weight` that each bag of `input` names, as their "sum", "mean" or "max": a bag is a row, or begins at an offset."""
    if max_norm is not None or scale_grad_by_freq or sparse:
        raise Unsupported(compose("embedding_bag: max_norm, scale_grad_by_freq and sparse are not there", todo="leave them out"))
    if mode not in ("sum", "mean", "max"):
        raise ArgumentError("mode has to be one of sum, mean or max")
    if per_sample_weights is not None and mode != "sum":
        raise Unsupported(
            f"embedding_bag: per_sample_weights was not None. per_sample_weights is only supported for mode='sum' (got mode='{mode}')."
        )
    if len(input.shape) == 2:
        if offsets is not None:
            raise ArgumentError(
                "if input is 2D, then offsets has to be None, as input is treated is a mini-batch of fixed length sequences."
            )
        bags, count = _row_numbers(input), input.shape[0]
        per_sample_weights = None if per_sample_weights is None else per_sample_weights.reshape(-1)
        input = input.reshape(-1)
    elif len(input.shape) == 1:
        if offsets is None or len(offsets.shape) != 1:
            raise ArgumentError("offsets has to be a 1D Tensor" if offsets is not None else "offsets has to be a 1D Tensor but got None")
        starts = offsets[:-1] if include_last_offset else offsets
        bags, count = _bag_numbers(starts, int(input.shape[0])), starts.shape[0]
    else:
        raise ShapeError(f"input has to be 1D or 2D Tensor, but got Tensor of dimension {len(input.shape)}")
    if padding_idx is not None and padding_idx < 0:
        padding_idx += weight.shape[0]
    return _embedding_bag(input, weight, bags, mode, int(count), per_sample_weights, padding_idx)
