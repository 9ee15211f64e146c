"""Learning rates that change with the number of epochs: call `step()` after each."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

from rustorch.errors import ArgumentError
from rustorch.optim.optimizer import Optimizer

Factor = Callable[[int], float]


class LRScheduler:
    """Sets the learning rates of an optimiser's groups. Subclasses say how: `get_lr` gives one for each group."""

    chained = False
    """Whether the rates of an epoch are made of those of the epoch before."""

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        if not isinstance(optimizer, Optimizer):
            raise ArgumentError(f"{type(optimizer).__name__} is not an Optimizer")
        self.optimizer, self.last_epoch = optimizer, last_epoch
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", float(group["lr"]))  # an earlier schedule may have changed `lr` already
            elif "initial_lr" not in group:
                raise KeyError(f"param 'initial_lr' is not specified in param_groups[{i}] when resuming an optimizer")
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self._last_lr: list[float] = []
        self.step()

    def get_lr(self) -> list[float]:
        """The learning rates of epoch `last_epoch`."""
        raise NotImplementedError

    def get_last_lr(self) -> list[float]:
        """The learning rates that were set last."""
        return self._last_lr

    def step(self, epoch: int | None = None) -> None:
        """Go on to the next epoch, or to any: then as if all epochs before it had been gone through."""
        epochs = [self.last_epoch + 1 if epoch is None else epoch]
        if epoch is not None and self.chained:
            epochs = list(range(epoch + 1))
            _set_rates(self.optimizer, self.base_lrs)
        for self.last_epoch in epochs:
            _set_rates(self.optimizer, self.get_lr())
        self._last_lr = self._current()

    def _current(self) -> list[float]:
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimiser."""
        return {name: value for name, value in self.__dict__.items() if name != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self.__dict__.update(state_dict)


def _set_rates(optimizer: Optimizer, rates: Sequence[float]) -> None:
    """Set the learning rate of each group."""
    for group, lr in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = lr


class _ByFunctions(LRScheduler):
    """A schedule by a function of the epoch: one for all groups, or one for each."""

    def __init__(self, optimizer: Optimizer, lr_lambda: Factor | Sequence[Factor], last_epoch: int = -1) -> None:
        count = len(optimizer.param_groups)
        self.lr_lambdas = [lr_lambda] * count if callable(lr_lambda) else list(lr_lambda)
        if len(self.lr_lambdas) != count:
            raise ArgumentError(f"Expected {count} lr_lambdas, but got {len(self.lr_lambdas)}")
        super().__init__(optimizer, last_epoch)

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimiser and the functions."""
        return {name: value for name, value in super().state_dict().items() if name != "lr_lambdas"}


class LambdaLR(_ByFunctions):
    """The first learning rate times a function of the epoch: one for all groups, or one for each."""

    def get_lr(self) -> list[float]:
        return [base * factor(self.last_epoch) for base, factor in zip(self.base_lrs, self.lr_lambdas, strict=True)]


class StepLR(LRScheduler):
    """Times `gamma` after every `step_size` epochs."""

    chained = True

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        changes = self.last_epoch > 0 and self.last_epoch % self.step_size == 0
        return [lr * self.gamma if changes else lr for lr in self._current()]


class MultiStepLR(LRScheduler):
    """Times `gamma` at each of the epochs `milestones`."""

    chained = True

    def __init__(self, optimizer: Optimizer, milestones: Sequence[int], gamma: float = 0.1, last_epoch: int = -1) -> None:
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        passed = bisect_right(self.milestones, self.last_epoch) - bisect_right(self.milestones, self.last_epoch - 1)
        return [lr * self.gamma**passed for lr in self._current()]


class ExponentialLR(LRScheduler):
    """Times `gamma` after every epoch."""

    chained = True

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [lr * self.gamma if self.last_epoch > 0 else lr for lr in self._current()]


class CosineAnnealingLR(LRScheduler):
    """Half a wave of the cosine from the first learning rate down to `eta_min` in `T_max` epochs: Loshchilov and Hutter, 2017."""

    chained = True

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        now, end = self.last_epoch, self.T_max
        if now == 0:
            return self._current()
        if (now - 1 - end) % (2 * end) == 0:  # the way up begins: the quotient below would be 0 / 0
            rise = (1 - math.cos(math.pi / end)) / 2
            return [lr + (base - self.eta_min) * rise for base, lr in zip(self.base_lrs, self._current(), strict=True)]
        ratio = (1 + math.cos(math.pi * now / end)) / (1 + math.cos(math.pi * (now - 1) / end))
        return [ratio * (lr - self.eta_min) + self.eta_min for lr in self._current()]


