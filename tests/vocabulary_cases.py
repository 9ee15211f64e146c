"""The vocabulary as a table: each function called as users call it, with what numpy or SciPy says of the same numbers.

`call` gets a namespace (`rustorch`, or `torch` in the differential test) and tensors, so that one line serves both.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.special as sp

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Case:
    """A call. `expected` is numpy's answer (None where only PyTorch has one); `smooth` says that gradients are checked against
    difference quotients."""

    name: str
    call: Callable[..., Any]
    arrays: tuple[Array, ...]
    expected: Callable[..., Any] | None
    smooth: bool
    elementwise: bool
    """Whether any shape will do: then 0-d, empty and size-1 tensors are tried, too."""
    exact: bool
    """Whether the numbers may not differ by a rounding."""

    def __str__(self) -> str:
        return self.name


CASES: list[Case] = []


def case(
    name: str,
    call: Callable[..., Any],
    *arrays: Any,
    to: Callable[..., Any] | None,
    smooth: bool = True,
    elementwise: bool = False,
    exact: bool = False,
) -> None:
    """Add a case."""
    CASES.append(Case(name, call, tuple(np.asarray(a) for a in arrays), to, smooth, elementwise, exact))


def elementwise(name: str, call: Callable[..., Any], *arrays: Any, to: Callable[..., Any], smooth: bool = True) -> None:
    """Add a case that takes any shape."""
    case(name, call, *arrays, to=to, smooth=smooth, elementwise=True)


RNG = np.random.default_rng(4)


def real(*shape: int) -> Array:
    """Numbers between -2 and 2."""
    return RNG.uniform(-2, 2, shape)


def positive(*shape: int) -> Array:
    """Numbers between 1/4 and 2."""
    return RNG.uniform(0.25, 2, shape)


def chance(*shape: int) -> Array:
    """Numbers between 0.05 and 0.95."""
    return RNG.uniform(0.05, 0.95, shape)


def whole(bound: int, *shape: int) -> Array:
    """Whole numbers from 0 to before a bound."""
    return RNG.integers(0, bound, shape)


def truth(*shape: int) -> Array:
    """Bools."""
    return RNG.random(shape) < 0.5


X, Y, Z = real(3, 4), real(3, 4), real(3, 4)
P, Q = positive(3, 4), positive(3, 4)
C = chance(3, 4)
N, M = whole(9, 3, 4) - 4, whole(4, 3, 4) + 1
B, D = truth(3, 4), truth(3, 4)
T3 = real(2, 3, 4)
NAN = np.array([1.5, np.nan, np.inf, -np.inf, -0.0])
V, W = real(4), real(4)

# --- Elementwise ------------------------------------------------------------------------------------------------------

elementwise("positive", lambda t, x: t.positive(x), X, to=lambda x: x)
elementwise("trunc", lambda t, x: t.trunc(x), X, to=np.trunc)
elementwise("fix", lambda t, x: x.fix(), X, to=np.trunc)
elementwise("trunc of integers", lambda t, x: t.trunc(x), N, to=np.trunc, smooth=False)
elementwise("floor of integers", lambda t, x: x.floor(), N, to=np.floor, smooth=False)
elementwise("frac", lambda t, x: t.frac(x), X, to=lambda x: x - np.trunc(x))
elementwise("round", lambda t, x: t.round(x), X, to=np.round)
elementwise("round decimals", lambda t, x: x.round(decimals=2), X, to=lambda x: np.round(x, 2))
elementwise("round tens", lambda t, x: t.round(x * 100, decimals=-1), X, to=lambda x: np.round(x * 100, -1))
elementwise("signbit", lambda t, x: t.signbit(x), NAN, to=np.signbit, smooth=False)
elementwise("signbit of integers", lambda t, x: x.signbit(), N, to=lambda x: x < 0, smooth=False)
elementwise("frexp", lambda t, x: tuple(t.frexp(x)), np.array([0.0, 1.0, -3.7, 1e-320, 1e300, 0.5, np.inf]), to=np.frexp, smooth=False)
elementwise("frexp, differentiated", lambda t, x: t.frexp(x)[0], X, to=lambda x: np.frexp(x)[0])
elementwise("ldexp", lambda t, x, n: t.ldexp(x, n), X, N, to=np.ldexp)
elementwise("nextafter", lambda t, x, y: t.nextafter(x, y), np.array([0.0, 1.0, -1.0, 2.0, -0.0, 3.0]),
            np.array([1.0, 0.0, -2.0, 2.0, -1.0, np.nan]), to=np.nextafter, smooth=False)  # fmt: skip
elementwise("nan_to_num", lambda t, x: t.nan_to_num(x), NAN, to=np.nan_to_num, smooth=False)
elementwise("nan_to_num values", lambda t, x: x.nan_to_num(1.0, posinf=2.0, neginf=3.0), NAN,
            to=lambda x: np.nan_to_num(x, nan=1.0, posinf=2.0, neginf=3.0), smooth=False)  # fmt: skip
for _name, _numpy in (
    ("isnan", np.isnan), ("isinf", np.isinf), ("isfinite", np.isfinite), ("isposinf", np.isposinf), ("isneginf", np.isneginf),
    ("isreal", np.isreal),
):  # fmt: skip
    elementwise(_name, lambda t, x, n=_name: getattr(t, n)(x), NAN, to=_numpy, smooth=False)
    elementwise(f"{_name} of integers", lambda t, x, n=_name: getattr(x, n)(), N, to=_numpy, smooth=False)
elementwise("isclose", lambda t, x, y: t.isclose(x, y, 0.1, 0.2), X, Y, to=lambda x, y: np.isclose(x, y, 0.1, 0.2), smooth=False)
elementwise("isclose equal_nan", lambda t, x: t.isclose(x, x, equal_nan=True), NAN, to=lambda x: np.isclose(x, x, equal_nan=True),
            smooth=False)  # fmt: skip
elementwise("isclose of integers", lambda t, x, y: x.isclose(y, atol=1.5), N, M, to=lambda x, y: np.isclose(x, y, 1e-5, 1.5), smooth=False)
elementwise("isin", lambda t, x: t.isin(x, t.tensor([1, 2, 3])), N, to=lambda x: np.isin(x, [1, 2, 3]), smooth=False)
elementwise("isin inverted", lambda t, x: t.isin(x, 2, invert=True), N, to=lambda x: ~np.isin(x, 2), smooth=False)
elementwise("fmod", lambda t, x, y: t.fmod(x, y), X * 5, Y, to=np.fmod)
elementwise("fmod of integers", lambda t, x, y: x.fmod(y), N, M, to=np.fmod, smooth=False)
elementwise("fmod number", lambda t, x: x.fmod(1.5), X * 5, to=lambda x: np.fmod(x, 1.5))
elementwise("fmax", lambda t, x, y: t.fmax(x, y), X, Y, to=np.fmax)
elementwise("fmax NaN", lambda t, x, y: x.fmax(y), NAN, NAN[::-1].copy(), to=np.fmax, smooth=False)
elementwise("fmin", lambda t, x, y: t.fmin(x, y), X, Y, to=np.fmin)
elementwise("heaviside", lambda t, x, y: t.heaviside(x, y), np.where(np.abs(X) < 1, 0, X), Y, to=np.heaviside, smooth=False)
elementwise("float_power", lambda t, x: t.float_power(x, 2), N, to=lambda x: x.astype(float) ** 2, smooth=False)
elementwise("hypot", lambda t, x, y: t.hypot(x, y), X, Y, to=np.hypot)
elementwise("hypot of large numbers", lambda t, x, y: x.hypot(y), X * 1e300, Y * 1e300, to=np.hypot, smooth=False)
elementwise("hypot of infinities", lambda t, x, y: x.hypot(y), NAN, np.array([np.nan, np.inf, np.nan, 1.0, 0.0]), to=np.hypot, smooth=False)
elementwise("lerp", lambda t, x, y: t.lerp(x, y, 0.3), X, Y, to=lambda x, y: x + 0.3 * (y - x))
elementwise("lerp tensor", lambda t, x, y, w: x.lerp(y, w), X, Y, C, to=lambda x, y, w: x + w * (y - x))
elementwise("addcmul", lambda t, x, y, z: t.addcmul(x, y, z, value=0.5), X, Y, Z, to=lambda x, y, z: x + 0.5 * y * z)
elementwise("addcmul of integers", lambda t, x, y: t.addcmul(x, y, y, value=2), N, M, to=lambda x, y: x + 2 * y * y, smooth=False)
elementwise("addcdiv", lambda t, x, y, z: x.addcdiv(y, z), X, Y, P, to=lambda x, y, z: x + y / z)
elementwise("deg2rad", lambda t, x: t.deg2rad(x), X, to=np.deg2rad)
elementwise("deg2rad of integers", lambda t, x: t.deg2rad(x), N, to=lambda x: np.deg2rad(x.astype(np.float32)), smooth=False)
elementwise("rad2deg", lambda t, x: x.rad2deg(), X, to=np.rad2deg)
elementwise("xlogy", lambda t, x, y: t.xlogy(x, y), X, P, to=sp.xlogy)
elementwise("xlogy at 0", lambda t, x, y: t.xlogy(x, y), np.array([0.0, 0.0, 0.0, 1.0, 0.0]), np.array([0.0, -1.0, np.nan, 0.0, np.inf]),
            to=lambda x, y: np.array([0.0, 0.0, np.nan, -np.inf, 0.0]), smooth=False)  # fmt: skip
elementwise("xlogy number", lambda t, x: t.xlogy(2, x), P, to=lambda x: sp.xlogy(2, x))
elementwise("logit", lambda t, x: t.logit(x), C, to=sp.logit)
elementwise("logit eps", lambda t, x: x.logit(0.2), C, to=lambda x: sp.logit(np.clip(x, 0.2, 0.8)))
elementwise("sinc", lambda t, x: t.sinc(x), X, to=np.sinc)
elementwise("sinc near 0", lambda t, x: x.sinc(), np.array([0.0, 1e-3, -0.02, 0.03, 0.04]), to=np.sinc)
elementwise("special.entr", lambda t, x: t.special.entr(x), P, to=sp.entr)
elementwise("special.entr at the edge", lambda t, x: t.special.entr(x), NAN, to=sp.entr, smooth=False)
elementwise("special.xlog1py", lambda t, x, y: t.special.xlog1py(x, y), X, C, to=sp.xlog1py)
elementwise("special.expit", lambda t, x: t.special.expit(x), X, to=sp.expit)
elementwise("special.logit", lambda t, x: t.special.logit(x), C, to=sp.logit)
elementwise("special.expm1", lambda t, x: t.special.expm1(x), X, to=np.expm1)
elementwise("special.log1p", lambda t, x: t.special.log1p(x), P, to=np.log1p)
elementwise("special.erf", lambda t, x: t.special.erf(x), X, to=sp.erf)
elementwise("special.sinc", lambda t, x: t.special.sinc(x), X, to=np.sinc)
elementwise("special.round", lambda t, x: t.special.round(x, decimals=1), X, to=lambda x: np.round(x, 1))
elementwise("special.xlogy", lambda t, x, y: t.special.xlogy(x, y), X, P, to=sp.xlogy)
case("special.logsumexp", lambda t, x: t.special.logsumexp(x, 1), X, to=lambda x: sp.logsumexp(x, 1))
case("special.softmax", lambda t, x: t.special.softmax(x, 0), X, to=lambda x: sp.softmax(x, 0))
case("special.log_softmax", lambda t, x: t.special.log_softmax(x, 0), X, to=lambda x: sp.log_softmax(x, 0))
elementwise("special.ndtr", lambda t, x: t.special.ndtr(3 * x), X, to=lambda x: sp.ndtr(3 * x))
elementwise("special.ndtri", lambda t, x: t.special.ndtri(x), C, to=sp.ndtri)
elementwise("special.gammaln", lambda t, x: t.special.gammaln(x), P, to=sp.gammaln)
elementwise("special.digamma", lambda t, x: t.special.psi(x), P, to=sp.digamma)
elementwise("special.multigammaln", lambda t, x: t.special.multigammaln(x + 2, 3), P, to=lambda x: np.vectorize(sp.multigammaln)(x + 2, 3))
elementwise("polygamma", lambda t, x: (t.polygamma(1, x), x.polygamma(2)), P, to=lambda x: (sp.polygamma(1, x), sp.polygamma(2, x)))
elementwise("special.erfc", lambda t, x: t.special.erfc(x), X, to=sp.erfc)
elementwise("special.erfinv", lambda t, x: t.special.erfinv(x), C, to=sp.erfinv)
elementwise("special.exp2", lambda t, x: t.special.exp2(x), X, to=np.exp2)
elementwise("logaddexp2", lambda t, x, y: t.logaddexp2(x, y), X, Y, to=np.logaddexp2)
for _name, _numpy in (
    ("log2", np.log2), ("log10", np.log10), ("tan", np.tan), ("sinh", np.sinh), ("cosh", np.cosh), ("atan", np.arctan), ("asinh",
      np.arcsinh),
):  # fmt: skip
    elementwise(_name, lambda t, x, n=_name: getattr(t, n)(x), P / 2, to=_numpy)
for _name, _numpy in (("asin", np.arcsin), ("acos", np.arccos), ("atanh", np.arctanh), ("exp", np.exp), ("sin", np.sin), ("rsqrt",
  lambda x: x**-0.5)):  # fmt: skip
    elementwise(_name, lambda t, x, n=_name: getattr(x, n)(), C, to=_numpy)
elementwise("atan2", lambda t, x, y: t.atan2(x, y), X, Y, to=np.arctan2)
elementwise("logaddexp", lambda t, x, y: t.logaddexp(x, y), X, Y, to=np.logaddexp)
elementwise("clamp", lambda t, x: t.clamp(x, -0.5, 0.7), X, to=lambda x: np.clip(x, -0.5, 0.7))
elementwise("clamp tensors", lambda t, x, y, z: x.clamp(y, z), X, -P, Q, to=lambda x, y, z: np.minimum(np.maximum(x, y), z))
elementwise("clamp of integers", lambda t, x: x.clamp(max=1.5), N, to=lambda x: np.minimum(x, np.float32(1.5)), smooth=False)
elementwise("clamp_min", lambda t, x: t.clamp_min(x, 0.5), X, to=lambda x: np.maximum(x, 0.5))
elementwise("clamp_max", lambda t, x: x.clamp_max(0.5), X, to=lambda x: np.minimum(x, 0.5))
elementwise("clip", lambda t, x: t.clip(x, min=-1), X, to=lambda x: np.maximum(x, -1))
elementwise("add alpha", lambda t, x, y: t.add(x, y, alpha=3), X, Y, to=lambda x, y: x + 3 * y)
elementwise("sub alpha", lambda t, x, y: x.sub(y, alpha=3), X, Y, to=lambda x, y: x - 3 * y)
elementwise("rsub", lambda t, x, y: t.rsub(x, y, alpha=2), X, Y, to=lambda x, y: y - 2 * x)
elementwise("div floor", lambda t, x, y: t.div(x, y, rounding_mode="floor"), X * 3, P, to=np.floor_divide)
elementwise("div trunc", lambda t, x, y: x.div(y, rounding_mode="trunc"), X * 3, P, to=lambda x, y: np.trunc(x / y))
elementwise("div trunc of integers", lambda t, x, y: x.div(y, rounding_mode="trunc"), N, M, to=lambda x, y: np.trunc(x / y).astype(int),
            smooth=False)  # fmt: skip
elementwise("where", lambda t, c, x, y: t.where(c, x, y), B, X, Y, to=np.where)
elementwise("where numbers", lambda t, c, x: t.where(c, x, 2), B, X, to=lambda c, x: np.where(c, x, 2))

# --- Reductions -------------------------------------------------------------------------------------------------------

for _name, _numpy in (("sum", np.sum), ("prod", np.prod), ("mean", np.mean), ("amax", np.max), ("amin", np.min)):
    case(_name, lambda t, x, n=_name: getattr(t, n)(x), X, to=lambda x, f=_numpy: f(x))
    case(f"{_name} dim", lambda t, x, n=_name: getattr(x, n)(-1), X, to=lambda x, f=_numpy: f(x, -1))
    case(f"{_name} keepdim", lambda t, x, n=_name: getattr(x, n)(0, keepdim=True), X, to=lambda x, f=_numpy: f(x, 0, keepdims=True))
for _name, _numpy in (("sum", np.sum), ("mean", np.mean), ("amax", np.max)):
    case(f"{_name} dims", lambda t, x, n=_name: getattr(t, n)(x, (0, -1)), T3, to=lambda x, f=_numpy: f(x, (0, 2)))
case("sum dtype", lambda t, x: t.sum(x, dtype=t.float32), X.astype(int), to=lambda x: np.float32(x.sum()), smooth=False)
case("sum of bools", lambda t, x: x.sum(1), B, to=lambda x: x.sum(1), smooth=False)
case("max dim", lambda t, x: tuple(t.max(x, 1)), X, to=lambda x: (x.max(1), x.argmax(1)))
case("min dim", lambda t, x: tuple(x.min(-2, keepdim=True)), X, to=lambda x: (x.min(0, keepdims=True), x.argmin(0)[None]))
case("max of two", lambda t, x, y: t.max(x, y), X, Y, to=np.maximum)
case("all", lambda t, x: (t.all(x), x.all(1), x.all((0, 1))), B, to=lambda x: (x.all(), x.all(1), x.all()), smooth=False)
case("any", lambda t, x: (t.any(x), x.any(1, keepdim=True)), B, to=lambda x: (x.any(), x.any(1, keepdims=True)), smooth=False)
case("argmax", lambda t, x: (t.argmax(x), x.argmax(1), x.argmax(0, True)), X, to=lambda x: (x.argmax(), x.argmax(1), x.argmax(0)[None]),
     smooth=False)  # fmt: skip
case("var", lambda t, x: (t.var(x), x.var(1), t.var(x, 0, False), t.var(x, (0, 1), correction=2, keepdim=True)), X,
     to=lambda x: (x.var(ddof=1), x.var(1, ddof=1), x.var(0), x.var((0, 1), ddof=2, keepdims=True)))  # fmt: skip
case("var unbiased", lambda t, x: (x.var(False), t.std(x, False)), X, to=lambda x: (x.var(), x.std()))
case("std", lambda t, x: (t.std(x), x.std(1)), X, to=lambda x: (x.std(ddof=1), x.std(1, ddof=1)))
case("var_mean", lambda t, x: t.var_mean(x, 1), X, to=lambda x: (x.var(1, ddof=1), x.mean(1)))
case("std_mean", lambda t, x: t.std_mean(x, dim=0, correction=0), X, to=lambda x: (x.std(0), x.mean(0)))
case("std of equal elements", lambda t, x: x.std(0), np.ones(3), to=lambda x: np.array(0.0), smooth=False)
case("var of one", lambda t, x: x.var(0), np.ones(1), to=lambda x: np.array(np.nan), smooth=False)
case("cov", lambda t, x: t.cov(x), X, to=np.cov)
case("cov correction", lambda t, x: x.cov(correction=0), X, to=lambda x: np.cov(x, ddof=0))
case("cov weights", lambda t, x, f, a: t.cov(x, fweights=f, aweights=a), X, whole(3, 4) + 1, positive(4),
     to=lambda x, f, a: np.cov(x, fweights=f, aweights=a), smooth=False)  # fmt: skip
case("cov of a vector", lambda t, x: t.cov(x), V, to=np.cov)
case("corrcoef", lambda t, x: t.corrcoef(x), X, to=np.corrcoef)
for _p in (0, 0.5, 1, 2, 3, math.inf, -math.inf):
    case(f"norm {_p}", lambda t, x, p=_p: t.norm(x, p, 1), X, to=lambda x, p=_p: np.linalg.norm(x, p, 1) if p != 0.5 else
         (np.abs(x) ** 0.5).sum(1) ** 2)  # fmt: skip
case("norm", lambda t, x: (t.norm(x), x.norm(dim=(0, 1), keepdim=True)), X,
     to=lambda x: (np.linalg.norm(x), np.full((1, 1), np.linalg.norm(x))))  # fmt: skip
case("dist", lambda t, x, y: t.dist(x, y, 3), X, Y, to=lambda x, y: np.linalg.norm((x - y).ravel(), 3))
case("renorm", lambda t, x: t.renorm(x, 2, 0, 1.5), X,
     to=lambda x: x * np.minimum(1, 1.5 / (np.linalg.norm(x, axis=1) + 1e-7))[:, None])  # fmt: skip
case("logsumexp", lambda t, x: (t.logsumexp(x, 1), x.logsumexp((0, 1), True)), X,
     to=lambda x: (sp.logsumexp(x, 1), sp.logsumexp(x).reshape(1, 1)))  # fmt: skip
case("logsumexp of nothing", lambda t, x: t.logsumexp(x, 0), np.zeros((0, 3)), to=lambda x: np.full(3, -np.inf), smooth=False)
case("nansum", lambda t, x: (t.nansum(x), x.nansum(0)), np.where(B, np.nan, X), to=lambda x: (np.nansum(x), np.nansum(x, 0)), smooth=False)
case("nanmean", lambda t, x: (t.nanmean(x), x.nanmean(1, keepdim=True)), np.where(X > 1, np.nan, X),
     to=lambda x: (np.nanmean(x), np.nanmean(x, 1, keepdims=True)), smooth=False)  # fmt: skip
case("count_nonzero", lambda t, x: (t.count_nonzero(x), x.count_nonzero(1), t.count_nonzero(x, dim=(0, 1))), N,
     to=lambda x: (np.count_nonzero(x), np.count_nonzero(x, 1), np.count_nonzero(x)), smooth=False)  # fmt: skip
case("aminmax", lambda t, x: (*t.aminmax(x), *x.aminmax(dim=1, keepdim=True)), X,
     to=lambda x: (x.min(), x.max(), x.min(1, keepdims=True), x.max(1, keepdims=True)))  # fmt: skip
case("diff", lambda t, x: (t.diff(x), x.diff(2, 0), t.diff(x, 0)), X, to=lambda x: (np.diff(x), np.diff(x, 2, 0), x))
case("diff ends", lambda t, x, y: t.diff(x, dim=1, prepend=y, append=y), X, real(3, 1),
     to=lambda x, y: np.diff(x, axis=1, prepend=y, append=y))  # fmt: skip
case("diff of bools", lambda t, x: t.diff(x), B, to=np.diff, smooth=False)
case("trapezoid", lambda t, y: (t.trapezoid(y), t.trapezoid(y, dx=0.5, dim=0)), X,
     to=lambda y: (np.trapezoid(y), np.trapezoid(y, dx=0.5, axis=0)))  # fmt: skip
case("trapezoid places", lambda t, y, x: (t.trapezoid(y, x), t.trapz(y, y)), X, V, to=lambda y, x: (np.trapezoid(y, x), np.trapezoid(y, y)))
case("cumulative_trapezoid", lambda t, y: t.cumulative_trapezoid(y, dim=1), X, to=lambda y: np.cumsum((y[:, 1:] + y[:, :-1]) / 2, 1))
case("cumsum", lambda t, x: (t.cumsum(x, 1), x.cumsum(-2)), X, to=lambda x: (x.cumsum(1), x.cumsum(0)))
case("cumsum of bools", lambda t, x: x.cumsum(1), B, to=lambda x: x.cumsum(1), smooth=False)
case("bincount", lambda t, x: (t.bincount(x), x.bincount(minlength=9)), whole(5, 12),
     to=lambda x: (np.bincount(x), np.bincount(x, minlength=9)),
     smooth=False)
case("bincount weights", lambda t, x, w: t.bincount(x, w), whole(5, 12), real(12), to=np.bincount, smooth=False)
case("histc", lambda t, x: (t.histc(x, 5, -1, 1), x.histc(4)), real(30),
     to=lambda x: (np.histogram(x, 5, (-1, 1))[0].astype(float), np.histogram(x, 4)[0].astype(float)), smooth=False)  # fmt: skip
case("histogram", lambda t, x: tuple(t.histogram(x, 4, range=(-2.0, 2.0), density=True)), real(30),
     to=lambda x: np.histogram(x, 4, (-2, 2), density=True), smooth=False)  # fmt: skip
case("gradient", lambda t, x: t.gradient(x), X, to=lambda x: tuple(np.gradient(x)))
case("gradient places", lambda t, x, p: (*t.gradient(x, spacing=(p,), dim=1, edge_order=2), *t.gradient(x, spacing=0.5, dim=0)), X,
     np.array([0.0, 1.0, 1.5, 3.0]), to=lambda x, p: (np.gradient(x, p, axis=1, edge_order=2), np.gradient(x, 0.5, axis=0)),
     smooth=False)  # fmt: skip

# --- Arrangement ------------------------------------------------------------------------------------------------------

case("movedim", lambda t, x: (t.movedim(x, 0, -1), x.moveaxis((0, 1), (1, 2))), T3,
     to=lambda x: (np.moveaxis(x, 0, -1), np.moveaxis(x, (0, 1), (1, 2))))  # fmt: skip
case("swapdims", lambda t, x: (t.swapdims(x, 0, 2), x.swapaxes(0, 1), t.adjoint(x)), T3,
     to=lambda x: (x.swapaxes(0, 2), x.swapaxes(0, 1), x.swapaxes(1, 2)))  # fmt: skip
case("ravel", lambda t, x: (t.ravel(x), x[0, 0].ravel()), X, to=lambda x: (x.ravel(), x[0, :1]))
case("repeat", lambda t, x: (x.repeat(2, 1), x.repeat(2, 1, 3)), X, to=lambda x: (np.tile(x, (2, 1)), np.tile(x, (2, 1, 3))))
case("tile", lambda t, x: (t.tile(x, (2,)), x.tile(2, 2, 1)), X, to=lambda x: (np.tile(x, 2), np.tile(x, (2, 2, 1))))
case("repeat_interleave", lambda t, x: (t.repeat_interleave(x, 2), x.repeat_interleave(3, 1)), X,
     to=lambda x: (np.repeat(x, 2), np.repeat(x, 3, 1)))  # fmt: skip
case("repeat_interleave counts", lambda t, x: t.repeat_interleave(x, t.tensor([2, 0, 1]), 0), X, to=lambda x: np.repeat(x, [2, 0, 1], 0))
case("hstack", lambda t, x, y: (t.hstack((x, y)), t.hstack((x[0], y[1]))), X, Y,
     to=lambda x, y: (np.hstack((x, y)), np.hstack((x[0], y[1]))))  # fmt: skip
case("vstack", lambda t, x, y: (t.vstack((x, y)), t.row_stack((x[0], y))), X, Y, to=lambda x, y: (np.vstack((x, y)), np.vstack((x[0], y))))
case("dstack", lambda t, x, y: (t.dstack((x, y)), t.dstack((x[0], y[0]))), X, Y,
     to=lambda x, y: (np.dstack((x, y)), np.dstack((x[0], y[0]))))  # fmt: skip
case("column_stack", lambda t, x, v: t.column_stack((x, v)), X, V[:3], to=lambda x, v: np.column_stack((x, v)))
case("atleast", lambda t, v: (t.atleast_1d(v[0]), t.atleast_2d(v), t.atleast_3d(v), *t.atleast_2d(v, v[1])), V,
     to=lambda v: (v[:1], v[None], v[None, :, None], v[None], v[1:2, None]))  # fmt: skip
case("cat of types", lambda t, x, n: t.cat((x, n), -1), X, N, to=lambda x, n: np.concatenate((x, n), -1))
case("cat of nothing", lambda t, x: t.cat((t.tensor([]), x)), X, to=lambda x: x)
case("stack", lambda t, x, y: (t.stack((x, y)), t.stack((x, y), -1)), X, Y, to=lambda x, y: (np.stack((x, y)), np.stack((x, y), -1)))
case("block_diag", lambda t, x, v: t.block_diag(x, v, x[0, 0]), X, V,
     to=lambda x, v: np.block([[x, np.zeros((3, 5))], [np.zeros((1, 4)), v[None], np.zeros((1, 1))], [np.zeros((1, 8)), x[:1, :1]]]))
case("cartesian_prod", lambda t, v, w: t.cartesian_prod(v, w), V, W[:2], to=lambda v, w: np.array([(a, b) for a in v for b in w]))
case("combinations", lambda t, v: (t.combinations(v), t.combinations(v, 2, True)), V[:3],
     to=lambda v: (v[[[0, 1], [0, 2], [1, 2]]], v[[[0, 0], [0, 1], [0, 2], [1, 1], [1, 2], [2, 2]]]))  # fmt: skip
case("meshgrid", lambda t, v, w: (*t.meshgrid(v, w, indexing="ij"), *t.meshgrid([v, w], indexing="xy")), V, W[:3],
     to=lambda v, w: (*np.meshgrid(v, w, indexing="ij"), *np.meshgrid(v, w)))  # fmt: skip
case("tensor_split", lambda t, x: (*t.tensor_split(x, 3, 1), *x.tensor_split((1, 3), 1)), X,
     to=lambda x: (*np.array_split(x, 3, 1), *np.array_split(x, (1, 3), 1)))  # fmt: skip
case("hsplit", lambda t, x: (*t.hsplit(x, 2), *x.vsplit([1]), *x[0].hsplit(2)), X,
     to=lambda x: (*np.hsplit(x, 2), *np.vsplit(x, [1]), *np.hsplit(x[0], 2)))  # fmt: skip
case("dsplit", lambda t, x: t.dsplit(x, 2), T3, to=lambda x: tuple(np.dsplit(x, 2)))
case("split", lambda t, x: (*t.split(x, 3, 1), *x.split([1, 2], 0), *x.chunk(2), *x.unbind(1)), X,
     to=lambda x: (x[:, :3], x[:, 3:], x[:1], x[1:], x[:2], x[2:], *x.T))  # fmt: skip
case("split_with_sizes", lambda t, x: t.split_with_sizes(x, [1, 3], 1), X, to=lambda x: (x[:, :1], x[:, 1:]))
case("roll", lambda t, x: (t.roll(x, 1), x.roll((1, -2), (0, 1)), t.roll(x, 5, -1)), X,
     to=lambda x: (np.roll(x, 1), np.roll(x, (1, -2), (0, 1)), np.roll(x, 5, -1)))  # fmt: skip
case("rot90", lambda t, x: tuple(t.rot90(x, k, (0, 2)) for k in (1, 2, 3, -1, 4)), T3,
     to=lambda x: tuple(np.rot90(x, k, (0, 2)) for k in (1, 2, 3, -1, 4)))  # fmt: skip
case("flip", lambda t, x: (t.flip(x, (0, -1)), x.flip(0), t.fliplr(x), x.flipud()), X,
     to=lambda x: (np.flip(x), np.flip(x, 0), np.fliplr(x), np.flipud(x)))  # fmt: skip
case("as_strided", lambda t, x: t.as_strided(x, (2, 2), (1, 2), 1), X, to=lambda x: x.ravel()[[[1, 3], [2, 4]]])
case("as_strided_scatter", lambda t, x, y: t.as_strided_scatter(x, y, (2, 2), (4, 1), 1), X, Y[:2, :2],
     to=lambda x, y: np.concatenate([x[:, :1], np.concatenate([y, x[2:, 1:3]]), x[:, 3:]], 1))  # fmt: skip
case("unfold", lambda t, x: (x.unfold(1, 2, 1), x.unfold(0, 3, 2)), X,
     to=lambda x: (np.lib.stride_tricks.sliding_window_view(x, 2, 1), np.lib.stride_tricks.sliding_window_view(x, 3, 0)))  # fmt: skip
case("unfold, computed", lambda t, x: (x * 2).unfold(0, 2, 2), V, to=lambda x: (2 * x).reshape(2, 2))
for _k in (-4, -1, 0, 2, 9):
    case(f"diagonal {_k}", lambda t, x, k=_k: (t.diagonal(x, k), (x + 0).diagonal(k), t.diag(x, k)), X,
         to=lambda x, k=_k: (np.diagonal(x, k),) * 3)  # fmt: skip
case("diagonal dims", lambda t, x: (t.diagonal(x, 1, 0, 2), t.diagonal(x, -1, -1, 1)), T3,
     to=lambda x: (np.diagonal(x, 1, 0, 2), np.diagonal(x, -1, 2, 1)))  # fmt: skip
for _k in (-2, 0, 1):
    case(f"diag_embed {_k}", lambda t, x, k=_k: (t.diag_embed(x, k), t.diag_embed(x, k, 0, 2), t.diag(x[0], k), t.diagflat(x, k)), X[:2,
         :2],
         to=lambda x, k=_k: (np.stack([np.diag(r, k) for r in x]), np.stack([np.diag(r, k) for r in x], 1), np.diag(x[0], k),
           np.diagflat(x, k)))
    case(f"tril, triu {_k}", lambda t, x, k=_k: (t.tril(x, k), x.triu(k)), T3, to=lambda x, k=_k: (np.tril(x, k), np.triu(x, k)))
case("diagonal_scatter", lambda t, x, v: (t.diagonal_scatter(x, v), t.diagonal_scatter(x, v, 1)), X, V[:3],
     to=lambda x, v: tuple(np.where(np.eye(3, 4, k, dtype=bool), v[:, None], x) for k in (0, 1)))  # fmt: skip
case("trace", lambda t, x: t.trace(x), X, to=np.trace)
case("trace of integers", lambda t, x: x.trace(), N, to=np.trace, smooth=False)
case("vander", lambda t, v: (t.vander(v), t.vander(v, 3, True)), V, to=lambda v: (np.vander(v), np.vander(v, 3, True)))
case("sum_to_size", lambda t, x: (x.sum_to_size(3, 1), x.sum_to_size(4)), X, to=lambda x: (x.sum(1, keepdims=True), x.sum(0)))
case("unravel_index", lambda t, i: t.unravel_index(i, (3, 4)), whole(12, 5), to=lambda i: np.unravel_index(i, (3, 4)), smooth=False)
case("expand", lambda t, v: (v.expand(3, 4), t.broadcast_to(v, (2, 4)), *t.broadcast_tensors(v, t.ones(3, 1))), V,
     to=lambda v: (np.broadcast_to(v, (3, 4)), np.broadcast_to(v, (2, 4)), np.broadcast_to(v, (3, 4)), np.ones((3, 4), np.float32)))
case("reshape", lambda t, x: (t.reshape(x, (2, -1)), x.flatten(), t.unflatten(x, 1, (2, -1)), x.view(-1, 3)), X,
     to=lambda x: (x.reshape(2, 6), x.ravel(), x.reshape(3, 2, 2), x.reshape(4, 3)))  # fmt: skip
case("squeeze", lambda t, x: (t.unsqueeze(x, -1), x.unsqueeze(0).squeeze(), x.unsqueeze(1).squeeze(1)), X,
     to=lambda x: (x[..., None], x, x))  # fmt: skip
case("narrow", lambda t, x: (t.narrow(x, 1, 1, 2), x.select(1, -1), t.select(x, 0, 1)), X, to=lambda x: (x[:, 1:3], x[:, -1], x[1]))
case("turned in place", lambda t, x: (x.clone().t_(), x.clone().unsqueeze_(1), x.clone().transpose_(0, 1).unsqueeze_(0).squeeze_()), X,
     to=lambda x: (x.T, x[:, None], x.T))  # fmt: skip
case("T", lambda t, x: (x.T, x.mT, x.t(), x.H), X, to=lambda x: (x.T,) * 4)

# --- Places -----------------------------------------------------------------------------------------------------------

I4, I34 = np.array([2, 0, 2]), np.array([[0, 1, 2, 0], [2, 2, 0, 1]])
U2, U23 = real(2, 4), real(3, 3)


def _reduced(ufunc: Any, x: Array, places: Array, src: Array, start: Any = None) -> Array:
    found = x.copy()
    index = (places, np.arange(places.shape[1])[None])
    if start is not None:
        found[index] = start
    ufunc.at(found, index, src)
    return found


def _put(x: Array, index: Any, value: Any) -> Array:
    found = x.copy()
    found[index] = value
    return found


case("gather", lambda t, x, i: (t.gather(x, 0, i), x.gather(0, i[:, :2])), X, I34,
     to=lambda x, i: (np.take_along_axis(x, i, 0), np.take_along_axis(x[:, :2], i[:, :2], 0)))  # fmt: skip
case("scatter", lambda t, x, i, u: t.scatter(x, 0, i, u), X, np.array([[0, 1, 2, 0], [2, 2, 0, 1]]), U2,
     to=lambda x, i, u: _put(x, (i, np.arange(4)[None]), u))  # fmt: skip
case("scatter smaller", lambda t, x, i, u: x.scatter(1, i, u), X, np.array([[0, 3], [2, 1]]), U23,
     to=lambda x, i, u: _put(x, (np.arange(2)[:, None], i), u[:2, :2]))  # fmt: skip
case("scatter number", lambda t, x, i: (t.scatter(x, 0, i, 1.5), x.scatter(0, i, value=2)), X, I34,
     to=lambda x, i: (_put(x, (i, np.arange(4)[None]), 1.5), _put(x, (i, np.arange(4)[None]), 2)))  # fmt: skip
case("scatter_add", lambda t, x, i, u: (t.scatter_add(x, 0, i, u), x.scatter(0, i, u, reduce="add")), X, I34, U2,
     to=lambda x, i, u: (_reduced(np.add, x, i, u),) * 2)  # fmt: skip
case("scatter multiply", lambda t, x, i, u: x.scatter(0, i, u, reduce="multiply"), X, I34, U2,
     to=lambda x, i, u: _reduced(np.multiply, x, i, u), smooth=False)  # fmt: skip
for _name, _ufunc, _start in (("sum", np.add, 0), ("prod", np.multiply, 1), ("amax", np.maximum, -np.inf), ("amin", np.minimum, np.inf)):
    case(f"scatter_reduce {_name}", lambda t, x, i, u, n=_name: t.scatter_reduce(x, 0, i, u, n), X, I34, U2,
         to=lambda x, i, u, f=_ufunc: _reduced(f, x, i, u))  # fmt: skip
    case(f"scatter_reduce {_name} without self", lambda t, x, i, u, n=_name: x.scatter_reduce(0, i, u, n, include_self=False), X, I34, U2,
         to=lambda x, i, u, f=_ufunc, s=_start: _reduced(f, x, i, u, s))  # fmt: skip
case("scatter_reduce mean", lambda t, x, i, u: t.scatter_reduce(x, 0, i, u, "mean"), X, I34, U2,
     to=lambda x, i, u: _reduced(np.add, x, i, u) / _reduced(np.add, np.ones((3, 4)), i, np.ones((2, 4))))  # fmt: skip
case("index_select", lambda t, x, i: (t.index_select(x, 0, i), x.index_select(-1, i)), X, I4, to=lambda x, i: (x[i], x[:, i]))
case("index_add", lambda t, x, i, u: (t.index_add(x, 0, i, u), x.index_add(0, i, u, alpha=2)), X, I4, Y,
     to=lambda x, i, u: tuple(x + k * np.stack([u[1], 0 * u[0], u[0] + u[2]]) for k in (1, 2)))  # fmt: skip
case("index_copy", lambda t, x, i, u: t.index_copy(x, 0, i, u), X, I4[:2], Y[:2], to=lambda x, i, u: _put(x, i, u))
case("index_fill", lambda t, x, i: (t.index_fill(x, 1, i, 3), x.index_fill(0, i, 0.5)), X, np.array([0, -1]),
     to=lambda x, i: (_put(x, (slice(None), i), 3), _put(x, i, 0.5)))  # fmt: skip
case("index_reduce", lambda t, x, i, u: (t.index_reduce(x, 0, i, u, "amax"), x.index_reduce(0, i, u, "prod", include_self=False)), X, I4, Y,
     to=lambda x, i, u: (np.stack([np.maximum(x[0], u[1]), x[1], np.maximum(np.maximum(x[2], u[0]), u[2])]), np.stack([u[1], x[1],
       u[0] * u[2]])),
     smooth=False)
case("index_put", lambda t, x, i, j, v: (t.index_put(x, (i, j), v), x.index_put((i,), v[0])), X, I4, np.array([1, -1, 0]), V[:3],
     to=lambda x, i, j, v: (_put(x, (i, j), v), _put(x, i, v[0])))  # fmt: skip
case("index_put accumulate", lambda t, x, i, v: t.index_put(x, (i, i), v, accumulate=True), X, I4, V[:3],
     to=lambda x, i, v: _reduced(np.add, x.T.copy(), np.array([[0, 2, 2]]), np.zeros((1, 3))).T + np.array([[v[1], 0, 0, 0], [0] * 4, [0,
       0, v[0] + v[2], 0]]))  # fmt: skip
case("take", lambda t, x, i: (t.take(x, i), x.take(i - 12)), X, whole(12, 2, 3), to=lambda x, i: (x.ravel()[i],) * 2)
case("put", lambda t, x, i, v: (t.put(x, i, v), x.put(i, v, accumulate=True)), X, np.array([3, 0, -1]), V[:3],
     to=lambda x, i, v: (_put(x.ravel(), i, v).reshape(3, 4), _put(x.ravel(), i, x.ravel()[i] + v).reshape(3, 4)))  # fmt: skip
case("take_along_dim", lambda t, x, i: (t.take_along_dim(x, i, 1), x.take_along_dim(i[:, :1])), X, np.array([[3, 0], [1, 1], [0, 2]]),
     to=lambda x, i: (np.take_along_axis(x, i, 1), x.ravel()[i[:, 0]]))  # fmt: skip
case("masked_fill", lambda t, x, m: (t.masked_fill(x, m, 2.5), x.masked_fill(m[0], 0)), X, B,
     to=lambda x, m: (np.where(m, 2.5, x), np.where(m[0], 0, x)))  # fmt: skip
case("masked_scatter", lambda t, x, m, u: t.masked_scatter(x, m, u), X, B, Y, to=lambda x, m, u: _put(x, m, u.ravel()[: m.sum()]))
case("masked_select", lambda t, x, m: (t.masked_select(x, m), x.masked_select(m[0])), X, B,
     to=lambda x, m: (x[m], x[:, m[0]].ravel()), smooth=False)  # fmt: skip
case("select_scatter", lambda t, x, v: t.select_scatter(x, v, 0, -1), X, V, to=lambda x, v: _put(x, -1, v))
case("slice_scatter", lambda t, x, u: (t.slice_scatter(x, u, 1, 1, None, 2), x.slice_scatter(u, 1, -2)), X, U23[:, :2],
     to=lambda x, u: (_put(x, (slice(None), slice(1, None, 2)), u), _put(x, (slice(None), slice(-2, None)), u)))  # fmt: skip
case("nonzero", lambda t, x: (t.nonzero(x), t.argwhere(x), *t.nonzero(x, as_tuple=True)), N,
     to=lambda x: (np.argwhere(x), np.argwhere(x), *np.nonzero(x)), smooth=False)  # fmt: skip
_INDICES: dict[str, Callable[[Any], Any]] = {
    "int": lambda m: 1,
    "ints": lambda m: (1, -1),
    "slices": lambda m: (slice(1, None), slice(None, None, 2)),
    "None and dots": lambda m: (None, ..., 0, None),
    "list": lambda m: [1, 0, 1],
    "pair of arrays": lambda m: (m([1, 0]), ..., m([3, -1])),
    "array between slices": lambda m: (slice(None), m([[0, 2], [1, -1]]), slice(1, 3)),
    "array after a slice and before an int": lambda m: (slice(None), m([0, 2]), 1),
    "arrays apart": lambda m: (m([1, 0]), slice(None), m([0, 2])),
    "None between arrays": lambda m: (m([1, 0]), None, m([0, 2])),
    "mask": lambda m: m([True, False]),
    "mask of two": lambda m: m([[True, False, True], [False, True, False]]),
    "mask behind a slice": lambda m: (slice(None), m([True, False, True]), -1),
    "mask and array": lambda m: (m([True, True]), m([0, 2])),
    "0-d array": lambda m: m(1),
    "true": lambda m: True,
    "nothing": lambda m: m(np.zeros(0, np.int64)),
}
for _name, _index in _INDICES.items():
    case(f"x[{_name}]", lambda t, x, f=_index: x[f(lambda a: t.tensor(a))], T3, to=lambda x, f=_index: x[f(np.asarray)],
         smooth="mask" not in _name)  # fmt: skip

    def _assigned(t: Any, x: Any, v: Any, f: Any = _index) -> Any:
        x = x.clone()
        x[f(lambda a: t.tensor(a))] = v
        return x

    case(f"x[{_name}] = number", lambda t, x, f=_assigned: f(t, x, 1.5), T3,
         to=lambda x, f=_index: _put(x, f(np.asarray), 1.5), smooth="mask" not in _name)  # fmt: skip
    case(f"x[{_name}] = tensor", lambda t, x, v, f=_assigned: f(t, x, v), T3, np.array(0.75),
         to=lambda x, v, f=_index: _put(x, f(np.asarray), v), smooth="mask" not in _name)  # fmt: skip

# --- Contraction ------------------------------------------------------------------------------------------------------

A23, A34, A35 = real(2, 3), real(3, 4), real(3, 5)
B1, B2 = real(2, 3, 4), real(2, 4, 5)
case("mm", lambda t, x, y: (t.mm(x, y), x.matmul(y), x @ y), A23, A34, to=lambda x, y: (x @ y,) * 3)
case("mv", lambda t, x, v: t.mv(x, v), X, V, to=lambda x, v: x @ v)
case("bmm", lambda t, x, y: t.bmm(x, y), B1, B2, to=lambda x, y: x @ y)
case("matmul of batches", lambda t, x, y: (t.matmul(x, y[0]), t.matmul(x[0], y), t.matmul(x, y[0, :, 0]), t.matmul(x[0, 0], y)), B1, B2,
     to=lambda x, y: (x @ y[0], x[0] @ y, x @ y[0, :, 0], x[0, 0] @ y))  # fmt: skip
case("dot", lambda t, v, w: (t.dot(v, w), v.vdot(w), t.inner(v, w)), V, W, to=lambda v, w: (v @ w,) * 3)
case("inner", lambda t, x, y: t.inner(x, y), X, Y[:2], to=np.inner)
case("outer", lambda t, v, w: (t.outer(v, w), v.ger(w)), V, W[:3], to=lambda v, w: (np.outer(v, w),) * 2)
case("addmm", lambda t, c, x, y: (t.addmm(c, x, y), c.addmm(x, y, beta=0.5, alpha=2)), real(2, 4), A23, A34,
     to=lambda c, x, y: (c + x @ y, 0.5 * c + 2 * x @ y))  # fmt: skip
case("addmm broadcast", lambda t, c, x, y: t.addmm(c, x, y, beta=2), V, A23, A34, to=lambda c, x, y: 2 * c + x @ y)
case("addmv", lambda t, c, x, v: t.addmv(c, x, v, alpha=3), V[:3], X, W, to=lambda c, x, v: c + 3 * x @ v)
case("addr", lambda t, c, v, w: t.addr(c, v, w, beta=2), X, V[:3], W, to=lambda c, v, w: 2 * c + np.outer(v, w))
case("addbmm", lambda t, c, x, y: t.addbmm(c, x, y), A35, B1, B2, to=lambda c, x, y: c + (x @ y).sum(0))
case("baddbmm", lambda t, c, x, y: t.baddbmm(c, x, y, alpha=0.5), real(2, 3, 5), B1, B2, to=lambda c, x, y: c + 0.5 * x @ y)
case("chain_matmul", lambda t, x, y: t.chain_matmul(x, y, y.T), A23, A34, to=lambda x, y: x @ y @ y.T)
case("tensordot", lambda t, x, y: (t.tensordot(x, y, 1), t.tensordot(x, x, ([0, 2], [0, 2])), t.tensordot(x, y, 0)), B1, real(4, 2),
     to=lambda x, y: (np.tensordot(x, y, 1), np.tensordot(x, x, ([0, 2], [0, 2])), np.tensordot(x, y, 0)))  # fmt: skip
for _equation, *_operands in (
    ("ij,jk->ik", A23, A34), ("ij,jk", A23, A34), ("ij->ji", X), ("ij->", X), ("ii->i", real(3, 3)), ("ii", real(3, 3)), ("i,j->ij", V, W),
    ("bij,bjk->bik", B1, B2), ("bij,bjk->ik", B1, B2), ("...ij,...jk->...ik", B1, B2), ("b...,b...->...b", B1, B1),
    ("ij,jk,kl->il", A23, A34, real(4, 2)), ("ij,ij,ij->i", X, Y, Z), ("i,i,i", V, W, V), ("abc,cd,a->bd", B1, real(4, 2), real(2)),
    ("iij,jk->ik", real(3, 3, 4), real(4, 2)), ("ij,kj->", X, Y), ("...i->...", T3), ("i...->...i", T3),
):  # fmt: skip
    case(f"einsum {_equation}", lambda t, *x, e=_equation: t.einsum(e, *x), *_operands, to=lambda *x, e=_equation: np.einsum(e, *x))
case("einsum sublists", lambda t, x, y: t.einsum(x, [0, 1], y, [1, 2], [2, 0]), A23, A34, to=lambda x, y: (x @ y).T)
case("kron", lambda t, x, y: (t.kron(x, y), x.kron(y[0])), A23, A34, to=lambda x, y: (np.kron(x, y), np.kron(x, y[0])))
case("cross", lambda t, x, y: (t.cross(x, y), x.cross(y, dim=1)), real(3, 3), real(3, 3),
     to=lambda x, y: (np.cross(x.T, y.T).T, np.cross(x, y)))  # fmt: skip
for _p in (0.0, 1.0, 2.0, 3.0, math.inf):
    case(f"cdist {_p}", lambda t, x, y, p=_p: t.cdist(x, y, p), B1, real(2, 5, 4), to=lambda x, y, p=_p: np.stack([
        [[np.linalg.norm(a - b, p) for b in ys] for a in xs] for xs, ys in zip(x, y, strict=True)]))  # fmt: skip
case("bilinear", lambda t, x, y, w, c: (t.bilinear(x, y, w), t.nn.functional.bilinear(x, y, w, c)), X, A35, real(2, 4, 5), real(2),
     to=lambda x, y, w, c: (np.einsum("bi,oij,bj->bo", x, w, y), np.einsum("bi,oij,bj->bo", x, w, y) + c))  # fmt: skip

# --- Functions of neural networks -------------------------------------------------------------------------------------

S = sp.expit


def F(t: Any) -> Any:
    """The functions of neural networks."""
    return t.nn.functional


def _after(x: Array, how: str) -> Array:
    """Elements' losses under a reduction."""
    return np.asarray(x if how == "none" else x.mean() if how == "mean" else x.sum())


