"""erf, erfc, erfinv as loop operations."""

from __future__ import annotations

from rustorch.codegen import coefficients as c
from rustorch.codegen.expand_common import (
    INF,
    LN2,
    LOG2_E,
    NAN,
    H,
    Value,
    VectorBuilder,
    at_most,
    fast_two_sum,
    format_of,
    horner,
    mad,
    power_of_two,
    power_of_two_in_halves,
    two_product,
)
from rustorch.codegen.expand_exp_log import expand_log, reduce_exp, small_exp, small_expm1
from rustorch.codegen.expand_power import exp2_for_f32, log2_for_f32

HALF_ROOT_PI = H("0x1.c5bf891b4ef6bp-1")
CENTRE = 4.0
"""Where t = (a - CENTRE) / (a + CENTRE) is 0."""


def expand_erf(b: VectorBuilder, x: Value) -> Value:
    """x + x P(x²) for |x| = a up to a bound, above it 1 - erfc a.

    f32: erfc a = e^g(a - 1), g a polynomial. f64: e^(-a²) times a polynomial in (a - 2.5) / (a + 2.5) (Shepherd and Laframboise 1981).
    """
    a = b.abs(x)
    single = b.element(x) == "f32"
    near = mad(b, x, horner(b, b.mul(x, x), c.ERF_F32 if single else c.ERF_F64), x)
    bounded = at_most(b, a, 4.0 if single else 6.0)
    if single:
        far = _exp_of_negative(b, horner(b, b.sub(bounded, 1.0), c.ERFC_F32))
    else:
        t = b.div(b.sub(bounded, 2.5), b.add(bounded, 2.5))
        far = b.mul(_exp_of_negative(b, b.neg(b.mul(bounded, bounded))), horner(b, t, c.ERFC_F64))
    return b.select(b.le(a, 1.0), near, b.copysign(b.sub(1.0, far), x))


def _exp_of_negative(b: VectorBuilder, x: Value) -> Value:
    """e^x for -87 < x < 1."""
    f = format_of(b, x)
    r, n = reduce_exp(b, x, f.bias)
    return b.mul(small_exp(b, r), power_of_two(b, n, f))


def expand_erfc(b: VectorBuilder, x: Value) -> Value:
    """e^(-x²) P(t) / (1 + 2x), t = (x - 4) / (x + 4), from ½ on; 1 - erf x below, 2 - erfc |x| where x is negative.

    Shepherd and Laframboise 1981. The square, the sum of P and the denominator are pairs.
    """
    a = b.abs(x)
    near = b.sub(1.0, mad(b, x, horner(b, b.mul(x, x), c.ERF_F64), x))
    bounded = at_most(b, a, 28.0)
    under = b.add(bounded, CENTRE)
    t = b.div(b.sub(bounded, CENTRE), under)
    product = b.mul(t, horner(b, t, c.ERFCX_F64[1:]))
    high, low = fast_two_sum(b, b.const(c.ERFCX_F64[0], like=x), product)
    d, d_low = fast_two_sum(b, b.add(bounded, bounded), b.const(1.0, like=x))
    square, square_low = two_product(b, bounded, bounded)
    f = format_of(b, x)
    r, n = reduce_exp(b, b.neg(square), 2 * f.bias, low=b.neg(square_low))
    first, second = power_of_two_in_halves(b, n, f)
    # P (1 + p) / d with p = e^r - 1: the quotient of the large terms is corrected by its remainder
    p = small_expm1(b, r)
    quotient = b.div(high, d)
    back, back_low = two_product(b, quotient, d)
    rest = b.add(b.add(b.sub(b.sub(high, back), back_low), low), b.neg(b.mul(quotient, d_low)))
    rest = b.div(rest, d)
    total = b.add(quotient, mad(b, quotient, p, rest))
    y = b.mul(b.mul(total, first), second)
    y = b.select(b.lt(x, 0.0), b.sub(2.0, y), y)
    y = b.select(b.lt(a, 0.5), near, y)
    return b.select(b.eq(x, x), y, x)


def expand_erfc_f32(b: VectorBuilder, x: Value) -> Value:
    """The same without pairs."""
    a = b.abs(x)
    near = b.sub(1.0, mad(b, x, horner(b, b.mul(x, x), c.ERF_F32), x))
    bounded = at_most(b, a, 11.0)
    t = b.div(b.sub(bounded, CENTRE), b.add(bounded, CENTRE))
    e = exp2_for_f32(b, b.mul(b.mul(bounded, bounded), -LOG2_E))
    y = b.mul(e, b.div(horner(b, t, c.ERFCX_SHORT_F64), b.add(b.add(bounded, bounded), 1.0)))
    y = b.select(b.lt(x, 0.0), b.sub(2.0, y), y)
    y = b.select(b.lt(a, 0.5), near, y)
    return b.select(b.eq(x, x), y, x)


def expand_erfinv(b: VectorBuilder, x: Value) -> Value:
    """A rational guess from w = -log(1 - x²) (Giles 2010), then a step of Halley's method on erf or erfc."""
    a = b.abs(x)
    inside = b.lt(a, 1.0)
    bounded = b.select(inside, a, b.const(0.5, like=x))
    guess = _guess(b, bounded, b.neg(expand_log(b, b.mul(b.sub(1.0, bounded), b.add(bounded, 1.0)))))
    middle = b.lt(bounded, 0.5)
    error = b.select(middle, b.sub(expand_erf(b, guess), bounded), b.sub(b.sub(1.0, bounded), expand_erfc(b, guess)))
    step = b.mul(b.mul(error, HALF_ROOT_PI), _exp_of_square(b, guess))
    y = b.sub(guess, b.div(step, mad(b, guess, step, b.const(1.0, like=x))))
    return _erfinv_ends(b, x, y, inside)


def expand_erfinv_f32(b: VectorBuilder, x: Value) -> Value:
    """The guess."""
    a = b.abs(x)
    inside = b.lt(a, 1.0)
    bounded = b.select(inside, a, b.const(0.5, like=x))
    w = b.mul(log2_for_f32(b, b.mul(b.sub(1.0, bounded), b.add(bounded, 1.0))), -LN2)
    return _erfinv_ends(b, x, _guess(b, bounded, w), inside)


def _erfinv_ends(b: VectorBuilder, x: Value, y: Value, inside: Value) -> Value:
    beyond = b.select(b.eq(b.abs(x), 1.0), b.const(INF, like=x), b.const(NAN, like=x))
    return b.copysign(b.select(inside, y, beyond), x)


def _guess(b: VectorBuilder, a: Value, w: Value) -> Value:
    """a P(w - 3) for w < 6, a Q(√w - 4) above; w = -log((1 - a) (1 + a)), to about 2^-30."""
    central = horner(b, b.sub(w, 3.0), c.ERFINV_CENTRE_F64)
    tail = horner(b, b.sub(b.sqrt(w), 4.0), c.ERFINV_TAIL_F64)
    return b.mul(a, b.select(b.lt(w, 6.0), central, tail))


def _exp_of_square(b: VectorBuilder, x: Value) -> Value:
    """e^(x²) for |x| < 6."""
    return b.div(1.0, _exp_of_negative(b, b.neg(b.mul(x, x))))
