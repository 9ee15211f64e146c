"""Scans: what has been gathered up to each element along an axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rustorch.errors import DTypeError, ShapeError, compose
from rustorch.ir.builder import Builder
from rustorch.ir.dims import Size
from rustorch.ir.dtypes import FLOATS, NUMBERS, bool_, f32, f64, i64
from rustorch.ir.graph import Value
from rustorch.ir.op import Internal, Linear, Nest, OpDef, Refusal, Rules, Sample
from rustorch.ir.types import DType, TensorType, Type
from rustorch.ops.family import Array, Domain, batch_in_front, check_axes, general, not_taken, shape_of, tensor
from rustorch.ops.indexing import PICKED

# --- What the records share -------------------------------------------------------------------------------------------


def _scan_type(name: str, dtypes: Sequence[DType], places: bool = False) -> Any:
    def infer(*operands: Type, axis: int, reverse: bool = False) -> TensorType | tuple[TensorType, TensorType]:
        types = [tensor(name, x) for x in operands]
        type_ = types[-1]
        if type_.dtype not in dtypes:
            raise DTypeError(not_taken(name, type_, dtypes))
        for other in types:
            if other.dtype is not type_.dtype:
                raise DTypeError(compose(f"{name}: the operands' element types differ", f"found {other} and {type_}"))
            if other.shape != type_.shape:
                raise ShapeError(compose(f"{name}: the operands' shapes differ", f"found {other} and {type_}"))
        check_axes(name, (axis,), type_)
        return (type_, TensorType(i64, type_.shape)) if places else type_

    return infer


def _samples(
    dtypes: Sequence[DType], attrs: tuple[dict[str, Any], ...], domain: Domain, operands: int = 1, special: Sequence[Sequence[float]] = ()
) -> tuple[Sample, ...]:
    """Scans along first, middle and last axes; rows of special numbers."""
    shapes: list[tuple[tuple[int, ...], int]] = [
        ((67,), 0), ((1,), 0), ((0,), 0), ((5, 67), 0), ((67, 5), 1), ((2, 5, 3), 1), ((3, 0), 0), ((0, 3), 0), ((4, 1), 1), ((37, 19), 1),
    ]  # fmt: skip
    found = []
    for given in attrs:
        for dtype in dtypes:
            for shape, axis in shapes if dtype is f64 else shapes[3:5]:

                def draw(rng: np.random.Generator, d: DType = dtype, n: tuple[int, ...] = shape) -> tuple[Array, ...]:
                    return tuple(domain.draw(rng, d, n) for _ in range(operands))

                found.append(Sample(draw, {"axis": axis, **given}, dtype is f64, f"{dtype}{list(shape)} along {axis} {given or ''}"))
        for row in special:
            numbers = (lambda r: lambda rng: (np.array(r),) * operands)(row)
            found += [Sample(numbers, {"axis": 0, **given}, False, f"special {row} {given}")]
    return tuple(found)


def _refusals(dtypes: Sequence[DType], attrs: dict[str, Any], operands: int = 1) -> tuple[Refusal, ...]:
    refused = [
        Refusal((f32[3],) * operands, {"axis": 1, **attrs}, IndexError, "out of range"),
        Refusal((f32[()],) * operands, {"axis": 0, **attrs}, IndexError, "out of range"),
        Refusal((bool_[3],) * operands, {"axis": 0, **attrs}, DTypeError, "does not take element type"),
    ]
    if operands > 1:
        refused.append(Refusal((f32[3], f32[4]), {"axis": 0, **attrs}, ShapeError, "shapes differ"))
        refused.append(Refusal((f64[3], f32[3]), {"axis": 0, **attrs}, DTypeError, "element types differ"))
    return tuple(refused)


def shifted(b: Builder, x: Value, axis: int, first: int | float, backward: bool = False) -> Value:
    """Each element's predecessor along an axis (with `backward`, its successor); `first` where there is none."""
    shape = shape_of(x)
    rank, length = len(shape), shape[axis]
    one = tuple(int(a == axis) for a in range(rank))
    still = (0,) * rank
    limits: list[Size] = [length - 1 if a == axis and not backward else size for a, size in enumerate(shape)]
    if length == 0:
        return x
    kept = b.slice(x, starts=one if backward else still, limits=tuple(limits), strides=(1,) * rank)
    value = float(first) if tensor("shifted", x.type).dtype.is_floating_point else first
    moved: Value = b.pad(kept, low=still if backward else one, high=one if backward else still, value=value)
    return moved


_WHY = Internal("The front end's function of this name adds `dim` and the result's element type.")
_REALS = Domain(-2, 2)

# --- Sums and recurrences ---------------------------------------------------------------------------------------------


def _along(x: Array, axis: int, reverse: bool) -> Array:
    rows = np.moveaxis(x, axis, 0)
    return rows[::-1] if reverse else rows


def _cumsum(x: Array, axis: int, reverse: bool) -> Array:
    wide = np.dtype(np.float64) if x.dtype.kind == "f" else x.dtype
    rows = np.cumsum(_along(x, axis, reverse), axis=0, dtype=wide)
    return np.ascontiguousarray(np.moveaxis(rows[::-1] if reverse else rows, 0, axis)).astype(x.dtype)


