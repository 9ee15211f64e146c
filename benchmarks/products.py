"""Times our matrix products against numpy's OpenBLAS on one thread and prints a table with ratios.

    python -m benchmarks.products [--level v4] [--dtype f32 f64] [--only 64x64x64]

Both are called from the same native loop, so neither pays for Python. Blocks of calls alternate between the two; medians are shown.
A ratio below 1 is ours being faster.
"""

from __future__ import annotations

import argparse
import ctypes
import glob
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rustorch.codegen.assemble import assemble
from rustorch.codegen.products import gemm_symbol, gemm_text, gemm_work_bytes
from rustorch.codegen.target import LEVELS, Target, host_level, target
from rustorch.runtime.loader import Loaded, load


@dataclass(frozen=True)
class Case:
    """A product `a[m, k] @ b[k, n]`; a transposed operand is stored with contiguous columns."""

    m: int
    n: int
    k: int
    a_transposed: bool = False
    b_transposed: bool = False

    def __str__(self) -> str:
        a, b = ("T" if t else "" for t in (self.a_transposed, self.b_transposed))
        return f"{self.m}x{self.k}{a} @ {self.k}x{self.n}{b}"


CASES = [
    *(Case(n, n, n) for n in (16, 32, 64, 128, 256, 512, 1024)),
    Case(128, 512, 784),
    *(Case(n, n, n, a_transposed=True) for n in (64, 256, 512)),
    *(Case(n, n, n, b_transposed=True) for n in (64, 256, 512)),
    # The digits network, batch 128: forward, gradients of weights, gradient of the hidden layer.
    Case(128, 64, 64), Case(128, 10, 64), Case(64, 10, 128), Case(64, 10, 128, a_transposed=True),
    Case(64, 64, 128, a_transposed=True), Case(128, 64, 10, b_transposed=True),
    # Vectors: a row times a matrix, a matrix times a column, in both layouts; a dot product.
    *(Case(1, n, n, b_transposed=t) for n in (128, 512, 1024) for t in (False, True)),
    *(Case(n, 1, n, a_transposed=t) for n in (128, 512, 1024) for t in (False, True)),
    Case(10_000, 1, 30), Case(1, 1, 1000), Case(1, 1, 100_000),
]

_OURS = ["i64"] * 3 + ["ptr", "i64", "i64"] * 3 + ["ptr"]
_CBLAS = ["i32"] * 3 + ["i64"] * 3 + ["{s}", "ptr", "i64", "ptr", "i64", "{s}", "ptr", "i64"]
_KINDS = {"f32": (np.float32, np.uint32, "float", "s"), "f64": (np.float64, np.uint64, "double", "d")}


def repeat_text(name: str, kinds: Sequence[str]) -> str:
    """LLVM text of a function that calls `f` `count` times with arguments read from 8-byte slots."""
    lines = [f"define void @{name}(ptr %f, i64 %count, ptr %slots) {{", "entry:"]
    for i, kind in enumerate(kinds):
        lines += [f"  %p{i} = getelementptr i64, ptr %slots, i64 {i}", f"  %x{i} = load {kind}, ptr %p{i}"]
    arguments = ", ".join(f"{kind} %x{i}" for i, kind in enumerate(kinds))
    return "\n".join([*lines, "  br label %loop", "loop:", "  %i = phi i64 [0, %entry], [%j, %loop]", f"  call void %f({arguments})",
                      "  %j = add i64 %i, 1", "  %more = icmp slt i64 %j, %count", "  br i1 %more, label %loop, label %end",
                      "end:", "  ret void", "}", ""])


def openblas() -> ctypes.CDLL:
    """The OpenBLAS that came with numpy."""
    folder = Path(np.__file__).parent.parent / "numpy.libs"
    found = glob.glob(str(folder / "libscipy_openblas64*"))
    if not found:
        raise SystemExit(f"no OpenBLAS to compare with in {folder}: install numpy's wheel")
    return ctypes.CDLL(found[0])


