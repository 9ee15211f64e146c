"""Special functions: the error function and its kin, the gamma function's logarithm and derivatives, logaddexp."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from rustorch.errors import ArgumentError, DTypeError, compose
from rustorch.ir.builder import Builder
from rustorch.ir.dtypes import FLOATS, f32, f64, i64
from rustorch.ir.graph import Value
from rustorch.ir.op import Internal, Partials, Refusal, Sample
from rustorch.ir.types import DType, Type, element
from rustorch.ops.elementwise import POSITIVE, binary, unary
from rustorch.ops.family import Array, Domain, elementwise, not_taken

_HALF_ROOT_PI = math.sqrt(math.pi) / 2


def _each(f: Callable[[float], float]) -> Callable[[Array], Array]:
    """A function of numpy arrays, of f64 whatever their type, by calling `f` element by element."""

    def reference(x: Array) -> Array:
        return np.asarray(np.vectorize(f, otypes=[float])(x).astype(x.dtype))

    return reference


# --- Error function ---------------------------------------------------------------------------------------------------

erf = elementwise(
    "erf",
    "2 / sqrt(pi) times the integral of e^(-t²) from 0 to x.",
    operands=1,
    reference=_each(math.erf),
    derivative=Partials(lambda b, y, x: [b.mul(b.exp(b.neg(b.mul(x, x))), 1 / _HALF_ROOT_PI)]),
    public=unary("erf"),
    cost=20,
)

erfc = elementwise(
    "erfc",
    "1 - erf x, accurate where that is small.",
    operands=1,
    reference=_each(math.erfc),
    derivative=Partials(lambda b, y, x: [b.mul(b.exp(b.neg(b.mul(x, x))), -1 / _HALF_ROOT_PI)]),
    public=unary("erfc"),
    cost=40,
)


def _erfinv(x: float) -> float:
    """Winitzki's formula, then Halley's method on erf, or on erfc where that is the better conditioned."""
    a = abs(x)
    if not a < 1:
        return math.copysign(math.inf, x) if a == 1 else math.nan
    log = math.log1p(-a * a)
    half = 2 / (math.pi * 0.147) + log / 2
    y = math.sqrt(math.sqrt(half * half - log / 0.147) - half)
    for _ in range(4):
        error = math.erf(y) - a if a < 0.5 else (1 - a) - math.erfc(y)
        step = error * _HALF_ROOT_PI * math.exp(y * y)
        y -= step / (1 + y * step)
    return math.copysign(y, x)


erfinv = elementwise(
    "erfinv",
    "The number whose error function is x; NaN outside of [-1, 1].",
    operands=1,
    reference=_each(_erfinv),
    derivative=Partials(lambda b, y, x: [b.mul(b.exp(b.mul(y, y)), _HALF_ROOT_PI)]),
    public=unary("erfinv"),
    cost=60,
    domain=Domain(-0.9, 0.9),
    kinks="inf at -1 and 1.",
)

# --- Gamma function ---------------------------------------------------------------------------------------------------


def _lgamma(x: float) -> float:
    if x == -math.inf or (x <= 0 and x == math.floor(x)):
        return math.inf
    try:
        return math.lgamma(x)
    except OverflowError:
        return math.inf


lgamma = elementwise(
    "lgamma",
    "log |Γ(x)|; inf at 0 and the negative whole numbers. Near its zeros below 0 the error is absolute, about 1e-16 times |x|.",
    operands=1,
    reference=_each(_lgamma),
    derivative=Partials(lambda b, y, x: [b.digamma(x)]),
    public=unary("lgamma"),
    cost=80,
    domain=Domain(0.25, 6.0, away=(1.0, 2.0)),
)


def _digamma(x: float) -> float:
    if x == 0:
        return math.copysign(math.inf, -x)
    if x == -math.inf or (x < 0 and x == math.floor(x)):
        return math.nan
    if x < 0:
        return _digamma(1 - x) - math.pi / math.tan(math.pi * (x - round(x)))
    total = 0.0
    while x < 12:
        total -= 1 / x
        x += 1
    if x == math.inf:
        return x
    return total + math.log(x) - 1 / (2 * x) - sum(b / (2 * k) * (1 / x) ** (2 * k) for k, b in enumerate(_BERNOULLI, 1))


digamma = elementwise(
    "digamma",
    "Γ'(x) / Γ(x), the derivative of lgamma; NaN at the negative whole numbers. Near its zeros below 0 the error is absolute.",
    operands=1,
    reference=_each(_digamma),
    derivative=Partials(lambda b, y, x: [b.polygamma(x, order=1)]),
    public=unary("digamma"),
    cost=80,
    domain=Domain(0.25, 6.0, away=(1.46,)),
)

_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510)
"""B2, B4, …, B16."""
_SHIFT = 12
"""From here on the Euler-Maclaurin sum is right to an ulp or two."""


def _zeta(b: Builder, s: int, x: Value) -> Value:
    """Hurwitz's zeta, the sum of (x + k)^-s over k >= 0, for x > 0: the first terms and the Euler-Maclaurin formula for the rest."""
    far = b.add(x, _SHIFT)
    inverse = b.div(1, far)
    square = b.mul(inverse, inverse)
    rising, rest = float(s), b.const(0.0, x)
    terms = []
    for k, bernoulli in enumerate(_BERNOULLI, 1):
        terms.append(bernoulli * rising / math.factorial(2 * k))
        rising *= (s + 2 * k - 1) * (s + 2 * k)
    for term in reversed(terms):
        rest = b.add(b.mul(rest, square), term)
    power = _power(b, inverse, s)
    tail = b.mul(power, b.add(b.add(b.div(far, s - 1), 0.5), b.mul(rest, inverse)))
    for k in reversed(range(_SHIFT)):
        tail = b.add(tail, _power(b, b.div(1, b.add(x, k)), s))
    found: Value = tail
    return found


