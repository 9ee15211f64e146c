"""Elementwise ops: exponentials, logarithms, roots. Each has native code of its own, right to 1 ulp in f32 and 2 in f64."""

from __future__ import annotations

import math

import numpy as np

from rustorch.ir.op import Internal, Partials
from rustorch.ops.elementwise import NONZERO, POSITIVE, unary
from rustorch.ops.family import Array, Domain, elementwise

exp = elementwise(
    "exp",
    "e ** x.",
    operands=1,
    reference=np.exp,
    derivative=Partials(lambda b, y, x: [y]),
    public=unary("exp"),
    cost=10,
)

exp2 = elementwise(
    "exp2",
    "2 ** x.",
    operands=1,
    reference=np.exp2,
    derivative=Partials(lambda b, y, x: [b.mul(y, math.log(2))]),
    public=unary("exp2"),
    cost=10,
)

expm1 = elementwise(
    "expm1",
    "e ** x - 1, accurate near 0.",
    operands=1,
    reference=np.expm1,
    derivative=Partials(lambda b, y, x: [b.exp(x)]),  # y + 1 would lose its digits where y is near -1
    public=unary("expm1"),
    cost=10,
)

log = elementwise(
    "log",
    "Natural logarithm; -inf of 0, NaN below.",
    operands=1,
    reference=np.log,
    derivative=Partials(lambda b, y, x: [b.div(1, x)]),
    public=unary("log"),
    cost=10,
    domain=POSITIVE,
)

log2 = elementwise(
    "log2",
    "Logarithm to the base 2; -inf of 0, NaN below.",
    operands=1,
    reference=np.log2,
    derivative=Partials(lambda b, y, x: [b.div(1 / math.log(2), x)]),
    public=unary("log2"),
    cost=14,
    domain=POSITIVE,
)

log10 = elementwise(
    "log10",
    "Logarithm to the base 10; -inf of 0, NaN below.",
    operands=1,
    reference=np.log10,
    derivative=Partials(lambda b, y, x: [b.div(1 / math.log(10), x)]),
    public=unary("log10"),
    cost=14,
    domain=POSITIVE,
)

log1p = elementwise(
    "log1p",
    "log(1 + x), accurate near 0.",
    operands=1,
    reference=np.log1p,
    derivative=Partials(lambda b, y, x: [b.div(1, b.add(x, 1))]),
    public=unary("log1p"),
    cost=10,
    domain=Domain(-0.75, 3.0),
)

sqrt = elementwise(
    "sqrt",
    "Square root; NaN below 0.",
    operands=1,
    reference=np.sqrt,
    derivative=Partials(lambda b, y, x: [b.div(0.5, y)]),
    public=unary("sqrt"),
    cost=4,
    domain=POSITIVE,
    kinks="inf at 0.",
)

rsqrt = elementwise(
    "rsqrt",
    "1 / sqrt(x).",
    operands=1,
    reference=lambda x: np.divide(x.dtype.type(1), np.sqrt(x)),
    derivative=Partials(lambda b, y, x: [b.mul(-0.5, b.mul(y, b.mul(y, y)))]),  # -1/2 x^(-3/2)
    public=unary("rsqrt"),
    cost=8,
    domain=POSITIVE,
    kinks="-inf at 0.",
)

cbrt = elementwise(
    "cbrt",
    "Cube root, of negative numbers, too.",
    operands=1,
    reference=np.cbrt,
    derivative=Partials(lambda b, y, x: [b.div(1 / 3, b.mul(y, y))]),
    public=unary("cbrt"),
    cost=16,
    domain=NONZERO,
    kinks="inf at 0.",
)

def _sigmoid(x: Array) -> Array:
    small = np.exp(-abs(x))
    return np.asarray(np.where(x < 0, small, 1) / (1 + small)).astype(x.dtype)


sigmoid = elementwise(
    "sigmoid",
    "1 / (1 + e**-x).",
    operands=1,
    reference=_sigmoid,
    derivative=Partials(lambda b, y, x: [b.mul(y, b.sub(1, y))]),
    public=unary("sigmoid"),
    cost=10,
)

softplus = elementwise(
    "softplus",
    "log(1 + e**x), without overflow.",
    operands=1,
    reference=lambda x: np.logaddexp(x.dtype.type(0), x),
    derivative=Partials(lambda b, y, x: [b.sigmoid(x)]),
    public=Internal("functional.softplus adds `beta` and `threshold`"),
    cost=20,
)
