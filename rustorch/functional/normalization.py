"""Normalisation of parts of an input: groups of channels, single channels, neighbouring channels."""

from __future__ import annotations

from typing import Any

from rustorch.errors import ShapeError
from rustorch.frontend.emit import Builder, Operand, Value, average, operation, rebind, shape_of
from rustorch.functional.layer import moved_towards, normalized, scaled_channels, standardized
from rustorch.ir.dims import product


@operation(name="group_norm")
def _group_norm(b: Builder, input: Value, groups: int, weight: Value | None, bias: Value | None, eps: float) -> Value:
    """Mean 0 and variance 1 over each group of channels of each element of the batch, then an affine map."""
    batch, channels, *space = shape_of(input)
    apart = b.reshape(input, shape=(batch, groups, product((channels, *space)) // groups))
    normal = standardized(b, apart, (2,), eps)[0]
    return scaled_channels(b, b.reshape(normal, shape=shape_of(input)), weight, bias)


def group_norm(input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """Mean 0 and variance 1 over `num_groups` groups of channels (dimension 1), each element of the batch by itself; times a weight
    and plus a bias of the channels."""
    shape = tuple(input.shape)
    if len(shape) < 2:
        raise ShapeError(f"Expected at least 2 dimensions for input tensor but received {len(shape)}")
    if num_groups <= 0:
        raise ShapeError(f"Expected num groups to be greater than 0, got {num_groups}")
    if shape[1] % num_groups:
        raise ShapeError(
            f"Expected number of channels in input to be divisible by num_groups, but got input of shape {list(shape)} "
            f"and num_groups={num_groups}"
        )
    for name, own in (("weight", weight), ("bias", bias)):
        if own is not None and tuple(own.shape) != (shape[1],):
            raise ShapeError(
                f"Expected {name} to be a vector of size equal to the number of channels in input, but got {name} of shape "
                f"{list(own.shape)} and input of shape {list(shape)}"
            )
    if product(shape) == shape[0] * num_groups == num_groups:
        raise ShapeError(f"Expected more than 1 value per channel when training, got input size {list(shape)}")
    return _group_norm(input, num_groups, weight, bias, eps)


@operation(name="instance_norm")
def _instance_norm(
    b: Builder, input: Value, mean: Value | None, variance: Value | None, weight: Value | None, bias: Value | None, eps: float
) -> Value:
    """Mean 0 and variance 1 over the space of each channel, or with the mean and variance given; then an affine map."""
    return normalized(b, input, tuple(range(2, len(shape_of(input)))), mean, variance, weight, bias, eps)


@operation(name="running_statistics", blocks=True)
def _running_statistics(b: Builder, input: Value, running_mean: Value, running_var: Value, momentum: Operand) -> tuple[Value, Value]:
    """The running mean and variance, moved towards the averages over the batch; the variances are the unbiased ones."""
    space = tuple(range(2, len(shape_of(input))))
    _, mean, variance = standardized(b, input, space, 0.0)
    count = product(shape_of(input)[2:])
    unbiased = b.div(b.mul(variance, count), count - 1) if isinstance(count, int) else variance
    mean, unbiased = (average(b, b.reshape(x, shape=shape_of(input)[:2]), 0) for x in (mean, unbiased))
    return moved_towards(b, running_mean, mean, momentum), moved_towards(b, running_var, unbiased, momentum)


def instance_norm(
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """Mean 0 and variance 1 over the space of each channel of each element of the batch; times a weight, plus a bias.

    Running statistics that are given follow the inputs' by `momentum`, and take their place with `use_input_stats` False.
    """
    shape = tuple(input.shape)
    if use_input_stats:
        if product(shape[2:]) == 1:
            raise ShapeError(f"Expected more than 1 spatial element when training, got input size {list(shape)}")
        found = _instance_norm(input, None, None, weight, bias, eps)
        if running_mean is not None and running_var is not None:
            new_mean, new_var = _running_statistics(input, running_mean, running_var, momentum)
            rebind(running_mean, new_mean)
            rebind(running_var, new_var)
        return found
    if running_mean is None or running_var is None:
        raise ShapeError("Expected running_mean and running_var to be defined when use_input_stats is false")
    return _instance_norm(input, running_mean, running_var, weight, bias, eps)


@operation(name="local_response_norm")
def _local_response_norm(b: Builder, input: Value, size: int, alpha: float, beta: float, k: float) -> Value:
    """x / (k + alpha · average of squares over neighbouring channels)^beta."""
    rank = len(shape_of(input))
    around, ones, zeros = (size, *(1,) * (rank - 2)), (1,) * (rank - 1), (0,) * (rank - 2)
    total = b.window_sum(
        b.mul(input, input), window=around, stride=ones, low=(size // 2, *zeros), high=((size - 1) // 2, *zeros), dilation=ones,
        spread=ones,
    )  # fmt: skip
    scale = b.pow(b.add(b.mul(total, alpha / size), k), b.const(beta, input))
    found: Value = b.div(input, scale)
    return found


def local_response_norm(input: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Any:
    """x / (k + alpha · average of x² over `size` neighbouring channels)^beta: Krizhevsky, Sutskever, Hinton, 2012."""
    if input.ndim < 3:
        raise ShapeError(f"Expected 3D or higher dimensionality input (got {input.ndim} dimensions)")
    return input if input.numel() == 0 else _local_response_norm(input, size, float(alpha), float(beta), float(k))
