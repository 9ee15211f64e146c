"""exp, expm1, log, log1p, tanh, sigmoid as loop operations."""

from __future__ import annotations

from rustorch.codegen import coefficients as c
from rustorch.codegen.expand_common import (
    INF,
    LOG2_E,
    NAN,
    Format,
    Pair,
    Value,
    VectorBuilder,
    at_least,
    at_most,
    fast_two_sum,
    format_of,
    horner,
    mad,
    nmad,
    power_of_two,
    power_of_two_in_halves,
    round_scaled,
)

SQRT_HALF = 0x3FE6A09E667F3BCD
"""Bits of √½ in f64."""
SMALLEST = {"f32": 0x3F333333, "f64": SQRT_HALF}
"""Bits of the smallest significand that `log_sum` takes: 0.7 for f32, so that where k = 1 begins, at 1.4, little cancels."""


# --- exp ------------------------------------------------------------------------------------------------------------------


def reduce_exp(b: VectorBuilder, x: Value, offset: int, sign: int = 1, low: Value | None = None) -> Pair:
    """r and the integer n + offset with x + low = sign n ln 2 + r, |r| <= ln(2) / 2. Only the last step rounds."""
    f = format_of(b, x)
    n, bits = round_scaled(b, x, sign * LOG2_E, offset)
    part, rest = (b.const(-sign * k, like=x) for k in f.ln2)
    r = mad(b, n, part, x)
    if low is not None:
        return b.add(r, mad(b, n, rest, low)), bits
    return mad(b, n, rest, r), bits


def small_exp(b: VectorBuilder, r: Value) -> Value:
    """e^r for |r| <= ln(2) / 2, to less than an ulp: with fma in the form whose inner sums round least."""
    if not b.has_fma:
        return b.add(small_expm1(b, r), 1.0)
    return horner(b, r, (1.0, 1.0, *(c.EXP_F32 if b.element(r) == "f32" else c.EXP_F64)))


def small_expm1(b: VectorBuilder, r: Value) -> Value:
    """e^r - 1 for |r| <= ln(2) / 2, to about half an ulp of e^r."""
    q = horner(b, r, c.EXP_F32 if b.element(r) == "f32" else c.EXP_F64)
    return mad(b, b.mul(r, r), q, r)


def expand_exp(b: VectorBuilder, x: Value) -> Value:
    """e^x = 2^n e^r, scaled in two steps so that overflow and subnormal results round once."""
    f = format_of(b, x)
    low, high = (-104.0, 89.0) if f.name == "f32" else (-746.0, 710.0)
    r, n = reduce_exp(b, at_most(b, at_least(b, x, low), high), 2 * f.bias)
    first, second = power_of_two_in_halves(b, n, f)
    return b.mul(b.mul(small_exp(b, r), first), second)


def expand_expm1(b: VectorBuilder, x: Value) -> Value:
    """e^x - 1 = (t - 1) + t r + t w with t = 2^n, e^r - 1 = r + w; the rounding errors of the first two sums are kept.

    All at half scale, for 2^128 is no f32: x near the largest has n = 128.
    """
    f = format_of(b, x)
    low, high = (-18.0, 89.0) if f.name == "f32" else (-38.0, 710.0)
    r, n = reduce_exp(b, at_most(b, at_least(b, x, low), high), f.bias - 1)
    q = horner(b, r, c.EXPM1_F32 if f.name == "f32" else c.EXPM1_F64)
    w = b.mul(b.mul(r, r), q)
    t = power_of_two(b, n, f)
    u = b.sub(t, 0.5)
    lost = b.sub(b.sub(t, u), 0.5)
    tr = b.mul(t, r)
    s, error = fast_two_sum(b, u, tr)
    half = b.add(s, mad(b, t, w, b.add(error, lost)))
    # Where the half would lose a subnormal's last bit or the sign of 0, e^x - 1 rounds to x.
    return b.select(b.lt(b.abs(x), f.epsilon / 4), x, b.add(half, half))


