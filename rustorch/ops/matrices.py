"""Matrices in the last two axes: their types, the algebra that derivatives are written with, and records of ops on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rustorch.errors import DTypeError, ShapeError
from rustorch.ir.builder import Builder
from rustorch.ir.dims import Size
from rustorch.ir.dtypes import FLOATS, f32, f64, i32, i64, title
from rustorch.ir.graph import Value
from rustorch.ir.op import Callout, Internal, OpDef, Refusal, Rules, Sample, Zero
from rustorch.ir.types import DType, TensorType, Type
from rustorch.ops.family import Array, Formula, batch_in_front, general, shape_of, tensor

Values = Sequence[Value]
Maybe = Sequence[Value | None]

# --- Types ------------------------------------------------------------------------------------------------------------


def matrix(name: str, x: Type) -> TensorType:
    """The type of matrices of floats, or PyTorch's words."""
    type_ = tensor(name, x)
    if type_.rank < 2:
        raise ShapeError(f"linalg.{name}: The input tensor A must have at least 2 dimensions.")
    if type_.dtype not in FLOATS:
        raise DTypeError(f"linalg.{name}: Expected a floating point or complex tensor as input. Got {title(type_.dtype)}")
    return type_


def square(name: str, x: Type) -> TensorType:
    """The type of square matrices."""
    type_ = matrix(name, x)
    if type_.shape[-2] != type_.shape[-1]:
        raise ShapeError(
            f"linalg.{name}: A must be batches of square matrices, but they are {type_.shape[-2]} by {type_.shape[-1]} matrices"
        )
    return type_


def different_types(name: str, a: DType, b: DType) -> Exception:
    """What PyTorch says of A X = B in two element types."""
    return DTypeError(
        f"linalg.{name}: Expected A and B to have the same dtype, but found A of type {title(a)} and B of type {title(b)} instead"
    )


def system(name: str, a: Type, b: Type) -> TensorType:
    """The type of X in A X = B."""
    left, right = square(name, a), tensor(name, b)
    if left.dtype is not right.dtype:
        raise different_types(name, left.dtype, right.dtype)
    if right.rank != left.rank or right.shape[:-1] != left.shape[:-1]:
        sizes = "x".join(map(str, right.shape[-2:]))
        raise ShapeError(
            f"linalg.{name}: Incompatible shapes of A and B for the equation AX = B ({left.shape[-2]}x{left.shape[-1]} and {sizes})"
        )
    return right


# --- What the rules are written with ----------------------------------------------------------------------------------


def mm(b: Builder, *factors: Value) -> Value:
    """The product of matrices with equal batches, from the left."""
    x = factors[0]
    lead = len(shape_of(x)) - 2
    groups = tuple(range(lead))
    for y in factors[1:]:
        x = b.dot_general(x, y, contract=((lead + 1,), (lead,)), batch=(groups, groups))
    return x


def turned(b: Builder, x: Value) -> Value:
    """The matrices transposed."""
    rank = len(shape_of(x))
    flipped: Value = b.transpose(x, perm=(*range(rank - 2), rank - 1, rank - 2))
    return flipped


def places(b: Builder, x: Value) -> tuple[Value, Value]:
    """Row and column of each element."""
    type_ = TensorType(i64, shape_of(x))
    return b.iota(type=type_, axis=type_.rank - 2), b.iota(type=type_, axis=type_.rank - 1)


def part(b: Builder, x: Value, which: str) -> Value:
    """The elements where row and column compare as `which` (`ge`: the lower triangle, `gt`: below the diagonal), zeros elsewhere."""
    found: Value = b.select(getattr(b, which)(*places(b, x)), x, b.const(0, x))
    return found


def unit_lower(b: Builder, x: Value) -> Value:
    """The lower triangle with ones on the diagonal, zeros above."""
    found: Value = b.select(b.eq(*places(b, x)), b.const(1, x), part(b, x, "gt"))
    return found


def half_diagonal(b: Builder, x: Value) -> Value:
    """The matrix with its diagonal halved."""
    found: Value = b.select(b.eq(*places(b, x)), b.mul(x, 0.5), x)
    return found


def by_column(b: Builder, s: Value, like: Value) -> Value:
    """One number a column, repeated over the rows."""
    rank = len(shape_of(like))
    found: Value = b.broadcast_to(s, shape=shape_of(like), dims=(*range(rank - 2), rank - 1))
    return found


def by_row(b: Builder, s: Value, like: Value) -> Value:
    """One number a row, repeated over the columns."""
    found: Value = b.broadcast_to(s, shape=shape_of(like), dims=tuple(range(len(shape_of(like)) - 1)))
    return found


def by_matrix(b: Builder, s: Value, like: Value) -> Value:
    """One number a matrix, repeated."""
    found: Value = b.broadcast_to(s, shape=shape_of(like), dims=tuple(range(len(shape_of(like)) - 2)))
    return found


def diagonal(b: Builder, x: Value) -> Value:
    """The diagonals of square matrices."""
    found: Value = b.reduce_sum(part(b, x, "eq"), axes=(len(shape_of(x)) - 1,))
    return found


def trace(b: Builder, x: Value) -> Value:
    """The sum of the diagonal, for each matrix."""
    rank = len(shape_of(x))
    found: Value = b.reduce_sum(part(b, x, "eq"), axes=(rank - 2, rank - 1))
    return found


