"""Special functions, defined by the other ops."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from rustorch.ir.builder import Builder
from rustorch.ir.graph import Value
from rustorch.ir.op import Partials
from rustorch.ir.types import element
from rustorch.ops.elementwise import binary, unary
from rustorch.ops.family import elementwise


def polynomial(b: Builder, x: Value, coefficients: Sequence[float]) -> Value:
    """c0 + c1 x + c2 x² + …, by Horner's rule."""
    total = b.const(coefficients[-1], x)
    for c in coefficients[-2::-1]:
        total = b.add(b.mul(total, x), c)
    return total


_SINGLE_NEAR = (0.128379166, -0.376125336, 0.112819925, -2.67681349e-2, 4.99119423e-3, -5.96761703e-4)
_SINGLE_FAR = (-0.128717512, -0.634846687, -0.106777877, 2.42546219e-2, -3.88396438e-3, 3.83197126e-4, -1.72853470e-5)
"""Minimax: erf x = x + x P(x²) below 0.9277, 1 - e^(-t + t P(t)) from there on, t = |x|."""

_NEAR = (
    (1.28379167095512558561e-01, -3.25042107247001499370e-01, -2.84817495755985104766e-02, -5.77027029648944159157e-03,
     -2.37630166566501626084e-05),
    (1.0, 3.97917223959155352819e-01, 6.50222499887672944485e-02, 5.08130628187576562776e-03, 1.32494738004321644526e-04,
     -3.96022827877536812320e-06),
)  # fmt: skip
_MIDDLE = (
    (-2.36211856075265944077e-03, 4.14856118683748331666e-01, -3.72207876035701323847e-01, 3.18346619901161753674e-01,
     -1.10894694282396677476e-01, 3.54783043256182359371e-02, -2.16637559486879084300e-03),
    (1.0, 1.06420880400844228286e-01, 5.40397917702171048937e-01, 7.18286544141962662868e-02, 1.26171219808761642112e-01,
     1.36370839120290507362e-02, 1.19844998467991074170e-02),
)  # fmt: skip
_FAR = (
    (-9.86494403484714822705e-03, -6.93858572707181764372e-01, -1.05586262253232909814e+01, -6.23753324503260060396e+01,
     -1.62396669462573470355e+02, -1.84605092906711035994e+02, -8.12874355063065934246e+01, -9.81432934416914548592e+00),
    (1.0, 1.96512716674392571292e+01, 1.37657754143519042600e+02, 4.34565877475229228821e+02, 6.45387271733267880336e+02,
     4.29008140027567833386e+02, 1.08635005541779435134e+02, 6.57024977031928170135e+00, -6.04244152148580987438e-02),
)  # fmt: skip
_MIDDLE_VALUE = 8.45062911510467529297e-01
"""Rational approximations of Sun's fdlibm, s_erf.c, 1993: erf x = x + x R(x²) below 0.84375; that value + R(|x| - 1) below 1.25;
1 - e^(-x² - 0.5625 + R(1/x²)) / |x| from there on. The last is good to 1/0.35; beyond, what is subtracted is below 6e-5."""


def _quotient(b: Builder, x: Value, parts: tuple[tuple[float, ...], tuple[float, ...]]) -> Value:
    found: Value = b.div(polynomial(b, x, parts[0]), polynomial(b, x, parts[1]))
    return found


def _erf(b: Builder, x: Value) -> Value:
    size, square = b.abs(x), b.mul(x, x)
    if element(x.type).short == "f32":
        near = b.add(b.mul(polynomial(b, square, _SINGLE_NEAR), x), x)
        power = b.sub(b.mul(polynomial(b, size, _SINGLE_FAR), size), size)
        far = b.copysign(b.sub(1.0, b.exp(power)), x)
        return b.select(b.lt(size, 0.927734375), near, far)  # type: ignore[no-any-return]
    near = b.add(b.mul(_quotient(b, square, _NEAR), x), x)
    middle = b.add(_quotient(b, b.sub(size, 1.0), _MIDDLE), _MIDDLE_VALUE)
    large = b.minimum(b.maximum(size, 1.0), 6.0)  # erf 6 is 1; what is below 1 is not looked at
    over = b.mul(large, large)
    power = b.exp(b.add(b.sub(-0.5625, over), _quotient(b, b.div(1.0, over), _FAR)))
    far = b.sub(1.0, b.div(power, large))
    found = b.copysign(b.select(b.lt(size, 1.25), middle, far), x)
    return b.select(b.lt(size, 0.84375), near, found)  # type: ignore[no-any-return]


erf = elementwise(
    "erf",
    "2 / sqrt(pi) times the integral of e^(-t²) from 0 to x.",
    operands=1,
    reference=lambda x: np.vectorize(math.erf, otypes=[float])(x).astype(x.dtype),
    derivative=Partials(lambda b, y, x: [b.mul(b.exp(b.neg(b.mul(x, x))), 2 / math.sqrt(math.pi))]),
    public=unary("erf"),
    expand=_erf,
    cost=40,
)

logaddexp = elementwise(
    "logaddexp",
    "log(e**x + e**y), without overflow.",
    operands=2,
    reference=np.logaddexp,
    derivative=Partials(lambda b, r, x, y: [b.sigmoid(b.sub(x, y)), b.sigmoid(b.sub(y, x))]),
    public=binary("logaddexp", promote="float"),
    expand=lambda b, x, y: b.select(
        b.eq(x, y), b.add(x, math.log(2)), b.add(b.maximum(x, y), b.log1p(b.exp(b.neg(b.abs(b.sub(x, y))))))
    ),
    commutative=True,
    cost=22,
)