class MultiplicativeLR(_ByFunctions):
    """Times a function of the epoch after each: one for all groups, or one for each."""

    chained = True

    def get_lr(self) -> list[float]:
        if self.last_epoch <= 0:
            return self._current()
        return [lr * factor(self.last_epoch) for lr, factor in zip(self._current(), self.lr_lambdas, strict=True)]


class ConstantLR(LRScheduler):
    """The learning rate times `factor` for the first `total_iters` epochs."""

    chained = True

    def __init__(self, optimizer: Optimizer, factor: float = 1 / 3, total_iters: int = 5, last_epoch: int = -1) -> None:
        if not 0 <= factor <= 1:
            raise ArgumentError("Constant multiplicative factor expected to be between 0 and 1.")
        self.factor, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        scale = self.factor if self.last_epoch == 0 else 1 / self.factor if self.last_epoch == self.total_iters else 1.0
        return [lr * scale for lr in self._current()]


class LinearLR(LRScheduler):
    """The learning rate times a factor that goes from `start_factor` to `end_factor` in `total_iters` epochs."""

    chained = True

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < start_factor <= 1:
            raise ArgumentError("Starting multiplicative factor expected to be greater than 0 and less or equal to 1.")
        if not 0 <= end_factor <= 1:
            raise ArgumentError("Ending multiplicative factor expected to be between 0 and 1.")
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        now, end, rise = self.last_epoch, self.total_iters, self.end_factor - self.start_factor
        if now == 0:
            return [lr * self.start_factor for lr in self._current()]
        if now > end:
            return self._current()
        return [lr * (1 + rise / (end * self.start_factor + (now - 1) * rise)) for lr in self._current()]


class PolynomialLR(LRScheduler):
    """The learning rate times (1 - t / total_iters) ** power, 0 from then on."""

    chained = True

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1) -> None:
        self.total_iters, self.power = total_iters, power
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        now, end = self.last_epoch, self.total_iters
        if now == 0 or now > end:
            return self._current()
        return [lr * ((1 - now / end) / (1 - (now - 1) / end)) ** self.power for lr in self._current()]


