"""`rustorch demo`: the main job on real input. It needs the extra `demo` (scikit-learn for the scans, rich for the terminal).

A network learns handwritten digits twice, as a plain loop and with the step under `jit`; its gradient is checked against
central differences and exported as a C library; its training step is written as a page. Each claim that is printed is
checked, and the exit status is 0 only if all of them hold.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import rustorch
from rustorch import aot, functional, nn, optim

BATCH = 64
HIDDEN = (128, 64)
TEST_SCANS = 360
REQUIRED_ACCURACY = 0.97
ACCURACY_TOLERANCE = 1 / TEST_SCANS
"""The two runs may differ in one scan: the loop and the jitted step fuse differently, so their sums round differently."""
GRADIENT_TOLERANCE = 1e-7
"""Relative, float64: a central difference with step h = 1e-6 is off by h^2 and by rounding of the order 1e-16 / h."""

Array = np.ndarray[Any, np.dtype[Any]]


def describe(command: argparse.ArgumentParser) -> None:
    """Add the options of `rustorch demo` to its parser."""
    command.add_argument("--epochs", type=int, default=60, help="passes over the training scans (default: %(default)s)")
    command.add_argument("--out", type=Path, default=Path("rustorch_demo"), help="folder for what is written (default: %(default)s)")


def run(options: argparse.Namespace) -> int:
    """Run the demo; 0 only if every check holds."""
    missing = [name for name in ("sklearn", "rich") if importlib.util.find_spec(name) is None]
    if missing:
        print(f"rustorch demo needs {' and '.join(missing)}; install them with: pip install 'rustorch[demo]'", file=sys.stderr)
        return 2
    report = Report()
    digits = load_digits()
    report.line(f"{len(digits.train_x)} scans to train on, {len(digits.test_x)} to test on; batches of {BATCH}, {options.epochs} epochs")

    loop = train("plain loop", digits, options.epochs, lambda step: step)
    jitted = train("jit", digits, options.epochs, rustorch.jit)
    for trained in (loop, jitted):
        report.line(f"{trained.name:<10}  test accuracy {trained.accuracy:.2%}  {trained.step_us:7.0f} µs a step")
        report.check(f"{trained.name}: accuracy of at least {REQUIRED_ACCURACY:.0%}", trained.accuracy >= REQUIRED_ACCURACY)
    report.check("both accuracies agree", abs(loop.accuracy - jitted.accuracy) <= ACCURACY_TOLERANCE)
    report.line(str(rustorch.explain()))

    off = gradient_error(digits, jitted.parameters)
    report.check(f"gradient against central differences: {off:.1e} apart, relative", off <= GRADIENT_TOLERANCE)

    x, y = (rustorch.tensor(part[:BATCH]) for part in (digits.train_x, digits.train_y))
    seen = rustorch.inspect(jitted.step)(x, y)
    report.line(f"the training step, fused:\n{shorten(seen.text('fused'), 40)}")
    page = options.out / "step.html"
    options.out.mkdir(parents=True, exist_ok=True)
    seen.to_html(page)

    library, agrees = export(options.out, digits, jitted.parameters)
    report.check("the exported gradient, loaded without the compiler, gives the same numbers", agrees)
    report.line(f"C library: {library}\ninspection page: {page}")
    return report.status()


def shorten(text: str, lines: int) -> str:
    """The first lines of a text, and how many more there are."""
    head, tail = text.splitlines()[:lines], text.splitlines()[lines:]
    return "\n".join([*head, f"  … {len(tail)} more lines, on the page"] if tail else head)


class Report:
    """What the demo tells: lines, and checks that decide the exit status."""

    def __init__(self) -> None:
        from rich.console import Console

        self.console = Console(highlight=False)
        self.failed: list[str] = []

    def line(self, text: str) -> None:
        """Print a line as it is."""
        self.console.print(text, markup=False, soft_wrap=True)

    def check(self, claim: str, holds: bool) -> None:
        """Print a claim and whether it holds."""
        self.line(f"[{'ok' if holds else 'FAILED'}] {claim}")
        if not holds:
            self.failed.append(claim)

    def status(self) -> int:
        """The exit status."""
        return 1 if self.failed else 0


@dataclass(frozen=True)
class Digits:
    """Scans as f32[n, 64] in 0 … 1 with their digits as i64[n], split by a fixed permutation."""

    train_x: Array
    train_y: Array
    test_x: Array
    test_y: Array


def load_digits() -> Digits:
    """The 1,797 scans that scikit-learn ships (UCI optical recognition of handwritten digits)."""
    from sklearn import datasets

    scans, labels = datasets.load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    x, y = (scans[order] / 16).astype(np.float32), labels[order].astype(np.int64)
    return Digits(x[TEST_SCANS:], y[TEST_SCANS:], x[:TEST_SCANS], y[:TEST_SCANS])


def shifted(scans: Array, rng: np.random.Generator) -> Array:
    """The scans (f32[n, 64]), about half of them moved by a pixel: more to learn from, so that the network generalises better."""
    count = len(scans)
    framed = np.zeros((count, 10, 10), np.float32)
    framed[:, 1:9, 1:9] = scans.reshape(count, 8, 8)
    corner = np.where(rng.random(count) < 0.5, rng.integers(0, 3, (2, count)), 1)
    rows, columns = (c[:, None] + np.arange(8) for c in corner)
    moved: Array = framed[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return moved.reshape(count, 64)


@dataclass(frozen=True)
class Trained:
    """A run of training: how well, how fast, what was learnt, and the step that did it."""

    name: str
    accuracy: float
    step_us: float
    parameters: list[Array]
    step: Callable[[Any, Any], Any]


def train(name: str, digits: Digits, epochs: int, wrap: Callable[[Callable[[Any, Any], Any]], Callable[[Any, Any], Any]]) -> Trained:
    """Train the network from one fixed seed, with its step as `wrap` makes it."""
    from rich.progress import track

    rustorch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(64, HIDDEN[0]), nn.ReLU(),
        nn.Linear(HIDDEN[0], HIDDEN[1]), nn.ReLU(),
        nn.Linear(HIDDEN[1], 10),
    )  # fmt: skip
    opt = optim.Adam(model.parameters(), lr=2e-3)
    criterion = nn.CrossEntropyLoss()

    def step(x: Any, y: Any) -> Any:
        opt.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        opt.step()
        return loss

    wrapped = wrap(step)
    shuffle = np.random.default_rng(1)
    count = len(digits.train_x) // BATCH
    seconds = []
    for _ in track(range(epochs), description=f"{name:<10}"):
        order = shuffle.permutation(len(digits.train_x))[: count * BATCH]
        x, y = rustorch.tensor(shifted(digits.train_x[order], shuffle)), rustorch.tensor(digits.train_y[order])
        begin = time.perf_counter()
        for first in range(0, count * BATCH, BATCH):
            loss = wrapped(x[first : first + BATCH], y[first : first + BATCH])
        float(loss)
        seconds.append(time.perf_counter() - begin)
    with rustorch.no_grad():
        guesses = model(rustorch.tensor(digits.test_x)).argmax(dim=1)
    accuracy = float((guesses.numpy() == digits.test_y).mean())
    parameters = [parameter.detach().numpy() for parameter in model.parameters()]
    return Trained(name, accuracy, median(seconds) / count * 1e6, parameters, wrapped)


NAMES = ("w1", "b1", "w2", "b2", "w3", "b3")


def loss_of(w1: Any, b1: Any, w2: Any, b2: Any, w3: Any, b3: Any, x: Any, y: Any) -> Any:
    """The same network's loss as a function of its parameters."""
    hidden = functional.relu(functional.linear(x, w1, b1))
    hidden = functional.relu(functional.linear(hidden, w2, b2))
    return functional.cross_entropy(functional.linear(hidden, w3, b3), y)


