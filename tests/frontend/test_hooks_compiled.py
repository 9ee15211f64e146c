"""Hooks inside compiled programs: they are fused, followed when they change, and called again where they look at numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import rustorch
from rustorch import nn, no_grad, tensor
from rustorch.compiler import compile_graph
from rustorch.frontend.explain import journal
from rustorch.frontend.program import Program
from tests.frontend.door import leaf


def _network() -> tuple[Any, Any, Any]:
    rustorch.manual_seed(1)
    net = nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 3))
    return net, rustorch.randn(7, 12), rustorch.randn(7, 3)


def _kernels(hook: Any) -> int:
    """How many kernels a training step compiles to."""
    net, x, y = _network()
    optimizer = rustorch.optim.SGD(net.parameters(), 0.1)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        h = net[1](net[0](x))
        if hook is not None:
            h.register_hook(hook)
            for p in net.parameters():
                p.register_hook(hook)
        loss = (net[2](h) - y).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    compiled = rustorch.jit(step).lower(x, y).compile().program.compiled
    return int(compiled.kernels)


@pytest.mark.parametrize("hook", [lambda g: g * 0.5, lambda g: g.clamp(-0.1, 0.1), lambda g: None])
def test_a_step_with_hooks_has_as_many_kernels_as_one_without(hook: Any) -> None:
    assert _kernels(hook) == _kernels(None)


def test_the_recorded_step_has_as_many_kernels_too(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[Any] = []
    run = Program.run

    def noted(program: Program, arrays: Any) -> Any:
        ran.append(program.graph)
        return run(program, arrays)

    monkeypatch.setattr(Program, "run", noted)

    def kernels(hooked: bool) -> int:
        net, x, y = _network()
        x.tolist(), y.tolist()
        ran.clear()
        h = net[1](net[0](x))
        if hooked:
            h.register_hook(lambda g: g * 0.5)
        (net[2](h) - y).square().mean().backward()
        [graph] = ran  # one program
        return compile_graph(graph).kernels

    assert kernels(True) == kernels(False)


def test_a_hook_that_comes_later_is_seen() -> None:
    x = leaf(1.0, 2.0)

    def step(y: Any) -> Any:
        x.grad = None
        (x * y).sum().backward()
        return x.grad

    run = rustorch.jit(step)
    y = tensor([3.0, 4.0])
    for _ in range(3):
        assert run(y).tolist() == [3.0, 4.0]
    with x.register_hook(lambda g: g * 10):
        for _ in range(3):
            assert run(y).tolist() == [30.0, 40.0]
    assert run(y).tolist() == [3.0, 4.0]

    def double(t: Any) -> None:
        t.grad.mul_(2)

    with x.register_post_accumulate_grad_hook(double):
        for _ in range(3):
            assert run(y).tolist() == [6.0, 8.0]
    with rustorch.autograd.graph.get_gradient_edge(x).node.register_prehook(lambda g: (g[0] + 1,)):
        assert run(y).tolist() == [4.0, 5.0]
    assert run(y).tolist() == [3.0, 4.0]


def test_calls_count_per_trace() -> None:
    calls: list[int] = []
    x = leaf(1.0)
    x.register_hook(lambda g: calls.append(1))

    def step(y: Any) -> Any:
        x.grad = None
        (x * y).sum().backward()
        return x.grad

    run = rustorch.jit(step)
    for k in range(4):
        assert run(tensor([float(k)])).tolist() == [float(k)]
    assert len(calls) == 1


def test_a_recorded_hook_that_looks_cuts_the_program() -> None:
    """Two programs with Python between, and `explain` says where; what is computed stays the same."""
    x = leaf(1.0, 2.0)
    seen: list[Any] = []
    for _ in range(3):
        x.grad = None
        h = x.exp()
        h.register_hook(lambda g: seen.append(g.tolist()))
        (h * h).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * np.exp([2.0, 4.0]), rtol=1e-6)
    assert len(seen) == 3
    np.testing.assert_allclose(seen[2], 2 * np.exp([1.0, 2.0]), rtol=1e-6)
    event = journal.events[-1]
    assert (event.what, event.why) == ("backward program cut", "the hook <lambda> looked at numbers")
    assert event.where.startswith("test_hooks_compiled.py:")
    assert "the hook <lambda> looked at numbers" in rustorch.explain()


def test_hooks_are_chained_in_linear_time() -> None:
    """A program with a hook at each of many values has a graph that grows with their number."""

    def nodes(count: int) -> int:
        def step(x: Any) -> Any:
            for _ in range(count):
                x = (x * 1.01).sin()
                x.register_hook(lambda g: g * 0.9)
            return x.sum()

        return len(rustorch.jit(rustorch.value_and_grad(step)).lower(rustorch.ones(8)).graph.nodes)

    few, many = nodes(10), nodes(40)
    assert many < 5 * few


def test_no_grad_inside_a_hook_leaves_the_mode() -> None:
    x = leaf(2.0)

    def hook(g: Any) -> Any:
        with no_grad():
            return g * 2

    y = x * x
    y.register_hook(hook)
    (g,) = rustorch.grad(y.sum(), x, create_graph=True)
    assert rustorch.is_grad_enabled()
    assert g.tolist() == [8.0]
