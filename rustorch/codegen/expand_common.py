"""What the expansions share: the builder they write to, constants of each float format, error-free sums and products.

See Note [Rounding by a shift] in this file, on which every range reduction rests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Value = Any
"""A vector, opaque here. Where another operand fixes the type, a Python number may stand for it."""
Pair = tuple[Value, Value]
"""An unevaluated sum high + low, |low| at most half an ulp of high."""

H = float.fromhex
INF, NAN = float("inf"), float("nan")
LN2, LOG2_E = H("0x1.62e42fefa39efp-1"), H("0x1.71547652b82fep+0")
"""ln 2 and its inverse."""


class VectorBuilder(Protocol):
    """The loop-level builder, as far as the expansions use it.

    Every float operation rounds once, to nearest, and keeps subnormals; nothing is reassociated or contracted. `lt`, `le`,
    `gt`, `ge`, `eq` are false where an operand is NaN, `ne` is true there. `round_even` and `floor` keep NaN and infinities.
    `minimum` and `maximum` are not used: what they do with NaN does not matter here.
    """

    @property
    def has_fma(self) -> bool: ...
    def element(self, x: Value, /) -> str: ...
    def const(self, value: Any, /, like: Value) -> Value: ...
    def convert(self, x: Value, /, *, dtype: Any) -> Value: ...
    def bitcast(self, x: Value, /, *, dtype: Any) -> Value: ...
    def select(self, mask: Value, x: Value, y: Value, /) -> Value: ...
    def add(self, x: Value, y: Value, /) -> Value: ...
    def sub(self, x: Value, y: Value, /) -> Value: ...
    def mul(self, x: Value, y: Value, /) -> Value: ...
    def div(self, x: Value, y: Value, /) -> Value: ...
    def fma(self, x: Value, y: Value, z: Value, /) -> Value: ...
    def neg(self, x: Value, /) -> Value: ...
    def abs(self, x: Value, /) -> Value: ...
    def sqrt(self, x: Value, /) -> Value: ...
    def floor(self, x: Value, /) -> Value: ...
    def round_even(self, x: Value, /) -> Value: ...
    def copysign(self, x: Value, y: Value, /) -> Value: ...
    def lt(self, x: Value, y: Value, /) -> Value: ...
    def le(self, x: Value, y: Value, /) -> Value: ...
    def gt(self, x: Value, y: Value, /) -> Value: ...
    def ge(self, x: Value, y: Value, /) -> Value: ...
    def eq(self, x: Value, y: Value, /) -> Value: ...
    def ne(self, x: Value, y: Value, /) -> Value: ...
    def and_(self, x: Value, y: Value, /) -> Value: ...
    def or_(self, x: Value, y: Value, /) -> Value: ...
    def xor(self, x: Value, y: Value, /) -> Value: ...
    def shl(self, x: Value, y: Value, /) -> Value: ...
    def shr_logical(self, x: Value, y: Value, /) -> Value: ...
    def rarely(self, mask: Value, otherwise: Value, compute: Callable[[Any], Value]) -> Value:
        """`compute(inner builder)` for all lanes where any lane of the mask holds, else `otherwise`."""
        ...


@dataclass(frozen=True)
class Format:
    """A float format and the constants that depend on it."""

    name: str
    bits: str
    """The integer type of the same width."""
    mantissa: int
    """Stored bits of the significand."""
    bias: int
    least_normal: float
    ln2: tuple[float, float]
    """ln 2 as high + low. `high` is short: its product with any exponent of the format is exact."""

    @property
    def shift(self) -> float:
        """The constant of Note [Rounding by a shift]."""
        return 1.5 * 2.0**self.mantissa

    @property
    def one(self) -> int:
        """The bits of 1.0: the bias in the place of the exponent."""
        return self.bias << self.mantissa

    @property
    def exponent_mask(self) -> int:
        """Sign and exponent, as a signed integer."""
        return -1 << self.mantissa

    @property
    def sign_place(self) -> int:
        """The place of the sign bit."""
        return int(self.bits[1:]) - 1

    @property
    def epsilon(self) -> float:
        """The distance from 1 to the next number."""
        return 2.0**-self.mantissa


FORMATS = {
    "f32": Format("f32", "i32", 23, 127, 2.0**-126, (H("0x1.62e4p-1"), H("0x1.7f7d1cp-20"))),
    "f64": Format("f64", "i64", 52, 1023, 2.0**-1022, (H("0x1.62e42fefa38p-1"), H("0x1.ef35793c76730p-45"))),
}


def format_of(b: VectorBuilder, x: Value) -> Format:
    """The format of a vector's elements."""
    return FORMATS[b.element(x)]


def widened(expand: Callable[..., Value], always: bool = False) -> Callable[..., Value]:
    """`expand` for f64; for f32 its value in f64, rounded once: half an ulp and a little.

    For f32 this is what levels without fma get, whose single steps round too often; with `always` the others, too.
    """

    def through_f64(b: VectorBuilder, *operands: Value) -> Value:
        if b.element(operands[0]) == "f64" or (b.has_fma and not always):
            return expand(b, *operands)
        return b.convert(expand(b, *(b.convert(x, dtype="f64") for x in operands)), dtype="f32")

    through_f64.__doc__ = expand.__doc__
    return through_f64


