"""C5 of the checklist, line 58: hooks of modules. Each program runs recorded and under `jit`."""

from __future__ import annotations

from typing import Any

import pytest

import rustorch
from rustorch import nn
from tests.frontend.door import Door, leaf


@pytest.fixture(params=["recorded", "jit"])
def door(request: pytest.FixtureRequest) -> Door:
    """Programs as they are, then programs under `jit`."""
    return Door(request.param == "jit")


class Two(nn.Module):
    """Two inputs, two outputs."""

    def forward(self, a: Any, b: Any) -> Any:
        return a * 2, b * 3


class Doubles(nn.Module):
    def forward(self, x: Any) -> Any:
        return x * 2


def listed(gradients: Any) -> list[Any]:
    return [None if g is None else g.tolist() for g in gradients]


def test_c5_58_what_backward_hooks_see(door: Door) -> None:
    def program(a: Any, b: Any) -> Any:
        m, seen = Two(), list[Any]()
        m.register_full_backward_pre_hook(lambda m, go: seen.append(go))
        m.register_full_backward_hook(lambda m, gi, go: seen.append((gi, go)))
        one, two = m(a * 1, b * 1)
        (one + two).sum().backward(retain_graph=True)
        one.sum().backward()
        return seen

    (pre, (gi, go), second_pre, (second_gi, second_go)) = door(program, leaf(1.0), leaf(2.0))
    assert listed(pre) == listed(go) == [[1.0], [1.0]]
    assert listed(gi) == [[2.0], [3.0]]
    assert listed(second_pre) == listed(second_go) == [[1.0], None]
    assert listed(second_gi) == [[2.0], [0.0]]


def test_c5_58_every_gradient_can_be_replaced(door: Door) -> None:
    def program(a: Any, b: Any) -> Any:
        after, before = Two(), Two()
        after.register_full_backward_hook(lambda m, gi, go: (gi[0] * 10, gi[1] * 100))
        before.register_full_backward_pre_hook(lambda m, go: (go[0] * 10, go[1] * 100))
        for m in (after, before):
            one, two = m(a, b)
            (one + two).sum().backward()
        return a.grad, b.grad

    a, b = door(program, leaf(1.0), leaf(2.0))
    assert (a.tolist(), b.tolist()) == ([40.0], [600.0])


def test_c5_58_inputs_without_gradients(door: Door) -> None:
    def program(a: Any, b: Any) -> Any:
        m, seen = Two(), list[Any]()
        m.register_full_backward_hook(lambda m, gi, go: seen.append((gi, go)))
        one, two = m(a, b)
        (one.sum() + two.sum()).backward()
        return seen, one.requires_grad, two.requires_grad

    [(gi, go)], one, two = door(program, rustorch.tensor([1.0]), leaf(2.0))
    assert (listed(gi), listed(go)) == ([None, [3.0]], [None, [1.0]])
    assert (one, two) == (False, True)


def test_c5_58_no_input_wants_a_gradient(door: Door) -> None:
    layer = nn.Linear(2, 1)

    def program(x: Any) -> Any:
        seen: list[Any] = []
        with (
            layer.register_full_backward_hook(lambda m, gi, go: seen.append((gi, go))),
            pytest.warns(UserWarning, match="Full backward hook is firing when gradients are computed with respect to module outputs"),
        ):
            layer(x).sum().backward()
        return seen

    [(gi, go)] = door(program, rustorch.ones(1, 2))
    assert (gi, go[0].tolist()) == ((None,), [[1.0]])

    def answers(x: Any) -> None:
        with layer.register_full_backward_hook(lambda m, gi, go: (rustorch.ones(1, 2),)), pytest.warns(UserWarning, match="firing"):
            layer(x).sum().backward()

    with pytest.raises(RuntimeError, match=r"^Backward hook for Modules where no input requires gradient should always return None"):
        door(answers, rustorch.ones(1, 2))


@pytest.mark.parametrize(
    ("kind", "answer", "words"),
    [
        ("register_full_backward_hook", lambda m, gi, go: (gi[0],), "^Backward hook returned an invalid number of grad_input, got 1, but"),
        ("register_full_backward_hook", lambda m, gi, go: gi[0], "^Backward hook returned an invalid number of grad_input, got 1, but"),
        ("register_full_backward_pre_hook", lambda m, go: (go[0],), "^Backward pre hook returned an invalid number of grad_output, got 1"),
    ],
)
def test_c5_58_wrong_answers(door: Door, kind: str, answer: Any, words: str) -> None:
    def program(a: Any, b: Any) -> None:
        m = Two()
        getattr(m, kind)(answer)
        one, two = m(a, b)
        (one + two).sum().backward()

    with pytest.raises(RuntimeError, match=words):
        door(program, leaf(1.0), leaf(2.0))


