"""Long programs: no recursion anywhere, not even when they are freed, and time that grows with their length."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rustorch

X = np.linspace(-1, 1, 16, dtype=np.float32)


def chain(length: int) -> Callable[[Any], Any]:
    """`length` operations, one after the other: y ← y / 2 + x, so that the sum's gradient tends to 2."""

    def f(x: Any) -> Any:
        y = x
        for _ in range(length // 2):
            y = y * 0.5
            y = y + x
        return y.sum()

    return f


def recorded(length: int) -> tuple[Any, Any]:
    x = rustorch.tensor(X, requires_grad=True)
    value = chain(length)(x)
    value.backward()
    return value.detach(), x.grad


def jitted(length: int) -> tuple[Any, Any]:
    return rustorch.jit(chain(length))(X), None


def differentiated(length: int) -> tuple[Any, Any]:
    value, gradient = rustorch.jit(rustorch.value_and_grad(chain(length)))(X)
    return value, gradient


def check(door: Callable[[int], tuple[Any, Any]], length: int) -> None:
    limit = sys.getrecursionlimit()
    value, gradient = door(length)
    assert sys.getrecursionlimit() == limit
    np.testing.assert_allclose(value.numpy(), 2 * X.sum(), atol=1e-4)
    if gradient is not None:
        np.testing.assert_allclose(gradient.numpy(), np.full(16, 2.0), rtol=1e-6)
    del value, gradient
    gc.collect()


@pytest.mark.parametrize("door", [recorded, jitted])
def test_a_chain_of_20000_operations(door: Callable[[int], tuple[Any, Any]]) -> None:
    check(door, 20_000)


@pytest.mark.slow
@pytest.mark.parametrize("door", [recorded, jitted, differentiated])
def test_a_chain_of_200000_operations(door: Callable[[int], tuple[Any, Any]]) -> None:
    check(door, 200_000)


@pytest.mark.slow
@pytest.mark.parametrize("door", [jitted, differentiated])
def test_time_grows_with_the_length(door: Callable[[int], tuple[Any, Any]]) -> None:
    """Eight times the length, at most thirteen times the seconds."""
    seconds = []
    for length in (5_000, 40_000):
        start = time.process_time()
        check(door, length)
        seconds.append(time.process_time() - start)
    assert seconds[1] < 13 * seconds[0], seconds


def test_a_chain_through_views_and_writes() -> None:
    """Views of views, and one tensor written again and again."""
    x = rustorch.tensor(X.copy())
    y = x
    for k in range(3_000):
        y = y.flip(0) if k % 2 else y.reshape(4, 4).reshape(16)
    np.testing.assert_array_equal(y.numpy(), X[::-1] if 1_500 % 2 else X)
    for _ in range(3_000):
        x.mul_(0.5).add_(1.0)
    np.testing.assert_allclose(x.numpy(), 2.0)
