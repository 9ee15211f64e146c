"""Cost of one call: value and gradient of `sum(x*x + sin(x))` for 8 float32 numbers, an ndarray in, results out.

    python -m benchmarks.call

rustorch's jit, JAX's jit and PyTorch eager (where they are installed), warm, in interleaved blocks; medians and ratios.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

import rustorch
from benchmarks.timing import block, interleaved, ratio

CALLS, BLOCKS = 2000, 40


def candidates(x: Any) -> dict[str, Callable[[], Any]]:
    """What is measured, by name."""
    ours = rustorch.jit(rustorch.value_and_grad(lambda x: (x * x + rustorch.sin(x)).sum()))
    found: dict[str, Callable[[], Any]] = {"rustorch jit": lambda: ours(x)}
    if find_spec("jax"):
        import jax

        theirs = jax.jit(jax.value_and_grad(lambda x: (x * x + jax.numpy.sin(x)).sum()))
        found["jax jit"] = lambda: theirs(x)
    if find_spec("torch"):
        import torch

        def eager() -> Any:
            t = torch.from_numpy(x).requires_grad_()
            value = (t * t + torch.sin(t)).sum()
            value.backward()
            return value, t.grad

        found["torch eager"] = eager
    return found


def main() -> None:
    """Measure and print the table."""
    x = np.linspace(-1, 1, 8, dtype=np.float32)
    run = candidates(x)
    for call in run.values():
        for _ in range(200):
            call()
    calls = {name: CALLS if name.startswith("rustorch") else CALLS // 10 for name in run}
    times = interleaved({name: partial(block, call, calls[name]) for name, call in run.items()}, BLOCKS)
    ours = times["rustorch jit"]
    print(f"{'':<14}{'µs a call':>10}{'ours / theirs':>15}")
    for name, found in times.items():
        print(f"{name:<14}{statistics.median(found) * 1e6:>10.2f}{ratio(ours, found):>15.3f}")


if __name__ == "__main__":
    main()
