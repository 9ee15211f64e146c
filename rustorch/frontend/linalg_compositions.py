"""Linear algebra that is composed of factors and products: functions and norms of matrices, equations of tensors."""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any

from rustorch.errors import ArgumentError, DTypeError, ShapeError, Unsupported, compose
from rustorch.frontend.contraction import cross as _cross
from rustorch.frontend.diagonals import diagonal as _diagonal
from rustorch.frontend.emission import (
    Builder,
    Shape,
    Value,
    axis_of,
    broadcast,
    broadcast_to,
    dtype_of,
    matmul,
    operation,
    promote,
    reduce,
    reshape,
    shape_of,
)
from rustorch.frontend.linalg import identity
from rustorch.frontend.reduction import dims_from
from rustorch.frontend.statistics import length
from rustorch.frontend.storage import into
from rustorch.ir.dims import Size, product
from rustorch.ir.dtypes import title
from rustorch.ir.types import DType, TensorType
from rustorch.ops.matrices import matrix, mm, square, turned, unit_lower

# --- Functions of matrices --------------------------------------------------------------------------------------------


@operation
def matrix_exp(b: Builder, A: Value) -> Value:
    """The exponential of matrices."""
    found: Value = b.matrix_exp(A)
    return found


@operation
def matrix_power(b: Builder, A: Value, n: builtins.int) -> Value:
    """A multiplied by itself; powers below 0 are those of the inverse."""
    square("matrix_power", A.type)
    x = b.inv(A, check=True) if n < 0 else A
    found: Value | None = None
    rest = abs(n)
    while rest:
        if rest & 1:
            found = x if found is None else mm(b, found, x)
        rest >>= 1
        x = mm(b, x, x) if rest else x
    return identity(b, A) if found is None else found


@operation(name="multi_dot")
def multi_dot_op(b: Builder, tensors: Sequence[Value]) -> Value:
    """The product of matrices, in the order that takes the fewest multiplications (Cormen et al., Introduction to Algorithms, 15.2)."""
    listed = list(promote(b, *tensors))
    first, last = len(shape_of(listed[0])) == 1, len(shape_of(listed[-1])) == 1
    if first:
        listed[0] = reshape(b, listed[0], (1, *shape_of(listed[0])))
    if last:
        listed[-1] = reshape(b, listed[-1], (*shape_of(listed[-1]), 1))
    for place, x in enumerate(listed):
        if len(shape_of(x)) != 2:
            raise ShapeError(f"multi_dot(): tensor {place} must be 2D but got {len(shape_of(x))}D")
    sizes = [shape_of(listed[0])[0], *(shape_of(x)[1] for x in listed)]
    known = [n if isinstance(n, builtins.int) else 1000 for n in sizes]
    split = _cheapest(known)

    def multiplied(low: builtins.int, high: builtins.int) -> Value:
        if low == high:
            return listed[low]
        at = split[low, high]
        return matmul(b, multiplied(low, at), multiplied(at + 1, high))

    found = multiplied(0, len(listed) - 1)
    rows, columns = shape_of(found)
    shape: Shape = (*(() if first else (rows,)), *(() if last else (columns,)))
    return reshape(b, found, shape)


def _cheapest(sizes: Sequence[builtins.int]) -> dict[tuple[builtins.int, builtins.int], builtins.int]:
    """Behind which matrix each run of matrices is best cut."""
    count = len(sizes) - 1
    cost = {(k, k): 0 for k in range(count)}
    split: dict[tuple[builtins.int, builtins.int], builtins.int] = {}
    for width in range(1, count):
        for low in range(count - width):
            high = low + width
            cost[low, high], split[low, high] = min(
                (cost[low, at] + cost[at + 1, high] + sizes[low] * sizes[at + 1] * sizes[high + 1], at) for at in range(low, high)
            )
    return split


