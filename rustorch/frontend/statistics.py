"""Means, spreads, norms and counts: reductions that are written in terms of others; and differences along a dimension."""

from __future__ import annotations

import builtins
from typing import Any, NamedTuple

import numpy as np

from rustorch.errors import ArgumentError, DTypeError, ShapeError, compose
from rustorch.frontend.base import TensorBase
from rustorch.frontend.dtype import as_dtype
from rustorch.frontend.emission import (
    Builder,
    Operand,
    Value,
    as_float,
    average,
    axes_of,
    axis_of,
    broadcast_to,
    convert,
    count,
    dtype_of,
    operation,
    reduce,
    reshape,
    result_type,
    shape_of,
    together,
)
from rustorch.frontend.movement import part
from rustorch.frontend.operation import from_array
from rustorch.frontend.reduction import Dims, dims_from, extreme
from rustorch.frontend.storage import into
from rustorch.ir.dims import product
from rustorch.ir.dtypes import bool_, f64, i64, title
from rustorch.ir.types import DType, TensorType
from rustorch.ops.matrices import by_column, by_row, diagonal

# --- Spreads ----------------------------------------------------------------------------------------------------------


def variance(b: Builder, x: Value, dim: Dims, correction: float, keepdim: builtins.bool) -> Value:
    """The sum of squared distances from the mean, by their number less `correction`."""
    return _spread(b, x, dim, correction, keepdim)[0]


def _spread(b: Builder, x: Value, dim: Dims, correction: float, keepdim: builtins.bool) -> tuple[Value, Value]:
    """Variance and mean."""
    if dtype_of(x).kind != "float":
        raise DTypeError(compose("std and var only support floating point and complex dtypes", todo="Convert it first: x.float()."))
    mean = average(b, x, dim, keepdim=True)
    distance = b.sub(x, broadcast_to(b, mean, shape_of(x)))
    total = reduce(b, "sum", b.mul(distance, distance), dim, keepdim)
    found = b.div(total, builtins.max(count(x, dim) - correction, 0.0))
    return found, mean if keepdim else reshape(b, mean, shape_of(total))


def _root(b: Builder, x: Value, p: float = 2) -> Value:
    """The p-th root of a sum of powers; its derivative at 0 is 0."""
    zero = b.eq(x, 0)
    safe = b.select(zero, b.const(1, x), x)
    found: Value = b.select(zero, x, b.sqrt(safe) if p == 2 else b.pow(safe, 1 / p))
    return found


@operation(name="var")
def var_op(b: Builder, input: Value, dim: Dims, correction: float, keepdim: builtins.bool) -> Value:
    """The variance."""
    return variance(b, input, dim, correction, keepdim)


@operation(name="std")
def std_op(b: Builder, input: Value, dim: Dims, correction: float, keepdim: builtins.bool) -> Value:
    """The root of the variance."""
    return _root(b, variance(b, input, dim, correction, keepdim))


@operation(name="var_mean")
def var_mean_op(b: Builder, input: Value, dim: Dims, correction: float, keepdim: builtins.bool) -> tuple[Value, Value]:
    """Variance and mean."""
    return _spread(b, input, dim, correction, keepdim)


@operation(name="std_mean")
def std_mean_op(b: Builder, input: Value, dim: Dims, correction: float, keepdim: builtins.bool) -> tuple[Value, Value]:
    """The root of the variance, and the mean."""
    found, mean = _spread(b, input, dim, correction, keepdim)
    return _root(b, found), mean


