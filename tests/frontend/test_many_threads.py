"""Many threads at once: they record, differentiate, compile and call, on tensors of their own and on shared ones.

No gradient is lost, nothing crashes, and a long kernel lets other threads go on. `-m slow` runs it for longer, with more threads.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import rustorch
from rustorch import nn, optim


@pytest.fixture(autouse=True)
def switching() -> Iterator[None]:
    """Threads take turns as often as the interpreter lets them."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def together(count: int, work: Callable[[int], None]) -> None:
    """Run `work(k)` in `count` threads that start at the same time; the first error is raised here."""
    gate, errors = threading.Barrier(count), []

    def run(k: int) -> None:
        gate.wait()
        try:
            work(k)
        except BaseException as error:  # handed to the test
            errors.append(error)

    threads = [threading.Thread(target=run, args=(k,)) for k in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


SIZES = [(4, 25), pytest.param(16, 1000, marks=pytest.mark.slow)]
"""Threads, and turns of each."""


@pytest.mark.parametrize(("threads", "turns"), SIZES)
def test_gradients_of_a_shared_leaf_add_up(threads: int, turns: int) -> None:
    leaf = rustorch.tensor(np.zeros(8), requires_grad=True, dtype=rustorch.float64)

    def work(k: int) -> None:
        for turn in range(turns):
            ((leaf + 1.0) * float(k + 1)).sum().backward()
            if turn % 5 == k % 5:
                (leaf * float(turn)).sum().item()  # looks at numbers in between

    together(threads, work)
    assert leaf.grad is not None
    assert leaf.grad.tolist() == [float(turns * sum(range(1, threads + 1)))] * 8


@pytest.mark.parametrize(("threads", "turns"), SIZES)
def test_jitted_backward_passes_on_a_shared_leaf(threads: int, turns: int) -> None:
    leaf = rustorch.tensor(np.ones(8), requires_grad=True, dtype=rustorch.float64)
    loss = rustorch.jit(lambda scale: (leaf * leaf * scale).sum())

    def work(k: int) -> None:
        for _ in range(turns):
            loss(float(k + 1)).backward()

    together(threads, work)
    assert leaf.grad is not None
    np.testing.assert_allclose(leaf.grad.numpy(), 2.0 * turns * sum(range(1, threads + 1)), rtol=1e-12)


@pytest.mark.parametrize(("threads", "turns"), SIZES)
def test_one_jitted_function_called_with_all_sizes(threads: int, turns: int) -> None:
    f = rustorch.jit(rustorch.value_and_grad(lambda x: (rustorch.sin(x) * x).sum()))

    def work(k: int) -> None:
        for turn in range(turns):
            x = np.linspace(-1, 1, 2 + (7 * k + turn) % 23)
            value, gradient = f(x)
            np.testing.assert_allclose(value.item(), (np.sin(x) * x).sum(), rtol=1e-12)
            np.testing.assert_allclose(gradient.numpy(), np.cos(x) * x + np.sin(x), rtol=1e-12)

    together(threads, work)
    assert f.cache_info().currsize <= 3


@pytest.mark.filterwarnings("ignore:.*a new program was compiled")  # one line, a program for each thread and power
@pytest.mark.parametrize(("threads", "turns"), SIZES)
def test_programs_of_their_own(threads: int, turns: int) -> None:
    """Each thread compiles other programs, recorded and jitted, of first and second order."""

    def work(k: int) -> None:
        for turn in range(max(turns // 10, 2)):
            scale, power = 1.0 + 0.1 * k, 2 + turn % 3
            x = rustorch.tensor(np.linspace(1, 2, 5 + k), requires_grad=True, dtype=rustorch.float64)
            y = (x**power * scale).sum()
            (first,) = rustorch.autograd.grad(y, x, create_graph=True)
            (second,) = rustorch.autograd.grad(first.sum(), x)
            np.testing.assert_allclose(first.detach().numpy(), scale * power * x.detach().numpy() ** (power - 1), rtol=1e-12)
            np.testing.assert_allclose(second.numpy(), scale * power * (power - 1) * x.detach().numpy() ** (power - 2), rtol=1e-12)
            g = rustorch.jit(rustorch.grad(lambda x, s=scale, p=power: (x**p * s).sum()))
            np.testing.assert_allclose(g(x.detach()).numpy(), first.detach().numpy(), rtol=1e-12)

    together(threads, work)


@pytest.mark.parametrize(("threads", "turns"), SIZES)
def test_training_in_every_thread(threads: int, turns: int) -> None:
    """Models of their own end where one that is trained alone ends."""
    data = np.random.default_rng(0).standard_normal((16, 4)).astype(np.float32)

    def trained(turns: int) -> np.ndarray[Any, Any]:
        model = nn.Linear(4, 1)
        with rustorch.no_grad():
            model.weight.fill_(0.5)
            model.bias.zero_()
        optimiser = optim.Adam(model.parameters(), lr=0.01)
        for _ in range(turns):
            optimiser.zero_grad()
            ((model(rustorch.tensor(data)) - 1.0) ** 2).mean().backward()
            optimiser.step()
        found: np.ndarray[Any, Any] = model.weight.detach().numpy().copy()
        return found

    want = trained(turns)
    together(threads, lambda k: np.testing.assert_array_equal(trained(turns), want))


def progress_during(work: Callable[[], Any]) -> tuple[float, float]:
    """Seconds that `work` took, and the longest time within them in which another thread could not run."""
    stamps: list[float] = []
    done = threading.Event()

    def tick() -> None:
        while not done.is_set():
            stamps.append(time.perf_counter())
            time.sleep(0.0005)

    other = threading.Thread(target=tick)
    other.start()
    while not stamps:
        time.sleep(0.001)
    start = time.perf_counter()
    work()
    end = time.perf_counter()
    done.set()
    other.join()
    inside = [start, *(t for t in stamps if start < t < end), end]
    return end - start, max(b - a for a, b in pairwise(inside))


@pytest.mark.parametrize("door", ["native entry", "general way", "recorded"])
def test_a_long_kernel_lets_others_go_on(door: str) -> None:
    """Another thread gets its turns while 16 million elements are computed."""
    x = rustorch.tensor(np.linspace(0, 1, 1 << 24, dtype=np.float32))

    def body(x: Any) -> Any:
        for _ in range(4):
            x = rustorch.sin(x) + rustorch.exp(-x)
        return x.sum()

    jitted = rustorch.jit(body)
    work: Callable[[], Any] = {
        "native entry": lambda: jitted(x),
        "general way": lambda: jitted(x=x),
        "recorded": lambda: body(x).item(),
    }[door]
    for _ in range(4):  # compiled, and entered by the way that repeated calls take
        work()
    took, longest = min((progress_during(work) for _ in range(3)), key=lambda found: found[1] / found[0])
    assert took > 0.02
    assert longest < 0.5 * took
