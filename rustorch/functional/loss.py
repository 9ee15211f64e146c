"""Losses: how far a prediction is from a target.

`reduction` says what becomes of the elements' losses: `"mean"`, `"sum"` or `"none"`. The older arguments `size_average` and
`reduce` are understood as PyTorch understands them.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from rustorch.errors import ArgumentError, DimensionError, DTypeError, ShapeError, compose
from rustorch.frontend.emit import (
    Builder,
    Shape,
    TensorType,
    Value,
    average,
    broadcast_to,
    convert,
    dtype_of,
    keep,
    operation,
    reduce,
    shape_of,
    together,
)
from rustorch.functional.activation import log_softmax_op, shifted
from rustorch.functional.words import known, title
from rustorch.ir.dtypes import i32, i64

# --- What all losses share --------------------------------------------------------------------------------------------


def loss_reduction(reduction: str, size_average: bool | None, reduce: bool | None) -> str:
    """The reduction that the arguments mean."""
    if size_average is not None or reduce is not None:  # the older arguments
        whole = True if reduce is None else reduce
        mean = True if size_average is None else size_average
        reduction = "none" if not whole else "mean" if mean else "sum"
        warnings.warn(f"size_average and reduce args will be deprecated, please use reduction='{reduction}' instead.", stacklevel=3)
    if reduction not in ("mean", "sum", "none"):
        raise ArgumentError(f"{reduction} is not a valid value for reduction")
    return reduction


def reduced(b: Builder, x: Value, reduction: str) -> Value:
    """The elements' losses under a reduction."""
    if reduction == "none":
        return x
    return average(b, x) if reduction == "mean" else reduce(b, "sum", x)


def _mixed_sizes(input: Any, target: Any) -> None:
    """Warn where the target's shape differs, and so will broadcast."""
    if input.shape != target.shape:
        warnings.warn(
            f"Using a target size ({target.shape}) that is different to the input size ({input.shape}). "
            "This will likely lead to incorrect results due to broadcasting. Please ensure they have the same size.",
            stacklevel=3,
        )


# --- Regression -------------------------------------------------------------------------------------------------------


@operation(name="mse_loss")
def _mse_loss(b: Builder, input: Value, target: Value, weight: Value | None, reduction: str) -> Value:
    """The squared differences."""
    x, y = together(b, input, target)
    d = b.sub(x, y)
    return _weighted(b, b.mul(d, d), weight, reduction)


@operation(name="l1_loss")
def _l1_loss(b: Builder, input: Value, target: Value, weight: Value | None, reduction: str) -> Value:
    """The absolute differences."""
    x, y = together(b, input, target)
    return _weighted(b, b.abs(b.sub(x, y)), weight, reduction)


def _weighted(b: Builder, loss: Value, weight: Value | None, reduction: str) -> Value:
    """Losses with a weight each, under a reduction; the mean is the weighted one."""
    if weight is None:
        return reduced(b, loss, reduction)
    if shape_of(weight) != shape_of(loss):
        raise ShapeError(compose("Weights and input must have the same size.", f"found {shape_of(weight)} and {shape_of(loss)}"))
    weight = convert(b, weight, dtype_of(loss))
    loss = reduced(b, b.mul(loss, weight), "none" if reduction == "none" else "sum")
    found: Value = b.div(loss, reduce(b, "sum", weight)) if reduction == "mean" else loss
    return found


def mse_loss(
    input: Any, target: Any, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean", weight: Any = None
) -> Any:
    """The squared differences of input and target."""
    reduction = loss_reduction(reduction, size_average, reduce)
    _mixed_sizes(input, target)
    return _mse_loss(input, target, weight, reduction)


def l1_loss(
    input: Any, target: Any, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean", weight: Any = None
) -> Any:
    """The absolute differences of input and target."""
    reduction = loss_reduction(reduction, size_average, reduce)
    _mixed_sizes(input, target)
    return _l1_loss(input, target, weight, reduction)


@operation(name="smooth_l1_loss")
def _smooth_l1_loss(b: Builder, input: Value, target: Value, reduction: str, beta: float) -> Value:
    """d² / 2 beta where |d| is below beta, |d| - beta / 2 elsewhere."""
    x, y = together(b, input, target)
    distance = b.abs(b.sub(x, y))
    if beta == 0:
        return reduced(b, distance, reduction)
    near = b.div(b.mul(b.mul(distance, distance), 0.5), beta)
    return reduced(b, b.select(b.lt(distance, beta), near, b.sub(distance, 0.5 * beta)), reduction)