FAR = np.where(np.abs(np.abs(X) - 0.5) < 0.1, 1.25, X)
"""Away from where shrinking functions jump."""
for _name, _call, _numpy in (
    ("threshold", lambda t, x: F(t).threshold(x, 0.5, -3.0), lambda x: np.where(x > 0.5, x, -3.0)),
    ("hardshrink", lambda t, x: F(t).hardshrink(x), lambda x: np.where(np.abs(x) > 0.5, x, 0)),
    ("softshrink", lambda t, x: F(t).softshrink(x, 0.5), lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.5, 0)),
    ("celu", lambda t, x: F(t).celu(x, 1.5), lambda x: np.maximum(x, 0) + np.minimum(0, 1.5 * np.expm1(x / 1.5))),
    ("rrelu", lambda t, x: F(t).rrelu(x), lambda x: np.where(x > 0, x, x * (1 / 8 + 1 / 3) / 2)),
    ("relu6", lambda t, x: F(t).relu6(4 * x), lambda x: np.clip(4 * x, 0, 6)),
    ("hardswish", lambda t, x: F(t).hardswish(x), lambda x: x * np.clip(x + 3, 0, 6) / 6),
    ("mish", lambda t, x: F(t).mish(x), lambda x: x * np.tanh(np.logaddexp(0, x))),
    ("gelu", lambda t, x: F(t).gelu(x), lambda x: x * sp.ndtr(x)),
    ("silu", lambda t, x: F(t).silu(x), lambda x: x * S(x)),
    ("elu", lambda t, x: F(t).elu(x, 2.0), lambda x: np.where(x > 0, x, 2 * np.expm1(x))),
    ("logsigmoid", lambda t, x: F(t).logsigmoid(x), lambda x: np.log(S(x))),
    ("softplus", lambda t, x: F(t).softplus(x, 2.0), lambda x: np.logaddexp(0, 2 * x) / 2),
    ("softsign", lambda t, x: F(t).softsign(x), lambda x: x / (1 + np.abs(x))),
    ("tanhshrink", lambda t, x: F(t).tanhshrink(x), lambda x: x - np.tanh(x)),
):
    elementwise(_name, _call, FAR, to=_numpy)
