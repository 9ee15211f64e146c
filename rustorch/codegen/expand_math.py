"""Elementary functions as loop operations: the table of expansions and their tested error bounds.

No libm, no table in memory, no vector library: every function is arithmetic on full vectors. Signed zeros, infinities, NaN and
subnormals (as input and as result) come out as C17 annex F has them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rustorch.codegen import expand_area as area
from rustorch.codegen import expand_error as error
from rustorch.codegen import expand_exp_log as exp_log
from rustorch.codegen import expand_gamma as gamma
from rustorch.codegen import expand_inverse as inverse
from rustorch.codegen import expand_more as more
from rustorch.codegen import expand_power as power
from rustorch.codegen import expand_trigonometry as trigonometry
from rustorch.codegen.expand_common import Value, by_format, widened


@dataclass(frozen=True)
class Expansion:
    """How one function becomes loop operations.

    `expand(b, x...)` gives the value; all operands and the result have one type, f32 or f64.
    """

    name: str
    expand: Callable[..., Value]
    operands: int = 1

    @property
    def doc(self) -> str:
        """The algorithm and its source."""
        return self.expand.__doc__ or ""


def _bounds(f32: float, f64: float) -> Mapping[str, float]:
    return {"f32": f32, "f64": f64}


WITHIN = _bounds(1.0, 2.0)
"""What every function keeps, on every level."""

EXPANSIONS: Mapping[str, Expansion] = {
    e.name: e
    for e in (
        Expansion("exp", widened(exp_log.expand_exp)),
        Expansion("exp2", widened(more.expand_exp2)),
        Expansion("expm1", exp_log.expand_expm1),
        Expansion("log", exp_log.expand_log),
        Expansion("log2", by_format(more.expand_log2_f32, more.expand_log2)),
        Expansion("log10", by_format(more.expand_log10_f32, more.expand_log10)),
        Expansion("log1p", widened(exp_log.expand_log1p)),
        Expansion("tanh", widened(exp_log.expand_tanh)),
        Expansion("sigmoid", widened(exp_log.expand_sigmoid)),
        Expansion("softplus", widened(more.expand_softplus)),
        Expansion("sinh", by_format(more.expand_sinh_f32, more.expand_sinh)),
        Expansion("cosh", widened(more.expand_cosh)),
        Expansion("asinh", widened(area.expand_asinh, always=True)),
        Expansion("acosh", widened(area.expand_acosh, always=True)),
        Expansion("atanh", widened(area.expand_atanh, always=True)),
        Expansion("sin", widened(trigonometry.expand_sin)),
        Expansion("cos", widened(trigonometry.expand_cos)),
        Expansion("tan", by_format(trigonometry.expand_tan_f32, trigonometry.expand_tan)),
        Expansion("asin", inverse.expand_asin),
        Expansion("acos", inverse.expand_acos),
        Expansion("atan", by_format(inverse.expand_atan_f32, inverse.expand_atan)),
        Expansion("atan2", by_format(inverse.expand_atan2_f32, inverse.expand_atan2), operands=2),
        Expansion("erf", widened(error.expand_erf)),
        Expansion("erfc", by_format(error.expand_erfc_f32, error.expand_erfc)),
        Expansion("erfinv", by_format(error.expand_erfinv_f32, error.expand_erfinv)),
        Expansion("lgamma", by_format(gamma.expand_lgamma_f32, gamma.expand_lgamma)),
        Expansion("digamma", widened(gamma.expand_digamma, always=True)),
        Expansion("pow", power.expand_pow, operands=2),
        Expansion("rsqrt", power.expand_rsqrt),
        Expansion("cbrt", by_format(power.expand_cbrt, power.expand_cbrt_f64)),
    )
}
"""Every expansion by the name of its op."""
