"""The elementary functions: largest error found and time per element, against numpy, PyTorch and JAX. Writes `docs/vector_math.md`.

    XLA_FLAGS="--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1" taskset -c 0 python -m benchmarks.vector_math

Errors are in units in the last place of the exact value: for f32 against f64 arithmetic of numpy and SciPy, for f64 against mpmath;
the same arguments for every library. Times are medians of interleaved blocks, warm, one thread, over 65,536 elements (which stay
in the second-level cache), an array in and a new array out. Needs SciPy and mpmath; PyTorch and JAX where they are installed.
"""

from __future__ import annotations

import math
import platform
import statistics
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import mpmath as mp
import numpy as np
import scipy.special

import rustorch
from benchmarks.timing import block, interleaved
from rustorch.codegen.target import target

Array = np.ndarray[Any, Any]
SIZE, BLOCKS, F64_POINTS = 1 << 16, 21, 3000
PAGE = Path(__file__).parent.parent / "docs" / "vector_math.md"

FUNCTIONS: dict[str, tuple[float, float, Callable[..., Array]]] = {
    "exp": (-80, 80, np.exp),
    "exp2": (-100, 100, np.exp2),
    "expm1": (-20, 20, np.expm1),
    "log": (0, 100, np.log),
    "log2": (0, 100, np.log2),
    "log10": (0, 100, np.log10),
    "log1p": (-1, 10, np.log1p),
    "sin": (-10, 10, np.sin),
    "cos": (-10, 10, np.cos),
    "tan": (-10, 10, np.tan),
    "asin": (-1, 1, np.arcsin),
    "acos": (-1, 1, np.arccos),
    "atan": (-10, 10, np.arctan),
    "atan2": (-10, 10, np.arctan2),
    "sinh": (-10, 10, np.sinh),
    "cosh": (-10, 10, np.cosh),
    "tanh": (-5, 5, np.tanh),
    "asinh": (-10, 10, np.arcsinh),
    "acosh": (1, 10, np.arccosh),
    "atanh": (-1, 1, np.arctanh),
    "sigmoid": (-10, 10, scipy.special.expit),
    "softplus": (-10, 10, lambda x: np.logaddexp(x.dtype.type(0), x)),
    "erf": (-4, 4, scipy.special.erf),
    "erfc": (-4, 9, scipy.special.erfc),
    "erfinv": (-1, 1, scipy.special.erfinv),
    "lgamma": (0, 20, scipy.special.gammaln),
    "digamma": (1.6, 20, scipy.special.psi),
    "pow": (0, 10, np.power),
    "rsqrt": (0, 100, lambda x: 1 / np.sqrt(x)),
    "cbrt": (-100, 100, np.cbrt),
}
"""Where each is measured, and numpy's or SciPy's function of an array."""
MPMATH: dict[str, Callable[..., Any]] = {
    "exp2": lambda x: mp.power(2, x),
    "log2": lambda x: mp.log(x, 2),
    "sigmoid": lambda x: 1 / (1 + mp.exp(-x)),
    "softplus": lambda x: mp.log1p(mp.exp(x)),
    "pow": mp.power,
    "rsqrt": lambda x: 1 / mp.sqrt(x),
    "cbrt": lambda x: mp.sign(x) * mp.cbrt(abs(x)),
    "lgamma": mp.loggamma,
}
ARGUMENTS = {"atan2": 2, "pow": 2}


def draw(name: str, count: int, dtype: str) -> list[Array]:
    """Arguments, the same for every library."""
    rng = np.random.default_rng(0)
    low, high, _ = FUNCTIONS[name]
    return [np.asarray(rng.uniform(low, high, count).astype(dtype)) for _ in range(ARGUMENTS.get(name, 1))]


