"""Lines 102 to 108 of the checklist: what holds of `jit` in particular."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rustorch
from rustorch import nn, optim
from rustorch.compiler import statistics
from rustorch.functional import softmax

BATCHES = [8, 3, 17, 64, 5, 31, 2, 100, 9, 12, 33, 6, 7, 48, 20, 11, 129, 4, 15, 250]


def rows(count: int, width: int = 6, dtype: Any = np.float32) -> np.ndarray[Any, Any]:
    """Random rows, the same for the same count."""
    return np.random.default_rng(count).standard_normal((count, width)).astype(dtype)


W = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)


# --- 105: one program for all sizes -----------------------------------------------------------------------------------


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "elementwise": lambda x: rustorch.sin(x) * x + 1.0,
    "sum of everything": lambda x: (x * x).sum(),
    "sum of columns": lambda x: x.sum(0),
    "sum of rows": lambda x: x.sum(dim=1),
    "mean": lambda x: x.mean(0) + x.mean(),
    "extremes": lambda x: (x.amax(0), x.amin(1)),
    "softmax of rows": lambda x: softmax(x, 1),
    "softmax of columns": lambda x: softmax(x, 0),
    "product": lambda x: x @ W,
    "product of transposes": lambda x: x.T @ x,
    "centred": lambda x: x - x.mean(dim=0, keepdim=True),
    "shape": lambda x: x.reshape(x.shape[0] * 2, 3).reshape(x.shape),
    "size as a number": lambda x: x.sum(0) / x.shape[0] + x.size(0),
    "minus one": lambda x: x.reshape(-1),
    "neighbours": lambda x: x[1:] - x[:-1],
    "last row": lambda x: x[-1] * 2.0,
    "part": lambda x: x[:2] + x[-2:],
    "joined": lambda x: rustorch.cat([x, x * 2.0], 0),
    "made": lambda x: rustorch.zeros(x.shape[0], 6) + x,
    "chosen": lambda x: rustorch.where(x > 0, x, 0.0).sum(1),
    "value and gradient": rustorch.value_and_grad(lambda x: (softmax(x @ W, 1) ** 2).sum()),
    "second order": rustorch.grad(lambda x: (rustorch.grad(lambda y: (y**3).sum())(x) ** 2).sum()),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_c12_105_two_programs_serve_twenty_sizes(name: str) -> None:
    """The first is for known sizes, the second for all; each result is that of a program of its own."""
    function = FUNCTIONS[name]
    f = rustorch.jit(function)
    before = statistics.compiles
    found = [[f(rows(n)) for _ in range(3)][-1] for n in BATCHES]
    assert statistics.compiles - before <= 3
    assert f.cache_info().promoted >= 1
    for n, got in zip(BATCHES, found, strict=True):
        want = rustorch.jit(function)(rows(n))
        for x, y in zip(got if isinstance(got, tuple) else [got], want if isinstance(want, tuple) else [want], strict=True):
            assert (x.shape, x.dtype, x.requires_grad) == (y.shape, y.dtype, y.requires_grad)
            np.testing.assert_allclose(x.numpy(), y.numpy(), rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("name", ["elementwise", "sum of everything", "sum of rows", "softmax of rows", "chosen", "neighbours"])
def test_c12_105_the_bits_are_those_of_known_sizes(name: str) -> None:
    f = rustorch.jit(FUNCTIONS[name])
    for n in BATCHES:
        np.testing.assert_array_equal(f(rows(n)).numpy(), rustorch.jit(FUNCTIONS[name])(rows(n)).numpy())


@pytest.mark.filterwarnings("ignore:.*a new program was compiled")  # the plain loop has one for each size
def test_c12_105_a_training_step() -> None:
    """Of a network, with an optimiser whose state it changes: as many programs as for one batch size, and one more."""

    def trained(step: Callable[..., Any], model: Any) -> list[Any]:
        losses = [step(rows(n), rows(n, 1)).item() for n in BATCHES]
        return [losses, *[p.detach().numpy().copy() for p in model.parameters()]]

    def fresh(jit: bool) -> tuple[Callable[..., Any], Any]:
        rustorch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))
        optimiser = optim.Adam(model.parameters(), lr=0.01)

        def step(x: Any, y: Any) -> Any:
            x, y = rustorch.as_tensor(x), rustorch.as_tensor(y)
            optimiser.zero_grad()
            loss = ((model(x) - y) ** 2).mean()
            loss.backward()
            optimiser.step()
            return loss

        return (rustorch.jit(step) if jit else step), model

    step, model = fresh(True)
    before = statistics.compiles
    got = trained(step, model)
    assert statistics.compiles - before <= 4  # the first step makes the optimiser's state
    assert step.cache_info().promoted == 1  # type: ignore[attr-defined]
    for x, y in zip(got, trained(*fresh(False)), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)


def test_c12_105_equal_sizes_have_one_symbol_and_a_guard() -> None:
    f = rustorch.jit(lambda x, y: x * y)
    for n in (4, 7, 9):
        assert f(rows(n), rows(n)).shape == (n, 6)
    assert f.cache_info().promoted == 1
    for _ in range(3):  # through the native entry, too
        with pytest.raises(RuntimeError, match="must match the size"):
            f(rows(5), rows(6))
        np.testing.assert_array_equal(f(rows(5), rows(1)).numpy(), rows(5) * rows(1))
        np.testing.assert_array_equal(f(rows(8), rows(8)).numpy(), rows(8) * rows(8))


def test_c12_105_sizes_that_part_ways() -> None:
    """Sizes that were equal by chance get names of their own as soon as they differ."""
    f = rustorch.jit(lambda x: x.sum(1))
    for shape in ((3, 3), (5, 5), (4, 7), (9, 2), (6, 6), (8, 5)):
        assert f(np.ones(shape, np.float32)).tolist() == [shape[1]] * shape[0]
    assert f.cache_info()[1:] == (3, 3, 2)


def test_c12_105_zero_and_one_have_programs_of_their_own() -> None:
    f = rustorch.jit(lambda x, y: (x + y).sum())
    for n in (3, 8, 1, 0, 1, 12):
        x, y = np.ones((n, 2), np.float32), np.ones((1 if n < 2 else n, 2), np.float32)
        assert f(x, y).item() == 4.0 * n
    assert f.cache_info().promoted == 1
    assert f.cache_info().currsize == 4


DECIDING: dict[str, Callable[[Any], Any]] = {
    "if": lambda x: x * 2.0 if x.shape[0] > 10 else x * 3.0,
    "equality": lambda x: x * 2.0 if x.shape[0] == 17 else x * 3.0,
    "len": lambda x: x * float(len(x)),
    "range": lambda x: sum((x[k] for k in range(x.shape[0])), rustorch.zeros(6)),
    "numpy": lambda x: x + np.ones((x.shape[0], 1), np.float32),
    "parity": lambda x: x * 2.0 if x.shape[0] % 2 else x,
    "dict": lambda x: x * {8: 2.0, 3: 1.0}.get(x.shape[0], 5.0),
    "clamped": lambda x: x[:10] * 2.0,
}


@pytest.mark.parametrize("name", DECIDING)
def test_c12_105_what_sizes_decide_is_decided_for_each(name: str) -> None:
    function = DECIDING[name]
    f = rustorch.jit(function)
    for n in BATCHES:
        for _ in range(2):
            np.testing.assert_allclose(f(rows(n)).numpy(), function(rustorch.tensor(rows(n))).numpy(), rtol=1e-5, atol=1e-6)


def test_c12_105_a_shape_that_no_case_fits() -> None:
    """Decided sizes: programs are made one by one, and the journal says why."""
    f = rustorch.jit(DECIDING["if"])
    for n in (4, 20, 6):
        f(rows(n))
    assert f.cache_info() == (0, 3, 3, 0)
    assert "is compiled for every size of its arguments: a size that is not known yet was used (n0 >= 11)" in str(rustorch.explain())


def test_c12_105_explain_names_the_symbols() -> None:
    def scaled(x: Any) -> Any:
        return x * 2.0

    f = rustorch.jit(scaled)
    f(rows(4))
    f(rows(5))
    assert "traced scaled for all sizes n0: sizes of its arguments have changed" in str(rustorch.explain())


def test_c12_105_conditions_reach_the_native_entry() -> None:
    """`x[:4]` of three rows has three rows: the program for all sizes does not hold there."""
    f = rustorch.jit(lambda x: x[:4] * 1.0)
    for n in (8, 9, 10, 10, 10, 3, 3, 4, 10, 2):
        assert f(rows(n)).shape == (min(n, 4), 6)


def test_c12_105_gradients_that_flow_out() -> None:
    """Outside of `jit` somebody differentiates: then each size has its program."""
    f = rustorch.jit(lambda x: (x * x).sum())
    for n in (4, 7, 9):
        x = rustorch.tensor(rows(n), requires_grad=True)
        f(x).backward()
        np.testing.assert_allclose(x.grad.numpy(), 2 * rows(n), rtol=1e-6)


def test_c12_105_random_numbers() -> None:
    def noisy(x: Any) -> Any:
        return x + rustorch.rand(x.shape[0], 6)

    f = rustorch.jit(noisy)
    for n in (4, 7, 9):
        rustorch.manual_seed(n)
        got = f(rows(n))
        rustorch.manual_seed(n)
        np.testing.assert_array_equal(got.numpy(), noisy(rustorch.tensor(rows(n))).numpy())