def smooth_l1_loss(
    input: Any, target: Any, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean", beta: float = 1.0
) -> Any:
    """d² / 2 beta where the difference d is nearer to 0 than beta, |d| - beta / 2 elsewhere."""
    reduction = loss_reduction(reduction, size_average, reduce)
    _mixed_sizes(input, target)
    if beta < 0:
        raise ArgumentError("smooth_l1_loss does not support negative values for beta.")
    return _smooth_l1_loss(input, target, reduction, beta)


@operation(name="huber_loss")
def _huber_loss(b: Builder, input: Value, target: Value, reduction: str, delta: float) -> Value:
    """d² / 2 where |d| is at most delta, delta (|d| - delta / 2) elsewhere."""
    x, y = together(b, input, target)
    distance = b.abs(b.sub(x, y))
    near = b.mul(b.mul(distance, distance), 0.5)
    far = b.mul(b.sub(distance, 0.5 * delta), delta)
    return reduced(b, b.select(b.le(distance, delta), near, far), reduction)


def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0) -> Any:
    """d² / 2 where the difference d is nearer to 0 than delta, delta (|d| - delta / 2) elsewhere."""
    reduction = loss_reduction(reduction, None, None)
    if delta <= 0:
        raise ArgumentError("huber_loss does not support non-positive values for delta.")
    _mixed_sizes(input, target)
    return _huber_loss(input, target, reduction, delta)


# --- Classification ---------------------------------------------------------------------------------------------------


def _class_axis(name: str, input: Value, target: Value) -> int:
    """The axis of the classes; the target's shape must be the input's without it."""
    shape, places = shape_of(input), shape_of(target)
    if not shape:
        raise ShapeError("Expected 1 or more dimensions (got 0)")
    if dtype_of(target) not in (i32, i64):
        raise DTypeError(
            compose(
                f"expected scalar type Long but found {title(target)}",
                f"{name}: the target holds the numbers of classes",
                todo="Convert it with target.long(), or give probabilities of the input's shape.",
            )
        )
    axis = 0 if len(shape) == 1 else 1
    if len(shape) == 1 and places == (1,):
        raise ShapeError(compose(f"size mismatch (got input: {list(shape)}, target: [1])", todo="Here the target is 0-d."))
    if len(shape) > 1 and (not places or places[0] != shape[0]):
        batch = places[0] if places else 0
        raise ShapeError(f"Expected input batch_size ({shape[0]}) to match target batch_size ({batch}).")
    wanted = shape[:axis] + shape[axis + 1 :]
    if places != wanted:
        raise ShapeError(compose(f"Expected target size {list(wanted)}, got {list(places)}"))
    return axis


def _one_hot_mask(b: Builder, target: Value, shape: Shape, dtype: Any, axis: int) -> Value:
    """Where, along the axis, the class of the target is. Compared in integers as wide as the floats that it masks."""
    kind = i32 if dtype.bits <= 32 else i64
    places = keep(b, convert(b, target, kind), b.const(0, TensorType(kind, shape)), (axis,))
    mask: Value = b.eq(b.iota(type=TensorType(kind, shape), axis=axis), broadcast_to(b, places, shape))
    return mask


def _class_weights(b: Builder, name: str, weight: Value, shape: Shape, axis: int, like: Value) -> Value:
    """The classes' weights, repeated to the input's shape."""
    if shape_of(weight) != (shape[axis],):
        raise ShapeError(
            compose(
                f"{name}: weight tensor should be defined either for all {shape[axis]} classes or no classes "
                f"but got weight tensor of shape: {list(shape_of(weight))}"
            )
        )
    spread: Value = b.broadcast_to(convert(b, weight, dtype_of(like)), shape=shape, dims=(axis,))
    return spread


def _picked(b: Builder, mask: Value, x: Value, axis: int) -> Value:
    """The element of x where the mask is true, along the axis."""
    return reduce(b, "sum", b.select(mask, x, b.const(0, x)), axis)


def _over_rows(b: Builder, loss: Value, scale: Value | None, target: Value, classes: Any, ignore_index: int, reduction: str) -> Value:
    """The rows' losses, those of ignored targets left out, under a reduction; the mean is one of `scale` (ones, where None).

    A class that is not there makes its loss NaN.
    """
    ignored = b.eq(target, ignore_index)
    inside = b.and_(b.ge(target, 0), b.lt(target, classes))
    zero, nan = b.const(0, loss), b.const(float("nan"), loss)
    loss = b.select(ignored, zero, b.select(inside, loss, nan))
    if reduction == "none":
        return loss
    total = reduce(b, "sum", loss)
    if reduction == "sum":
        return total
    count = b.select(ignored, zero, b.const(1, loss) if scale is None else scale)
    found: Value = b.div(total, reduce(b, "sum", count))
    return found


