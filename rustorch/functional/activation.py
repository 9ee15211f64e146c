"""Activations: functions of one tensor, element by element or along one dimension."""

from __future__ import annotations

import math
import warnings
from typing import Any

from rustorch.errors import ArgumentError, DimensionError, DTypeError, compose
from rustorch.frontend.emit import (
    Builder,
    DType,
    TensorType,
    Value,
    as_float,
    axis_of,
    broadcast_to,
    convert,
    dtype_of,
    operation,
    random_key,
    rebind,
    reduce,
    shape_of,
    together,
    uniform,
)
from rustorch.functional.words import title
from rustorch.ir.dtypes import i64

# --- Element by element -----------------------------------------------------------------------------------------------


@operation(name="relu")
def _relu(b: Builder, input: Value) -> Value:
    """max(x, 0)."""
    found: Value = b.relu(input)
    return found


def relu(input: Any, inplace: bool = False) -> Any:
    """max(x, 0); the derivative at 0 is 0."""
    return rebind(input, _relu(input)) if inplace else _relu(input)


@operation(name="relu6")
def _relu6(b: Builder, input: Value) -> Value:
    """min(max(x, 0), 6)."""
    return _between(b, input, 0.0, 6.0)


def relu6(input: Any, inplace: bool = False) -> Any:
    """min(max(x, 0), 6)."""
    return rebind(input, _relu6(input)) if inplace else _relu6(input)


@operation(name="hardtanh")
def _hardtanh(b: Builder, input: Value, min_val: float, max_val: float) -> Value:
    """x, moved into a range."""
    return _between(b, input, min_val, max_val)


def hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Any:
    """x, moved into the range from `min_val` to `max_val`; the derivative at both is 0."""
    if min_val > max_val:
        raise ArgumentError("min_val cannot be greater than max_val")
    found = _hardtanh(input, min_val, max_val)
    return rebind(input, found) if inplace else found


def _between(b: Builder, x: Value, low: float, high: float) -> Value:
    """x inside the open range, the bound at and beyond it: so the derivative at a bound is 0."""
    raised: Value = b.select(b.le(x, low), b.const(low, x), x)
    found: Value = b.select(b.ge(x, high), b.const(high, x), raised)
    return found


@operation(name="leaky_relu")
def _leaky_relu(b: Builder, input: Value, negative_slope: float) -> Value:
    """x where it is positive, `negative_slope` times x elsewhere."""
    found: Value = b.select(b.gt(input, 0), input, b.mul(input, negative_slope))
    return found


def leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Any:
    """x where it is positive, `negative_slope` times x elsewhere; the derivative at 0 is `negative_slope`."""
    found = _leaky_relu(input, negative_slope)
    return rebind(input, found) if inplace else found


@operation(name="elu")
def _elu(b: Builder, input: Value, alpha: float, scale: float) -> Value:
    """scale * (x where it is positive, alpha (e^x - 1) elsewhere)."""
    positive = b.gt(input, 0)
    below = b.select(positive, b.const(0, input), input)  # where x is positive e^x is not wanted, and might overflow
    found: Value = b.select(positive, b.mul(input, scale), b.mul(b.expm1(below), alpha * scale))
    return found


def elu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """x where it is positive, alpha (e^x - 1) elsewhere."""
    found = _elu(input, alpha, 1.0)
    return rebind(input, found) if inplace else found


_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946
"""Klambauer, Unterthiner, Mayr, Hochreiter: "Self-normalizing neural networks", 2017, equation 14."""


def selu(input: Any, inplace: bool = False) -> Any:
    """The `elu` that keeps mean 0 and variance 1 from layer to layer."""
    found = _elu(input, _SELU_ALPHA, _SELU_SCALE)
    return rebind(input, found) if inplace else found


@operation
def sigmoid(b: Builder, input: Value) -> Value:
    """1 / (1 + e^-x)."""
    found: Value = b.sigmoid(as_float(b, input))
    return found


@operation
def tanh(b: Builder, input: Value) -> Value:
    """The hyperbolic tangent."""
    found: Value = b.tanh(as_float(b, input))
    return found


@operation
def logsigmoid(b: Builder, input: Value) -> Value:
    """log(1 / (1 + e^-x)), without overflow."""
    found: Value = b.neg(b.softplus(b.neg(input)))
    return found