class CosineAnnealingWarmRestarts(LRScheduler):
    """Half a wave of the cosine down to `eta_min`, again and again, `T_mult` times longer each: Loshchilov and Hutter, 2017."""

    def __init__(self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        if T_0 <= 0 or not isinstance(T_0, int):
            raise ArgumentError(f"Expected positive integer T_0, but got {T_0}")
        if T_mult < 1 or not isinstance(T_mult, int):
            raise ArgumentError(f"Expected integer T_mult >= 1, but got {T_mult}")
        self.T_0, self.T_i, self.T_mult, self.eta_min, self.T_cur = T_0, T_0, T_mult, eta_min, float(last_epoch)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        share = (1 + math.cos(math.pi * self.T_cur / self.T_i)) / 2
        return [self.eta_min + (base - self.eta_min) * share for base in self.base_lrs]

    def step(self, epoch: float | None = None) -> None:
        """Go on to the next epoch, or to any (a fraction, too)."""
        at = float(self.last_epoch + 1 if epoch is None else epoch)
        if at < 0:
            raise ArgumentError(f"Expected non-negative epoch, but got {epoch}")
        self.T_i, self.T_cur = self.T_0, at
        while self.T_cur >= self.T_i:
            self.T_cur -= self.T_i
            self.T_i *= self.T_mult
        super().step(math.floor(at))


class CyclicLR(LRScheduler):
    """Up from `base_lr` to `max_lr` and down again in triangles: Smith, 2017. Call `step` after each batch.

    `mode` "triangular2" halves each further triangle, "exp_range" multiplies it by `gamma` to the number of steps; or give `scale_fn`, a
    function of the cycle or of the iteration (`scale_mode`). Momentum goes the other way if `cycle_momentum`.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | Sequence[float],
        max_lr: float | Sequence[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float = 0.8,
        max_momentum: float = 0.9,
        last_epoch: int = -1,
    ) -> None:
        if mode not in ("triangular", "triangular2", "exp_range") and scale_fn is None:
            raise ArgumentError("mode is invalid and scale_fn is None")
        count = len(optimizer.param_groups)
        bases, self.max_lrs = (_for_groups(v, count) for v in (base_lr, max_lr))
        if last_epoch == -1:
            _set_rates(optimizer, bases)
        down = step_size_up if step_size_down is None else step_size_down
        self.total_size, self.step_ratio = float(step_size_up + down), step_size_up / (step_size_up + down)
        self.mode, self.gamma, self.scale_fn = mode, gamma, scale_fn
        self.scale_mode = scale_mode if scale_fn is not None else "iterations" if mode == "exp_range" else "cycle"
        self.cycle_momentum, self.base_momentum, self.max_momentum = cycle_momentum, base_momentum, max_momentum
        if cycle_momentum:
            _check_momenta(optimizer)
        super().__init__(optimizer, last_epoch)
        self.base_lrs = list(bases)

    def _scale(self, at: float) -> float:
        if self.scale_fn is not None:
            return self.scale_fn(at)
        if self.mode == "triangular":
            return 1.0
        return 1 / 2.0 ** (at - 1) if self.mode == "triangular2" else float(self.gamma**at)

    def get_lr(self) -> list[float]:
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        place = 1 + self.last_epoch / self.total_size - cycle
        height = place / self.step_ratio if place <= self.step_ratio else (place - 1) / (self.step_ratio - 1)
        scale = height * self._scale(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.cycle_momentum:
            _set_momenta(self.optimizer, self.max_momentum - (self.max_momentum - self.base_momentum) * scale)
        return [base + (most - base) * scale for base, most in zip(self.base_lrs, self.max_lrs, strict=True)]


def _for_groups(value: Any, count: int) -> list[float]:
    found = [float(v) for v in value] if isinstance(value, (list, tuple)) else [float(value)] * count
    if len(found) != count:
        raise ArgumentError(f"expected {count} values, one for each group, got {len(found)}")
    return found


def _check_momenta(optimizer: Optimizer) -> None:
    if not any(name in optimizer.defaults for name in ("momentum", "betas")):
        raise ArgumentError("optimizer must support momentum or beta1 with `cycle_momentum` option enabled")


def _set_momenta(optimizer: Optimizer, momentum: float) -> None:
    for group in optimizer.param_groups:
        if "betas" in group:
            group["betas"] = (momentum, *group["betas"][1:])
        else:
            group["momentum"] = momentum


class OneCycleLR(LRScheduler):
    """Up to `max_lr` and down to far below the start, once: Smith and Topin, 2018. Call `step` after each batch."""

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ArgumentError("You must define either total_steps OR (epochs AND steps_per_epoch)")
            total_steps = epochs * steps_per_epoch
        if total_steps <= 0:
            raise ArgumentError(f"Expected positive integer total_steps, but got {total_steps}")
        if not 0 <= pct_start <= 1:
            raise ArgumentError(f"Expected float between 0 and 1 pct_start, but got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ArgumentError(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        self.total_steps, self.anneal_strategy, self.cycle_momentum = total_steps, anneal_strategy, cycle_momentum
        self.base_momentum, self.max_momentum = base_momentum, max_momentum
        self.max_lrs = _for_groups(max_lr, len(optimizer.param_groups))
        self.first_lrs = [lr / div_factor for lr in self.max_lrs]
        self.least_lrs = [lr / final_div_factor for lr in self.first_lrs]
        up = float(pct_start * total_steps) - 1
        self.ends = [up, 2 * pct_start * total_steps - 2, total_steps - 1] if three_phase else [up, total_steps - 1]
        if cycle_momentum:
            _check_momenta(optimizer)
        if last_epoch == -1:
            _set_rates(optimizer, self.first_lrs)
        super().__init__(optimizer, last_epoch)

    def _between(self, start: float, end: float, share: float) -> float:
        if self.anneal_strategy == "linear":
            return (end - start) * share + start
        return end + (start - end) / 2.0 * (math.cos(math.pi * share) + 1)

    def get_lr(self) -> list[float]:
        now = self.last_epoch
        if now > self.total_steps:
            raise ArgumentError(f"Tried to step {now} times. The specified number of total steps is {self.total_steps}")
        phase = next((k for k, end in enumerate(self.ends) if now <= end), len(self.ends) - 1)
        start = 0.0 if phase == 0 else self.ends[phase - 1]
        share = (now - start) / (self.ends[phase] - start)
        momenta = [self.max_momentum, self.base_momentum, self.max_momentum, self.max_momentum]
        if self.cycle_momentum:
            _set_momenta(self.optimizer, self._between(momenta[phase], momenta[phase + 1], share))
        found = []
        for first, most, least in zip(self.first_lrs, self.max_lrs, self.least_lrs, strict=True):
            corners = [first, most, first, least] if len(self.ends) == 3 else [first, most, least]
            found.append(self._between(corners[phase], corners[phase + 1], share))
        return found


class SequentialLR(LRScheduler):
    """One schedule after the other, from the epochs `milestones` on."""

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int], last_epoch: int = -1
    ) -> None:
        if len(schedulers) < 1 or len(milestones) != len(schedulers) - 1:
            raise ArgumentError(
                f"Sequential Schedulers expects number of schedulers provided to be one more than the number of milestone points, but got "
                f"number of schedulers {len(schedulers)} and the number of milestones to be equal to {len(milestones)}"
            )
        if any(s.optimizer is not optimizer for s in schedulers):
            raise ArgumentError("SequentialLR expects all schedulers to belong to the same optimizer")
        self.optimizer, self._schedulers, self._milestones, self.last_epoch = optimizer, list(schedulers), list(milestones), last_epoch + 1
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        for schedule in self._schedulers:  # each has made a step of its own
            schedule.last_epoch -= 1
        self._schedulers[0].step()
        self._last_lr = self._schedulers[0].get_last_lr()

    def step(self, epoch: int | None = None) -> None:
        """Go on to the next epoch."""
        self.last_epoch += 1
        which = bisect_right(self._milestones, self.last_epoch)
        schedule = self._schedulers[which]
        begins = which > 0 and self._milestones[which - 1] == self.last_epoch
        schedule.step(0) if begins else schedule.step()
        self._last_lr = schedule.get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        """The state of all schedules."""
        own = {name: value for name, value in self.__dict__.items() if name not in ("optimizer", "_schedulers")}
        return {**own, "_schedulers": [s.state_dict() for s in self._schedulers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self.__dict__.update({name: value for name, value in state_dict.items() if name != "_schedulers"})
        for schedule, state in zip(self._schedulers, state_dict["_schedulers"], strict=True):
            schedule.load_state_dict(state)


class ChainedScheduler(LRScheduler):
    """All schedules at once: each changes what the others have made."""

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None) -> None:
        if len(schedulers) < 1:
            raise ArgumentError("ChainedScheduler expects at least one scheduler to be chained, but got no scheduler.")
        self.optimizer = schedulers[0].optimizer if optimizer is None else optimizer
        if any(s.optimizer is not self.optimizer for s in schedulers):
            raise ArgumentError("ChainedScheduler expects all schedulers to belong to the same optimizer")
        self._schedulers = list(schedulers)
        self._last_lr = self._current()

    def step(self, epoch: int | None = None) -> None:
        """Go on to the next epoch."""
        for schedule in self._schedulers:
            schedule.step()
        self._last_lr = self._current()

    state_dict = SequentialLR.state_dict
    load_state_dict = SequentialLR.load_state_dict


class ReduceLROnPlateau(LRScheduler):
    """Times `factor` when a measure has not improved for more than `patience` epochs: call `step(measure)`."""

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0,
        eps: float = 1e-8,
    ) -> None:
        if factor >= 1.0:
            raise ArgumentError("Factor should be < 1.0.")
        if mode not in ("min", "max"):
            raise ArgumentError(f"mode {mode} is unknown!")
        if threshold_mode not in ("rel", "abs"):
            raise ArgumentError(f"threshold mode {threshold_mode} is unknown!")
        if not isinstance(optimizer, Optimizer):
            raise ArgumentError(f"{type(optimizer).__name__} is not an Optimizer")
        self.optimizer, self.mode, self.factor, self.patience = optimizer, mode, factor, patience
        self.threshold, self.threshold_mode, self.cooldown, self.eps = threshold, threshold_mode, cooldown, eps
        self.min_lrs = _for_groups(min_lr, len(optimizer.param_groups))
        self.last_epoch, self.cooldown_counter, self.num_bad_epochs = 0, 0, 0
        self.best = math.inf if mode == "min" else -math.inf
        self._last_lr = self._current()

    def step(self, metrics: Any, epoch: int | None = None) -> None:  # type: ignore[override]
        """Take notice of a measure."""
        current = float(metrics)
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        if self.is_better(current, self.best):
            self.best, self.num_bad_epochs = current, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            for group, least in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
                old = float(group["lr"])
                new = max(old * self.factor, least)
                if old - new > self.eps:
                    group["lr"] = new
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr = self._current()

    def is_better(self, a: float, best: float) -> bool:
        """Whether a measure has improved by more than the threshold."""
        sign = 1 if self.mode == "min" else -1
        if self.threshold_mode == "rel":
            return sign * a < sign * best * (1 - sign * self.threshold) if math.isfinite(best) else sign * a < sign * best
        return sign * a < sign * best - self.threshold
