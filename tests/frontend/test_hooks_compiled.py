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


# --- Hooks that look at numbers, under jit ----------------------------------------------------------------------------


def test_a_traced_hook_that_looks_is_called_every_time() -> None:
    x = leaf(1.0, 2.0)
    seen: list[Any] = []

    def step(y: Any) -> Any:
        x.grad = None
        h = x * y
        h.register_hook(lambda g: seen.append(g.tolist()))
        loss = (h * h).sum()
        loss.backward()
        return loss

    run = rustorch.jit(step)
    for k in range(1, 5):
        loss = run(tensor([k * 1.0, 1.0]))
        assert loss.item() == k * k + 4
        assert seen[-1] == [2.0 * k, 4.0]
        assert x.grad.tolist() == [2.0 * k * k, 4.0]
        assert len(seen) == k
    assert run.cache_info().misses == 1


@pytest.mark.parametrize("where", ["leaf", "inner", "node", "module"])
def test_what_a_looking_hook_answers_counts(where: str) -> None:
    """Gradients are clipped by a norm that Python computes: another one in every call."""
    x = leaf(3.0, 4.0)
    layer = nn.Tanh()
    calls: list[int] = []

    def clipped(g: Any) -> Any:
        calls.append(1)
        norm = float(g.norm())
        return g / norm if norm > 1 else g

    def step(scale: Any) -> Any:
        x.grad = None
        h = x * scale
        with rustorch.autograd.graph.register_multi_grad_hook([h], lambda _: None):
            if where == "leaf":
                handle = x.register_hook(clipped)
            elif where == "inner":
                handle = h.register_hook(clipped)
            elif where == "node":
                handle = h.grad_fn.register_hook(lambda gi, go: (clipped(gi[0]), gi[1]))
            else:
                handle = layer.register_full_backward_hook(lambda m, gi, go: (clipped(gi[0]),))
                h = layer(h * 0) + h * 0
            (h * tensor([3.0, 4.0])).sum().backward()
            handle.remove()
        return x.grad

    for scale in (2.0, 0.25, 3.0, 0.125):
        plain = step(tensor(scale)).tolist()
        calls.clear()
        fitted = rustorch.jit(step)
        first = fitted(tensor(7.0))
        assert len(calls) == 1
        again = fitted(tensor(scale))
        assert len(calls) == 2
        assert again.tolist() == pytest.approx(plain, rel=1e-6)
        assert first.shape == again.shape


def test_two_looking_hooks_and_random_numbers() -> None:
    x = tensor([0.1 * i for i in range(8)], requires_grad=True)
    seen: list[float] = []

    def look(g: Any) -> Any:
        seen.append(g.sum().item())
        return g * (2.0 if seen[-1] > 0 else 3.0)

    def step() -> Any:
        x.grad = None
        h = (x * rustorch.rand(8)).exp()
        h.register_hook(look)
        x.register_hook(look)
        h.sum().backward()
        return h

    rustorch.manual_seed(5)
    plain = []
    for _ in range(3):
        x._more().hooks.clear()
        step()
        plain.append((list(seen), x.grad.tolist()))
        seen.clear()
    x._more().hooks.clear()
    run = rustorch.jit(step)
    rustorch.manual_seed(5)
    run()
    assert (seen, x.grad.tolist()) == (pytest.approx(plain[0][0], rel=1e-6), pytest.approx(plain[0][1], rel=1e-6))