def test_c5_58_gradients_can_be_cut(door: Door) -> None:
    def program(a: Any, b: Any) -> Any:
        m = Two()
        m.register_full_backward_hook(lambda m, gi, go: (None, gi[1]))
        one, two = m(a, b)
        (one + two).sum().backward()
        return a.grad, b.grad

    a, b = door(program, leaf(1.0), leaf(2.0))
    assert (a, b.tolist()) == (None, [3.0])


def test_c5_58_the_order(door: Door) -> None:
    def program(x: Any) -> Any:
        order: list[str] = []
        net = nn.Sequential(Doubles(), Doubles())
        for n, m in net.named_modules():
            m.register_forward_pre_hook(lambda m, a, n=n: order.append(f"in{n}"))
            m.register_forward_hook(lambda m, a, o, n=n: order.append(f"out{n}"))
            m.register_full_backward_pre_hook(lambda m, go, n=n: order.append(f"back{n}"))
            m.register_full_backward_hook(lambda m, gi, go, n=n: order.append(f"done{n}"))
        with (
            nn.register_module_forward_pre_hook(lambda m, a: order.append("in*")),
            nn.register_module_forward_hook(lambda m, a, o: order.append("out*")),
            nn.register_module_full_backward_pre_hook(lambda m, go: order.append("back*")),
            nn.register_module_full_backward_hook(lambda m, gi, go: order.append("done*")),
        ):
            net(x).sum().backward()
        net(x)
        return order

    order = door(program, leaf(1.0))
    assert order[:24] == (
        ["in*", "in", "in*", "in0", "out*", "out0", "in*", "in1", "out*", "out1", "out*", "out"]
        + ["back*", "back", "back*", "back1", "done*", "done1", "back*", "back0", "done*", "done0", "done*", "done"]
    )
    assert order[24:] == ["in", "in0", "out0", "in1", "out1", "out"]


def test_c5_58_outputs_that_are_no_tensors() -> None:
    class Named(nn.Module):
        def forward(self, x: Any) -> Any:
            return {"y": x * 2}

    m, seen = Named(), list[Any]()
    m.register_full_backward_hook(lambda m, gi, go: seen.append(gi))
    x = leaf(1.0)
    with pytest.warns(UserWarning, match="module output should be a Tensor or a tuple of Tensors but received <class 'dict'>"):
        m(x)["y"].sum().backward()
    assert (seen, x.grad.tolist()) == ([], [2.0])


def test_c5_58_forward_hooks(door: Door) -> None:
    class Scaled(nn.Module):
        def forward(self, x: Any, k: Any = None) -> Any:
            return x * k

    def program(x: Any) -> Any:
        m, seen = Scaled(), list[Any]()
        m.register_forward_pre_hook(lambda m, a, k: (a, {"k": k["k"] * 2}), with_kwargs=True)
        m.register_forward_pre_hook(lambda m, a: a[0] + 1, prepend=True)
        m.register_forward_hook(lambda m, a, k, o: seen.append(k["k"]), with_kwargs=True)
        m.register_forward_hook(lambda m, a, o: o * 10, prepend=True)
        return m(x, k=3), seen

    y, seen = door(program, leaf(1.0))
    assert (y.tolist(), seen) == ([120.0], [6])
    m = Scaled()
    m.register_forward_pre_hook(lambda m, a, k: a, with_kwargs=True)
    with pytest.raises(TypeError, match=r"forward pre-hook must return None or a tuple of \(new_args, new_kwargs\)"):
        m(leaf(1.0), k=3)


def test_c5_58_always_called() -> None:
    class Fails(nn.Module):
        def forward(self, x: Any) -> Any:
            raise ValueError("boom")

    m, seen = Fails(), list[Any]()
    m.register_forward_hook(lambda m, a, o: seen.append(("never", o)))
    m.register_forward_hook(lambda m, a, o: seen.append(("always", o)), always_call=True)
    with pytest.raises(ValueError, match="boom"):
        m(1)
    assert seen == [("always", None)]
    m.register_forward_hook(lambda m, a, o: 1 / 0, always_call=True)
    with pytest.raises(ValueError, match="boom"), pytest.warns(UserWarning, match="that was silenced: division by zero"):
        m(1)
    good, calls = Doubles(), list[str]()
    good.register_forward_hook(lambda m, a, o: calls.append("first"), always_call=True)
    good.register_forward_hook(lambda m, a, o: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        good(leaf(1.0))
    assert calls == ["first"]


def test_c5_58_a_jitted_step_follows_hooks_of_all_modules() -> None:
    m = Doubles()
    run = rustorch.jit(m)
    x = rustorch.ones(2)
    for _ in range(3):
        assert run(x).tolist() == [2.0, 2.0]
    with nn.register_module_forward_hook(lambda m, a, o: o + 1):
        for _ in range(3):
            assert run(x).tolist() == [3.0, 3.0]
    assert run(x).tolist() == [2.0, 2.0]
