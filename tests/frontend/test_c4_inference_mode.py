"""C4, line 42 of the checklist: `inference_mode`, recorded and under `jit`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import rustorch
from rustorch import inference_mode
from tests.frontend.door import Door, leaf


def made_inside(x: Any) -> Any:
    with inference_mode():
        return x * 2


def test_c4_42_what_is_made_inside(door: Door) -> None:
    def program(w: Any) -> Any:
        outside = w * 3
        with inference_mode():
            facts = [rustorch.is_grad_enabled(), rustorch.is_inference_mode_enabled()]
            y = w * 2
            facts += [y.is_inference(), y.requires_grad, outside.is_inference(), w.is_inference()]
            with rustorch.enable_grad():
                facts.append((w * 2).requires_grad)
            with inference_mode(False):
                z = w * 2
                facts += [z.requires_grad, z.is_inference()]
        after = y * 2
        facts += [rustorch.is_grad_enabled(), y.is_inference(), after.is_inference(), outside.is_inference(), y.clone().is_inference()]
        return y, facts

    y, facts = door(program, leaf(1.0, 2.0))
    assert y.tolist() == [2.0, 4.0]
    assert facts == [False, True, True, False, False, False, False, True, False, True, True, False, False, False]


def test_c4_42_new_tensors_inside() -> None:
    with inference_mode():
        found = [rustorch.ones(2), rustorch.tensor([1.0]), rustorch.zeros(2).numpy()]
    assert [x.is_inference() for x in found[:2]] == [True, True]


def test_c4_42_it_cannot_be_saved_for_backward(door: Door) -> None:
    message = r"^Inference tensors cannot be saved for backward. Please do not use Tensors created in inference mode in computation tracked"
    with pytest.raises(RuntimeError, match=message):
        door(lambda w: w * made_inside(w), leaf(1.0))
    with pytest.raises(RuntimeError, match=message):
        door(lambda w: (w.sin() + made_inside(w)) / made_inside(w), leaf(1.0))

    def program(w: Any) -> Any:
        y = made_inside(w)
        (w + y + w * y.clone()).sum().backward()
        return w.grad

    assert door(program, leaf(1.0)).tolist() == [3.0], "what is not saved is used freely, and so is a clone"


def test_c4_42_the_same_program_with_an_ordinary_tensor() -> None:
    w, plain = leaf(1.0), rustorch.ones(1)
    for _ in range(2):
        (w * plain).sum().backward()
    inside = made_inside(rustorch.ones(1))
    with pytest.raises(RuntimeError, match=r"^Inference tensors cannot be saved for backward"):
        (w * inside).sum()
    assert (w * plain).sum().item() == 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda y: y.add_(1), "Inplace update to inference tensor outside InferenceMode is not allowed"),
        (lambda y: y.__setitem__(0, 1.0), "Inplace update to inference tensor outside InferenceMode is not allowed"),
        (lambda y: y.requires_grad_(), "Setting requires_grad=True on inference tensor outside InferenceMode is not allowed"),
        (lambda y: y._version, "Inference tensors do not track version counter"),
    ],
)
def test_c4_42_what_is_refused_outside(door: Door, change: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(RuntimeError, match=f"^{message}"):
        door(lambda w: change(made_inside(w)), leaf(1.0, 2.0))


def test_c4_42_writes_inside(door: Door) -> None:
    def program(x: Any) -> Any:
        z = x * 1
        with inference_mode():
            y = x * 2
            y.add_(1)
            z.mul_(5)
        return y, z, (y.is_inference(), z.is_inference())

    y, z, flags = door(program, rustorch.ones(1))
    assert (y.tolist(), z.tolist(), flags) == ([3.0], [5.0], (True, False))


def test_c4_42_as_a_decorator(door: Door) -> None:
    @inference_mode()
    def f(x: Any) -> Any:
        return x * 2

    @inference_mode
    def g(x: Any) -> Any:
        return x * 2

    def program(x: Any) -> Any:
        y, z = f(x), g(x)
        return y.is_inference(), z.is_inference(), rustorch.is_grad_enabled()

    assert door(program, leaf(1.0)) == (True, True, True)


def test_c4_42_after_an_exception(door: Door) -> None:
    def program(x: Any) -> Any:
        with pytest.raises(ValueError, match=r"^boom$"), inference_mode():
            raise ValueError("boom")
        return (x * 2).requires_grad, rustorch.is_inference_mode_enabled()

    assert door(program, leaf(1.0)) == (True, False)
