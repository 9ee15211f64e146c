"""Fits every polynomial of `rustorch/codegen/coefficients.py` and prints that file.

    python benchmarks/fit_coefficients.py > rustorch/codegen/coefficients.py

Each fit is a Remez exchange on a dense grid, in 60-digit arithmetic. Coefficients are then rounded to the
working precision; the printed error is the one after rounding.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import mpmath as mp

mp.mp.dps = 60
Function = Callable[[mp.mpf], mp.mpf]


@dataclass(frozen=True)
class Fit:
    """A polynomial of degree `degree` for `f` on [low, high]: the largest `weight * error` is least."""

    name: str
    dtype: str
    f: Function
    low: mp.mpf
    high: mp.mpf
    degree: int
    weight: Function


def round_to(dtype: str, x: mp.mpf) -> mp.mpf:
    """`x` rounded to nearest in `f32` or `f64`."""
    return mp.mpf(struct.unpack("f", struct.pack("f", float(x)))[0] if dtype == "f32" else float(x))


def exchange(target: Sequence[mp.mpf], basis: Sequence[Sequence[mp.mpf]], weight: Sequence[mp.mpf]) -> tuple[list[mp.mpf], mp.mpf]:
    """Coefficients of the best weighted approximation on a grid, and the largest weighted error."""
    n, points = len(basis), len(target)
    if n == 0:
        return [], max(abs(w * t) for w, t in zip(weight, target, strict=True))
    at = [round((points - 1) * (1 - mp.cos(mp.pi * (2 * i + 1) / (2 * (n + 1)))) / 2) for i in range(n + 1)]
    best: tuple[list[mp.mpf], mp.mpf] = ([], mp.inf)
    for _ in range(40):
        a = mp.matrix(n + 1, n + 1)
        for row, i in enumerate(at):
            for column in range(n):
                a[row, column] = basis[column][i]
            a[row, n] = (-1) ** row / weight[i]
        solution = mp.lu_solve(a, mp.matrix([target[i] for i in at]))
        c, level = list(solution[:n]), abs(solution[n])
        errors = [weight[i] * (target[i] - mp.fdot(c, [values[i] for values in basis])) for i in range(points)]
        largest = max(map(abs, errors))
        if largest < best[1]:
            best = (c, largest)
        peaks: list[int] = []
        for i, e in enumerate(errors):
            if peaks and (e >= 0) == (errors[peaks[-1]] >= 0):
                if abs(e) > abs(errors[peaks[-1]]):
                    peaks[-1] = i
            else:
                peaks.append(i)
        if len(peaks) < n + 1 or largest <= level * mp.mpf("1.01"):
            break
        while len(peaks) > n + 1:
            peaks.pop(0 if abs(errors[peaks[0]]) < abs(errors[peaks[-1]]) else -1)
        at = peaks
    return best


def solve(fit: Fit) -> tuple[list[mp.mpf], mp.mpf]:
    """The rounded coefficients, and the largest weighted error."""
    points = 30 * (fit.degree + 2)
    grid = [fit.low + (fit.high - fit.low) * (1 - mp.cos(mp.pi * i / points)) / 2 for i in range(points + 1)]
    # Near 0 the weights vanish, and one point there would rule the exchange.
    grid = [x for x in grid if abs(x) > fit.high / 2000]
    values = [fit.f(x) for x in grid]
    weight = [fit.weight(x) for x in grid]
    c, _ = exchange(values, [[x**k for x in grid] for k in range(fit.degree + 1)], weight)
    c = [round_to(fit.dtype, x) for x in c]
    return c, max(w * abs(v - mp.polyval(c[::-1], x)) for x, v, w in zip(grid, values, weight, strict=True))


def series(f: Function, taylor: Sequence[mp.mpf], near: float = 1e-8) -> Function:
    """`f`, with its Taylor series where the formula of `f` cancels."""
    return lambda x: mp.polyval(list(reversed(taylor)), x) if abs(x) < near else f(x)


def of_square(f: Function) -> Function:
    """The function g with g(x²) = f(x)."""
    return lambda z: f(mp.sqrt(z))


F = mp.mpf
TINY = F(10) ** -25
LN2 = mp.log(2)
HALF_LN2 = LN2 / 2 * F("1.001")
QUARTER = mp.pi / 4 * F("1.002")
LOG_LOW, LOG_HIGH = F("0.7") - 1 - F(10) ** -6, F("0.4") + F(10) ** -6
S_HIGH = ((mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)) ** 2 * F("1.00001")
"""Largest s², s = (m - 1) / (m + 1), for m between √½ and √2."""


def absolute(x: mp.mpf) -> mp.mpf:
    """The weight of a term that is multiplied by x."""
    return abs(x) + TINY


EXP = series(lambda r: (mp.expm1(r) - r) / r**2, [F(1) / 2, F(1) / 6, F(1) / 24])
LOG = series(lambda f: (mp.log1p(f) - f + f**2 / 2) / f**3, [F(1) / 3, -F(1) / 4, F(1) / 5])
ATANH = series(of_square(lambda s: (2 * mp.atanh(s) - 2 * s) / s**3), [F(2) / 3, F(2) / 5, F(2) / 7])
ATANH_TAIL = series(of_square(lambda s: (2 * mp.atanh(s) - 2 * s - 2 * s**3 / 3) / s**5), [F(2) / 5, F(2) / 7, F(2) / 9])
POW_LOG2 = series(of_square(lambda s: 2 * mp.atanh(s) / s / mp.log(2)), [2 / mp.log(2), 2 / mp.log(2) / 3])
POW_EXP2 = series(lambda r: mp.expm1(r * mp.log(2)) / r, [mp.log(2), mp.log(2) ** 2 / 2])
SIN = series(of_square(lambda x: (mp.sin(x) - x) / x**3), [-F(1) / 6, F(1) / 120, -F(1) / 5040])
COS = series(of_square(lambda x: (mp.cos(x) - 1 + x**2 / 2) / x**4), [F(1) / 24, -F(1) / 720, F(1) / 40320])
# tanh x = x - x z / (3 + z W(z))
TANH = series(of_square(lambda x: (x / (x - mp.tanh(x)) * x**2 - 3) / x**2), [F(6) / 5, -F(1) / 175, F(2) / 7875])
EXP2 = series(lambda r: (mp.expm1(r * LN2) - r * LN2) / r**2, [LN2**2 / 2, LN2**3 / 6])
SINH = series(of_square(lambda x: (mp.sinh(x) - x) / x**3), [F(1) / 6, F(1) / 120])
COSH = series(of_square(lambda x: (mp.cosh(x) - 1 - x**2 / 2) / x**4), [F(1) / 24, F(1) / 720])
TAN = series(of_square(lambda x: (mp.tan(x) - x) / x**3), [F(1) / 3, F(2) / 15])
ATAN = series(of_square(lambda x: (mp.atan(x) - x) / x**3), [-F(1) / 3, F(1) / 5])
ASIN = series(of_square(lambda x: (mp.asin(x) - x) / x**3), [F(1) / 6, F(3) / 40])
ERF = series(of_square(lambda x: mp.erf(x) / x - 1), [2 / mp.sqrt(mp.pi) - 1, -2 / mp.sqrt(mp.pi) / 3])


def erf_argument(t: mp.mpf) -> mp.mpf:
    """The a with t = (a - 2.5) / (a + 2.5)."""
    return F("2.5") * (1 + t) / (1 - t)


def erfcx(t: mp.mpf) -> mp.mpf:
    """erfc(a) e^(a²)."""
    return mp.erfc(erf_argument(t)) * mp.exp(erf_argument(t) ** 2)


def erfcx_near_one(t: mp.mpf) -> mp.mpf:
    """(1 + 2a) e^(a²) erfc(a) for t = (a - 4) / (a + 4)."""
    a = 4 * (1 + t) / (1 - t)
    return (1 + 2 * a) * mp.erfc(a) * mp.exp(a**2)


def erfinv_over_x(w: mp.mpf) -> mp.mpf:
    """erfinv(x) / x for w = -log(1 - x²), by Newton's method on erfc, whose value is e^-w / (1 + x)."""
    if w == 0:
        return mp.sqrt(mp.pi) / 2
    x = mp.sqrt(-mp.expm1(-w))
    y = mp.sqrt(w)
    for _ in range(60):
        step = (mp.erfc(y) - mp.exp(-w) / (1 + x)) * mp.sqrt(mp.pi) / 2 * mp.exp(y**2)
        y += step
        if abs(step) < F(10) ** -40:
            break
    return y / x


