"""Images in other sizes and at other places: interpolation, sampling on grids, pixels to channels and back."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from rustorch.errors import ArgumentError, ShapeError, Unsupported, compose
from rustorch.frontend.emit import Builder, TensorType, Value, convert, dtype_of, operation, reshape, shape_of
from rustorch.functional.pooling import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d, mixed
from rustorch.functional.words import known
from rustorch.ir.dims import product
from rustorch.ir.dtypes import i64

# --- Sizes ------------------------------------------------------------------------------------------------------------

Taps = tuple[tuple[Any, Any], ...]
"""Places along an axis and their weights, one pair of arrays for each neighbour that an output element has."""
_CUBIC = -0.75
"""Keys' parameter, as in PyTorch ("Cubic convolution interpolation for digital image processing", 1981)."""
_CUBIC_OF_AVERAGES = -0.5
"""That which PyTorch takes for averages."""


def _cubic(distance: Any, a: float = _CUBIC) -> Any:
    """Keys' kernel at distances from 0 to 2."""
    d = np.abs(distance)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def _sources(size: int, count: int, scale: float, align_corners: bool, clip: bool) -> Any:
    """Where the centres of output elements lie among the input's."""
    places = np.arange(count, dtype=np.float64)
    if align_corners:
        return places * ((size - 1) / (count - 1) if count > 1 else 0.0)
    found = (places + 0.5) * scale - 0.5
    return np.maximum(found, 0.0) if clip else found


def _taps(kind: str, size: int, count: int, scale: float, align_corners: bool) -> Taps:
    places = np.arange(count)
    if kind == "nearest":
        return ((np.minimum(np.floor(places * scale).astype(np.int64), size - 1), np.ones(count)),)
    if kind == "nearest-exact":
        return ((np.minimum(np.floor((places + 0.5) * scale).astype(np.int64), size - 1), np.ones(count)),)
    if kind == "linear":
        source = _sources(size, count, scale, align_corners, clip=True)
        low = np.minimum(np.floor(source).astype(np.int64), size - 1)
        share = np.clip(source - low, 0.0, 1.0)
        return ((low, 1 - share), (np.minimum(low + 1, size - 1), share))
    source = _sources(size, count, scale, align_corners, clip=False)
    low = np.floor(source).astype(np.int64)
    return tuple((np.clip(low + k, 0, size - 1), _cubic(source - low - k)) for k in (-1, 0, 1, 2))


def _smoothed(kind: str, size: int, count: int, scale: float, align_corners: bool) -> Any:
    """A matrix [size, count] whose columns are averages as wide as an output element: interpolation without aliases."""
    reach = {"linear": 1.0, "cubic": 2.0}[kind]
    step = ((size - 1) / (count - 1) if count > 1 else 0.0) if align_corners else scale
    wide = max(step, 1.0)
    matrix = np.zeros((size, count))
    for i in range(count):
        centre = step * i + 0.5 if align_corners else step * (i + 0.5)
        first, last = max(int(centre - reach * wide + 0.5), 0), min(int(centre + reach * wide + 0.5), size)
        at = (np.arange(first, last) - centre + 0.5) / wide
        row = np.maximum(1 - np.abs(at), 0) if kind == "linear" else _cubic(at, _CUBIC_OF_AVERAGES)
        matrix[first:last, i] = row / row.sum()
    return matrix


def _along(b: Builder, array: Any, like: TensorType, axis: int) -> Value:
    """An array along one axis, repeated to a shape."""
    one = b.const(array, TensorType(like.dtype, array.shape))
    spread: Value = b.broadcast_to(one, shape=like.shape, dims=(axis,))
    return spread