def inner(b: Builder, x: Value, y: Value) -> Value:
    """The sum of products of elements, for each matrix."""
    rank = len(shape_of(x))
    found: Value = b.reduce_sum(b.mul(x, y), axes=(rank - 2, rank - 1))
    return found


def block(b: Builder, x: Value, rows: Size, columns: Size, at: tuple[Size, Size] = (0, 0)) -> Value:
    """Some rows and columns of matrices."""
    shape = shape_of(x)
    lead = len(shape) - 2
    if at == (0, 0) and shape[-2:] == (rows, columns):
        return x
    limits = (*shape[:-2], at[0] + rows, at[1] + columns)
    found: Value = b.slice(x, starts=(*(0,) * lead, *at), limits=limits, strides=(1,) * len(shape))
    return found


def grown(b: Builder, x: Value, rows: Size, columns: Size) -> Value:
    """The matrices with zeros below and to the right."""
    shape = shape_of(x)
    lead = (0,) * (len(shape) - 2)
    if shape[-2:] == (rows, columns):
        return x
    found: Value = b.pad(x, low=(*lead, 0, 0), high=(*lead, rows - shape[-2], columns - shape[-1]), value=0.0)
    return found


def total(b: Builder, terms: Maybe) -> Value | None:
    """The sum of what is there."""
    found: Value | None = None
    for term in terms:
        found = term if found is None else found if term is None else b.add(found, term)
    return found


def or_zero(b: Builder, x: Value | None, like: Value) -> Value:
    """The value, or zeros of the type of another."""
    zero: Value = b.const(0, like)
    return zero if x is None else x


# --- Records ----------------------------------------------------------------------------------------------------------


def well(rng: np.random.Generator, dtype: DType, shape: tuple[int, ...]) -> Array:
    """Matrices far from singular, with singular values apart."""
    x = rng.uniform(-1, 1, shape)
    size = min(shape[-2:])
    x[..., np.arange(size), np.arange(size)] += 2.0 + 0.75 * np.arange(size)
    return x.astype(dtype.numpy)


def symmetric(rng: np.random.Generator, dtype: DType, shape: tuple[int, ...]) -> Array:
    """Symmetric matrices with eigenvalues apart."""
    x = well(rng, f64, shape)
    return np.asarray(x + np.swapaxes(x, -1, -2)).astype(dtype.numpy)


def singular(rng: np.random.Generator, dtype: DType, shape: tuple[int, ...]) -> Array:
    """Matrices whose first column is twice the second."""
    x = well(rng, dtype, shape)
    x[..., 0] = x[..., 1] * 2
    return x


Draw = Callable[["np.random.Generator", DType, tuple[int, ...]], Array]  # in quotes: naming it would import numpy's generators
SQUARES = ((3, 3), (1, 1), (0, 0), (2, 5, 5), (0, 3, 3))
SHAPES = (*SQUARES, (5, 3), (3, 5), (2, 6, 3), (0, 4), (4, 0))


def drawn(
    draw: Draw, shapes: Sequence[tuple[int, ...]], attrs: dict[str, Any] | None = None, smooth: bool = True, right: Sequence[int] = ()
) -> tuple[Sample, ...]:
    """Samples of each shape in f64 and two in f32; `right`: with a second operand of that many columns."""
    found = []
    for dtype in (f64, f32):
        for shape in shapes if dtype is f64 else shapes[:2]:
            for columns in right or (None,):

                def make(
                    rng: np.random.Generator, d: DType = dtype, n: tuple[int, ...] = shape, k: int | None = columns
                ) -> tuple[Array, ...]:
                    first = draw(rng, d, n)
                    return (first,) if k is None else (first, rng.uniform(-1, 1, (*n[:-1], k)).astype(d.numpy))

                label = f"{dtype}{list(shape)} {columns or ''} {attrs or ''}"
                found.append(Sample(make, attrs or {}, smooth and dtype is f64, label))
    return tuple(found)


def not_square(attrs: dict[str, Any] | None = None) -> tuple[Refusal, ...]:
    """That matrices which are not square are refused, and what is none."""
    return (Refusal((f64[3, 4],), attrs or {}, ShapeError, "square matrices, but they are 3 by 4"), *no_matrix(attrs))


def no_matrix(attrs: dict[str, Any] | None = None) -> tuple[Refusal, ...]:
    """That vectors and integers are refused."""
    return (
        Refusal((f64[3],), attrs or {}, ShapeError, "at least 2 dimensions"),
        Refusal((i32[3, 3],), attrs or {}, DTypeError, "Expected a floating point or complex tensor as input. Got Int"),
    )


def record(
    name: str,
    doc: str,
    *,
    operands: int = 1,
    infer: Formula,
    reference: Formula,
    rules: Rules | Zero,
    attributes: tuple[str, ...] = (),
    samples: tuple[Sample, ...],
    errors: tuple[Refusal, ...],
    kinks: str = "",
) -> OpDef:
    """A record of an op that is computed outside of native code."""
    return general(
        name,
        doc,
        public=Internal(f"rustorch.linalg.{name} and others are compositions of it"),
        operands=operands,
        infer=infer,
        reference=reference,
        derivative=rules,
        batch=batch_in_front(name),
        lower=Callout(),
        attributes=attributes,
        cost=50,
        samples=samples,
        errors=errors,
        kinks=kinks,
    )
