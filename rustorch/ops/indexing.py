"""Indexing: elements picked, and added, by computed places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rustorch.errors import ArgumentError, DimensionError, DTypeError, ShapeError, compose
from rustorch.ir.builder import Builder
from rustorch.ir.dims import Size, product
from rustorch.ir.dtypes import DTYPES, INTS, NUMBERS, bool_, f32, f64, i64
from rustorch.ir.graph import Value
from rustorch.ir.op import Internal, Linear, Nest, NotDifferentiable, Refusal, Rules, Sample
from rustorch.ir.types import DType, TensorType, Type, element
from rustorch.ops.family import Array, Domain, batch_in_front, check_axes, general, not_taken, tensor

_AN_INDEX = NotDifferentiable("an index is a whole number")


def _check_indices(name: str, x: TensorType, indices: TensorType, axis: int) -> None:
    if indices.dtype not in INTS:
        raise DTypeError(compose(f"{name}: indices must be integers", f"found {indices}", todo="convert them to i64"))
    check_axes(name, (axis,), x)
    if indices.rank != x.rank or any(i != s for a, (i, s) in enumerate(zip(indices.shape, x.shape, strict=True)) if a != axis):
        raise ShapeError(compose(f"{name}: indices have the operand's shape but along axis {axis}", f"found {x} and indices {indices}"))


_MARK = 1 << 48


def marked(b: Builder, flat: Value, place: Value, axis: int, size: Size) -> Value:
    """The flat index, but where `place` is outside `axis` a negative number that says which place on which axis it was.

    Compositions that gather by several indices at once flatten them, and a wrong one must not become another element's index.
    """
    wrong = b.or_(b.lt(place, 0), b.ge(place, size))
    found: Value = b.select(wrong, b.sub(b.minimum(place, _MARK // 2 - 1), (axis + 1) * _MARK), flat)
    return found


def _check_range(name: str, indices: Array, axis: int, size: int) -> None:
    outside = indices[(indices < 0) | (indices >= size)]
    if not outside.size:
        return
    index = int(outside.flat[0])
    where = f"dimension {axis} with size {size}"
    if index < -_MARK // 2:
        count = (_MARK // 2 - index - 1) // _MARK
        index, where = index + count * _MARK, f"dimension {count - 1}"
    raise DimensionError(compose(f"index {index} is out of bounds for {where}", f"found by {name}"))


def _gather_type(x: Type, indices: Type, *, axis: int) -> TensorType:
    type_, places = tensor("gather", x), tensor("gather", indices)
    _check_indices("gather", type_, places, axis)
    return type_.with_shape(places.shape)


def _gather(x: Array, indices: Array, axis: int) -> Array:
    _check_range("gather", indices, axis, x.shape[axis])
    return np.take_along_axis(x, indices.astype(np.int64), axis)


def _scatter_add_type(x: Type, indices: Type, updates: Type, *, axis: int) -> TensorType:
    return _written_type("scatter_add", x, indices, updates, axis, NUMBERS)


def _written_type(name: str, x: Type, indices: Type, updates: Type, axis: int, dtypes: Sequence[DType]) -> TensorType:
    """The type of a tensor that updates are written into."""
    type_, places, added = tensor(name, x), tensor(name, indices), tensor(name, updates)
    if type_.dtype not in dtypes:
        raise DTypeError(not_taken(name, x, dtypes))
    if added.dtype is not type_.dtype:
        raise DTypeError(
            compose(f"{name}: the operands' element types differ", f"found {x} and updates {updates}", todo="convert the updates")
        )
    _check_indices(name, type_, places, axis)
    if added.shape != places.shape:
        raise ShapeError(compose(f"{name}: updates and indices must have one shape", f"found updates {updates} and indices {indices}"))
    return type_


def _places(name: str, x: Array, indices: Array, axis: int) -> tuple[Array, ...]:
    """numpy's index of the elements that are written."""
    _check_range(name, indices, axis, x.shape[axis])
    places: list[Array] = list(np.indices(indices.shape, sparse=True))
    places[axis] = indices
    return tuple(places)


