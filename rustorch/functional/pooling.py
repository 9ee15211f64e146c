"""Pooling: what stands in each of the windows that move over an input [batch, channels, …]; and windows laid out as columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from rustorch.errors import ShapeError, Unsupported, compose
from rustorch.frontend.emit import Builder, TensorType, Value, dtype_of, operation, shape_of
from rustorch.ir.dims import product
from rustorch.ir.dtypes import i64

Steps = int | Sequence[int]
"""One number for all dimensions, or one each."""
_WORDS = {1: "one int", 2: "two ints", 3: "three ints"}


def each(value: Steps, rank: int, name: str, function: str) -> tuple[int, ...]:
    """One number a dimension."""
    if isinstance(value, int):
        return (value,) * rank
    found = tuple(value)
    if len(found) not in (1, rank):
        raise ShapeError(f"{function}: {name} must either be a single int, or a tuple of {_WORDS[rank]}")
    return found * (rank // len(found))


class _Windows:
    """The arguments that poolings share, checked: where windows stand along each dimension, and how many."""

    def __init__(
        self, function: str, rank: int, input: Any, size: Steps, stride: Steps | None, padding: Steps, dilation: Steps, ceil_mode: bool
    ) -> None:
        self.function, self.rank = function, rank
        self.window = each(size, rank, "kernel_size", function)
        self.stride = self.window if stride is None or stride == () else each(stride, rank, "stride", function)
        self.padding, self.dilation = each(padding, rank, "padding", function), each(dilation, rank, "dilation", function)
        if min(self.window) < 1:
            raise ShapeError(f"{function}: kernel size should be greater than zero, but got {list(self.window)}")
        if min(self.stride) < 1:
            raise ShapeError(compose("stride should not be zero", f"{function} found {list(self.stride)}", todo="Strides are positive."))
        if min(self.dilation) < 1:
            raise ShapeError(f"dilation should be greater than zero, but got {list(self.dilation)}")
        if min(self.padding) < 0:
            raise ShapeError(f"pad must be non-negative, but got pad: {min(self.padding)}")
        reach = [(w - 1) * d + 1 for w, d in zip(self.window, self.dilation, strict=True)]
        for pad, k, spacing, r in zip(self.padding, self.window, self.dilation, reach, strict=True):
            if pad > r // 2:
                raise ShapeError(
                    f"pad should be at most half of effective kernel size, but got pad={pad}, kernel_size={k} and dilation={spacing}"
                )
        self.size = _sizes(function, rank, input)
        self.places = []
        for n, pad, step, r in zip(self.size, self.padding, self.stride, reach, strict=True):
            room = n + 2 * pad - r
            count = (-(-room // step) if ceil_mode else room // step) + 1
            if ceil_mode and (count - 1) * step >= n + pad:  # the last window begins inside the input, or in the padding before it
                count -= 1
            self.places.append(count)
        if min(self.places) < 1:
            channels = input.shape[-rank - 1]
            before, after = ("x".join(map(str, (channels, *sizes))) for sizes in (self.size, self.places))
            raise ShapeError(f"Given input size: ({before}). Calculated output size: ({after}). Output size is too small")
        self.high = tuple(
            (count - 1) * step + r - n - pad
            for count, step, r, n, pad in zip(self.places, self.stride, reach, self.size, self.padding, strict=True)
        )

    @property
    def arguments(self) -> tuple[tuple[int, ...], ...]:
        """Window, stride, low, high and dilation, as the ops take them."""
        return self.window, self.stride, self.padding, self.high, self.dilation

    def counts(self, include_pad: bool) -> tuple[tuple[int, ...], ...]:
        """How many elements the windows have along each dimension: those of the input, or of the padding that was asked for too."""
        found = []
        for n, pad, step, k, count in zip(self.size, self.padding, self.stride, self.window, self.places, strict=True):
            low, high = (-pad, n + pad) if include_pad else (0, n)
            starts = [i * step - pad for i in range(count)]
            found.append(tuple(min(start + k, high) - max(start, low) for start in starts))
        return tuple(found)


def _sizes(function: str, rank: int, input: Any) -> tuple[int, ...]:
    shape = input.shape
    if len(shape) not in (rank + 1, rank + 2) or 0 in shape[len(shape) - rank - 1 :]:
        if rank == 1:
            raise ShapeError(
                f"{function}: Expected 2D or 3D (batch mode) tensor with optional 0 dim batch size for input, but got:{list(shape)}"
            )
        wanted = f"non-empty {rank + 1}D or {rank + 2}D (batch mode) tensor expected for input"
        raise ShapeError(compose(wanted, f"{function} found {list(shape)}"))
    return tuple(shape[len(shape) - rank :])


# --- Largest elements -------------------------------------------------------------------------------------------------

_Numbers = tuple[int, ...]


@operation(name="max_pool")
def _max_pool(b: Builder, input: Value, window: _Numbers, stride: _Numbers, low: _Numbers, high: _Numbers, dilation: _Numbers) -> Value:
    """The largest element of each window."""
    found: Value = b.window_max(input, window=window, stride=stride, low=low, high=high, dilation=dilation)
    return found


@operation(name="max_pool")
def _max_pool_places(
    b: Builder, input: Value, window: _Numbers, stride: _Numbers, low: _Numbers, high: _Numbers, dilation: _Numbers
) -> tuple[Value, Value]:
    """The largest element of each window, and where it stands in the flattened dimensions of the windows."""
    places = b.window_place(input, window=window, stride=stride, low=low, high=high, dilation=dilation)
    return _picked(b, input, places, len(window)), places


def _flat(b: Builder, x: Value, rank: int) -> Value:
    shape = shape_of(x)
    found: Value = b.reshape(x, shape=(*shape[: len(shape) - rank], product(shape[len(shape) - rank :])))
    return found


def _picked(b: Builder, x: Value, places: Value, rank: int) -> Value:
    """The elements at places in the flattened last dimensions."""
    axis = len(shape_of(x)) - rank
    found: Value = b.reshape(b.gather(_flat(b, x, rank), _flat(b, places, rank), axis=axis), shape=shape_of(places))
    return found


def _pool_max(
    rank: int,
    input: Any,
    kernel_size: Steps,
    stride: Steps | None,
    padding: Steps,
    dilation: Steps,
    ceil_mode: bool,
    return_indices: bool,
) -> Any:
    windows = _Windows(f"max_pool{rank}d", rank, input, kernel_size, stride, padding, dilation, ceil_mode)
    return (_max_pool_places if return_indices else _max_pool)(input, *windows.arguments)


def max_pool1d(
    input: Any,
    kernel_size: Steps,
    stride: Steps | None = None,
    padding: Steps = 0,
    dilation: Steps = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window of `kernel_size`, every `stride` (`kernel_size` unless given), of the last dimension.

    Padding is -inf. `ceil_mode` lets a last window hang over the end. `return_indices` gives the places as well, counted in the
    unpadded input. The gradient goes to the first of equal elements.
    """
    return _pool_max(1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(
    input: Any,
    kernel_size: Steps,
    stride: Steps | None = None,
    padding: Steps = 0,
    dilation: Steps = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """`max_pool1d` over the last two dimensions."""
    return _pool_max(2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool3d(
    input: Any,
    kernel_size: Steps,
    stride: Steps | None = None,
    padding: Steps = 0,
    dilation: Steps = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """`max_pool1d` over the last three dimensions."""
    return _pool_max(3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


# --- Averages ---------------------------------------------------------------------------------------------------------


@operation(name="avg_pool")
def _avg_pool(
    b: Builder, input: Value, window: _Numbers, stride: _Numbers, low: _Numbers, high: _Numbers, counts: tuple[_Numbers, ...], divisor: int
) -> Value:
    """The sum of each window by `divisor`, or by the product of the `counts` along its dimensions."""
    ones = (1,) * len(window)
    total = b.window_sum(input, window=window, stride=stride, low=low, high=high, dilation=ones, spread=ones)
    first = len(shape_of(total)) - len(window)
    if divisor:
        counts = ((divisor,), *((1,),) * (len(window) - 1))
    if all(len(set(numbers)) == 1 for numbers in counts):
        found: Value = b.div(total, b.const(math.prod(numbers[0] for numbers in counts), total))
        return found
    for axis, numbers in enumerate(counts, first):
        share = b.const(np.array(numbers, dtype_of(total).numpy), TensorType(dtype_of(total), (len(numbers),)))
        total = b.div(total, b.broadcast_to(share, shape=shape_of(total), dims=(axis,)))
    averaged: Value = total
    return averaged


def _pool_avg(
    rank: int,
    input: Any,
    kernel_size: Steps,
    stride: Steps | None,
    padding: Steps,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Any:
    if divisor_override == 0:
        raise ShapeError("divisor must be not zero")
    windows = _Windows(f"avg_pool{rank}d", rank, input, kernel_size, stride, padding, 1, ceil_mode)
    window, steps, low, high, _ = windows.arguments
    return _avg_pool(input, window, steps, low, high, windows.counts(count_include_pad), divisor_override or 0)


def avg_pool1d(
    input: Any,
    kernel_size: Steps,
    stride: Steps | None = None,
    padding: Steps = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Any:
    """The average of each window of `kernel_size`, every `stride` (`kernel_size` unless given), of the last dimension.

    Zeros of the padding count as elements, unless `count_include_pad` is False.
    """
    return _pool_avg(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def avg_pool2d(
    input: Any,
    kernel_size: Steps,
    stride: Steps | None = None,
    padding: Steps = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """`avg_pool1d` over the last two dimensions; `divisor_override` takes the place of the number of elements."""
    return _pool_avg(2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def avg_pool3d(
    input: Any,
    kernel_size: Steps,
    stride: Steps | None = None,
    padding: Steps = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """`avg_pool1d` over the last three dimensions; `divisor_override` takes the place of the number of elements."""
    return _pool_avg(3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


@operation(name="lp_pool")
def _lp_pool(b: Builder, input: Value, power: float, window: _Numbers, stride: _Numbers, high: _Numbers) -> Value:
    """The root of each window's sum of powers; 0, with gradient 0, where the sum is not positive."""
    ones, zeros = (1,) * len(window), (0,) * len(window)
    raised = b.mul(input, input) if power == 2 else b.pow(input, b.const(power, input))
    total = b.window_sum(raised, window=window, stride=stride, low=zeros, high=high, dilation=ones, spread=ones)
    positive = b.gt(total, 0)
    safe = b.select(positive, total, b.const(1, total))
    root = b.sqrt(safe) if power == 2 else b.pow(safe, b.const(1 / power, safe))
    found: Value = b.select(positive, root, b.const(0, total))
    return found


def _pool_lp(rank: int, input: Any, norm_type: float, kernel_size: Steps, stride: Steps | None, ceil_mode: bool) -> Any:
    windows = _Windows(f"lp_pool{rank}d", rank, input, kernel_size, stride, 0, 1, ceil_mode)
    if ceil_mode and any(hanging > 0 for hanging in windows.high):
        raise Unsupported(compose("lp_pool: windows that hang over the end are not there", todo="pad the input, or leave out ceil_mode"))
    return _lp_pool(input, float(norm_type), windows.window, windows.stride, windows.high)


def lp_pool1d(input: Any, norm_type: float, kernel_size: Steps, stride: Steps | None = None, ceil_mode: bool = False) -> Any:
    """(sum of x^p)^(1/p) over each window of the last dimension, p being `norm_type`."""
    return _pool_lp(1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(input: Any, norm_type: float, kernel_size: Steps, stride: Steps | None = None, ceil_mode: bool = False) -> Any:
    """`lp_pool1d` over the last two dimensions."""
    return _pool_lp(2, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(input: Any, norm_type: float, kernel_size: Steps, stride: Steps | None = None, ceil_mode: bool = False) -> Any:
    """`lp_pool1d` over the last three dimensions."""
    return _pool_lp(3, input, norm_type, kernel_size, stride, ceil_mode)


# --- A given number of windows ----------------------------------------------------------------------------------------


def _bounds(size: int, count: int) -> list[tuple[int, int]]:
    """Where `count` windows begin and end that cover an axis of `size`: window i from i/count to (i + 1)/count of it, rounded outwards."""
    return [(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]


def _wanted(function: str, rank: int, input: Any, output_size: Any) -> tuple[int, ...]:
    shape = input.shape
    if len(shape) not in (rank + 1, rank + 2):
        raise ShapeError(f"{function}(): Expected {rank + 1}D or {rank + 2}D tensor, but got {list(shape)}")
    sizes = (output_size,) * rank if output_size is None or isinstance(output_size, int) else tuple(output_size)
    if len(sizes) != rank:
        raise ShapeError(f"{function}: output_size must be {rank}")
    found = tuple(own if n is None else int(n) for n, own in zip(sizes, shape[len(shape) - rank :], strict=True))
    if min(found) < 0:
        listed = ", ".join(map(str, found))
        raise ShapeError(f"{function}: elements of output_size must be greater than or equal to 0 but received {{{listed}}}")
    return found


def mixed(b: Builder, x: Value, matrix: Any, axis: int) -> Value:
    """Sums along an axis, weighted by the columns of a known matrix [elements, sums]."""
    moved = b.dot_general(x, b.const(matrix, TensorType(dtype_of(x), matrix.shape)), contract=((axis,), (0,)), batch=((), ()))
    rank = len(shape_of(x))
    found: Value = b.transpose(moved, perm=(*range(axis), rank - 1, *range(axis, rank - 1)))
    return found


@operation(name="adaptive_avg_pool")
def _adaptive_avg(b: Builder, input: Value, wanted: _Numbers) -> Value:
    """Averages along one axis after the other: windows of equal length as sums, others by a matrix."""
    first = len(shape_of(input)) - len(wanted)
    x = input
    for axis, count in enumerate(wanted, first):
        size = shape_of(x)[axis]
        if not isinstance(size, int):
            raise Unsupported(compose("adaptive pooling needs known sizes", f"found {size}"))
        if count and size % count == 0:
            length = size // count
            if length > 1:
                at = tuple(length if a == axis else 1 for a in range(first, len(shape_of(x))))
                ones, zeros = (1,) * len(wanted), (0,) * len(wanted)
                total = b.window_sum(x, window=at, stride=at, low=zeros, high=zeros, dilation=ones, spread=ones)
                x = b.div(total, b.const(length, total))
            continue
        shares = np.zeros((size, count), dtype_of(x).numpy)
        for i, (start, end) in enumerate(_bounds(size, count)):
            shares[start:end, i] = 1 / (end - start)
        x = mixed(b, x, shares, axis)
    return x


@operation(name="adaptive_max_pool")
def _adaptive_max(b: Builder, input: Value, wanted: _Numbers) -> tuple[Value, Value]:
    """Largest elements and their places, along one axis after the other from the last on: see `ops/window.py`."""
    rank, first = len(wanted), len(shape_of(input)) - len(wanted)
    best, place, inside = b.detach(input), b.const(0, TensorType(i64, shape_of(input))), 1
    for axis in range(len(shape_of(input)) - 1, first - 1, -1):
        size, count = shape_of(best)[axis], wanted[axis - first]
        if not isinstance(size, int):
            raise Unsupported(compose("adaptive pooling needs known sizes", f"found {size}"))
        place = b.add(place, b.mul(b.iota(type=TensorType(i64, shape_of(best)), axis=axis), inside))
        inside *= size
        bounds = _bounds(size, count)
        longest = max((end - start for start, end in bounds), default=1)
        shape = tuple(count if a == axis else n for a, n in enumerate(shape_of(best)))
        kept: tuple[Value, Value] | None = None
        for k in range(longest):  # a shorter window meets its last element again, which wins nothing
            at = b.const(np.array([min(start + k, end - 1) for start, end in bounds], np.int64), TensorType(i64, (count,)))
            at = b.broadcast_to(at, shape=shape, dims=(axis,))
            value, number = b.gather(best, at, axis=axis), b.gather(place, at, axis=axis)
            if kept is None:
                kept = value, number
            else:
                wins = b.or_(b.gt(value, kept[0]), b.ne(value, value))
                kept = b.select(wins, value, kept[0]), b.select(wins, number, kept[1])
        assert kept is not None
        best, place = kept
    return _picked(b, input, place, rank), place


def _pool_adaptive_max(rank: int, input: Any, output_size: Any, return_indices: bool) -> Any:
    found, places = _adaptive_max(input, _wanted(f"adaptive_max_pool{rank}d", rank, input, output_size))
    return (found, places) if return_indices else found


def adaptive_avg_pool1d(input: Any, output_size: int | Sequence[int]) -> Any:
    """Averages over `output_size` windows that cover the last dimension evenly."""
    return _adaptive_avg(input, _wanted("adaptive_avg_pool1d", 1, input, output_size))


def adaptive_avg_pool2d(input: Any, output_size: int | Sequence[int | None] | None) -> Any:
    """`adaptive_avg_pool1d` over the last two dimensions; None: as many as there are elements."""
    return _adaptive_avg(input, _wanted("adaptive_avg_pool2d", 2, input, output_size))


def adaptive_avg_pool3d(input: Any, output_size: int | Sequence[int | None] | None) -> Any:
    """`adaptive_avg_pool1d` over the last three dimensions; None: as many as there are elements."""
    return _adaptive_avg(input, _wanted("adaptive_avg_pool3d", 3, input, output_size))


def adaptive_max_pool1d(input: Any, output_size: int | Sequence[int], return_indices: bool = False) -> Any:
    """Largest elements of `output_size` windows that cover the last dimension evenly."""
    return _pool_adaptive_max(1, input, output_size, return_indices)


def adaptive_max_pool2d(input: Any, output_size: int | Sequence[int | None] | None, return_indices: bool = False) -> Any:
    """`adaptive_max_pool1d` over the last two dimensions; None: as many as there are elements."""
    return _pool_adaptive_max(2, input, output_size, return_indices)


def adaptive_max_pool3d(input: Any, output_size: int | Sequence[int | None] | None, return_indices: bool = False) -> Any:
    """`adaptive_max_pool1d` over the last three dimensions; None: as many as there are elements."""
    return _pool_adaptive_max(3, input, output_size, return_indices)
