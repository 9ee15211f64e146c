"""C4 of the checklist: gradient modes. Each line twice, recorded and under `jit` (42, `inference_mode`, has a file of its own)."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import rustorch
from rustorch import enable_grad, is_grad_enabled, no_grad, set_grad_enabled, tensor
from tests.frontend.door import Door, leaf


def test_c4_37_no_grad_as_a_context(door: Door) -> None:
    def program(x: Any) -> Any:
        with no_grad():
            inside, y = is_grad_enabled(), x * 2
        z = (y * x).sum()
        z.backward()
        return inside, is_grad_enabled(), y.requires_grad, y.is_leaf, z.requires_grad, x.grad

    inside, after, y, is_leaf, z, gradient = door(program, leaf(3.0))
    assert (inside, after, y, is_leaf, z) == (False, True, False, True, True)
    assert gradient.tolist() == [6.0]


def test_c4_37_no_grad_as_a_decorator(door: Door) -> None:
    @no_grad()
    def called(x: Any) -> Any:
        """Its text."""
        return x * 2, is_grad_enabled()

    @no_grad
    def bare(x: Any) -> Any:
        return x * 2, is_grad_enabled()

    assert (called.__name__, called.__doc__) == ("called", "Its text.")
    for function in (called, bare):
        y, inside = door(function, leaf(1.0))
        assert (y.requires_grad, inside, is_grad_enabled()) == (False, False, True)
    y, inside = door(lambda x: no_grad()(lambda x: (x * 2, is_grad_enabled()))(x), leaf(1.0))
    assert (y.requires_grad, inside) == (False, False)


def test_c4_37_no_grad_on_generators(door: Door) -> None:
    @no_grad()
    def steps(x: Any) -> Any:
        sent = yield is_grad_enabled(), (x * 2).requires_grad
        try:
            yield is_grad_enabled(), sent
        except ValueError as error:
            yield is_grad_enabled(), str(error)
        return "end"  # what `yield from` gives

    def program(x: Any) -> Any:
        seen = []
        generator = steps(x)
        seen.append((next(generator), is_grad_enabled()))
        seen.append((generator.send("sent"), is_grad_enabled()))
        seen.append((generator.throw(ValueError("boom")), is_grad_enabled()))
        try:
            next(generator)
        except StopIteration as stop:
            seen.append((stop.value, is_grad_enabled()))
        return seen

    found = door(program, leaf(1.0))
    assert found == [((False, False), True), ((False, "sent"), True), ((False, "boom"), True), ("end", True)]


def test_c4_37_generators_that_are_closed(door: Door) -> None:
    def program() -> Any:
        seen: list[Any] = []

        @no_grad()
        def steps() -> Any:
            try:
                yield is_grad_enabled()
                yield is_grad_enabled()
            finally:
                seen.append(is_grad_enabled())

        generator = steps()
        first = next(generator)
        generator.close()
        return first, seen, [(inner, is_grad_enabled()) for inner in steps()]

    first, seen, pairs = door(program)
    assert (first, seen[0], pairs) == (False, False, [(False, True), (False, True)])


def test_c4_38_nesting_and_errors(door: Door) -> None:
    def program(x: Any) -> Any:
        seen = []
        with no_grad():
            with enable_grad():
                seen.append(((x * 2).requires_grad, is_grad_enabled()))
                with set_grad_enabled(False):
                    seen.append(((x * 2).requires_grad, is_grad_enabled()))
                seen.append(((x * 2).requires_grad, is_grad_enabled()))
            seen.append(((x * 2).requires_grad, is_grad_enabled()))
        with pytest.raises(ZeroDivisionError), no_grad():
            1 / 0
        seen.append(((x * 2).requires_grad, is_grad_enabled()))
        mode = no_grad()
        with mode, mode:
            seen.append(((x * 2).requires_grad, is_grad_enabled()))
        seen.append(((x * 2).requires_grad, is_grad_enabled()))
        return seen

    found = door(program, leaf(1.0))
    assert found == [(flag, flag) for flag in (True, False, True, False, True, False, True)]


def test_c4_38_an_error_that_leaves_the_program(door: Door) -> None:
    def program() -> None:
        with no_grad():
            raise KeyError("boom")

    with pytest.raises(KeyError):
        door(program)
    assert is_grad_enabled()
    assert (leaf(1.0) * 2).requires_grad


def test_c4_38_enable_grad_as_a_decorator(door: Door) -> None:
    @enable_grad()
    def inside(x: Any) -> Any:
        return x * 2

    def program(x: Any) -> Any:
        with no_grad():
            return inside(x).requires_grad, (x * 2).requires_grad

    assert door(program, leaf(1.0)) == (True, False)


def test_c4_39_set_grad_enabled(door: Door) -> None:
    def program(x: Any) -> Any:
        seen = []
        set_grad_enabled(False)
        seen.append((x * 2).requires_grad)
        set_grad_enabled(True)
        seen.append((x * 2).requires_grad)
        with set_grad_enabled(False):
            seen.append((x * 2).requires_grad)
        seen.append((x * 2).requires_grad)

        @set_grad_enabled(False)
        def inside() -> bool:
            return bool((x * 2).requires_grad)

        seen.append((x * 2).requires_grad)
        seen.append(inside())
        seen.append((x * 2).requires_grad)
        return seen

    assert door(program, leaf(1.0)) == [False, True, False, True, True, False, True]


def test_c4_39_a_mode_set_inside_lasts(door: Door) -> None:
    """As a call it lasts, as in PyTorch; a program under `jit` is traced in a mode of its own, which ends with it."""
    try:
        door(lambda: set_grad_enabled(False) and None)
        assert is_grad_enabled() is door.compiled
    finally:
        set_grad_enabled(True)


def test_c4_40_leaves_made_without_recording(door: Door) -> None:
    def program() -> Any:
        with no_grad():
            x = tensor([2.0], requires_grad=True)
            y = rustorch.zeros(1).requires_grad_()
        (x * x + y * 3).sum().backward()
        return x.requires_grad, x.is_leaf, x.grad, y.grad

    flag, is_leaf, x, y = door(program)
    assert (flag, is_leaf) == (True, True)
    assert (x.tolist(), y.tolist()) == ([4.0], [3.0])


def test_c4_41_threads(door: Door) -> None:
    seen: list[Any] = []

    def other() -> None:
        seen.append(is_grad_enabled())
        seen.append(door(lambda x: (x * 2).requires_grad, leaf(1.0)))
        set_grad_enabled(False)

    with no_grad():
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert not is_grad_enabled()
    assert seen == [True, True]
    assert is_grad_enabled()


def test_c4_43_parameters_are_updated_without_recording(door: Door) -> None:
    x = leaf(1.0, 2.0)
    view = x.detach()

    def program() -> None:
        with no_grad():
            x.sub_(0.5)
            x[0] = 7.0

    door(program)
    door(program)
    assert (x.tolist(), x.requires_grad, x.is_leaf) == ([7.0, 1.0], True, True)
    assert view.tolist() == [7.0, 1.0]
    assert x._version >= (2 if door.compiled else 4)  # a call of a compiled program writes once
    x.grad = None
    (x * x).sum().backward()
    assert x.grad.tolist() == [14.0, 2.0]