@operation(name="interpolate")
def _interpolate(
    b: Builder, input: Value, kind: str, sizes: tuple[int, ...], scales: tuple[float, ...], align_corners: bool, antialias: bool
) -> Value:
    """Each spatial axis for itself: elements at known places, times known weights."""
    x = input
    for axis, (count, scale) in enumerate(zip(sizes, scales, strict=True), 2):
        own = shape_of(x)
        size = int(known(own[axis]))
        shape = tuple(count if a == axis else s for a, s in enumerate(own))
        if antialias:
            x = mixed(b, x, _smoothed(kind, size, count, scale, align_corners), axis)
            continue
        total: Value | None = None
        for places, weights in _taps(kind, size, count, scale, align_corners):
            found = b.gather(x, _along(b, places, TensorType(i64, shape), axis), axis=axis)
            if (weights != 1).any():
                found = b.mul(found, _along(b, weights, TensorType(dtype_of(x), shape), axis))
            total = found if total is None else b.add(total, found)
        assert total is not None
        x = total
    return x


_MODES = {
    "nearest": ("nearest", (3, 4, 5)),
    "nearest-exact": ("nearest-exact", (3, 4, 5)),
    "linear": ("linear", (3,)),
    "bilinear": ("linear", (4,)),
    "trilinear": ("linear", (5,)),
    "bicubic": ("cubic", (4,)),
    "area": ("area", (3, 4, 5)),
}
_AREA = {3: adaptive_avg_pool1d, 4: adaptive_avg_pool2d, 5: adaptive_avg_pool3d}


def interpolate(
    input: Any,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Any:
    """The tensor [n, c, …] in another spatial size, given or as factors.

    `mode`: "nearest", "nearest-exact", "linear" (3-D), "bilinear", "bicubic" (4-D), "trilinear" (5-D) or "area". `align_corners`: the
    corners' centres, not their outer edges, lie on each other.
    """
    rank = len(input.shape)
    if mode not in _MODES:
        raise Unsupported(compose(f"interpolate: mode {mode!r} is not there", f"the modes are {', '.join(_MODES)}"))
    kind, ranks = _MODES[mode]
    if rank not in ranks:
        raise Unsupported(compose(f"Got {rank}D input, but {mode} mode needs {' or '.join(f'{r}D' for r in ranks)} input"))
    if align_corners is not None and kind in ("nearest", "nearest-exact", "area"):
        raise ArgumentError("align_corners option can only be set with the interpolating modes: linear | bilinear | bicubic | trilinear")
    if antialias and mode not in ("bilinear", "bicubic"):
        raise ArgumentError("Anti-alias option is restricted to bilinear and bicubic modes and requires a 4-D tensor as input")
    own = [int(s) for s in input.shape[2:]]
    if (size is None) == (scale_factor is None):
        raise ArgumentError(f"{'either' if size is None else 'only one of'} size or scale_factor should be defined")
    factors: list[float] | None = None
    if size is not None:
        sizes = [int(size)] * len(own) if isinstance(size, int) else [int(s) for s in size]
        given = len(sizes)
    else:
        factors = [float(scale_factor)] * len(own) if isinstance(scale_factor, (int, float)) else [float(f) for f in scale_factor or ()]
        given = len(factors)
        sizes = [math.floor(s * f) for s, f in zip(own, factors, strict=False)]
    if given != len(own):
        raise ShapeError(
            f"Input and output must have the same number of spatial dimensions, but got input with spatial dimensions of {own} and "
            f"output size of {sizes}."
        )
    if any(s <= 0 for s in sizes):
        raise ShapeError(f"Input and output sizes should be greater than 0, but got input (H, W): {own} output (H, W): {sizes}")
    if kind == "area":
        return _AREA[rank](input, tuple(sizes))
    exact = factors is not None and not recompute_scale_factor
    scales = tuple(1 / f for f in factors) if exact and factors else tuple(s / t for s, t in zip(own, sizes, strict=True))
    return _interpolate(input, kind, tuple(sizes), scales, bool(align_corners), antialias)


def upsample(
    input: Any, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None
) -> Any:
    """As `interpolate`."""
    warnings.warn("`nn.functional.upsample` is deprecated. Use `nn.functional.interpolate` instead.", stacklevel=2)
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input: Any, size: Any = None, scale_factor: Any = None) -> Any:
    """As `interpolate` with the nearest element."""
    return upsample(input, size, scale_factor, "nearest")


