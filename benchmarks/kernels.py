"""Times fused kernels against hand-written C loops (kernels.c) on one and two threads, and prints a table with ratios.

    python -m benchmarks.kernels [--threads 1 2] [--only chain] [--blocks 9] [--check]

Both sides are called from Python: C through ctypes with memory of the caller, rustorch as a jitted function that returns new tensors.
Blocks of calls alternate between the two; the table shows the fastest call of each, in microseconds, and the ratio (below 1: ours is
faster). Results are compared before anything is timed. Needs gcc.
"""

from __future__ import annotations

import argparse
import ctypes
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import rustorch
from rustorch import functional as F

FLAGS = ("-Ofast", "-march=native", "-mprefer-vector-width=512", "-fopenmp", "-shared", "-fPIC")
PAUSE = 0.02
"""Seconds between blocks, so that the other side's threads have gone to sleep."""

Call = Callable[[], Any]


@dataclass(frozen=True)
class Case:
    """One kernel: what C does, what we do, and both sides' results as arrays, of which the last `loose` ones are long sums."""

    name: str
    c: Call
    ours: Call
    results: Callable[[], tuple[Sequence[np.ndarray[Any, Any]], Sequence[np.ndarray[Any, Any]]]]
    tolerance: float


def library() -> ctypes.CDLL:
    """The C loops, compiled for this machine."""
    folder = tempfile.mkdtemp()
    path = Path(folder) / "kernels.so"
    subprocess.run(["gcc", *FLAGS, str(Path(__file__).with_suffix(".c")), "-o", str(path), "-lm"], check=True)
    return ctypes.CDLL(str(path))


def function(code: ctypes.CDLL, name: str, sizes: Sequence[int], arrays: Sequence[np.ndarray[Any, Any]]) -> Call:
    """A call of a C function with these arguments, which are converted once."""
    found = getattr(code, name)
    found.restype = ctypes.c_double
    found.argtypes = [ctypes.c_int64] * len(sizes) + [ctypes.c_void_p] * len(arrays)
    arguments = [*map(ctypes.c_int64, sizes), *(a.ctypes.data_as(ctypes.c_void_p) for a in arrays)]  # these keep the arrays alive
    return lambda: found(*arguments)


def chain(x: Any) -> Any:
    """The chain of elementary functions."""
    return (rustorch.tanh(x) * rustorch.exp(-(x * x)) + rustorch.log1p(x * x) + rustorch.sigmoid(x)).sum()


def rosenbrock(x: Any) -> Any:
    """Rosenbrock's function of many variables."""
    return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()


def one_array(code: ctypes.CDLL, name: str, of: Callable[[Any], Any], n: int, dtype: str, scale: float = 1.0) -> Case:
    """A function of one array with its gradient."""
    x = (np.random.default_rng(0).standard_normal(n) * scale).astype(dtype)
    gradient = np.empty_like(x)
    c = function(code, f"{name}_{'f32' if dtype == 'f4' else 'f64'}", [n], [x, gradient])
    tensor, jitted = rustorch.tensor(x), rustorch.jit(rustorch.value_and_grad(of))

    def results() -> Any:
        value, ours = jitted(tensor)
        return [np.float64(c()), gradient], [value.numpy().astype(np.float64), ours.numpy()]

    return Case(f"{name} {'f32' if dtype == 'f4' else 'f64'} {n:.0e}", c, lambda: jitted(tensor), results, 2e-5 if dtype == "f4" else 1e-10)


def cross_entropy(code: ctypes.CDLL, rows: int, columns: int) -> Case:
    """Mean cross entropy and the gradient of the scores."""
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((rows, columns)).astype("f4"), rng.integers(0, columns, rows)
    gradient = np.empty_like(x)
    c = function(code, "cross_entropy_f32", [rows, columns], [x, y, gradient])
    scores, labels = rustorch.tensor(x), rustorch.tensor(y)
    jitted = rustorch.jit(rustorch.value_and_grad(F.cross_entropy))

    def results() -> Any:
        value, ours = jitted(scores, labels)
        return [np.float64(c()), gradient], [value.numpy().astype(np.float64), ours.numpy()]

    return Case(f"cross entropy {rows}x{columns}", c, lambda: jitted(scores, labels), results, 2e-5)


