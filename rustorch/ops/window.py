"""Windows that move over the last axes: their sums, their maxima, and where these stand.

A window of `window` elements, `dilation` apart, stands at places `stride` apart; `low` and `high` elements that count for nothing
lie around the operand (a negative number takes elements away), and for sums `spread - 1` zeros between its elements. So along
each axis, with i the place and k the element of the window,

    y[i] = sum over k of x[s],    spread * s = stride * i + dilation * k - low

as in a convolution by ones. The ops are defined axis by axis: a window's sum is the sum of sums along the last axis.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from rustorch.errors import ArgumentError, DTypeError, ShapeError, compose
from rustorch.ir.builder import Builder
from rustorch.ir.dims import Size, product
from rustorch.ir.dtypes import NUMBERS, bool_, f32, f64, i32, i64
from rustorch.ir.graph import Value
from rustorch.ir.op import Internal, Linear, Never, Refusal, Rules, Sample, Zero
from rustorch.ir.types import DType, TensorType, Type, element
from rustorch.ops.convolution import result_size
from rustorch.ops.family import Array, Domain, Shape, batch_in_front, general, not_taken, shape_of, tensor
from rustorch.ops.movement import spaced

Combine = Callable[[Builder, tuple[Value, ...], tuple[Value, ...]], tuple[Value, ...]]
"""Of what is known of two neighbouring parts of a window, in order: what is known of both."""

LONG = 12
"""Windows of more elements are put together from halves."""


def _window_type(name: str, result: DType | None = None) -> Any:
    def infer(
        x: Type,
        *,
        window: tuple[int, ...],
        stride: tuple[int, ...],
        low: Shape,
        high: Shape,
        dilation: tuple[int, ...],
        spread: tuple[int, ...] | None = None,
    ) -> TensorType:
        type_ = tensor(name, x)
        if type_.dtype not in NUMBERS:
            raise DTypeError(not_taken(name, x, NUMBERS))
        rank = len(window)
        between = (1,) * rank if spread is None else spread
        for key, values in (("stride", stride), ("low", low), ("high", high), ("dilation", dilation), ("spread", between)):
            if len(values) != rank:
                raise ArgumentError(compose(f"{name}: `{key}` has an entry for each axis of the window", f"found {list(values)}"))
        if rank > type_.rank or rank == 0:
            raise ShapeError(compose(f"{name}: the window has from 1 to as many axes as the operand", f"found {list(window)} for {x}"))
        for key, values in (("window", window), ("stride", stride), ("dilation", dilation), ("spread", between)):
            if min(values) < 1:
                raise ArgumentError(compose(f"{name}: `{key}` must be positive", f"found {list(values)}"))
        places = tuple(map(result_size, type_.shape[-rank:], window, stride, low, high, between, dilation))
        if any(isinstance(count, int) and count < 1 for count in places):
            raise ShapeError(compose(f"{name}: the window must fit into the padded operand", f"found {list(window)} for {x}"))
        return TensorType(result or type_.dtype, (*type_.shape[: type_.rank - rank], *places))

    return infer


# --- The definitions by other ops -------------------------------------------------------------------------------------


def _along(b: Builder, x: Value, axis: int, start: Size, count: Size, step: int) -> Value:
    """`count` elements along one axis, every `step`-th from `start` on."""
    shape = shape_of(x)
    starts = tuple(start if a == axis else 0 for a in range(len(shape)))
    limits = tuple(start + (count - 1) * step + 1 if a == axis else size for a, size in enumerate(shape))
    part: Value = b.slice(x, starts=starts, limits=limits, strides=tuple(step if a == axis else 1 for a in range(len(shape))))
    return part


def _padded(b: Builder, x: Value, axis: int, low: Size, high: Size, value: int | float) -> Value:
    """Elements added around one axis, or taken away where the numbers are negative."""
    before, behind = (max(n, 0) if isinstance(n, int) else n for n in (low, high))
    rank = len(shape_of(x))
    if before != 0 or behind != 0:
        sides = [tuple(n if a == axis else 0 for a in range(rank)) for n in (before, behind)]
        x = b.pad(x, low=sides[0], high=sides[1], value=value)
    cut = before - low
    if cut != 0 or (isinstance(high, int) and high < 0):
        x = _along(b, x, axis, cut, shape_of(x)[axis] - cut - (behind - high), 1)
    return x


def _windows(
    b: Builder, parts: tuple[Value, ...], axis: int, count: int, apart: int, stride: int, places: Size, combine: Combine
) -> tuple[Value, ...]:
    """What `combine` makes of each window of `count` elements along an axis.

    Short windows one element after the other; long ones from windows of 1, 2, 4 … elements at every place, as the binary
    digits of `count` say, the largest first.
    """

    def seen(values: tuple[Value, ...], start: int, many: Size, step: int) -> tuple[Value, ...]:
        return tuple(_along(b, v, axis, start, many, step) for v in values)

    if count <= LONG:
        found = seen(parts, 0, places, stride)
        for k in range(1, count):
            found = combine(b, found, seen(parts, k * apart, places, stride))
        return found
    powers, length = [parts], 1
    while 2 * length <= count:
        many = shape_of(powers[-1][0])[axis] - length * apart
        powers.append(combine(b, seen(powers[-1], 0, many, 1), seen(powers[-1], length * apart, many, 1)))
        length *= 2
    found, start = seen(powers.pop(), 0, places, stride), length
    while powers:
        length //= 2
        power = powers.pop()
        if start + length <= count:
            found = combine(b, found, seen(power, start * apart, places, stride))
            start += length
    return found


def _axes(x: Value, attrs: dict[str, Any]) -> list[tuple[int, int, int, Size, Size, int, int]]:
    """Axis, window, stride, low, high, dilation and spread, from the last axis to the first."""
    rank, first = len(attrs["window"]), len(shape_of(x)) - len(attrs["window"])
    spread = attrs.get("spread", (1,) * rank)
    columns = zip(range(first, first + rank), attrs["window"], attrs["stride"], attrs["low"], attrs["high"], attrs["dilation"], spread,
                  strict=True)  # fmt: skip
    return list(columns)[::-1]


def _add(b: Builder, left: tuple[Value, ...], right: tuple[Value, ...]) -> tuple[Value, ...]:
    return (b.add(left[0], right[0]),)


def _largest(b: Builder, left: tuple[Value, ...], right: tuple[Value, ...]) -> tuple[Value, ...]:
    return (b.maximum(left[0], right[0]),)


def _first_largest(b: Builder, left: tuple[Value, ...], right: tuple[Value, ...]) -> tuple[Value, ...]:
    """Value and place: the first of the largest, but the last NaN (PyTorch's rule)."""
    wins = b.or_(b.gt(right[0], left[0]), b.ne(right[0], right[0]))
    return tuple(b.select(wins, theirs, own) for own, theirs in zip(left, right, strict=True))


def _sum_expanded(b: Builder, x: Value, **attrs: Any) -> Value:
    for axis, window, stride, low, high, dilation, spread in _axes(x, attrs):
        size = shape_of(x)[axis]
        places = result_size(size, window, stride, low, high, spread, dilation)
        if spread == window and stride == dilation == 1:
            # No two windows meet an element: each is repeated. Element s is seen from places s · window + low - window + 1 on.
            x = _repeated(b, x, axis, window)
            before = low - window + 1
            x = _padded(b, x, axis, before, places - size * window - before, 0)
            continue
        if spread > 1:
            x = spaced(b, x, axis, spread, (size - 1) * spread + 1)
        if window == size and spread == 1 and low == 0 and dilation == 1 and places == 1:
            x = b.reshape(b.reduce_sum(x, axes=(axis,)), shape=tuple(1 if a == axis else n for a, n in enumerate(shape_of(x))))
            continue
        (x,) = _windows(b, (_padded(b, x, axis, low, high, 0),), axis, window, dilation, stride, places, _add)
    return x


def _repeated(b: Builder, x: Value, axis: int, times: int) -> Value:
    """Each element `times` times along an axis."""
    shape = shape_of(x)
    dims = tuple(a + (a > axis) for a in range(len(shape)))
    wide = b.broadcast_to(x, shape=(*shape[: axis + 1], times, *shape[axis + 1 :]), dims=dims)
    joined: Value = b.reshape(wide, shape=(*shape[:axis], shape[axis] * times, *shape[axis + 1 :]))
    return joined


def _least(dtype: DType) -> int | float:
    return -math.inf if dtype.is_floating_point else int(np.iinfo(dtype.numpy).min)


def _max_expanded(b: Builder, x: Value, **attrs: Any) -> Value:
    least = _least(element(x.type))
    for axis, window, stride, low, high, dilation, _ in _axes(x, attrs):
        size = shape_of(x)[axis]
        places = result_size(size, window, stride, low, high, 1, dilation)
        if window == size and low == 0 and dilation == 1 and places == 1:
            x = b.reshape(b.reduce_max(x, axes=(axis,)), shape=tuple(1 if a == axis else n for a, n in enumerate(shape_of(x))))
            continue
        (x,) = _windows(b, (_padded(b, x, axis, low, high, least),), axis, window, dilation, stride, places, _largest)
    return x


def _place_expanded(b: Builder, x: Value, **attrs: Any) -> Value:
    """Places are counted along the last axis first; each further axis adds its own. Padding never wins, not even over -inf."""
    least = _least(element(x.type))
    area = product(shape_of(x)[-len(attrs["window"]) :])
    counts = i32 if isinstance(area, int) and area < 2**31 else i64
    best, place = x, None
    inside: Size = 1
    for axis, window, stride, low, high, dilation, _ in _axes(x, attrs):
        size = shape_of(best)[axis]
        places = result_size(size, window, stride, low, high, 1, dilation)
        own = b.mul(b.iota(type=TensorType(counts, shape_of(best)), axis=axis), inside)
        place = own if place is None else b.add(place, own)
        if low == 0 and isinstance(high, int) and high <= 0:
            parts = (best, place)
        else:
            parts = (_padded(b, best, axis, low, high, least), _padded(b, place, axis, low, high, -1))
        best, place = _windows(b, parts, axis, window, dilation, stride, places, _first_inside if low != 0 else _first_largest)
        inside = inside * size
    assert place is not None
    found: Value = b.convert(place, dtype=i64) if counts is not i64 else place
    return found


def _first_inside(b: Builder, left: tuple[Value, ...], right: tuple[Value, ...]) -> tuple[Value, ...]:
    """`_first_largest`, where the left may be padding only, of place -1: it gives way to anything."""
    wins = b.or_(b.or_(b.gt(right[0], left[0]), b.ne(right[0], right[0])), b.lt(left[1], 0))
    return tuple(b.select(wins, theirs, own) for own, theirs in zip(left, right, strict=True))


# --- References -------------------------------------------------------------------------------------------------------


def _walk(x: Array, fill: int | float, attrs: dict[str, Any]) -> list[Array]:
    """For each element of the window, in order, the operand's elements that it meets at all places; `fill` around them."""
    rank = len(attrs["window"])
    spread = attrs.get("spread", (1,) * rank)
    lead = [(0, 0)] * (x.ndim - rank)
    apart = [(n - 1) * s + 1 for n, s in zip(x.shape[-rank:], spread, strict=True)]
    wide = np.full((*x.shape[: x.ndim - rank], *apart), fill, x.dtype)
    steps: list[Any] = [slice(None, None, s) for s in spread]
    wide[..., *steps] = x
    around = [(max(lo, 0), max(hi, 0)) for lo, hi in zip(attrs["low"], attrs["high"], strict=True)]
    wide = np.pad(wide, [*lead, *around], constant_values=fill)
    sides = zip(attrs["low"], attrs["high"], wide.shape[-rank:], strict=True)
    cut: list[Any] = [slice(max(-lo, 0), n - max(-hi, 0)) for lo, hi, n in sides]
    wide = wide[..., *cut]
    reach = [(w - 1) * d for w, d in zip(attrs["window"], attrs["dilation"], strict=True)]
    places = [(n - r - 1) // s + 1 for n, r, s in zip(wide.shape[-rank:], reach, attrs["stride"], strict=True)]
    found = []
    for tap in np.ndindex(*attrs["window"]):
        picks: list[Any] = [
            slice(t * d, t * d + (n - 1) * s + 1, s) for t, d, n, s in zip(tap, attrs["dilation"], places, attrs["stride"], strict=True)
        ]
        found.append(wide[..., *picks])
    return found


def _sum_reference(x: Array, **attrs: Any) -> Array:
    wide = x.astype(np.float64) if x.dtype.kind == "f" else x
    return np.asarray(sum(_walk(wide, 0, attrs)[1:], _walk(wide, 0, attrs)[0])).astype(x.dtype)


def _max_reference(x: Array, **attrs: Any) -> Array:
    return np.asarray(np.maximum.reduce(_walk(x, -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min, attrs)))


def _place_reference(x: Array, **attrs: Any) -> Array:
    space = x.shape[x.ndim - len(attrs["window"]) :]
    numbers = np.broadcast_to(np.arange(int(np.prod(space))).reshape(space), x.shape)
    values = _walk(x, -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min, attrs)
    best: Array = np.array(values[0])
    place: Array = np.full(best.shape, -1)
    for value, number in zip(values, _walk(numbers, -1, attrs), strict=True):
        wins = (number >= 0) & ((place < 0) | (value > best) | (value != value))
        best, place = np.where(wins, value, best), np.where(wins, number, place)
    return place


# --- Derivatives ------------------------------------------------------------------------------------------------------


def _sum_transpose(b: Builder, ct: Value, x: Value, **attrs: Any) -> Value:
    """The windows that an element is in: a sum over the cotangent, with stride and spread exchanged."""
    rank = len(attrs["window"])
    size, count = shape_of(x)[-rank:], shape_of(ct)[-rank:]
    reach = [(w - 1) * d for w, d in zip(attrs["window"], attrs["dilation"], strict=True)]
    before = tuple(r - lo for r, lo in zip(reach, attrs["low"], strict=True))
    behind = tuple(
        (s - 1) * p + r - lo - (n - 1) * t
        for s, p, r, lo, n, t in zip(size, attrs["spread"], reach, before, count, attrs["stride"], strict=True)
    )
    found: Value = b.window_sum(
        ct, window=attrs["window"], stride=attrs["spread"], low=before, high=behind, dilation=attrs["dilation"], spread=attrs["stride"]
    )
    return found


def _flat(b: Builder, x: Value, rank: int) -> Value:
    shape = shape_of(x)
    flat: Value = b.reshape(x, shape=(*shape[: len(shape) - rank], product(shape[len(shape) - rank :])))
    return flat


def _max_jvp(b: Builder, operands: Any, tangents: Any, results: Any, attrs: Any) -> list[Value | None]:
    (x,), (t,), (y,) = operands, tangents, results
    if t is None:
        return [None]
    rank = len(attrs["window"])
    picked = b.gather(_flat(b, t, rank), _flat(b, b.window_place(x, **attrs), rank), axis=len(shape_of(x)) - rank)
    return [b.reshape(picked, shape=shape_of(y))]


def _max_vjp(b: Builder, cotangents: Any, operands: Any, results: Any, attrs: Any) -> list[Value | None]:
    (ct,), (x,) = cotangents, operands
    if ct is None:
        return [None]
    rank = len(attrs["window"])
    places = _flat(b, b.window_place(x, **attrs), rank)
    added = b.scatter_add(b.const(0, _flat(b, x, rank)), places, _flat(b, ct, rank), axis=len(shape_of(x)) - rank)
    return [b.reshape(added, shape=shape_of(x))]


# --- The records ------------------------------------------------------------------------------------------------------


def _attributes(window: tuple[int, ...], **given: Any) -> dict[str, Any]:
    rank = len(window)
    return {"window": window, "stride": (1,) * rank, "low": (0,) * rank, "high": (0,) * rank, "dilation": (1,) * rank, **given}


def _samples(spreads: bool) -> tuple[Sample, ...]:
    def sample(label: str, shape: tuple[int, ...], window: tuple[int, ...], dtype: DType = f64, **given: Any) -> Sample:
        def draw(rng: np.random.Generator) -> tuple[Array, ...]:
            return (Domain(-9, 9).draw(rng, dtype, shape),)

        attrs = _attributes(window, **given)
        return Sample(draw, {"spread": (1,) * len(window), **attrs} if spreads else attrs, dtype is f64, label)

    found = [
        *(sample(f"{d}[2, 5, 6]", (2, 5, 6), (2, 3), d, stride=(2, 1), low=(1, 0), high=(0, 1)) for d in NUMBERS),
        sample("one axis", (67,), (3,)),
        sample("halves", (2, 4, 6), (2, 2), stride=(2, 2)),
        sample("overlapping", (1, 2, 7, 8), (3, 3), stride=(2, 2), low=(1, 1), high=(1, 1)),
        sample("dilation", (2, 9, 8), (3, 2), dilation=(2, 3), stride=(1, 2)),
        sample("three axes", (1, 4, 3, 5), (2, 3, 2), low=(1, 1, 0), high=(1, 1, 1)),
        sample("the whole", (3, 4, 5), (4, 5)),
        sample("long", (2, 67), (23,), stride=(2,), low=(11,), high=(4,), dilation=(2,)),
        sample("size 1", (1, 1), (1, 1)),
        sample("nothing", (0, 4), (2,)),
        sample("cut", (2, 7), (2,), low=(-1,), high=(-2,)),
    ]
    if spreads:
        found += [
            sample("spread", (2, 4, 3), (3, 2), spread=(2, 3), low=(2, 1), high=(1, 2)),
            sample("repeated", (2, 4, 3), (2, 3), spread=(2, 3), low=(1, 2), high=(1, 2)),
            sample("repeated and cut", (5,), (2,), spread=(2,), low=(0,), high=(3,)),
        ]
    return tuple(found)


def _refusals(spreads: bool) -> tuple[Refusal, ...]:
    def attrs(window: tuple[int, ...], **given: Any) -> dict[str, Any]:
        found = _attributes(window, **given)
        return {"spread": (1,) * len(window), **found} if spreads else found

    return (
        Refusal((bool_[3, 4],), attrs((2, 2)), DTypeError, "does not take element type"),
        Refusal((f32[3, 4],), attrs((4, 2)), ShapeError, "must fit into the padded operand"),
        Refusal((f32[3],), attrs((2, 2)), ShapeError, "as many axes as the operand"),
        Refusal((f32[3],), attrs((0,)), ArgumentError, "must be positive"),
        Refusal((f32[3],), attrs((2,), stride=(1, 1)), ArgumentError, "an entry for each axis"),
    )


_NAMES = ("window", "stride", "low", "high", "dilation")
_WHY = Internal("avg_pool, max_pool, lp_pool and their adaptive relatives are compositions of it")

window_sum = general(
    "window_sum",
    "The sum of each window of the last axes: y[i] = sum of x[s] with spread · s = stride · i + dilation · k − low over all k in `window`.",
    public=_WHY,
    operands=1,
    infer=_window_type("window_sum"),
    reference=_sum_reference,
    derivative=Linear((_sum_transpose,)),
    batch=batch_in_front("window_sum"),  # the windows move over the last axes
    lower=Never("it is expanded into sums of slices, axis by axis"),
    expand=_sum_expanded,
    attributes=(*_NAMES, "spread"),
    samples=_samples(spreads=True),
    errors=_refusals(spreads=True),
)

window_place = general(
    "window_place",
    "Where the largest element of each window of the last axes stands, counted over these axes in row-major order: the first of "
    "equals, the last NaN; never in the padding.",
    public=_WHY,
    operands=1,
    infer=_window_type("window_place", i64),
    reference=_place_reference,
    derivative=Zero("a place is constant between jumps"),
    batch=batch_in_front("window_place"),  # the windows move over the last axes
    lower=Never("it is expanded into comparisons of slices, axis by axis"),
    expand=_place_expanded,
    attributes=_NAMES,
    samples=(
        *_samples(spreads=False),
        Sample(lambda rng: (np.array([1.0, 3.0, 3.0, 2.0, 2.0, 2.0]),), _attributes((3,)), False, "ties"),
        Sample(lambda rng: (np.array([1.0, np.nan, 3.0, np.nan, 2.0, -np.inf]),), _attributes((3,)), False, "NaN"),
        Sample(lambda rng: (np.full((3, 4), -np.inf),), _attributes((2, 2), low=(1, 1), high=(1, 1)), False, "all -inf"),
    ),
    errors=_refusals(spreads=False),
)

window_max = general(
    "window_max",
    "The largest element of each window of the last axes; NaN where one is NaN.",
    public=_WHY,
    operands=1,
    infer=_window_type("window_max"),
    reference=_max_reference,
    derivative=Rules(_max_jvp, _max_vjp),
    batch=batch_in_front("window_max"),  # the windows move over the last axes
    lower=Never("it is expanded into maxima of slices, axis by axis"),
    expand=_max_expanded,
    attributes=_NAMES,
    samples=(
        *_samples(spreads=False),
        Sample(lambda rng: (np.array([1.0, np.nan, 3.0, 2.0, 2.0, -np.inf, -np.inf]),), _attributes((2,)), False, "special"),
    ),
    errors=_refusals(spreads=False),
    kinks="Of equal elements the first gets all, as in PyTorch.",
)
