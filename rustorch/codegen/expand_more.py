"""Functions made of the parts of `expand_exp_log`: exp2, log2, log10, softplus, sinh, cosh."""

from __future__ import annotations

from dataclasses import dataclass

from rustorch.codegen import coefficients as c
from rustorch.codegen.expand_common import (
    INF,
    LN2,
    LOG2_E,
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
from rustorch.codegen.expand_exp_log import (
    SMALLEST,
    exponent,
    log_ends,
    log_tail,
    reduce_exp,
    significand,
    split_exponent,
    unscale,
)
from rustorch.codegen.expand_power import log2_for_f32

LOG2_E_PAIR = (LOG2_E, H("0x1.777d0ffda0d24p-56"))
LOG10_E = (H("0x1.bcb7b1526e50ep-2"), H("0x1.95355baaafad3p-57"))
LOG10_2 = (H("0x1.34413509f78p-2"), H("0x1.fef311f12b358p-46"))
"""Logarithms as high + low; those of 2 with a high so short that its product with an exponent is exact."""


def expand_exp2(b: VectorBuilder, x: Value) -> Value:
    """2^x = 2^n 2^r, r = x - n exactly."""
    f = format_of(b, x)
    low, high = (-151.0, 129.0) if f.name == "f32" else (-1076.0, 1025.0)
    x = at_most(b, at_least(b, x, low), high)
    n, bits = round_scaled(b, x, 1.0, 2 * f.bias)
    r = b.sub(x, n)
    q = horner(b, r, c.EXP2_F32 if f.name == "f32" else c.EXP2_F64)
    p = mad(b, r, mad(b, r, q, b.const(LN2, like=x)), b.const(1.0, like=x))
    first, second = power_of_two_in_halves(b, bits, f)
    return b.mul(b.mul(p, first), second)


def expand_log2(b: VectorBuilder, x: Value) -> Value:
    """k + log(m) / ln 2, the product in two parts."""
    return _log_to_base(b, x, (1.0, 0.0), LOG2_E_PAIR)


def expand_log10(b: VectorBuilder, x: Value) -> Value:
    """(k ln 2 + log m) / ln 10, with both products in two parts."""
    return _log_to_base(b, x, LOG10_2, LOG10_E)


def expand_log2_f32(b: VectorBuilder, x: Value) -> Value:
    """k + s P(s²), s = (m - 1) / (m + 1)."""
    return log_ends(b, x, log2_for_f32(b, x), 0.0)


def expand_log10_f32(b: VectorBuilder, x: Value) -> Value:
    """log2 times log10 2."""
    return log_ends(b, x, b.mul(log2_for_f32(b, x), LOG10_2[0] + LOG10_2[1]), 0.0)


def _log_to_base(b: VectorBuilder, x: Value, two: tuple[float, float], e: tuple[float, float]) -> Value:
    """k two + e log m."""
    f = format_of(b, x)
    scaled, bias = unscale(b, x, f)
    moved, _ = split_exponent(b, scaled, SMALLEST[f.name], f)
    k = exponent(b, moved, bias, f)
    g = b.sub(significand(b, moved, SMALLEST[f.name], f), 1.0)
    main, error = two_product(b, g, b.const(e[0], like=x))
    # e log m = e g + e tail: `main` is the first product rounded, what follows is small beside it
    rest = mad(b, g, b.const(e[1], like=x), error)
    rest = mad(b, log_tail(b, g, b.const(0.0, like=x)), b.const(e[0], like=x), rest)
    total, lost = fast_two_sum(b, b.mul(k, two[0]), main)
    return log_ends(b, x, b.add(total, b.add(lost, mad(b, k, b.const(two[1], like=x), rest))), 0.0)


def expand_softplus(b: VectorBuilder, x: Value) -> Value:
    """log(1 + e^x) = max(x, 0) + log(1 + E), E = e^-|x| as a pair; 1 + E = 2^k (1 + g) with k = 1 where E > 0.4."""
    f = format_of(b, x)
    a = at_most(b, b.abs(x), 104.0 if f.name == "f32" else 746.0)
    r, n = reduce_exp(b, a, 2 * f.bias, sign=-1)
    r = b.neg(r)
    h, low = fast_two_sum(b, b.const(1.0, like=x), r)
    low = mad(b, b.mul(r, r), horner(b, r, c.EXP_F32 if f.name == "f32" else c.EXP_F64), low)
    h, low = fast_two_sum(b, h, low)
    first, second = power_of_two_in_halves(b, n, f)
    e, low = b.mul(b.mul(h, first), second), b.mul(b.mul(low, first), second)
    large = b.gt(e, 0.4)
    less, rounded = fast_two_sum(b, b.const(-1.0, like=x), e)
    g = b.select(large, b.mul(less, 0.5), e)
    low = b.select(large, b.mul(b.add(low, rounded), 0.5), low)
    # `low` moves log(1 + g) by low / (1 + g); so near 0 a line is near enough
    low = b.mul(low, mad(b, g, b.const(-0.75, like=x), b.const(1.0, like=x)))
    ln2_high, ln2_low = (b.select(large, b.const(k, like=x), b.const(0.0, like=x)) for k in f.ln2)
    s, error = fast_two_sum(b, ln2_high, g)
    total, lost = fast_two_sum(b, s, log_tail(b, g, b.add(low, b.add(error, ln2_low))))
    total, error = two_sum(b, b.select(b.lt(x, 0.0), b.const(0.0, like=x), x), total)
    return b.select(b.lt(x, INF), b.add(total, b.add(lost, error)), x)


@dataclass(frozen=True)
class _Hyperbolic:
    """Parts of sinh a and cosh a, a = n ln 2 + r, at half their size so that none overflows."""

    even: Pair
    """cosh(n ln 2) / 2."""
    odd: Pair
    """sinh(n ln 2) / 2."""
    r: Value
    cosh: Value
    """cosh r - 1."""
    sinh: Value
    """sinh r - r."""


def _hyperbolic(b: VectorBuilder, a: Value, single: bool = False) -> _Hyperbolic:
    """The parts; `single` for polynomials that serve f32."""
    f = format_of(b, a)
    single = single or f.name == "f32"
    r, n = reduce_exp(b, at_most(b, a, 89.5 if f.name == "f32" else 710.5), f.bias - 2)
    t = power_of_two(b, n, f)
    # 2^(-n - 2) by its exponent field; from about n = 58 on it is lost beside t, and for the largest n it is no normal number
    inverse = b.bitcast(b.sub((2 * f.bias - 4) << f.mantissa, b.bitcast(t, dtype=f.bits)), dtype=f.name)
    inverse = b.select(b.lt(a, 40.0), inverse, b.const(0.0, like=a))
    z = b.mul(r, r)
    cosh = b.mul(z, horner(b, z, (0.5, *(c.COSH_F32 if single else c.COSH_F64))))
    sinh = b.mul(b.mul(z, r), horner(b, z, c.SINH_F32 if single else c.SINH_F64))
    return _Hyperbolic(fast_two_sum(b, t, inverse), fast_two_sum(b, t, b.neg(inverse)), r, cosh, sinh)


def expand_cosh(b: VectorBuilder, x: Value) -> Value:
    """cosh(n ln 2 + r) by the addition theorem: cosh(n ln 2) and sinh(n ln 2) are sums of two powers of two."""
    h = _hyperbolic(b, b.abs(x))
    half = _sum_of_products(b, h.even, h.odd[0], h)
    return b.add(half, half)


def expand_sinh(b: VectorBuilder, x: Value) -> Value:
    """sinh(n ln 2 + r) by the addition theorem, as `expand_cosh`."""
    a = b.abs(x)
    h = _hyperbolic(b, a)
    half = _sum_of_products(b, h.odd, h.even[0], h)
    # Where the half would lose a subnormal's last bit, sinh x rounds to x.
    return b.select(b.lt(a, format_of(b, x).epsilon / 4), x, b.copysign(b.add(half, half), x))


def expand_sinh_f32(b: VectorBuilder, x: Value) -> Value:
    """The same without pairs."""
    a = b.abs(x)
    h = _hyperbolic(b, at_most(b, a, 90.0), single=True)
    half = mad(b, h.even[0], b.add(h.sinh, h.r), mad(b, h.odd[0], h.cosh, h.odd[0]))
    y = b.select(b.lt(a, 2.0**-30), a, b.add(half, half))
    return b.copysign(b.select(b.lt(a, INF), y, a), x)


def _sum_of_products(b: VectorBuilder, first: Pair, second: Value, h: _Hyperbolic) -> Value:
    """first cosh r + second sinh r; `first` and second r can cancel, so their rounding errors are kept."""
    product, error = two_product(b, second, h.r)
    total, lost = fast_two_sum(b, first[0], product)
    rest = b.add(b.add(error, first[1]), lost)
    return b.add(total, mad(b, first[0], h.cosh, mad(b, second, h.sinh, rest)))
