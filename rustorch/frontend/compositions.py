"""Elementwise functions that are written in terms of ops, under PyTorch's names and arguments."""

from __future__ import annotations

import builtins
import math
from typing import Any, NamedTuple

import numpy as np

from rustorch.errors import ArgumentError, DTypeError, compose
from rustorch.frontend.emission import (
    Builder,
    Operand,
    Value,
    as_float,
    broadcast_to,
    convert,
    dtype_of,
    operation,
    promote,
    reduce,
    reshape,
    scaled,
    shape_of,
    together,
)
from rustorch.ir.dims import product
from rustorch.ir.dtypes import bool_, f64, i32, i64, title
from rustorch.ir.types import DType, TensorType

# --- Parts of a number ------------------------------------------------------------------------------------------------


def _is_float(x: Value) -> builtins.bool:
    return dtype_of(x).kind == "float"


@operation
def positive(b: Builder, input: Value) -> Value:
    """+x."""
    if dtype_of(input) is bool_:
        raise DTypeError("The `+` operator, on a bool tensor is not supported.")
    return input


@operation
def trunc(b: Builder, input: Value) -> Value:
    """The whole number next to each element, toward zero."""
    return _trunc(b, input)


def _trunc(b: Builder, x: Value) -> Value:
    if not _is_float(x):
        return x
    found: Value = b.copysign(b.floor(b.abs(x)), x)
    return found


@operation(name="div")
def truncated_quotient(b: Builder, input: Operand, other: Operand) -> Value:
    """x / y, rounded toward zero; of integers as integers."""
    x, y = together(b, input, other)
    return _trunc(b, b.div(x, y))


@operation
def frac(b: Builder, input: Value) -> Value:
    """x less the whole number next to it toward zero; the derivative is 1."""
    found: Value = b.sub(input, _trunc(b, input))
    return found


@operation(name="round")
def rounded(b: Builder, input: Value, decimals: int = 0) -> Value:
    """The nearest number with so many decimals (of tens, if negative); halves go to the even one."""
    if not _is_float(input):
        if decimals:
            raise DTypeError(f'"round_cpu" not implemented for \'{title(dtype_of(input))}\'')
        return input
    if decimals == 0:
        whole: Value = b.round_even(input)
        return whole
    ten = 10.0 ** abs(decimals)
    found: Value = b.div(b.round_even(b.mul(input, ten)), ten) if decimals > 0 else b.mul(b.round_even(b.div(input, ten)), ten)
    return found


@operation
def signbit(b: Builder, input: Value) -> Value:
    """Whether the sign bit is set: of negative numbers and -0.0."""
    if not _is_float(input):
        return b.const(False, _as_bool(input)) if dtype_of(input) is bool_ else b.lt(input, 0)
    found: Value = b.lt(b.copysign(b.const(1, input), input), 0)
    return found


def _as_bool(x: Value) -> TensorType:
    return TensorType(bool_, shape_of(x))


def _power_of_two(b: Builder, exponent: Value, dtype: DType) -> Value:
    """2 to whole numbers in the range of normal floats, made of bits."""
    bits, mantissa, bias = (i64, 52, 1023) if dtype is f64 else (i32, 23, 127)
    found: Value = b.bitcast(b.shl(b.add(convert(b, exponent, bits), bias), mantissa), dtype=dtype)
    return found


class Parts(NamedTuple):
    """A number as mantissa and exponent."""

    mantissa: Any
    exponent: Any


@operation
def frexp(b: Builder, input: Value) -> Parts:
    """Mantissas of 1/2 to 1 (0 of 0) and whole exponents, with x = mantissa * 2 ** exponent. The exponents are int32."""
    kind = dtype_of(input)
    if kind.kind != "float":
        raise DTypeError("torch.frexp() only supports floating-point dtypes")
    bits, mantissa, bias = (i64, 52, 1023) if kind is f64 else (i32, 23, 127)
    x = b.detach(input)
    small = b.lt(b.abs(x), math.ldexp(1, 2 - bias))  # below the normal numbers, and a little more
    lifted = b.select(small, b.mul(x, 2.0**64), x)
    field = b.and_(b.shr_logical(b.bitcast(lifted, dtype=bits), mantissa), 2 * bias + 1)
    plain = b.or_(b.eq(x, 0), b.not_(b.lt(b.abs(x), math.inf)))  # 0, infinite or NaN: they are their own mantissas
    exponent = b.select(plain, b.const(0, field), b.sub(b.sub(field, bias - 1), b.select(small, b.const(64, field), b.const(0, field))))
    half = b.shr_arith(exponent, 1)  # in two steps: the power of the whole exponent need not be a normal number
    scaled = b.mul(input, _power_of_two(b, b.neg(half), kind))
    return Parts(b.mul(scaled, _power_of_two(b, b.sub(half, exponent), kind)), convert(b, exponent, i32))


