"""lgamma and digamma as loop operations, in f64 (f32 takes their value rounded)."""

from __future__ import annotations

from collections.abc import Callable

from rustorch.codegen import coefficients as c
from rustorch.codegen.expand_common import (
    INF,
    LN2,
    NAN,
    H,
    Pair,
    Value,
    VectorBuilder,
    at_least,
    at_most,
    horner,
    mad,
    nmad,
    round_scaled,
    two_product,
    two_sum,
)
from rustorch.codegen.expand_exp_log import expand_log
from rustorch.codegen.expand_power import log2_for_f32, log_pair
from rustorch.codegen.expand_trigonometry import Reduced, cosine_of, sine_of

Part = Callable[[VectorBuilder, Value], Value]
PI = (H("0x1.921fb54442d18p+1"), H("0x1.1a62633145c07p-53"))
LOG_PI = H("0x1.250d048e7a1bdp+0")
STIRLING = H("0x1.acfe390c97d69p-2")
"""½ log 2π - ½."""
ROOT = (H("0x1.762d86356be3fp+0"), H("0x1.b86a722197829p-54"))
"""The positive zero of digamma: high + low."""
BELOW = 1.25
"""Up to here log Γ(a) is taken from log Γ(a + 1), nearer to 2 than a, without much cancellation."""
DIGAMMA_SLOPE = (H("0x1.ef72bc8ee38acp-1"), H("-0x1.3879eb97bf58dp-55"))
"""The derivative at ROOT."""
LARGE = 5.5
"""From here on the asymptotic series serve."""
STEPS = 3
"""How often the recurrence is used at most: from LARGE down to 2.5."""


def expand_lgamma(b: VectorBuilder, x: Value) -> Value:
    """log |Γ(x)|. |x| = a is moved to 2 + v, -¾ <= v <= ½, by the recurrence, where log Γ = v (1 + v) P(v); from 5.5 on Stirling's series.

    Below 0: log π - log |a sin πa| - log Γ(a). Near the zeros there the error is absolute.
    """
    return _lgamma(b, x, _stirling, _by_recurrence)


def expand_lgamma_f32(b: VectorBuilder, x: Value) -> Value:
    """The same without pairs."""
    return _lgamma(b, x, _stirling_f32, _by_recurrence_f32)


def _lgamma(b: VectorBuilder, x: Value, far: Part, near: Part) -> Value:
    a = b.abs(x)
    y = _of_positive(b, a, far, near)

    def reflected(inner: VectorBuilder) -> Value:
        exact = y if near is _by_recurrence else _of_positive(inner, a, _stirling, _by_recurrence)
        turned = inner.sub(inner.sub(LOG_PI, expand_log(inner, inner.mul(a, inner.abs(_sine_of_pi(inner, a))))), exact)
        whole = inner.eq(inner.floor(a), a)
        return inner.select(negative, inner.select(whole, inner.const(INF, like=x), turned), y)

    negative = b.lt(x, 0.0)
    return b.select(b.eq(x, x), b.rarely(negative, y, reflected), x)


def _of_positive(b: VectorBuilder, a: Value, far: Part, near: Part) -> Value:
    y = b.select(b.ge(a, LARGE), far(b, a), near(b, at_most(b, a, LARGE)))
    return b.select(b.and_(b.lt(a, INF), b.gt(a, 0.0)), y, b.const(INF, like=a))


def _by_recurrence(b: VectorBuilder, a: Value) -> Value:
    product, low, below, v = _moved_to_two(b, a)
    log, log_low = log_pair(b, product)
    log_low = b.add(log_low, b.div(low, product))
    log, log_low = b.select(below, b.neg(log), log), b.select(below, b.neg(log_low), log_low)
    value, lost = two_product(b, b.add(v, 1.0), horner(b, v, c.LGAMMA_F64))
    main, main_low = two_product(b, v, value)
    main_low = mad(b, v, lost, main_low)
    total, error = two_sum(b, log, main)
    same = b.eq(product, b.const(1.0, like=a))
    return b.select(same, b.add(main, main_low), b.add(total, b.add(error, b.add(log_low, main_low))))


def _by_recurrence_f32(b: VectorBuilder, a: Value) -> Value:
    product, _, below, v = _moved_to_two(b, a)
    log = b.mul(log2_for_f32(b, product), LN2)
    return mad(b, b.mul(v, b.add(v, 1.0)), horner(b, v, c.LGAMMA_SHORT_F64), b.select(below, b.neg(log), log))


def _moved_to_two(b: VectorBuilder, a: Value) -> tuple[Value, Value, Value, Value]:
    """What Γ(a) is divided or multiplied by to come to [1.25, 2.5), as a pair; whether it is divided; and v."""
    moved, factors = _moved(b, a)
    two, two_low = two_product(b, a, b.add(a, 1.0))
    tiny, below = b.lt(a, 0.5), b.lt(a, BELOW)
    product = b.select(tiny, two, b.select(below, a, factors))
    v = b.select(tiny, a, b.select(below, b.sub(a, 1.0), b.sub(moved, 2.0)))
    return product, b.select(tiny, two_low, b.const(0.0, like=a)), below, v


def _moved(b: VectorBuilder, a: Value) -> Pair:
    """a - k < 2.5, and (a - 1) (a - 2) … (a - k)."""
    product = b.const(1.0, like=a)
    for _ in range(STEPS):
        more = b.ge(a, 2.5)
        a = b.select(more, b.sub(a, 1.0), a)
        product = b.select(more, b.mul(product, a), product)
    return a, product


