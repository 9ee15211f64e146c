"""Averages of weights: running, exponential, stochastic."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any

import rustorch
from rustorch.errors import ArgumentError
from rustorch.optim.lr_scheduler import LRScheduler
from rustorch.optim.optimizer import Optimizer

Average = Callable[[Any, Any, Any], Any]
"""From the average so far, the new value and the number of values in the average to the next average."""


def get_ema_avg_fn(decay: float = 0.999) -> Average:
    """The exponential moving average: decay times the average, plus 1 - decay times the new value."""
    if not 0 <= decay <= 1:
        raise ArgumentError(f"Invalid decay value {decay} provided. Please provide a value in [0,1] range.")
    return lambda averaged, current, count: decay * averaged + (1 - decay) * current


def get_swa_avg_fn() -> Average:
    """The mean of all values."""
    return lambda averaged, current, count: averaged + (current - averaged) / (count + 1)


def _each(average: Average) -> Callable[[list[Any], Iterable[Any], Any], None]:
    def update(averaged: list[Any], current: Iterable[Any], count: Any) -> None:
        with rustorch.no_grad():
            for mean, new in zip(averaged, current, strict=True):
                mean.copy_(average(mean, new, count) if mean.is_floating_point() else new)

    return update


def get_ema_multi_avg_fn(decay: float = 0.999) -> Callable[[list[Any], Iterable[Any], Any], None]:
    """The exponential moving average of lists, in place."""
    return _each(get_ema_avg_fn(decay))


def get_swa_multi_avg_fn() -> Callable[[list[Any], Iterable[Any], Any], None]:
    """The mean of lists, in place."""
    return _each(get_swa_avg_fn())


class AveragedModel(rustorch.nn.Module):
    """A copy of a module whose parameters are an average: call `update_parameters(model)` after each step of the optimiser.

    The average is the mean of all, or what `avg_fn` (one tensor) or `multi_avg_fn` (lists, in place) makes of it. Buffers are copied,
    or averaged, too, if `use_buffers`.
    """

    def __init__(
        self,
        model: Any,
        device: Any = None,
        avg_fn: Average | None = None,
        multi_avg_fn: Callable[[list[Any], Iterable[Any], Any], None] | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise ArgumentError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = deepcopy(model)
        self.register_buffer("n_averaged", rustorch.tensor(0, dtype=rustorch.int64))
        self.use_buffers = use_buffers
        self.update_lists = multi_avg_fn or _each(avg_fn or get_swa_avg_fn())

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the averaged module gives."""
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Any) -> None:
        """Let the parameters of `model` into the average."""
        own, new = list(self.module.parameters()), list(model.parameters())
        if self.use_buffers:
            own, new = own + list(self.module.buffers()), new + list(model.buffers())
        count = int(self._buffers["n_averaged"])
        with rustorch.no_grad():
            if count == 0:
                for mean, x in zip(own, new, strict=True):
                    mean.copy_(x)
            else:
                self.update_lists(own, [x.detach() for x in new], count)
            if not self.use_buffers:
                for mean, x in zip(self.module.buffers(), model.buffers(), strict=True):
                    mean.copy_(x)
            self._buffers["n_averaged"].add_(1)


class SWALR(LRScheduler):
    """The learning rate led to `swa_lr` in `anneal_epochs` epochs, and kept there."""

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float,
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:
        if anneal_strategy not in ("cos", "linear"):
            raise ArgumentError(f"anneal_strategy must by one of 'cos' or 'linear', instead got {anneal_strategy}")
        self.swa_lr, self.anneal_epochs, self.anneal_strategy = swa_lr, anneal_epochs, anneal_strategy
        super().__init__(optimizer, last_epoch)

    def _share(self, epoch: float) -> float:
        place = min(1.0, max(0.0, epoch / max(1, self.anneal_epochs)))
        return place if self.anneal_strategy == "linear" else (1 - math.cos(math.pi * place)) / 2

    def get_lr(self) -> list[float]:
        share = self._share(self.last_epoch) if self.anneal_epochs else 1.0
        return [self.swa_lr * share + base * (1 - share) for base in self.base_lrs]
