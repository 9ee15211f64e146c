"""Learning rates over epochs, against the closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

import rustorch
from rustorch.optim import SGD
from rustorch.optim.lr_scheduler import CosineAnnealingLR, ExponentialLR, LambdaLR, MultiplicativeLR, MultiStepLR, StepLR


def optimizer(*rates: float) -> Any:
    return SGD([{"params": [rustorch.tensor(1.0, requires_grad=True)], "lr": lr} for lr in rates])


@pytest.mark.parametrize(
    ("make", "factor"),
    [
        (lambda o: StepLR(o, 3, 0.5), lambda t: 0.5 ** (t // 3)),
        (lambda o: MultiStepLR(o, [2, 5], 0.1), lambda t: 0.1 ** ((t >= 2) + (t >= 5))),
        (lambda o: ExponentialLR(o, 0.9), lambda t: 0.9**t),
        (lambda o: LambdaLR(o, lambda t: 1 / (1 + t)), lambda t: 1 / (1 + t)),
        (lambda o: CosineAnnealingLR(o, 4), lambda t: (1 + math.cos(math.pi * t / 4)) / 2),
    ],
    ids=["step", "multi step", "exponential", "lambda", "cosine"],
)
def test_schedules(make: Callable[[Any], Any], factor: Callable[[int], float]) -> None:
    moved = optimizer(0.8, 0.2)
    schedule = make(moved)
    for epoch in range(10):
        expected = [0.8 * factor(epoch), 0.2 * factor(epoch)]
        assert schedule.get_last_lr() == pytest.approx(expected, rel=1e-12, abs=1e-15)
        assert [float(group.rate) for group in moved.param_groups] == pytest.approx(expected, rel=1e-12, abs=1e-15)
        schedule.step()


def test_a_schedule_goes_on_from_its_state() -> None:
    first, second = optimizer(0.5), optimizer(0.5)
    one, other = StepLR(first, 2), StepLR(second, 2)
    for _ in range(3):
        one.step()
    other.load_state_dict(one.state_dict())
    second.load_state_dict(first.state_dict())
    one.step()
    other.step()
    assert one.get_last_lr() == other.get_last_lr() == pytest.approx([0.005])


@pytest.mark.parametrize("kind", [LambdaLR, MultiplicativeLR])
def test_functions_are_no_state(kind: Callable[..., Any]) -> None:
    """A state is saved; functions are the program's."""
    one, other = kind(optimizer(0.5), lambda t: 0.5), kind(optimizer(0.5), lambda t: 0.25)
    assert "lr_lambdas" not in one.state_dict()
    other.load_state_dict(one.state_dict())
    other.step()
    assert other.get_last_lr() == [0.125]


def test_a_jitted_step_follows_the_schedule() -> None:
    x = rustorch.tensor([8.0], requires_grad=True)
    moved = SGD([x], lr=1.0)
    schedule = ExponentialLR(moved, 0.5)

    @rustorch.jit
    def step() -> None:
        moved.zero_grad()
        x.sum().backward()
        moved.step()

    found = []
    for _ in range(4):
        step()
        schedule.step()
        found.append(x.item())
    assert found == [7.0, 6.5, 6.25, 6.125]
    assert step.cache_info().currsize == 1


def test_refusals() -> None:
    with pytest.raises(TypeError, match="is not an Optimizer"):
        StepLR(object(), 2)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Expected 1 lr_lambdas, but got 2"):
        LambdaLR(optimizer(0.1), [float, float])
    with pytest.raises(KeyError, match="param 'initial_lr' is not specified"):
        StepLR(optimizer(0.1), 2, last_epoch=3)