def libraries(name: str, arguments: list[Array]) -> dict[str, Callable[[], Any]]:
    """The call of each library that has the function."""
    ours = rustorch.jit(lambda *x: (rustorch.functional.softplus if name == "softplus" else getattr(rustorch, name))(*x))
    theirs = FUNCTIONS[name][2]
    found: dict[str, Callable[[], Any]] = {"rustorch": lambda: ours(*arguments), "numpy": lambda: theirs(*arguments)}
    if find_spec("torch"):
        import torch

        eager = getattr(torch, name, None) or getattr(torch.nn.functional, name, None)
        if eager is not None:
            tensors = [torch.from_numpy(x) for x in arguments]
            found["torch"] = lambda: eager(*tensors)
    if find_spec("jax"):
        import jax

        jax.config.update("jax_enable_x64", True)
        names = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "atan2": "arctan2", "asinh": "arcsinh", "acosh": "arccosh",
                 "atanh": "arctanh", "pow": "power"}  # fmt: skip
        places = (jax.numpy, jax.nn, jax.lax, jax.scipy.special)
        function = next((getattr(p, names.get(name, name)) for p in places if hasattr(p, names.get(name, name))), None)
        if function is not None:
            compiled, placed = jax.jit(function), [jax.device_put(x) for x in arguments]
            found["jax"] = lambda: compiled(*placed).block_until_ready()
    return found


def errors(name: str, dtype: str) -> dict[str, float]:
    """The largest error of each library, in ulp."""
    arguments = draw(name, SIZE if dtype == "float32" else F64_POINTS, dtype)
    if dtype == "float32":
        exact = FUNCTIONS[name][2](*[x.astype(np.float64) for x in arguments])
        unit = np.spacing(np.abs(exact).astype(np.float32)).astype(np.float64)
        return {k: float(np.max(np.abs(np.asarray(f()).astype(np.float64) - exact) / unit)) for k, f in libraries(name, arguments).items()}
    f = MPMATH.get(name) or getattr(mp, name)
    found = {}
    with mp.workprec(160):
        values = [f(*(mp.mpf(float(v)) for v in row)) for row in zip(*arguments, strict=True)]
        for library, call in libraries(name, arguments).items():
            got = np.asarray(call()).tolist()
            found[library] = max(_ulps(g, v) for g, v in zip(got, values, strict=True))
    return found


def _ulps(got: float, exact: Any) -> float:
    if not math.isfinite(got):
        return math.inf
    return float(abs(mp.mpf(got) - exact) / mp.mpf(2) ** (mp.frexp(exact)[1] - 53)) if exact else abs(got)


def times(name: str, dtype: str) -> dict[str, float]:
    """Nanoseconds an element."""
    run = libraries(name, draw(name, SIZE, dtype))

    def warm(call: Callable[[], Any]) -> float:
        call()
        return block(call, 2)

    found = interleaved({library: partial(warm, call) for library, call in run.items()}, BLOCKS)
    return {library: statistics.median(t) / SIZE * 1e9 for library, t in found.items()}


def table(dtype: str) -> list[str]:
    """The rows of one element type."""
    columns = ["rustorch", "numpy", "torch", "jax"]
    lines = ["| function | " + " | ".join(f"{c}, ulp" for c in columns) + " | " + " | ".join(f"{c}, ns" for c in columns) + " |"]
    lines.append("|---|" + "---|" * 2 * len(columns))
    for name in FUNCTIONS:
        ulp, ns = errors(name, dtype), times(name, dtype)
        cells = [f"{ulp[c]:.2f}" if c in ulp else "–" for c in columns] + [f"{ns[c]:.2f}" if c in ns else "–" for c in columns]
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    """Measure everything and write the page."""
    versions = ", ".join(f"{p} {version(p)}" for p in ("numpy", "scipy", "torch", "jax") if find_spec(p))
    text = [
        "# Vector mathematics",
        "",
        "Printed by `python -m benchmarks.vector_math`, whose docstring says what is measured and how. Every function is arithmetic",
        "on full vectors, without tables and without libm; the promise, tested for every level (x86-64-v2, v3, v4) over the whole",
        "range of arguments, is 1 ulp in f32 and 2 ulp in f64, with signed zeros, infinities, NaN and subnormals as C17 annex F has",
        "them. `lgamma` and `digamma` keep it for positive arguments; near their zeros below 0 the error is absolute.",
        "",
        f"One run on {platform.machine()}, level {target().level}; {versions}. ulp: the largest error found. ns: per element.",
    ]
    for dtype in ("float32", "float64"):
        text += ["", f"## {dtype}", "", *table(dtype)]
    PAGE.write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()