@operation
def ldexp(b: Builder, input: Operand, other: Operand) -> Value:
    """x * 2 ** other."""
    x, power = together(b, input, other, to="float")
    found: Value = b.mul(x, b.pow(b.const(2.0, power), power))
    return found


@operation(blocks=True)
def nextafter(b: Builder, input: Value, other: Value) -> Value:
    """The floating-point number next to x in the direction of the other."""
    x, y = together(b, input, other)
    if not _is_float(x):
        raise DTypeError(f'"nextafter" not implemented for \'{title(dtype_of(x))}\'')
    bits = i64 if dtype_of(x) is f64 else i32
    up = b.eq(b.lt(x, y), b.gt(x, 0))  # the bits of negative numbers grow downwards
    whole = b.bitcast(x, dtype=bits)
    moved = b.bitcast(b.select(up, b.add(whole, 1), b.sub(whole, 1)), dtype=dtype_of(x))
    least = b.copysign(b.bitcast(b.const(1, whole), dtype=dtype_of(x)), y)
    found = b.select(b.eq(x, 0), least, moved)
    either = b.or_(b.ne(x, x), b.ne(y, y))
    return b.select(either, b.add(x, y), b.select(b.eq(x, y), y, found))  # type: ignore[no-any-return]


@operation
def nan_to_num(
    b: Builder, input: Value, nan: float | None = None, posinf: float | None = None, neginf: float | None = None
) -> Value:
    """x with numbers in the place of NaN (0), infinity (the largest number) and minus infinity (the smallest)."""
    if not _is_float(input):
        return input
    limits = np.finfo(dtype_of(input).numpy)
    high = float(limits.max) if posinf is None else float(posinf)
    low = float(limits.min) if neginf is None else float(neginf)
    found = b.select(b.eq(input, math.inf), b.const(high, input), input)
    found = b.select(b.eq(input, -math.inf), b.const(low, input), found)
    return b.select(b.ne(input, input), b.const(0.0 if nan is None else float(nan), input), found)  # type: ignore[no-any-return]


# --- Questions --------------------------------------------------------------------------------------------------------


@operation
def isnan(b: Builder, input: Value) -> Value:
    """Whether elements are NaN."""
    found: Value = b.ne(input, input)
    return found


@operation
def isinf(b: Builder, input: Value) -> Value:
    """Whether elements are infinite."""
    return _asked(b, input, lambda x: b.eq(b.abs(x), math.inf), otherwise=False)


@operation
def isposinf(b: Builder, input: Value) -> Value:
    """Whether elements are infinity."""
    return _asked(b, input, lambda x: b.eq(x, math.inf), otherwise=False)


@operation
def isneginf(b: Builder, input: Value) -> Value:
    """Whether elements are minus infinity."""
    return _asked(b, input, lambda x: b.eq(x, -math.inf), otherwise=False)


@operation
def isfinite(b: Builder, input: Value) -> Value:
    """Whether elements are neither infinite nor NaN."""
    return _asked(b, input, lambda x: b.lt(b.abs(x), math.inf), otherwise=True)


@operation
def isreal(b: Builder, input: Value) -> Value:
    """Whether elements have no imaginary part."""
    found: Value = b.const(True, _as_bool(input))
    return found


def _asked(b: Builder, x: Value, question: Any, otherwise: builtins.bool) -> Value:
    """The answer of floats; integers and bools have one."""
    found: Value = question(x) if _is_float(x) else b.const(otherwise, _as_bool(x))
    return found