cumsum = general(
    "cumsum",
    "The sum of all elements up to each one along `axis`; with `reverse`, of all from each one on. Floats are summed in f64.",
    public=_WHY,
    operands=1,
    infer=_scan_type("cumsum", NUMBERS),
    reference=_cumsum,
    derivative=Linear((lambda b, ct, x, axis, reverse: b.cumsum(ct, axis=axis, reverse=not reverse),)),
    batch=batch_in_front("cumsum", along=True),
    lower=Nest("scan"),
    attributes=("axis", "reverse"),
    samples=_samples(NUMBERS, ({"reverse": False}, {"reverse": True}), _REALS, special=((1.0, np.inf, 2.0, -np.inf, 1.0),)),
    errors=_refusals(NUMBERS, {"reverse": False}),
)


def _recurrence(a: Array, x: Array, axis: int, reverse: bool) -> Array:
    factors, terms = (_along(v, axis, reverse).astype(np.float64) for v in (a, x))
    found, state = np.empty_like(terms), np.zeros(terms.shape[1:])
    for i, (factor, term) in enumerate(zip(factors, terms, strict=True)):
        found[i] = state = factor * state + term
    return np.ascontiguousarray(np.moveaxis(found[::-1] if reverse else found, 0, axis)).astype(x.dtype)


def _recurrence_jvp(b: Builder, operands: Any, tangents: Any, results: Any, attrs: Any) -> list[Value | None]:
    """h'[i] = a[i] h'[i-1] + (a'[i] h[i-1] + x'[i]): a recurrence again."""
    (a, _), (da, dx), (h,) = operands, tangents, results
    if da is None and dx is None:
        return [None]
    term = dx
    if da is not None:
        along = b.mul(da, shifted(b, h, attrs["axis"], 0, attrs["reverse"]))
        term = along if dx is None else b.add(along, dx)
    return [b.recurrence(a, term, **attrs)]


def _recurrence_vjp(b: Builder, cotangents: Any, operands: Any, results: Any, attrs: Any) -> list[Value | None]:
    """The cotangent of x[i] is g[i] = ct[i] + a[i+1] g[i+1], that of a[i] is g[i] h[i-1]."""
    (ct,), (a, _), (h,) = cotangents, operands, results
    if ct is None:
        return [None, None]
    axis, reverse = attrs["axis"], attrs["reverse"]
    g = b.recurrence(shifted(b, a, axis, 0, not reverse), ct, axis=axis, reverse=not reverse)
    return [b.mul(g, shifted(b, h, axis, 0, reverse)), g]


recurrence = general(
    "recurrence",
    "h[i] = a[i] · h[i−1] + x[i] along `axis`, from h = 0 on; with `reverse`, from the end on with h[i+1]. Computed in f64.",
    public=Internal("derivatives of cumprod and logcumsumexp are compositions of it"),
    operands=2,
    infer=_scan_type("recurrence", FLOATS),
    reference=_recurrence,
    derivative=Rules(_recurrence_jvp, _recurrence_vjp),
    batch=batch_in_front("recurrence", along=True),
    lower=Nest("scan"),
    attributes=("axis", "reverse"),
    samples=_samples(FLOATS, ({"reverse": False}, {"reverse": True}), Domain(-1, 1), operands=2),
    errors=_refusals(FLOATS, {"reverse": False}, operands=2),
)

# --- Products ---------------------------------------------------------------------------------------------------------


def _cumprod(x: Array, axis: int) -> Array:
    return np.cumprod(x, axis=axis, dtype=np.float64 if x.dtype.kind == "f" else x.dtype).astype(x.dtype)


def _cumprod_jvp(b: Builder, operands: Any, tangents: Any, results: Any, attrs: Any) -> list[Value | None]:
    """y'[i] = x[i] y'[i-1] + x'[i] y[i-1]."""
    (x,), (t,), (y,) = operands, tangents, results
    axis = attrs["axis"]
    return [None if t is None else b.recurrence(x, b.mul(t, shifted(b, y, axis, 1)), axis=axis, reverse=False)]


def _cumprod_vjp(b: Builder, cotangents: Any, operands: Any, results: Any, attrs: Any) -> list[Value | None]:
    """y[i-1] times g[i] = ct[i] + x[i+1] g[i+1]: no division, so exact where elements are 0, at any order."""
    (ct,), (x,), (y,) = cotangents, operands, results
    axis = attrs["axis"]
    if ct is None:
        return [None]
    g = b.recurrence(shifted(b, x, axis, 0, backward=True), ct, axis=axis, reverse=True)
    return [b.mul(g, shifted(b, y, axis, 1))]