def upsample_bilinear(input: Any, size: Any = None, scale_factor: Any = None) -> Any:
    """As `interpolate`, bilinear, with corners on each other."""
    return upsample(input, size, scale_factor, "bilinear", align_corners=True)


# --- Grids ------------------------------------------------------------------------------------------------------------


def _unnormalized(b: Builder, x: Value, size: int, align_corners: bool) -> Value:
    """Coordinates from -1 to 1 as places 0 to size - 1 (between centres), or -1/2 to size - 1/2 (between edges)."""
    if align_corners:
        found: Value = b.mul(b.add(x, 1.0), (size - 1) / 2)
        return found
    edges: Value = b.mul(b.sub(b.mul(b.add(x, 1.0), float(size)), 1.0), 0.5)
    return edges


def _clipped(b: Builder, x: Value, size: int) -> Value:
    """Into 0 to size - 1; outside, the derivative is 0."""
    high = float(size - 1)
    raised = b.select(b.le(x, 0.0), b.const(0.0, x), x)
    found: Value = b.select(b.ge(raised, high), b.const(high, x), raised)
    return found


def _bounced(b: Builder, x: Value, low: float, span: float) -> Value:
    """Reflected at low and low + span, as often as it takes."""
    if span == 0:
        return b.const(0.0, x)
    distance = b.abs(b.sub(x, low))
    turns = b.floor(b.div(distance, span))
    rest = b.sub(distance, b.mul(turns, span))
    even = b.eq(b.sub(turns, b.mul(b.floor(b.mul(turns, 0.5)), 2.0)), 0.0)
    found: Value = b.select(even, b.add(rest, low), b.add(b.sub(span, rest), low))
    return found


def _inside(b: Builder, x: Value, size: int, padding_mode: str, align_corners: bool) -> Value:
    if padding_mode == "border":
        return _clipped(b, x, size)
    if padding_mode == "reflection":
        low, span = (0.0, float(size - 1)) if align_corners else (-0.5, float(size))
        return _clipped(b, _bounced(b, x, low, span), size)
    return x


def _elements(b: Builder, table: Value, places: Sequence[Value], sizes: Sequence[int]) -> Value:
    """Elements [n, c, o] of a table [n, c, i] at whole places (floats, [n, o] along each axis); 0 outside."""
    batch, channels, _ = shape_of(table)
    inside: Value | None = None
    flat: Value | None = None
    for place, size in zip(places, sizes, strict=True):
        here = b.and_(b.ge(place, 0.0), b.le(place, float(size - 1)))
        inside = here if inside is None else b.and_(inside, here)
        index = convert(b, b.select(here, place, b.const(0.0, place)), i64)
        flat = index if flat is None else b.add(b.mul(flat, size), index)
    assert inside is not None and flat is not None
    shape = (batch, channels, shape_of(flat)[1])
    found = b.gather(table, b.broadcast_to(flat, shape=shape, dims=(0, 2)), axis=2)
    kept: Value = b.select(b.broadcast_to(inside, shape=shape, dims=(0, 2)), found, b.const(0.0, found))
    return kept


