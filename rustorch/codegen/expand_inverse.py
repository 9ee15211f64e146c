"""asin, acos, atan as loop operations."""

from __future__ import annotations

from rustorch.codegen import coefficients as c
from rustorch.codegen.expand_common import Value, VectorBuilder, at_most, fast_two_sum, format_of, horner, mad, nmad, two_product

H = float.fromhex
HALF_PI = {"f32": (H("0x1.921fb6p+0"), H("-0x1.777a5cp-25")), "f64": (H("0x1.921fb54442d18p+0"), H("0x1.1a62633145c07p-54"))}
"""π/2 as high + low."""


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
    """f32: atan a for a = |x| <= 1, above it π/2 - atan(1/a). f64: also π/4 + atan((a - 1) / (a + 1)), so that |t| <= tan(π/8)."""
    a = b.abs(x)
    return b.copysign((_atan_f32 if b.element(x) == "f32" else _atan_f64)(b, a), x)


def _atan_f32(b: VectorBuilder, a: Value) -> Value:
    large = b.gt(a, 1.0)
    bounded = at_most(b, a, 2.0**60)
    inverse = b.div(1.0, bounded)
    t = b.select(large, inverse, a)
    z = b.mul(t, t)
    tail = b.mul(b.mul(t, z), horner(b, z, c.ATAN_F32))
    if b.has_fma:
        # 1/a = t + t (1 - a t); the slope of atan there is near 1 - z/2
        missing = b.mul(inverse, nmad(b, bounded, inverse, b.const(1.0, like=a)))
        tail = b.select(large, b.add(tail, b.mul(missing, mad(b, z, b.const(-0.5, like=a), b.const(1.0, like=a)))), tail)
    high, low = HALF_PI["f32"]
    total, rest = fast_two_sum(b, b.const(high, like=a), b.neg(t))
    return b.select(large, b.add(total, b.sub(b.add(rest, low), tail)), b.add(t, tail))


def _atan_f64(b: VectorBuilder, a: Value) -> Value:
    near, far = b.lt(a, 0.41421356237309503), b.gt(a, 2.414213562373095)

    def choose(small: Value, middle: Value, large: Value) -> Value:
        return b.select(near, small, b.select(far, large, middle))

    def constants(small: float, middle: float, large: float) -> Value:
        return choose(*(b.const(k, like=a) for k in (small, middle, large)))

    one = b.const(1.0, like=a)
    t = b.div(choose(a, b.sub(a, 1.0), b.const(-1.0, like=a)), choose(one, b.add(a, 1.0), a))
    z = b.mul(t, t)
    high, low = (constants(0.0, p / 2, p) for p in HALF_PI["f64"])
    total, rest = fast_two_sum(b, high, t)
    return b.add(total, b.add(rest, mad(b, b.mul(t, z), horner(b, z, c.ATAN_F64), low)))
