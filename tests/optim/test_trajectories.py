"""Optimisers against PyTorch's formulas, written down once more in plain numpy, over 200 steps in float64.

The loss is sum(c (p - a)²) / 2 + sum(cos p), so the gradient is c (p - a) - sin p: it never settles at zero, and changes signs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rustorch
from rustorch.optim import ASGD, SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, NAdam, RAdam, RMSprop, Rprop

Array = np.ndarray[Any, Any]
Move = Callable[[Array, Array, dict[str, Array], int], Array]
"""From parameter, gradient, state (which it changes) and the number of the step, from 1 on, to the new parameter."""

STEPS = 200
RNG = np.random.default_rng(4)
START = [RNG.normal(size=shape) for shape in ((3, 4), (4,), ())]
CURVE = [RNG.uniform(0.5, 3, x.shape) for x in START]
GOAL = [RNG.normal(size=x.shape) for x in START]


def sgd(lr: float, momentum: float = 0, dampening: float = 0, weight_decay: float = 0, nesterov: bool = False) -> Move:
    def move(p: Array, g: Array, state: dict[str, Array], t: int) -> Array:
        g = g + weight_decay * p
        if momentum:
            state["v"] = g if t == 1 else momentum * state["v"] + (1 - dampening) * g
            g = g + momentum * state["v"] if nesterov else state["v"]
        return p - lr * g

    return move


def adam(
    lr: float, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0, amsgrad: bool = False,
    decoupled: bool = False,
) -> Move:  # fmt: skip
    def move(p: Array, g: Array, state: dict[str, Array], t: int) -> Array:
        if decoupled:
            p = p * (1 - lr * weight_decay)
        else:
            g = g + weight_decay * p
        m = state["m"] = betas[0] * state.get("m", 0) + (1 - betas[0]) * g
        v = state["v"] = betas[1] * state.get("v", 0) + (1 - betas[1]) * g * g
        if amsgrad:
            v = state["largest"] = np.maximum(state.get("largest", 0), v)
        below = np.sqrt(v) / np.sqrt(1 - betas[1] ** t) + eps
        return p - lr / (1 - betas[0] ** t) * m / below

    return move


def rmsprop(
    lr: float, alpha: float = 0.99, eps: float = 1e-8, weight_decay: float = 0, momentum: float = 0, centered: bool = False
) -> Move:
    def move(p: Array, g: Array, state: dict[str, Array], t: int) -> Array:
        g = g + weight_decay * p
        v = state["v"] = alpha * state.get("v", 0) + (1 - alpha) * g * g
        if centered:
            mean = state["mean"] = alpha * state.get("mean", 0) + (1 - alpha) * g
            v = v - mean * mean
        step = g / (np.sqrt(v) + eps)
        if momentum:
            step = state["step"] = momentum * state.get("step", 0) + step
        return p - lr * step

    return move


def adagrad(lr: float, lr_decay: float = 0, weight_decay: float = 0, first: float = 0, eps: float = 1e-10) -> Move:
    def move(p: Array, g: Array, state: dict[str, Array], t: int) -> Array:
        g = g + weight_decay * p
        s = state["s"] = state.get("s", first) + g * g
        return p - lr / (1 + (t - 1) * lr_decay) * g / (np.sqrt(s) + eps)

    return move


def adadelta(lr: float, rho: float = 0.9, eps: float = 1e-6, weight_decay: float = 0) -> Move:
    def move(p: Array, g: Array, state: dict[str, Array], t: int) -> Array:
        g = g + weight_decay * p
        v = state["v"] = rho * state.get("v", 0) + (1 - rho) * g * g
        step = np.sqrt(state.get("a", 0) + eps) / np.sqrt(v + eps) * g
        state["a"] = rho * state.get("a", 0) + (1 - rho) * step * step
        return p - lr * step

    return move


def adamax(lr: float, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0) -> Move:
    def move(p: Array, g: Array, state: dict[str, Array], t: int) -> Array:
        g = g + weight_decay * p
        m = state["m"] = betas[0] * state.get("m", 0) + (1 - betas[0]) * g
        u = state["u"] = np.maximum(betas[1] * state.get("u", 0), np.abs(g) + eps)
        return p - lr / (1 - betas[0] ** t) * m / u

    return move


def nadam(lr: float, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, decay: float = 0, psi: float = 4e-3) -> Move:
    def move(p: Array, g: Array, state: dict[str, Array], t: int) -> Array:
        g = g + decay * p
        now, after = (betas[0] * (1 - 0.5 * 0.96 ** (s * psi)) for s in (t, t + 1))
        product = state["product"] = state.get("product", np.ones(())) * now
        m = state["m"] = betas[0] * state.get("m", 0) + (1 - betas[0]) * g
        v = state["v"] = betas[1] * state.get("v", 0) + (1 - betas[1]) * g * g
        ahead = after * m / (1 - product * after) + (1 - now) * g / (1 - product)
        return p - lr * ahead / (np.sqrt(v / (1 - betas[1] ** t)) + eps)

    return move


def radam(lr: float, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, decay: float = 0) -> Move:
    def move(p: Array, g: Array, state: dict[str, Array], t: int) -> Array:
        p = p * (1 - lr * decay)
        m = state["m"] = betas[0] * state.get("m", 0) + (1 - betas[0]) * g
        v = state["v"] = betas[1] * state.get("v", 0) + (1 - betas[1]) * g * g
        limit = 2 / (1 - betas[1]) - 1
        rho = limit - 2 * t * betas[1] ** t / (1 - betas[1] ** t)
        step = m / (1 - betas[0] ** t)
        if rho > 5:
            factor = (rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho)
            step = step * np.sqrt(factor) * np.sqrt(1 - betas[1] ** t) / (np.sqrt(v) + eps)
        return p - lr * step

    return move


def rprop(lr: float, etas: tuple[float, float] = (0.5, 1.2), sizes: tuple[float, float] = (1e-6, 50)) -> Move:
    def move(p: Array, g: Array, state: dict[str, Array], t: int) -> Array:
        turn = np.sign(g * state.get("g", 0))
        factor = np.where(turn > 0, etas[1], np.where(turn < 0, etas[0], 1.0))
        size = state["size"] = np.clip(state.get("size", lr) * factor, *sizes)
        g = state["g"] = np.where(turn < 0, 0.0, g)
        return p - np.sign(g) * size

    return move


def asgd(lr: float, lambd: float = 1e-4, alpha: float = 0.75, decay: float = 0) -> Move:
    def move(p: Array, g: Array, state: dict[str, Array], t: int) -> Array:
        g = g + decay * p
        eta = lr if t == 1 else lr / (1 + lambd * lr * (t - 1)) ** alpha
        return p * (1 - lambd * eta) - eta * g

    return move


CASES: list[tuple[str, Callable[[Any], Any], Move]] = [
    ("sgd", lambda p: SGD(p, lr=0.05), sgd(0.05)),
    ("sgd momentum", lambda p: SGD(p, lr=0.05, momentum=0.9), sgd(0.05, 0.9)),
    ("sgd nesterov", lambda p: SGD(p, lr=0.05, momentum=0.8, weight_decay=0.1, nesterov=True), sgd(0.05, 0.8, 0, 0.1, True)),
    ("sgd dampening", lambda p: SGD(p, lr=0.05, momentum=0.9, dampening=0.3), sgd(0.05, 0.9, 0.3)),
    ("adam", lambda p: Adam(p, lr=0.05), adam(0.05)),
    ("adam decay", lambda p: Adam(p, lr=0.05, betas=(0.8, 0.99), eps=1e-4, weight_decay=0.2), adam(0.05, (0.8, 0.99), 1e-4, 0.2)),
    ("adam amsgrad", lambda p: Adam(p, lr=0.05, amsgrad=True), adam(0.05, amsgrad=True)),
    ("adamw", lambda p: AdamW(p, lr=0.05), adam(0.05, weight_decay=0.01, decoupled=True)),
    ("rmsprop", lambda p: RMSprop(p, lr=0.02), rmsprop(0.02)),
    ("rmsprop all", lambda p: RMSprop(p, 0.01, 0.9, 0.1, 0.1, 0.5, centered=True), rmsprop(0.01, 0.9, 0.1, 0.1, 0.5, True)),
    ("adagrad", lambda p: Adagrad(p, lr=0.2), adagrad(0.2)),
    ("adadelta", lambda p: Adadelta(p), adadelta(1.0)),
    ("adadelta all", lambda p: Adadelta(p, 0.5, 0.8, 1e-4, 0.1), adadelta(0.5, 0.8, 1e-4, 0.1)),
    ("adamax", lambda p: Adamax(p, lr=0.05), adamax(0.05)),
    ("adamax all", lambda p: Adamax(p, 0.05, (0.8, 0.99), 1e-4, 0.1), adamax(0.05, (0.8, 0.99), 1e-4, 0.1)),
    ("nadam", lambda p: NAdam(p, lr=0.05), nadam(0.05)),
    ("nadam all", lambda p: NAdam(p, 0.05, (0.8, 0.99), 1e-4, 0.1, 0.01), nadam(0.05, (0.8, 0.99), 1e-4, 0.1, 0.01)),
    ("radam", lambda p: RAdam(p, lr=0.05), radam(0.05)),
    ("radam all", lambda p: RAdam(p, 0.05, (0.8, 0.99), 1e-4, 0.1, True), radam(0.05, (0.8, 0.99), 1e-4, 0.1)),
    ("rprop", lambda p: Rprop(p, lr=0.05), rprop(0.05)),
    ("rprop all", lambda p: Rprop(p, 0.05, (0.6, 1.1), (1e-3, 0.2)), rprop(0.05, (0.6, 1.1), (1e-3, 0.2))),
    ("asgd", lambda p: ASGD(p, lr=0.05), asgd(0.05)),
    ("asgd all", lambda p: ASGD(p, 0.05, 0.01, 0.6, weight_decay=0.1), asgd(0.05, 0.01, 0.6, 0.1)),
    ("adagrad all", lambda p: Adagrad(p, 0.2, 0.01, 0.1, 0.5), adagrad(0.2, 0.01, 0.1, 0.5)),
]
IDS = [case[0] for case in CASES]


def expected(move: Move, sign: float = 1.0) -> list[Array]:
    found = []
    for start, curve, goal in zip(START, CURVE, GOAL, strict=True):
        p, state = start, dict[str, Array]()
        for t in range(1, STEPS + 1):
            p = move(p, sign * (curve * (p - goal) - np.sin(p)), state, t)
        found.append(p)
    return found


def leaves() -> list[Any]:
    return [rustorch.tensor(x, requires_grad=True) for x in START]


def loss(params: list[Any]) -> Any:
    parts = [
        (rustorch.tensor(c) * (p - rustorch.tensor(a)) ** 2).sum() / 2 + p.cos().sum()
        for p, c, a in zip(params, CURVE, GOAL, strict=True)
    ]
    return parts[0] + parts[1] + parts[2]


@pytest.mark.parametrize("jit", [False, True], ids=["loop", "jit"])
@pytest.mark.parametrize(("make", "move"), [case[1:] for case in CASES], ids=IDS)
def test_trajectory(make: Callable[[Any], Any], move: Move, jit: bool) -> None:
    params = leaves()
    optimizer = make(params)

    def step() -> None:
        optimizer.zero_grad()
        loss(params).backward()
        optimizer.step()

    run = rustorch.jit(step) if jit else step
    for _ in range(STEPS):
        run()
    if jit:
        assert run.cache_info().currsize == 1
    for p, wanted in zip(params, expected(move), strict=True):
        # every step rounds a dozen times, and the map contracts: 1e-12 is what PyTorch's own variants agree to
        np.testing.assert_allclose(p.detach().numpy(), wanted, rtol=1e-12, atol=1e-12)
        assert p.requires_grad
        assert p.is_leaf


@pytest.mark.parametrize("make", [case[1] for case in CASES], ids=IDS)
def test_maximize_is_descent_of_the_negative(make: Callable[[Any], Any]) -> None:
    found = []
    for sign in (1, -1):
        params = leaves()
        optimizer = make(params)
        for group in optimizer.param_groups:
            group["maximize"] = sign < 0
            group["weight_decay"] = 0.0
        for _ in range(5):
            optimizer.zero_grad()
            (loss(params) * sign).backward()
            optimizer.step()
        found.append([p.detach().numpy() for p in params])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)  # the sign moves to another place, and so do products that are fused


def test_single_precision_follows_double() -> None:
    for make, move in (case[1:] for case in CASES):
        params = [rustorch.tensor(x.astype(np.float32), requires_grad=True) for x in START]
        optimizer = make(params)
        for _ in range(20):
            for p, c, a in zip(params, CURVE, GOAL, strict=True):
                x = p.detach().numpy()
                p.grad = rustorch.tensor((c * (x - a) - np.sin(x)).astype(np.float32))
            optimizer.step()
        assert all(p.dtype is rustorch.float32 for p in params)
        p, state = START[0], dict[str, Array]()
        for t in range(1, 21):
            p = move(p, CURVE[0] * (p - GOAL[0]) - np.sin(p), state, t)
        np.testing.assert_allclose(params[0].detach().numpy(), p, atol=2e-5)  # 20 steps of a hundred ulp each, at 1
