"""Indexing: elements picked, and added, by computed places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rustorch.errors import DimensionError, DTypeError, ShapeError, compose
from rustorch.ir.builder import Builder
from rustorch.ir.dtypes import DTYPES, INTS, NUMBERS, bool_, f32, f64, i64
from rustorch.ir.graph import Value
from rustorch.ir.op import REGISTRY, Internal, Linear, Nest, NotDifferentiable, Refusal, Sample
from rustorch.ir.types import DType, TensorType, Type
from rustorch.ops.family import Array, Domain, batch_size, check_axes, general, not_taken, tensor, with_batch

_AN_INDEX = NotDifferentiable("an index is a whole number")


def _check_indices(name: str, x: TensorType, indices: TensorType, axis: int) -> None:
    if indices.dtype not in INTS:
        raise DTypeError(compose(f"{name}: indices must be integers", f"found {indices}", todo="convert them to i64"))
    check_axes(name, (axis,), x)
    if indices.rank != x.rank or any(i != s for a, (i, s) in enumerate(zip(indices.shape, x.shape, strict=True)) if a != axis):
        raise ShapeError(compose(f"{name}: indices have the operand's shape but along axis {axis}", f"found {x} and indices {indices}"))


def _check_range(name: str, indices: Array, size: int) -> None:
    outside = indices[(indices < 0) | (indices >= size)]
    if outside.size:
        raise DimensionError(compose(f"{name}: index {outside.flat[0]} is out of range", f"the axis has size {size}"))


def _gather_type(x: Type, indices: Type, *, axis: int) -> TensorType:
    type_, places = tensor("gather", x), tensor("gather", indices)
    _check_indices("gather", type_, places, axis)
    return type_.with_shape(places.shape)


def _gather(x: Array, indices: Array, axis: int) -> Array:
    _check_range("gather", indices, x.shape[axis])
    return np.take_along_axis(x, indices.astype(np.int64), axis)


def _scatter_type(x: Type, indices: Type, updates: Type, *, axis: int) -> TensorType:
    type_, places, added = tensor("scatter_add", x), tensor("scatter_add", indices), tensor("scatter_add", updates)
    if type_.dtype not in NUMBERS:
        raise DTypeError(not_taken("scatter_add", x, NUMBERS))
    if added.dtype is not type_.dtype:
        raise DTypeError(
            compose("scatter_add: the operands' element types differ", f"found {x} and updates {updates}", todo="convert the updates")
        )
    _check_indices("scatter_add", type_, places, axis)
    if added.shape != places.shape:
        raise ShapeError(compose("scatter_add: updates and indices must have one shape", f"found updates {updates} and indices {indices}"))
    return type_


def _scatter_add(x: Array, indices: Array, updates: Array, axis: int) -> Array:
    _check_range("scatter_add", indices, x.shape[axis])
    total = x.astype(np.float64 if x.dtype.kind == "f" else x.dtype)
    places: list[Array] = list(np.indices(indices.shape, sparse=True))
    places[axis] = indices
    np.add.at(total, tuple(places), updates)
    return total.astype(x.dtype)


def _batch(name: str) -> Any:
    def batch(b: Builder, operands: Sequence[Value], batched: Sequence[bool], attrs: dict[str, Any]) -> tuple[Value, ...]:
        size = batch_size(operands, batched)
        aligned = [with_batch(b, x, yes, size) for x, yes in zip(operands, batched, strict=True)]
        return b.emit(REGISTRY[name], aligned, {"axis": attrs["axis"] + 1})

    return batch


def _draw(shape: tuple[int, ...], count: int, axis: int, dtype: DType = f64, index: DType = i64, updates: bool = False) -> Any:
    """An operand of a shape, `count` indices along the axis, and updates where asked for."""
    many = tuple(count if a == axis else size for a, size in enumerate(shape))

    def make(rng: np.random.Generator) -> tuple[Array, ...]:
        places = rng.integers(0, max(shape[axis], 1), many).astype(index.numpy)
        drawn = (Domain(-9, 9).draw(rng, dtype, shape), places)
        return (*drawn, Domain(-9, 9).draw(rng, dtype, many)) if updates else drawn

    return make


def _samples(dtypes: Sequence[DType], updates: bool) -> tuple[Sample, ...]:
    def sample(label: str, shape: tuple[int, ...], count: int, axis: int, dtype: DType = f64, index: DType = i64) -> Sample:
        return Sample(_draw(shape, count, axis, dtype, index, updates), {"axis": axis}, dtype is f64, label)

    return (
        *(sample(f"{d}[5, 3]", (5, 3), 4, 0, d) for d in dtypes),
        sample("67 of 67", (67,), 67, 0),
        sample("i32 indices", (7,), 67, 0, f64, DTYPES[1]),
        sample("last axis", (3, 5), 2, 1),
        sample("middle axis", (2, 4, 3), 6, 1),
        sample("one", (1,), 1, 0),
        sample("none", (3, 2), 0, 0),
        sample("empty beside the axis", (3, 0), 2, 0),
    )


gather = general(
    "gather",
    "result[…, i, …] = x[…, indices[…, i, …], …] along `axis`; indices have x's shape beside that axis. An index out of range is an error.",
    public=Internal("gather, indexing, take_along_dim, embeddings and cross entropy are compositions of it"),
    operands=2,
    infer=_gather_type,
    reference=_gather,
    derivative=Linear((lambda b, ct, x, indices, axis: b.scatter_add(b.const(0, x), indices, ct, axis=axis), _AN_INDEX)),
    batch=_batch("gather"),
    lower=Nest("gather"),
    attributes=("axis",),
    samples=_samples(DTYPES, updates=False),
    errors=(
        Refusal((f32[5, 3], f32[4, 3]), {"axis": 0}, DTypeError, "must be integers"),
        Refusal((f32[5, 3], i64[4, 2]), {"axis": 0}, ShapeError, "but along axis 0"),
        Refusal((f32[5, 3], i64[4]), {"axis": 0}, ShapeError, "but along axis 0"),
        Refusal((f32[5, 3], i64[4, 3]), {"axis": 2}, DimensionError, "out of range"),
        Refusal((f32[()], i64[()]), {"axis": 0}, DimensionError, "out of range"),
    ),
)

scatter_add = general(
    "scatter_add",
    "x with updates[…, i, …] added to the element at indices[…, i, …] along `axis`; equal indices add up. An index out of "
    "range is an error.",
    public=Internal("scatter_add, index_add and the gradients of indexing are compositions of it"),
    operands=3,
    infer=_scatter_type,
    reference=_scatter_add,
    derivative=Linear(
        (lambda b, ct, x, indices, updates, axis: ct, _AN_INDEX, lambda b, ct, x, indices, updates, axis: b.gather(ct, indices, axis=axis))
    ),
    batch=_batch("scatter_add"),
    lower=Nest("scatter_add"),
    attributes=("axis",),
    samples=_samples(NUMBERS, updates=True),
    errors=(
        Refusal((f32[5], i64[4], f64[4]), {"axis": 0}, DTypeError, "element types differ"),
        Refusal((bool_[5], i64[4], bool_[4]), {"axis": 0}, DTypeError, "does not take element type"),
        Refusal((f32[5], f32[4], f32[4]), {"axis": 0}, DTypeError, "must be integers"),
        Refusal((f32[5], i64[4], f32[3]), {"axis": 0}, ShapeError, "one shape"),
        Refusal((f32[5, 3], i64[4, 2], f32[4, 2]), {"axis": 0}, ShapeError, "but along axis 0"),
        Refusal((f32[5], i64[4], f32[4]), {"axis": 1}, DimensionError, "out of range"),
    ),
)
