"""What layers compute: linear maps, normalisation, embeddings, distances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rustorch.errors import ArgumentError, DimensionError, DTypeError, ShapeError, Unsupported, compose
from rustorch.frontend.emit import (
    Builder,
    Operand,
    Shape,
    TensorType,
    Value,
    average,
    axis_of,
    broadcast_to,
    convert,
    dtype_of,
    operation,
    rebind,
    reduce,
    shape_of,
    together,
)
from rustorch.functional.words import known, title
from rustorch.ir.dims import product
from rustorch.ir.dtypes import i32, i64


@operation
def linear(b: Builder, input: Value, weight: Value, bias: Value | None = None) -> Value:
    """x times the transpose of a weight [out, in], plus a bias [out]."""
    x, w = shape_of(input), shape_of(weight)
    if not x or not w:
        raise ShapeError(compose("both arguments to linear need to be at least 1D", f"found {list(x)} and {list(w)}"))
    if dtype_of(input) is not dtype_of(weight):
        raise DTypeError(
            compose(
                f"mat1 and mat2 must have the same dtype, but got {title(input)} and {title(weight)}", todo="Convert one of them first."
            )
        )
    if x[-1] != w[-1]:
        rows = product(x[:-1])
        turned = f"{w[1]}x{w[0]}" if len(w) == 2 else f"{w[0]}"
        raise ShapeError(
            compose(
                f"mat1 and mat2 shapes cannot be multiplied ({rows}x{x[-1]} and {turned})",
                f"linear contracts the last axis of input (length {x[-1]}) with the last axis of weight (length {w[-1]})",
                f"input: {list(x)}   weight: {list(w)}",
                todo=f"The layer takes {w[-1]} features.",
            )
        )
    found: Value = b.dot_general(input, weight, contract=((len(x) - 1,), (len(w) - 1,)), batch=((), ()))
    if bias is None:
        return found
    shifted: Value = b.add(found, broadcast_to(b, convert(b, bias, dtype_of(found)), shape_of(found)))
    return shifted


# --- Normalisation ----------------------------------------------------------------------------------------------------


def _normal_axes(x: Value, normalized_shape: Shape, *others: Value | None) -> tuple[int, ...]:
    """The last axes, which must have the normalized shape, as the weight and the bias must."""
    shape, rank = shape_of(x), len(normalized_shape)
    if not rank:
        raise ShapeError("Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element, but got []")
    for other in others:
        if other is not None and shape_of(other) != normalized_shape:
            raise ShapeError(
                f"Expected weight to be of same shape as normalized_shape, but got weight of shape {list(shape_of(other))} "
                f"and normalized_shape = {list(normalized_shape)}"
            )
    if len(shape) < rank or shape[len(shape) - rank :] != normalized_shape:
        raise ShapeError(
            f"Given normalized_shape={list(normalized_shape)}, expected input with shape "
            f"[*, {', '.join(map(str, normalized_shape))}], but got input of size{list(shape)}"
        )
    return tuple(range(len(shape) - rank, len(shape)))


def _affine(b: Builder, x: Value, weight: Value | None, bias: Value | None) -> Value:
    """x times a weight plus a bias, both aligned at the last axes."""
    if weight is not None:
        x = b.mul(x, broadcast_to(b, convert(b, weight, dtype_of(x)), shape_of(x)))
    if bias is not None:
        x = b.add(x, broadcast_to(b, convert(b, bias, dtype_of(x)), shape_of(x)))
    return x


def standardized(b: Builder, x: Value, axes: Sequence[int], eps: float) -> tuple[Value, Value, Value]:
    """x less its mean over axes, divided by the root of its variance plus eps; and mean and variance, with sizes of 1."""
    shape = shape_of(x)
    mean = average(b, x, axes, keepdim=True)
    distance = b.sub(x, broadcast_to(b, mean, shape))
    variance = average(b, b.mul(distance, distance), axes, keepdim=True)
    scale = b.rsqrt(b.add(variance, eps))
    return b.mul(distance, broadcast_to(b, scale, shape)), mean, variance


@operation(name="layer_norm")
def _layer_norm(b: Builder, input: Value, normalized_shape: tuple[int, ...], weight: Value | None, bias: Value | None, eps: float) -> Value:
    """Mean 0 and variance 1 over the last axes, then an affine map."""
    axes = _normal_axes(input, normalized_shape, weight, bias)
    return _affine(b, standardized(b, input, axes, eps)[0], weight, bias)


def layer_norm(input: Any, normalized_shape: Sequence[int], weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """Mean 0 and variance 1 over the last dimensions, which have the normalized shape; times a weight, plus a bias."""
    return _layer_norm(input, tuple(normalized_shape), weight, bias, eps)


@operation(name="rms_norm")
def _rms_norm(b: Builder, input: Value, normalized_shape: tuple[int, ...], weight: Value | None, eps: float) -> Value:
    """Mean square 1 over the last axes, times a weight."""
    axes = _normal_axes(input, normalized_shape, weight)
    square = average(b, b.mul(input, input), axes, keepdim=True)
    scale = broadcast_to(b, b.rsqrt(b.add(square, eps)), shape_of(input))
    return _affine(b, b.mul(input, scale), weight, None)


def rms_norm(input: Any, normalized_shape: Sequence[int], weight: Any = None, eps: float | None = None) -> Any:
    """Mean square 1 over the last dimensions, which have the normalized shape; times a weight. `eps`: the type's, where None."""
    if eps is None:
        eps = 2.0**-23 if input.dtype.bits == 32 else 2.0**-52
    return _rms_norm(input, tuple(normalized_shape), weight, eps)