def _scatter_add(x: Array, indices: Array, updates: Array, axis: int) -> Array:
    places = _places("scatter_add", x, indices, axis)
    total = x.astype(np.float64 if x.dtype.kind == "f" else x.dtype)
    np.add.at(total, places, updates)
    return total.astype(x.dtype)


def _draw(shape: tuple[int, ...], count: int, axis: int, dtype: DType = f64, index: DType = i64, updates: bool = False) -> Any:
    """An operand of a shape, `count` indices along the axis, and updates where asked for."""
    many = tuple(count if a == axis else size for a, size in enumerate(shape))

    def make(rng: np.random.Generator) -> tuple[Array, ...]:
        places = rng.integers(0, max(shape[axis], 1), many).astype(index.numpy)
        drawn = (Domain(-9, 9).draw(rng, dtype, shape), places)
        return (*drawn, Domain(-9, 9).draw(rng, dtype, many)) if updates else drawn

    return make


def _samples(dtypes: Sequence[DType], updates: bool, **attrs: Any) -> tuple[Sample, ...]:
    def sample(label: str, shape: tuple[int, ...], count: int, axis: int, dtype: DType = f64, index: DType = i64) -> Sample:
        said = " ".join([label, *attrs.values()])
        return Sample(_draw(shape, count, axis, dtype, index, updates), {"axis": axis, **attrs}, dtype is f64, said)

    return (
        *(sample(f"{d}[5, 3]", (5, 3), 4, 0, d) for d in dtypes),
        sample("67 of 67", (67,), 67, 0),
        sample("i32 indices", (7,), 67, 0, f64, DTYPES[1]),
        sample("last axis", (3, 5), 2, 1),
        sample("middle axis", (2, 4, 3), 6, 1),
        sample("one", (1,), 1, 0),
        sample("none", (3, 2), 0, 0),
        sample("empty beside the axis", (3, 0), 2, 0),
    )


gather = general(
    "gather",
    "result[…, i, …] = x[…, indices[…, i, …], …] along `axis`; indices have x's shape beside that axis. An index out of range is an error.",
    public=Internal("gather, indexing, take_along_dim, embeddings and cross entropy are compositions of it"),
    operands=2,
    infer=_gather_type,
    reference=_gather,
    derivative=Linear((lambda b, ct, x, indices, axis: b.scatter_add(b.const(0, x), indices, ct, axis=axis), _AN_INDEX)),
    batch=batch_in_front("gather", along=True),
    lower=Nest("gather"),
    attributes=("axis",),
    samples=_samples(DTYPES, updates=False),
    errors=(
        Refusal((f32[5, 3], f32[4, 3]), {"axis": 0}, DTypeError, "must be integers"),
        Refusal((f32[5, 3], i64[4, 2]), {"axis": 0}, ShapeError, "but along axis 0"),
        Refusal((f32[5, 3], i64[4]), {"axis": 0}, ShapeError, "but along axis 0"),
        Refusal((f32[5, 3], i64[4, 3]), {"axis": 2}, DimensionError, "out of range"),
        Refusal((f32[()], i64[()]), {"axis": 0}, DimensionError, "out of range"),
    ),
)

scatter_add = general(
    "scatter_add",
    "x with updates[…, i, …] added to the element at indices[…, i, …] along `axis`; equal indices add up. An index out of "
    "range is an error.",
    public=Internal("scatter_add, index_add and the gradients of indexing are compositions of it"),
    operands=3,
    infer=_scatter_add_type,
    reference=_scatter_add,
    derivative=Linear(
        (lambda b, ct, x, indices, updates, axis: ct, _AN_INDEX, lambda b, ct, x, indices, updates, axis: b.gather(ct, indices, axis=axis))
    ),
    batch=batch_in_front("scatter_add", along=True),
    lower=Nest("scatter_add"),
    attributes=("axis",),
    samples=_samples(NUMBERS, updates=True),
    errors=(
        Refusal((f32[5], i64[4], f64[4]), {"axis": 0}, DTypeError, "element types differ"),
        Refusal((bool_[5], i64[4], bool_[4]), {"axis": 0}, DTypeError, "does not take element type"),
        Refusal((f32[5], f32[4], f32[4]), {"axis": 0}, DTypeError, "must be integers"),
        Refusal((f32[5], i64[4], f32[3]), {"axis": 0}, ShapeError, "one shape"),
        Refusal((f32[5, 3], i64[4, 2], f32[4, 2]), {"axis": 0}, ShapeError, "but along axis 0"),
        Refusal((f32[5], i64[4], f32[4]), {"axis": 1}, DimensionError, "out of range"),
    ),
)


