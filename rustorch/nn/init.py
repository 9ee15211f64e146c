"""How parameters begin: functions that write into a tensor, without a trace of it in gradients; each gives the tensor."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

import rustorch
from rustorch import no_grad
from rustorch.errors import ArgumentError, ShapeError


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """By how much a nonlinearity shrinks: the factor that makes up for it."""
    if nonlinearity in ("linear", "conv1d", "conv2d", "conv3d", "sigmoid"):
        return 1.0
    if nonlinearity == "tanh":
        return 5.0 / 3
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, (int, float)):
            raise ArgumentError(f"negative_slope {param} not a valid number")
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity == "selu":
        return 3.0 / 4
    raise ArgumentError(f"Unsupported nonlinearity {nonlinearity}")


def _fans(tensor: Any) -> tuple[int, int]:
    """How many numbers each output is made of, and how many outputs each input goes into."""
    shape = tensor.shape
    if len(shape) < 2:
        raise ShapeError("Fan in and fan out can not be computed for tensor with fewer than 2 dimensions")
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field


def _fan(tensor: Any, mode: str) -> int:
    modes = ("fan_in", "fan_out")
    if mode.lower() not in modes:
        raise ArgumentError(f"Mode {mode.lower()} not supported, please use one of {list(modes)}")
    return _fans(tensor)[modes.index(mode.lower())]


@no_grad()
def uniform_(tensor: Any, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Any:
    """Uniform numbers from `a` up to `b`."""
    return tensor.uniform_(a, b, generator=generator)


@no_grad()
def normal_(tensor: Any, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Any:
    """Normal numbers."""
    return tensor.normal_(mean, std, generator=generator)


@no_grad()
def trunc_normal_(tensor: Any, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, generator: Any = None) -> Any:
    """Normal numbers; those outside the range from `a` to `b` are drawn again."""
    if not a < b:
        raise ArgumentError(f"trunc_normal_ needs a < b, got a={a}, b={b}")
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. The distribution of values may be incorrect.", stacklevel=2
        )
    found: Any = np.empty(0)
    while found.size < tensor.numel():
        drawn = rustorch.randn(max(2 * tensor.numel(), 16), generator=generator, dtype=rustorch.float64).numpy() * std + mean
        found = np.concatenate([found, drawn[(drawn >= a) & (drawn <= b)]])
    return tensor.copy_(rustorch.tensor(found[: tensor.numel()].reshape(tensor.shape)))


@no_grad()
def constant_(tensor: Any, val: float) -> Any:
    """A number, repeated."""
    return tensor.fill_(val)


@no_grad()
def ones_(tensor: Any) -> Any:
    """Ones."""
    return tensor.fill_(1.0)


@no_grad()
def zeros_(tensor: Any) -> Any:
    """Zeros."""
    return tensor.fill_(0.0)


@no_grad()
def eye_(tensor: Any) -> Any:
    """Ones on the diagonal, zeros elsewhere."""
    if tensor.ndim != 2:
        raise ShapeError("Only tensors with 2 dimensions are supported")
    return tensor.copy_(rustorch.eye(*tensor.shape))


def xavier_uniform_(tensor: Any, gain: float = 1.0, generator: Any = None) -> Any:
    """Uniform numbers whose variance is 2 / (fan in + fan out), times gain²: Glorot and Bengio, 2010."""
    bound = gain * math.sqrt(6.0 / sum(_fans(tensor)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Any, gain: float = 1.0, generator: Any = None) -> Any:
    """Normal numbers whose variance is 2 / (fan in + fan out), times gain²: Glorot and Bengio, 2010."""
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / sum(_fans(tensor))), generator)


def _kaiming_std(tensor: Any, a: float, mode: str, nonlinearity: str) -> float:
    return calculate_gain(nonlinearity, a) / math.sqrt(_fan(tensor, mode))


def kaiming_uniform_(tensor: Any, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None) -> Any:
    """Uniform numbers whose variance is gain² / fan: He, Zhang, Ren, Sun, 2015. `a` is the slope of leaky_relu."""
    if 0 in tensor.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=2)
        return tensor
    bound = math.sqrt(3.0) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(tensor: Any, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None) -> Any:
    """Normal numbers whose variance is gain² / fan: He, Zhang, Ren, Sun, 2015. `a` is the slope of leaky_relu."""
    if 0 in tensor.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=2)
        return tensor
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity), generator)


@no_grad()
def orthogonal_(tensor: Any, gain: float = 1, generator: Any = None) -> Any:
    """A matrix with orthonormal rows or columns, times `gain`: Saxe, McClelland, Ganguli, 2013."""
    if tensor.ndim < 2:
        raise ShapeError("Only tensors with 2 or more dimensions are supported")
    rows, columns = tensor.shape[0], tensor.numel() // tensor.shape[0]
    drawn = rustorch.randn(max(rows, columns), min(rows, columns), generator=generator, dtype=rustorch.float64).numpy()
    q, r = np.linalg.qr(drawn)
    q = q * np.sign(np.diag(r))  # with these signs the matrix is uniformly distributed
    q = q if rows >= columns else q.T
    return tensor.copy_(rustorch.tensor(np.ascontiguousarray(q * gain).reshape(tensor.shape)))