def _other_axes(x: Value) -> tuple[int, ...]:
    """All axes but that of the channels, which is 1."""
    rank = len(shape_of(x))
    if rank < 2:
        raise ShapeError(f"expected 2D or 3D input (got {rank}D input)")
    return tuple(a for a in range(rank) if a != 1)


def _by_channel(b: Builder, v: Value, x: Value) -> Value:
    """A vector of the channels, as large as x."""
    if shape_of(v) != (shape_of(x)[1],):
        raise ShapeError(f"running_mean should contain {shape_of(x)[1]} elements not {product(shape_of(v))}")
    spread: Value = b.broadcast_to(convert(b, v, dtype_of(x)), shape=shape_of(x), dims=(1,))
    return spread


def scaled_channels(b: Builder, x: Value, weight: Value | None, bias: Value | None) -> Value:
    """x times a weight plus a bias, one each a channel."""
    if weight is not None:
        x = b.mul(x, _by_channel(b, weight, x))
    if bias is not None:
        x = b.add(x, _by_channel(b, bias, x))
    return x


def normalized(
    b: Builder,
    x: Value,
    axes: tuple[int, ...],
    mean: Value | None,
    variance: Value | None,
    weight: Value | None,
    bias: Value | None,
    eps: float,
) -> Value:
    """Mean 0 and variance 1: over axes, or with a mean and a variance of the channels; then an affine map of the channels."""
    if mean is None or variance is None:
        y = standardized(b, x, axes, eps)[0]
    else:
        y = b.mul(b.sub(x, _by_channel(b, mean, x)), _by_channel(b, b.rsqrt(b.add(variance, eps)), x))
    return scaled_channels(b, y, weight, bias)


@operation(name="batch_norm")
def _batch_norm(
    b: Builder, input: Value, mean: Value | None, variance: Value | None, weight: Value | None, bias: Value | None, eps: float
) -> Value:
    """Mean 0 and variance 1 of each channel: over the batch, or with the mean and variance given; then an affine map."""
    return normalized(b, input, _other_axes(input), mean, variance, weight, bias, eps)


def moved_towards(b: Builder, old: Value, new: Value, momentum: Operand) -> Value:
    """A running statistic, moved towards a new value."""
    share = broadcast_to(b, convert(b, momentum, dtype_of(old)), shape_of(old))
    found: Value = b.add(old, b.mul(b.sub(convert(b, new, dtype_of(old)), old), share))
    return found