def _stirling(b: VectorBuilder, a: Value) -> Value:
    """(a - ½) (log a - 1) + ½ log 2π - ½ + S(1/a²) / a."""
    high, low = log_pair(b, at_most(b, at_least(b, a, 1.0), 1e306))
    high, error = two_sum(b, high, b.const(-1.0, like=a))
    inverse = b.div(1.0, a)
    series = b.mul(inverse, horner(b, b.mul(inverse, inverse), c.STIRLING_F64))
    factor = b.sub(a, 0.5)
    rest = mad(b, factor, b.add(error, low), b.add(series, STIRLING))
    return mad(b, factor, high, rest)


def _stirling_f32(b: VectorBuilder, a: Value) -> Value:
    log = b.mul(log2_for_f32(b, at_most(b, at_least(b, a, 1.0), 1e306)), LN2)
    inverse = b.div(1.0, a)
    rest = mad(b, inverse, horner(b, b.mul(inverse, inverse), c.STIRLING_SHORT_F64), b.const(STIRLING, like=a))
    return mad(b, b.sub(a, 0.5), b.sub(log, 1.0), rest)


def _turn(b: VectorBuilder, a: Value) -> Reduced:
    """πa = n π/2 + r, without error but that of r."""
    n, quadrant = round_scaled(b, at_most(b, a, 2.0**50), 2.0)
    rest = nmad(b, n, b.const(0.5, like=a), at_most(b, a, 2.0**50))
    high, error = two_product(b, rest, b.const(PI[0], like=a))
    return Reduced(high, b.neg(mad(b, rest, b.const(PI[1], like=a), error)), quadrant)


def _sine_of_pi(b: VectorBuilder, a: Value) -> Value:
    """|sin πa|."""
    r = _turn(b, a)
    return b.select(b.ne(b.and_(r.quadrant, 1), 0), cosine_of(b, r), sine_of(b, r))


def _cotangent_of_pi(b: VectorBuilder, a: Value) -> Value:
    r = _turn(b, a)
    odd = b.ne(b.and_(r.quadrant, 1), 0)
    sine, cosine = sine_of(b, r), cosine_of(b, r)
    return b.div(b.select(odd, b.neg(sine), cosine), b.select(odd, cosine, sine))


def expand_digamma(b: VectorBuilder, x: Value) -> Value:
    """ψ(x) = Γ'(x) / Γ(x): v (slope + v P(v)) about the zero x - v on [1, 2.5), moved there by the recurrence.

    From 5.5 on the asymptotic series. Below 0: ψ(a) + 1/a + π cot πa, a = -x. Near the zeros there the error is absolute.
    """
    a = b.abs(x)
    bounded = at_most(b, a, LARGE)
    tiny = b.lt(a, 1.0)
    u, numerator, denominator = _reciprocals(b, bounded)
    u = b.select(tiny, a, b.sub(u, 1.0))
    v = b.sub(b.sub(u, ROOT[0] - 1.0), ROOT[1])
    inverse = b.div(b.select(tiny, b.const(-1.0, like=x), numerator), b.select(tiny, a, denominator))
    # far from the zero the two terms cancel much of each other
    step, step_low = two_product(b, v, horner(b, v, c.DIGAMMA_F64))
    slope, lost = two_sum(b, b.const(DIGAMMA_SLOPE[0], like=x), step)
    main, main_low = two_product(b, v, slope)
    main_low = mad(b, v, b.add(b.add(step_low, lost), DIGAMMA_SLOPE[1]), main_low)
    near, error = two_sum(b, inverse, main)
    near = b.add(near, b.add(error, main_low))
    z = b.div(1.0, a)
    square = b.mul(z, z)
    far = b.sub(expand_log(b, at_least(b, a, 1.0)), mad(b, square, horner(b, square, c.DIGAMMA_FAR_F64), b.mul(z, 0.5)))
    y = b.select(b.ge(a, LARGE), far, near)

    def reflected(inner: VectorBuilder) -> Value:
        turned = inner.add(inner.add(y, z), inner.mul(_cotangent_of_pi(inner, a), PI[0]))
        whole = inner.eq(inner.floor(a), a)
        return inner.select(negative, inner.select(whole, inner.const(NAN, like=x), turned), y)

    negative = b.lt(x, 0.0)
    y = b.rarely(negative, y, reflected)
    y = b.select(b.eq(x, 0.0), b.copysign(b.const(INF, like=x), b.neg(x)), y)
    y = b.select(b.eq(x, INF), x, y)
    return b.select(b.eq(x, x), y, x)


def _reciprocals(b: VectorBuilder, a: Value) -> tuple[Value, Value, Value]:
    """a - k < 2.5, and 1/(a - 1) + … + 1/(a - k) as numerator and denominator, the latter's rounding errors set off."""
    numerator, denominator = b.const(0.0, like=a), b.const(1.0, like=a)
    lost = b.const(0.0, like=a)
    for _ in range(STEPS):
        more = b.ge(a, 2.5)
        a = b.select(more, b.sub(a, 1.0), a)
        product, error = two_product(b, denominator, a)
        lost = b.select(more, mad(b, lost, a, error), lost)
        numerator = b.select(more, mad(b, numerator, a, denominator), numerator)
        denominator = b.select(more, product, denominator)
    # n / (d + e) = (n - n e / d) / d, and n / d is about 1
    return a, b.sub(numerator, b.mul(lost, b.div(numerator, denominator))), denominator
