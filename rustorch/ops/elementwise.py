"""Elementwise ops on numbers: arithmetic and rounding.

Operands have one type; broadcasting and promotion happen at the door, as explicit `broadcast_to` and `convert`. Integers
wrap around. `expand` stands where an op is a composition: nothing below the tensor level knows it.
"""

from __future__ import annotations

import numpy as np

from rustorch.ir.builder import Builder
from rustorch.ir.dtypes import NUMBERS, f64, i32, i64
from rustorch.ir.graph import Value
from rustorch.ir.op import (
    Expanded,
    Internal,
    Linear,
    Multilinear,
    Partials,
    Public,
    SameName,
    Zero,
)
from rustorch.ir.types import element
from rustorch.ops.family import Array, Domain, elementwise

POSITIVE = Domain(0.25, 4.0)
NONZERO = Domain(-3.0, 3.0, away=(0.0,))
BETWEEN_WHOLE = Domain(-3.0, 3.0, away=(0.0,), fraction=True)
FEW = (0.0, -0.0, 1.0, -1.0, 2.5, -2.5, float("inf"), float("-inf"), float("nan"))


def unary(*names: str, operator: str = "", promote: str = "float") -> Public:
    """A function and method of one argument."""
    return Public(names, ("input",), operator=operator, promote=promote)


def binary(*names: str, operator: str = "", promote: str = "arithmetic") -> Public:
    """A function and method of two arguments."""
    return Public(names, ("input", "other"), operator=operator, promote=promote)


def zero(b: Builder, x: Value) -> Value:
    """Zero of the type of `x`."""
    return b.const(0, x)


def one(b: Builder, x: Value) -> Value:
    """One of the type of `x`."""
    return b.const(1, x)


# --- Arithmetic -------------------------------------------------------------------------------------------------------

add = elementwise(
    "add",
    "x + y.",
    operands=2,
    dtypes=NUMBERS,
    reference=np.add,
    derivative=Linear((lambda b, ct, x, y: ct, lambda b, ct, x, y: ct)),
    public=binary("add", operator="add"),
    commutative=True,
)

sub = elementwise(
    "sub",
    "x - y.",
    operands=2,
    dtypes=NUMBERS,
    reference=np.subtract,
    derivative=Linear((lambda b, ct, x, y: ct, lambda b, ct, x, y: b.neg(ct))),
    public=binary("sub", "subtract", operator="sub"),
)

mul = elementwise(
    "mul",
    "x * y.",
    operands=2,
    dtypes=NUMBERS,
    reference=np.multiply,
    derivative=Multilinear((lambda b, ct, x, y: b.mul(ct, y), lambda b, ct, x, y: b.mul(ct, x))),
    public=binary("mul", "multiply", operator="mul"),
    commutative=True,
)


def _divide(x: Array, y: Array) -> Array:
    if x.dtype.kind == "f":
        return np.asarray(np.divide(x, y))
    quotient = np.floor_divide(x, y)  # 0 where y is 0
    rest = x - quotient * y
    return np.where((y != 0) & (rest != 0) & ((x < 0) != (y < 0)), quotient + 1, quotient).astype(x.dtype)


div = elementwise(
    "div",
    "x / y. Integers truncate toward zero; the quotient by 0 is then 0, and that of the smallest number by -1 itself.",
    operands=2,
    dtypes=NUMBERS,
    reference=_divide,
    derivative=Partials(lambda b, y, u, v: [b.div(1, v), b.neg(b.div(y, v))]),  # d(u/v)/dv = -(u/v)/v
    public=binary("div", "divide", "true_divide", operator="truediv", promote="float"),
    cost=4,
    domain=(Domain(), NONZERO),
)

neg = elementwise(
    "neg",
    "-x.",
    operands=1,
    dtypes=NUMBERS,
    reference=np.negative,
    derivative=Linear((lambda b, ct, x: b.neg(ct),)),
    public=unary("neg", "negative", operator="neg", promote="none"),
)

abs_ = elementwise(
    "abs",
    "|x|. The smallest integer stays itself.",
    operands=1,
    dtypes=NUMBERS,
    reference=np.abs,
    derivative=Partials(lambda b, y, x: [b.sign(x)]),
    public=unary("abs", "absolute", operator="abs", promote="none"),
    domain=NONZERO,
    kinks="0 at 0.",
)

sign = elementwise(
    "sign",
    "-1, 0 or 1 with the sign of x; NaN of NaN.",
    operands=1,
    dtypes=NUMBERS,
    reference=np.sign,
    derivative=Zero("the sign is constant between the signs' borders"),
    public=unary("sign", "sgn", promote="none"),
    expand=lambda b, x: b.select(b.gt(x, 0), one(b, x), b.select(b.lt(x, 0), b.const(-1, x), b.add(x, 0))),  # -0.0 + 0.0 is 0.0
    domain=NONZERO,
    kinks="0 everywhere.",
)


def _larger_partials(b: Builder, y: Value, u: Value, v: Value) -> list[Value]:
    tie = b.eq(u, v)
    half = b.const(0.5, u)
    return [b.select(b.lt(p, q), zero(b, u), b.select(tie, half, one(b, u))) for p, q in ((u, v), (v, u))]


