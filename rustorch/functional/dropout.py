"""Dropout of whole channels, and dropout that keeps mean and variance."""

from __future__ import annotations

import math
import warnings
from typing import Any

from rustorch.errors import ArgumentError, ShapeError
from rustorch.frontend.emit import Builder, Shape, Value, bernoulli_mask, operation, random_key, rebind, shape_of

_SATURATED = -1.7580993408473766
"""-scale · alpha of selu: what a self-normalising unit is when it is switched off."""


def _check(p: float) -> None:
    if not 0 <= p <= 1:
        raise ArgumentError(f"dropout probability has to be between 0 and 1, but got {p}")


@operation(name="dropout")
def _masked(b: Builder, input: Value, key: Value | None, p: float, shape: Shape, alpha: bool) -> Value:
    """The input where a mask of `shape` (repeated over the axes behind it) is set; the rest is switched off."""
    if key is None:
        kept = b.const(False, b.ne(input, input))
    else:
        mask = bernoulli_mask(b, key, shape, 1 - p)
        kept = b.broadcast_to(mask, shape=shape_of(input), dims=tuple(range(len(shape))))
    if not alpha:
        found: Value = b.select(kept, b.mul(input, 1 / (1 - p)) if p < 1 else input, b.const(0.0, input))
        return found
    # With a = (q + v² q (1 - q))^-1/2 and b = -a v (1 - q), q = 1 - p, mean 0 and variance 1 stay: Klambauer et al., 2017.
    scale = (((1 - p) * (1 + p * _SATURATED**2)) ** -0.5) if p < 1 else 0.0
    switched = b.select(kept, input, b.const(_SATURATED, input))
    shifted: Value = b.add(b.mul(switched, scale), -scale * _SATURATED * p)
    return shifted


def _dropped(input: Any, p: float, training: bool, inplace: bool, shape: tuple[int, ...], alpha: bool) -> Any:
    _check(p)
    if not training or p == 0:
        return input
    found = _masked(input, None if p == 1 else random_key(math.prod(shape)), float(p), shape, alpha)
    return rebind(input, found) if inplace else found


def _channels(rank: int, input: Any) -> tuple[int, ...]:
    """The axes that are switched off as one lie behind these: batch and channel, or the channel alone."""
    name, ndim = f"dropout{rank}d", input.ndim
    if ndim not in (rank + 1, rank + 2):
        found = f"{name}: Received a {ndim}-D input to {name}, which has {rank} dimensions of space, a channel and an optional batch"
        if rank == 1:
            raise ShapeError(f"dropout1d: Expected 2D or 3D input, but received a {ndim}D input. {found}")
        warnings.warn(f"{found}; use dropout instead", stacklevel=4)
    if rank == 2 and ndim == 3:
        warnings.warn(
            "dropout2d: Received a 3D input to dropout2d and assuming that channel-wise 1D dropout behavior is desired - input is "
            "interpreted as shape (N, C, L), where C is the channel dim; use dropout1d for that",
            stacklevel=4,
        )
        return tuple(input.shape[:2])
    return tuple(input.shape[: 1 if ndim == rank + 1 else 2])


def dropout1d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """While training, whole channels of sequences 0 with probability `p`, the others x / (1 - p)."""
    return _dropped(input, p, training, inplace, _channels(1, input), False)


def dropout2d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """While training, whole channels of images 0 with probability `p`, the others x / (1 - p)."""
    return _dropped(input, p, training, inplace, _channels(2, input), False)


def dropout3d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """While training, whole channels of volumes 0 with probability `p`, the others x / (1 - p)."""
    return _dropped(input, p, training, inplace, _channels(3, input), False)


def alpha_dropout(input: Any, p: float = 0.5, training: bool = False, inplace: bool = False) -> Any:
    """While training, elements at the low end of selu with probability `p`, rescaled so that mean 0 and variance 1 stay."""
    return _dropped(input, p, training, inplace, tuple(input.shape), True)


def feature_alpha_dropout(input: Any, p: float = 0.5, training: bool = False, inplace: bool = False) -> Any:
    """`alpha_dropout` of whole channels (the first two dimensions)."""
    return _dropped(input, p, training, inplace, tuple(input.shape[:2]), True)


