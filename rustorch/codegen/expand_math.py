"""Elementary functions as loop operations: the table of expansions and their tested error bounds.

No libm, no table in memory, no vector library: every function is arithmetic on full vectors. Signed zeros, infinities, NaN and
subnormals (as input and as result) come out as C17 annex F has them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rustorch.codegen import expand_exp_log as exp_log
from rustorch.codegen import expand_inverse as inverse
from rustorch.codegen import expand_more as more
from rustorch.codegen import expand_power as power
from rustorch.codegen import expand_trigonometry as trigonometry
from rustorch.codegen.expand_common import Value


@dataclass(frozen=True)
class Expansion:
    """How one function becomes loop operations.

    `expand(b, x...)` gives the value; all operands and the result have one type, f32 or f64. `ulp` bounds the error by element
    type on levels with fma, `ulp_without_fma` on the others, both against the exact value over the whole range.
    """

    name: str
    expand: Callable[..., Value]
    ulp: Mapping[str, float]
    ulp_without_fma: Mapping[str, float]
    operands: int = 1

    @property
    def doc(self) -> str:
        """The algorithm and its source."""
        return self.expand.__doc__ or ""


def _bounds(f32: float, f64: float) -> Mapping[str, float]:
    return {"f32": f32, "f64": f64}


EXPANSIONS: Mapping[str, Expansion] = {
    e.name: e
    for e in (
        Expansion("exp", exp_log.expand_exp, _bounds(1.0, 1.0), _bounds(1.1, 1.25)),
        Expansion("exp2", more.expand_exp2, _bounds(1.0, 1.0), _bounds(1.25, 1.25)),
        Expansion("expm1", exp_log.expand_expm1, _bounds(1.0, 1.6), _bounds(1.0, 1.6)),
        Expansion("log", exp_log.expand_log, _bounds(1.0, 1.0), _bounds(1.0, 1.0)),
        Expansion("log2", more.expand_log2, _bounds(1.15, 1.0), _bounds(1.15, 1.1)),
        Expansion("log10", more.expand_log10, _bounds(1.05, 1.0), _bounds(1.1, 1.1)),
        Expansion("log1p", exp_log.expand_log1p, _bounds(1.0, 1.5), _bounds(1.1, 1.5)),
        Expansion("tanh", exp_log.expand_tanh, _bounds(1.0, 1.5), _bounds(1.25, 1.5)),
        Expansion("sigmoid", exp_log.expand_sigmoid, _bounds(1.0, 2.0), _bounds(2.0, 2.0)),
        Expansion("softplus", more.expand_softplus, _bounds(1.0, 1.0), _bounds(1.1, 1.1)),
        Expansion("sinh", more.expand_sinh, _bounds(1.1, 1.5), _bounds(1.1, 1.5)),
        Expansion("cosh", more.expand_cosh, _bounds(1.0, 1.0), _bounds(1.1, 1.1)),
        Expansion("sin", trigonometry.expand_sin, _bounds(1.0, 1.0), _bounds(1.4, 1.4)),
        Expansion("cos", trigonometry.expand_cos, _bounds(1.0, 1.0), _bounds(1.4, 1.4)),
        Expansion("tan", trigonometry.expand_tan, _bounds(1.3, 2.5), _bounds(2.0, 3.0)),
        Expansion("asin", inverse.expand_asin, _bounds(1.0, 1.0), _bounds(1.0, 1.0)),
        Expansion("acos", inverse.expand_acos, _bounds(1.0, 1.0), _bounds(1.0, 1.0)),
        Expansion("atan", inverse.expand_atan, _bounds(1.15, 2.0), _bounds(1.25, 2.0)),
        Expansion("erf", more.expand_erf, _bounds(1.05, 1.0), _bounds(1.25, 1.25)),
        Expansion("pow", power.expand_pow, _bounds(0.6, 1.25), _bounds(0.6, 1.25), operands=2),
        Expansion("rsqrt", power.expand_rsqrt, _bounds(1.5, 1.5), _bounds(1.5, 1.5)),
    )
}
"""Every expansion by the name of its op."""