def _smaller_partials(b: Builder, y: Value, u: Value, v: Value) -> list[Value]:
    tie = b.eq(u, v)
    half = b.const(0.5, u)
    return [b.select(b.gt(p, q), zero(b, u), b.select(tie, half, one(b, u))) for p, q in ((u, v), (v, u))]


minimum = elementwise(
    "minimum",
    "The smaller of x and y; NaN where either is NaN.",
    operands=2,
    dtypes=NUMBERS,
    reference=np.minimum,
    derivative=Partials(_smaller_partials),
    public=binary("minimum"),
    commutative=True,
    kinks="Half to each where x = y.",
)

maximum = elementwise(
    "maximum",
    "The larger of x and y; NaN where either is NaN.",
    operands=2,
    dtypes=NUMBERS,
    reference=np.maximum,
    derivative=Partials(_larger_partials),
    public=binary("maximum"),
    commutative=True,
    kinks="Half to each where x = y.",
)

fma = elementwise(
    "fma",
    "x * y + z, rounded once where the target has the instruction, twice elsewhere.",
    operands=3,
    reference=lambda x, y, z: x * y + z,
    derivative=Partials(lambda b, r, x, y, z: [y, x, one(b, z)]),
    public=Internal("a named rule makes it of mul and add"),
    special=(0.0, -0.0, 1.0, float("inf"), float("-inf"), float("nan")),
)

copysign = elementwise(
    "copysign",
    "|x| with the sign of y.",
    operands=2,
    reference=np.copysign,
    derivative=Partials(lambda b, r, x, y: [b.mul(b.sign(x), b.sign(r)), None]),
    public=binary("copysign", promote="float"),
    domain=(NONZERO, NONZERO),
    kinks="0 at x = 0.",
)


def _two_product(b: Builder, x: Value, y: Value) -> tuple[Value, Value]:
    """x*y as an unevaluated sum of two floats (Dekker 1971); the halves are cut by masking bits, which no fma spoils."""
    dtype = element(x.type)
    bits, mask = (i64, -(1 << 27)) if dtype is f64 else (i32, -(1 << 12))
    (xh, xl), (yh, yl) = ((h, b.sub(v, h)) for v in (x, y) for h in [b.bitcast(b.and_(b.bitcast(v, dtype=bits), mask), dtype=dtype)])
    p = b.mul(x, y)
    e = b.add(b.add(b.sub(b.mul(xh, yh), p), b.add(b.mul(xh, yl), b.mul(xl, yh))), b.mul(xl, yl))
    return p, e


def _floor_and_rest(b: Builder, x: Value, y: Value) -> tuple[Value, Value]:
    """Quotient rounded down, and rest with the sign of y; the rest is exact while |x / y| < 2^24 (f32) or 2^52 (f64)."""
    if element(x.type).kind == "int":
        q = b.div(x, y)
        r = b.sub(x, b.mul(q, y))
        by_zero = b.eq(y, 0)
        down = b.and_(b.not_(by_zero), b.and_(b.ne(r, 0), b.ne(b.lt(r, 0), b.lt(y, 0))))
        q, r = b.select(down, b.sub(q, 1), q), b.select(down, b.add(r, y), r)
        return q, b.select(by_zero, zero(b, r), r)
    ratio = b.div(x, y)
    q = b.floor(ratio)
    p, e = _two_product(b, q, y)
    nothing = b.sub(x, x)  # 0, and NaN where x is infinite or NaN
    r = b.select(b.eq(b.abs(y), float("inf")), b.add(x, nothing), b.sub(b.sub(x, p), e))
    down = b.and_(b.ne(r, 0), b.ne(b.lt(r, 0), b.lt(y, 0)))  # the ratio was rounded up to a whole number, or y is infinite
    q = b.select(down, b.sub(q, 1), q)
    return b.select(b.eq(y, 0), ratio, b.add(q, nothing)), b.select(down, b.add(r, y), r)


floor_div = elementwise(
    "floor_div",
    "x / y rounded down. For integers the quotient by 0 is 0.",
    operands=2,
    dtypes=NUMBERS,
    reference=np.floor_divide,
    derivative=Zero("the quotient is constant between jumps"),
    public=binary("floor_divide", operator="floordiv"),
    expand=lambda b, x, y: _floor_and_rest(b, x, y)[0],
    cost=8,
    domain=(Domain(), NONZERO),
    special=FEW,
    kinks="0 everywhere.",
)

remainder = elementwise(
    "remainder",
    "x - y * floor(x / y), with the sign of y. Exact while |x / y| < 2^24 (f32), 2^52 (f64). For integers the rest by 0 is 0.",
    operands=2,
    dtypes=NUMBERS,
    reference=np.remainder,
    derivative=Partials(lambda b, r, x, y: [one(b, x), b.neg(b.floor_div(x, y))]),
    public=binary("remainder", operator="mod"),
    expand=lambda b, x, y: _floor_and_rest(b, x, y)[1],
    cost=8,
    domain=(Domain(), NONZERO),
    special=FEW,
    kinks="As beside the jump.",
)