class Race:
    """Both products of one element type, ready to be timed."""

    def __init__(self, dtype: str, goal: Target) -> None:
        self.dtype, self.goal = dtype, goal
        self.kind, self.bits, scalar, letter = _KINDS[dtype]
        text = gemm_text(dtype, goal)
        began = time.perf_counter()
        compiled = assemble(text, goal)
        self.compile_ms = (time.perf_counter() - began) * 1e3
        loops = repeat_text("ours", _OURS) + repeat_text("cblas", [kind.format(s=scalar) for kind in _CBLAS])
        self.code: list[Loaded] = [load(compiled, [gemm_symbol(dtype, goal)]), load(assemble(loops, goal), ["ours", "cblas"])]
        self.ours = self.code[0].address(gemm_symbol(dtype, goal))
        self.library = openblas()
        self.cblas = ctypes.cast(getattr(self.library, f"scipy_cblas_{letter}gemm64_"), ctypes.c_void_p).value
        signature = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p)
        self.loops = [signature(self.code[1].address(name)) for name in ("ours", "cblas")]

    def run(self, case: Case, blocks: int = 11, seconds: float = 0.004) -> tuple[float, float]:
        """Median seconds of one call: ours, OpenBLAS's."""
        m, n, k, size = case.m, case.n, case.k, np.dtype(self.kind).itemsize
        rng = np.random.default_rng(0)
        a, b = (aligned(count * size).view(self.kind) for count in (m * k, k * n))
        for x in (a, b):
            x[...] = rng.normal(size=x.size)
        c, expected = (aligned(m * n * size).view(self.kind) for _ in range(2))
        work = aligned(gemm_work_bytes(m, n, k, self.dtype, self.goal))
        a_strides, b_strides = ((1, m) if case.a_transposed else (k, 1)), ((1, k) if case.b_transposed else (n, 1))
        one, zero = (int(np.array(x, self.kind).view(self.bits)) for x in (1, 0))
        layouts = [112 if transposed else 111 for transposed in (case.a_transposed, case.b_transposed)]  # CblasTrans, CblasNoTrans
        slots = [
            [m, n, k, a.ctypes.data, *a_strides, b.ctypes.data, *b_strides, c.ctypes.data, n, 0, work.ctypes.data],
            [101, *layouts, m, n, k, one, a.ctypes.data, max(a_strides), b.ctypes.data, max(b_strides), zero, expected.ctypes.data, n],
        ]
        arguments = [np.array(row, np.int64) for row in slots]

        def timed(which: int, function: int | None, count: int) -> float:
            began = time.perf_counter()
            self.loops[which](function, count, arguments[which].ctypes.data)
            return (time.perf_counter() - began) / count

        calls: list[Callable[[int], float]] = [lambda count: timed(0, self.ours, count), lambda count: timed(1, self.cblas, count)]
        counts = []
        for call in calls:
            call(1)
            counts.append(max(1, int(seconds / call(max(1, int(seconds / 8 / call(2)))))))
        samples = [[call(count) for call, count in zip(calls, counts, strict=True)] for _ in range(blocks)]
        tolerance = 1e-4 if self.dtype == "f32" else 1e-12
        assert np.abs(c - expected).max() <= tolerance * (1 + np.abs(expected).max()), case
        ours, blas = (statistics.median(column) for column in zip(*samples, strict=True))
        return ours, blas


def aligned(size: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """Zeroed bytes that begin a cache line."""
    room = np.zeros(size + 64, np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + size]


def openblas_environment() -> dict[str, str]:
    """What OpenBLAS must read when numpy loads it: one thread, and the kernels that it chooses itself for this machine."""
    kept = {name: value for name, value in os.environ.items() if name not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}
    return {**kept, "OPENBLAS_NUM_THREADS": "1"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--level", choices=list(LEVELS), default=host_level())
    parser.add_argument("--dtype", nargs="+", choices=list(_KINDS), default=list(_KINDS))
    parser.add_argument("--only", nargs="+", default=[], help="cases whose name contains one of these")
    options = parser.parse_args()
    if openblas_environment() != dict(os.environ):
        os.execve(sys.executable, [sys.executable, "-m", "benchmarks.products", *sys.argv[1:]], openblas_environment())
    for dtype in options.dtype:
        race = Race(dtype, target(options.level))
        print(f"\n{dtype}, level {options.level}, one thread; object made in {race.compile_ms:.0f} ms")
        print(f"{'product':28} {'ours µs':>10} {'OpenBLAS µs':>12} {'ratio':>6} {'GFLOP/s':>8}")
        for case in CASES:
            if options.only and not any(word in str(case) for word in options.only):
                continue
            ours, blas = race.run(case)
            speed = 2e-9 * case.m * case.n * case.k / ours
            print(f"{case!s:28} {ours * 1e6:10.2f} {blas * 1e6:12.2f} {ours / blas:6.2f} {speed:8.1f}", flush=True)


if __name__ == "__main__":
    main()
