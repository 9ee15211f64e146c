"""Diagonals and triangles of matrices."""

from __future__ import annotations

from typing import Any

from rustorch.errors import ShapeError, compose
from rustorch.frontend.arrangement import ravel
from rustorch.frontend.emission import (
    Builder,
    Shape,
    TensorType,
    Value,
    axis_of,
    convert,
    dtype_of,
    operation,
    reduce,
    reshape,
    shape_of,
)
from rustorch.frontend.movement import check_source, is_plain, plain_view, viewed, zero_of
from rustorch.ir.dtypes import bool_, i64


def _diagonal_bounds(shape: Shape, offset: int, dim1: int, dim2: int) -> tuple[int, int, int, int, int]:
    """Both axes, the first row and column, and the length."""
    rank = len(shape)
    first, second = axis_of(dim1, rank), axis_of(dim2, rank)
    if rank < 2 or first == second:
        raise ShapeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    row, column = max(-offset, 0), max(offset, 0)
    rows, columns = shape[first], shape[second]
    if not isinstance(rows, int) or not isinstance(columns, int):
        raise ShapeError(compose("diagonal needs known sizes", f"found {list(shape)}"))
    return first, second, row, column, max(min(rows - row, columns - column), 0)


@operation(name="diagonal")
def diagonal_op(b: Builder, input: Value, offset: int, dim1: int, dim2: int) -> Value:
    """The diagonals of planes, along a new last dimension."""
    own = shape_of(input)
    first, second, row, column, count = _diagonal_bounds(own, offset, dim1, dim2)
    others = tuple(a for a in range(len(own)) if a not in (first, second))
    moved = b.transpose(input, perm=(*others, first, second))
    lead = tuple(own[a] for a in others)
    if not count:
        return b.const(zero_of(input), TensorType(dtype_of(input), (*lead, 0)))
    flat = reshape(b, moved, (*lead, own[first] * own[second]))
    # element k is at row (row + k), column (column + k): every (columns + 1)-th element of the flattened plane
    start, step = row * own[second] + column, own[second] + 1
    rank = len(lead)
    found: Value = b.slice(
        flat, starts=(*(0,) * rank, start), limits=(*lead, start + (count - 1) * step + 1), strides=(*(1,) * rank, step)
    )
    return found


@operation(name="diagonal_scatter")
def diagonal_scatter_op(b: Builder, input: Value, src: Value, offset: int, dim1: int, dim2: int) -> Value:
    """The tensor with the diagonals of planes replaced."""
    own = shape_of(input)
    first, second, row, column, count = _diagonal_bounds(own, offset, dim1, dim2)
    others = tuple(a for a in range(len(own)) if a not in (first, second))
    wanted = (*(own[a] for a in others), count)
    check_source(src, wanted)
    spread = diag_embed_op.emit(b, convert(b, src, dtype_of(input)), 0, first, second)
    low: list[Any] = [0] * len(own)
    high = list(low)
    for axis, start in ((first, row), (second, column)):
        low[axis], high[axis] = start, own[axis] - start - count
    spread = b.pad(spread, low=tuple(low), high=tuple(high), value=zero_of(input))
    places = TensorType(i64, own)
    on = b.eq(b.add(b.iota(type=places, axis=first), offset), b.iota(type=places, axis=second))
    found: Value = b.select(on, spread, input)
    return found