# --- Elements with their places ---------------------------------------------------------------------------------------


def _picked_jvp(b: Builder, operands: Any, tangents: Any, results: Any, attrs: Any) -> list[Value | None]:
    (t,), (_, places) = tangents, results
    return [None if t is None else b.gather(t, places, axis=attrs["axis"]), None]


def _picked_vjp(b: Builder, cotangents: Any, operands: Any, results: Any, attrs: Any) -> list[Value | None]:
    ct, (x,), (_, places) = cotangents[0], operands, results
    return [None if ct is None else b.scatter_add(b.const(0, x), places, ct, axis=attrs["axis"])]


PICKED = Rules(_picked_jvp, _picked_vjp)
"""For ops that give elements along `axis` and, second, the places that they are from."""

# --- Scatter with a combination ---------------------------------------------------------------------------------------

COMBINATIONS = ("replace", "mul", "maximum", "minimum")
_UFUNCS = {"mul": np.multiply, "maximum": np.maximum, "minimum": np.minimum}


def _scatter_type(x: Type, indices: Type, updates: Type, *, axis: int, combine: str) -> TensorType:
    if combine not in COMBINATIONS:
        raise ArgumentError(compose(f"scatter: `combine` is one of {', '.join(COMBINATIONS)}", f"found {combine!r}"))
    return _written_type("scatter", x, indices, updates, axis, DTYPES if combine == "replace" else NUMBERS)


def _scatter(x: Array, indices: Array, updates: Array, axis: int, combine: str) -> Array:
    places = _places("scatter", x, indices, axis)
    result = x.copy()
    if combine == "replace":
        flat = np.ravel_multi_index(np.broadcast_arrays(*places), x.shape).reshape(-1) if indices.size else np.zeros(0, np.int64)
        last = dict(zip(flat.tolist(), range(flat.size), strict=True))  # of equal places, the last update
        result.reshape(-1)[list(last)] = updates.reshape(-1)[list(last.values())]
    else:
        _UFUNCS[combine].at(result, places, updates)
    return result


def _last(b: Builder, x: Value, indices: Value, axis: int) -> Value:
    """Which updates stay: those whose place no later one has."""
    places = tensor("scatter", indices.type)
    count = b.reshape(b.iota(type=TensorType(i64, (product(places.shape),)), axis=0), shape=places.shape)
    owner = b.scatter(b.const(-1, tensor("scatter", x.type).with_dtype(i64)), indices, count, axis=axis, combine="replace")
    found: Value = b.eq(b.gather(owner, indices, axis=axis), count)
    return found


def _shares(b: Builder, y: Value, x: Value, indices: Value, updates: Value, axis: int) -> tuple[Value, Value]:
    """The part of an extreme's derivative that x has, and that each update has: those that reach it share evenly."""
    mine, theirs = (b.convert(b.eq(u, v), dtype=element(x.type)) for u, v in ((x, y), (updates, b.gather(y, indices, axis=axis))))
    count = b.scatter_add(mine, indices, theirs, axis=axis)
    return b.div(mine, count), b.div(theirs, b.gather(count, indices, axis=axis))


def _products(b: Builder, x: Value, indices: Value, updates: Value, axis: int) -> tuple[Value, Value]:
    """For x, and for each update, the product of all other factors of its element."""
    zero = [b.eq(v, 0) for v in (x, updates)]
    safe = [b.select(z, b.const(1, v), v) for z, v in zip(zero, (x, updates), strict=True)]
    whole = b.scatter(safe[0], indices, safe[1], axis=axis, combine="mul")
    own, others = (b.convert(z, dtype=element(x.type)) for z in zero)
    zeros = b.scatter_add(own, indices, others, axis=axis)
    products, counts = ((v, b.gather(v, indices, axis=axis)) for v in (whole, zeros))
    found = []
    for z, s, w, n in zip(zero, safe, products, counts, strict=True):
        nothing = b.const(0, w)
        found.append(b.select(z, b.select(b.eq(n, 1), w, nothing), b.select(b.eq(n, 0), b.div(w, s), nothing)))
    return found[0], found[1]