case("glu", lambda t, x: F(t).glu(x), X, to=lambda x: x[:, :2] * S(x[:, 2:]))
case("softmax", lambda t, x: (F(t).softmax(x, 1), F(t).softmin(x, -1), F(t).log_softmax(x, 0), x.softmax(0), x.log_softmax(1)), X,
     to=lambda x: (sp.softmax(x, 1), sp.softmax(-x, 1), sp.log_softmax(x, 0), sp.softmax(x, 0), sp.log_softmax(x, 1)))  # fmt: skip

SIGN = np.where(truth(3, 4), 1.0, -1.0)
LABELS = np.array([2, 0, 3])
ROWS = np.array([[2, 0, -1, 1], [3, -1, -1, -1], [0, 1, 2, 3]])


def _others(x: Array, y: Array, p: int, margin: float, weight: Array | None = None) -> Array:
    w = np.ones(x.shape[1]) if weight is None else weight
    return np.array([sum(w[k] * max(0, margin - r[k] + r[j]) ** p for j in range(len(r)) if j != k) / len(r)
                     for r, k in zip(x, y, strict=True)])  # fmt: skip


def _labels(x: Array, rows: Array) -> Array:
    found = []
    for r, named in zip(x, rows, strict=True):
        own = list(named[: list(named).index(-1)] if -1 in named else named)
        found.append(sum(max(0, 1 - (r[k] - r[j])) for k in own for j in range(len(r)) if j not in own) / len(r))
    return np.array(found)