def layer_norm(code: ctypes.CDLL, rows: int, columns: int) -> Case:
    """Layer norm, weighted and summed, with the gradients of input, weight and bias."""
    rng = np.random.default_rng(2)
    x, u = (rng.standard_normal((rows, columns)).astype("f4") for _ in range(2))
    w, b = (rng.standard_normal(columns).astype("f4") for _ in range(2))
    dx, dw, db, work = np.empty_like(x), np.empty_like(w), np.empty_like(b), np.empty(512 * columns, "f4")
    c = function(code, "layer_norm_f32", [rows, columns], [x, w, b, u, dx, dw, db, work])

    def loss(x: Any, w: Any, b: Any, u: Any) -> Any:
        return (F.layer_norm(x, (columns,), w, b) * u).sum()

    jitted = rustorch.jit(rustorch.value_and_grad(loss, argnums=(0, 1, 2)))
    arguments = [rustorch.tensor(a) for a in (x, w, b, u)]

    def results() -> Any:
        value, (gx, gw, gb) = jitted(*arguments)
        return [np.float64(c()), dx, dw, db], [value.numpy().astype(np.float64), gx.numpy(), gw.numpy(), gb.numpy()]

    return Case(f"layer norm {rows}x{columns}", c, lambda: jitted(*arguments), results, 1e-4)


def cases(code: ctypes.CDLL) -> list[Callable[[], Case]]:
    """Makers of all cases: memory is taken when a case is due."""
    return [
        *(lambda n=n, d=d: one_array(code, "chain", chain, n, d) for d in ("f4", "f8") for n in (10**4, 10**6, 10**7)),
        *(lambda n=n: one_array(code, "rosenbrock", rosenbrock, n, "f8", 0.5) for n in (10**3, 10**6)),
        lambda: cross_entropy(code, 256, 10),
        lambda: cross_entropy(code, 1024, 32000),
        lambda: layer_norm(code, 4096, 1024),
    ]


def check(case: Case) -> None:
    """Stop where the two sides disagree by more than the tolerance, relative to the largest element."""
    c, ours = case.results()
    for place, (expected, actual) in enumerate(zip(c, ours, strict=True)):
        scale = float(np.abs(expected).max())
        if not np.allclose(actual, expected, rtol=case.tolerance, atol=case.tolerance * scale):
            raise SystemExit(f"{case.name}: result {place} differs by {np.abs(actual - expected).max()} of {scale}")


def fastest(case: Case, blocks: int, seconds: float = 0.06) -> tuple[float, float]:
    """Microseconds of the fastest call of C and of ours, over alternating blocks."""
    best = [float("inf"), float("inf")]
    for _ in range(blocks):
        for side, call in enumerate((case.c, case.ours)):
            time.sleep(PAUSE)
            call()
            end = time.perf_counter() + seconds
            while True:
                start = time.perf_counter()
                call()
                now = time.perf_counter()
                best[side] = min(best[side], now - start)
                if now > end:
                    break
    return best[0] * 1e6, best[1] * 1e6


def main() -> None:
    """The table."""
    parser = argparse.ArgumentParser(description="fused kernels against hand-written C")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--only", default="")
    parser.add_argument("--blocks", type=int, default=9)
    parser.add_argument("--check", action="store_true", help="compare results and time nothing")
    options = parser.parse_args()
    code = library()
    print(f"{'kernel':28}{'threads':>8}{'C us':>12}{'rustorch us':>14}{'ratio':>8}")
    for make in cases(code):
        case = make()
        if options.only not in case.name:
            continue
        check(case)
        for count in () if options.check else options.threads:
            code.omp_set_num_threads(count)
            rustorch.set_num_threads(count)
            c, ours = fastest(case, options.blocks)
            print(f"{case.name:28}{count:>8}{c:>12.1f}{ours:>14.1f}{ours / c:>8.2f}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
