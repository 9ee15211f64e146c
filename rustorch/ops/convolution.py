"""Convolution: sums of products over a window that moves along any number of axes.

One op serves the forward pass and both gradients, at every order: groups are an axis of their own, so that exchanging the
roles of image, kernel and result is a matter of transposes, which cost nothing. With space s of the image, k of the kernel and
i of the result, along each axis,

    result[n, g, o, i] = sum over c and k of lhs[n, g, c, s] * rhs[g, o, c, k],    spread * s = stride * i + dilation * k - low

where a term counts if such an s exists inside the image: `low` (and `high`, which only bounds i) are zeros around it, `spread - 1`
zeros lie between its elements. The equation is linear in each operand and symmetric enough to be solved for any of the three
places: for s it is a convolution of the cotangent by the kernel (stride and spread exchanged), for k one of the image by the
cotangent (stride and dilation exchanged).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product as every
from typing import Any

import numpy as np

from rustorch.errors import ArgumentError, DTypeError, ShapeError, Unsupported, compose
from rustorch.ir.builder import Builder
from rustorch.ir.dims import Size
from rustorch.ir.dtypes import NUMBERS, bool_, f32, f64, i64
from rustorch.ir.graph import Value
from rustorch.ir.op import Multilinear, Nest, Refusal, Sample
from rustorch.ir.types import DType, TensorType, Type, element
from rustorch.ops.family import Array, Domain, Shape, contraction, not_taken, shape_of, tensor
from rustorch.ops.movement import spaced

LEADING = 3
"""Axes before the space: batch, group and channel of an image; group, feature and channel of a kernel."""


def result_size(size: Size, taps: Size, stride: int, low: Size, high: Size, spread: int, dilation: int) -> Size:
    """The number of places that a kernel of `taps` elements has along an axis of `size`."""
    return ((size - 1) * spread + low + high - (taps - 1) * dilation) // stride + 1


def _result_type(
    lhs: Type,
    rhs: Type,
    *,
    stride: tuple[int, ...],
    low: Shape,
    high: Shape,
    spread: tuple[int, ...],
    dilation: tuple[int, ...],
    features_first: bool,
) -> TensorType:
    image, kernel = tensor("conv_general", lhs), tensor("conv_general", rhs)
    if image.dtype is not kernel.dtype:
        raise DTypeError(
            compose("conv_general: the operands' element types differ", f"found {lhs} and {rhs}", todo="convert them to one type first")
        )
    if image.dtype not in NUMBERS:
        raise DTypeError(not_taken("conv_general", lhs, NUMBERS))
    if image.rank != kernel.rank or image.rank <= LEADING:
        raise ShapeError(
            compose("conv_general takes an image [batch, groups, channels, …] and a kernel [groups, features, channels, …] of one rank",
                    f"found {lhs} and {rhs}", todo=f"give both {LEADING} axes and at least one of space")
        )  # fmt: skip
    rank = image.rank - LEADING
    for name, values in (("stride", stride), ("low", low), ("high", high), ("spread", spread), ("dilation", dilation)):
        if len(values) != rank:
            raise ArgumentError(compose(f"conv_general: `{name}` has an entry for each axis of space", f"found {list(values)} for {lhs}"))
    for name, steps in (("stride", stride), ("spread", spread), ("dilation", dilation)):
        if min(steps) < 1:
            raise ArgumentError(compose(f"conv_general: `{name}` must be positive", f"found {list(steps)}"))
    batch, groups, channels, *size = image.shape
    if (groups, channels) != (kernel.shape[0], kernel.shape[2]):
        raise ShapeError(compose("conv_general: image and kernel must have the same groups and channels", f"found {lhs} and {rhs}"))
    features, taps = kernel.shape[1], kernel.shape[LEADING:]
    places = tuple(map(result_size, size, taps, stride, low, high, spread, dilation))
    if any(isinstance(count, int) and count < 1 for count in (*size, *taps, *places)):
        found = f"found {lhs} and {rhs}, which leaves {list(places)} places"
        raise ShapeError(compose("conv_general: the kernel must fit into the padded image", found))
    return image.with_shape((groups, features, batch, *places) if features_first else (batch, groups, features, *places))


# --- The definition ---------------------------------------------------------------------------------------------------


def _extended(x: Array, low: Sequence[int], high: Sequence[int], spread: Sequence[int]) -> Array:
    """The image with zeros between and around its elements; where `low` or `high` is negative, elements are cut off."""
    apart = [(size - 1) * step + 1 for size, step in zip(x.shape[LEADING:], spread, strict=True)]
    whole = np.zeros((*x.shape[:LEADING], *(max(lo, 0) + n + max(hi, 0) for lo, n, hi in zip(low, apart, high, strict=True))), x.dtype)
    inside: list[Any] = [slice(max(lo, 0), max(lo, 0) + n, step) for lo, n, step in zip(low, apart, spread, strict=True)]
    whole[..., *inside] = x
    kept: list[Any] = [slice(max(-lo, 0), n - max(-hi, 0)) for lo, n, hi in zip(low, whole.shape[LEADING:], high, strict=True)]
    return np.asarray(whole[..., *kept])


def _convolution(
    lhs: Array,
    rhs: Array,
    stride: Sequence[int],
    low: Sequence[int],
    high: Sequence[int],
    spread: Sequence[int],
    dilation: Sequence[int],
    features_first: bool,
) -> Array:
    """By a loop over the kernel's elements or over the places, whichever are fewer; f32 is summed in f64."""
    wide = np.dtype(np.float64) if lhs.dtype.kind == "f" else lhs.dtype
    x, w = _extended(lhs, low, high, spread).astype(wide), rhs.astype(wide)
    taps, extent = w.shape[LEADING:], x.shape[LEADING:]
    places = tuple((n - (k - 1) * d - 1) // s + 1 for n, k, d, s in zip(extent, taps, dilation, stride, strict=True))
    batch, groups, channels = x.shape[:LEADING]
    features = w.shape[1]
    total = np.zeros((batch, groups, features, *places), wide)

    def window(starts: Sequence[int], counts: Sequence[int], steps: Sequence[int]) -> Array:
        picks: list[Any] = [slice(at, at + (n - 1) * step + 1, step) for at, n, step in zip(starts, counts, steps, strict=True)]
        return np.asarray(x[..., *picks])

    if np.prod(taps) <= np.prod(places):
        for tap in np.ndindex(*taps):
            seen = window([t * d for t, d in zip(tap, dilation, strict=True)], places, stride)
            pixels = seen.reshape(batch, groups, channels, int(np.prod(places)))
            total += np.matmul(w[..., *tap], pixels).reshape(total.shape)
    else:
        length = channels * int(np.prod(taps))
        matrix = w.reshape(groups, features, length).transpose(0, 2, 1)
        for place in np.ndindex(*places):
            seen = window([p * s for p, s in zip(place, stride, strict=True)], taps, dilation)
            total[..., *place] = np.matmul(seen.reshape(batch, groups, 1, length), matrix)[:, :, 0]
    result = total.transpose(1, 2, 0, *range(LEADING, total.ndim)) if features_first else total
    return np.ascontiguousarray(result).astype(lhs.dtype)


def known(count: Size) -> int:
    """A size of a window that is walked element by element."""
    if not isinstance(count, int):
        raise Unsupported(compose("a window must have a known size here", f"found {count}"))
    return count


def _of_integers(b: Builder, lhs: Value, rhs: Value, **attrs: Any) -> Value | None:
    """Integers are convolved by one matrix product for each element of the kernel; floats have code of their own."""
    if element(lhs.type).is_floating_point:
        return None
    (batch, groups, channels, *size), taps = shape_of(lhs), shape_of(rhs)[LEADING:]
    rank = len(size)
    x, still = lhs, (0,) * LEADING
    extent: list[Size] = []
    for axis, (n, step) in enumerate(zip(size, attrs["spread"], strict=True)):
        extent.append((n - 1) * step + 1)
        x = spaced(b, x, axis + LEADING, step, extent[-1]) if step > 1 else x
    low, high = attrs["low"], attrs["high"]
    x = b.pad(x, low=(*still, *(max(lo, 0) for lo in low)), high=(*still, *(max(hi, 0) for hi in high)), value=0)
    places = tuple(map(result_size, size, taps, attrs["stride"], low, high, attrs["spread"], attrs["dilation"]))
    found: Value | None = None
    for tap in every(*(range(known(count)) for count in taps)):
        starts = [max(-lo, 0) + t * d for lo, t, d in zip(low, tap, attrs["dilation"], strict=True)]
        limits = [at + (count - 1) * step + 1 for at, count, step in zip(starts, places, attrs["stride"], strict=True)]
        seen = b.slice(
            x, starts=(*still, *starts), limits=(batch, groups, channels, *limits), strides=(1,) * LEADING + tuple(attrs["stride"])
        )
        weights = b.slice(
            rhs, starts=(*still, *tap), limits=(*shape_of(rhs)[:LEADING], *(t + 1 for t in tap)), strides=(1,) * (LEADING + rank)
        )
        matrix = b.reshape(weights, shape=shape_of(rhs)[:LEADING])
        product = b.dot_general(matrix, seen, contract=((2,), (2,)), batch=((0,), (1,)))
        found = product if found is None else b.add(found, product)
    if not attrs["features_first"]:
        assert found is not None
        found = b.transpose(found, perm=_order(found, 2, 0, 1))
    return found


# --- Derivatives and batches ------------------------------------------------------------------------------------------


def _order(x: Value, *leading: int) -> tuple[int, ...]:
    """A permutation of the leading axes."""
    return (*leading, *range(LEADING, len(shape_of(x))))


def _flipped(b: Builder, kernel: Value) -> Value:
    """[groups, features, channels, …] with features and channels exchanged and the space reversed."""
    turned: Value = b.transpose(b.flip(kernel, axes=tuple(range(LEADING, len(shape_of(kernel))))), perm=_order(kernel, 0, 2, 1))
    return turned


def _back_to_image(
    b: Builder, image: Value, kernel: Value, size: Shape, stride: Sequence[int], low: Shape, spread: Sequence[int], dilation: Sequence[int]
) -> Value:
    """Solved for s: spread * s = stride * i - dilation * k' + (…), with k' = taps - 1 - k, for s = 0 … size - 1."""
    count, taps = shape_of(image)[LEADING:], shape_of(kernel)[LEADING:]
    before = tuple((k - 1) * d - lo for k, d, lo in zip(taps, dilation, low, strict=True))
    behind = tuple(
        (s - 1) * p + (k - 1) * d - lo - (n - 1) * t
        for s, p, k, d, lo, n, t in zip(size, spread, taps, dilation, before, count, stride, strict=True)
    )
    found: Value = b.conv_general(
        image, _flipped(b, kernel), stride=tuple(spread), low=before, high=behind, spread=tuple(stride), dilation=tuple(dilation),
        features_first=False,
    )  # fmt: skip
    return found


def _image_cotangent(b: Builder, ct: Value, lhs: Value, rhs: Value, **attrs: Any) -> Value:
    stride, low, spread, dilation = (attrs[name] for name in ("stride", "low", "spread", "dilation"))
    size = shape_of(lhs)[LEADING:]
    if not attrs["features_first"]:
        return _back_to_image(b, ct, rhs, size, stride, low, spread, dilation)
    # The result has few places and the kernel many elements: they are exchanged.
    image = b.transpose(rhs, perm=_order(rhs, 2, 0, 1))
    found = _back_to_image(b, image, ct, size, dilation, low, spread, stride)
    restored: Value = b.transpose(found, perm=_order(found, 2, 1, 0))
    return restored


def _kernel_cotangent(b: Builder, ct: Value, lhs: Value, rhs: Value, **attrs: Any) -> Value:
    stride, low, spread, dilation = (attrs[name] for name in ("stride", "low", "spread", "dilation"))
    backward = attrs["features_first"]
    kernel = ct if backward else b.transpose(ct, perm=_order(ct, 1, 2, 0))
    size, count, taps = (shape_of(x)[LEADING:] for x in (lhs, kernel, rhs))
    high = tuple(
        (k - 1) * d + (n - 1) * t - lo - (s - 1) * p
        for k, d, n, t, lo, s, p in zip(taps, dilation, count, stride, low, size, spread, strict=True)
    )
    found = b.conv_general(
        b.transpose(lhs, perm=_order(lhs, 2, 1, 0)), kernel, stride=dilation, low=low, high=high, spread=spread, dilation=stride,
        features_first=not backward,
    )  # fmt: skip
    restored: Value = b.transpose(found, perm=_order(found, 1, 2, 0)) if backward else found
    return restored


def _batch_convolution(b: Builder, operands: Sequence[Value], batched: Sequence[bool], attrs: dict[str, Any]) -> Value:
    """A batch of images joins the batch, one of kernels the features, one of both the groups."""
    lhs, rhs = operands
    image, kernel = shape_of(lhs)[batched[0] :], shape_of(rhs)[batched[1] :]
    many = shape_of(lhs if batched[0] else rhs)[0]
    if all(batched):  # [many, n, g, …] → [n, many * g, …]
        front = b.transpose(lhs, perm=(1, 0, *range(2, len(image) + 1)))
        lhs = b.reshape(front, shape=(image[0], many * image[1], *image[2:]))
        rhs = b.reshape(rhs, shape=(many * kernel[0], *kernel[1:]))
        joined = "groups"
    elif batched[0]:
        lhs = b.reshape(lhs, shape=(many * image[0], *image[1:]))
        joined = "batch"
    else:
        front = b.transpose(rhs, perm=(1, 0, *range(2, len(kernel) + 1)))
        rhs = b.reshape(front, shape=(kernel[0], many * kernel[1], *kernel[2:]))
        joined = "features"
    found = b.conv_general(lhs, rhs, **attrs)
    order = ("groups", "features", "batch") if attrs["features_first"] else ("batch", "groups", "features")
    axis, shape = order.index(joined), shape_of(found)
    inner = {"groups": image[1], "batch": image[0], "features": kernel[1]}[joined]
    apart = b.reshape(found, shape=(*shape[:axis], many, inner, *shape[axis + 1 :]))
    restored: Value = b.transpose(apart, perm=(axis, *(a for a in range(len(shape) + 1) if a != axis)))
    return restored


# --- The record -------------------------------------------------------------------------------------------------------


def _attributes(rank: int, **given: Any) -> dict[str, Any]:
    attrs = {"stride": (1,) * rank, "low": (0,) * rank, "high": (0,) * rank, "spread": (1,) * rank, "dilation": (1,) * rank}
    return {**attrs, "features_first": False, **given}


_draw = Domain(-2, 2).drawn


def _sample(label: str, lhs: tuple[int, ...], rhs: tuple[int, ...], dtype: DType = f64, **given: Any) -> Sample:
    return Sample(_draw(lhs, rhs, dtype=dtype), _attributes(len(lhs) - LEADING, **given), dtype is f64, label)


_IMAGE, _KERNEL = f32[2, 1, 3, 5, 5], f32[1, 4, 3, 3, 3]

conv_general = contraction(
    "conv_general",
    "Sum over channels c and kernel elements k of lhs[n, g, c, s] · rhs[g, o, c, k], where spread · s = stride · i + dilation · k − low "
    "along each axis of space; s outside lhs counts zero. The result's axes: batch n, group g, feature o, place i; with "
    "`features_first`: g, o, n, i.",
    infer=_result_type,
    reference=_convolution,
    derivative=Multilinear((_image_cotangent, _kernel_cotangent)),
    batch=_batch_convolution,
    lower=Nest("conv_general"),
    expand=_of_integers,
    attributes=("stride", "low", "high", "spread", "dilation", "features_first"),
    samples=(
        *(_sample(f"{d} image", (2, 1, 3, 5, 6), (1, 4, 3, 3, 2), d, low=(1, 0), high=(1, 1)) for d in NUMBERS),
        *(_sample(f"{d} features first", (3, 1, 2, 5, 5), (1, 4, 2, 3, 3), d, features_first=True) for d in NUMBERS),
        _sample("one axis", (1, 1, 2, 9), (1, 3, 2, 4)),
        _sample("three axes", (1, 1, 2, 4, 3, 5), (1, 2, 2, 2, 3, 2), low=(1, 1, 0), high=(0, 1, 1)),
        _sample("stride and dilation", (2, 1, 2, 9, 8), (1, 3, 2, 3, 2), stride=(2, 3), dilation=(2, 1), low=(1, 2), high=(2, 1)),
        _sample("spread", (2, 1, 2, 4, 3), (1, 3, 2, 3, 3), spread=(2, 3), low=(2, 1), high=(2, 3)),
        _sample("spread and stride", (1, 1, 2, 4, 5), (1, 2, 2, 2, 3), spread=(3, 2), stride=(2, 3), dilation=(1, 2), low=(1, 0),
                high=(2, 2)),
        _sample("everything, features first", (3, 2, 2, 6, 5), (2, 2, 2, 3, 2), stride=(2, 1), spread=(2, 1), dilation=(1, 2), low=(2, 1),
                high=(1, 0), features_first=True),
        _sample("cut", (1, 1, 1, 7, 6), (1, 1, 1, 2, 2), low=(-1, 1), high=(-2, -1)),
        _sample("groups", (2, 3, 2, 4, 4), (3, 2, 2, 3, 3)),
        _sample("a group a channel", (1, 5, 1, 4, 4), (5, 1, 1, 3, 3), low=(1, 1), high=(1, 1)),
        _sample("one element", (2, 1, 3, 4, 5), (1, 4, 3, 1, 1)),
        _sample("the whole image", (2, 1, 3, 4, 5), (1, 4, 3, 4, 5)),
        _sample("size 1", (1, 1, 1, 1), (1, 1, 1, 1)),
        _sample("no batch", (0, 1, 3, 4), (1, 2, 3, 2)),
        _sample("no channels", (2, 1, 0, 4), (1, 2, 0, 2)),
        _sample("larger than a tile", (2, 1, 37, 9, 11), (1, 19, 37, 3, 3), f32, low=(1, 1), high=(1, 1)),
        _sample("larger than a tile, features first", (37, 1, 2, 9, 11), (1, 35, 2, 9, 11), f32, low=(1, 1), high=(1, 1),
                features_first=True),
        _sample("stride 2, larger", (2, 1, 5, 21, 40), (1, 13, 5, 3, 3), f32, low=(1, 1), high=(1, 1), stride=(2, 2)),
    ),
    errors=(
        Refusal((_IMAGE, f32[1, 4, 2, 3, 3]), _attributes(2), ShapeError, "same groups and channels"),
        Refusal((_IMAGE, f32[2, 4, 3, 3, 3]), _attributes(2), ShapeError, "same groups and channels"),
        Refusal((_IMAGE, f64[1, 4, 3, 3, 3]), _attributes(2), DTypeError, "element types differ"),
        Refusal((bool_[1, 1, 1, 3], bool_[1, 1, 1, 2]), _attributes(1), DTypeError, "does not take element type"),
        Refusal((_IMAGE, f32[1, 4, 3, 3]), _attributes(2), ShapeError, "of one rank"),
        Refusal((i64[2, 3, 4], i64[2, 3, 4]), _attributes(0), ShapeError, "of one rank"),
        Refusal((_IMAGE, _KERNEL), _attributes(1), ArgumentError, "an entry for each axis"),
        Refusal((_IMAGE, _KERNEL), _attributes(2, stride=(0, 1)), ArgumentError, "must be positive"),
        Refusal((_IMAGE, f32[1, 4, 3, 6, 3]), _attributes(2), ShapeError, "must fit into the padded image"),
    ),
    why="conv1d, conv2d, conv3d and their transposed relatives are compositions of it",
)