def relative(f: Function) -> Function:
    """The weight of relative errors."""
    return lambda x: 1 / abs(f(x))


def centre(u: mp.mpf) -> mp.mpf:
    return erfinv_over_x(u + 3)


def tail(u: mp.mpf) -> mp.mpf:
    return erfinv_over_x((u + 4) ** 2)


# log Γ(2 + v) = v (1 + v) P(v)
LGAMMA = series(lambda v: mp.loggamma(2 + v) / v / (1 + v), [1 - mp.euler, mp.zeta(2) / 2 - F(3) / 2 + mp.euler])
DIGAMMA_ZERO = mp.findroot(mp.digamma, F("1.4616321449683623"))
DIGAMMA_SLOPE = mp.polygamma(1, DIGAMMA_ZERO)
DIGAMMA = series(
    lambda v: (mp.digamma(DIGAMMA_ZERO + v) / v - DIGAMMA_SLOPE) / v,
    [mp.polygamma(2, DIGAMMA_ZERO) / 2, mp.polygamma(3, DIGAMMA_ZERO) / 6],
)


def asymptotic(term: Function, coefficients: Callable[[int], mp.mpf]) -> Function:
    """`term` of 1/√z, with the first terms of its series in z where z is small."""
    return lambda z: mp.fsum(coefficients(k) * z**k for k in range(12)) if z < F("0.0004") else term(1 / mp.sqrt(z))