def multi_dot(tensors: Any, *, out: Any = None) -> Any:
    """The product of two or more matrices, in the cheapest order; the first and the last may be vectors."""
    listed = list(tensors)
    if len(listed) < 2:
        raise ShapeError(f"multi_dot(): expected at least 2 tensors but got {len(listed)}")
    return into(out, multi_dot_op(tuple(listed)))


@operation(name="linalg_vander")
def vander_op(b: Builder, x: Value, count: Size) -> Value:
    """Powers of each element, from 0 on, along a new last dimension."""
    shape = (*shape_of(x), count)
    type_ = TensorType(dtype_of(x), shape)
    base = b.broadcast_to(x, shape=shape, dims=tuple(range(len(shape) - 1)))
    found: Value = b.pow(base, b.iota(type=type_, axis=len(shape) - 1))
    return found


def vander(x: Any, *, N: builtins.int | None = None) -> Any:
    """The powers 0 to N - 1 (as many as there are elements, unless said) of each element, along a new last dimension."""
    if not x._type.shape:
        raise ShapeError("Expected dim of x to be at least 1, but got 0.")
    if N is not None and N <= 1:
        raise ShapeError("N must be greater than 1.")
    return vander_op(x, x._type.shape[-1] if N is None else N)


@operation(name="householder_product")
def householder_product(b: Builder, A: Value, tau: Value) -> Value:
    """The first columns of the product of reflections I - tau v v^T; v: the columns of A below its diagonal, whose 1 is not there."""
    rows, columns = matrix("householder_product", A.type).shape[-2:]
    count = shape_of(tau)[-1]
    if not isinstance(count, builtins.int):
        raise Unsupported(compose("householder_product needs a known number of reflections", f"found {count}"))
    v = unit_lower(b, A)
    found = identity(b, A)
    lead = shape_of(A)[:-2]
    for k in reversed(range(count)):
        own = b.slice(v, starts=(*(0,) * len(lead), 0, k), limits=(*lead, rows, k + 1), strides=(1,) * len(shape_of(A)))
        scale = b.slice(tau, starts=(*(0,) * len(lead), k), limits=(*lead, k + 1), strides=(1,) * len(shape_of(tau)))
        change = mm(b, own, mm(b, turned(b, own), found))
        found = b.sub(found, b.mul(broadcast_to(b, reshape(b, scale, (*lead, 1, 1)), (*lead, rows, columns)), change))
    return found


# --- Norms ------------------------------------------------------------------------------------------------------------


def _of_type(x: Any, dtype: DType | None) -> Any:
    return x if dtype is None else x.to(dtype)


@operation(name="vector_norm")
def vector_norm_op(b: Builder, x: Value, p: builtins.float, dim: Any, keepdim: builtins.bool) -> Value:
    """The p-norm."""
    return length(b, x, p, dim, keepdim)


def vector_norm(
    x: Any, ord: Any = 2, dim: Any = None, keepdim: builtins.bool = False, *, dtype: DType | None = None, out: Any = None
) -> Any:
    """The norm of all elements, or along dimensions, as vectors; at 0 its gradient is 0."""
    if isinstance(ord, str):
        raise ArgumentError(f"linalg.vector_norm(): argument 'ord' must be Number, not {type(ord).__name__}")
    return into(out, vector_norm_op(_of_type(x, dtype), builtins.float(ord), dims_from(dim), bool(keepdim)))


