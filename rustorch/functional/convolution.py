"""Convolutions of one, two and three dimensions, and their transposes; windows laid out as columns and added back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rustorch.errors import DTypeError, ShapeError, compose
from rustorch.frontend.emit import Builder, Shape, Size, Value, convert, dtype_of, operation, shape_of
from rustorch.functional.words import title

Steps = int | Sequence[int]
"""One number for all dimensions, or one each."""


def each(value: Steps, rank: int, name: str) -> tuple[int, ...]:
    """One number a dimension."""
    if isinstance(value, int):
        return (value,) * rank
    found = tuple(value)
    if len(found) == 1:
        return found * rank
    if len(found) != rank:
        raise ShapeError(
            f"expected {name} to be a single integer value or a list of {rank} values to match the convolution dimensions, "
            f"but got {name}={list(found)}"
        )
    return found


def _check_numbers(stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int], groups: int) -> None:
    if groups < 1:
        raise ShapeError("non-positive groups is not supported")
    if min(padding) < 0:
        raise ShapeError("negative padding is not supported")
    if min(stride) < 1:
        raise ShapeError("non-positive stride is not supported")
    if min(dilation) < 1:
        raise ShapeError(f"dilation should be greater than zero, but got {list(dilation)}")


def _check_operands(name: str, input: Value, weight: Value, rank: int) -> None:
    if len(shape_of(weight)) != rank + 2:
        raise ShapeError(
            compose(f"expected {rank + 2}-dimensional weight for {name}, but got weight of size: {list(shape_of(weight))}",
                    todo="A weight has an axis of features and one of channels before those of space.")
        )  # fmt: skip
    if len(shape_of(input)) not in (rank + 1, rank + 2):
        raise ShapeError(
            f"Expected {rank + 1}D (unbatched) or {rank + 2}D (batched) input to {name}, but got input of size: {list(shape_of(input))}"
        )
    if dtype_of(input) is not dtype_of(weight):
        raise DTypeError(
            compose(f"expected scalar type {title(input)} but found {title(weight)}", f"in {name}", todo="Convert one of them first.")
        )


def _check_channels(shape: Shape, weight: Value, groups: int, channels: Size, transposed: bool) -> None:
    size = list(shape_of(weight))
    given = f"Given transposed={int(transposed)}, weight of size {size}" if transposed else f"Given groups={groups}, weight of size {size}"
    if size[0] == 0 or (isinstance(size[0], int) and size[0] < groups):
        raise ShapeError(
            f"Given groups={groups}, expected weight to be at least {groups} at dimension 0, but got weight of size {size} instead"
        )
    if size[0] % groups != 0:
        raise ShapeError(
            f"Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, but got weight of size [{size}] instead"
        )
    if shape[1] != channels:
        raise ShapeError(f"{given}, expected input{list(shape)} to have {channels} channels, but got {shape[1]} channels instead")


def _check_bias(weight: Value, bias: Value | None, features: Size, transposed: bool) -> None:
    if bias is None:
        return
    if shape_of(bias) != (features,):
        given = f"Given transposed={int(transposed)}, weight of size" if transposed else "Given weight of size"
        raise ShapeError(
            f"{given} {list(shape_of(weight))}, expected bias to be 1-dimensional with {features} elements, "
            f"but got bias of size {list(shape_of(bias))} instead"
        )


def _finished(b: Builder, y: Value, bias: Value | None, batched: bool) -> Value:
    """The result with its groups joined, shifted by a bias for each feature, and without the batch that was added."""
    batch, groups, features, *places = shape_of(y)
    y = b.reshape(y, shape=(batch, groups * features, *places))
    if bias is not None:
        y = b.add(y, b.broadcast_to(convert(b, bias, dtype_of(y)), shape=shape_of(y), dims=(1,)))
    if not batched:
        y = b.reshape(y, shape=shape_of(y)[1:])
    return y


@operation(name="conv")
def _convolve(
    b: Builder,
    input: Value,
    weight: Value,
    bias: Value | None,
    stride: tuple[int, ...],
    low: tuple[int, ...],
    high: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int,
) -> Value:
    """A weight [features, channels / groups, …] moved over an input [batch, channels, …]."""
    rank = len(stride)
    _check_operands(f"conv{rank}d", input, weight, rank)
    batched = len(shape_of(input)) == rank + 2
    x = input if batched else b.reshape(input, shape=(1, *shape_of(input)))
    (features, channels, *taps), (batch, _, *size) = shape_of(weight), shape_of(x)
    _check_channels(shape_of(x), weight, groups, channels * groups, transposed=False)
    _check_bias(weight, bias, features, transposed=False)
    padded = [n + lo + hi for n, lo, hi in zip(size, low, high, strict=True)]
    reach = [(k - 1) * d + 1 for k, d in zip(taps, dilation, strict=True)]
    if any(isinstance(n, int) and isinstance(k, int) and (n < k or n < 1) for n, k in zip(padded, reach, strict=True)) or 0 in size:
        raise ShapeError(
            f"Calculated padded input size per channel: ({' x '.join(map(str, padded))}). "
            f"Kernel size: ({' x '.join(map(str, reach))}). Kernel size can't be greater than actual input size"
        )
    image = b.reshape(x, shape=(batch, groups, channels, *size))
    kernel = b.reshape(weight, shape=(groups, features // groups, channels, *taps))
    y = b.conv_general(image, kernel, stride=stride, low=low, high=high, spread=(1,) * rank, dilation=dilation, features_first=False)
    return _finished(b, y, bias, batched)


@operation(name="conv_transpose")
def _transposed(
    b: Builder,
    input: Value,
    weight: Value,
    bias: Value | None,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    extra: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int,
) -> Value:
    """The gradient of a convolution with a weight [channels, features / groups, …] with respect to its input, as a function of its own.

    What is spread over the output is convolved by the reversed weight: element i of the input goes to stride · i + dilation · k -
    padding.
    """
    rank = len(stride)
    _check_operands(f"conv_transpose{rank}d", input, weight, rank)
    batched = len(shape_of(input)) == rank + 2
    x = input if batched else b.reshape(input, shape=(1, *shape_of(input)))
    (channels, features, *taps), (batch, _, *size) = shape_of(weight), shape_of(x)
    _check_channels(shape_of(x), weight, groups, channels, transposed=True)
    _check_bias(weight, bias, features * groups, transposed=True)
    space = tuple(range(3, rank + 3))
    image = b.reshape(x, shape=(batch, groups, channels // groups, *size))
    kernel = b.flip(b.reshape(weight, shape=(groups, channels // groups, features, *taps)), axes=space)
    reach = [(k - 1) * d for k, d in zip(taps, dilation, strict=True)]
    low = tuple(n - p for n, p in zip(reach, padding, strict=True))
    high = tuple(n + more for n, more in zip(low, extra, strict=True))
    places = [(n - 1) * s + lo + hi - k + 1 for n, s, lo, hi, k in zip(size, stride, low, high, reach, strict=True)]
    if any(isinstance(n, int) and n < 1 for n in (*places, *size)):
        raise ShapeError(
            f"Given input size per channel: ({' x '.join(map(str, size))}). Calculated output size per channel: "
            f"({' x '.join(map(str, places))}). Output size is too small"
        )
    y = b.conv_general(
        image, b.transpose(kernel, perm=(0, 2, 1, *space)), stride=(1,) * rank, low=low, high=high, spread=stride, dilation=dilation,
        features_first=False,
    )  # fmt: skip
    return _finished(b, y, bias, batched)


def _conv(
    rank: int, input: Any, weight: Any, bias: Any, stride: Steps, padding: str | Steps, dilation: Steps, groups: int
) -> Any:
    steps, spacing = each(stride, rank, "stride"), each(dilation, rank, "dilation")
    if isinstance(padding, str):
        if padding not in ("valid", "same"):
            raise ShapeError(f"Invalid padding string: '{padding}'")
        if padding == "same" and max(steps) > 1:
            raise ShapeError("padding='same' is not supported for strided convolutions")
        whole = [d * (k - 1) if padding == "same" else 0 for k, d in zip(weight.shape[2:], spacing, strict=False)]
        low = tuple(n // 2 for n in whole)
        high = tuple(n - lo for n, lo in zip(whole, low, strict=True))
    else:
        low = high = each(padding, rank, "padding")
    _check_numbers(steps, (*low, *high, 0), spacing, groups)
    return _convolve(input, weight, bias, steps, low, high, spacing, groups)


def _conv_transpose(
    rank: int, input: Any, weight: Any, bias: Any, stride: Steps, padding: Steps, output_padding: Steps, groups: int, dilation: Steps
) -> Any:
    steps, spacing = each(stride, rank, "stride"), each(dilation, rank, "dilation")
    around, extra = each(padding, rank, "padding"), each(output_padding, rank, "output_padding")
    _check_numbers(steps, around, spacing, groups)
    if min(extra) < 0:
        raise ShapeError("negative output_padding is not supported")
    if any(more >= max(s, d) for more, s, d in zip(extra, steps, spacing, strict=True)):
        axes = ("depth", "height", "width")[3 - rank :]
        found = " ".join(f"{name}_{axis}: {n}" for name, values in (("output_padding", extra), ("stride", steps), ("dilation", spacing))
                         for axis, n in zip(axes, values, strict=True))  # fmt: skip
        raise ShapeError(f"output padding must be smaller than either stride or dilation, but got {found}")
    return _transposed(input, weight, bias, steps, around, extra, spacing, groups)


def conv1d(
    input: Any, weight: Any, bias: Any = None, stride: Steps = 1, padding: str | Steps = 0, dilation: Steps = 1, groups: int = 1
) -> Any:
    """Sums of products of an input [batch, channels, length] with a weight [features, channels / groups, taps] at every place.

    `padding`: zeros on both sides, or "same" for as many places as the input has. Without the batch dimension, one sequence.
    """
    return _conv(1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Any, weight: Any, bias: Any = None, stride: Steps = 1, padding: str | Steps = 0, dilation: Steps = 1, groups: int = 1
) -> Any:
    """`conv1d` of images: an input [batch, channels, height, width], a weight [features, channels / groups, rows, columns]."""
    return _conv(2, input, weight, bias, stride, padding, dilation, groups)


def conv3d(
    input: Any, weight: Any, bias: Any = None, stride: Steps = 1, padding: str | Steps = 0, dilation: Steps = 1, groups: int = 1
) -> Any:
    """`conv1d` of volumes: an input [batch, channels, depth, height, width] and a weight of as many dimensions."""
    return _conv(3, input, weight, bias, stride, padding, dilation, groups)


def conv_transpose1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Steps = 1,
    padding: Steps = 0,
    output_padding: Steps = 0,
    groups: int = 1,
    dilation: Steps = 1,
) -> Any:
    """What `conv1d` with a weight [channels, features / groups, taps] does to gradients: each element is spread over `taps` places.

    `padding` places are cut off on both sides, `output_padding` are added behind.
    """
    return _conv_transpose(1, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Steps = 1,
    padding: Steps = 0,
    output_padding: Steps = 0,
    groups: int = 1,
    dilation: Steps = 1,
) -> Any:
    """`conv_transpose1d` of images."""
    return _conv_transpose(2, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Steps = 1,
    padding: Steps = 0,
    output_padding: Steps = 0,
    groups: int = 1,
    dilation: Steps = 1,
) -> Any:
    """`conv_transpose1d` of volumes."""
    return _conv_transpose(3, input, weight, bias, stride, padding, output_padding, groups, dilation)