def gradient_error(digits: Digits, parameters: list[Array]) -> float:
    """Relative distance between the compiled gradient along a random direction and a central difference, in float64."""
    x, y = digits.train_x[:BATCH].astype(np.float64), digits.train_y[:BATCH]
    at = [parameter.astype(np.float64) for parameter in parameters]
    value_and_grad = rustorch.jit(rustorch.value_and_grad(loss_of, argnums=tuple(range(len(NAMES)))))
    _, gradient = value_and_grad(*at, x, y)
    draw = np.random.default_rng(2)
    direction = [draw.standard_normal(parameter.shape) for parameter in at]
    slope = sum(float((g.numpy() * d).sum()) for g, d in zip(gradient, direction, strict=True))
    h = 1e-6
    ahead, behind = (
        float(value_and_grad(*(p + s * d for p, d in zip(at, direction, strict=True)), x, y)[0]) for s in (h, -h)
    )  # fmt: skip
    return abs((ahead - behind) / (2 * h) - slope) / abs(slope)


RELOAD = """
import sys
import numpy as np
from rustorch import aot
folder, given, found = sys.argv[1:]
loss = aot.load(folder)
value, *gradient = loss.value_and_grad(**np.load(given))
np.savez(found, value, *gradient)
sys.exit("the compiler was imported" if "llvmlite" in sys.modules else 0)
"""
"""A program of its own that uses the exported library: only there can it be seen that no compiler was needed."""


def export(out: Path, digits: Digits, parameters: list[Array]) -> tuple[Path, bool]:
    """Write the loss's gradient as a C library; its path, and whether it agrees with the compiled gradient bit for bit."""
    inputs: dict[str, Any] = dict(zip(NAMES, parameters, strict=True)) | {"x": digits.test_x[:BATCH], "y": digits.test_y[:BATCH]}
    types = {name: (rustorch.i64 if name == "y" else rustorch.f32)[value.shape] for name, value in inputs.items()}
    package = aot.export(loss_of, types, derivatives=["value_and_grad"], wrt=list(NAMES), name="digits_loss")
    folder = out / "digits_loss"
    package.save(folder)

    given, found = out / "given.npz", out / "found.npz"
    np.savez(given, **inputs)
    subprocess.run([sys.executable, "-c", RELOAD, str(folder), str(given), str(found)], check=True)
    value, gradient = rustorch.jit(rustorch.value_and_grad(loss_of, argnums=tuple(range(len(NAMES)))))(*inputs.values())
    expected = [value.numpy(), *(g.numpy() for g in gradient)]
    with np.load(found) as arrays:
        agrees = all(np.array_equal(arrays[f"arr_{k}"], array) for k, array in enumerate(expected))
    given.unlink()
    found.unlink()
    return folder, agrees