# --- log ------------------------------------------------------------------------------------------------------------------


def split_exponent(b: VectorBuilder, x: Value, smallest: int, f: Format) -> Pair:
    """The bits of x, moved so that the exponent field is k + bias with x = 2^k m, m from the float with bits `smallest`."""
    moved = b.add(b.bitcast(x, dtype=f.bits), f.one - smallest)
    return moved, b.and_(moved, f.exponent_mask)


def exponent(b: VectorBuilder, moved: Value, bias: Value, f: Format) -> Value:
    """k as a float from the first of `split_exponent`; `bias` is that of the format + 2^mantissa (or a vector of such)."""
    field = b.or_(b.shr_logical(moved, f.mantissa), (f.bias + f.mantissa) << f.mantissa)
    return b.sub(b.bitcast(field, dtype=f.name), bias)


def significand(b: VectorBuilder, moved: Value, smallest: int, f: Format) -> Value:
    """m of `split_exponent`."""
    return b.bitcast(b.add(b.and_(moved, ~f.exponent_mask), smallest), dtype=f.name)


def unscale(b: VectorBuilder, x: Value, f: Format) -> Pair:
    """x times a power of two where it is subnormal, and the bias for `exponent` that undoes it."""
    bias, up = f.bias + 2.0**f.mantissa, f.mantissa + 1
    small = b.lt(x, f.least_normal)
    return b.select(small, b.mul(x, 2.0**up), x), b.select(small, b.const(bias + up, like=x), b.const(bias, like=x))


def log_tail(b: VectorBuilder, x: Value, low: Value) -> Value:
    """log(1 + x) - x + low for 1 + x in [0.7, 1.4] (f32) or [√½, √2] (f64).

    f32: x² (x q(x) - ½). f64: with s = x / (2 + x), log(1 + x) = x - (x²/2 - s (x²/2 + R(s²))), as in FreeBSD's e_log.c.
    """
    if b.element(x) == "f32":
        return mad(b, b.mul(x, x), mad(b, x, horner(b, x, c.LOG_F32), b.const(-0.5, like=x)), low)
    s = b.div(x, b.add(x, 2.0))
    z = b.mul(s, s)
    square = b.mul(b.mul(x, 0.5), x)
    return b.sub(mad(b, s, mad(b, z, horner(b, z, c.LOG_F64), square), low), square)


def log_sum(b: VectorBuilder, x: Value, k: Value, low: Value | None = None) -> Value:
    """log(1 + x) + k ln 2, x as for `log_tail`; `low` is added. In f32 the rounding error of the first sum is kept."""
    f = format_of(b, x)
    kh, kl = b.mul(k, f.ln2[0]), b.mul(k, f.ln2[1])
    if f.name == "f64":
        return b.add(kh, b.add(x, log_tail(b, x, kl if low is None else b.add(kl, low))))
    s, error = fast_two_sum(b, kh, x)
    return b.add(s, log_tail(b, x, b.add(kl, error if low is None else b.add(error, low))))


def log_ends(b: VectorBuilder, x: Value, y: Value, pole: float) -> Value:
    """y, but -inf at the pole, NaN below it, and x where x is inf or NaN."""
    y = b.select(b.lt(x, INF), y, x)
    left = b.select(b.eq(x, pole), b.const(-INF, like=x), b.const(NAN, like=x))
    return b.select(b.le(x, pole), left, y)


def expand_log(b: VectorBuilder, x: Value) -> Value:
    """log x = k ln 2 + log m."""
    f = format_of(b, x)
    smallest = SMALLEST[f.name]
    scaled, bias = unscale(b, x, f)
    moved, _ = split_exponent(b, scaled, smallest, f)
    m = significand(b, moved, smallest, f)
    return log_ends(b, x, log_sum(b, b.sub(m, 1.0), exponent(b, moved, bias, f)), 0.0)


