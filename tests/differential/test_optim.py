"""Optimisers, schedules and averages against PyTorch's, over 200 steps in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rustorch
from tests.optim.test_trajectories import CURVE, GOAL, START

pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore")]
torch = pytest.importorskip("torch")

OPTIMIZERS: list[tuple[str, Callable[[Any, Any], Any]]] = [
    ("SGD", lambda o, p: o.SGD(p, 0.05, 0.9, 0.1, 0.01)),
    ("SGD nesterov", lambda o, p: o.SGD(p, 0.05, 0.9, nesterov=True, maximize=False)),
    ("Adam", lambda o, p: o.Adam(p, 0.05, amsgrad=True, weight_decay=0.1)),
    ("AdamW", lambda o, p: o.AdamW(p, 0.05, weight_decay=0.1, amsgrad=True)),
    ("RMSprop", lambda o, p: o.RMSprop(p, 0.02, momentum=0.5, centered=True, weight_decay=0.1)),
    ("Adagrad", lambda o, p: o.Adagrad(p, 0.2, 0.01, 0.1, 0.5)),
    ("Adadelta", lambda o, p: o.Adadelta(p, 0.5, 0.8, 1e-4, 0.1)),
    ("Adamax", lambda o, p: o.Adamax(p, 0.05, (0.8, 0.99), 1e-4, 0.1)),
    ("NAdam", lambda o, p: o.NAdam(p, 0.05, (0.8, 0.99), 1e-4, 0.1, 0.01)),
    ("NAdam decoupled", lambda o, p: o.NAdam(p, 0.05, weight_decay=0.1, decoupled_weight_decay=True)),
    ("RAdam", lambda o, p: o.RAdam(p, 0.05, weight_decay=0.1)),
    ("RAdam decoupled", lambda o, p: o.RAdam(p, 0.05, (0.8, 0.99), weight_decay=0.1, decoupled_weight_decay=True)),
    ("Rprop", lambda o, p: o.Rprop(p, 0.05)),
    ("ASGD", lambda o, p: o.ASGD(p, 0.05, 0.01, 0.6, 20, 0.1)),
]


def loss(t: Any, params: list[Any]) -> Any:
    parts = zip(params, CURVE, GOAL, strict=True)
    return sum((t.tensor(c) * (p - t.tensor(a)) ** 2).sum() / 2 + p.cos().sum() for p, c, a in parts)


def trajectory(t: Any, make: Callable[[Any, Any], Any], steps: int) -> tuple[list[Any], Any]:
    params = [t.tensor(x, requires_grad=True) for x in START]
    optimizer = make(t.optim, params)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(t, params).backward()
        optimizer.step()
    return [p.detach().numpy() for p in params], optimizer


@pytest.mark.parametrize("make", [m for _, m in OPTIMIZERS], ids=[n for n, _ in OPTIMIZERS])
def test_trajectories(make: Callable[[Any, Any], Any]) -> None:
    ours, own = trajectory(rustorch, make, 200)
    torch.set_default_dtype(torch.float64)  # else PyTorch keeps products of momenta and rates in float32
    theirs, other = trajectory(torch, make, 200)
    torch.set_default_dtype(torch.float32)
    for x, y in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-12)
    for key in ("state", "param_groups"):
        assert own.state_dict()[key].__class__ is other.state_dict()[key].__class__
    for one, two in zip(own.state_dict()["state"].values(), other.state_dict()["state"].values(), strict=True):
        assert set(one) - {"step"} <= set(two)
        for name in set(one) & set(two):
            np.testing.assert_allclose(np.asarray(one[name].detach()), np.asarray(two[name].detach()), rtol=1e-9, atol=1e-11, err_msg=name)


SCHEDULES: list[tuple[str, Callable[[Any, Any], Any]]] = [
    ("StepLR", lambda s, o: s.StepLR(o, 3, 0.5)),
    ("MultiStepLR", lambda s, o: s.MultiStepLR(o, [2, 5], 0.1)),
    ("ExponentialLR", lambda s, o: s.ExponentialLR(o, 0.9)),
    ("LambdaLR", lambda s, o: s.LambdaLR(o, lambda t: 1 / (1 + t))),
    ("MultiplicativeLR", lambda s, o: s.MultiplicativeLR(o, [lambda t: 0.9, lambda t: 1 / t])),
    ("ConstantLR", lambda s, o: s.ConstantLR(o, 0.25, 4)),
    ("LinearLR", lambda s, o: s.LinearLR(o, 0.3, 0.9, 6)),
    ("PolynomialLR", lambda s, o: s.PolynomialLR(o, 7, 2.0)),
    ("CosineAnnealingLR", lambda s, o: s.CosineAnnealingLR(o, 4, 0.01)),
    ("CosineAnnealingWarmRestarts", lambda s, o: s.CosineAnnealingWarmRestarts(o, 3, 2, 0.01)),
    ("CyclicLR", lambda s, o: s.CyclicLR(o, 0.01, 0.1, 3, 5)),
    ("CyclicLR triangular2", lambda s, o: s.CyclicLR(o, [0.01, 0.02], 0.1, 3, mode="triangular2", base_momentum=0.7)),
    ("CyclicLR exp_range", lambda s, o: s.CyclicLR(o, 0.01, 0.1, 3, mode="exp_range", gamma=0.9, cycle_momentum=False)),
    ("OneCycleLR", lambda s, o: s.OneCycleLR(o, 0.5, total_steps=20)),
    ("OneCycleLR three phases", lambda s, o: s.OneCycleLR(o, [0.5, 0.1], None, 4, 5, anneal_strategy="linear", three_phase=True)),
    ("SequentialLR", lambda s, o: s.SequentialLR(o, [s.ConstantLR(o, 0.1, 2), s.ExponentialLR(o, 0.9), s.StepLR(o, 2)], [3, 8])),
    ("ChainedScheduler", lambda s, o: s.ChainedScheduler([s.ConstantLR(o, 0.1, 2), s.ExponentialLR(o, 0.9)])),
]


@pytest.mark.parametrize("make", [m for _, m in SCHEDULES], ids=[n for n, _ in SCHEDULES])
def test_schedules(make: Callable[[Any, Any], Any]) -> None:
    found = []
    for t in (rustorch, torch):
        groups = [{"params": [t.tensor(1.0, requires_grad=True)], "lr": lr} for lr in (0.8, 0.2)]
        optimizer = t.optim.SGD(groups, 0.1, momentum=0.9)
        schedule = make(t.optim.lr_scheduler, optimizer)
        rates = []
        for _ in range(18):
            groups = optimizer.param_groups
            rates.append([*schedule.get_last_lr(), *(float(g["lr"]) for g in groups), groups[0]["momentum"]])
            optimizer.step()
            schedule.step()
        found.append(rates)
    np.testing.assert_allclose(*found, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
def test_plateaus(mode: str, threshold_mode: str) -> None:
    measures = [5, 4, 4, 4, 4.1, 3.99, 3.99, 3.99, 3.9, 4, 4, 4, 4, 4, 4, 5, 6, 6, 6]
    found = []
    for t in (rustorch, torch):
        optimizer = t.optim.SGD([t.tensor(1.0, requires_grad=True)], 0.8)
        schedule = t.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode, 0.5, 1, 0.01, threshold_mode, 1, 0.05)
        rates = []
        for measure in measures:
            schedule.step(measure)
            rates.append(float(optimizer.param_groups[0]["lr"]))
        found.append(rates)
    assert found[0] == pytest.approx(found[1], rel=1e-12)


@pytest.mark.parametrize("kind", ["mean", "ema", "ema lists"])
def test_averages(kind: str) -> None:
    found = []
    for t in (rustorch, torch):
        swa = t.optim.swa_utils
        model = t.nn.Linear(2, 1).double()
        with t.no_grad():
            model.weight.copy_(t.tensor([[1.0, 2.0]], dtype=t.float64))
            model.bias.copy_(t.tensor([0.5], dtype=t.float64))
        more = {"ema": {"avg_fn": swa.get_ema_avg_fn(0.9)}, "ema lists": {"multi_avg_fn": swa.get_ema_multi_avg_fn(0.9)}}.get(kind, {})
        averaged = swa.AveragedModel(model, **more)
        for k in range(5):
            with t.no_grad():
                model.weight.mul_(1.5).add_(k)
                model.bias.add_(0.25)
            averaged.update_parameters(model)
        found.append(np.concatenate([p.detach().numpy().ravel() for p in averaged.parameters()]))
        assert int(averaged.n_averaged) == 5
    np.testing.assert_allclose(*found, rtol=1e-14)


def test_swa_rates() -> None:
    found = []
    for t in (rustorch, torch):
        optimizer = t.optim.SGD([t.tensor(1.0, requires_grad=True)], 0.8)
        schedule = t.optim.swa_utils.SWALR(optimizer, swa_lr=0.05, anneal_epochs=4)
        rates = []
        for _ in range(8):
            rates.append(float(optimizer.param_groups[0]["lr"]))
            optimizer.step()
            schedule.step()
        found.append(rates)
    np.testing.assert_allclose(*found, rtol=1e-12)
