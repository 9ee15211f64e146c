"""C3 of the checklist: `grad`. Each line twice, recorded and under `jit`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import rustorch
from rustorch import grad, tensor
from tests.frontend.door import Door, leaf


def test_c3_28_order_and_grad(door: Door) -> None:
    def program(x: Any, y: Any) -> Any:
        found = grad((x * y).sum(), [y, x])
        return isinstance(found, tuple), found, x.grad, y.grad

    is_tuple, found, *untouched = door(program, leaf(2.0), leaf(5.0))
    assert is_tuple
    assert [g.tolist() for g in found] == [[2.0], [5.0]]
    assert untouched == [None, None]


def test_c3_28_hooks(door: Door) -> None:
    def program(x: Any) -> Any:
        fired: list[str] = []
        x.register_post_accumulate_grad_hook(lambda t: fired.append("post"))
        x.register_hook(lambda g: g * 2)
        y = x * 3
        y.register_hook(lambda g: fired.append("y"))
        (gradient,) = grad(y.sum(), x)
        return gradient, tuple(fired)

    gradient, fired = door(program, leaf(1.0))
    assert gradient.tolist() == [6.0]
    assert fired == ("y",)


def test_c3_29_unused_inputs(door: Door) -> None:
    x, y = leaf(2.0), leaf(5.0, 6.0)

    def ask(**options: Any) -> Any:
        return door(lambda x, y: grad((x * x).sum(), [x, y], **options), x, y)

    message = r"^The differentiated Tensor at index 1 appears to not have been used in the graph\. Set allow_unused=True if this is the"
    with pytest.raises(RuntimeError, match=message):
        ask()
    with pytest.raises(RuntimeError, match=message):
        ask(allow_unused=False)
    assert ask(allow_unused=True)[1] is None
    for options in ({"materialize_grads": True}, {"materialize_grads": True, "allow_unused": True}):
        first, zeros = ask(**options)
        assert (first.tolist(), zeros.tolist(), zeros.dtype) == ([4.0], [0.0, 0.0], rustorch.float32)
    with pytest.raises(ValueError, match=r"^Expected allow_unused to be True or not passed when materialize_grads=True"):
        ask(materialize_grads=True, allow_unused=False)


def test_c3_30_inputs_without_requires_grad(door: Door) -> None:
    for options in ({}, {"allow_unused": True}, {"materialize_grads": True}):
        with pytest.raises(RuntimeError, match=r"^One of the differentiated Tensors does not require grad"):
            door(lambda x, options=options: grad(x.sum(), [x, tensor([1.0])], **options), leaf(1.0))


def test_c3_30_no_inputs(door: Door) -> None:
    with pytest.raises(RuntimeError, match=r"^`inputs` argument to `grad\(\)` cannot be empty\."):
        door(lambda x: grad(x.sum(), []), leaf(1.0))


def test_c3_31_many_outputs(door: Door) -> None:
    def program(x: Any) -> Any:
        (a,) = grad([x.sum(), x * x], [x], [None, tensor([1.0, 10.0])])
        (b,) = grad((x.sum(), (x * x).sum()), x)
        return a, b

    a, b = door(program, leaf(2.0, 3.0))
    assert (a.tolist(), b.tolist()) == ([5.0, 61.0], [5.0, 7.0])
    with pytest.raises(RuntimeError, match=r"^grad can be implicitly created only for scalar outputs"):
        door(lambda x: grad([x.sum(), x * x], [x], [None, None]), leaf(2.0, 3.0))
    with pytest.raises(RuntimeError, match=r"^got 2 tensors and 1 gradients"):
        door(lambda x: grad([x.sum(), x * x], [x], [None]), leaf(2.0, 3.0))
    with pytest.raises(RuntimeError, match=r"^Mismatch in shape: grad_output\[1\] has a shape of"):
        door(lambda x: grad([x.sum(), x * x], [x], [None, rustorch.ones(3)]), leaf(2.0, 3.0))


def test_c3_32_batched(door: Door) -> None:
    def program(x: Any, y: Any) -> Any:
        out = x * x * y
        a, b = grad(out, [x, y], rustorch.eye(2), is_grads_batched=True)
        return a, b

    a, b = door(program, leaf(2.0, 3.0), leaf(5.0, 7.0))
    assert (a.tolist(), b.tolist()) == ([[20.0, 0.0], [0.0, 42.0]], [[4.0, 0.0], [0.0, 9.0]])


def test_c3_32_batched_with_create_graph(door: Door) -> None:
    def program(x: Any) -> Any:
        (jacobian,) = grad(x**3, [x], rustorch.eye(2), is_grads_batched=True, create_graph=True)
        (second,) = grad(jacobian.sum(), x)
        return jacobian, second

    jacobian, second = door(program, leaf(2.0, 3.0))
    assert (jacobian.tolist(), second.tolist()) == ([[12.0, 0.0], [0.0, 27.0]], [12.0, 18.0])


def test_c3_32_shapes_of_batched_gradients(door: Door) -> None:
    with pytest.raises(RuntimeError, match=r"^If `is_grads_batched=True`, we interpret the first dimension of each grad_output as"):
        door(lambda x: grad(x * 2, [x], rustorch.ones(3, 3), is_grads_batched=True), leaf(1.0, 2.0))
    with pytest.raises(RuntimeError, match=r"^grad can be implicitly created only for scalar outputs"):
        door(lambda x: grad(x * 2, [x], is_grads_batched=True), leaf(1.0, 2.0))


def test_c3_33_orders(door: Door) -> None:
    def program(x: Any) -> Any:
        orders = [x**3]
        for _ in range(3):
            orders += grad(orders[-1], x, create_graph=True)
        return orders

    found = door(program, tensor(2.0, requires_grad=True))
    assert [o.item() for o in found] == [8.0, 12.0, 12.0, 6.0]
    assert all(o.requires_grad for o in found[:3])


def test_c3_34_intermediates(door: Door) -> None:
    def program(x: Any) -> Any:
        a = x * 3
        a.register_hook(lambda g: g * 100)
        c = (a * a * x).sum()
        first = grad(c, [a, x], retain_graph=True)
        alone = grad(c, a, retain_graph=True)
        end = grad(c, c)
        return first, alone, end

    (a, x), (alone,), (one,) = door(program, leaf(2.0))
    assert (a.tolist(), alone.tolist(), one.tolist()) == ([2400.0], [2400.0], 1.0)
    assert x.tolist() == [7236.0]  # 36 of its own, and 24 * 100 * 3 through the hook


def test_c3_34_equal_computations_are_apart(door: Door) -> None:
    def program(x: Any) -> Any:
        a, b = x.exp(), x.exp()
        return grad((a * 2 + b * 3).sum(), [a, b])

    a, b = door(program, leaf(0.5))
    assert (a.tolist(), b.tolist()) == ([2.0], [3.0])


def test_c3_34_an_input_twice_and_an_input_of_an_input(door: Door) -> None:
    def program(x: Any) -> Any:
        a = x * 3
        b = a * a
        return grad(b.sum(), [x, a, x, b])

    found = door(program, leaf(2.0))
    assert [g.tolist() for g in found] == [[36.0], [12.0], [36.0], [1.0]]


def test_c3_35_inputs_by_name(door: Door) -> None:
    found = door(lambda x, y: grad((x * y).sum(), {"b": y, "a": x}), leaf(2.0), leaf(5.0))
    assert list(found) == ["b", "a"]
    assert [g.tolist() for g in found.values()] == [[2.0], [5.0]]


def test_c3_36_the_seed_s_signature(door: Door) -> None:
    (found,) = door(lambda v: rustorch.grad([v * v], [v], retain_graph=False, create_graph=False), leaf(2.0))
    assert found.tolist() == [4.0]
    assert rustorch.autograd.grad is rustorch.grad


def test_c3_36_with_a_function_it_is_the_transform(door: Door) -> None:
    found = door(rustorch.grad(lambda x: (x**3).sum()), tensor([1.0, 2.0]))
    np.testing.assert_array_equal(found.numpy(), [3.0, 12.0])


def test_c3_28_a_freed_graph(door: Door) -> None:
    def program(x: Any) -> Any:
        y = (x * x).sum()
        grad(y, x)
        grad(y, x)

    with pytest.raises(RuntimeError, match=r"^Trying to backward through the graph a second time"):
        door(program, leaf(1.0))
    assert [g.tolist() for g in door(lambda x: grad((x * x).sum(), [x], retain_graph=True), leaf(3.0))] == [[6.0]]


def test_c3_33_orders_through_values_that_were_looked_at(door: Door) -> None:
    """A leaf whose memory is shared has a number of its own in every backward graph: all of them count."""
    x = tensor(0.7, dtype=rustorch.float64, requires_grad=True)
    shared = x.detach().numpy()

    def program() -> Any:
        y = x.sigmoid()
        z = x * y
        if not door.compiled:
            y.tolist()
            z.tolist()
        (first,) = grad(z * z, x, create_graph=True)
        return grad(first * first, x)[0]

    s = 1 / (1 + np.exp(-0.7))
    ds, dds = s * (1 - s), s * (1 - s) * (1 - 2 * s)
    z, dz, ddz = 0.7 * s, s + 0.7 * ds, 2 * ds + 0.7 * dds
    first, second = 2 * z * dz, 2 * dz * dz + 2 * z * ddz
    assert door(program).item() == pytest.approx(2 * first * second, rel=1e-12)
    assert shared == 0.7
