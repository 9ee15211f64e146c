"""Two doors, one compiler: the same program recorded, jitted or transformed is compiled once."""

from __future__ import annotations

from typing import Any

import numpy as np

import rustorch
from rustorch.compiler import statistics


def wave(x: Any) -> Any:
    """A program that no other test compiles."""
    return (x * x * 0.731 + rustorch.sin(x)).sum()


def test_a_loop_and_a_transform_share_one_compilation() -> None:
    rustorch.sync()  # what other tests have left open would be part of the loop's program
    x = rustorch.tensor(np.linspace(0, 1, 61, dtype=np.float32), requires_grad=True)
    before = statistics.compiles
    wave(x).backward()
    assert statistics.compiles == before + 1
    value, gradient = rustorch.jit(rustorch.value_and_grad(wave))(x.detach())
    assert statistics.compiles == before + 1
    np.testing.assert_array_equal(gradient.numpy(), x.grad.numpy())
    assert float(value) == float(wave(x).detach())


def test_graphs_that_simplify_to_the_same_share_their_code() -> None:
    x = rustorch.tensor(np.linspace(0, 1, 59, dtype=np.float32))
    (x * 3.25).numpy()
    before = statistics.compiles
    np.testing.assert_array_equal((x * 1 * 3.25).numpy(), x.numpy() * np.float32(3.25))
    assert statistics.compiles == before