@operation(name="matrix_norm")
def matrix_norm_op(b: Builder, A: Value, ord: Any, dim: tuple[builtins.int, builtins.int], keepdim: builtins.bool) -> Value:
    """The norm of matrices in two dimensions."""
    shape = shape_of(A)
    if len(shape) < 2:
        raise ShapeError("linalg.matrix_norm: The input tensor A must have at least 2 dimensions.")
    if dtype_of(A).kind != "float":
        raise DTypeError(f"linalg.matrix_norm: Expected a floating point or complex tensor as input. Got {title(dtype_of(A))}")
    rows, columns = (axis_of(d, len(shape)) for d in dim)
    if rows == columns:
        raise ShapeError(f"linalg.matrix_norm: dims must be different. Got ({dim[0]}, {dim[1]})")
    if ord == "fro":
        return length(b, A, 2.0, (rows, columns), keepdim)
    if ord in (1, -1, math.inf, -math.inf):
        along, across = (rows, columns) if abs(ord) == 1 else (columns, rows)
        sums = reduce(b, "sum", b.abs(A), along, keepdim=True)
        found = reduce(b, "max" if ord > 0 else "min", sums, across, keepdim=True)
    else:
        rest = tuple(a for a in range(len(shape)) if a not in (rows, columns))
        s = b.svd(b.transpose(A, perm=(*rest, rows, columns)), full=False)[1]
        kind = "sum" if ord == "nuc" else "max" if ord > 0 else "min"
        found = reduce(b, kind, s, -1)
    kept = tuple(1 if a in (rows, columns) else n for a, n in enumerate(shape))
    return reshape(b, found, kept if keepdim else tuple(n for a, n in enumerate(shape) if a not in (rows, columns)))


def matrix_norm(
    A: Any, ord: Any = "fro", dim: Any = (-2, -1), keepdim: builtins.bool = False, *, dtype: DType | None = None, out: Any = None
) -> Any:
    """The norm of matrices: fro, nuc (the sum of singular values), 2 or -2 (the largest or smallest), 1, -1, inf or -inf (sums)."""
    if ord not in ("fro", "nuc", 1, -1, 2, -2, math.inf, -math.inf):
        raise ShapeError(f"linalg.matrix_norm: Order {ord} not supported.")
    kind = ord if isinstance(ord, str) else builtins.float(ord)
    return into(out, matrix_norm_op(_of_type(A, dtype), kind, tuple(dim), bool(keepdim)))


def norm(
    A: Any, ord: Any = None, dim: Any = None, keepdim: builtins.bool = False, *, dtype: DType | None = None, out: Any = None
) -> Any:
    """The norm of vectors or matrices: of matrices where `ord` is a name, where two dimensions are meant, or the tensor has two."""
    dims = (dim,) if isinstance(dim, builtins.int) else None if dim is None else tuple(dim)
    rank = len(A._type.shape)
    if ord is None:
        return vector_norm(A, 2, dims, keepdim, dtype=dtype, out=out)
    if dims is None:
        if rank not in (1, 2):
            raise ShapeError(f"linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got {rank}D.")
        dims = tuple(range(rank))
    if len(dims) not in (1, 2):
        raise ShapeError(f"linalg.norm: If dim is specified, it must be of length 1 or 2. Got {list(dims)}")
    if len(dims) == 2:
        return matrix_norm(A, ord, dims, keepdim, dtype=dtype, out=out)
    return vector_norm(A, ord, dims, keepdim, dtype=dtype, out=out)


@operation(name="cond")
def cond_op(b: Builder, A: Value, ord: Any) -> Value:
    """The condition number."""
    if len(shape_of(A)) < 2:
        raise ShapeError("linalg.cond: The input tensor must have at least 2 dimensions.")
    if ord in (None, 2, -2):
        s = b.svd(A, full=False)[1]
        largest, smallest = (reduce(b, kind, s, -1) for kind in ("max", "min"))
        found: Value = b.div(smallest, largest) if ord == -2 else b.div(largest, smallest)
        return found
    if shape_of(A)[-2] != shape_of(A)[-1]:
        which, sizes = ord if isinstance(ord, str) else f"{ord:g}", " by ".join(map(str, shape_of(A)[-2:]))
        raise ShapeError(f"linalg.cond(ord={which}): A must be batches of square matrices, but they are {sizes} matrices")
    inverse = matrix_norm_op.emit(b, b.inv(A, check=False), ord, (-2, -1), False)
    own = matrix_norm_op.emit(b, A, ord, (-2, -1), False)
    none = b.and_(b.ne(inverse, inverse), b.eq(own, own))  # a singular matrix: an infinite condition
    found = b.select(none, b.const(math.inf, own), b.mul(own, inverse))
    return found  # noqa: RET504


