"""pow with the special cases of C, and roots."""

from __future__ import annotations

from collections.abc import Callable

from rustorch.codegen import coefficients as c
from rustorch.codegen.expand_common import (
    FORMATS,
    INF,
    NAN,
    H,
    Pair,
    Value,
    VectorBuilder,
    at_least,
    at_most,
    fast_two_sum,
    format_of,
    horner,
    mad,
    power_of_two,
    power_of_two_in_halves,
    round_scaled,
    two_product,
    two_sum,
)
from rustorch.codegen.expand_exp_log import SQRT_HALF, exponent, reduce_exp, significand, small_exp, split_exponent, unscale

TWO_THIRDS = (H("0x1.5555555555555p-1"), H("0x1.5555555555555p-55"))


def expand_pow(b: VectorBuilder, x: Value, y: Value) -> Value:
    """x^y = ± |x|^y. f32 in f64 arithmetic, f64 with the logarithm as a pair."""
    f = format_of(b, x)
    a = b.abs(x)
    # An infinite y acts as a large finite one, but for 0 times infinity.
    limit = float(2.0**127 if f.name == "f32" else 2.0**1000)
    bounded = at_most(b, at_least(b, y, -limit), limit)
    power = (_positive_power_f32 if f.name == "f32" else _positive_power_f64)(b, a, bounded)
    return _power_ends(b, x, y, power)


def _power_ends(b: VectorBuilder, x: Value, y: Value, power: Value) -> Value:
    """The sign for odd y, NaN for x < 0 and a fraction, 1 for x = 1 or y = 0 even beside NaN (C17, F.10.4.4)."""
    whole = b.floor(y)
    half = b.mul(y, 0.5)
    odd = b.and_(b.eq(whole, y), b.ne(b.floor(half), half))
    power = b.select(odd, b.copysign(power, x), power)
    undefined = b.and_(b.and_(b.lt(x, 0.0), b.gt(x, -INF)), b.ne(whole, y))
    power = b.select(undefined, b.const(NAN, like=x), power)
    return b.select(b.or_(b.eq(x, 1.0), b.eq(y, 0.0)), b.const(1.0, like=x), power)


def _log_ends(b: VectorBuilder, a: Value, log: Value) -> Value:
    """The logarithm of a >= 0 where it is no finite number: -inf at 0, a itself at inf and NaN."""
    return b.select(b.lt(a, INF), b.select(b.eq(a, 0.0), b.const(-INF, like=a), log), a)


def log2_for_f32(b: VectorBuilder, x: Value) -> Value:
    """log2 of a positive normal number of f64, to about 2^-43: k + s P(s²), s = (m - 1) / (m + 1)."""
    f = FORMATS["f64"]
    moved, _ = split_exponent(b, x, SQRT_HALF, f)
    m = significand(b, moved, SQRT_HALF, f)
    s = b.div(b.sub(m, 1.0), b.add(m, 1.0))
    return mad(b, s, horner(b, b.mul(s, s), c.POW_LOG2_F64), exponent(b, moved, f.bias + 2.0**f.mantissa, f))


def exp2_for_f32(b: VectorBuilder, x: Value) -> Value:
    """2^x in f64 for |x| < 1000, to about 2^-34."""
    n, bits = round_scaled(b, x, 1.0)
    r = b.sub(x, n)
    p = mad(b, r, horner(b, r, c.POW_EXP2_F64), b.const(1.0, like=r))
    return b.bitcast(b.add(b.bitcast(p, dtype="i64"), b.shl(bits, FORMATS["f64"].mantissa)), dtype="f64")


def _positive_power_f32(b: VectorBuilder, a: Value, y: Value) -> Value:
    """2^(y log2 a) in f64, to about 2^-33: the one rounding that counts is the last, to f32."""
    wide = b.convert(a, dtype="f64")
    e = b.mul(b.convert(y, dtype="f64"), _log_ends(b, wide, log2_for_f32(b, wide)))
    power = exp2_for_f32(b, at_most(b, at_least(b, e, -160.0), 160.0))
    return b.convert(b.select(b.eq(e, e), power, e), dtype="f32")


def _positive_power_f64(b: VectorBuilder, a: Value, y: Value) -> Value:
    """e^(y log a): the logarithm and its product with y as pairs, good to about 2^-66, since e^z magnifies errors by z < 746."""
    f = FORMATS["f64"]
    high, low = log_pair(b, a)
    high = _log_ends(b, a, high)
    e, error = two_product(b, y, high)
    error = b.add(error, b.mul(y, low))
    bounded = at_most(b, at_least(b, e, -746.0), 710.0)
    # Where e is out of bounds or infinite, its error is none of the result's.
    error = b.select(b.eq(e, bounded), error, b.const(0.0, like=a))
    r, n = reduce_exp(b, bounded, 2 * f.bias, low=error)
    first, second = power_of_two_in_halves(b, n, f)
    return b.mul(b.mul(small_exp(b, r), first), second)