def diagonal(input: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """The view of the diagonals of planes, along a new last dimension; `offset` is how far above the main one."""
    first, second, *_ = _diagonal_bounds(input._type.shape, offset, dim1, dim2)
    if is_plain(input):
        array = input._array.diagonal(offset, first, second)
        array.flags.writeable = input._array.flags.writeable
        return plain_view(input, array)
    args = (offset, dim1, dim2)
    return viewed(input, diagonal_op, args, lambda base, value: diagonal_scatter_op(base, value, *args))


def diagonal_scatter(input: Any, src: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """The tensor with the diagonals of planes replaced."""
    return diagonal_scatter_op(input, src, offset, dim1, dim2)


@operation(name="diag_embed")
def diag_embed_op(b: Builder, input: Value, offset: int, dim1: int, dim2: int) -> Value:
    """Planes with the last dimension's elements on a diagonal, zeros elsewhere."""
    own = shape_of(input)
    if not own:
        raise ShapeError("diag_embed expects input of at least 1 dimension")
    rank = len(own) + 1
    first, second = axis_of(dim1, rank), axis_of(dim2, rank)
    if first == second:
        raise ShapeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    size = own[-1] + abs(offset)
    plane = TensorType(i64, (*own[:-1], size, size))
    # element k of a row stands in column k + offset (or in row k - offset): pad to where it is counted along one axis
    padded = b.pad(input, low=(*(0,) * (rank - 2), max(offset, 0)), high=(*(0,) * (rank - 2), max(-offset, 0)), value=zero_of(input))
    spread = b.broadcast_to(padded, shape=plane.shape, dims=(*range(rank - 2), rank - 1))
    on = b.eq(b.add(b.iota(type=plane, axis=rank - 2), offset), b.iota(type=plane, axis=rank - 1))
    found = b.select(on, spread, b.const(zero_of(input), spread))
    order: list[int] = list(range(rank - 2))
    for axis, where in sorted(((first, rank - 2), (second, rank - 1))):
        order.insert(axis, where)
    return found if order == list(range(rank)) else b.transpose(found, perm=tuple(order))  # type: ignore[no-any-return]


def diag_embed(input: Any, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Any:
    """Planes with the last dimension's elements on a diagonal, zeros elsewhere."""
    return diag_embed_op(input, offset, dim1, dim2)


def diag(input: Any, diagonal: int = 0) -> Any:
    """The matrix with a vector on a diagonal; of a matrix, that diagonal."""
    rank = len(input._type.shape)
    if rank not in (1, 2):
        raise ShapeError(f"diag(): Supports 1D or 2D tensors. Got {rank}D")
    return diag_embed_op(input, diagonal, 0, 1) if rank == 1 else diagonal_op(input, diagonal, 0, 1)


def diagflat(input: Any, offset: int = 0) -> Any:
    """The matrix with all elements on a diagonal."""
    return diag_embed_op(ravel(input), offset, 0, 1)


@operation
def tril(b: Builder, input: Value, diagonal: int = 0) -> Value:
    """The lower triangle of matrices; zeros above."""
    return _triangle(b, input, diagonal, lower=True)


@operation
def triu(b: Builder, input: Value, diagonal: int = 0) -> Value:
    """The upper triangle of matrices; zeros below."""
    return _triangle(b, input, diagonal, lower=False)


def _triangle(b: Builder, x: Value, diagonal: int, lower: bool) -> Value:
    rank = len(shape_of(x))
    if rank < 2:
        raise ShapeError(f"{'tril' if lower else 'triu'}: input tensor must have at least 2 dimensions")
    places = TensorType(i64, shape_of(x))
    row, column = b.iota(type=places, axis=rank - 2), b.iota(type=places, axis=rank - 1)
    reach = b.add(row, diagonal)
    inside = b.le(column, reach) if lower else b.ge(column, reach)
    found: Value = b.select(inside, x, b.const(zero_of(x), x))
    return found


@operation
def trace(b: Builder, input: Value) -> Value:
    """The sum of the diagonal of a matrix."""
    if len(shape_of(input)) != 2:
        raise ShapeError(f"trace: expected a matrix, but got tensor with dim {len(shape_of(input))}")
    kind = dtype_of(input)
    return reduce(b, "sum", convert(b, diagonal_op.emit(b, input, 0, 0, 1), kind if kind.kind == "float" else i64))


@operation
def vander(b: Builder, x: Value, N: int | None = None, increasing: bool = False) -> Value:
    """A row of powers of each element: of `N` exponents from 0 on, in falling order unless `increasing`."""
    if len(shape_of(x)) != 1:
        raise ShapeError("x must be a one-dimensional tensor.")
    size = shape_of(x)[0]
    count = size if N is None else N
    type_ = TensorType(dtype_of(x) if dtype_of(x) is not bool_ else i64, (size, count))
    exponent = b.iota(type=type_, axis=1)
    exponent = exponent if increasing else b.sub(b.const(count - 1, exponent), exponent)
    found: Value = b.pow(b.broadcast_to(convert(b, x, type_.dtype), shape=type_.shape, dims=(0,)), exponent)
    return found


FUNCTIONS = (diagonal, diagonal_scatter, diag_embed, diag, diagflat, tril, triu, trace)
"""Functions that are methods, too."""