@operation(name="softplus")
def _softplus(b: Builder, input: Value, beta: float, threshold: float) -> Value:
    """log(1 + e^(beta x)) / beta, and x itself where beta x is above the threshold."""
    scaled = input if beta == 1 else b.mul(input, beta)
    curve = b.softplus(scaled)
    found: Value = b.select(b.gt(scaled, threshold), input, curve if beta == 1 else b.div(curve, beta))
    return found


def softplus(input: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """log(1 + e^(beta x)) / beta; where beta x is above the threshold, x itself."""
    return _softplus(input, float(beta), float(threshold))


@operation
def softsign(b: Builder, input: Value) -> Value:
    """x / (1 + |x|)."""
    found: Value = b.div(input, b.add(b.abs(input), 1.0))
    return found


@operation
def tanhshrink(b: Builder, input: Value) -> Value:
    """x - tanh(x)."""
    found: Value = b.sub(input, b.tanh(input))
    return found


@operation(name="silu")
def _silu(b: Builder, input: Value) -> Value:
    """x sigmoid(x)."""
    found: Value = b.mul(input, b.sigmoid(input))
    return found


def silu(input: Any, inplace: bool = False) -> Any:
    """x sigmoid(x)."""
    return rebind(input, _silu(input)) if inplace else _silu(input)


@operation(name="mish")
def _mish(b: Builder, input: Value) -> Value:
    """x tanh(softplus(x))."""
    found: Value = b.mul(input, b.tanh(b.softplus(input)))
    return found


def mish(input: Any, inplace: bool = False) -> Any:
    """x tanh(softplus(x))."""
    return rebind(input, _mish(input)) if inplace else _mish(input)


@operation(name="hardsigmoid")
def _hardsigmoid(b: Builder, input: Value) -> Value:
    """x / 6 + 1/2, moved into the range from 0 to 1."""
    found: Value = b.div(_between(b, b.add(input, 3.0), 0.0, 6.0), 6.0)
    return found


def hardsigmoid(input: Any, inplace: bool = False) -> Any:
    """x / 6 + 1/2, moved into the range from 0 to 1."""
    return rebind(input, _hardsigmoid(input)) if inplace else _hardsigmoid(input)


@operation(name="hardswish")
def _hardswish(b: Builder, input: Value) -> Value:
    """x hardsigmoid(x)."""
    found: Value = b.mul(input, b.div(_between(b, b.add(input, 3.0), 0.0, 6.0), 6.0))
    return found


def hardswish(input: Any, inplace: bool = False) -> Any:
    """x hardsigmoid(x)."""
    return rebind(input, _hardswish(input)) if inplace else _hardswish(input)


@operation(name="gelu")
def _gelu(b: Builder, input: Value, approximate: str) -> Value:
    """x times the normal distribution's cumulative function."""
    if dtype_of(input).kind != "float":
        raise DTypeError(f'"GeluKernelImpl" not implemented for \'{title(input)}\'')
    if approximate == "tanh":
        # sqrt(2/pi) (x + 0.044715 x^3): Hendrycks and Gimpel, "Gaussian error linear units", 2016
        inner = b.mul(b.add(input, b.mul(b.mul(b.mul(input, input), input), 0.044715)), math.sqrt(2 / math.pi))
        curve = b.tanh(inner)
    else:
        curve = b.erf(b.mul(input, math.sqrt(0.5)))
    found: Value = b.mul(b.mul(input, 0.5), b.add(curve, 1.0))
    return found


def gelu(input: Any, approximate: str = "none") -> Any:
    """x times the cumulative function of the normal distribution; `approximate="tanh"`: the usual approximation of it."""
    if approximate not in ("none", "tanh"):
        raise ArgumentError("approximate argument must be either none or tanh.")
    return _gelu(input, approximate)


@operation
def glu(b: Builder, input: Value, dim: int = -1) -> Value:
    """The first half of a dimension times the sigmoid of the second."""
    shape = shape_of(input)
    axis = axis_of(dim, len(shape))
    size = shape[axis] if shape else 1
    if not isinstance(size, int) or size % 2:
        raise DimensionError(f"Halving dimension must be even, but dimension {axis} is size {size}")
    halves = []
    for start in (0, size // 2):
        starts = tuple(start if a == axis else 0 for a in range(len(shape)))
        limits = tuple(start + size // 2 if a == axis else s for a, s in enumerate(shape))
        halves.append(b.slice(input, starts=starts, limits=limits, strides=(1,) * len(shape)))
    found: Value = b.mul(halves[0], b.sigmoid(halves[1]))
    return found


@operation
def prelu(b: Builder, input: Value, weight: Value) -> Value:
    """x where it is positive, `weight` times x elsewhere; one weight for all, or one for each channel (dimension 1)."""
    shape, weights = shape_of(input), shape_of(weight)
    if weights not in ((), (1,)):
        channels = shape[1] if len(shape) > 1 else 1
        if weights != (channels,):
            raise ArgumentError(
                compose(
                    "Mismatch of parameter numbers and input channel size. "
                    f"Found parameter numbers = {weights[0]} and channel size = {channels}.",
                )
            )
        weight = b.broadcast_to(weight, shape=shape, dims=(1,))
    x, slope = together(b, input, weight)
    found: Value = b.select(b.gt(x, 0), x, b.mul(x, slope))
    return found


# --- Along one dimension ----------------------------------------------------------------------------------------------


def shifted(b: Builder, x: Value, dim: int) -> Value:
    """x less its largest element along a dimension: e to the power of it cannot overflow. The largest carries no gradient."""
    shape = shape_of(x)
    axis = axis_of(dim, len(shape))
    if shape and shape[axis] == 0:
        return x
    top = b.detach(reduce(b, "max", x, axis, keepdim=True))
    below: Value = b.sub(x, broadcast_to(b, top, shape))
    return below


@operation(name="softmax")
def softmax_op(b: Builder, input: Value, dim: int, dtype: DType | None) -> Value:
    """e^x, divided by its sum along a dimension."""
    x = _floating(b, "softmax", input, dtype)
    power = b.exp(shifted(b, x, dim))
    total = reduce(b, "sum", power, dim, keepdim=True)
    found: Value = b.div(power, broadcast_to(b, total, shape_of(x)))
    return found


@operation(name="log_softmax")
def log_softmax_op(b: Builder, input: Value, dim: int, dtype: DType | None) -> Value:
    """The logarithm of softmax."""
    x = _floating(b, "log_softmax", input, dtype)
    below = shifted(b, x, dim)
    total = reduce(b, "sum", b.exp(below), dim, keepdim=True)
    found: Value = b.sub(below, broadcast_to(b, b.log(total), shape_of(x)))
    return found


def _floating(b: Builder, name: str, x: Value, dtype: DType | None) -> Value:
    x = x if dtype is None else convert(b, x, dtype)
    if dtype_of(x).kind != "float":
        raise DTypeError(
            compose(
                f'"{name}_lastdim_kernel_impl" not implemented for \'{title(x)}\'',
                todo="Convert it first: x.float().",
            )
        )
    return x


def _dimension(name: str, input: Any, dim: int | None) -> int:
    if dim is not None:
        return dim
    warnings.warn(
        f"Implicit dimension choice for {name} has been deprecated. Change the call to include dim=X as an argument.", stacklevel=3
    )
    return 0 if len(input.shape) in (0, 1, 3) else 1


def softmax(input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: DType | None = None) -> Any:
    """e^x, divided by its sum along `dim`."""
    return softmax_op(input, _dimension("softmax", input, dim), dtype)


def log_softmax(input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: DType | None = None) -> Any:
    """The logarithm of `softmax`, without its cancellation."""
    return log_softmax_op(input, _dimension("log_softmax", input, dim), dtype)


def softmin(input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: DType | None = None) -> Any:
    """`softmax` of -x."""
    return softmax_op(-input, _dimension("softmin", input, dim), dtype)


# --- Thresholds -------------------------------------------------------------------------------------------------------


@operation(name="threshold")
def _threshold(b: Builder, input: Value, threshold: float, value: float) -> Value:
    """x above the threshold, a number elsewhere."""
    found: Value = b.select(b.gt(input, threshold), input, b.const(value, input))
    return found


def threshold(input: Any, threshold: float, value: float, inplace: bool = False) -> Any:
    """x where it is above the threshold, `value` elsewhere."""
    found = _threshold(input, float(threshold), float(value))
    return rebind(input, found) if inplace else found


@operation
def hardshrink(b: Builder, input: Value, lambd: float = 0.5) -> Value:
    """x where |x| is above lambd, 0 elsewhere."""
    found: Value = b.select(b.le(b.abs(input), float(lambd)), b.const(0, input), input)
    return found


@operation(name="softshrink")
def _softshrink(b: Builder, input: Value, lambd: float) -> Value:
    """x moved toward 0 by lambd; 0 within."""
    outside = b.select(b.gt(input, lambd), b.sub(input, lambd), b.add(input, lambd))
    found: Value = b.select(b.le(b.abs(input), lambd), b.const(0, input), outside)
    return found


def softshrink(input: Any, lambd: float = 0.5) -> Any:
    """x moved toward 0 by lambd; 0 where |x| is at most lambd."""
    if lambd < 0:
        raise ArgumentError(f"lambda must be greater or equal to 0, but found to be {lambd}.")
    return _softshrink(input, float(lambd))


@operation(name="celu")
def _celu(b: Builder, input: Value, alpha: float) -> Value:
    """x where it is positive, alpha (e^(x / alpha) - 1) elsewhere."""
    positive = b.gt(input, 0)
    below = b.select(positive, b.const(0, input), input)
    found: Value = b.select(positive, input, b.mul(b.expm1(b.div(below, alpha)), alpha))
    return found


def celu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """x where it is positive, alpha (e^(x / alpha) - 1) elsewhere: its derivative has no jump."""
    if alpha == 0:
        raise ArgumentError("ZeroDivisionError: alpha cannot be 0 for CELU")
    found = _celu(input, float(alpha))
    return rebind(input, found) if inplace else found


@operation(name="rrelu")
def _rrelu(b: Builder, input: Value, key: Value, lower: float, upper: float) -> Value:
    """x where it is not negative, a random slope times x elsewhere."""
    slope = b.add(b.mul(uniform(b, key, TensorType(dtype_of(input), shape_of(input))), upper - lower), lower)
    found: Value = b.select(b.ge(input, 0), input, b.mul(input, slope))
    return found


def rrelu(input: Any, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, inplace: bool = False) -> Any:
    """x where it is positive, a slope times x elsewhere: while training a random one between the bounds, else their mean."""
    if training:
        found = _rrelu(input, random_key(input.numel()), float(lower), float(upper))
    else:
        found = _leaky_relu(input, (lower + upper) / 2)
    return rebind(input, found) if inplace else found


@operation(name="gumbel_softmax")
def _gumbel_softmax(b: Builder, logits: Value, key: Value, tau: float, hard: bool, dim: int) -> Value:
    """Softmax of logits with Gumbel noise; `hard`: the largest as one-hot, with softmax's derivative."""
    shape, dtype = shape_of(logits), dtype_of(logits)
    u = b.sub(1.0, uniform(b, key, TensorType(dtype, shape)))  # in (0, 1]
    least = b.const(2.0**-53 if dtype.bits == 64 else 2.0**-24, u)
    noise = b.neg(b.log(b.maximum(b.neg(b.log(u)), least)))
    soft = softmax_op.emit(b, b.div(b.add(logits, noise), tau), dim, None)
    if not hard:
        return soft  # type: ignore[no-any-return]
    axis = axis_of(dim, len(shape))
    place = b.reshape(b.argmax(soft, axis=axis), shape=tuple(1 if a == axis else s for a, s in enumerate(shape)))
    places = TensorType(i64, shape)
    one_hot = convert(b, b.eq(b.iota(type=places, axis=axis), broadcast_to(b, place, shape)), dtype)
    found: Value = b.add(b.sub(one_hot, b.detach(soft)), soft)
    return found


def gumbel_softmax(logits: Any, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Any:
    """A sample of classes with these logits, softened by `tau`: Jang, Gu, Poole, 2017. `hard`: one-hot, differentiated as if soft."""
    return _gumbel_softmax(logits, random_key(logits.numel()), float(tau), hard, dim)


def _in_place(function: Any) -> Any:
    def write(input: Any, *args: Any, **kwargs: Any) -> Any:
        return rebind(input, function(input, *args, **kwargs))

    write.__name__ = write.__qualname__ = f"{function.__name__}_"
    write.__doc__ = f"In place: {function.__doc__}"
    return write


relu_, elu_, selu_, celu_, hardtanh_, leaky_relu_, threshold_, rrelu_ = map(
    _in_place, (relu, elu, selu, celu, hardtanh, leaky_relu, threshold, rrelu)
)