@operation(name="grid_sample")
def _grid_sample(b: Builder, input: Value, grid: Value, mode: str, padding_mode: str, align_corners: bool) -> Value:
    """See `grid_sample`."""
    batch, channels, *sized = shape_of(input)
    sizes = [int(known(s)) for s in sized]
    rank, outside = len(sizes), shape_of(grid)[1:-1]
    many = product(outside)
    table = reshape(b, input, (batch, channels, product(tuple(sizes))))
    points = reshape(b, grid, (batch, many, rank))
    coordinates = []
    for k in range(rank):  # the grid's last axis names the last spatial axis first
        column = b.slice(points, starts=(0, 0, rank - 1 - k), limits=(batch, many, rank - k), strides=(1, 1, 1))
        coordinates.append(_unnormalized(b, reshape(b, column, (batch, many)), sizes[k], align_corners))
    if mode != "bicubic":
        coordinates = [_inside(b, x, s, padding_mode, align_corners) for x, s in zip(coordinates, sizes, strict=True)]
    if mode == "nearest":
        found = _elements(b, table, [b.round_even(x) for x in coordinates], sizes)
        return reshape(b, found, (batch, channels, *outside))
    low = [b.detach(b.floor(x)) for x in coordinates]
    steps = (0, 1) if mode == "bilinear" else (-1, 0, 1, 2)
    total: Value | None = None
    for corner in itertools.product(steps, repeat=rank):
        places, weight = [], None
        for x, floor, step, size in zip(coordinates, low, corner, sizes, strict=True):
            share = b.sub(x, floor)
            if mode == "bilinear":
                one = share if step else b.sub(1.0, share)
            else:
                one = _keys(b, b.sub(share, float(step)), far=step in (-1, 2))
            weight = one if weight is None else b.mul(weight, one)
            place = b.add(floor, float(step))
            places.append(_inside(b, place, size, padding_mode, align_corners) if mode == "bicubic" else place)
        element = _elements(b, table, places, sizes)
        assert weight is not None
        term = b.mul(element, b.broadcast_to(weight, shape=shape_of(element), dims=(0, 2)))
        total = term if total is None else b.add(total, term)
    assert total is not None
    return reshape(b, total, (batch, channels, *outside))


def _keys(b: Builder, distance: Value, far: bool) -> Value:
    """Keys' kernel: at distances up to 1, or from 1 to 2."""
    a, d = _CUBIC, b.abs(distance)
    if far:
        found: Value = b.sub(b.mul(b.add(b.mul(b.sub(b.mul(d, a), 5 * a), d), 8 * a), d), 4 * a)
        return found
    near: Value = b.add(b.mul(b.mul(b.sub(b.mul(d, a + 2), a + 3), d), d), 1.0)
    return near


def grid_sample(
    input: Any, grid: Any, mode: str = "bilinear", padding_mode: str = "zeros", align_corners: bool | None = None
) -> Any:
    """The input [n, c, h, w] at the points of a grid [n, h', w', 2] of (x, y) from -1 to 1; or [n, c, d, h, w] at (x, y, z).

    `mode`: "bilinear", "nearest", or "bicubic" (of 4-D inputs). `padding_mode` says what is outside: "zeros", the "border", or the
    "reflection" of the inside.
    """
    rank = len(input.shape) - 2
    if mode not in ("bilinear", "nearest", "bicubic"):
        raise ArgumentError(
            f"nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', but got: '{mode}'"
        )
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ArgumentError(
            f"nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or 'reflection', but got: '{padding_mode}'"
        )
    if rank not in (2, 3) or len(grid.shape) != rank + 2 or grid.shape[-1] != rank or grid.shape[0] != input.shape[0]:
        raise ShapeError(
            f"grid_sampler(): expected 4D or 5D input and grid with same number of dimensions, but got input with sizes "
            f"{list(input.shape)} and grid with sizes {list(grid.shape)}"
        )
    if mode == "bicubic" and rank != 2:
        raise ArgumentError("grid_sampler(): bicubic interpolation only supports 4D input")
    if align_corners is None:
        warnings.warn(
            "Default grid_sample and affine_grid behavior has changed to align_corners=False since 1.3.0. Please specify "
            "align_corners=True if the old behavior is desired. See the documentation of grid_sample for details.",
            stacklevel=2,
        )
    return _grid_sample(input, grid, mode, padding_mode, bool(align_corners))


