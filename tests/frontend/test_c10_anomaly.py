"""C10, line 95: anomaly mode names what makes NaN in a backward pass, recorded and inside compiled code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import rustorch
from rustorch.autograd import Function, detect_anomaly, set_detect_anomaly
from rustorch.autograd.anomaly import is_anomaly_enabled
from tests.frontend.door import Door, leaf


@pytest.fixture(autouse=True)
def enabled() -> Iterator[None]:
    with pytest.warns(UserWarning, match=r"^Anomaly Detection has been enabled"), detect_anomaly():
        yield


def gradient(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def program(x: Any) -> Any:
        f(x).sum().backward()
        return x.grad

    return program


def roots(x: Any) -> Any:
    y = (x * 0).sqrt()  # here
    return y * 0


SQRT = (
    r"^Function 'SqrtBackward0' returned nan values in its 0th output.\n"
    r"  at element \[1\]: the gradient that came in is 1.0, operand 0 is -1.0\n"
    r"  at .*test_c10_anomaly.py:\d+: .*sqrt"
)


def test_c10_95_what_is_said(door: Door) -> None:
    with pytest.raises(RuntimeError, match=SQRT):
        door(gradient(lambda x: x.sqrt()), leaf(4.0, -1.0))
    with pytest.raises(RuntimeError, match=r"^Function 'SqrtBackward0' .*\n  at element \[0\].*\n  at .*: +y = .*# here"):
        door(gradient(roots), leaf(4.0))


def test_c10_95_which_output(door: Door) -> None:
    with pytest.raises(RuntimeError, match=r"^Function 'DivBackward0' returned nan values in its 1th output.\n.*operand 1 is 0.0"):
        door(lambda x: (rustorch.zeros(1) * x / x).sum().backward(), leaf(0.0))


def test_c10_95_a_jitted_function_differentiated_outside() -> None:
    x = leaf(4.0, -1.0)
    y = rustorch.jit(lambda x: x.sqrt().sum())(x)
    with pytest.raises(RuntimeError, match=SQRT):
        y.backward()


def test_c10_95_functions(door: Door) -> None:
    class Broken(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 1

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * float("nan")

    with pytest.raises(RuntimeError, match=r"^Function 'BrokenBackward' returned nan values in its 0th output.\n.*came in is 2.0"):
        door(gradient(lambda x: Broken.apply(x) * 2), leaf(1.0))


def test_c10_95_what_is_right_passes(door: Door) -> None:
    assert door(gradient(lambda x: x.sin() * x), leaf(0.0, 0.5))[0].item() == 0.0
    masked = door(gradient(lambda x: rustorch.where(x > 0, x.sqrt(), x * 0)), leaf(4.0, -1.0))
    assert masked.tolist() == [0.25, 0.0]


def test_c10_95_second_order(door: Door) -> None:
    def program(x: Any) -> Any:
        (g,) = rustorch.grad((x**1.5).sum(), x, create_graph=True)
        return rustorch.grad((g * 0).sum(), x)

    with pytest.raises(RuntimeError, match=r"returned nan values in its 0th output"):
        door(program, leaf(0.0))


def test_c10_95_everything_goes_on_after_it(door: Door) -> None:
    x = leaf(4.0, -1.0)
    y = x.sqrt()
    with pytest.raises(RuntimeError, match=r"^Function 'SqrtBackward0'"):
        y.sum().backward()
    assert y[0].item() == 2.0
    assert door(gradient(lambda x: x * x), leaf(3.0)).tolist() == [6.0]


def test_c10_95_without_looking(door: Door) -> None:
    with pytest.warns(UserWarning), detect_anomaly(check_nan=False):
        found = door(gradient(lambda x: x.sqrt()), leaf(-1.0)).item()
    assert found != found


def test_c10_95_the_switch() -> None:
    set_detect_anomaly(False)
    assert not is_anomaly_enabled()
    x = leaf(-1.0)
    x.sqrt().sum().backward()
    with set_detect_anomaly(True):
        assert is_anomaly_enabled()
        with pytest.raises(RuntimeError, match=r"^Function 'SqrtBackward0'"):
            x.sqrt().sum().backward()
    assert not is_anomaly_enabled()


def test_c10_95_switched_on_for_a_function_that_is_compiled_already() -> None:
    step = rustorch.jit(gradient(lambda x: x.sqrt()))
    with set_detect_anomaly(False):
        for _ in range(3):
            step(leaf(4.0, -1.0))
    with pytest.raises(RuntimeError, match=SQRT):
        step(leaf(4.0, -1.0))
