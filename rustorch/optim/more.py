"""Optimisers that are asked for less often. Their formulas are in `functional/update_more.py`."""

from __future__ import annotations

from typing import Any

from rustorch.functional import update_more as update
from rustorch.optim.optimizer import Group, Optimizer, adaptive_settings, check


class Adadelta(Optimizer):
    """Steps as long as recent steps were, by recent gradients: Zeiler, 2012."""

    operation = staticmethod(update.adadelta)
    arguments = ("rho", "eps", "weight_decay", "maximize")

    def __init__(
        self,
        params: Any,
        lr: Any = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check(float(lr) >= 0, "learning rate", lr)
        check(eps >= 0, "epsilon value", eps)
        check(weight_decay >= 0, "weight_decay value", weight_decay)
        check(0 <= rho <= 1, "rho value", rho)
        super().__init__(params, {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize})

    def moments(self, group: Group) -> dict[str, float]:
        return {"square_avg": 0.0, "acc_delta": 0.0}


class Adamax(Optimizer):
    """Adam with the largest recent gradient in the place of the mean square: Kingma and Ba, 2015."""

    operation = staticmethod(update.adamax)
    arguments = ("betas", "eps", "weight_decay", "maximize")

    def __init__(
        self,
        params: Any,
        lr: Any = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        settings = adaptive_settings(lr, betas, eps, weight_decay)
        super().__init__(params, {**settings, "maximize": maximize})

    def moments(self, group: Group) -> dict[str, float]:
        return {"exp_avg": 0.0, "exp_inf": 0.0}

    def counts(self, group: Group) -> bool:
        return True


class NAdam(Optimizer):
    """Adam that looks ahead: Dozat, 2016."""

    operation = staticmethod(update.nadam)
    arguments = ("betas", "eps", "weight_decay", "momentum_decay", "decoupled_weight_decay", "maximize")
    scalars = frozenset({"mu_product"})

    def __init__(
        self,
        params: Any,
        lr: Any = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        settings = adaptive_settings(lr, betas, eps, weight_decay)
        check(momentum_decay >= 0, "momentum_decay value", momentum_decay)
        more = {"momentum_decay": momentum_decay, "decoupled_weight_decay": decoupled_weight_decay, "maximize": maximize}
        super().__init__(params, {**settings, **more})

    def moments(self, group: Group) -> dict[str, float]:
        return {"exp_avg": 0.0, "exp_avg_sq": 0.0, "mu_product": 1.0}

    def counts(self, group: Group) -> bool:
        return True


class RAdam(Optimizer):
    """Adam whose first steps are rectified: Liu and others, 2020."""

    operation = staticmethod(update.radam)
    arguments = ("betas", "eps", "weight_decay", "decoupled_weight_decay", "maximize")

    def __init__(
        self,
        params: Any,
        lr: Any = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        settings = adaptive_settings(lr, betas, eps, weight_decay)
        super().__init__(params, {**settings, "decoupled_weight_decay": decoupled_weight_decay, "maximize": maximize})

    def moments(self, group: Group) -> dict[str, float]:
        return {"exp_avg": 0.0, "exp_avg_sq": 0.0}

    def counts(self, group: Group) -> bool:
        return True


class Rprop(Optimizer):
    """Steps by the signs of gradients: Riedmiller and Braun, 1993. The learning rate is the first step's length."""

    operation = staticmethod(update.rprop)
    arguments = ("etas", "step_sizes", "maximize")
    rated = False

    def __init__(
        self,
        params: Any,
        lr: Any = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check(float(lr) >= 0, "learning rate", lr)
        check(0 < etas[0] < 1 < etas[1], "eta values", f"{etas[0]}, {etas[1]}")
        settings = {"lr": lr, "etas": (float(etas[0]), float(etas[1])), "step_sizes": (float(step_sizes[0]), float(step_sizes[1]))}
        super().__init__(params, {**settings, "maximize": maximize})

    def moments(self, group: Group) -> dict[str, float]:
        return {"prev": 0.0, "step_size": float(group["lr"])}


class ASGD(Optimizer):
    """Descent whose places are averaged: Polyak and Juditsky, 1992. The means are `state[p]["ax"]`."""

    operation = staticmethod(update.asgd)
    arguments = ("lambd", "alpha", "t0", "weight_decay", "maximize")
    scalars = frozenset({"eta", "mu"})

    def __init__(
        self,
        params: Any,
        lr: Any = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check(float(lr) >= 0, "learning rate", lr)
        check(weight_decay >= 0, "weight_decay value", weight_decay)
        settings = {"lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, settings)

    def moments(self, group: Group) -> dict[str, float]:
        return {"ax": 0.0, "eta": float(group["lr"]), "mu": 1.0}

    def counts(self, group: Group) -> bool:
        return True
