"""Elementwise ops: trigonometric and hyperbolic functions and their inverses.

Each has native code of its own, right to 1 ulp in f32 and 2 in f64, for huge arguments, too.
"""

from __future__ import annotations

import numpy as np

from rustorch.ir.builder import Builder
from rustorch.ir.graph import Value
from rustorch.ir.op import Partials
from rustorch.ops.elementwise import NONZERO, binary, one, unary
from rustorch.ops.family import Domain, elementwise

INSIDE = Domain(-0.9, 0.9)


def _one_less_square(b: Builder, x: Value) -> Value:
    """1 - x², which cancels only where x itself lacks digits."""
    found: Value = b.mul(b.sub(one(b, x), x), b.add(x, 1))
    return found


# --- Angles -----------------------------------------------------------------------------------------------------------

sin = elementwise(
    "sin",
    "Sine of x radians.",
    operands=1,
    reference=np.sin,
    derivative=Partials(lambda b, y, x: [b.cos(x)]),
    public=unary("sin"),
    cost=10,
)

cos = elementwise(
    "cos",
    "Cosine of x radians.",
    operands=1,
    reference=np.cos,
    derivative=Partials(lambda b, y, x: [b.neg(b.sin(x))]),
    public=unary("cos"),
    cost=10,
)

tan = elementwise(
    "tan",
    "Tangent of x radians.",
    operands=1,
    reference=np.tan,
    derivative=Partials(lambda b, y, x: [b.add(b.mul(y, y), 1)]),
    public=unary("tan"),
    cost=14,
    domain=Domain(-1.2, 1.2),
)

asin = elementwise(
    "asin",
    "The angle in [-π/2, π/2] whose sine is x; NaN outside of [-1, 1].",
    operands=1,
    reference=np.arcsin,
    derivative=Partials(lambda b, y, x: [b.rsqrt(_one_less_square(b, x))]),
    public=unary("asin", "arcsin"),
    cost=14,
    domain=INSIDE,
    kinks="inf at -1 and 1.",
)

acos = elementwise(
    "acos",
    "The angle in [0, π] whose cosine is x; NaN outside of [-1, 1].",
    operands=1,
    reference=np.arccos,
    derivative=Partials(lambda b, y, x: [b.neg(b.rsqrt(_one_less_square(b, x)))]),
    public=unary("acos", "arccos"),
    cost=14,
    domain=INSIDE,
    kinks="-inf at -1 and 1.",
)

atan = elementwise(
    "atan",
    "The angle in [-π/2, π/2] whose tangent is x.",
    operands=1,
    reference=np.arctan,
    derivative=Partials(lambda b, y, x: [b.div(1, b.add(b.mul(x, x), 1))]),
    public=unary("atan", "arctan"),
    cost=14,
)


def _angle_partials(b: Builder, angle: Value, y: Value, x: Value) -> list[Value]:
    """x / (x² + y²) and -y / (x² + y²), so that no square overflows."""
    size = b.maximum(b.abs(x), b.abs(y))
    u, v = b.div(x, size), b.div(y, size)
    scaled = b.mul(size, b.add(b.mul(u, u), b.mul(v, v)))
    return [b.div(u, scaled), b.neg(b.div(v, scaled))]


atan2 = elementwise(
    "atan2",
    "The angle in [-π, π] of the point (other, input); at the origin the signs of the zeros decide.",
    operands=2,
    reference=np.arctan2,
    derivative=Partials(_angle_partials),
    public=binary("atan2", "arctan2", promote="float"),
    cost=18,
    domain=(NONZERO, NONZERO),
    kinks="NaN at the origin.",
)

# --- Hyperbolic functions ---------------------------------------------------------------------------------------------

sinh = elementwise(
    "sinh",
    "Hyperbolic sine.",
    operands=1,
    reference=np.sinh,
    derivative=Partials(lambda b, y, x: [b.cosh(x)]),
    public=unary("sinh"),
    cost=14,
)

cosh = elementwise(
    "cosh",
    "Hyperbolic cosine.",
    operands=1,
    reference=np.cosh,
    derivative=Partials(lambda b, y, x: [b.sinh(x)]),
    public=unary("cosh"),
    cost=14,
)

tanh = elementwise(
    "tanh",
    "Hyperbolic tangent.",
    operands=1,
    reference=np.tanh,
    derivative=Partials(lambda b, y, x: [b.sub(1, b.mul(y, y))]),
    public=unary("tanh"),
    cost=10,
)

asinh = elementwise(
    "asinh",
    "The number whose hyperbolic sine is x.",
    operands=1,
    reference=np.arcsinh,
    derivative=Partials(lambda b, y, x: [b.rsqrt(b.add(b.mul(x, x), 1))]),
    public=unary("asinh", "arcsinh"),
    cost=24,
)

acosh = elementwise(
    "acosh",
    "The number >= 0 whose hyperbolic cosine is x; NaN below 1.",
    operands=1,
    reference=np.arccosh,
    derivative=Partials(lambda b, y, x: [b.mul(b.rsqrt(b.sub(x, 1)), b.rsqrt(b.add(x, 1)))]),
    public=unary("acosh", "arccosh"),
    cost=24,
    domain=Domain(1.25, 4.0),
    kinks="inf at 1.",
)

atanh = elementwise(
    "atanh",
    "The number whose hyperbolic tangent is x; NaN outside of [-1, 1].",
    operands=1,
    reference=np.arctanh,
    derivative=Partials(lambda b, y, x: [b.div(1, _one_less_square(b, x))]),
    public=unary("atanh", "arctanh"),
    cost=24,
    domain=INSIDE,
    kinks="inf at -1 and 1.",
)