@operation(name="nll_loss")
def _nll_loss(b: Builder, input: Value, target: Value, weight: Value | None, ignore_index: int, reduction: str) -> Value:
    """Minus the elements of input at the target's classes."""
    axis, shape = _class_axis("nll_loss", input, target), shape_of(input)
    mask = _one_hot_mask(b, target, shape, dtype_of(input), axis)
    loss, scale = b.neg(_picked(b, mask, input, axis)), None
    if weight is not None:
        scale = _picked(b, mask, _class_weights(b, "nll_loss", weight, shape, axis, input), axis)
        loss = b.mul(loss, scale)
    return _over_rows(b, loss, scale, target, shape[axis], ignore_index, reduction)


@operation(name="cross_entropy")
def _cross_entropy(
    b: Builder, input: Value, target: Value, weight: Value | None, ignore_index: int, reduction: str, label_smoothing: float
) -> Value:
    """Minus the log of softmax at the target's classes.

    With x' = x - max x, the loss of a row is log(sum(e^x')) - x'[class]: both sums run over the same elements, in one kernel.
    """
    axis, shape = _class_axis("cross_entropy", input, target), shape_of(input)
    mask = _one_hot_mask(b, target, shape, dtype_of(input), axis)
    below = shifted(b, input, axis)
    log_total = b.log(reduce(b, "sum", b.exp(below), axis))
    loss, scale = b.sub(log_total, _picked(b, mask, below, axis)), None
    spread = None
    if weight is not None:
        spread = _class_weights(b, "cross_entropy", weight, shape, axis, input)
        scale = _picked(b, mask, spread, axis)
        loss = b.mul(loss, scale)
    if label_smoothing > 0:
        each = b.sub(broadcast_to(b, keep(b, log_total, input, (axis,)), shape), below)
        even = reduce(b, "sum", each if spread is None else b.mul(each, spread), axis)
        loss = b.add(b.mul(loss, 1 - label_smoothing), b.mul(even, label_smoothing / known(shape[axis])))
    return _over_rows(b, loss, scale, target, shape[axis], ignore_index, reduction)


@operation(name="cross_entropy")
def _soft_cross_entropy(
    b: Builder, input: Value, target: Value, weight: Value | None, reduction: str, label_smoothing: float
) -> Value:
    """Minus the log of softmax, averaged over the target's probabilities of the classes."""
    shape = shape_of(input)
    if not shape:
        raise ShapeError("Expected 1 or more dimensions (got 0)")
    axis = 0 if len(shape) == 1 else 1
    x, y = together(b, input, target)
    if label_smoothing > 0:
        y = b.add(b.mul(y, 1 - label_smoothing), label_smoothing / known(shape[axis]))
    loss = b.mul(log_softmax_op.emit(b, x, axis, None), y)
    if weight is not None:
        loss = b.mul(loss, _class_weights(b, "cross_entropy", weight, shape, axis, x))
    rows = b.neg(reduce(b, "sum", loss, axis))
    return reduced(b, rows, reduction)


def nll_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """Minus the elements of `input` (log-probabilities, classes along dimension 1) at the target's classes."""
    check_range(target, input, ignore_index)
    return _nll_loss(input, target, weight, ignore_index, loss_reduction(reduction, size_average, reduce))


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """Minus the log of `softmax(input)` at the target's classes, or averaged over a target of probabilities.

    A class out of range is an IndexError where the target's elements are known; where they are not (in a traced function, for
    instance) its loss is NaN.
    """
    reduction = loss_reduction(reduction, size_average, reduce)
    if not 0 <= label_smoothing <= 1:
        raise ArgumentError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    if target.dtype.kind == "float" and target.shape == input.shape:
        return _soft_cross_entropy(input, target, weight, reduction, float(label_smoothing))
    check_range(target, input, ignore_index)
    return _cross_entropy(input, target, weight, ignore_index, reduction, float(label_smoothing))


_UNSIGNED = {np.dtype(np.int64): np.dtype(np.uint64), np.dtype(np.int32): np.dtype(np.uint32)}
_largest = np.maximum.reduce


def check_range(target: Any, input: Any, ignore_index: int) -> None:
    """Refuse classes that are not there, if the target's elements are known. In the good case this is one pass of 2 µs."""
    places: Any = getattr(target, "_array", None)
    if places is None or not places.size or not input.ndim:
        return
    unsigned = _UNSIGNED.get(places.dtype)
    if unsigned is None:
        return
    classes = input._type.shape[min(input.ndim, 2) - 1]
    if _largest(places.view(unsigned), None) < classes:  # a negative number is a very large one here
        return
    wrong = places[((places < 0) | (places >= classes)) & (places != ignore_index)]
    if wrong.size:
        raise DimensionError(compose(f"Target {wrong.flat[0]} is out of bounds.", f"there are {classes} classes, numbered from 0"))