def test_looking_hooks_refuse_what_would_be_wrong_later() -> None:
    x = leaf(1.0, 2.0)

    def with_forward_values(y: Any) -> None:
        h = x * y
        h.register_hook(lambda g: print((g * y).sum().item()))
        h.sum().backward()

    def differentiable(y: Any) -> Any:
        h = x * y
        h.register_hook(lambda g: g * float(g.sum()))
        return rustorch.grad(h.sum(), x, create_graph=True)

    for program, words in ((with_forward_values, "were asked for while the function"), (differentiable, "a pass with create_graph")):
        with pytest.raises(rustorch.errors.TraceError, match=words):
            rustorch.jit(program)(tensor([1.0, 1.0]))
    moody: list[int] = []

    def sometimes(g: Any) -> Any:
        moody.append(int(g.sum().item()))
        return g * 2 if len(moody) == 1 else None if len(moody) == 2 else 3

    def step(y: Any) -> Any:
        x.grad = None
        h = x * y
        h.register_hook(sometimes)
        h.sum().backward()
        return x.grad

    run = rustorch.jit(step)
    assert run(tensor([1.0, 1.0])).tolist() == [2.0, 2.0]
    assert run(tensor([1.0, 1.0])).tolist() == [1.0, 1.0]
    with pytest.raises(rustorch.errors.TraceError, match="answered otherwise"):
        run(tensor([1.0, 1.0]))


def test_an_exception_in_a_looking_hook_passes_and_leaves_everything() -> None:
    x = leaf(1.0)
    fails = [False]

    def check(g: Any) -> None:
        if g.item() > 5 or fails[0]:
            raise ValueError("too large")

    def step(y: Any) -> Any:
        x.grad = None
        h = x * 1
        h.register_hook(check)
        (h * y).sum().backward()
        return x.grad

    run = rustorch.jit(step)
    with pytest.raises(ValueError, match="too large"):
        run(tensor([10.0]))
    assert run(tensor([2.0])).tolist() == [2.0]
    with pytest.raises(ValueError, match="too large"):
        run(tensor([10.0]))
    assert rustorch.is_grad_enabled()
    assert run(tensor([3.0])).tolist() == [3.0]


# --- Hooks inside of a jitted function, gradients from outside --------------------------------------------------------


def test_hooks_inside_act_on_gradients_from_outside() -> None:
    scale = tensor(10.0)

    def inner(x: Any) -> Any:
        h = x * 3
        h.register_hook(lambda g: g * scale + h)
        h.register_hook(lambda g: g + 1)
        return (h * h).sum() + x.sum()

    x = leaf(1.0, 2.0)
    inner(x).backward()
    expected = x.grad.tolist()
    run = rustorch.jit(inner)
    for factor in (10.0, 10.0, 20.0):
        scale.fill_(factor)
        x.grad = None
        run(x).backward()
        h = np.array([3.0, 6.0])
        assert x.grad.tolist() == (3 * (2 * h * factor + h + 1) + 1).tolist()
        if factor == 10.0:
            assert x.grad.tolist() == expected
    assert rustorch.func.grad(run)(tensor([1.0, 2.0])).tolist() == (3 * (2 * h * 20 + h + 1) + 1).tolist()


def test_hooks_on_arguments_and_a_second_derivative() -> None:
    def inner(x: Any) -> Any:
        x.register_hook(lambda g: g * x)
        return (x * x).sum()

    for run in (inner, rustorch.jit(inner)):
        x = leaf(3.0)
        y = x * 1
        (first,) = rustorch.grad(run(y), y, create_graph=True)
        (second,) = rustorch.grad(first.sum(), y)
        assert first.tolist() == [18.0]
        assert second.tolist() == [36.0]  # 4 x, and the hook once more


def test_hooks_that_gradients_from_outside_cannot_meet() -> None:
    x = leaf(1.0)

    def on_a_node(x: Any) -> Any:
        y = x * x
        y.grad_fn.register_prehook(lambda g: None)
        return y.sum()

    def on_many(x: Any) -> Any:
        y = x * x
        rustorch.autograd.graph.register_multi_grad_hook([y], lambda g: None)
        return y.sum()

    def looks(x: Any) -> Any:
        y = x * x
        y.register_hook(lambda g: print(g.item()))
        return y.sum()

    for program in (on_a_node, on_many, looks):
        with pytest.raises(rustorch.errors.TraceError):
            rustorch.jit(program)(x)
    with no_grad():
        for program in (on_a_node, on_many, looks):
            with pytest.raises((RuntimeError, AttributeError, AssertionError)):  # nothing there requires a gradient
                rustorch.jit(program)(x)