@operation(name="running_statistics", blocks=True)
def _running_statistics(
    b: Builder, input: Value, running_mean: Value, running_var: Value, momentum: Operand
) -> tuple[Value, Value]:
    """The running mean and variance, moved towards those of a batch; the variance is the unbiased one."""
    axes = _other_axes(input)
    _, mean, variance = standardized(b, input, axes, 0.0)
    shape = shape_of(input)
    number = known(product(tuple(shape[a] for a in axes)))
    unbiased = b.mul(variance, number / (number - 1))
    mean, unbiased = (b.reshape(x, shape=(shape[1],)) for x in (mean, unbiased))
    return moved_towards(b, running_mean, mean, momentum), moved_towards(b, running_var, unbiased, momentum)


def batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: Any = 0.1,
    eps: float = 1e-5,
) -> Any:
    """Mean 0 and variance 1 of each channel (dimension 1), times a weight, plus a bias.

    While training, over the batch, and the running statistics are moved towards those of the batch by `momentum` (a number or a
    0-d tensor); else with the running statistics.
    """
    if not training:
        if running_mean is None or running_var is None:
            raise ArgumentError("Expected running_mean and running_var to be defined when training=False")
        return _batch_norm(input, running_mean, running_var, weight, bias, eps)
    shape = input.shape
    if len(shape) > 1 and product(shape) == shape[1]:
        raise ShapeError(f"Expected more than 1 value per channel when training, got input size {shape}")
    result = _batch_norm(input, None, None, weight, bias, eps)
    if running_mean is not None and running_var is not None:
        new_mean, new_var = _running_statistics(input, running_mean, running_var, momentum)
        rebind(running_mean, new_mean)
        rebind(running_var, new_var)
    return result


# --- Lengths and distances --------------------------------------------------------------------------------------------


def length(b: Builder, x: Value, p: float, dim: int | Sequence[int] | None, keepdim: bool = False) -> Value:
    """The p-norm over dimensions. Its derivative at 0 is 0."""
    size = b.abs(x)
    if p == float("inf"):
        return reduce(b, "max", size, dim, keepdim)
    if p == float("-inf"):
        return reduce(b, "min", size, dim, keepdim)
    if p == 0:
        return reduce(b, "sum", convert(b, b.ne(x, 0.0), dtype_of(x)), dim, keepdim)
    if p == 1:
        return reduce(b, "sum", size, dim, keepdim)
    power = b.mul(x, x) if p == 2 else b.pow(size, b.const(p, size))
    total = reduce(b, "sum", power, dim, keepdim)
    some = b.gt(total, 0.0)
    safe = b.select(some, total, b.const(1.0, total))
    root = b.sqrt(safe) if p == 2 else b.pow(safe, b.const(1 / p, safe))
    found: Value = b.select(some, root, total)
    return found


def at_least(b: Builder, x: Value, least: float) -> Value:
    """x, and a number in the place of what is below it; the derivative at the number is 1."""
    found: Value = b.select(b.lt(x, least), b.const(least, x), x)
    return found


@operation(name="normalize")
def _normalize(b: Builder, input: Value, p: float, dim: int | tuple[int, ...], eps: float) -> Value:
    """x, divided by its length."""
    size = at_least(b, length(b, input, p, dim, keepdim=True), eps)
    found: Value = b.div(input, broadcast_to(b, size, shape_of(input)))
    return found


def normalize(input: Any, p: float = 2.0, dim: int | tuple[int, ...] = 1, eps: float = 1e-12, out: Any = None) -> Any:
    """x, divided by its p-norm over a dimension, or by `eps` if that is larger."""
    found = _normalize(input, float(p), dim, eps)
    return found if out is None else rebind(out, found)