# --- Probabilities ----------------------------------------------------------------------------------------------------


@operation(name="binary_cross_entropy")
def _binary_cross_entropy(b: Builder, input: Value, target: Value, weight: Value | None, reduction: str) -> Value:
    """-(t log x + (1 - t) log(1 - x)), with logarithms of at least -100."""
    x, t = together(b, input, target)
    here, there = (b.mul(share, _bounded_log(b, chance)) for share, chance in ((t, x), (b.sub(1.0, t), b.sub(1.0, x))))
    loss = b.neg(b.add(here, there))
    if weight is not None:
        loss = b.mul(*together(b, loss, weight))
    return reduced(b, loss, reduction)


def _bounded_log(b: Builder, x: Value) -> Value:
    """log x, -100 at 0; the derivative there is that of the smallest positive normal number, not infinite."""
    least = float(np.finfo(dtype_of(x).numpy).tiny)
    none = b.eq(x, 0.0)
    found: Value = b.select(none, b.const(-100.0, x), b.maximum(b.log(b.select(none, b.const(least, x), x)), -100.0))
    return found


def binary_cross_entropy(
    input: Any, target: Any, weight: Any = None, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
) -> Any:
    """-(t log x + (1 - t) log(1 - x)) of a probability x and a target t; no logarithm is below -100."""
    reduction = loss_reduction(reduction, size_average, reduce)
    if target.shape != input.shape:
        raise ShapeError(
            compose(
                f"Using a target size ({target.shape}) that is different to the input size ({input.shape}) is deprecated.",
                todo="Please ensure they have the same size.",
            )
        )
    return _binary_cross_entropy(input, target, weight, reduction)


@operation(name="binary_cross_entropy_with_logits")
def _binary_cross_entropy_with_logits(
    b: Builder, input: Value, target: Value, weight: Value | None, reduction: str, pos_weight: Value | None
) -> Value:
    """(1 - t) x + softplus(-x), the latter times 1 + (p - 1) t where positives weigh p."""
    x, t = together(b, input, target)
    tail = b.softplus(b.neg(x))
    if pos_weight is not None:
        extra = broadcast_to(b, convert(b, pos_weight, dtype_of(x)), shape_of(x))
        tail = b.mul(tail, b.add(b.mul(b.sub(extra, 1.0), t), 1.0))
    loss = b.add(b.mul(b.sub(1.0, t), x), tail)
    if weight is not None:
        loss = b.mul(*together(b, loss, weight))
    return reduced(b, loss, reduction)


def binary_cross_entropy_with_logits(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Any = None,
) -> Any:
    """`binary_cross_entropy` of sigmoid(x), without overflow; `pos_weight` is the weight of positive targets."""
    reduction = loss_reduction(reduction, size_average, reduce)
    if target.shape != input.shape:
        raise ShapeError(f"Target size ({target.shape}) must be the same as input size ({input.shape})")
    return _binary_cross_entropy_with_logits(input, target, weight, reduction, pos_weight)


@operation(name="kl_div")
def _kl_div(b: Builder, input: Value, target: Value, reduction: str, log_target: bool) -> Value:
    """t (log t - x), which is 0 where t is."""
    x, t = together(b, input, target)
    if log_target:
        loss = b.mul(b.exp(t), b.sub(t, x))
    else:
        some = b.gt(t, 0.0)
        safe = b.select(some, t, b.const(1.0, t))
        loss = b.sub(b.select(some, b.mul(t, b.log(safe)), b.const(0.0, t)), b.mul(t, x))
    if reduction != "batchmean":
        return reduced(b, loss, reduction)
    found: Value = b.div(reduce(b, "sum", loss), known(shape_of(loss)[0]) if shape_of(loss) else 1.0)
    return found


def kl_div(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Any:
    """The Kullback-Leibler divergence t (log t - x) of log-probabilities x from probabilities t."""
    if reduction != "batchmean":
        reduction = loss_reduction(reduction, size_average, reduce)
        if reduction == "mean":
            warnings.warn(
                "reduction: 'mean' divides the total loss by both the batch size and the support size."
                "'batchmean' divides only by the batch size, and aligns with the KL div math definition."
                "'mean' will be changed to behave the same as 'batchmean' in the next major release.",
                stacklevel=2,
            )
    return _kl_div(input, target, reduction, log_target)