@operation
def isclose(
    b: Builder, input: Value, other: Value, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: builtins.bool = False
) -> Value:
    """Whether elements are within `atol + rtol * |other|` of each other."""
    if rtol < 0 or atol < 0:
        raise ArgumentError(f"rtol and atol must be greater than or equal to zero, but got rtol={rtol} and atol={atol}")
    if dtype_of(input) is not dtype_of(other):
        raise DTypeError(
            compose(
                f"{title(dtype_of(input))} did not match {title(dtype_of(other))}", todo="Convert one of them first."
            )
        )
    x, y = together(b, input, other)
    same = b.eq(x, y)
    if not _is_float(x):
        if dtype_of(x) is bool_:
            return same  # type: ignore[no-any-return]
        x, y = (convert(b, v, f64) for v in (x, y))
    near = b.le(b.abs(b.sub(x, y)), b.add(b.mul(b.abs(y), float(rtol)), float(atol)))
    finite = b.lt(b.abs(b.sub(x, y)), math.inf)
    found = b.or_(same, b.and_(near, finite))
    return b.or_(found, b.and_(b.ne(x, x), b.ne(y, y))) if equal_nan else found  # type: ignore[no-any-return]


@operation(blocks=True)
def isin(
    b: Builder,
    elements: Operand,
    test_elements: Operand,
    *,
    assume_unique: builtins.bool = False,
    invert: builtins.bool = False,
) -> Value:
    """Whether each element is one of the others; with `invert`, whether it is none of them."""
    x, y = promote(b, elements, test_elements)
    shape, count = shape_of(x), product(shape_of(y))
    table = (*shape, count)
    left = b.broadcast_to(x, shape=table, dims=tuple(range(len(shape))))
    found = reduce(b, "or", b.eq(left, broadcast_to(b, reshape(b, y, (count,)), table)), len(shape))
    return b.not_(found) if invert else found


# --- Arithmetic -------------------------------------------------------------------------------------------------------


@operation
def fmod(b: Builder, input: Operand, other: Operand) -> Value:
    """The rest of x / y with the sign of x: that of |x| / |y|, where the op is exact."""
    x, y = together(b, input, other)
    size = b.abs(y)
    found: Value = b.select(b.lt(x, 0), b.neg(b.remainder(b.neg(x), size)), b.remainder(x, size))
    return found


@operation
def fmax(b: Builder, input: Value, other: Value) -> Value:
    """The larger of two; where one is NaN, the other."""
    x, y = together(b, input, other)
    found: Value = b.select(b.or_(b.ge(x, y), b.ne(y, y)), x, y)
    return found


@operation
def fmin(b: Builder, input: Value, other: Value) -> Value:
    """The smaller of two; where one is NaN, the other."""
    x, y = together(b, input, other)
    found: Value = b.select(b.or_(b.le(x, y), b.ne(y, y)), x, y)
    return found


@operation
def heaviside(b: Builder, input: Value, values: Value) -> Value:
    """0 of negative numbers, 1 of positive ones, `values` at 0."""
    if dtype_of(input) is not dtype_of(values):
        raise DTypeError("heaviside is not yet implemented for tensors with different dtypes.")
    x, at = together(b, b.detach(input), values)
    found: Value = b.select(b.eq(x, 0), b.detach(at), convert(b, b.gt(x, 0), dtype_of(at)))
    return found


@operation
def float_power(b: Builder, input: Operand, exponent: Operand) -> Value:
    """x ** exponent in float64."""
    x, y = together(b, convert(b, input, f64), convert(b, exponent, f64))
    found: Value = b.pow(x, y)
    return found


@operation
def hypot(b: Builder, input: Value, other: Value) -> Value:
    """sqrt(x² + y²) without overflow: the larger length, times the root of 1 plus the square of the quotient.

    Its derivative at (0, 0) is 0.
    """
    x, y = together(b, input, other, to="float")
    over = b.ge(b.abs(x), b.abs(y))
    large, small = b.select(over, x, y), b.select(over, y, x)
    zero = b.eq(large, 0)
    ratio = b.div(small, b.select(zero, b.const(1, large), large))
    length = b.mul(b.abs(large), b.sqrt(b.add(b.mul(ratio, ratio), 1)))
    infinite = b.or_(b.eq(b.abs(x), math.inf), b.eq(b.abs(y), math.inf))
    found = b.select(zero, b.abs(b.add(large, small)), length)
    found = b.select(b.or_(b.ne(x, x), b.ne(y, y)), b.add(x, y), found)
    return b.select(infinite, b.const(math.inf, x), found)  # type: ignore[no-any-return]