cumprod = general(
    "cumprod",
    "The product of all elements up to each one along `axis`. Floats are multiplied in f64.",
    public=_WHY,
    operands=1,
    infer=_scan_type("cumprod", NUMBERS),
    reference=_cumprod,
    derivative=Rules(_cumprod_jvp, _cumprod_vjp),
    batch=batch_in_front("cumprod", along=True),
    lower=Nest("scan"),
    attributes=("axis",),
    samples=(
        *_samples(NUMBERS, ({},), Domain(-1.2, 1.2, away=(0.0,)), special=((1.0, np.inf, 2.0, 0.0, 1.0), (2.0, -0.0, 3.0))),
        Sample(lambda rng: (np.array([[2.0, 0.0, 3.0], [0.0, 0.0, 5.0], [1.0, 2.0, 3.0]]),), {"axis": 1}, True, "zeros"),
    ),
    errors=_refusals(NUMBERS, {}),
    kinks="None: products of the other elements, exact where elements are 0.",
)

# --- Extremes ---------------------------------------------------------------------------------------------------------


def _running(better: Callable[[Array, Array], Array]) -> Any:
    def reference(x: Array, axis: int) -> tuple[Array, Array]:
        rows = np.moveaxis(x, axis, 0)
        best, place = np.empty_like(rows), np.zeros(rows.shape, np.int64)
        for i, row in enumerate(rows):
            if i == 0:
                best[0] = row
                continue
            before = best[i - 1]
            wins = (row != row) | ((before == before) & better(row, before))
            best[i], place[i] = np.where(wins, row, before), np.where(wins, i, place[i - 1])
        return np.ascontiguousarray(np.moveaxis(best, 0, axis)), np.ascontiguousarray(np.moveaxis(place, 0, axis))

    return reference


def _running_extreme(name: str, word: str, better: Callable[[Array, Array], Array]) -> OpDef:
    return general(
        name,
        f"The {word} element up to each one along `axis`, and where it stands: the last of equals; from a NaN on, the last NaN.",
        public=_WHY,
        operands=1,
        infer=_scan_type(name, NUMBERS, places=True),
        reference=_running(better),
        derivative=PICKED,
        batch=batch_in_front(name, along=True),
        lower=Nest("scan"),
        attributes=("axis",),
        samples=(
            *_samples(NUMBERS, ({},), Domain(-90, 90), special=((1.0, np.nan, 2.0, np.nan, 3.0), (-np.inf, np.inf, -np.inf))),
            Sample(lambda rng: (np.array([1.0, 3.0, 3.0, 2.0, 3.0, 1.0, 1.0]),), {"axis": 0}, False, "ties"),
        ),
        errors=_refusals(NUMBERS, {}),
        kinks="Of equal elements the last gets all, as in PyTorch.",
    )


cummax = _running_extreme("cummax", "largest", np.greater_equal)
cummin = _running_extreme("cummin", "smallest", np.less_equal)

# --- Logarithms of sums -----------------------------------------------------------------------------------------------


def _weights(b: Builder, x: Value, y: Value, axis: int) -> tuple[Value, Value]:
    """With y[i] = log(exp y[i-1] + exp x[i]): the shares of exp y[i-1] and of exp x[i] in exp y[i], at most 1 each."""

    def share(part: Value) -> Value:
        distance = b.sub(part, y)
        found: Value = b.exp(b.select(b.eq(part, y), b.const(0, distance), distance))  # so that infinities have a distance
        return found

    return share(shifted(b, y, axis, -np.inf)), share(x)


def _logcumsumexp_jvp(b: Builder, operands: Any, tangents: Any, results: Any, attrs: Any) -> list[Value | None]:
    (x,), (t,), (y,) = operands, tangents, results
    if t is None:
        return [None]
    before, own = _weights(b, x, y, attrs["axis"])
    return [b.recurrence(before, b.mul(own, t), axis=attrs["axis"], reverse=False)]


def _logcumsumexp_vjp(b: Builder, cotangents: Any, operands: Any, results: Any, attrs: Any) -> list[Value | None]:
    (ct,), (x,), (y,) = cotangents, operands, results
    if ct is None:
        return [None]
    axis = attrs["axis"]
    before, own = _weights(b, x, y, axis)
    return [b.mul(own, b.recurrence(shifted(b, before, axis, 0, backward=True), ct, axis=axis, reverse=True))]


def _logcumsumexp(x: Array, axis: int) -> Array:
    return np.logaddexp.accumulate(x.astype(np.float64), axis=axis).astype(x.dtype)


logcumsumexp = general(
    "logcumsumexp",
    "The logarithm of the sum of the exponentials of all elements up to each one along `axis`; nothing overflows on the way.",
    public=_WHY,
    operands=1,
    infer=_scan_type("logcumsumexp", FLOATS),
    reference=_logcumsumexp,
    derivative=Rules(_logcumsumexp_jvp, _logcumsumexp_vjp),
    batch=batch_in_front("logcumsumexp", along=True),
    lower=Nest("scan"),
    attributes=("axis",),
    cost=20,
    samples=(
        *_samples(FLOATS, ({},), Domain(-3, 3), special=((-np.inf, -np.inf, 1.0, 2.0), (1.0, np.inf, 2.0), (1.0, np.nan, 2.0))),
        Sample(lambda rng: (rng.uniform(-900, 900, 40),), {"axis": 0}, True, "large"),
    ),
    errors=_refusals(FLOATS, {}),
)
