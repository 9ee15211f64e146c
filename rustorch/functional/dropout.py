"""Dropout: of elements, of whole channels, and one that keeps mean and variance."""

from __future__ import annotations

import math
import warnings
from typing import Any

from rustorch.errors import ArgumentError, ShapeError
from rustorch.frontend.emit import Builder, Shape, TensorType, Value, bernoulli_mask, operation, random_key, rebind, shape_of
from rustorch.ir.dtypes import bool_

_SATURATED = -1.7580993408473766
"""-scale · alpha of selu: what a self-normalising unit is when it is switched off."""


def check_probability(p: float) -> None:
    """Refuse a number outside 0 … 1."""
    if not 0 <= p <= 1:
        raise ArgumentError(f"dropout probability has to be between 0 and 1, but got {p}")


def _kept(b: Builder, x: Value, key: Value | None, p: float, shape: Shape | None) -> Value:
    """What stays of x: a mask, of `shape` and repeated over the axes behind where that is given; without a key (p is 1), nothing."""
    if key is None:
        return b.const(False, TensorType(bool_, shape_of(x)))
    mask = bernoulli_mask(b, key, shape_of(x) if shape is None else shape, 1 - p)
    return mask if shape is None else b.broadcast_to(mask, shape=shape_of(x), dims=tuple(range(len(shape))))


def dropped(b: Builder, x: Value, key: Value | None, p: float, shape: Shape | None = None) -> Value:
    """x / (1 - p) with probability 1 - p, else 0; where a `shape` is given, for all elements behind its axes at once."""
    found: Value = b.select(_kept(b, x, key, p, shape), b.mul(x, 1 / (1 - p)) if p < 1 else x, b.const(0.0, x))
    return found


@operation(name="dropout")
def _masked(b: Builder, input: Value, key: Value | None, p: float, shape: Shape | None, alpha: bool) -> Value:
    """See `dropped`; `alpha`: switched off at the low end of selu, and rescaled."""
    if not alpha:
        return dropped(b, input, key, p, shape)
    # With a = (q + v² q (1 - q))^-1/2 and b = -a v (1 - q), q = 1 - p, mean 0 and variance 1 stay: Klambauer et al., 2017.
    scale = (((1 - p) * (1 + p * _SATURATED**2)) ** -0.5) if p < 1 else 0.0
    switched = b.select(_kept(b, input, key, p, shape), input, b.const(_SATURATED, input))
    shifted: Value = b.add(b.mul(switched, scale), -scale * _SATURATED * p)
    return shifted


def _applied(input: Any, p: float, training: bool, inplace: bool, shape: tuple[int, ...] | None, alpha: bool) -> Any:
    check_probability(p)
    if not training or p == 0:
        return input
    found = _masked(input, None if p == 1 else random_key(input.numel() if shape is None else math.prod(shape)), float(p), shape, alpha)
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


def dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """While training, 0 with probability `p`, else x / (1 - p); x itself otherwise."""
    return _applied(input, p, training, inplace, None, False)


def dropout1d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """While training, whole channels of sequences 0 with probability `p`, the others x / (1 - p)."""
    return _applied(input, p, training, inplace, _channels(1, input), False)


def dropout2d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """While training, whole channels of images 0 with probability `p`, the others x / (1 - p)."""
    return _applied(input, p, training, inplace, _channels(2, input), False)


def dropout3d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """While training, whole channels of volumes 0 with probability `p`, the others x / (1 - p)."""
    return _applied(input, p, training, inplace, _channels(3, input), False)


def alpha_dropout(input: Any, p: float = 0.5, training: bool = False, inplace: bool = False) -> Any:
    """While training, elements at the low end of selu with probability `p`, rescaled so that mean 0 and variance 1 stay."""
    return _applied(input, p, training, inplace, None, True)


def feature_alpha_dropout(input: Any, p: float = 0.5, training: bool = False, inplace: bool = False) -> Any:
    """`alpha_dropout` of whole channels (the first two dimensions)."""
    return _applied(input, p, training, inplace, tuple(input.shape[:2]), True)
