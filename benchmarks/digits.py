"""One training step of the digits network (64-128-64-10, batch 64, Adam), against PyTorch and JAX where they are installed.

    python -m benchmarks.digits [--threads 1]

All run in one process, warm, in interleaved blocks; the table gives medians and ratios. PyTorch runs eagerly with its
default Adam and with its fused one, JAX as one jitted and donated step. Cold compile is the first
call of a fresh step.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

from benchmarks.timing import block, interleaved, ratio

BATCH, SIZES, LEARNING_RATE = 64, (64, 128, 64, 10), 2e-3
Step = Callable[[], float]


def arrays() -> tuple[list[Any], Any, Any]:
    """Weights and biases, scans and labels from one seed."""
    import numpy as np

    rng = np.random.default_rng(0)
    parameters = []
    for inputs, outputs in pairwise(SIZES):
        bound = inputs**-0.5
        parameters.append(rng.uniform(-bound, bound, (outputs, inputs)).astype(np.float32))
        parameters.append(rng.uniform(-bound, bound, outputs).astype(np.float32))
    x = rng.random((BATCH, SIZES[0])).astype(np.float32)
    return parameters, x, rng.integers(0, SIZES[-1], BATCH)


def rustorch_steps() -> dict[str, tuple[Step, Callable[[], float]]]:
    """The plain loop's step and the jitted one."""
    import rustorch
    from rustorch import nn, optim

    def make(wrap: Callable[[Any], Any]) -> tuple[Step, Callable[[], float]]:
        parameters, scans, labels = arrays()
        layers: list[Any] = []
        for k, (inputs, outputs) in enumerate(pairwise(SIZES)):
            layer = nn.Linear(inputs, outputs)
            with rustorch.no_grad():
                layer.weight.copy_(rustorch.tensor(parameters[2 * k]))
                layer.bias.copy_(rustorch.tensor(parameters[2 * k + 1]))
            layers += [layer, nn.ReLU()]
        model = nn.Sequential(*layers[:-1])
        opt = optim.Adam(model.parameters(), lr=LEARNING_RATE)
        criterion = nn.CrossEntropyLoss()
        x, y = rustorch.tensor(scans), rustorch.tensor(labels)

        def step(x: Any, y: Any) -> Any:
            opt.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            opt.step()
            return loss

        wrapped = wrap(step)
        last: list[Any] = [None]

        def run() -> float:
            last[0] = wrapped(x, y)
            return 0.0

        return run, lambda: float(last[0])

    return {"rustorch loop": make(lambda f: f), "rustorch jit": make(rustorch.jit)}


def torch_steps(threads: int) -> dict[str, tuple[Step, Callable[[], float]]]:
    """PyTorch's eager step, with each of its Adams."""
    import torch

    torch.set_num_threads(threads)

    def make(**options: Any) -> tuple[Step, Callable[[], float]]:
        parameters, scans, labels = arrays()
        layers: list[Any] = []
        for k, (inputs, outputs) in enumerate(pairwise(SIZES)):
            layer = torch.nn.Linear(inputs, outputs)
            with torch.no_grad():
                layer.weight.copy_(torch.from_numpy(parameters[2 * k]))
                layer.bias.copy_(torch.from_numpy(parameters[2 * k + 1]))
            layers += [layer, torch.nn.ReLU()]
        model = torch.nn.Sequential(*layers[:-1])
        opt = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, **options)
        criterion = torch.nn.CrossEntropyLoss()
        x, y = torch.from_numpy(scans), torch.from_numpy(labels)
        last: list[Any] = [None]

        def run() -> float:
            opt.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            opt.step()
            last[0] = loss
            return 0.0

        return run, lambda: float(last[0])

    return {"torch eager": make(), "torch eager, fused Adam": make(fused=True)}


def jax_steps() -> dict[str, tuple[Step, Callable[[], float]]]:
    """JAX's jitted step, its state donated."""
    import jax
    import jax.numpy as jnp

    parameters, scans, labels = arrays()
    x, y = jnp.asarray(scans), jnp.asarray(labels)
    weights = [jnp.asarray(p) for p in parameters]
    state = (weights, [jnp.zeros_like(p) for p in weights], [jnp.zeros_like(p) for p in weights], jnp.zeros((), jnp.float32))

    def loss_of(weights: Any, x: Any, y: Any) -> Any:
        h = x
        for k in range(0, len(weights), 2):
            h = h @ weights[k].T + weights[k + 1]
            h = jax.nn.relu(h) if k + 2 < len(weights) else h
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(h), y[:, None], 1))

    def step(state: Any, x: Any, y: Any) -> Any:
        weights, m, v, t = state
        loss, g = jax.value_and_grad(loss_of)(weights, x, y)
        t = t + 1
        m = [0.9 * a + 0.1 * b for a, b in zip(m, g, strict=True)]
        v = [0.999 * a + 0.001 * b * b for a, b in zip(v, g, strict=True)]
        scale = jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        weights = [
            w - LEARNING_RATE * scale * a / (jnp.sqrt(b) + 1e-8 * jnp.sqrt(1 - 0.999**t)) for w, a, b in zip(weights, m, v, strict=True)
        ]
        return (weights, m, v, t), loss

    jitted = jax.jit(step, donate_argnums=0)
    box: list[Any] = [state, None]

    def run() -> float:
        box[0], box[1] = jitted(box[0], x, y)
        box[1].block_until_ready()
        return 0.0

    return {"jax jit": (run, lambda: float(box[1]))}


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="threads of the peers (default: %(default)s)")
    parser.add_argument("--blocks", type=int, default=30)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    if options.threads == 1:
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

    steps = rustorch_steps()
    if find_spec("torch"):
        steps |= torch_steps(options.threads)
    if find_spec("jax"):
        steps |= jax_steps()
    cold: dict[str, float] = {}
    for name, (run, _) in steps.items():
        cold[name] = block(run, 1)
        for _ in range(200):
            run()
    times = interleaved({name: partial(block, run, 50) for name, (run, _) in steps.items()}, options.blocks)
    print(f"{'':<26}{'µs a step':>10}{'first call, ms':>16}{'loss':>10}")
    for name, (_, loss) in steps.items():
        print(f"{name:<26}{statistics.median(times[name]) * 1e6:>10.1f}{cold[name] * 1e3:>16.1f}{loss():>10.4f}")
    for peer in [name for name in steps if not name.startswith("rustorch")]:
        for own in ("rustorch loop", "rustorch jit"):
            print(f"{own} / {peer}: {ratio(times[own], times[peer]):.2f}")


if __name__ == "__main__":
    main()