def _lengths(x: Array, y: Array, p: float = 2) -> Array:
    return np.linalg.norm(x - y + 1e-6, p, -1)


def _cosines(x: Array, y: Array) -> Array:
    return (x * y).sum(-1) / np.sqrt((np.square(x).sum(-1) + 1e-12) * (np.square(y).sum(-1) + 1e-12))


for _how in ("none", "mean", "sum"):
    _r: dict[str, Any] = {"reduction": _how}
    for _name, _call, _arrays, _numpy in (
        ("mse_loss", lambda t, x, y, r=_r: F(t).mse_loss(x, y, **r), (X, Y), lambda x, y: (x - y) ** 2),
        ("l1_loss", lambda t, x, y, r=_r: F(t).l1_loss(x, y, **r), (X, Y), lambda x, y: np.abs(x - y)),
        ("poisson_nll_loss", lambda t, x, y, r=_r: F(t).poisson_nll_loss(x, y, **r), (X, P), lambda x, y: np.exp(x) - y * x),
        ("poisson_nll_loss full", lambda t, x, y, r=_r: F(t).poisson_nll_loss(x, y, False, True, **r), (P, Q), lambda x, y: x
         - y * np.log(x + 1e-8) + np.where(y > 1, y * np.log(y) - y + 0.5 * np.log(2 * np.pi * y), 0)),
        ("gaussian_nll_loss", lambda t, x, y, v, r=_r: F(t).gaussian_nll_loss(x, y, v, **r), (X, Y, P),
         lambda x, y, v: (np.log(v) + (x - y) ** 2 / v) / 2),
        ("gaussian_nll_loss full", lambda t, x, y, v, r=_r: F(t).gaussian_nll_loss(x, y, v, True, **r), (X, Y, P[:, 0]),
         lambda x, y, v: (np.log(v[:, None]) + (x - y) ** 2 / v[:, None] + np.log(2 * np.pi)) / 2),
        ("cosine_embedding_loss", lambda t, x, y, s, r=_r: F(t).cosine_embedding_loss(x, y, s, 0.1, **r), (X, Y, np.array([1.0, -1.0,
          -1.0])),
         lambda x, y, s: np.where(s == 1, 1 - _cosines(x, y), np.maximum(0, _cosines(x, y) - 0.1))),
        ("margin_ranking_loss", lambda t, x, y, s, r=_r: F(t).margin_ranking_loss(x, y, s, 0.3, **r), (X, Y, SIGN),
         lambda x, y, s: np.maximum(0, -s * (x - y) + 0.3)),
        ("hinge_embedding_loss", lambda t, x, s, r=_r: F(t).hinge_embedding_loss(x, s, 0.7, **r), (X, SIGN),
         lambda x, s: np.where(s == 1, x, np.maximum(0, 0.7 - x))),
        ("triplet_margin_loss", lambda t, x, y, z, r=_r: F(t).triplet_margin_loss(x, y, z, 0.5, **r), (X, Y, Z),
         lambda x, y, z: np.maximum(0, _lengths(x, y) - _lengths(x, z) + 0.5)),
        ("triplet_margin_loss swap", lambda t, x, y, z, r=_r: F(t).triplet_margin_loss(x, y, z, 2.5, p=1, swap=True, **r), (X, Y, Z),
         lambda x, y, z: np.maximum(0, _lengths(x, y, 1) - np.minimum(_lengths(x, z, 1), _lengths(y, z, 1)) + 2.5)),
        ("soft_margin_loss", lambda t, x, s, r=_r: F(t).soft_margin_loss(x, s, **r), (X, SIGN), lambda x, s: np.logaddexp(0, -s * x)),
        ("multilabel_soft_margin_loss", lambda t, x, y, w, r=_r: F(t).multilabel_soft_margin_loss(x, y, w, **r), (X, C, P[0]),
         lambda x, y, w: (w * (y * np.logaddexp(0, -x) + (1 - y) * np.logaddexp(0, x))).mean(-1)),
        ("multi_margin_loss", lambda t, x, y, r=_r: F(t).multi_margin_loss(x, y, **r), (X, LABELS), lambda x, y: _others(x, y, 1, 1.0)),
        ("multi_margin_loss weighted", lambda t, x, y, w, r=_r: F(t).multi_margin_loss(x, y, 2, 0.5, w, **r), (X, LABELS, P[0]),
         lambda x, y, w: _others(x, y, 2, 0.5, w)),
        ("multilabel_margin_loss", lambda t, x, y, r=_r: F(t).multilabel_margin_loss(x, y, **r), (X, ROWS), _labels),
        ("huber_loss", lambda t, x, y, r=_r: F(t).huber_loss(x, y, delta=0.7, **r), (X, Y), lambda x, y: sp.huber(0.7, x - y)),
        ("binary_cross_entropy", lambda t, x, y, r=_r: F(t).binary_cross_entropy(x, y, **r), (C, C[::-1].copy()),
         lambda x, y: -(y * np.log(x) + (1 - y) * np.log1p(-x))),
        ("kl_div", lambda t, x, y, r=_r: F(t).kl_div(x, y, **r), (X, C), lambda x, y: y * (np.log(y) - x)),
        ("nll_loss", lambda t, x, y, r=_r: F(t).nll_loss(x, y, **r), (X, LABELS), lambda x, y: -x[np.arange(3), y]),
        ("cross_entropy", lambda t, x, y, r=_r: F(t).cross_entropy(x, y, **r), (X, LABELS), lambda x, y: -sp.log_softmax(x,
          1)[np.arange(3), y]),
    ):  # fmt: skip
        case(f"{_name} {_how}", _call, *_arrays, to=lambda *x, f=_numpy, h=_how: _after(f(*x), h),
             smooth=_how == "mean" and _name != "gaussian_nll_loss full")  # fmt: skip
