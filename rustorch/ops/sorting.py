"""Sorting: elements in order along an axis, and where they come from."""

from __future__ import annotations

import numpy as np

from rustorch.errors import ShapeError, compose
from rustorch.ir.dims import Size
from rustorch.ir.dtypes import DTYPES, bool_, f32, f64, i64
from rustorch.ir.op import Internal, Nest, Refusal, Sample
from rustorch.ir.types import DType, TensorType, Type
from rustorch.ops.family import Array, Domain, batch_in_front, check_axes, general, tensor
from rustorch.ops.indexing import PICKED


def _sort_type(x: Type, *, axis: int, descending: bool, count: Size) -> tuple[TensorType, TensorType]:
    type_ = tensor("sort", x)
    check_axes("sort", (axis,), type_)
    size = type_.shape[axis]
    if isinstance(count, int) and isinstance(size, int) and not 0 <= count <= size:
        raise ShapeError(compose("sort: `count` elements of the order are kept, at most all", f"found {count} of {x} along axis {axis}"))
    shape = tuple(count if a == axis else n for a, n in enumerate(type_.shape))
    return type_.with_shape(shape), TensorType(i64, shape)


def _sort(x: Array, axis: int, descending: bool, count: int) -> tuple[Array, Array]:
    """Stable in both directions: descending, the reversed axis is sorted and reversed again. NaN is larger than all numbers."""
    if descending:
        places = x.shape[axis] - 1 - np.flip(np.argsort(np.flip(x, axis), axis=axis, kind="stable"), axis)
    else:
        places = np.argsort(x, axis=axis, kind="stable")
    kept = np.take(places, np.arange(count), axis).astype(np.int64)
    return np.take_along_axis(x, kept, axis), kept


def _samples() -> tuple[Sample, ...]:
    shapes: list[tuple[tuple[int, ...], int]] = [
        ((67,), 0), ((1,), 0), ((0,), 0), ((5, 6), 0), ((3, 5), 1), ((2, 70, 3), 1), ((3, 0), 0), ((0, 3), 0), ((300,), 0), ((2, 300), 1),
    ]  # fmt: skip
    found = []
    for descending in (False, True):
        for dtype in DTYPES:
            for shape, axis in shapes if dtype is f64 else (shapes[4], shapes[8]):

                def draw(rng: np.random.Generator, d: DType = dtype, n: tuple[int, ...] = shape) -> tuple[Array, ...]:
                    if d is f64:  # apart, so that small steps do not change the order
                        return ((rng.permutation(int(np.prod(n))) / 7.0 - 5.0).reshape(n),)
                    return (Domain(-9, 9).draw(rng, d, n),)

                for count in dict.fromkeys((shape[axis], shape[axis] // 3 + 1)) if shape[axis] > 2 else (shape[axis],):
                    attrs = {"axis": axis, "descending": descending, "count": count}
                    label = f"{count} of {dtype}{list(shape)} along {axis}, descending {descending}"
                    found.append(Sample(draw, attrs, dtype is f64, label))

        def special(rng: np.random.Generator) -> tuple[Array, ...]:
            return (rng.choice([np.nan, -np.nan, 0.0, -0.0, np.inf, -np.inf, 1e-310, -1e-310, 1.0, -1.0, 1e300, -1e300], 200),)

        def extremes(rng: np.random.Generator) -> tuple[Array, ...]:
            return (rng.choice(np.array([-(2**63), 2**63 - 1, 0, -1, 1, 255, 256, -256], np.int64), 200),)

        found += [
            Sample(special, {"axis": 0, "descending": descending, "count": 200}, False, f"special, descending {descending}"),
            Sample(special, {"axis": 0, "descending": descending, "count": 40}, False, f"40 special, descending {descending}"),
            Sample(extremes, {"axis": 0, "descending": descending, "count": 200}, False, f"extremes, descending {descending}"),
        ]
    return tuple(found)


_UP = {"axis": 0, "descending": False, "count": 1}

sort = general(
    "sort",
    "The first `count` elements along `axis` in ascending (or `descending`) order, and their places before: equal ones keep their "
    "order; NaN is larger than all numbers.",
    public=Internal("sort, argsort, topk, kthvalue, median and their like are compositions of it"),
    operands=1,
    infer=_sort_type,
    reference=_sort,
    derivative=PICKED,
    batch=batch_in_front("sort", along=True),
    lower=Nest("sort"),
    attributes=("axis", "descending", "count"),
    cost=20,
    samples=_samples(),
    errors=(
        Refusal((f32[3],), {"axis": 1, "descending": False, "count": 1}, IndexError, "out of range"),
        Refusal((f32[3],), {"axis": 0, "descending": False, "count": 4}, ShapeError, "at most all"),
        Refusal((bool_[()],), _UP, IndexError, "out of range"),
    ),
    kinks="Equal elements keep their order, and each its own gradient.",
)
