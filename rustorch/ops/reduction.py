"""Reductions: sums, products, extremes and truth along `axes`; the places of extremes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rustorch.errors import DimensionError, DTypeError, ShapeError, compose
from rustorch.ir.builder import Builder
from rustorch.ir.dims import Size, product
from rustorch.ir.dtypes import INTS, NUMBERS, bool_, f32, f64, i64
from rustorch.ir.graph import Value
from rustorch.ir.op import REGISTRY, Internal, Linear, Never, OpDef, Refusal, Rules, Sample, Undefined, Zero
from rustorch.ir.types import DType, TensorType, Type, element
from rustorch.ops.family import (
    Array,
    Domain,
    check_axes,
    general,
    not_taken,
    others,
    reduction,
    shape_of,
    spread,
    tensor,
    without,
)

LOGIC = (bool_, *INTS)


def _samples(
    dtypes: Sequence[DType], domain: Domain, of_nothing: bool = True, special: bool = True, smooth: bool = True
) -> tuple[Sample, ...]:
    """Inputs of every rank, reduced along first, last, middle, several, all and no axes."""
    found = []
    shapes: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
        ((), ()),
        ((1,), (0,)),
        ((67,), (0,)),
        ((3, 5), ()),
        ((3, 67), (1,)),
        ((67, 3), (0,)),
        ((2, 3, 4), (1,)),
        ((2, 3, 4), (0, 2)),
        ((2, 3, 4), (0, 1, 2)),
        ((3, 0), (0,)),
    ]
    if of_nothing:
        shapes += [((0,), (0,)), ((3, 0), (1,))]
    for dtype in dtypes:
        for shape, axes in shapes if dtype in (f64, dtypes[0]) else shapes[2:5]:
            draw = (lambda d, n: lambda rng: (domain.draw(rng, d, n),))(dtype, shape)
            found.append(Sample(draw, {"axes": axes}, smooth and dtype is f64, f"{dtype}{list(shape)} along {list(axes)}"))
    if special:
        for row in ([1.0, np.nan, 2.0], [np.inf, 1.0, -np.inf], [0.0, -0.0, 0.0], [-np.inf, -np.inf, -np.inf]):
            draw = (lambda r: lambda rng: (np.array(r),))(row)
            found.append(Sample(draw, {"axes": (0,)}, False, f"special {row}"))
    return tuple(found)


# --- Sums and products ------------------------------------------------------------------------------------------------


def _exactly(ufunc: Any) -> Any:
    """The reduction by a numpy ufunc with f32 accumulated in f64 and rounded once."""

    def reference(x: Array, axes: tuple[int, ...]) -> Array:
        wide = np.dtype(np.float64) if x.dtype.kind == "f" else x.dtype
        return np.asarray(ufunc.reduce(x, axis=axes, dtype=wide)).astype(x.dtype)

    return reference


reduce_sum = reduction(
    "reduce_sum",
    "Sum over `axes`, of the operand's element type (integers wrap). The tree of additions depends on shape and target only.",
    combine="add",
    identity=lambda dtype: 0,
    reference=_exactly(np.add),
    derivative=Linear((lambda b, ct, x, axes: spread(b, ct, x, axes),)),
    dtypes=NUMBERS,
    samples=_samples(NUMBERS, Domain()),
)


def _products_of_others(b: Builder, x: Value, axes: tuple[int, ...]) -> Value:
    """For each element the product of all others along `axes`: the derivative of the product, exact where x is 0.

    Halves the row to pair products, descends, and gives each element its pair's others times its partner: 3 products an
    element, no division, so that derivatives of any order are exact too. Where the number of elements is a symbol the
    products are divided by x, with zeros counted: exact to the first order.
    """
    shape = shape_of(x)
    kept = others(len(shape), axes)
    order = (*kept, *axes)
    front = tuple(shape[a] for a in kept)
    count = product(tuple(shape[a] for a in axes))
    if not isinstance(count, int):
        return _divided(b, x, axes)
    row = b.reshape(b.transpose(x, perm=order), shape=(*front, count))
    found = b.reshape(_row_products(b, row, front, count), shape=(*front, *(shape[a] for a in axes)))
    restored: Value = b.transpose(found, perm=tuple(order.index(a) for a in range(len(shape))))
    return restored


def _row_products(b: Builder, row: Value, front: tuple[Size, ...], count: int) -> Value:
    if count <= 1:
        return b.const(1, row)
    half = (count + 1) // 2
    still = (0,) * len(front)
    if count % 2:
        row = b.pad(row, low=(*still, 0), high=(*still, 1), value=1)
    pairs = b.reshape(row, shape=(*front, half, 2))
    last = len(front) + 1
    left, right = (_column(b, pairs, (*front, half), last, k) for k in (0, 1))
    beyond = b.reshape(_row_products(b, b.reshape(b.mul(left, right), shape=(*front, half)), front, half), shape=(*front, half, 1))
    joined = b.reshape(b.concat(b.mul(beyond, right), b.mul(beyond, left), axis=last), shape=(*front, 2 * half))
    cut: Value = b.slice(joined, starts=(*still, 0), limits=(*front, count), strides=(1,) * last)
    return cut


def _column(b: Builder, pairs: Value, shape: tuple[Size, ...], axis: int, k: int) -> Value:
    column: Value = b.slice(pairs, starts=(*(0 for _ in shape), k), limits=(*shape, k + 1), strides=(1,) * (axis + 1))
    return column


def _divided(b: Builder, x: Value, axes: tuple[int, ...]) -> Value:
    is_zero = b.eq(x, 0)
    nonzero = b.select(is_zero, b.const(1, x), x)
    rest = spread(b, b.reduce_prod(nonzero, axes=axes), x, axes)
    zeros = spread(b, b.reduce_sum(b.convert(is_zero, dtype=element(x.type)), axes=axes), x, axes)
    alone = b.and_(is_zero, b.eq(zeros, 1))
    nothing = b.const(0, x)
    divided: Value = b.select(b.eq(zeros, 0), b.div(rest, nonzero), b.select(alone, rest, nothing))
    return divided


def _prod_jvp(b: Builder, operands: Any, tangents: Any, results: Any, attrs: Any) -> list[Value | None]:
    (x,), (t,) = operands, tangents
    return [None if t is None else b.reduce_sum(b.mul(t, _products_of_others(b, x, attrs["axes"])), axes=attrs["axes"])]


def _prod_vjp(b: Builder, cotangents: Any, operands: Any, results: Any, attrs: Any) -> list[Value | None]:
    (ct,), (x,) = cotangents, operands
    return [None if ct is None else b.mul(spread(b, ct, x, attrs["axes"]), _products_of_others(b, x, attrs["axes"]))]


reduce_prod = reduction(
    "reduce_prod",
    "Product over `axes`, of the operand's element type (integers wrap).",
    combine="mul",
    identity=lambda dtype: 1,
    reference=_exactly(np.multiply),
    derivative=Rules(_prod_jvp, _prod_vjp),
    dtypes=NUMBERS,
    samples=(
        *_samples(NUMBERS, Domain(0.5, 1.5)),
        Sample(lambda rng: (np.array([[2.0, 0.0, 3.0], [0.0, 0.0, 5.0], [1.0, 2.0, 3.0]]),), {"axes": (1,)}, True, "zeros"),
    ),
    kinks="None: products of the other elements, exact where elements are 0.",
)

# --- Extremes ---------------------------------------------------------------------------------------------------------


def _shared(b: Builder, x: Value, y: Value, axes: tuple[int, ...]) -> tuple[Value, Value]:
    """Where the extreme is reached, and how often along `axes`."""
    reached = b.eq(x, spread(b, y, x, axes))
    return reached, b.reduce_sum(b.convert(reached, dtype=element(x.type)), axes=axes)


def _extreme_jvp(b: Builder, operands: Any, tangents: Any, results: Any, attrs: Any) -> list[Value | None]:
    (x,), (t,), (y,) = operands, tangents, results
    if t is None:
        return [None]
    reached, count = _shared(b, x, y, attrs["axes"])
    return [b.div(b.reduce_sum(b.select(reached, t, b.const(0, t)), axes=attrs["axes"]), count)]


def _extreme_vjp(b: Builder, cotangents: Any, operands: Any, results: Any, attrs: Any) -> list[Value | None]:
    (ct,), (x,), (y,) = cotangents, operands, results
    if ct is None:
        return [None]
    reached, count = _shared(b, x, y, attrs["axes"])
    share = spread(b, b.div(ct, count), x, attrs["axes"])
    return [b.select(reached, share, b.const(0, share))]


def _extreme(name: str, doc: str, combine: str, reference: Any, identity: Any) -> OpDef:
    return reduction(
        name,
        doc,
        combine=combine,
        identity=identity,
        reference=reference,
        derivative=Rules(_extreme_jvp, _extreme_vjp),
        dtypes=NUMBERS,
        of_nothing=False,
        samples=(
            *_samples(NUMBERS, Domain(-90, 90), of_nothing=False),
            Sample(lambda rng: (np.array([[1.0, 4.0, 4.0], [-2.0, -2.0, -2.0]]),), {"axes": (1,)}, False, "ties"),
        ),
        kinks="Ties share evenly.",
    )


def _least(dtype: DType) -> int | float:
    return -np.inf if dtype.is_floating_point else int(np.iinfo(dtype.numpy).min)


def _largest(dtype: DType) -> int | float:
    return np.inf if dtype.is_floating_point else int(np.iinfo(dtype.numpy).max)


reduce_max = _extreme(
    "reduce_max",
    "The largest element along `axes`; NaN where one is NaN.",
    "maximum",
    lambda x, axes: np.max(x, axis=axes),
    _least,
)

reduce_min = _extreme(
    "reduce_min",
    "The smallest element along `axes`; NaN where one is NaN.",
    "minimum",
    lambda x, axes: np.min(x, axis=axes),
    _largest,
)


def _place_type(name: str) -> Any:
    def infer(x: Type, *, axis: int) -> TensorType:
        type_ = tensor(name, x)
        if type_.dtype not in NUMBERS:
            raise DTypeError(not_taken(name, x, NUMBERS))
        check_axes(name, (axis,), type_)
        if type_.shape[axis] == 0:
            raise ShapeError(compose(f"{name} of no elements has no value", f"found {x} along axis {axis}", todo="give a nonempty axis"))
        return TensorType(i64, without(type_.shape, (axis,)))

    return infer


def _first_place(extreme: str) -> Any:
    """The smallest index at which the extreme stands; a NaN makes the extreme NaN, and stands where x differs from itself."""

    def expand(b: Builder, x: Value, axis: int) -> Value:
        shape = tensor("place", x.type).shape
        others = tuple(a for a in range(len(shape)) if a != axis)
        best = b.emit(REGISTRY[extreme], (x,), {"axes": (axis,)})[0]
        hit = b.or_(b.eq(x, b.broadcast_to(best, shape=shape, dims=others)), b.ne(x, x))
        places = b.iota(type=TensorType(i64, shape), axis=axis)
        first: Value = b.reduce_min(b.select(hit, places, _largest(i64)), axes=(axis,))
        return first

    return expand


def _place(name: str, doc: str, extreme: str, reference: Any) -> OpDef:
    def batch(b: Builder, operands: Sequence[Value], batched: Sequence[bool], attrs: dict[str, Any]) -> tuple[Value, ...]:
        return b.emit(REGISTRY[name], operands, {"axis": attrs["axis"] + 1})

    def draw(dtype: DType, shape: tuple[int, ...]) -> Any:
        return lambda rng: (Domain(-9, 9).draw(rng, dtype, shape),)

    return general(
        name,
        doc,
        public=Internal("The front end's function of this name adds `dim` and `keepdim`."),
        operands=1,
        infer=_place_type(name),
        reference=reference,
        derivative=Zero("a place is constant between jumps"),
        batch=batch,
        lower=Never("it is expanded into a search for the extreme"),
        attributes=("axis",),
        expand=_first_place(extreme),
        samples=(
            *(Sample(draw(d, (67,)), {"axis": 0}, d is f64, f"{d}[67]") for d in NUMBERS),
            *(
                Sample(draw(f64, s), {"axis": a}, True, f"f64{list(s)} along {a}")
                for s, a in (((1,), 0), ((3, 5), 0), ((3, 67), 1), ((2, 3, 4), 1))
            ),
            Sample(draw(f64, (3, 0)), {"axis": 0}, label="empty result"),
            Sample(lambda rng: (np.array([2.0, 5.0, -5.0, 5.0, -5.0]),), {"axis": 0}, False, "first on ties"),
            Sample(
                lambda rng: (np.array([[2.0, np.nan, 9.0, np.nan], [np.inf, -np.inf, np.inf, -np.inf]]),), {"axis": 1}, False, "NaN wins"
            ),
        ),
        errors=(
            Refusal((f32[3],), {"axis": 1}, DimensionError, "out of range"),
            Refusal((f32[0],), {"axis": 0}, ShapeError, "of no elements"),
            Refusal((bool_[3],), {"axis": 0}, DTypeError, "does not take element type"),
        ),
    )


argmax = _place(
    "argmax",
    "The first index of the largest element along `axis`; the first NaN wins.",
    "reduce_max",
    lambda x, axis: np.argmax(x, axis=axis),
)
argmin = _place(
    "argmin",
    "The first index of the smallest element along `axis`; the first NaN wins.",
    "reduce_min",
    lambda x, axis: np.argmin(x, axis=axis),
)

# --- Truth and bits ---------------------------------------------------------------------------------------------------

_BITS = Undefined("it works on bits and truth values, not on numbers")

reduce_and = reduction(
    "reduce_and",
    "Bitwise and over `axes`; of bools, whether all are true.",
    combine="and",
    identity=lambda dtype: True if dtype is bool_ else -1,
    reference=lambda x, axes: np.bitwise_and.reduce(x, axis=axes),
    derivative=_BITS,
    dtypes=LOGIC,
    samples=_samples(LOGIC, Domain(-9, 9), special=False),
)

reduce_or = reduction(
    "reduce_or",
    "Bitwise or over `axes`; of bools, whether any is true.",
    combine="or",
    identity=lambda dtype: False if dtype is bool_ else 0,
    reference=lambda x, axes: np.bitwise_or.reduce(x, axis=axes),
    derivative=_BITS,
    dtypes=LOGIC,
    samples=_samples(LOGIC, Domain(-9, 9), special=False),
)