case("cross_entropy of probabilities", lambda t, x, y: F(t).cross_entropy(x, y, label_smoothing=0.1), X, sp.softmax(Y, 1),
     to=lambda x, y: -(sp.log_softmax(x, 1) * (0.9 * y + 0.1 / 4)).sum(1).mean())  # fmt: skip
case("cross_entropy ignored", lambda t, x, y, w: F(t).cross_entropy(x, y, w, ignore_index=3), X, LABELS, P[0],
     to=lambda x, y, w: -(w[y[:2]] * sp.log_softmax(x, 1)[np.arange(2), y[:2]]).sum() / w[y[:2]].sum())  # fmt: skip
case("multi_margin_loss of one sample", lambda t, x: F(t).multi_margin_loss(x, t.tensor(1)), V,
     to=lambda x: _others(x[None], np.array([1]), 1, 1.0)[0])  # fmt: skip
case("multilabel_margin_loss of one sample", lambda t, x, y: F(t).multilabel_margin_loss(x, y), V, ROWS[0],
     to=lambda x, y: _labels(x[None], y[None])[0])  # fmt: skip

case("cosine_similarity", lambda t, x, y: F(t).cosine_similarity(x, y), X, Y,
     to=lambda x, y: (x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1))  # fmt: skip
case("pairwise_distance", lambda t, x, y: F(t).pairwise_distance(x, y), X, Y, to=_lengths)
case("pdist", lambda t, x: (F(t).pdist(x), F(t).pdist(x, 1.0)), X,
     to=lambda x: tuple(np.array([np.linalg.norm(x[i] - x[j], p) for i in range(3) for j in range(i + 1, 3)]) for p in (2, 1)))  # fmt: skip
