"""Programs in PyTorch's manner, without `jit`: what recording costs, and steps of training against PyTorch eager.

    python -m benchmarks.autograd [--only NAME] [--threads 1]

The same source runs on both libraries, in one process, warm, in interleaved blocks; the table gives medians, and the median of the
ratios of neighbouring blocks. The numbers that both compute are compared before anything is timed. Without PyTorch only our
times are shown.

- `record-chain`, `record-mixed`: the time from one operation to the next while a known program is recorded, on small tensors: a
  chain of elementwise operations; a mix of products, reductions, views and operations with numbers. PyTorch's time is that of
  running them, which it does at once.
- `backward`: `loss.backward()` of the chain, all of it. Ours is one look-up and one native call for 64 operations.
- `mlp`: a step of 784-512-256-10, batch 128, Adam. Almost all of it is matrix products: see `benchmarks.products`.
- `lstm`: forward, backward and SGD of two LSTM layers of 64 units that are written as a loop over 64 steps, batch 16.
- `penalty`: the MLP's step with a gradient penalty: `grad(create_graph=True)` for the input, then `backward`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.timing import interleaved, ratio

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Program:
    """What is timed: `run` does the work of `per` units; `check` gives numbers that must agree, after a few runs.

    `after` is done after each run, outside of what is timed.
    """

    run: Callable[[], Any]
    check: Callable[[], list[float]]
    per: int = 1
    after: Callable[[], Any] = lambda: None


def random(seed: int, *shape: int, scale: float = 1.0) -> Array:
    """The same numbers for both libraries."""
    return (np.random.default_rng(seed).normal(size=shape) * scale).astype(np.float32)


# --- Recording --------------------------------------------------------------------------------------------------------

ROUNDS = 8


def record_chain(lib: Any) -> Program:
    """64 elementwise operations on 16 numbers."""
    x, y = lib.tensor(random(0, 16)), lib.tensor(random(1, 16))
    last: list[Any] = [None]

    def run() -> None:
        z = x
        for _ in range(ROUNDS):
            z = (z * y + x).tanh().sigmoid()
            z = (z - y).exp().sin() * x
        last[0] = z

    return Program(run, lambda: last[0].tolist(), 8 * ROUNDS, lambda: last[0].sum().item())


def record_mixed(lib: Any) -> Program:
    """64 operations of many kinds on a 4x4 matrix."""
    x, w = lib.tensor(random(0, 4, 4)), lib.tensor(random(1, 4, 4, scale=0.3))
    last: list[Any] = [None]

    def run() -> None:
        z = x
        for _ in range(ROUNDS):
            z = (z @ w).reshape(2, 8) * 0.5
            z = z.reshape(4, 4).transpose(0, 1) - z.mean()
            z = lib.relu(z + 1.0)
        last[0] = z

    return Program(run, lambda: last[0].reshape(16).tolist(), 8 * ROUNDS, lambda: last[0].sum().item())


def backward(lib: Any) -> Program:
    """The backward pass of 64 elementwise operations, and all of what it waits for."""
    x, y = lib.tensor(random(0, 16), requires_grad=True), lib.tensor(random(1, 16))
    losses: list[Any] = []

    def forward() -> None:
        x.grad = None
        z = x
        for _ in range(ROUNDS):
            z = (z * y + x).tanh().sigmoid()
            z = (z - y).exp().sin() * y
        losses[:] = [z.sum()]

    def check() -> list[float]:
        losses[0].backward()
        gradient: list[float] = x.grad.tolist()
        forward()
        return gradient

    forward()
    return Program(lambda: losses[0].backward(), check, 1, forward)


# --- Training ---------------------------------------------------------------------------------------------------------

SIZES, BATCH = (784, 512, 256, 10), 128


def network(lib: Any) -> tuple[Any, Any, Any]:
    """The MLP with given weights, and a batch."""
    layers: list[Any] = []
    for k, (inputs, outputs) in enumerate(pairwise(SIZES)):
        layer = lib.nn.Linear(inputs, outputs)
        with lib.no_grad():
            layer.weight.copy_(lib.tensor(random(2 * k, outputs, inputs, scale=inputs**-0.5)))
            layer.bias.copy_(lib.tensor(random(2 * k + 1, outputs, scale=0.1)))
        layers += [layer, lib.nn.Tanh()]
    labels = np.random.default_rng(9).integers(0, SIZES[-1], BATCH)
    return lib.nn.Sequential(*layers[:-1]), random(8, BATCH, SIZES[0]), labels


def mlp(lib: Any) -> Program:
    """A step of the MLP with Adam."""
    model, scans, labels = network(lib)
    x, y = lib.tensor(scans), lib.tensor(labels)
    opt = lib.optim.Adam(model.parameters(), lr=1e-3)
    criterion = lib.nn.CrossEntropyLoss()
    last: list[Any] = [None]

    def run() -> None:
        opt.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        opt.step()
        last[0] = loss

    return Program(run, lambda: [float(last[0].detach())])


def penalty(lib: Any) -> Program:
    """A step of the MLP with a penalty on the gradient for its input."""
    model, scans, labels = network(lib)
    x, y = lib.tensor(scans, requires_grad=True), lib.tensor(labels)
    opt = lib.optim.Adam(model.parameters(), lr=1e-3)
    criterion = lib.nn.CrossEntropyLoss()
    last: list[Any] = [None]

    def run() -> None:
        opt.zero_grad()
        loss = criterion(model(x), y)
        (slope,) = lib.autograd.grad(loss, x, create_graph=True)
        total = loss + 10.0 * (slope * slope).sum()
        total.backward()
        opt.step()
        x.grad = None
        last[0] = total

    return Program(run, lambda: [float(last[0].detach())])


UNITS, STEPS, ROWS = 64, 64, 16


def lstm(lib: Any) -> Program:
    """A step of two LSTM layers, each cell written out (Hochreiter and Schmidhuber 1997, with forget gates)."""
    parameters = []
    for layer in range(2):
        weights = random(10 + layer, 2 * UNITS, 4 * UNITS, scale=(2 * UNITS) ** -0.5)
        parameters += [lib.tensor(weights, requires_grad=True), lib.tensor(random(20 + layer, 4 * UNITS, scale=0.1), requires_grad=True)]
    inputs = [lib.tensor(random(100 + t, ROWS, UNITS)) for t in range(STEPS)]
    target = lib.tensor(random(99, ROWS, UNITS, scale=0.3))
    zero = lib.zeros(ROWS, UNITS)
    opt = lib.optim.SGD(parameters, lr=0.1)
    last: list[Any] = [None]

    def cell(x: Any, h: Any, c: Any, w: Any, b: Any) -> tuple[Any, Any]:
        gates = lib.cat([x, h], 1) @ w + b
        i, f, g, o = (gates[:, k * UNITS : (k + 1) * UNITS] for k in range(4))
        c = lib.sigmoid(f) * c + lib.sigmoid(i) * lib.tanh(g)
        return lib.sigmoid(o) * lib.tanh(c), c

    def run() -> None:
        opt.zero_grad()
        (w1, b1, w2, b2), (h1, c1, h2, c2) = parameters, (zero,) * 4
        for x in inputs:
            h1, c1 = cell(x, h1, c1, w1, b1)
            h2, c2 = cell(h1, h2, c2, w2, b2)
        loss = ((h2 - target) ** 2).mean()
        loss.backward()
        opt.step()
        last[0] = loss

    return Program(run, lambda: [float(last[0].detach())])


PROGRAMS: dict[str, tuple[Callable[[Any], Program], int, float]] = {
    "record-chain": (record_chain, 50, 1.2),
    "record-mixed": (record_mixed, 50, 1.2),
    "backward": (backward, 50, 0.0),
    "mlp": (mlp, 10, 1.0),
    "lstm": (lstm, 2, 0.5),
    "penalty": (penalty, 5, 0.5),
}
"""By name: the program, its runs in a block, and what is asked for: µs an operation while recording, else the ratio."""


def block(program: Program, runs: int) -> float:
    """Seconds a unit."""
    total = 0.0
    for _ in range(runs):
        begin = time.perf_counter()
        program.run()
        total += time.perf_counter() - begin
        program.after()
    return total / runs / program.per


def measure(name: str, libraries: dict[str, Any], blocks: int) -> None:
    """Compare what both libraries compute, then time them, and print a line."""
    make, runs, goal = PROGRAMS[name]
    programs = {key: make(lib) for key, lib in libraries.items()}
    numbers = {}
    for key, program in programs.items():
        for _ in range(6):
            program.run()
            program.after()
        numbers[key] = program.check()
    if "torch" in numbers:
        np.testing.assert_allclose(numbers["rustorch"], numbers["torch"], rtol=2e-3, atol=2e-4, err_msg=name)
    times = interleaved({key: partial(block, program, runs) for key, program in programs.items()}, blocks)
    ours = statistics.median(times["rustorch"]) * 1e6
    line = f"{name:<14}{ours:>12.2f}"
    if "torch" in times:
        line += f"{statistics.median(times['torch']) * 1e6:>12.2f}{ratio(times['rustorch'], times['torch']):>10.2f}"
    asked = "" if not goal else f"{goal:.1f} µs" if name.startswith("record") else f"{goal:.1f}"
    print(f"{line}{asked:>10}", flush=True)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch (default: %(default)s)")
    parser.add_argument("--blocks", type=int, default=15)
    parser.add_argument("--only", choices=PROGRAMS, action="append", help="programs to run (default: all)")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)

    import rustorch

    libraries: dict[str, Any] = {"rustorch": rustorch}
    if find_spec("torch"):
        import torch

        torch.set_num_threads(options.threads)
        libraries["torch"] = torch
    print(f"{'µs':<14}{'rustorch':>12}{'PyTorch':>12}{'ratio':>10}{'asked':>10}")
    for name in options.only or PROGRAMS:
        measure(name, libraries, options.blocks)


if __name__ == "__main__":
    main()