@operation
def lerp(b: Builder, input: Value, end: Value, weight: Operand) -> Value:
    """The point at `weight` on the way from `input` to `end`, reckoned from the nearer of the two."""
    if dtype_of(input) is not dtype_of(end):
        raise DTypeError(f"expected dtype {dtype_of(input).name} for `end` but got dtype {dtype_of(end).name}")
    x, y, w = together(b, input, end, convert(b, weight, dtype_of(input)))
    way = b.sub(y, x)
    found: Value = b.select(b.lt(b.abs(w), 0.5), b.add(x, b.mul(way, w)), b.sub(y, b.mul(way, b.sub(1, w))))
    return found


@operation
def addcmul(b: Builder, input: Value, tensor1: Value, tensor2: Value, *, value: Operand = 1) -> Value:
    """`input + value * tensor1 * tensor2`."""
    x, u, v = together(b, input, tensor1, tensor2)
    found: Value = b.add(x, scaled(b, b.mul(u, v), value))
    return found


@operation
def addcdiv(b: Builder, input: Value, tensor1: Value, tensor2: Value, *, value: Operand = 1) -> Value:
    """`input + value * tensor1 / tensor2`."""
    x, u, v = together(b, input, tensor1, tensor2)
    if not _is_float(x):
        raise DTypeError(
            compose("Integer division with addcdiv is no longer supported", todo="Convert the tensors to floating point first.")
        )
    found: Value = b.add(x, scaled(b, b.div(u, v), value))
    return found


@operation
def deg2rad(b: Builder, input: Value) -> Value:
    """Degrees as radians."""
    found: Value = b.mul(as_float(b, input), math.pi / 180)
    return found


@operation
def rad2deg(b: Builder, input: Value) -> Value:
    """Radians as degrees."""
    found: Value = b.mul(as_float(b, input), 180 / math.pi)
    return found


# --- Logarithms and friends -------------------------------------------------------------------------------------------


def _times_log(b: Builder, x: Value, y: Value, log: Any, edge: float) -> Value:
    """x log(y), 0 where x is 0 and log(y) is not finite; NaN of y is NaN."""
    nothing = b.and_(b.eq(x, 0), b.or_(b.le(y, edge), b.eq(y, math.inf)))
    safe = b.select(nothing, b.const(1, y), y)
    found: Value = b.select(nothing, b.const(0, x), b.mul(x, log(safe)))
    return found


@operation
def xlogy(b: Builder, input: Operand, other: Operand) -> Value:
    """x log(y), which is 0 where x is, unless y is NaN."""
    x, y = together(b, input, other, to="float")
    return _times_log(b, x, y, b.log, 0.0)


@operation
def xlog1py(b: Builder, input: Operand, other: Operand) -> Value:
    """x log(1 + y), which is 0 where x is, unless y is NaN."""
    x, y = together(b, input, other, to="float")
    return _times_log(b, x, y, b.log1p, -1.0)


@operation
def entr(b: Builder, input: Value) -> Value:
    """-x log(x): 0 at 0, minus infinity below."""
    x = as_float(b, input)
    positive = b.gt(x, 0)
    found = b.neg(b.mul(x, b.log(b.select(positive, x, b.const(1, x)))))
    found = b.select(b.eq(x, 0), b.const(0, x), b.select(positive, found, b.const(-math.inf, x)))
    return b.select(b.ne(x, x), x, found)  # type: ignore[no-any-return]