def log_pair(b: VectorBuilder, a: Value) -> Pair:
    """log a = k ln 2 + 2 atanh(s), s = (m - 1) / (m + 1), as a pair.

    2 atanh(s) = s (2 + z (2/3 + z T(z))), z = s²: the quotient, z, the sum in parentheses and the products are pairs, T is not.
    """
    f = FORMATS["f64"]
    scaled, bias = unscale(b, a, f)
    moved, _ = split_exponent(b, scaled, SQRT_HALF, f)
    m = significand(b, moved, SQRT_HALF, f)
    k = exponent(b, moved, bias, f)
    g = b.sub(m, 1.0)
    under, under_low = fast_two_sum(b, b.const(2.0, like=a), g)
    inverse = b.div(1.0, under)
    s = b.mul(g, inverse)
    back, back_low = two_product(b, s, under)
    s_low = b.mul(b.sub(b.sub(b.sub(g, back), back_low), b.mul(s, under_low)), inverse)
    z, z_low = two_product(b, s, s)
    z_low = mad(b, b.add(s, s), s_low, z_low)
    tail = b.mul(z, horner(b, z, c.POW_TAIL_F64))
    third, third_low = fast_two_sum(b, b.const(TWO_THIRDS[0], like=a), tail)
    third_low = b.add(third_low, TWO_THIRDS[1])
    p, p_low = two_product(b, z, third)
    p_low = b.add(p_low, mad(b, z, third_low, b.mul(z_low, third)))
    u, u_low = fast_two_sum(b, b.const(2.0, like=a), p)
    u_low = b.add(u_low, p_low)
    log, log_low = two_product(b, s, u)
    log_low = b.add(log_low, mad(b, s, u_low, b.mul(s_low, u)))
    total, error = two_sum(b, b.mul(k, f.ln2[0]), log)
    return fast_two_sum(b, total, b.add(error, mad(b, k, b.const(f.ln2[1], like=a), log_low)))


def expand_rsqrt(b: VectorBuilder, x: Value) -> Value:
    """1 / √x, corrected by the remainders of root and quotient: -0 gives -inf, as 1 / √(-0) does."""
    f = format_of(b, x)
    small = b.lt(x, 2.0 * f.least_normal / f.epsilon)
    up = f.mantissa + 1 + f.mantissa % 2  # even, and past what a remainder of a small number loses
    # and a quarter of the others, for the square of a root may round beyond the largest number
    scaled = b.mul(x, b.select(small, b.const(2.0 ** (2 * up), like=x), b.const(0.25, like=x)))
    root = b.sqrt(scaled)
    y = b.div(1.0, root)
    square, error = two_product(b, root, root)
    product, lost = two_product(b, root, y)
    remainder = b.sub(b.sub(1.0, product), lost)
    beyond = b.mul(b.sub(b.sub(scaled, square), error), b.mul(b.mul(y, y), 0.5))
    corrected = mad(b, y, b.sub(remainder, beyond), y)
    corrected = b.select(b.and_(b.gt(scaled, 0.0), b.lt(scaled, INF)), corrected, y)
    return b.mul(corrected, b.select(small, b.const(2.0**up, like=x), b.const(0.5, like=x)))


def expand_cbrt(b: VectorBuilder, x: Value) -> Value:
    """∛(2^(3n) m) = 2^n ∛m, m in [½, 4): a polynomial, then a step of Halley's method."""
    return _cube_root(b, x, _halley)


def expand_cbrt_f64(b: VectorBuilder, x: Value) -> Value:
    """The same, and a step of Newton's method with the remainder m - y³ taken exactly."""
    return _cube_root(b, x, lambda b, m: _corrected_root(b, m, _halley(b, m)))


def _cube_root(b: VectorBuilder, x: Value, root: Callable[[VectorBuilder, Value], Value]) -> Value:
    f = FORMATS["f64"]
    a = b.abs(x)
    scaled, bias = unscale(b, a, f)
    moved, _ = split_exponent(b, scaled, f.one, f)
    k = exponent(b, moved, bias, f)
    # with n = k / 3 rounded, what remains of k is -1, 0 or 1
    n, bits = round_scaled(b, k, 1 / 3, f.bias)
    rest = b.sub(k, b.mul(n, 3.0))
    factor = b.select(b.lt(rest, 0.0), b.const(0.5, like=x), b.add(rest, 1.0))
    m = b.mul(significand(b, moved, f.one, f), factor)
    y = b.mul(root(b, m), power_of_two(b, bits, f))
    ordinary = b.and_(b.gt(a, 0.0), b.lt(a, INF))
    return b.select(ordinary, b.copysign(y, x), x)


def _halley(b: VectorBuilder, m: Value) -> Value:
    """y (y³ + 2m) / (2y³ + m), which cubes the relative error of y."""
    y = horner(b, m, c.CBRT_F64)
    cube = b.mul(b.mul(y, y), y)
    return b.mul(y, b.div(b.add(cube, b.add(m, m)), b.add(b.add(cube, cube), m)))


def _corrected_root(b: VectorBuilder, m: Value, y: Value) -> Value:
    square, square_low = two_product(b, y, y)
    cube, cube_low = two_product(b, square, y)
    cube_low = mad(b, square_low, y, cube_low)
    return b.add(y, b.div(b.sub(b.sub(m, cube), cube_low), b.mul(square, 3.0)))
