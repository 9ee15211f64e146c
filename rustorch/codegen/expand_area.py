"""asinh, acosh, atanh (the inverse hyperbolic functions) as loop operations: log1p of a pair."""

from __future__ import annotations

from rustorch.codegen.expand_common import INF, LN2, NAN, H, Value, VectorBuilder, at_most, fast_two_sum, mad, two_product, two_sum
from rustorch.codegen.expand_exp_log import log1p_of_pair, log_ends

LARGEST = H("0x1.fffffffffffffp+1023")
LARGE = 2.0**28
"""From here on asinh x and acosh x are log 2x to a rounding error."""


def expand_asinh(b: VectorBuilder, x: Value) -> Value:
    """log1p(a + a² / (1 + √(1 + a²))), a = |x|."""
    a = b.abs(x)
    bounded = at_most(b, a, LARGE)
    square = b.mul(bounded, bounded)
    t, low = fast_two_sum(b, bounded, b.div(square, b.add(b.sqrt(b.add(square, 1.0)), 1.0)))
    return b.copysign(b.select(b.lt(a, 2.0**-28), a, _of_pair_or_large(b, a, t, low)), x)


def expand_acosh(b: VectorBuilder, x: Value) -> Value:
    """log1p(t + √(t (t + 2))), t = x - 1, the root as a pair; NaN below 1."""
    bounded = at_most(b, x, LARGE)
    t, t_low = fast_two_sum(b, bounded, b.const(-1.0, like=x))
    square, square_low = two_product(b, t, t)
    product, rest = two_sum(b, b.add(t, t), square)
    rest = b.add(b.add(rest, square_low), mad(b, t_low, b.add(t, t), b.add(t_low, t_low)))
    root = b.sqrt(product)
    back, back_low = two_product(b, root, root)
    root_low = b.div(b.add(b.sub(b.sub(product, back), back_low), rest), b.add(root, root))
    total, error = fast_two_sum(b, root, t)
    y = _of_pair_or_large(b, x, total, b.add(error, b.add(root_low, t_low)))
    return b.select(b.gt(x, 1.0), y, b.select(b.eq(x, 1.0), b.const(0.0, like=x), b.const(NAN, like=x)))


def expand_atanh(b: VectorBuilder, x: Value) -> Value:
    """½ log1p(2a / (1 - a)), a = |x|, the quotient as a pair; infinite at 1, NaN above."""
    a = b.abs(x)
    inside = b.lt(a, 1.0)
    bounded = b.select(inside, a, b.const(0.5, like=x))
    under, under_low = fast_two_sum(b, b.const(1.0, like=x), b.neg(bounded))
    over = b.add(bounded, bounded)
    quotient = b.div(over, under)
    back, back_low = two_product(b, quotient, under)
    remainder = b.sub(b.sub(b.sub(over, back), back_low), b.mul(quotient, under_low))
    y = b.mul(log1p_of_pair(b, quotient, b.div(remainder, under)), 0.5)
    y = b.select(b.lt(a, 2.0**-28), a, y)
    beyond = b.select(b.eq(a, 1.0), b.const(INF, like=x), b.const(NAN, like=x))
    return b.copysign(b.select(inside, y, beyond), x)


def _of_pair_or_large(b: VectorBuilder, a: Value, t: Value, low: Value) -> Value:
    """log(1 + t + low), and log a + ln 2 for a large `a`; infinities and NaN stay."""
    large = b.ge(a, LARGE)
    argument = b.select(large, at_most(b, a, LARGEST), t)
    y = log1p_of_pair(b, argument, b.select(large, b.const(-1.0, like=a), low))
    return log_ends(b, a, b.add(y, b.select(large, b.const(LN2, like=a), b.const(0.0, like=a))), -INF)