def _power(x: Array, y: Array) -> Array:
    if x.dtype.kind == "f":
        return np.asarray(np.power(x, y))
    below = np.where(x == 1, 1, np.where(x == -1, 1 - 2 * (y & 1), 0)).astype(x.dtype)
    return np.where(y < 0, below, np.power(x, np.maximum(y, 0))).astype(x.dtype)


def _power_partials(b: Builder, p: Value, x: Value, y: Value) -> list[Value]:
    constant_in_x = b.and_(b.eq(y, 0), b.not_(b.gt(b.abs(x), 0)))  # x^0; elsewhere y x^(y-1) is 0 by itself
    constant_in_y = b.and_(b.eq(x, 0), b.ge(y, 0))  # 0^y
    by_x = b.select(constant_in_x, zero(b, x), b.mul(y, b.pow(x, b.sub(y, 1))))
    by_y = b.select(constant_in_y, zero(b, y), b.mul(p, b.log(x)))
    return [by_x, by_y]


def _integer_power(b: Builder, x: Value, y: Value) -> Value | None:
    """Repeated squaring, one step per bit of the exponent; None for floats, which have code of their own."""
    if element(x.type).is_floating_point:
        return None
    node = b.producer(y)
    exponent = node.attrs["value"] if node is not None and node.op.name == "const" else None
    power, square = one(b, x), x
    if isinstance(exponent, int) and exponent >= 0:
        while exponent:
            power = b.mul(power, square) if exponent & 1 else power
            square, exponent = b.mul(square, square), exponent >> 1
        return power
    for bit in range(element(x.type).bits - 1):
        power = b.select(b.eq(b.and_(y, 1 << bit), 0), power, b.mul(power, square))
        square = b.mul(square, square)
    odd = b.ne(b.and_(y, 1), 0)
    of_minus_one = b.select(odd, b.const(-1, x), one(b, x))
    below = b.select(b.eq(x, 1), one(b, x), b.select(b.eq(x, -1), of_minus_one, zero(b, x)))
    answer: Value = b.select(b.lt(y, 0), below, power)
    return answer


pow_ = elementwise(
    "pow",
    "x ** y. Integers wrap around; to a negative exponent they give 1 / x**-y truncated, and 0 for x = 0.",
    operands=2,
    dtypes=NUMBERS,
    reference=_power,
    derivative=Partials(_power_partials),
    public=Public(("pow",), ("input", "exponent"), operator="pow"),
    expand=_integer_power,
    lower=SameName(),
    cost=20,
    domain=(POSITIVE, Domain(-2.0, 3.0)),
    kinks="x**0 has gradient 0 for every x; x**1 at 0 has 1; 0**y has gradient 0 in y for y >= 0.",
)

# --- Compositions ---------------------------------------------------------------------------------------------------------

square = elementwise(
    "square",
    "x * x.",
    operands=1,
    dtypes=NUMBERS,
    reference=np.square,
    derivative=Expanded(),
    public=unary("square", promote="none"),
    expand=lambda b, x: b.mul(x, x),
)

reciprocal = elementwise(
    "reciprocal",
    "1 / x.",
    operands=1,
    reference=lambda x: np.divide(x.dtype.type(1), x),
    derivative=Expanded(),
    public=unary("reciprocal"),
    expand=lambda b, x: b.div(1, x),
    cost=4,
    domain=NONZERO,
)

relu = elementwise(
    "relu",
    "The larger of x and 0; NaN of NaN.",
    operands=1,
    dtypes=NUMBERS,
    reference=lambda x: np.maximum(x, x.dtype.type(0)),
    derivative=Partials(lambda b, y, x: [b.select(b.gt(x, 0), one(b, x), zero(b, x))]),
    public=unary("relu", promote="none"),
    expand=lambda b, x: b.maximum(x, 0),
    domain=NONZERO,
    kinks="0 at 0.",
)

# --- Rounding ---------------------------------------------------------------------------------------------------------

_STEP = Zero("the result is constant between jumps")

floor = elementwise(
    "floor",
    "The largest whole number not above x.",
    operands=1,
    reference=np.floor,
    derivative=_STEP,
    public=unary("floor", promote="none"),
    domain=BETWEEN_WHOLE,
    kinks="0 everywhere.",
)

ceil = elementwise(
    "ceil",
    "The smallest whole number not below x.",
    operands=1,
    reference=np.ceil,
    derivative=_STEP,
    public=unary("ceil", promote="none"),
    domain=BETWEEN_WHOLE,
    kinks="0 everywhere.",
)

round_even = elementwise(
    "round_even",
    "The nearest whole number; halves go to the even one.",
    operands=1,
    reference=np.rint,
    derivative=_STEP,
    public=unary("round", promote="none"),
    domain=Domain(-0.45, 0.45),
    special=(*FEW, 0.5, 1.5, -0.5, -1.5, 8388609.0),
    kinks="0 everywhere.",
)
