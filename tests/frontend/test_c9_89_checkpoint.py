"""C9 of the checklist, line 89: checkpoints."""

from __future__ import annotations

from typing import Any

import pytest

import rustorch
from rustorch import grad, nn, tensor
from rustorch.utils.checkpoint import CheckpointError, checkpoint, checkpoint_sequential
from tests.frontend.door import Door, leaf


def test_c9_89_twice_and_the_same_gradients(door: Door) -> None:
    def program(a: Any, b: Any) -> Any:
        calls: list[int] = []

        def f(x: Any, y: Any) -> Any:
            calls.append(1)
            return (x * y).exp(), x

        one, two = checkpoint(f, a, b, use_reentrant=False)
        before = len(calls)
        (one + two).sum().backward()
        return before, len(calls), a.grad, b.grad

    before, after, a, b = door(program, leaf(1.0), leaf(2.0))
    assert (before, after) == (1, 2)
    assert a.tolist() == pytest.approx([15.778112], rel=1e-6)
    assert b.tolist() == pytest.approx([7.389056], rel=1e-6)


def test_c9_89_how_often_it_runs(door: Door) -> None:
    def program(a: Any) -> Any:
        calls: list[int] = []

        def f(x: Any) -> Any:
            calls.append(1)
            return x.exp()

        y = checkpoint(f, a, use_reentrant=False)
        y.sum().backward(retain_graph=True)
        y.sum().backward()
        twice = len(calls)
        calls.clear()
        checkpoint(lambda x: (calls.append(1), x + 1)[1], a, use_reentrant=False).sum().backward()
        nothing_saved = len(calls)
        with rustorch.no_grad():
            checkpoint(f, a, use_reentrant=False)
        return twice, nothing_saved, a.grad

    twice, nothing_saved, gradient = door(program, leaf(0.0))
    assert (twice, nothing_saved, gradient.tolist()) == (3, 1, [3.0])


def test_c9_89_a_second_derivative(door: Door) -> None:
    def program(x: Any) -> Any:
        y = checkpoint(lambda x: x * x * x, x, use_reentrant=False)
        (first,) = grad(y.sum(), x, create_graph=True)
        (second,) = grad(first.sum(), x)
        return first, second

    first, second = door(program, leaf(2.0))
    assert (first.tolist(), second.tolist()) == ([12.0], [12.0])


def test_c9_89_random_numbers_are_drawn_again(door: Door) -> None:
    def program(x: Any) -> Any:
        before = rustorch.rand(3)
        y = checkpoint(lambda x: (nn.functional.dropout(x, 0.5) * x).exp(), x, use_reentrant=False)
        after = rustorch.rand(3)
        (g,) = grad(y.sum(), x)
        return y, g, before, after, rustorch.rand(3)

    def plain(x: Any) -> Any:
        before = rustorch.rand(3)
        y = (nn.functional.dropout(x, 0.5) * x).exp()
        after = rustorch.rand(3)
        (g,) = grad(y.sum(), x)
        return y, g, before, after, rustorch.rand(3)

    x = tensor([0.1 * i for i in range(64)], requires_grad=True)
    rustorch.manual_seed(7)
    found = door(program, x)
    rustorch.manual_seed(7)
    expected = door(plain, x)
    for one, other in zip(found, expected, strict=True):
        assert one.tolist() == pytest.approx(other.tolist(), rel=1e-6)


def test_c9_89_modules_and_keywords(door: Door) -> None:
    rustorch.manual_seed(3)
    net = nn.Sequential(*[part for _ in range(4) for part in (nn.Linear(8, 8), nn.Tanh())])
    x = rustorch.randn(5, 8)

    def gradients(call: Any) -> Any:
        def program(x: Any) -> Any:
            net.zero_grad()
            call(x).square().sum().backward()
            return [p.grad.clone() for p in net.parameters()]

        return [g.tolist() for g in door(program, x)]

    plain = gradients(net)
    for found in (
        gradients(lambda x: checkpoint_sequential(net, 3, x, use_reentrant=False)),
        gradients(lambda x: checkpoint(lambda *, given: net(given), given=x, use_reentrant=False)),
        gradients(lambda x: checkpoint(lambda x: checkpoint(net[2:], net[:2](x), use_reentrant=False), x, use_reentrant=False)),
    ):
        for one, other in zip(found, plain, strict=True):
            assert rustorch.allclose(tensor(one), tensor(other), rtol=1e-5, atol=1e-6)


def test_c9_89_what_differs_the_second_time() -> None:
    calls: list[int] = []

    def fewer(x: Any) -> Any:
        calls.append(1)
        return x.exp().sin() if len(calls) == 1 else x + 1

    with pytest.raises(CheckpointError, match="A different number of tensors was saved"):
        checkpoint(fewer, leaf(1.0), use_reentrant=False).sum().backward()
    calls.clear()

    def other(x: Any) -> Any:
        calls.append(1)
        return x.exp() if len(calls) == 1 else (x.reshape(1, 1) * 1.0).exp()

    with pytest.raises(CheckpointError, match="different metadata"):
        checkpoint(other, leaf(1.0), use_reentrant=False).sum().backward()
    with pytest.raises(ValueError, match="determinism_check"):
        checkpoint(other, leaf(1.0), determinism_check="x")
    with pytest.raises(TypeError):
        checkpoint(fewer, leaf(1.0), use_reentrant=False, nonsense=1)


def _work_bytes(function: Any, *args: Any) -> int:
    return int(rustorch.jit(function).lower(*args).compile().program.compiled.artifact.work_bytes)


def test_c9_89_compiled_programs_really_compute_again() -> None:
    """The memory of a program shrinks, and the operations of the function are there twice."""

    def block(x: Any) -> Any:
        for _ in range(6):
            x = ((x @ w).sin() @ w).exp()
            x = x / x.sum(1, keepdim=True)
        return x

    def loss(x: Any, wrap: Any) -> Any:
        for _ in range(3):
            x = wrap(x)
        return (x * x).sum()

    w = rustorch.rand(64, 64) * 0.1
    x = rustorch.rand(64, 64)
    plain = rustorch.value_and_grad(lambda x: loss(x, block))
    saving = rustorch.value_and_grad(lambda x: loss(x, lambda x: checkpoint(block, x, use_reentrant=False)))
    value, gradient = rustorch.jit(plain)(x)
    again, other = rustorch.jit(saving)(x)
    assert float(value) == pytest.approx(float(again), rel=1e-6)
    assert rustorch.allclose(gradient, other, rtol=1e-4, atol=1e-6)
    assert _work_bytes(saving, x) < 0.55 * _work_bytes(plain, x)

    def sines(f: Any) -> int:
        graph = rustorch.jit(f).lower(x).compile().program.compiled.graph
        return sum(node.op.name == "sin" for node in graph.nodes)

    assert sines(plain) == 18
    assert sines(saving) == 36