def by_format(f32: Callable[..., Value], f64: Callable[..., Value]) -> Callable[..., Value]:
    """One expansion of two: `f32` gets operands converted to f64 and gives f64, needing only the accuracy of f32."""

    def choose(b: VectorBuilder, *operands: Value) -> Value:
        if b.element(operands[0]) == "f64":
            return f64(b, *operands)
        return b.convert(f32(b, *(b.convert(x, dtype="f64") for x in operands)), dtype="f32")

    choose.__doc__ = f"f32, in f64: {f32.__doc__} f64: {f64.__doc__}"
    return choose


def mad(b: VectorBuilder, x: Value, y: Value, z: Value) -> Value:
    """x y + z: rounded once where the level has the instruction, twice elsewhere."""
    return b.fma(x, y, z) if b.has_fma else b.add(b.mul(x, y), z)


def nmad(b: VectorBuilder, x: Value, y: Value, z: Value) -> Value:
    """z - x y."""
    return b.fma(b.neg(x), y, z) if b.has_fma else b.sub(z, b.mul(x, y))


def horner(b: VectorBuilder, x: Value, coefficients: Sequence[float]) -> Value:
    """The polynomial with these coefficients, lowest power first."""
    total = b.const(coefficients[-1], like=x)
    for c in reversed(coefficients[:-1]):
        total = mad(b, total, x, b.const(c, like=x))
    return total


def at_most(b: VectorBuilder, x: Value, limit: float) -> Value:
    """The smaller of `x` and `limit`; NaN stays NaN. One instruction: its form is that of x86's `min`."""
    k = b.const(limit, like=x)
    return b.select(b.lt(k, x), k, x)


def at_least(b: VectorBuilder, x: Value, limit: float) -> Value:
    """The larger of `x` and `limit`; NaN stays NaN."""
    k = b.const(limit, like=x)
    return b.select(b.gt(k, x), k, x)


def round_scaled(b: VectorBuilder, x: Value, scale: float, offset: int = 0) -> Pair:
    """n = x scale rounded to an integer, as a float, and the integer n + offset in the low bits of an integer vector."""
    f = format_of(b, x)
    shifted = mad(b, x, b.const(scale, like=x), b.const(f.shift + offset, like=x))
    return b.sub(shifted, f.shift + offset), b.bitcast(shifted, dtype=f.bits)


def power_of_two(b: VectorBuilder, n: Value, f: Format) -> Value:
    """2^n from n + bias in the low bits of an integer vector; n from 1 - bias to bias."""
    return b.bitcast(b.shl(n, f.mantissa), dtype=f.name)


def power_of_two_in_halves(b: VectorBuilder, n: Value, f: Format) -> Pair:
    """Two powers of two whose product is 2^n, from n + 2 bias: any n that a result can need, subnormal or overflowing.

    The first has the exponent floor(n/2): its bits are (n + 2 bias) / 2, already biased. The second is what remains.
    """
    first = b.and_(b.shl(n, f.mantissa - 1), f.exponent_mask)
    second = b.sub(b.shl(n, f.mantissa), first)
    return b.bitcast(first, dtype=f.name), b.bitcast(second, dtype=f.name)


def fast_two_sum(b: VectorBuilder, x: Value, y: Value) -> Pair:
    """x + y exactly, where |x| >= |y| or x = 0. Dekker 1971."""
    s = b.add(x, y)
    return s, b.sub(y, b.sub(s, x))


def two_sum(b: VectorBuilder, x: Value, y: Value) -> Pair:
    """x + y exactly. Knuth, TAOCP 2, 4.2.2, theorem B."""
    s = b.add(x, y)
    part = b.sub(s, x)
    return s, b.add(b.sub(x, b.sub(s, part)), b.sub(y, part))


def two_product(b: VectorBuilder, x: Value, y: Value) -> Pair:
    """x y exactly, but for underflow: by fma, or by products of halves (Dekker 1971)."""
    p = b.mul(x, y)
    if b.has_fma:
        return p, b.fma(x, y, b.neg(p))
    (xh, xl), (yh, yl) = _halves(b, x), _halves(b, y)
    error = b.add(b.sub(b.mul(xh, yh), p), b.mul(xh, yl))
    return p, b.add(b.add(error, b.mul(xl, yh)), b.mul(xl, yl))


def _halves(b: VectorBuilder, x: Value) -> Pair:
    """x as high + low of at most half the bits each (low has a sign): products of halves are exact."""
    f = format_of(b, x)
    dropped = (f.mantissa + 2) // 2
    rounded = b.add(b.bitcast(x, dtype=f.bits), 1 << (dropped - 1))
    high = b.bitcast(b.and_(rounded, -1 << dropped), dtype=f.name)
    return high, b.sub(x, high)


# Note [Rounding by a shift]
#
# Added to 1.5 2^m (m the stored bits of the significand), any |x| < 2^(m-1) becomes a number whose unit in the last place
# is 1: the sum is x rounded to an integer, and the integer stands in its low bits. Subtracting the constant again is
# exact. One multiply-add and one subtraction replace a product, a rounding and a conversion, and no level needs a
# conversion between f64 and i64, which only AVX-512 has. An offset in the constant adds a bias to the integer for free.
# Without fma the product rounds first; at worst the neighbouring integer is chosen when x is halfway between two, which
# the intervals of the fits allow for.