case("normalize", lambda t, x: F(t).normalize(x, 2.0, 1), X, to=lambda x: x / np.linalg.norm(x, axis=1, keepdims=True))
case("one_hot", lambda t, i: F(t).one_hot(i, 4), LABELS, to=lambda i: np.eye(4, dtype=int)[i], smooth=False)
case("embedding", lambda t, i, w: F(t).embedding(i, w), np.array([[0, 2], [1, 2]]), X, to=lambda i, w: w[i])
for _how, _numpy in (("sum", np.sum), ("mean", np.mean), ("max", np.max)):
    case(f"embedding_bag {_how}", lambda t, i, w, h=_how: F(t).embedding_bag(i, w, mode=h), np.array([[0, 2], [1, 2]]), X,
         to=lambda i, w, f=_numpy: f(w[i], 1))  # fmt: skip
    case(f"embedding_bag offsets {_how}", lambda t, i, w, o, h=_how: F(t).embedding_bag(i, w, o, mode=h), np.array([0, 2, 1, 2, 0]), X,
         np.array([0, 2, 2]), to=lambda i, w, o, f=_numpy: np.stack([f(w[i[:2]], 0), np.zeros(4), f(w[i[2:]], 0)]))  # fmt: skip
case("embedding_bag weights", lambda t, i, w, v: F(t).embedding_bag(i, w, mode="sum", per_sample_weights=v), np.array([[0, 2], [1, 2]]),
     X, C[:2, :2],
     to=lambda i, w, v: (w[i] * v[..., None]).sum(1))