@operation
def cosine_similarity(b: Builder, x1: Value, x2: Value, dim: int = 1, eps: float = 1e-8) -> Value:
    """The product of x1 and x2 over a dimension, divided by their lengths (by `eps`, if that is larger)."""
    x, y = together(b, x1, x2)
    axis = axis_of(dim, len(shape_of(x)))
    x, y = (b.div(v, broadcast_to(b, at_least(b, length(b, v, 2, axis, keepdim=True), eps), shape_of(v))) for v in (x, y))
    return reduce(b, "sum", b.mul(x, y), axis)


@operation
def pairwise_distance(b: Builder, x1: Value, x2: Value, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Value:
    """The p-norm of x1 - x2 + eps over the last dimension."""
    x, y = together(b, x1, x2)
    return length(b, b.add(b.sub(x, y), eps), p, -1, keepdim)


# --- Classes and rows of tables ---------------------------------------------------------------------------------------


@operation(name="one_hot", blocks=True)
def _one_hot(b: Builder, tensor: Value, num_classes: int) -> Value:
    """1 at the place that the element names, along a new last axis; else 0."""
    shape = (*shape_of(tensor), num_classes)
    type_ = TensorType(i64, shape)
    places = b.broadcast_to(convert(b, tensor, i64), shape=shape, dims=tuple(range(len(shape) - 1)))
    return convert(b, b.eq(b.iota(type=type_, axis=len(shape) - 1), places), i64)


def one_hot(tensor: Any, num_classes: int = -1) -> Any:
    """Integers as vectors of a 1 and zeros. Without `num_classes`, the largest element is looked for."""
    if tensor.dtype not in (i32, i64):
        raise DTypeError("one_hot is only applicable to index tensor of type LongTensor.")
    places = tensor.detach().numpy() if num_classes == -1 else getattr(tensor, "_array", None)
    if places is not None and places.size:
        if places.min() < 0:
            raise ArgumentError("Class values must be non-negative.")
        if num_classes == -1:
            num_classes = int(places.max()) + 1
        elif places.max() >= num_classes:
            raise ArgumentError("Class values must be smaller than num_classes.")
    if num_classes <= 0:
        raise ArgumentError("Can not infer total number of classes from empty tensor.")
    return _one_hot(tensor, num_classes)


@operation(name="embedding")
def _embedding(b: Builder, input: Value, weight: Value, padding_idx: int | None) -> Value:
    """The rows of a weight [n, d] that integers name."""
    if dtype_of(input) not in (i32, i64):
        raise DTypeError(
            "Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, Int; "
            f"but got {title(input)}Tensor instead (while checking arguments for embedding)"
        )
    if len(shape_of(weight)) != 2:
        raise ShapeError(compose("'weight' must be 2-D", f"found {list(shape_of(weight))}"))
    shape, width = shape_of(input), shape_of(weight)[1]
    flat = (product(shape), width)
    places = b.broadcast_to(b.reshape(input, shape=(flat[0],)), shape=flat, dims=(0,))
    rows = b.gather(weight, places, axis=0)
    if padding_idx is not None:  # the row of the padding stays as it is
        rows = b.select(b.eq(places, padding_idx), b.detach(rows), rows)
    found: Value = b.reshape(rows, shape=(*shape, width))
    return found


def embedding(
    input: Any,
    weight: Any,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Any:
    """The rows of `weight` that `input` names. The row `padding_idx` gets no gradient."""
    if max_norm is not None or scale_grad_by_freq or sparse:
        raise Unsupported(compose("embedding: max_norm, scale_grad_by_freq and sparse are not there", todo="leave them out"))
    count = weight.shape[0]
    if padding_idx is not None:
        if not -count <= padding_idx < count:
            raise ArgumentError("Padding_idx must be within num_embeddings")
        padding_idx %= count
    places = getattr(input, "_array", None)
    if places is not None and places.size and (places.min() < 0 or places.max() >= count):
        raise DimensionError(compose("index out of range in self", f"the rows are numbered from 0 to {count - 1}"))
    return _embedding(input, weight, padding_idx)