def _spread_arguments(dim: Any, unbiased: Any, keepdim: Any, correction: float | None) -> tuple[Dims, float, builtins.bool]:
    """What `(dim, unbiased, keepdim, correction)` mean: a bool in the place of `dim` is `unbiased`."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    return dims_from(dim), float(unbiased if correction is None else correction), bool(keepdim)


def var(
    input: Any, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *, correction: float | None = None, out: Any = None
) -> Any:
    """The variance: the sum of squared distances from the mean, by their number less `correction` (1 if `unbiased`)."""
    return into(out, var_op(input, *_spread_arguments(dim, unbiased, keepdim, correction)))


def std(
    input: Any, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *, correction: float | None = None, out: Any = None
) -> Any:
    """The standard deviation: the root of the variance. Its derivative is 0 where it is."""
    return into(out, std_op(input, *_spread_arguments(dim, unbiased, keepdim, correction)))


def var_mean(input: Any, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *, correction: float | None = None) -> Any:
    """Variance and mean."""
    return var_mean_op(input, *_spread_arguments(dim, unbiased, keepdim, correction))


def std_mean(input: Any, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *, correction: float | None = None) -> Any:
    """Standard deviation and mean."""
    return std_mean_op(input, *_spread_arguments(dim, unbiased, keepdim, correction))


@operation
def cov(b: Builder, input: Value, *, correction: int = 1, fweights: Value | None = None, aweights: Value | None = None) -> Value:
    """The covariances of the rows, each of which is a variable, each column an observation; with weights of observations."""
    x = as_float(b, input)
    if len(shape_of(x)) > 2:
        raise ShapeError(f"cov(): expected input to have two or fewer dimensions but got an input with {len(shape_of(x))} dimensions")
    x = reshape(b, x, (1, product(shape_of(x)))) if len(shape_of(x)) < 2 else x
    rows, columns = shape_of(x)
    ones = b.const(1, TensorType(dtype_of(x), (columns,)))
    counts = ones if fweights is None else convert(b, fweights, dtype_of(x))
    weights = counts if aweights is None else b.mul(counts, convert(b, aweights, dtype_of(x)))
    total = reduce(b, "sum", weights)
    each = b.broadcast_to(weights, shape=(rows, columns), dims=(1,))
    mean = b.div(reduce(b, "sum", b.mul(x, each), 1, keepdim=True), broadcast_to(b, total, (rows, 1)))
    distance = b.sub(x, broadcast_to(b, mean, shape_of(x)))
    if aweights is None:
        norm = b.sub(total, float(correction))
    else:
        norm = b.sub(total, b.div(b.mul(reduce(b, "sum", b.mul(weights, convert(b, aweights, dtype_of(x)))), float(correction)), total))
    products = b.dot_general(b.mul(distance, each), distance, contract=((1,), (1,)), batch=((), ()))
    found = b.div(products, broadcast_to(b, b.maximum(norm, 0), shape_of(products)))
    return reshape(b, found, ()) if len(shape_of(input)) < 2 else found


@operation
def corrcoef(b: Builder, input: Value) -> Value:
    """The correlations of the rows: covariances by the roots of both variances, between -1 and 1."""
    found = cov.emit(b, input)
    if not shape_of(found):
        return b.div(found, found)  # type: ignore[no-any-return]
    deviation = b.sqrt(diagonal(b, found))
    found = b.div(b.div(found, by_row(b, deviation, found)), by_column(b, deviation, found))
    return b.minimum(b.maximum(found, -1.0), 1.0)  # type: ignore[no-any-return]


# --- Norms ------------------------------------------------------------------------------------------------------------


def length(b: Builder, x: Value, p: float, dim: Dims = None, keepdim: builtins.bool = False) -> Value:
    """The p-norm over dimensions. Its derivative at 0 is 0."""
    if dtype_of(x).kind != "float":
        raise DTypeError(
            compose(f"linalg.vector_norm: Expected a floating point or complex tensor as input. Got {title(dtype_of(x))}")
        )
    size = b.abs(x)
    if p in (float("inf"), float("-inf")):
        return extreme(b, "max" if p > 0 else "min", size, dim, keepdim)
    if p == 0:
        return reduce(b, "sum", convert(b, b.ne(x, 0), dtype_of(x)), dim, keepdim)
    if p == 1:
        return reduce(b, "sum", size, dim, keepdim)
    total = reduce(b, "sum", b.mul(x, x) if p == 2 else b.pow(size, p), dim, keepdim)
    return _root(b, total, p)


@operation(name="norm")
def norm_op(b: Builder, input: Value, p: float, dim: Dims, keepdim: builtins.bool) -> Value:
    """The p-norm."""
    return length(b, input, p, dim, keepdim)


def norm(
    input: Any, p: Any = "fro", dim: Any = None, keepdim: builtins.bool = False, dtype: DType | None = None, *, out: Any = None
) -> Any:
    """The p-norm of the elements, or along dimensions; at 0 its gradient is 0."""
    x = input if dtype is None else input.to(dtype)
    if isinstance(p, str) and p != "fro":
        raise ArgumentError(compose(f"norm: p={p!r} is not there", todo="give a number, or 'fro'; rustorch.linalg has norms of matrices"))
    return into(out, norm_op(x, 2.0 if p is None or p == "fro" else float(p), dims_from(dim), keepdim))


@operation
def dist(b: Builder, input: Value, other: Value, p: float = 2) -> Value:
    """The p-norm of the difference."""
    x, y = together(b, input, other)
    return length(b, b.sub(x, y), float(p))


@operation
def renorm(b: Builder, input: Value, p: float, dim: int, maxnorm: float) -> Value:
    """The slices along a dimension, scaled down to a p-norm of at most `maxnorm` where they are longer."""
    axis = axis_of(dim, len(shape_of(input)))
    others = tuple(a for a in range(len(shape_of(input))) if a != axis)
    size = length(b, input, float(p), others, keepdim=True) if others else b.abs(input)
    long = b.gt(size, maxnorm)
    scale = b.select(long, b.div(b.const(maxnorm, size), b.add(size, 1e-7)), b.const(1, size))
    found: Value = b.mul(input, broadcast_to(b, scale, shape_of(input)))
    return found


# --- Sums -------------------------------------------------------------------------------------------------------------


@operation(name="logsumexp")
def logsumexp_op(b: Builder, input: Value, dim: Dims, keepdim: builtins.bool) -> Value:
    """log(sum(exp(x))), without overflow: the largest element, which carries no gradient, is taken out first."""
    x = as_float(b, input)
    axes = axes_of(dim, len(shape_of(x)))
    if 0 in [shape_of(x)[a] for a in axes]:
        return b.log(reduce(b, "sum", x, dim, keepdim))  # type: ignore[no-any-return]
    top = b.detach(reduce(b, "max", x, dim, keepdim=True))
    finite = b.select(b.lt(b.abs(top), float("inf")), top, b.const(0, top))
    total = reduce(b, "sum", b.exp(b.sub(x, broadcast_to(b, finite, shape_of(x)))), dim, keepdim=True)
    found: Value = b.add(b.log(total), finite)
    return found if keepdim else reshape(b, found, tuple(s for a, s in enumerate(shape_of(x)) if a not in axes))


def logsumexp(input: Any, dim: Any, keepdim: builtins.bool = False, *, out: Any = None) -> Any:
    """log(sum(exp(x))) over dimensions, without overflow."""
    return into(out, logsumexp_op(input, dims_from(dim), keepdim))


@operation(name="nansum")
def nansum_op(b: Builder, input: Value, dim: Dims, keepdim: builtins.bool, dtype: DType | None) -> Value:
    """The sum of what is not NaN."""
    kind = dtype_of(input)
    x = convert(b, input, dtype or (kind if kind.kind == "float" else i64))
    if dtype_of(x).kind == "float":
        x = b.select(b.ne(x, x), b.const(0, x), x)
    return reduce(b, "sum", x, dim, keepdim)


def nansum(input: Any, dim: Any = None, keepdim: builtins.bool = False, *, dtype: Any = None, out: Any = None) -> Any:
    """The sum of the elements that are not NaN."""
    return into(out, nansum_op(input, dims_from(dim), keepdim, None if dtype is None else as_dtype(dtype)))


@operation(name="nanmean")
def nanmean_op(b: Builder, input: Value, dim: Dims, keepdim: builtins.bool, dtype: DType | None) -> Value:
    """The mean of what is not NaN."""
    x = input if dtype is None else convert(b, input, dtype)
    if dtype_of(x).kind != "float":
        raise DTypeError(
            f"nanmean(): expected input to have floating point or complex dtype but got {title(dtype_of(x))}"
        )
    there = b.eq(x, x)
    total = reduce(b, "sum", b.select(there, x, b.const(0, x)), dim, keepdim)
    found: Value = b.div(total, reduce(b, "sum", convert(b, there, dtype_of(x)), dim, keepdim))
    return found


def nanmean(input: Any, dim: Any = None, keepdim: builtins.bool = False, *, dtype: Any = None, out: Any = None) -> Any:
    """The mean of the elements that are not NaN."""
    return into(out, nanmean_op(input, dims_from(dim), keepdim, None if dtype is None else as_dtype(dtype)))


@operation(name="count_nonzero")
def count_nonzero_op(b: Builder, input: Value, dim: Dims) -> Value:
    """How many elements are not 0."""
    return reduce(b, "sum", convert(b, convert(b, input, bool_), i64), dim)


def count_nonzero(input: Any, dim: Any = None) -> Any:
    """How many elements are not 0, in all or along dimensions."""
    return count_nonzero_op(input, dims_from(dim))


class Extremes(NamedTuple):
    """The smallest and the largest elements."""

    min: Any
    max: Any


@operation(name="aminmax")
def aminmax_op(b: Builder, input: Value, dim: int | None, keepdim: builtins.bool) -> Extremes:
    """Both extremes."""
    return Extremes(*(extreme(b, kind, input, dim, keepdim) for kind in ("min", "max")))


def aminmax(input: Any, *, dim: int | None = None, keepdim: builtins.bool = False, out: Any = None) -> Any:
    """The smallest and the largest element, of all or along a dimension; equal ones share the gradient."""
    return into(out, aminmax_op(input, dim, keepdim))


# --- Differences and integrals ----------------------------------------------------------------------------------------


def _neighbours(b: Builder, x: Value, axis: int) -> tuple[Value, Value]:
    """All elements but the last along an axis, and all but the first."""
    size = shape_of(x)[axis]
    cut = 0 if size == 0 else size - 1
    return part(b, x, axis, 0, cut), part(b, x, axis, size - cut, size)


@operation
def diff(
    b: Builder, input: Value, n: int = 1, dim: int = -1, prepend: Value | None = None, append: Value | None = None
) -> Value:
    """Differences of neighbours along a dimension, `n` times over; with elements set before and behind first."""
    if not shape_of(input):
        raise ShapeError("diff expects input to be at least one-dimensional")
    axis = axis_of(dim, len(shape_of(input)))
    parts = [x for x in (prepend, input, append) if x is not None]
    dtype = result_type(*parts)
    x = b.concat(*(convert(b, v, dtype) for v in parts), axis=axis) if len(parts) > 1 else input
    for _ in range(n):
        low, high = _neighbours(b, x, axis)
        x = b.xor(high, low) if dtype is bool_ else b.sub(high, low)
    return x


def _pieces(b: Builder, y: Value, x: Value | None, dx: Operand, dim: int) -> tuple[Value, int]:
    """The areas between neighbours: means of both heights times the distances."""
    rank = len(shape_of(y))
    axis = axis_of(dim, rank)
    size = shape_of(y)[axis]
    if x is None:
        y = as_float(b, y)
        low, high = _neighbours(b, y, axis)
        wide = b.mul(convert(b, dx, dtype_of(y)), 0.5)
        return b.mul(b.add(high, low), broadcast_to(b, wide, shape_of(low))), axis
    if len(shape_of(x)) == 1:
        if shape_of(x)[0] != size:
            raise ShapeError(f"There must be one `x` value for each sample point: found {shape_of(x)[0]} for {size}")
        x = reshape(b, x, tuple(size if a == axis else 1 for a in range(rank)))
    dtype = result_type(as_float(b, y), x)
    y, x = convert(b, y, dtype), convert(b, x, dtype)
    low, high = _neighbours(b, y, axis)
    left, right = _neighbours(b, x, axis_of(dim, len(shape_of(x))))
    heights, distances = together(b, b.add(high, low), b.sub(right, left))
    return b.mul(b.mul(heights, distances), 0.5), axis


@operation(name="trapezoid")
def trapezoid_op(b: Builder, y: Value, x: Value | None, dx: Operand, dim: int) -> Value:
    """The integral by the trapezoidal rule."""
    areas, axis = _pieces(b, y, x, dx, dim)
    return reduce(b, "sum", areas, axis)


@operation(name="cumulative_trapezoid")
def cumulative_trapezoid_op(b: Builder, y: Value, x: Value | None, dx: Operand, dim: int) -> Value:
    """The integrals up to each element but the first."""
    areas, axis = _pieces(b, y, x, dx, dim)
    return running_sum(b, areas, axis)


def trapezoid(y: Any, x: Any = None, *, dx: Any = None, dim: int = -1) -> Any:
    """The integral of samples `y` along a dimension, by the trapezoidal rule: at places `x`, or `dx` (1) apart."""
    return trapezoid_op(y, x, 1.0 if dx is None else dx, dim)


def cumulative_trapezoid(y: Any, x: Any = None, *, dx: Any = None, dim: int = -1) -> Any:
    """The integrals of samples `y` up to each but the first, by the trapezoidal rule."""
    return cumulative_trapezoid_op(y, x, 1.0 if dx is None else dx, dim)


def running_sum(b: Builder, x: Value, axis: int) -> Value:
    """Sums of all elements up to each one, along an axis."""
    total: Value = b.cumsum(x, axis=axis, reverse=False)
    return total


# --- Counts -----------------------------------------------------------------------------------------------------------


@operation(name="bincount")
def bincount_op(b: Builder, input: Value, weights: Value | None, size: int) -> Value:
    """How often each whole number below `size` is among the elements, or the sums of their weights."""
    if weights is None:
        added = b.const(1, TensorType(i64, shape_of(input)))
    else:
        added = weights if dtype_of(weights).kind == "float" else convert(b, weights, f64)
    found: Value = b.scatter_add(b.const(0, TensorType(dtype_of(added), (size,))), convert(b, input, i64), added, axis=0)
    return found


def bincount(input: Any, weights: Any = None, minlength: int = 0) -> Any:
    """How often each whole number is among the elements, or the sums of their weights. Looks at the largest element."""
    if len(input._type.shape) != 1 or input._type.dtype.kind == "float":
        raise ShapeError("bincount only supports 1-d non-negative integral inputs.")
    if minlength < 0:
        raise ArgumentError("minlength should be >= 0")
    places = input._elements()
    if places.size and places.min() < 0:
        raise ShapeError("bincount only supports 1-d non-negative integral inputs.")
    size = builtins.max(int(places.max()) + 1 if places.size else 0, minlength)
    return bincount_op(input, weights, size)


@operation(name="histc", blocks=True)
def histc_op(b: Builder, input: Value, low: Value, high: Value, bins: int, weights: Value | None = None) -> Value:
    """How many elements, or which weights, lie in each of `bins` parts of a range; the upper end belongs to the last."""
    flat = reshape(b, input, (product(shape_of(input)),))
    low, high = (broadcast_to(b, convert(b, v, dtype_of(input)), shape_of(flat)) for v in (low, high))
    inside = b.and_(b.ge(flat, low), b.le(flat, high))
    place = b.floor(b.div(b.mul(b.sub(flat, low), float(bins)), b.sub(high, low)))
    place = convert(b, b.select(inside, b.minimum(place, float(bins - 1)), b.const(0, place)), i64)
    each = b.const(1, flat) if weights is None else reshape(b, convert(b, weights, dtype_of(flat)), shape_of(flat))
    found: Value = b.scatter_add(
        b.const(0, TensorType(dtype_of(input), (bins,))), place, b.select(inside, each, b.const(0, each)), axis=0
    )
    return found


def histc(input: Any, bins: int = 100, min: float = 0, max: float = 0, *, out: Any = None) -> Any:
    """How many elements lie in each of `bins` equal parts of a range: of the elements', where `min` and `max` are equal."""
    if bins <= 0:
        raise ArgumentError("bins must be > 0")
    if input._type.dtype.kind != "float":
        raise DTypeError(f'"histogram_cpu" not implemented for \'{title(input._type.dtype)}\'')
    if max < min:
        raise ArgumentError("max must be larger than min")
    low, high = float(min), float(max)
    if low == high and input.numel():
        ends = aminmax_op(input, None, False)
        low, high = float(ends[0].item()), float(ends[1].item())
    if low == high:
        low, high = low - 1, high + 1
    kind = input._type.dtype.numpy
    return into(out, histc_op(input, from_array(np.asarray(low, kind)), from_array(np.asarray(high, kind)), bins))