def expand_log1p(b: VectorBuilder, x: Value) -> Value:
    """log(1 + x) = k ln 2 + log(1 + g), g = 2^-k x + (2^-k - 1), with k from 1 + x rounded; g needs no rounded 1 + x."""
    return b.copysign(log_ends(b, x, log1p_of_pair(b, x), -1.0), x)


def log1p_of_pair(b: VectorBuilder, x: Value, low: Value | None = None) -> Value:
    """log(1 + x + low) for a finite x > -1.

    2^-k x is made by subtracting k from the exponent of x (for k = 0 any x will do, subnormals too), 2^-k as a quarter of
    2^(2 - k), which is normal for every k.
    """
    f = format_of(b, x)
    smallest = SMALLEST[f.name]
    moved, field = split_exponent(b, b.add(x, 1.0), smallest, f)
    k = exponent(b, moved, f.bias + 2.0**f.mantissa, f)
    down = b.sub(f.one, field)
    scaled = b.bitcast(b.add(b.bitcast(x, dtype=f.bits), down), dtype=f.name)
    four = b.bitcast(b.add(down, f.one + (2 << f.mantissa)), dtype=f.name)
    g, error = fast_two_sum(b, mad(b, four, b.const(0.25, like=x), b.const(-1.0, like=x)), scaled)
    if low is None:
        return log_sum(b, g, k, error if f.name == "f32" else None)
    # what 1 + g lacks moves the logarithm by so much over 1 + g
    lacking = mad(b, b.mul(four, 0.25), low, error)
    return log_sum(b, g, k, b.div(lacking, b.add(g, 1.0)))


# --- tanh, sigmoid --------------------------------------------------------------------------------------------------------


def expand_tanh(b: VectorBuilder, x: Value) -> Value:
    """a - a z / (3 + z W(z)) for a = |x| up to a bound, above it 1 - 2 / (e^2a + 1): one division serves both.

    z = a². W is smooth: by Lambert's continued fraction tanh a = a / (1 + z / (3 + z / (5 + …))), so W = 6/5 - z/175 + ….
    """
    f = format_of(b, x)
    single = f.name == "f32"
    a = b.abs(x)
    near = b.lt(a, 0.9 if single else 0.625)
    z = b.mul(a, a)
    r, n = reduce_exp(b, at_most(b, b.add(a, a), 20.0 if single else 40.0), f.bias)
    t = power_of_two(b, n, f)
    over = b.select(near, z, b.const(2.0, like=x))
    under = horner(b, z, (3.0, *(c.TANH_F32 if single else c.TANH_F64)))
    under = b.select(near, under, mad(b, t, small_expm1(b, r), b.add(t, 1.0)))
    base = b.select(near, a, b.const(1.0, like=x))
    return b.copysign(nmad(b, base, b.div(over, under), base), x)


def expand_sigmoid(b: VectorBuilder, x: Value) -> Value:
    """v = 1 / (1 + e^a) = s / (s + e^r) for a = |x|, s = 2^-n; then v for x < 0, 1 - v for the others.

    f32 with fma: the quotient is corrected by its remainder, taken against the exact terms of the denominator.
    """
    f = format_of(b, x)
    single = f.name == "f32"
    a = at_most(b, b.abs(x), 104.0 if single else 746.0)
    r, n = reduce_exp(b, a, 2 * f.bias, sign=-1)
    first, second = power_of_two_in_halves(b, n, f)
    h, lost = fast_two_sum(b, b.const(1.0, like=x), b.mul(first, second))
    w = mad(b, b.mul(r, r), horner(b, r, c.EXP_F32 if single else c.EXP_F64), lost)
    y = b.div(1.0, b.add(h, b.add(r, w)))
    if single and b.has_fma:
        remainder = nmad(b, y, w, nmad(b, y, r, nmad(b, y, h, b.const(1.0, like=x))))
        y = b.fma(y, remainder, y)
    v = b.mul(b.mul(y, first), second)
    return b.select(b.lt(x, 0.0), v, b.sub(1.0, v))