def _power(b: Builder, x: Value, n: int) -> Value:
    """x^n by repeated squaring."""
    found, square = b.const(1, x), x
    while n:
        found = b.mul(found, square) if n & 1 else found
        square, n = b.mul(square, square), n >> 1
    return found


def _cotangent_derivative(order: int) -> list[int]:
    """The polynomial in c = cot t, lowest power first, that is the derivative of cot of that order: c' = -(1 + c²)."""
    found = [0, 1]
    for _ in range(order):
        slope = [k * a for k, a in enumerate(found)][1:]
        found = [-(a + d) for a, d in zip([*slope, 0, 0], [0, 0, *slope], strict=True)]
    return found


def _polygamma(b: Builder, x: Value, *, order: int) -> Value:
    """(-1)^(n + 1) n! ζ(n + 1, x); below ½ by ψₙ(1 - x) (-1)^n - ψₙ(x) = π dⁿ/dxⁿ cot πx."""
    scale = math.factorial(order) * (-1) ** (order + 1)
    if order == 0:
        return b.digamma(x)  # type: ignore[no-any-return]
    left = b.lt(x, 0.5)
    value = b.mul(_zeta(b, order + 1, b.select(left, b.sub(1, x), x)), float(scale))
    turn = b.mul(b.sub(x, b.round_even(x)), math.pi)
    cotangent = b.div(1, b.tan(turn))
    slope = b.const(0.0, x)
    for a in reversed(_cotangent_derivative(order)):
        slope = b.add(b.mul(slope, cotangent), float(a))
    reflected = b.sub(b.mul(value, float((-1) ** order)), b.mul(slope, math.pi ** (order + 1)))
    pole = b.eq(x, b.floor(x))
    at_pole = b.const(math.inf if order % 2 else math.nan, x)
    return b.select(left, b.select(b.and_(pole, b.le(x, 0)), at_pole, reflected), value)  # type: ignore[no-any-return]


def _polygamma_reference(x: Array, *, order: int) -> Array:
    def zeta(s: int, x: float) -> float:
        far = x + 20
        total: float = math.fsum((x + k) ** -s for k in range(20)) + far ** (1 - s) / (s - 1) + far**-s / 2
        rising = float(s)
        for k, bernoulli in enumerate(_BERNOULLI, 1):
            total += bernoulli * rising / math.factorial(2 * k) * far ** (1 - s - 2 * k)
            rising *= (s + 2 * k - 1) * (s + 2 * k)
        return total

    def value(x: float) -> float:
        if order == 0:
            return _digamma(x)
        if math.isnan(x) or (x <= 0 and x == math.floor(x)) or x == -math.inf:
            return math.inf if order % 2 and x <= 0 and x != -math.inf else math.nan
        scale = math.factorial(order) * (-1.0) ** (order + 1)
        if x >= 0.5:
            return scale * zeta(order + 1, x) if x < math.inf else math.copysign(0.0, scale)
        cotangent = 1 / math.tan(math.pi * (x - round(x)))
        slope = math.fsum(a * cotangent**k for k, a in enumerate(_cotangent_derivative(order)))
        return scale * zeta(order + 1, 1 - x) * (-1.0) ** order - slope * math.pi ** (order + 1)

    return _each(value)(x)


def _polygamma_type(x: Type, *, order: int) -> Type:
    if not isinstance(order, int) or not 0 <= order <= 30:
        raise ArgumentError(compose("polygamma(n, x) does not support negative n", f"`n` is a whole number from 0 to 30; found {order!r}"))
    if element(x) not in FLOATS:
        raise DTypeError(not_taken("polygamma", x, FLOATS))
    return x


def _sample(order: int, dtype: DType, shape: tuple[int, ...], domain: Domain = POSITIVE) -> Sample:
    label = f"{dtype}{list(shape)} from {domain.low}, order {order}"
    return Sample(lambda rng: (domain.draw(rng, dtype, shape),), {"order": order}, dtype is f64, label)


polygamma = elementwise(
    "polygamma",
    "The derivative of digamma of a given order, which is 0 to 30.",
    operands=1,
    infer=_polygamma_type,
    reference=_polygamma_reference,
    derivative=Partials(lambda b, y, x, order: [b.polygamma(x, order=order + 1)]),
    public=Internal("special.polygamma takes the order first"),
    expand=_polygamma,
    attributes=("order",),
    cost=120,
    samples=(
        _sample(1, f64, (3, 5)),
        _sample(3, f64, (37,)),
        _sample(2, f64, ()),
        _sample(5, f64, (0,)),
        _sample(1, f32, (67,)),
        _sample(2, f32, (1,)),
        _sample(1, f64, (37,), Domain(-3.0, 0.4, fraction=True)),
        _sample(2, f64, (37,), Domain(-3.0, 0.4, fraction=True)),
    ),
    errors=(
        Refusal((f64[3],), {"order": -1}, ArgumentError, "does not support negative n"),
        Refusal((i64[3],), {"order": 1}, DTypeError, "does not take element type"),
    ),
)

# --- Sums of exponentials ---------------------------------------------------------------------------------------------

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