@operation
def logit(b: Builder, input: Value, eps: float | None = None) -> Value:
    """log(x / (1 - x)), of x moved into the range from `eps` to 1 - `eps`.

    Near 1/2 it is log1p((2x - 1) / (1 - x)), whose argument is exact there but for one rounding.
    """
    x = as_float(b, input)
    if eps is not None:
        low, high = b.const(float(eps), x), b.const(1 - float(eps), x)
        x = b.select(b.lt(x, low), low, b.select(b.gt(x, high), high, x))
    rest = b.sub(1, x)
    near = b.lt(b.abs(b.sub(x, 0.5)), 0.25)
    middle = b.log1p(b.div(b.sub(b.add(x, x), 1), b.select(near, rest, b.const(1, x))))
    found: Value = b.select(near, middle, b.log(b.div(x, rest)))
    return found


@operation
def logaddexp2(b: Builder, input: Value, other: Value) -> Value:
    """log2(2^x + 2^y), without overflow."""
    x, y = together(b, input, other, to="float")
    found: Value = b.mul(b.logaddexp(b.mul(x, math.log(2)), b.mul(y, math.log(2))), 1 / math.log(2))
    return found


@operation
def ndtr(b: Builder, input: Value) -> Value:
    """The normal distribution's cumulative function: erfc(-x / sqrt(2)) / 2, which keeps its digits in both tails."""
    x = as_float(b, input)
    found: Value = b.mul(b.erfc(b.mul(x, -math.sqrt(0.5))), 0.5)
    return found


@operation
def ndtri(b: Builder, input: Value) -> Value:
    """The inverse of `ndtr`: sqrt(2) erfinv(2 p - 1)."""
    p = as_float(b, input)
    found: Value = b.mul(b.erfinv(b.sub(b.mul(p, 2.0), 1.0)), math.sqrt(2))
    return found


@operation(name="polygamma")
def polygamma_op(b: Builder, input: Value, order: int) -> Value:
    """The derivative of digamma of an order."""
    found: Value = b.digamma(as_float(b, input)) if order == 0 else b.polygamma(as_float(b, input), order=order)
    return found


def polygamma(n: int, input: Any, *, out: Any = None) -> Any:
    """The n-th derivative of digamma."""
    return polygamma_op(input, n, out=out)


@operation(name="mvlgamma")
def multigammaln(b: Builder, input: Value, p: int) -> Value:
    """The logarithm of the multivariate gamma function: p (p - 1) / 4 log(pi) + the sum of lgamma(x - j / 2), j from 0 to p - 1."""
    x = as_float(b, input)
    if p < 1:
        raise ArgumentError("p has to be greater than or equal to 1")
    total: Value = b.add(b.const(p * (p - 1) / 4 * math.log(math.pi), x), b.lgamma(x))
    for j in range(1, p):
        total = b.add(total, b.lgamma(b.sub(x, j / 2)))
    return total


@operation
def sinc(b: Builder, input: Value) -> Value:
    """sin(pi x) / (pi x), 1 at 0. Near 0 it is the series, which has all derivatives."""
    x = as_float(b, input)
    turned = b.mul(b.sub(x, b.mul(b.round_even(b.mul(x, 0.5)), 2)), math.pi)  # less whole turns, which are exact
    angle = b.mul(x, math.pi)
    square = b.mul(angle, angle)
    near = b.lt(square, 1e-2)
    series = b.const(-1 / math.factorial(11), x)
    for k in (4, 3, 2, 1, 0):
        series = b.add(b.mul(series, square), (-1) ** k / math.factorial(2 * k + 1))
    found: Value = b.select(near, series, b.div(b.sin(turned), b.select(near, b.const(1, angle), angle)))
    return found


FUNCTIONS = (
    positive, trunc, frac, rounded, signbit, frexp, ldexp, nextafter, nan_to_num, isnan, isinf, isposinf, isneginf, isfinite, isreal,
    isclose, isin, fmod, fmax, fmin, heaviside, float_power, hypot, lerp, addcmul, addcdiv, deg2rad, rad2deg, xlogy, logit, sinc,
    logaddexp2, multigammaln,
)  # fmt: skip
"""Functions that are methods, too."""

IN_PLACE = (
    trunc, frac, rounded, ldexp, nextafter, nan_to_num, fmod, heaviside, float_power, hypot, lerp, addcmul, addcdiv, deg2rad, rad2deg,
    xlogy, logit, sinc,
)  # fmt: skip
"""Those that have a method with a trailing underscore."""
