"""asin, acos, atan, atan2 as loop operations."""

from __future__ import annotations

from collections.abc import Callable

from rustorch.codegen import coefficients as c
from rustorch.codegen.expand_common import INF, H, Pair, Value, VectorBuilder, fast_two_sum, format_of, horner, mad, two_product

HALF_PI = {"f32": (H("0x1.921fb6p+0"), H("-0x1.777a5cp-25")), "f64": (H("0x1.921fb54442d18p+0"), H("0x1.1a62633145c07p-54"))}
"""π/2 as high + low."""
TAN_EIGHTH = 0.41421356237309503
"""tan(π/8)."""


def expand_asin(b: VectorBuilder, x: Value) -> Value:
    """asin a for a = |x| <= ½, above it π/2 - 2 asin √((1 - a) / 2). Form of FreeBSD's e_asin.c, with polynomials."""
    a = b.abs(x)
    large = b.gt(a, 0.5)
    high, low = (b.select(large, b.const(p, like=x), b.const(0.0, like=x)) for p in HALF_PI[b.element(x)])
    factor = b.select(large, b.const(-2.0, like=x), b.const(1.0, like=x))
    return b.copysign(_from_sine(b, a, a, large, high, low, factor), x)


def expand_acos(b: VectorBuilder, x: Value) -> Value:
    """π/2 - asin x for |x| <= ½, else 2 asin √((1 - |x|) / 2), taken from π for x < 0."""
    a = b.abs(x)
    large, negative = b.gt(a, 0.5), b.lt(x, 0.0)
    high, low = (
        b.select(large, b.select(negative, b.const(2 * p, like=x), b.const(0.0, like=x)), b.const(p, like=x)) for p in HALF_PI[b.element(x)]
    )
    factor = b.select(large, b.select(negative, b.const(-2.0, like=x), b.const(2.0, like=x)), b.const(-1.0, like=x))
    return _from_sine(b, x, a, large, high, low, factor)


def _from_sine(b: VectorBuilder, x: Value, a: Value, large: Value, high: Value, low: Value, factor: Value) -> Value:
    """high + low + factor asin s, with s = x, or √((1 - a) / 2) where `large`. asin s = s + s z P(z), z = s²."""
    f = format_of(b, x)
    z = b.select(large, b.mul(b.sub(1.0, a), 0.5), b.mul(a, a))
    root = b.sqrt(z)
    square, error = two_product(b, root, root)
    # √z = root + (z - root²) / (2 root); at root = 0 nothing is missing
    missing = b.div(b.sub(b.sub(z, square), error), b.add(b.add(root, root), f.least_normal))
    s = b.select(large, root, x)
    tail = mad(b, b.mul(s, z), horner(b, z, c.ASIN_F32 if f.name == "f32" else c.ASIN_F64), b.select(large, missing, b.const(0.0, like=x)))
    total, rest = fast_two_sum(b, high, b.mul(factor, s))
    return b.add(total, b.add(rest, mad(b, factor, tail, low)))


def expand_atan(b: VectorBuilder, x: Value) -> Value:
    """atan a for a = |x| below tan(π/8), π/2 - atan(1/a) above tan(3π/8), and π/4 + atan((a - 1) / (a + 1)) between them."""
    a = b.abs(x)
    near, far = b.lt(a, TAN_EIGHTH), b.gt(a, 1 / TAN_EIGHTH)
    choose = _three_ways(b, near, far)
    one = b.const(1.0, like=a)
    t = b.div(choose(a, b.sub(a, 1.0), b.const(-1.0, like=a)), choose(one, b.add(a, 1.0), a))
    return b.copysign(_turned(b, t, choose), x)


def expand_atan_f32(b: VectorBuilder, x: Value) -> Value:
    """atan a for a = |x| <= 1, above it π/2 - atan(1/a)."""
    a = b.abs(x)
    one = b.const(1.0, like=a)
    large = b.gt(a, 1.0)
    return b.copysign(_quarter_turn(b, b.div(b.select(large, one, a), b.select(large, a, one)), large), x)


def _quarter_turn(b: VectorBuilder, t: Value, large: Value) -> Value:
    """atan t for 0 <= t <= 1, or π/2 less it where `large`."""
    z = b.mul(t, t)
    angle = mad(b, b.mul(t, z), horner(b, z, c.ATAN_F32), t)
    return b.select(large, b.sub(HALF_PI["f64"][0], angle), angle)


Choice = Callable[[Value, Value, Value], Value]


def _three_ways(b: VectorBuilder, near: Value, far: Value) -> Choice:
    """The first where `near`, the last where `far`, else the second."""
    return lambda small, middle, large: b.select(near, small, b.select(far, large, middle))


def _turned(b: VectorBuilder, t: Value, choose: Choice) -> Value:
    """atan t + 0, π/4 or π/2, |t| <= tan(π/8)."""
    z = b.mul(t, t)
    high, low = (choose(*(b.const(k * p, like=t) for k in (0.0, 0.5, 1.0))) for p in HALF_PI["f64"])
    total, rest = fast_two_sum(b, high, t)
    return b.add(total, b.add(rest, mad(b, b.mul(t, z), horner(b, z, c.ATAN_F64), low)))


def expand_atan2(b: VectorBuilder, y: Value, x: Value) -> Value:
    """The angle of (|x|, |y|) as atan, taken from π where x is negative (-0, too), with the sign of y."""
    u, v = _scaled(b, b.abs(x), b.abs(y))
    near, far = b.lt(v, b.mul(u, TAN_EIGHTH)), b.gt(b.mul(v, TAN_EIGHTH), u)
    choose = _three_ways(b, near, far)
    t = b.div(choose(v, b.sub(v, u), b.neg(u)), choose(u, b.add(u, v), v))
    return _half_turn(b, _turned(b, t, choose), x, y)


def expand_atan2_f32(b: VectorBuilder, y: Value, x: Value) -> Value:
    """The same with one bound."""
    u, v = _scaled(b, b.abs(x), b.abs(y))
    large = b.gt(v, u)
    return _half_turn(b, _quarter_turn(b, b.div(b.select(large, u, v), b.select(large, v, u)), large), x, y)


def _scaled(b: VectorBuilder, u: Value, v: Value) -> Pair:
    """u and v with the same quotient, so that no sum overflows, (inf, inf) is (1, 1), and (0, 0) is (1, 0)."""
    both = b.and_(b.eq(u, INF), b.eq(v, INF))
    neither = b.and_(b.eq(u, 0.0), b.eq(v, 0.0))
    one = b.const(1.0, like=u)
    u = b.select(b.or_(both, neither), one, u)
    v = b.select(both, one, v)
    large = b.or_(b.gt(u, 2.0**1000), b.gt(v, 2.0**1000))
    factor = b.select(large, b.const(2.0**-60, like=u), one)
    return b.mul(u, factor), b.mul(v, factor)


def _half_turn(b: VectorBuilder, angle: Value, x: Value, y: Value) -> Value:
    high, low = (2 * p for p in HALF_PI["f64"])
    total, rest = fast_two_sum(b, b.const(high, like=x), b.neg(angle))
    left = b.lt(b.copysign(b.const(1.0, like=x), x), 0.0)
    return b.copysign(b.select(left, b.add(total, b.add(rest, low)), angle), y)