STIRLING = asymptotic(
    lambda a: (mp.loggamma(a) - (a - F(1) / 2) * mp.log(a) + a - mp.log(2 * mp.pi) / 2) * a,
    lambda k: mp.bernoulli(2 * k + 2) / ((2 * k + 1) * (2 * k + 2)),
)
DIGAMMA_FAR = asymptotic(lambda a: (mp.log(a) - 1 / (2 * a) - mp.digamma(a)) * a**2, lambda k: mp.bernoulli(2 * k + 2) / (2 * k + 2))
SMALL = 1 / F(5.5) ** 2

FITS = [
    Fit("EXP", "f32", EXP, -HALF_LN2, HALF_LN2, 4, lambda r: r**2 / mp.exp(r) + TINY),
    Fit("EXP", "f64", EXP, -HALF_LN2, HALF_LN2, 9, lambda r: r**2 / mp.exp(r) + TINY),
    Fit("EXPM1", "f32", EXP, -HALF_LN2, HALF_LN2, 5, absolute),
    Fit("EXPM1", "f64", EXP, -HALF_LN2, HALF_LN2, 10, absolute),
    Fit("LOG", "f32", LOG, LOG_LOW, LOG_HIGH, 7, lambda f: f**2 + TINY),
    Fit("LOG", "f64", ATANH, F(0), S_HIGH, 6, absolute),
    Fit("TANH", "f32", TANH, F(0), F("0.9") ** 2, 2, lambda z: z**2 / 9 + TINY),
    Fit("TANH", "f64", TANH, F(0), F("0.625") ** 2, 5, lambda z: z**2 / 9 + TINY),
    Fit("SIN", "f32", SIN, F(0), QUARTER**2, 2, absolute),
    Fit("SIN", "f64", SIN, F(0), QUARTER**2, 5, absolute),
    Fit("COS", "f32", COS, F(0), QUARTER**2, 2, lambda z: z**2 + TINY),
    Fit("COS", "f64", COS, F(0), QUARTER**2, 5, lambda z: z**2 + TINY),
    # pow of f32 is computed in f64 to about 2^-37, and pow of f64 in pairs of f64.
    Fit("POW_LOG2", "f64", POW_LOG2, F(0), S_HIGH, 5, lambda z: F(1)),
    Fit("POW_EXP2", "f64", POW_EXP2, F(-0.501), F(0.501), 6, lambda r: abs(r) + TINY),
    Fit("POW_TAIL", "f64", ATANH_TAIL, F(0), S_HIGH, 7, lambda z: z**2 + TINY),
    Fit("EXP2", "f32", EXP2, F(-0.501), F(0.501), 4, lambda r: r**2 / 2**r + TINY),
    Fit("EXP2", "f64", EXP2, F(-0.501), F(0.501), 9, lambda r: r**2 / 2**r + TINY),
    Fit("SINH", "f32", SINH, F(0), HALF_LN2**2, 2, absolute),
    Fit("SINH", "f64", SINH, F(0), HALF_LN2**2, 4, absolute),
    Fit("COSH", "f32", COSH, F(0), HALF_LN2**2, 1, lambda z: z**2 + TINY),
    Fit("COSH", "f64", COSH, F(0), HALF_LN2**2, 4, lambda z: z**2 + TINY),
    Fit("TAN", "f32", TAN, F(0), QUARTER**2, 6, absolute),
    Fit("ATAN", "f32", ATAN, F(0), F(1), 8, absolute),
    Fit("ATAN", "f64", ATAN, F(0), mp.tan(mp.pi / 8) ** 2 * F("1.0001"), 10, absolute),
    Fit("ASIN", "f32", ASIN, F(0), F(0.25), 5, absolute),
    Fit("ASIN", "f64", ASIN, F(0), F(0.25), 12, absolute),
    Fit("ERF", "f32", ERF, F(0), F("1.001") ** 2, 7, lambda z: F(1)),
    Fit("ERF", "f64", ERF, F(0), F(1), 12, lambda z: F(1)),
    Fit("ERFC", "f32", lambda u: mp.log(mp.erfc(1 + u)), F(-0.01), F(3), 9, lambda u: mp.erfc(1 + u)),
    Fit("ERFC", "f64", erfcx, F(-1.5) / F(3.5), F(3.5) / F(8.5), 12, lambda t: mp.erfc(erf_argument(t))),
    # SHORT: for results of f32, in f64 arithmetic.
    Fit("ERFCX_SHORT", "f64", erfcx_near_one, F(-3.5) / F(4.5), F(7.5) / F(15.5), 13, relative(erfcx_near_one)),
    Fit("ERFCX", "f64", erfcx_near_one, F(-3.5) / F(4.5), F(24) / F(32), 23, relative(erfcx_near_one)),
    # A guess that one step of Halley's method makes exact.
    Fit("ERFINV_CENTRE", "f64", centre, F(-3), F(3), 12, relative(centre)),
    Fit("ERFINV_TAIL", "f64", tail, mp.sqrt(6) - 4, F("2.1"), 14, relative(tail)),
    Fit("CBRT", "f64", mp.cbrt, F("0.4999"), F("4.001"), 5, relative(mp.cbrt)),
    Fit("LGAMMA_SHORT", "f64", LGAMMA, F("-0.7501"), F("0.5001"), 12, relative(LGAMMA)),
    Fit("LGAMMA", "f64", LGAMMA, F("-0.7501"), F("0.5001"), 23, relative(LGAMMA)),
    Fit("STIRLING_SHORT", "f64", STIRLING, F(0), SMALL, 3, lambda z: F(1)),
    Fit("STIRLING", "f64", STIRLING, F(0), SMALL, 9, lambda z: F(1)),
    Fit("DIGAMMA", "f64", DIGAMMA, 1 - DIGAMMA_ZERO, F(2.5) - DIGAMMA_ZERO, 25, lambda v: abs(v / (DIGAMMA_SLOPE + v * DIGAMMA(v))) + TINY),
    Fit("DIGAMMA_FAR", "f64", DIGAMMA_FAR, F(0), SMALL, 9, lambda z: F(1)),
]


def main(only: Sequence[str]) -> None:
    lines = [HEAD]
    for fit in FITS:
        if only and fit.name not in only:
            continue
        c, error = solve(fit)
        rows = "".join(f'    H("{float(x).hex()}"),\n' for x in c)
        lines.append(f"{fit.name}_{fit.dtype.upper()} = (  # degree {fit.degree}, error 2^{float(mp.log(error, 2)):.1f}\n{rows})\n")
        print(lines[-1].splitlines()[0], file=sys.stderr)
    print("".join(lines), end="")


HEAD = '''"""Coefficients of the polynomials in `expand_math`, lowest power first. Printed by `benchmarks/fit_coefficients.py`.

The last figure is the largest error on the interval of the fit, relative to the function the polynomial serves.
"""

H = float.fromhex

'''

if __name__ == "__main__":
    main(sys.argv[1:])