case("pixel_shuffle", lambda t, x: (F(t).pixel_shuffle(x, 2), F(t).pixel_unshuffle(x[:, :, :2, :2], 2)), real(1, 4, 2, 3),
     to=lambda x: (x.reshape(1, 1, 2, 2, 2, 3).transpose(0, 1, 4, 2, 5, 3).reshape(1, 1, 4, 6),
                   x[:, :, :2, :2].reshape(1, 4, 1, 2, 1, 2).transpose(0, 1, 3, 5, 2, 4).reshape(1, 16, 1, 1)))  # fmt: skip
case("channel_shuffle", lambda t, x: F(t).channel_shuffle(x, 2), real(1, 4, 2, 1), to=lambda x: x[:, [0, 2, 1, 3]])
for _mode, _numpy in (("constant", "constant"), ("reflect", "reflect"), ("replicate", "edge"), ("circular", "wrap")):
    case(f"pad {_mode}", lambda t, x, m=_mode: F(t).pad(x, (2, 1, 0, 2), m), real(1, 2, 3, 4),
         to=lambda x, m=_numpy: np.pad(x, ((0, 0), (0, 0), (0, 2), (2, 1)), m))  # fmt: skip
case("pad value", lambda t, x: (F(t).pad(x, (1, -1), value=2.5), F(t).pad(x, (-1, 0, 0, 1))), X,
     to=lambda x: (np.pad(x, ((0, 0), (1, 0)), constant_values=2.5)[:, :-1], np.pad(x[:, 1:], ((0, 1), (0, 0)))))  # fmt: skip

