"""What a closed segment keeps for `backward`: looking at the loss first costs the forward pass once."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import rustorch
from rustorch.frontend.program import Program


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts the nodes, by op, of the programs that run from here on."""
    counter: Counter[str] = Counter()
    run = Program.run

    def counted(program: Program, arrays: Sequence[Any]) -> list[Any]:
        counter.update(node.op.name for node in program.graph.nodes)
        return run(program, arrays)

    monkeypatch.setattr(Program, "run", counted)
    return counter


def network() -> tuple[list[Any], Callable[[], Any]]:
    """The parameters of three layers, and a function that gives the loss."""
    rustorch.manual_seed(3)
    x = rustorch.randn(7, 5)
    parameters = [rustorch.randn(*size, requires_grad=True) for size in ((5, 6), (6,), (6, 4), (4,), (4, 1))]
    w1, b1, w2, b2, w3 = parameters
    rustorch.sync()
    return parameters, lambda: (((x @ w1 + b1).tanh() @ w2 + b2).exp() @ w3).square().mean()


def gradients(parameters: list[Any]) -> list[Any]:
    found = [p.grad.numpy().copy() for p in parameters]
    for p in parameters:
        p.grad = None
    return found


def test_the_forward_pass_is_computed_once(ran: Counter[str]) -> None:
    parameters, loss_of = network()
    loss_of().backward()
    expected = gradients(parameters)
    for turn in range(4):
        loss = loss_of()
        ran.clear()
        shown = float(loss)
        assert ran["dot_general"] == 3
        ran.clear()
        loss.backward()
        if turn:  # the first time nobody knew that `backward` would follow
            assert (ran["dot_general"], ran["tanh"], ran["exp"]) == (5, 0, 0)
        else:
            assert ran["dot_general"] == 8
        assert np.isfinite(shown)
        for found, value in zip(gradients(parameters), expected, strict=True):
            assert (found == value).all()


def test_a_second_derivative_goes_through_all_of_the_forward_pass() -> None:
    x = rustorch.tensor([0.5, 1.25], dtype=rustorch.float64, requires_grad=True)
    for _ in range(3):
        y = (x.sin() * x.exp()).sum()
        assert np.isfinite(y.item())
        (first,) = rustorch.autograd.grad(y, x, create_graph=True)
        assert first.sum().isfinite().item()
        (second,) = rustorch.autograd.grad(first.sum(), x)
        assert np.allclose(second.numpy(), 2 * np.cos([0.5, 1.25]) * np.exp([0.5, 1.25]), rtol=1e-12)
        y = (x.sin() * x.exp()).sum()
        assert np.isfinite(y.item())
        y.backward()
        assert np.allclose(x.grad.numpy(), (np.sin([0.5, 1.25]) + np.cos([0.5, 1.25])) * np.exp([0.5, 1.25]), rtol=1e-12)
        x.grad = None


def test_another_root_adds_what_it_needs(ran: Counter[str]) -> None:
    x = rustorch.tensor([0.5, 1.25, 2.0], requires_grad=True)

    def both() -> tuple[Any, Any]:
        a, b = x.tanh().square().sum(), x.exp().square().sum()
        assert np.isfinite(a.item() + b.item())
        return a, b

    for turn in range(4):
        a, b = both()
        ran.clear()
        a.backward()
        assert ran["tanh"] == (1 if turn == 0 else 0)
    for turn in range(4):
        a, b = both()
        ran.clear()
        b.backward()
        a.backward()
        assert (ran["exp"], ran["tanh"]) == ((1, 0) if turn == 0 else (0, 0))
    x.grad = None
    a, b = both()
    (a + b).backward()
    e = np.array([0.5, 1.25, 2.0])
    assert np.allclose(x.grad.numpy(), 2 * np.tanh(e) * (1 - np.tanh(e) ** 2) + 2 * np.exp(2 * e), rtol=1e-5)


def test_hooks_and_retained_graphs_use_what_was_kept() -> None:
    x = rustorch.tensor([0.5, 1.25], requires_grad=True)
    for _ in range(3):
        x.grad = None
        y = x.exp()
        y.register_hook(lambda ct: ct * 2)
        loss = (y * y).sum()
        assert np.isfinite(loss.item())
        loss.backward(retain_graph=True)
        loss.backward()
        assert np.allclose(x.grad.numpy(), 8 * np.exp([1.0, 2.5]), rtol=1e-6)
        with pytest.raises(RuntimeError, match="second time"):
            loss.backward()


def test_a_loss_that_was_used_up_keeps_no_memory() -> None:
    x = rustorch.ones(1000, requires_grad=True)
    losses = []
    for _ in range(4):
        loss = (x.exp().tanh() * 3).sum()
        assert np.isfinite(loss.item())
        loss.backward()
        losses.append(loss)
        segment, _ = loss._origin
        assert not segment.arrays
        assert not segment.residuals
    with pytest.raises(RuntimeError, match="second time"):
        losses[-1].backward()
    rustorch.sync()
    kept = (x.exp().tanh() * 3).sum()
    assert np.isfinite(kept.item())
    assert sum(array.size for array in kept._origin[0].residuals.values()) == 2000
    x.grad = None
    kept.backward()
    expected = 3 * np.e * (1 - np.tanh(np.e) ** 2)
    assert np.allclose(x.grad.numpy(), expected, rtol=1e-4)
    gc.collect()


def test_without_gradients_nothing_is_kept() -> None:
    x = rustorch.ones(10, requires_grad=True)
    for _ in range(2):
        loss = x.exp().tanh().sum()
        assert np.isfinite(loss.item())
        loss.backward()
    with rustorch.no_grad():
        loss = x.exp().tanh().sum()
        assert np.isfinite(loss.item())
    assert loss._origin is None