def cond(A: Any, p: Any = None, *, out: Any = None) -> Any:
    """The norm of a matrix times that of its inverse; without `p`, the largest singular value by the smallest."""
    if p not in (None, "fro", "nuc", 1, -1, 2, -2, math.inf, -math.inf):
        raise ShapeError(f"linalg.cond got an invalid norm type: {p}")
    return into(out, cond_op(A, p if p is None or isinstance(p, str) else builtins.float(p)))


# --- Products, and equations of tensors -------------------------------------------------------------------------------


@operation(name="vecdot")
def vecdot_op(b: Builder, x: Value, y: Value, dim: builtins.int) -> Value:
    """The sums of products along a dimension."""
    left, right = broadcast(b, *promote(b, x, y))
    return reduce(b, "sum", b.mul(left, right), dim)


def vecdot(x: Any, y: Any, *, dim: builtins.int = -1, out: Any = None) -> Any:
    """The inner products of vectors along a dimension; the others broadcast."""
    return into(out, vecdot_op(x, y, dim))


def cross(input: Any, other: Any, *, dim: builtins.int = -1, out: Any = None) -> Any:
    """The vector product along a dimension of size 3."""
    return into(out, _cross(input, other, dim))


def diagonal(A: Any, *, offset: builtins.int = 0, dim1: builtins.int = -2, dim2: builtins.int = -1) -> Any:
    """The diagonals of matrices, along a new last dimension."""
    return _diagonal(A, offset, dim1, dim2)


@operation(name="tensorsolve")
def tensorsolve_op(b: Builder, A: Value, B: Value, dims: tuple[builtins.int, ...] | None) -> Value:
    """X with tensordot(A, X, X.ndim) = B."""
    rank = len(shape_of(A))
    if dims is not None:
        last = [axis_of(d, rank) for d in dims]
        A = b.transpose(A, perm=(*(a for a in range(rank) if a not in last), *last))
    front, behind = shape_of(A)[: len(shape_of(B))], shape_of(A)[len(shape_of(B)) :]
    if product(front) != product(behind):
        raise ShapeError(
            "Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == prod(self.shape[:other.ndim]), but got "
            f"{product(behind)} != {product(front)}"
        )
    size = product(behind)
    found = b.solve(reshape(b, A, (size, size)), reshape(b, B, (size, 1)))
    return reshape(b, found, behind)


def tensorsolve(A: Any, B: Any, dims: Any = None, *, out: Any = None) -> Any:
    """X with `tensordot(A, X, X.ndim) == B`."""
    return into(out, tensorsolve_op(A, B, None if dims is None else tuple(dims)))


@operation(name="tensorinv")
def tensorinv_op(b: Builder, A: Value, ind: builtins.int) -> Value:
    """The inverse for tensordot."""
    front, behind = shape_of(A)[:ind], shape_of(A)[ind:]
    if product(front) != product(behind):
        raise ShapeError(
            "Expected self to satisfy the requirement prod(self.shape[ind:]) == prod(self.shape[:ind]), but got "
            f"{product(behind)} != {product(front)}"
        )
    size = product(front)
    return reshape(b, b.inv(reshape(b, A, (size, size)), check=True), (*behind, *front))


def tensorinv(A: Any, ind: builtins.int = 2, *, out: Any = None) -> Any:
    """The inverse of A for `tensordot` over `ind` dimensions."""
    if ind <= 0:
        raise ShapeError(f"Expected a strictly positive integer for 'ind', but got {ind}")
    return into(out, tensorinv_op(A, ind))


METHODS: dict[str, Any] = {"matrix_power": matrix_power, "matrix_exp": matrix_exp, "vecdot": vecdot}
"""Methods of tensors."""