IMAGE = real(2, 2, 4, 5)
case("interpolate nearest", lambda t, x: (F(t).interpolate(x, scale_factor=2), F(t).interpolate(x, size=(2, 10), mode="nearest-exact")),
     IMAGE,
     to=lambda x: (x.repeat(2, 2).repeat(2, 3), x[:, :, 1::2].repeat(2, 3)))
case("interpolate linear", lambda t, x: F(t).interpolate(x, size=7, mode="linear", align_corners=True), IMAGE[0],
     to=lambda x: np.stack([[np.interp(np.linspace(0, 4, 7), np.arange(5), r) for r in rows] for rows in x]))  # fmt: skip
case("interpolate linear, edges", lambda t, x: F(t).interpolate(x, scale_factor=1.7, mode="linear"), IMAGE[0],
     to=lambda x: np.stack([[np.interp((np.arange(8) + 0.5) / 1.7 - 0.5, np.arange(5), r) for r in rows] for rows in x]))  # fmt: skip
case("interpolate area", lambda t, x: F(t).interpolate(x, size=(2, 5), mode="area"), IMAGE, to=lambda x: (x[:, :, ::2] + x[:, :, 1::2]) / 2)
for _mode in ("bilinear", "bicubic"):
    for _corners in (False, True):
        case(f"interpolate {_mode} {_corners}", lambda t, x, m=_mode, c=_corners: (F(t).interpolate(x, size=(6, 3), mode=m,
             align_corners=c),
             F(t).interpolate(x, scale_factor=(0.6, 1.6), mode=m, align_corners=c)), IMAGE, to=None)
    case(f"interpolate {_mode} antialias", lambda t, x, m=_mode: F(t).interpolate(x, size=(2, 3), mode=m, antialias=True), IMAGE, to=None)
case("interpolate trilinear", lambda t, x: F(t).interpolate(x, size=(3, 2, 5), mode="trilinear"), real(1, 1, 2, 3, 4), to=None)
POINTS = RNG.uniform(-1.4, 1.4, (2, 3, 2, 2))
for _mode in ("bilinear", "nearest", "bicubic"):
    for _around in ("zeros", "border", "reflection"):
        case(f"grid_sample {_mode} {_around}", lambda t, x, g, m=_mode, p=_around: tuple(F(t).grid_sample(x, g, m, p, c) for c in (False,
             True)),
             IMAGE, POINTS, to=None)
case("grid_sample of volumes", lambda t, x, g: F(t).grid_sample(x, g, align_corners=False), real(1, 2, 3, 2, 4), RNG.uniform(-1, 1, (1,
     2, 1, 3, 3)),
     to=None)
case("affine_grid", lambda t, m: (F(t).affine_grid(m, (2, 1, 3, 4), False), F(t).affine_grid(m, (2, 1, 3, 4), True)), real(2, 2, 3),
     to=None)  # fmt: skip
case("grid_sample of the identity", lambda t, x: F(t).grid_sample(x, F(t).affine_grid(t.eye(2, 3, dtype=x.dtype).expand(2, 2, 3), (2, 2,
     4, 5), False),
     align_corners=False), IMAGE, to=lambda x: x)

QUERY, KEY, VALUE = real(2, 3, 4), real(2, 5, 4), real(2, 5, 3)
MASK = np.array([[1, 0, 1, 1, 0], [1, 1, 0, 0, 0], [0, 1, 1, 1, 1]], bool)


def _attention(q: Array, k: Array, v: Array, mask: Any = 0.0) -> Array:
    return np.asarray(sp.softmax(q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1]) + mask, -1) @ v)


A = "scaled_dot_product_attention"
case(A, lambda t, q, k, v: F(t).scaled_dot_product_attention(q, k, v), QUERY, KEY, VALUE, to=_attention)
case(f"{A} mask", lambda t, q, k, v, m: F(t).scaled_dot_product_attention(q, k, v, m), QUERY, KEY, VALUE, MASK,
     to=lambda q, k, v, m: _attention(q, k, v, np.where(m, 0, -np.inf)))  # fmt: skip
case(f"{A} added mask", lambda t, q, k, v, m: F(t).scaled_dot_product_attention(q, k, v, m), QUERY, KEY, VALUE, real(3, 5), to=_attention)
case(f"{A} causal", lambda t, q, k, v: F(t).scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.5), QUERY, KEY, VALUE,
     to=lambda q, k, v: _attention(q, k, v, np.where(np.tri(3, 5, dtype=bool), 0, -np.inf)))  # fmt: skip
case(f"{A} of fewer heads", lambda t, q, k, v: F(t).scaled_dot_product_attention(q, k, v, enable_gqa=True), real(1, 4, 3, 2), real(1, 2,
     5, 2),
     real(1, 2, 5, 3), to=lambda q, k, v: _attention(q, k.repeat(2, 1), v.repeat(2, 1)))


def _heads(t: Any, x: Any, w: Any, c: Any, o: Any, **more: Any) -> Any:
    q = x[:2]
    return F(t).multi_head_attention_forward(q, x, x, 4, 2, w, c, None, None, False, 0.0, o, c[:4], False, **more)


def _numpy_heads(x: Array, w: Array, c: Array, o: Array, mask: Any = 0.0) -> tuple[Array, Array]:
    q, k, v = (part @ w[4 * i : 4 * i + 4].T + c[4 * i : 4 * i + 4] for i, part in enumerate((x[:2], x, x)))
    q, k, v = (y.reshape(-1, 3, 2, 2).transpose(1, 2, 0, 3) for y in (q, k, v))
    scores = sp.softmax(q @ k.swapaxes(-1, -2) / np.sqrt(2) + mask, -1)
    found = (scores @ v).transpose(2, 0, 1, 3).reshape(2, 3, 4) @ o.T + c[:4]
    return found, scores.mean(1)


_PADDING = np.array([[0, 0, 0, 0], [0, 0, 0, 1], [1, 0, 0, 0]], bool)
HEADS = (real(4, 3, 4), real(12, 4), real(12), real(4, 4))
case("multi_head_attention_forward", _heads, *HEADS, to=_numpy_heads)
case("multi_head_attention_forward masks", lambda t, *x: _heads(t, *x[:4], key_padding_mask=x[4], attn_mask=x[5]), *HEADS, _PADDING,
     MASK[:2, :4] & False,
     to=lambda *x: _numpy_heads(*x[:4], np.where(x[4][:, None, None], -np.inf, 0)))