@operation(name="affine_grid")
def _affine_grid(b: Builder, theta: Value, sizes: tuple[int, ...], align_corners: bool) -> Value:
    """The points of a grid from -1 to 1, mapped by an affine map each sample."""
    rank = len(sizes)
    dtype = dtype_of(theta)
    columns = []
    for k in reversed(range(rank)):
        size = sizes[k]
        line = np.linspace(-1, 1, size) if size > 1 else np.zeros(1)
        line = line if align_corners else line * (size - 1) / size
        columns.append(b.broadcast_to(b.const(line, TensorType(dtype, (size,))), shape=(*sizes, 1), dims=(k,)))
    columns.append(b.const(1.0, TensorType(dtype, (*sizes, 1))))
    points = reshape(b, b.concat(*columns, axis=rank), (product(sizes), rank + 1))
    mapped = b.dot_general(theta, points, contract=((2,), (1,)), batch=((), ()))  # [n, rank, points]
    turned = b.transpose(mapped, perm=(0, 2, 1))
    return reshape(b, turned, (shape_of(theta)[0], *sizes, rank))


def affine_grid(theta: Any, size: Sequence[int], align_corners: bool | None = None) -> Any:
    """The grid [n, h, w, 2] for `grid_sample` that affine maps [n, 2, 3] give for outputs of a size [n, c, h, w]; likewise in 3-D."""
    sizes = tuple(int(s) for s in size[2:])
    if len(sizes) not in (2, 3) or tuple(theta.shape) != (size[0], len(sizes), len(sizes) + 1):
        raise ShapeError(
            f"Expected a batch of {len(sizes)}D affine matrices of shape Nx{len(sizes)}x{len(sizes) + 1} for size {list(size)}. Got "
            f"{list(theta.shape)}."
        )
    return _affine_grid(theta, sizes, bool(align_corners))


# --- Pixels and channels ----------------------------------------------------------------------------------------------


@operation
def pixel_shuffle(b: Builder, input: Value, upscale_factor: int) -> Value:
    """[…, c r², h, w] as […, c, h r, w r]: Shi and others, 2016."""
    own, r = shape_of(input), upscale_factor
    if len(own) < 3 or r <= 0 or (isinstance(own[-3], int) and own[-3] % (r * r)):
        raise ShapeError(
            compose(
                "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of upscale_factor",
                f"found {list(own)} and the factor {r}",
            )
        )
    *lead, channels, height, width = own
    rank = len(lead)
    apart = reshape(b, input, (*lead, channels // (r * r), r, r, height, width))
    turned = b.transpose(apart, perm=(*range(rank), rank, rank + 3, rank + 1, rank + 4, rank + 2))
    return reshape(b, turned, (*lead, channels // (r * r), height * r, width * r))


@operation
def pixel_unshuffle(b: Builder, input: Value, downscale_factor: int) -> Value:
    """[…, c, h r, w r] as […, c r², h, w]."""
    own, r = shape_of(input), downscale_factor
    if len(own) < 3 or r <= 0 or any(isinstance(s, int) and s % r for s in own[-2:]):
        raise ShapeError(
            compose(
                "pixel_unshuffle expects height and width to be divisible by downscale_factor", f"found {list(own)} and the factor {r}"
            )
        )
    *lead, channels, height, width = own
    rank = len(lead)
    apart = reshape(b, input, (*lead, channels, height // r, r, width // r, r))
    turned = b.transpose(apart, perm=(*range(rank), rank, rank + 2, rank + 4, rank + 1, rank + 3))
    return reshape(b, turned, (*lead, channels * r * r, height // r, width // r))


@operation
def channel_shuffle(b: Builder, input: Value, groups: int) -> Value:
    """The channels of groups taken in turn."""
    own = shape_of(input)
    if len(own) < 3 or groups <= 0 or (isinstance(own[1], int) and own[1] % groups):
        raise ShapeError(compose("Number of channels must be divisible by groups", f"found {list(own)} and {groups} groups"))
    apart = reshape(b, input, (own[0], groups, own[1] // groups, *own[2:]))
    turned = b.transpose(apart, perm=(0, 2, 1, *range(3, len(own) + 1)))
    return reshape(b, turned, own)


__all__ = [
    "affine_grid", "channel_shuffle", "grid_sample", "interpolate", "pixel_shuffle", "pixel_unshuffle", "upsample",
    "upsample_bilinear", "upsample_nearest",
]  # fmt: skip
