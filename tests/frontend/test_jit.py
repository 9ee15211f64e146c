"""`jit`: programs, arguments, what is taken from outside and written back; the same compiled entries as the recorder's."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import rustorch
from rustorch import compiler, grad, jit, no_grad, tensor


def test_a_function_is_traced_once_for_each_kind_of_arguments() -> None:
    traces = []

    @jit
    def f(x: Any, y: Any) -> Any:
        """Doc."""
        traces.append(1)
        return (x * y).sum()

    assert f(tensor([1.0, 2.0]), tensor([3.0, 4.0])).item() == 11.0
    assert f(tensor([1.0, 2.0]), tensor([0.0, 1.0])).item() == 2.0
    assert f(np.array([1.0, 2.0], np.float32), tensor([0.0, 1.0])).item() == 2.0
    assert f(tensor([1.0, 2.0]), 2.0).item() == 6.0
    assert f(tensor([1.0, 2.0]), 3.0).item() == 9.0
    assert f(tensor([1.0, 2.0]), 3).item() == 9.0
    assert len(traces) == 3
    assert f.cache_info().misses == 3
    assert (f.__name__, f.__doc__) == ("f", "Doc.")


def test_python_numbers_are_weak() -> None:
    f = jit(lambda x, k: x * k)
    assert f(tensor([1, 2]), 2).dtype is rustorch.int64
    assert f(tensor([1, 2]), 2.5).dtype is rustorch.float32
    assert f(tensor([1.0], dtype=rustorch.float64), 2.5).dtype is rustorch.float64
    assert jit(lambda k: k)(2.5).dtype is rustorch.float32


Pair = namedtuple("Pair", "first second")


@dataclass
class Box:
    value: Any
    name: str


def test_containers_go_in_and_out() -> None:
    @jit
    def f(a: Any, *, scale: float = 2.0) -> Any:
        return {"pair": Pair(a["x"] * scale, None), "box": Box(a["y"][0] + 1, a["y"][1]), "list": [3, (a["x"],)]}

    found = f({"x": tensor([1.0]), "y": (tensor([2.0]), "name")}, scale=3.0)
    assert found["pair"].first.tolist() == [3.0]
    assert found["pair"].second is None
    assert (found["box"].value.tolist(), found["box"].name) == ([3.0], "name")
    assert (found["list"][0], found["list"][1][0].tolist()) == (3, [1.0])


def test_static_arguments() -> None:
    @jit
    def power(x: Any, flag: bool, name: str) -> Any:
        return x * 2 if flag and name == "twice" else x

    assert power(tensor([1.0]), True, "twice").tolist() == [2.0]
    assert power(tensor([1.0]), False, "twice").tolist() == [1.0]

    @jit(static_argnums=1)
    def repeat(x: Any, n: int) -> Any:
        for _ in range(n):
            x = x * 2
        return x

    assert repeat(tensor([1.0]), 3).tolist() == [8.0]
    assert repeat(tensor([1.0]), 4).tolist() == [16.0]
    named = jit(lambda x, n=1: x * n if n < 3 else -x, static_argnames="n")
    assert (named(tensor([1.0]), n=2).tolist(), named(tensor([1.0]), n=3).tolist()) == ([2.0], [-1.0])


def test_python_that_looks_at_numbers_is_refused() -> None:
    def branch(x: Any) -> Any:
        return x if x.sum() > 0 else -x

    for body in (branch, lambda x: float(x.sum()), lambda x: print(x), lambda x: x.tolist(), lambda x: range(x.long().sum())):
        with pytest.raises(rustorch.errors.TraceError, match="where") as caught:
            jit(body)(tensor([1.0]))
        assert "test_jit.py" in str(caught.value)
    assert (tensor([1.0]) + 1).tolist() == [2.0]


def test_errors_inside_leave_everything_as_it_was() -> None:
    w = tensor([1.0], requires_grad=True)
    state = tensor([0.0])

    @jit
    def f(x: Any) -> Any:
        state.add_(1)
        w.grad = x
        raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        f(tensor([1.0]))
    assert (state.tolist(), w.grad) == ([0.0], None)
    assert rustorch.is_grad_enabled()


def test_tensors_from_outside_are_inputs() -> None:
    w = tensor([2.0])
    f = jit(lambda x: x * w)
    assert f(tensor([3.0])).tolist() == [6.0]
    w.fill_(5.0)
    assert f(tensor([3.0])).tolist() == [15.0]
    assert f.cache_info().currsize == 1


def test_writes_are_written_back() -> None:
    count, seen = tensor([0.0]), rustorch.zeros(2)

    @jit
    def f(x: Any) -> Any:
        count.add_(1)
        seen[0] = x
        x.mul_(10)
        return count * 2

    x = tensor(3.0)
    assert f(x).tolist() == [2.0]
    assert f(x).tolist() == [4.0]
    assert (count.tolist(), seen.tolist(), x.item()) == ([2.0], [30.0, 0.0], 300.0)


def train(compiled: bool, steps: int = 5) -> tuple[list[float], list[Any]]:
    rustorch.manual_seed(3)
    w = rustorch.randn(4, 3, requires_grad=True)
    b = rustorch.zeros(3, requires_grad=True)
    x, y = rustorch.randn(8, 4), rustorch.randn(8, 3)
    momentum = [rustorch.zeros(4, 3), rustorch.zeros(3)]
    rate = tensor(0.1)

    def step(x: Any, y: Any) -> Any:
        w.grad = b.grad = None
        loss = ((x @ w + b).tanh() - y).square().mean()
        loss.backward()
        with no_grad():
            for p, m in zip((w, b), momentum, strict=True):
                m.mul_(0.9).add_(p.grad)
                p.sub_(m * rate)
        return loss

    call = jit(step) if compiled else step
    losses = []
    for k in range(steps):
        if k == 3:
            rate.fill_(0.01)
        losses.append(float(call(x, y)))
    if compiled:
        assert call.cache_info().misses == 1
    return losses, [w.tolist(), b.tolist(), w.grad.tolist(), momentum[0].tolist()]


def test_a_training_step_compiles_to_one_program() -> None:
    plain, whole = train(False), train(True)
    assert np.allclose(plain[0], whole[0], rtol=1e-5)
    for a, b in zip(plain[1], whole[1], strict=True):
        assert np.allclose(a, b, rtol=1e-4, atol=1e-6)


def test_gradients_accumulate_over_calls() -> None:
    w = tensor([2.0], requires_grad=True)

    @jit
    def f(x: Any) -> None:
        (w * x).sum().backward()

    for _ in range(4):
        f(tensor([3.0]))
    assert w.grad.tolist() == [12.0]
    w.grad = None
    f(tensor([1.0]))
    assert w.grad.tolist() == [1.0]
    assert f.cache_info().currsize == 2


def test_gradients_of_arguments() -> None:
    @jit
    def f(x: Any) -> Any:
        y = (x * x).sum()
        y.backward()
        return y

    x = tensor([1.0, 2.0], requires_grad=True)
    f(x)
    f(x)
    assert x.grad.tolist() == [4.0, 8.0]


def test_a_jitted_function_is_differentiable() -> None:
    w = tensor([3.0], requires_grad=True)
    f = jit(lambda x: (x**3 * w).sum())
    x = tensor([1.0, 2.0], requires_grad=True)
    f(x).backward()
    assert (x.grad.tolist(), w.grad.tolist()) == ([9.0, 36.0], [9.0])
    (g,) = grad(f(x), x, create_graph=True)
    (h,) = grad(g.sum(), x)
    assert h.tolist() == [18.0, 36.0]
    with no_grad():
        assert not f(x).requires_grad
    assert not jit(lambda x: x.detach() * 2)(x).requires_grad


def test_state_that_is_made_inside_is_traced_again_once() -> None:
    state: dict[str, Any] = {}

    @jit
    def f(x: Any) -> Any:
        if "m" not in state:
            state["m"] = rustorch.zeros_like(x)
        state["m"].mul_(0.5).add_(x)
        return state["m"] * 1

    assert [f(tensor([1.0])).item() for _ in range(4)] == [1.0, 1.5, 1.75, 1.875]
    assert state["m"].item() == 1.875
    assert f.cache_info().misses == 2


def test_what_is_made_inside_starts_afresh() -> None:
    @jit
    def f(x: Any) -> Any:
        total = rustorch.zeros(1)
        total += x
        table = tensor([1.0, 2.0])
        table[0] = 5.0
        return total, table

    for _ in range(3):
        total, table = f(tensor([2.0]))
        assert (total.tolist(), table.tolist()) == ([2.0], [5.0, 2.0])


def test_random_numbers_are_those_of_the_loop() -> None:
    def draw(x: Any) -> Any:
        return rustorch.rand(3) + rustorch.rand(3) * x

    rustorch.manual_seed(5)
    loop = [draw(tensor([1.0])).tolist() for _ in range(3)]
    rustorch.manual_seed(5)
    compiled = jit(draw)
    assert [compiled(tensor([1.0])).tolist() for _ in range(3)] == loop


def test_methods() -> None:
    class Layer:
        def __init__(self) -> None:
            self.w = tensor([2.0])

        @jit
        def __call__(self, x: Any) -> Any:
            return x * self.w

    a, b = Layer(), Layer()
    b.w = tensor([5.0])
    assert (a(tensor([1.0])).tolist(), b(tensor([1.0])).tolist()) == ([2.0], [5.0])


def test_nesting() -> None:
    inner = jit(lambda x: x * 2)
    outer = jit(lambda x: inner(x) + inner(inner(x)))
    assert outer(tensor([1.0])).tolist() == [6.0]


def test_both_doors_share_compiled_entries() -> None:
    x = tensor([0.5, 1.5, 2.5, 3.5, 4.5], requires_grad=True)
    ((x * x).sin().sum() * 1.0625).backward()
    before = compiler.statistics.compiles

    def f(x: Any) -> Any:
        y = (x * x).sin().sum() * 1.0625
        y.backward()
        return y

    jit(f)(x)
    assert compiler.statistics.compiles == before
    rustorch.sync()
    y = rustorch.ones(2, 7, 3) * 2.4375 + 1
    y.tolist()
    before = compiler.statistics.compiles
    jit(lambda t: t * 2.4375 + 1)(rustorch.ones(2, 7, 3))
    assert compiler.statistics.compiles == before


def test_tensors_of_a_trace_do_not_live_on() -> None:
    kept: list[Any] = []

    @jit
    def f(x: Any) -> Any:
        kept.append(x * 2)
        return x

    f(tensor([1.0]))
    assert kept[0].tolist() == [2.0]


def test_lower() -> None:
    text = str(jit(lambda x: (x * 2).sum()).lower(tensor([1.0, 2.0])))
    assert "func @" in text
    assert "%x: f32[2]" in text
    assert "reduce_sum" in text


def test_pending_tensors_may_be_arguments() -> None:
    f = jit(lambda x: x * 2)
    x = tensor([1.0]) + 1
    w = tensor([1.0]) + 2
    g = jit(lambda x: x * w)
    assert (f(x).tolist(), g(x).tolist()) == ([4.0], [6.0])


def test_the_short_way_and_the_general_way_agree() -> None:
    count, w = tensor([0.0, 0.0]), tensor([1.0, 2.0], requires_grad=True)

    @jit
    def step(x: Any) -> Any:
        w.grad = None
        loss = (w * x).sum()
        loss.backward()
        count.add_(rustorch.rand(2))
        with no_grad():
            w.sub_(w.grad)
        return loss

    def expect(x: Any, loss: float, value: list[float]) -> None:
        version = w._version
        assert step(x).item() == loss
        assert (w.tolist(), w.grad.tolist(), w._version) == (value, [1.0, 1.0], version + 1)
        assert w.requires_grad
        assert w.is_leaf

    one = rustorch.ones(2)
    rustorch.manual_seed(1)
    for k in range(4):
        expect(one, 3.0 - 2 * k, [-float(k), 1.0 - k])
    drawn = count.tolist()
    rustorch.manual_seed(1)
    assert np.allclose(drawn, sum(rustorch.rand(2).numpy() for _ in range(4)), rtol=1e-6)
    view = w.detach()
    expect(one, -5.0, [-4.0, -3.0])
    assert view.tolist() == [-4.0, -3.0]
    with no_grad():
        w.fill_(1.0)  # recorded, not computed yet
    expect(one, 2.0, [0.0, 0.0])
    expect(one + 0, 0.0, [-1.0, -1.0])
    expect(np.ones(2, np.float32), -2.0, [-2.0, -2.0])
    seen = w.detach().numpy()
    expect(one, -4.0, [-3.0, -3.0])
    assert seen.tolist() == [-3.0, -3.0]
    assert step.cache_info().misses == 1
    with rustorch.enable_grad(), no_grad(), pytest.raises(RuntimeError, match="does not require grad"):
        step(one)
    w.requires_grad_(False)
    with pytest.raises(RuntimeError, match="does not require grad"):
        step(one)


def test_short_ways_are_found_again_after_a_change() -> None:
    f = jit(lambda x: x * 2 + 1)
    x = rustorch.ones(3)
    for _ in range(3):
        f(x)
    before = f.cache_info().hits
    f(x)
    assert f.cache_info().hits == before  # it went past the general way
    rustorch.changed()
    for _ in range(3):
        assert f(x).tolist() == [3.0] * 3
    before = f.cache_info().hits
    f(x)
    assert f.cache_info().hits == before


def test_a_short_way_is_not_taken_while_another_function_is_traced() -> None:
    w = tensor([2.0])
    inner = jit(lambda x: x * w)
    for _ in range(3):
        inner(tensor([1.0]))
    outer = jit(lambda x: x + inner(np.ones(1, np.float32)))
    assert outer(tensor([1.0])).tolist() == [3.0]
    w.fill_(5.0)
    assert outer(tensor([1.0])).tolist() == [6.0]