class Histogram(NamedTuple):
    """Counts, and the edges of their bins."""

    hist: Any
    bin_edges: Any


def histogram(input: Any, bins: Any, *, range: Any = None, weight: Any = None, density: builtins.bool = False) -> Any:
    """The counts (or weights, or densities) of elements in equal bins of a range, and the bins' edges."""
    if isinstance(bins, TensorBase):
        raise ArgumentError(compose("histogram: edges are not taken", todo="give the number of bins"))
    low, high = (float(v) for v in range) if range is not None else (input.min().item(), input.max().item())
    if low == high:
        low, high = low - 0.5, high + 0.5
    kind = input._type.dtype.numpy
    found = histc_op(input, from_array(np.asarray(low, kind)), from_array(np.asarray(high, kind)), bins, weight)
    edges = from_array(np.linspace(low, high, bins + 1).astype(kind))
    if density:
        found = found / (found.sum() * ((high - low) / bins))
    return Histogram(found, edges)


# --- Gradients of samples ---------------------------------------------------------------------------------------------


@operation(name="gradient")
def gradient_op(b: Builder, input: Value, axis: int, places: Value | None, spacing: float, edge_order: int) -> Value:
    """Differences of second order inside, of `edge_order` at both ends: for uneven places after Fornberg (1988)."""
    x = as_float(b, input)
    shape, size = shape_of(x), shape_of(x)[axis]
    if not isinstance(size, int) or size < edge_order + 1:
        raise ShapeError(compose(f"torch.gradient expected each dimension size to be at least {edge_order + 1}"))

    def at(v: Value, start: int, stop: int) -> Value:
        return part(b, v, axis, start, stop)

    def along(v: Value, like: Value) -> Value:
        return b.broadcast_to(v, shape=shape_of(like), dims=(axis,))  # type: ignore[no-any-return]

    h = b.const(spacing, TensorType(dtype_of(x), (size - 1,)))
    if places is not None:
        p = convert(b, places, dtype_of(x))
        h = b.sub(part(b, p, 0, 1, size), part(b, p, 0, 0, size - 1))
    slopes = b.sub(at(x, 1, size), at(x, 0, size - 1))
    slopes = b.div(slopes, along(h, slopes))  # of each piece
    before, behind = at(slopes, 0, size - 2), at(slopes, 1, size - 1)
    hb, ha = (along(part(b, h, 0, k, size - 2 + k), before) for k in (0, 1))
    inner = b.div(b.add(b.mul(before, ha), b.mul(behind, hb)), b.add(ha, hb))
    ends = [at(slopes, 0, 1), at(slopes, size - 2, size - 1)]
    if edge_order == 2:
        for k, (near, next_) in enumerate(((0, 1), (size - 2, size - 3))):
            s, t = at(slopes, near, near + 1), at(slopes, next_, next_ + 1)
            hn, hf = (along(part(b, h, 0, i, i + 1), s) for i in (near, next_))
            ends[k] = b.add(s, b.div(b.mul(hn, b.sub(s, t)), b.add(hn, hf)))
    found: Value = b.concat(ends[0], inner, ends[1], axis=axis) if size > 2 else b.concat(ends[0], ends[1], axis=axis)
    assert shape_of(found) == shape
    return found


def gradient(input: Any, *, spacing: Any = 1, dim: Any = None, edge_order: int = 1) -> tuple[Any, ...]:
    """The derivative of samples along each dimension: `spacing` is their distance, or a vector of places for each dimension."""
    rank = len(input._type.shape)
    dims = tuple(range(rank)) if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)
    if edge_order not in (1, 2):
        raise ArgumentError("torch.gradient only supports edge_order=1 and edge_order=2.")
    spacings = list(spacing) if isinstance(spacing, (list, tuple)) else [spacing] * len(dims)
    if len(spacings) != len(dims):
        raise ArgumentError(f"torch.gradient expected spacing to be unspecified, a scalar, or it's length to be {len(dims)}")
    found = []
    for d, s in zip(dims, spacings, strict=True):
        places = s if isinstance(s, TensorBase) and s._type.shape else None
        found.append(gradient_op(input, axis_of(d, rank), places, 1.0 if places is not None else float(s), edge_order))
    return tuple(found)


trapz = trapezoid

FUNCTIONS = (
    var, std, norm, dist, renorm, cov, corrcoef, logsumexp, nansum, nanmean, count_nonzero, aminmax, diff, bincount, histc, histogram,
)  # fmt: skip
"""Functions that are methods, too."""
