"""sin, cos and tan, right for every argument: reduction by parts of π/2, and for huge arguments by as many bits of 2/π as matter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rustorch.codegen import coefficients as c
from rustorch.codegen.expand_common import (
    FORMATS,
    H,
    Pair,
    Value,
    VectorBuilder,
    fast_two_sum,
    format_of,
    horner,
    mad,
    nmad,
    round_scaled,
    two_product,
    two_sum,
)

TWO_OVER_PI = H("0x1.45f306dc9c883p-1")
TWO_PI = (H("0x1.921fb54442d18p+2"), H("0x1.1a62633145c07p-52"))
HALF_PI_SHORT = (H("0x1.921fb54400000p+0"), H("0x1.0b4611a600000p-34"), H("0x1.3198a2e037073p-69"))
"""π/2 as 33 + 33 + 53 bits: n times one of the first two is exact for n < 2^20."""
HALF_PI = {
    ("f32", True): (H("0x1.921fb4p+0"), H("0x1.4442d0p-24"), H("0x1.846988p-48")),
    ("f64", True): (H("0x1.921fb54442d18p+0"), H("0x1.1a62633100000p-54"), H("0x1.1701b839a2520p-88")),
    ("f64", False): HALF_PI_SHORT,
}
"""π/2 in three positive parts, by format and has_fma. All 53 bits of the first are of use with fma only."""
HUGE = {"f32": 2.0**16, "f64": 2.0**20}
"""From here on the bits of 2/π are needed: n stays exact, and so near x 2/π that |r| hardly passes π/4."""


@dataclass(frozen=True)
class Reduced:
    """x = n π/2 + high - low, |high| <= π/4 (a little over), with n modulo 4 in the low bits of `quadrant`."""

    high: Value
    low: Value
    quadrant: Value


def reduce_near(b: VectorBuilder, x: Value) -> Reduced:
    """The reduction for |x| < HUGE."""
    return _reduce_near(b, x) if b.element(x) == "f64" or b.has_fma else _reduce_near_in_f64(b, x)


def reduce_huge(b: VectorBuilder, x: Value) -> Reduced:
    """The reduction for |x| >= HUGE."""
    return _reduce_huge_f32(b, x) if b.element(x) == "f32" else _reduce_huge_f64(b, x)


def by_reduction(b: VectorBuilder, x: Value, finish: Callable[[VectorBuilder, Reduced], Value]) -> Value:
    """`finish` of x reduced. Huge arguments are rare and cost several times the others: they are branched around."""
    near = finish(b, reduce_near(b, x))
    huge = b.ge(b.abs(x), HUGE[b.element(x)])
    return b.rarely(huge, near, lambda inner: inner.select(huge, finish(inner, reduce_huge(inner, x)), near))


def _reduce_near(b: VectorBuilder, x: Value) -> Reduced:
    """Cody and Waite's reduction with the rounding errors kept.

    x - n p1 is exact: its last bit is that of p1 or above. n p2 is exact in f64, for p2 is short; in f32 its error joins `low`.
    """
    p1, p2, p3 = (b.const(p, like=x) for p in HALF_PI[b.element(x), b.has_fma])
    n, quadrant = round_scaled(b, x, TWO_OVER_PI)
    first = nmad(b, n, p1, x)
    second = b.mul(n, p2)
    high = b.sub(first, second)
    low = b.add(b.sub(high, first), second)
    if b.element(x) == "f32":
        low = b.add(low, b.fma(n, p2, b.neg(second)))
    low = mad(b, n, p3, low)
    if not b.has_fma:  # the second part ends early, so the third is no rounding error
        high, low = fast_two_sum(b, high, b.neg(low))
        low = b.neg(low)
    return Reduced(high, low, quadrant)


def _reduce_near_in_f64(b: VectorBuilder, x: Value) -> Reduced:
    """The same for f32 without fma, where parts short enough for exact products would reach no further than 400."""
    return _narrow(b, *_near_in_f64(b, b.convert(x, dtype="f64")))


def _near_in_f64(b: VectorBuilder, x: Value) -> Pair:
    """r and n with x = n π/2 + r, for a number of f32 held in f64, below HUGE."""
    n, _ = round_scaled(b, x, TWO_OVER_PI)
    return b.sub(b.sub(x, b.mul(n, HALF_PI_SHORT[0])), b.mul(n, HALF_PI_SHORT[1] + HALF_PI_SHORT[2])), n


def _narrow(b: VectorBuilder, r: Value, n: Value) -> Reduced:
    """A remainder in f64 as two f32, and the quadrant of n."""
    high = b.convert(r, dtype="f32")
    low = b.convert(b.sub(b.convert(high, dtype="f64"), r), dtype="f32")
    f = FORMATS["f32"]
    return Reduced(high, low, b.bitcast(b.add(b.convert(n, dtype="f32"), f.shift), dtype=f.bits))


def _inverse_bits(width: int, count: int) -> tuple[int, ...]:
    """The first `count` groups of `width` bits of 1/(2π), after its point."""
    mask = (1 << width) - 1
    return tuple(_ONE_OVER_TWO_PI >> (_ONE_OVER_TWO_PI_BITS - width * (i + 1)) & mask for i in range(count))


def _fraction(b: VectorBuilder, x: Value) -> Value:
    """x less the nearest integer; exact."""
    return b.sub(x, b.round_even(x))


def _reduce_huge_f32(b: VectorBuilder, x: Value) -> Reduced:
    return _narrow(b, *_huge_in_f64(b, b.convert(x, dtype="f64")))


def _huge_in_f64(b: VectorBuilder, x: Value) -> Pair:
    """r and n as `_near_in_f64`, for huge arguments.

    x / (2π) modulo 1: products of the 24 bits of x with groups of 29 bits are exact, and so are their fractions. The rounding
    errors of their sum count where n/4 cancels nearly all of it.
    """
    turns = low = b.const(0.0, like=x)
    for i, group in enumerate(_inverse_bits(29, 7)):
        turns, error = two_sum(b, turns, _fraction(b, b.mul(x, group * 2.0 ** (-29 * (i + 1)))))
        low = b.add(low, error)
    quarters = b.mul(_fraction(b, turns), 4.0)
    n = b.round_even(quarters)
    rest = b.add(b.sub(quarters, n), b.mul(low, 4.0))
    return b.mul(rest, TWO_PI[0] / 4), n


def _reduce_huge_f64(b: VectorBuilder, x: Value) -> Reduced:
    """Payne and Hanek's reduction: x / (2π) modulo 1 from the five groups of 53 bits that matter for the exponent of x.

    Groups before the window give multiples of 1. Those after it are below 2^-160; the nearest that a double comes to a
    multiple of π/2 is 2^-62. The window is found by moving a table of constants by 16, 8, 4, 2 and 1 places, lane by lane.
    """
    f = FORMATS["f64"]
    scale = 200  # x 2^-200 times a group 2^200: no group is subnormal and no product overflows
    biased = b.and_(b.shr_logical(b.bitcast(x, dtype="i64"), f.mantissa), 0x7FF)
    place = b.shr_logical(b.mul(b.sub(biased, f.bias - 1), 1237), 16)  # (exponent + 1) // 53
    groups = [0.0, *(g * 2.0 ** (scale - 53 * (i + 1)) for i, g in enumerate(_inverse_bits(53, 23)))]
    window: Sequence[Value] = [b.const(g, like=x) for g in groups]
    zero = b.const(0.0, like=x)
    for step, keep in ((16, 20), (8, 12), (4, 8), (2, 6), (1, 5)):
        moved = b.ne(b.and_(place, step), 0)
        window = [b.select(moved, window[i + step] if i + step < len(window) else zero, window[i]) for i in range(keep)]
    small = b.mul(x, 2.0**-scale)
    (h0, l0), (h1, l1), (h2, l2), (h3, l3) = (two_product(b, small, g) for g in window[:4])
    turns, e0 = two_sum(b, _fraction(b, h0), _fraction(b, l0))
    turns, e1 = two_sum(b, turns, _fraction(b, h1))
    turns, e2 = two_sum(b, _fraction(b, turns), l1)
    turns, e3 = two_sum(b, turns, h2)
    n = b.round_even(b.mul(turns, 4.0))
    turns = b.sub(turns, b.mul(n, 0.25))
    low = zero
    for term in (e0, e1, e2, e3, l2, h3, l3, b.mul(small, window[4])):
        turns, error = two_sum(b, turns, term)
        low = b.add(low, error)
    r, error = two_product(b, turns, b.const(TWO_PI[0], like=x))
    high, rest = fast_two_sum(b, r, b.add(error, b.add(b.mul(turns, TWO_PI[1]), b.mul(low, TWO_PI[0]))))
    return Reduced(high, b.neg(rest), b.bitcast(b.add(n, f.shift), dtype=f.bits))


def expand_sin(b: VectorBuilder, x: Value) -> Value:
    """sin x = ± sin r or ± cos r by the quadrant, r = x - n π/2 (Cody and Waite; Payne and Hanek where x is huge)."""
    return by_reduction(b, x, lambda b, r: _by_quadrant(b, r, r.quadrant))


def expand_cos(b: VectorBuilder, x: Value) -> Value:
    """cos x = sin(x + π/2): as sin, the quadrant moved by one."""
    return by_reduction(b, x, lambda b, r: _by_quadrant(b, r, b.add(r.quadrant, 1)))


def _by_quadrant(b: VectorBuilder, r: Reduced, quadrant: Value) -> Value:
    f = format_of(b, r.high)
    y = b.select(b.ne(b.and_(quadrant, 1), 0), cosine_of(b, r), sine_of(b, r))
    sign = b.shl(b.and_(quadrant, 2), f.sign_place - 1)
    return b.bitcast(b.xor(b.bitcast(y, dtype=f.bits), sign), dtype=f.name)


def expand_tan(b: VectorBuilder, x: Value) -> Value:
    """tan x = sin r / cos r or -cos r / sin r by the quadrant, each a pair, the quotient corrected by its remainder."""
    return by_reduction(b, x, _tangent)


def expand_tan_f32(b: VectorBuilder, x: Value) -> Value:
    """tan r = r + r z T(z), z = r², or -1 / tan r by the quadrant."""

    def finish(b: VectorBuilder, r: Value, n: Value) -> Value:
        z = b.mul(r, r)
        t = mad(b, b.mul(r, z), horner(b, z, c.TAN_F32), r)
        return b.select(b.ne(b.and_(b.bitcast(b.add(n, FORMATS["f64"].shift), dtype="i64"), 1), 0), b.div(-1.0, t), t)

    near = finish(b, *_near_in_f64(b, x))
    huge = b.ge(b.abs(x), HUGE["f32"])
    return b.rarely(huge, near, lambda inner: inner.select(huge, finish(inner, *_huge_in_f64(inner, x)), near))


def _tangent(b: VectorBuilder, r: Reduced) -> Value:
    odd = b.ne(b.and_(r.quadrant, 1), 0)
    (sine, sine_low), (cosine, cosine_low) = _sine_pair(b, r), _cosine_pair(b, r)
    over, over_low = b.select(odd, b.neg(cosine), sine), b.select(odd, b.neg(cosine_low), sine_low)
    under, under_low = b.select(odd, sine, cosine), b.select(odd, sine_low, cosine_low)
    inverse = b.div(1.0, under)
    quotient = b.mul(over, inverse)
    back, back_low = two_product(b, quotient, under)
    remainder = b.add(b.sub(b.sub(over, back), back_low), nmad(b, quotient, under_low, over_low))
    return b.select(b.eq(over, 0.0), over, mad(b, remainder, inverse, quotient))


def _sine_pair(b: VectorBuilder, r: Reduced) -> Pair:
    z = b.mul(r.high, r.high)
    s = horner(b, z, [-k for k in c.SIN_F64])
    # the slope of sin at high, near enough, times what r lacks
    low = b.mul(r.low, mad(b, z, b.const(-0.5, like=z), b.const(1.0, like=z)))
    return fast_two_sum(b, r.high, b.neg(mad(b, b.mul(r.high, z), s, low)))


def _cosine_pair(b: VectorBuilder, r: Reduced) -> Pair:
    z, z_low = two_product(b, r.high, r.high)
    z_low = mad(b, b.mul(r.high, -2.0), r.low, z_low)
    total, rest = fast_two_sum(b, b.const(1.0, like=z), b.mul(z, -0.5))
    return fast_two_sum(b, total, b.add(rest, mad(b, b.mul(z, z), horner(b, z, c.COS_F64), b.mul(z_low, -0.5))))


def sine_of(b: VectorBuilder, r: Reduced) -> Value:
    """sin(high - low) = high - (low - high z S(z)), z = high²; written so that -0 gives -0. `low` is a rounding error of `high`."""
    z = b.mul(r.high, r.high)
    s = horner(b, z, [-k for k in (c.SIN_F32 if b.element(z) == "f32" else c.SIN_F64)])
    return b.sub(r.high, mad(b, b.mul(r.high, z), s, r.low))


def cosine_of(b: VectorBuilder, r: Reduced) -> Value:
    """cos(high - low) = 1 - z/2 + z² C(z), z = high² - 2 high low."""
    z = mad(b, r.high, r.high, b.mul(b.mul(r.high, -2.0), r.low))
    q = horner(b, z, (-0.5, *(c.COS_F32 if b.element(z) == "f32" else c.COS_F64)))
    return mad(b, z, q, b.const(1.0, like=z))


_ONE_OVER_TWO_PI_BITS = 1280
_ONE_OVER_TWO_PI = int(
    "28BE60DB9391054A7F09D5F47D4D377036D8A5664F10E4107F9458EAF7AEF1586DC91B8E909374B8"
    "01924BBA827464873F877AC72C4A69CFBA208D7D4BAED1213A671C09AD17DF904E64758E60D4CE7D"
    "272117E2EF7E4A0EC7FE25FFF7816603FBCBC462D6829B47DB4D9FB3C9F2C26DD3D18FD9A797FA8B"
    "5D49EEB1FAF97C5ECF41CE7DE294A4BA9AFED7EC47E357421580CC11BF1EDAEAFC33EF0826BD0D87",
    16,
)
"""1/(2π) times 2^1280, rounded down."""