def _partials(b: Builder, y: Value, x: Value, indices: Value, updates: Value, axis: int, combine: str) -> tuple[Value, Value]:
    """The derivative of an element by x there, and by each update."""
    if combine == "mul":
        return _products(b, x, indices, updates, axis)
    if combine != "replace":
        return _shares(b, y, x, indices, updates, axis)
    kind = element(x.type)
    last = b.convert(_last(b, x, indices, axis), dtype=kind)
    return b.scatter(b.const(1, x), indices, b.const(0, updates), axis=axis, combine="replace"), last


def _scatter_jvp(b: Builder, operands: Any, tangents: Any, results: Any, attrs: Any) -> list[Value | None]:
    (x, indices, updates), (tx, _, tu), axis = operands, tangents, attrs["axis"]
    if tx is None and tu is None:
        return [None]
    dx, du = _partials(b, results[0], x, indices, updates, **attrs)
    own = b.const(0, x) if tx is None else b.mul(tx, dx)
    return [own if tu is None else b.scatter_add(own, indices, b.mul(tu, du), axis=axis)]


def _scatter_vjp(b: Builder, cotangents: Any, operands: Any, results: Any, attrs: Any) -> list[Value | None]:
    (ct,), (x, indices, updates), axis = cotangents, operands, attrs["axis"]
    if ct is None:
        return [None, None, None]
    dx, du = _partials(b, results[0], x, indices, updates, **attrs)
    return [b.mul(ct, dx), None, b.mul(b.gather(ct, indices, axis=axis), du)]


def _with_zeros(rng: np.random.Generator) -> tuple[Array, ...]:
    """Factors of which some are 0: one of an element's, two of another's."""
    return np.array([2.0, 0.0, 3.0, 4.0]), np.array([1, 0, 0, 2, 0]), np.array([0.0, 5.0, 0.0, -2.0, 1.5])


scatter = general(
    "scatter",
    "x with updates[…, i, …] put in the place of the element at indices[…, i, …] along `axis`: `combine` says replace (the last of "
    "equal indices stays), mul, maximum or minimum (with the element that is there). An index out of range is an error.",
    public=Internal("scatter, scatter_reduce, index_copy, index_put and assignments to index tensors are compositions of it"),
    operands=3,
    infer=_scatter_type,
    reference=_scatter,
    derivative=Rules(_scatter_jvp, _scatter_vjp),
    batch=batch_in_front("scatter", along=True),
    lower=Nest("scatter"),
    attributes=("axis", "combine"),
    samples=(
        *_samples(DTYPES, updates=True, combine="replace"),
        *(s for combine in COMBINATIONS[1:] for s in _samples(NUMBERS, updates=True, combine=combine)),
        Sample(_with_zeros, {"axis": 0, "combine": "mul"}, False, "zeros among the factors"),
    ),
    errors=(
        Refusal((f32[5], i64[4], f32[4]), {"axis": 0, "combine": "add"}, ArgumentError, "one of"),
        Refusal((bool_[5], i64[4], bool_[4]), {"axis": 0, "combine": "mul"}, DTypeError, "does not take element type"),
        Refusal((f32[5], i64[4], f64[4]), {"axis": 0, "combine": "mul"}, DTypeError, "element types differ"),
        Refusal((f32[5], f32[4], f32[4]), {"axis": 0, "combine": "mul"}, DTypeError, "must be integers"),
        Refusal((f32[5], i64[4], f32[3]), {"axis": 0, "combine": "mul"}, ShapeError, "one shape"),
        Refusal((f32[5], i64[4], f32[4]), {"axis": 1, "combine": "mul"}, DimensionError, "out of range"),
    ),
    kinks="Extremes: equal ones share evenly. Products: exact where factors are 0, to the first order.",
)
