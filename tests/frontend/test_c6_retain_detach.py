"""C6 of the checklist, lines 59 to 63: `retain_grad`, `detach`, `clone`. Each program runs recorded and under `jit`."""

from __future__ import annotations

from typing import Any

import pytest

import rustorch
from rustorch import grad, no_grad, tensor
from tests.frontend.door import Door, leaf


def test_c6_59_retain_grad(door: Door) -> None:
    def program(x: Any) -> Any:
        y = x * 3
        before = y.retains_grad
        y.retain_grad()
        y.retain_grad()
        x.retain_grad()
        (y * y).sum().backward(retain_graph=True)
        first = y.grad
        (y * y).sum().backward()
        return before, y.retains_grad, x.retains_grad, first, y.grad, x.grad

    before, after, of_leaf, first, second, gradient = door(program, leaf(2.0))
    assert (before, after, of_leaf) == (False, True, False)
    assert (first.tolist(), second.tolist(), gradient.tolist()) == ([12.0], [24.0], [72.0])
    with pytest.raises(RuntimeError, match=r"^can't retain_grad on Tensor that has requires_grad=False"):
        tensor([1.0]).retain_grad()


def test_c6_59_retained_gradients_are_not_those_of_grad(door: Door) -> None:
    def program(x: Any) -> Any:
        y = x * 3
        y.retain_grad()
        z = (y * y).sum()
        grad(z, [x], retain_graph=True)
        return y.grad

    assert door(program, leaf(2.0)).tolist() == [12.0]  # PyTorch's grad() fills .grad of tensors that retain, too


def test_c6_59_with_hooks_and_create_graph(door: Door) -> None:
    def program(x: Any) -> Any:
        y = x * 3
        y.retain_grad()
        y.register_hook(lambda g: g * 2)
        (y * y).sum().backward(create_graph=True)
        return y.grad, y.grad.requires_grad, grad(y.grad.sum(), x)[0]

    gradient, flag, second = door(program, leaf(2.0))
    assert (gradient.tolist(), flag, second.tolist()) == ([24.0], True, [24.0])  # the hook is called on the way back from y.grad, too


@pytest.mark.parametrize("look", [False, True])
def test_c6_60_the_new_value_s_gradient_is_retained(door: Door, look: bool) -> None:
    def program(x: Any) -> Any:
        y = x * 1
        y.retain_grad()
        if look and not door.compiled:
            y.tolist()
        y.mul_(5)
        y.sum().backward()
        return y.grad, x.grad

    y, x = door(program, leaf(1.0))
    assert (y.tolist(), x.tolist()) == ([1.0], [5.0])


def test_c6_61_detach(door: Door) -> None:
    def program(x: Any) -> Any:
        y = x * 2
        d = y.detach()
        flags = d.requires_grad, d.is_leaf, d.grad_fn
        version = y._version
        d.mul_(3)
        (x * 1).sum().backward()
        return flags, y.detach(), d, y._version - version, d._version - version, x.grad

    flags, y, d, one, other, gradient = door(program, leaf(1.0, 2.0))
    assert flags == (False, True, None)
    assert y.tolist() == d.tolist() == [6.0, 12.0]
    assert (one, other) == (1, 1)
    assert gradient.tolist() == [1.0, 1.0]


def test_c6_61_what_was_saved_stays(door: Door) -> None:
    """PyTorch refuses this; here a recorded value is immutable, and the gradient is right."""

    def program(x: Any) -> Any:
        y = x.exp()
        z = y * y
        y.detach().zero_()
        z.sum().backward()
        return x.grad

    assert door(program, leaf(0.0)).tolist() == [2.0]


def test_c6_62_data_is_not_counted(door: Door) -> None:
    def program(x: Any) -> Any:
        y = x * 2
        version = y._version
        y.data.mul_(10)
        z = y * 1
        z.sum().backward()
        return y._version - version, z, x.grad

    counted, z, gradient = door(program, leaf(1.0))
    assert (counted, z.tolist(), gradient.tolist()) == (0, [20.0], [2.0])


def test_c6_63_clone_and_detach_in_place(door: Door) -> None:
    def program(x: Any) -> Any:
        y = x * 2
        c = y.clone()
        c.mul_(3)
        name = x.clone().grad_fn.name()
        h = x * 5
        same = h.detach_() is h
        (c + h).sum().backward()
        return name, same, h.requires_grad, h.is_leaf, h.grad_fn, y.detach(), x.grad

    name, same, flag, is_leaf, node, y, gradient = door(program, leaf(1.0))
    assert (name, same, flag, is_leaf, node) == ("CloneBackward0", True, False, True, None)
    assert (y.tolist(), gradient.tolist()) == ([2.0], [6.0])


def test_c6_63_clones_have_memory_of_their_own() -> None:
    x = leaf(1.0)
    with no_grad():
        c = x.clone()
        c.add_(1)
    assert (x.tolist(), c.tolist()) == ([1.0], [2.0])
    assert rustorch.clone(x).requires_grad
