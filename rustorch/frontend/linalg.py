"""Factors and solutions: PyTorch's names in front of the ops of `ops/linalg.py` and `ops/factors.py`.

Matrices are the last two dimensions. Operations with the ops' names record one of them; a plain function around one says what a default
or a mode means.
"""

from __future__ import annotations

import builtins
import math
from typing import Any, NamedTuple

import numpy as np

from rustorch.errors import ShapeError, Unsupported, compose
from rustorch.frontend.base import TensorBase
from rustorch.frontend.emission import (
    Builder,
    Value,
    broadcast_shapes,
    broadcast_to,
    convert,
    dtype_of,
    operation,
    reduce,
    reshape,
    shape_of,
)
from rustorch.frontend.storage import into
from rustorch.ir.dims import minimum, product
from rustorch.ir.dtypes import i32, i64, title
from rustorch.ir.types import DType, TensorType
from rustorch.ops.matrices import block, by_row, different_types, matrix, mm, part, square, turned, unit_lower


class Slogdet(NamedTuple):
    """The sign of a determinant, and the logarithm of its absolute value."""

    sign: Any
    logabsdet: Any


class LU(NamedTuple):
    """A = P L U."""

    P: Any
    L: Any
    U: Any


class LUFactors(NamedTuple):
    """L and U in one matrix, and the row (from 1) that each row changed places with."""

    LU: Any
    pivots: Any


class QR(NamedTuple):
    """A = Q R."""

    Q: Any
    R: Any


class Eigh(NamedTuple):
    """Eigenvalues in ascending order, and eigenvectors as columns."""

    eigenvalues: Any
    eigenvectors: Any


class SVD(NamedTuple):
    """A = U diag(S) Vh."""

    U: Any
    S: Any
    Vh: Any


class OldSVD(NamedTuple):
    """A = U diag(S) V^T."""

    U: Any
    S: Any
    V: Any


class Lstsq(NamedTuple):
    """What makes |A X - B| smallest, and what is known of A."""

    solution: Any
    residuals: Any
    rank: Any
    singular_values: Any


class CholeskyEx(NamedTuple):
    """The factor; zeros where there is one."""

    L: Any
    info: Any


# --- What several of them need ----------------------------------------------------------------------------------------


def _matched(b: Builder, *xs: Value) -> tuple[Value, ...]:
    """Matrices with their batches broadcast."""
    lead = broadcast_shapes(*(shape_of(x)[:-2] for x in xs))
    return tuple(broadcast_to(b, x, (*lead, *shape_of(x)[-2:])) for x in xs)


def identity(b: Builder, like: Value) -> Value:
    """Identity matrices."""
    return part(b, b.const(1, like), "eq")


def _check_ranks(name: str, *named: tuple[str, Value]) -> None:
    for which, x in named:
        if len(shape_of(x)) < 2:
            raise ShapeError(f"linalg.{name}: The input tensor {which} must have at least 2 dimensions.")


def _check_system(name: str, a: Value, right: Value, left: builtins.bool = True) -> None:
    """The checks of A X = B that broadcasting would hide."""
    square(name, a.type)
    rows = shape_of(right)[-2 if left else -1]
    if rows != shape_of(a)[-1]:
        sizes = [f"{shape_of(x)[-2]}x{shape_of(x)[-1]}" for x in (a, right)]
        equation = "AX = B" if left else "XA = B"
        raise ShapeError(f"linalg.{name}: Incompatible shapes of A and B for the equation {equation} ({sizes[0]} and {sizes[1]})")
    if dtype_of(a) is not dtype_of(right):
        raise different_types(name, dtype_of(a), dtype_of(right))


def _epsilon(dtype: DType) -> builtins.float:
    return builtins.float(np.finfo(dtype.numpy).eps)


def _cut(input: Any, atol: Any, rtol: Any) -> tuple[builtins.float, builtins.float]:
    """Below which singular values count as zeros: absolute, and relative to the largest one."""
    for tolerance in (atol, rtol):
        if isinstance(tolerance, TensorBase):
            raise Unsupported(compose("atol and rtol as tensors are not there", todo="Give one number for all matrices."))
    if rtol is None:
        sizes = [n for n in input._type.shape[-2:] if isinstance(n, builtins.int)]
        rtol = 0.0 if atol else max(sizes, default=1) * _epsilon(input._type.dtype)
    return builtins.float(atol or 0.0), builtins.float(rtol)


# --- Cholesky ---------------------------------------------------------------------------------------------------------


@operation
def cholesky(b: Builder, input: Value, *, upper: builtins.bool = False) -> Value:
    """The lower triangular L with A = L L^T of a positive definite matrix; `upper`: its transpose."""
    square("cholesky", input.type)
    found: Value = b.cholesky(turned(b, input) if upper else input)
    return turned(b, found) if upper else found


def cholesky_ex(input: Any, *, upper: builtins.bool = False, check_errors: builtins.bool = False, out: Any = None) -> Any:
    """`cholesky`, and zeros that say that there is a factor: a matrix that has none is an error here, too."""
    found = cholesky(input, upper=upper)
    return CholeskyEx(found, _no_errors(input))


@operation(name="cholesky_ex", blocks=True)
def _no_errors(b: Builder, input: Value) -> Value:
    """A zero for each matrix."""
    zeros: Value = b.const(0, TensorType(i32, shape_of(input)[:-2]))
    return zeros


def _by_factor(b: Builder, right: Value, factor: Value, upper: builtins.bool) -> Value:
    """X with L L^T X = B (or U^T U X = B)."""
    low = turned(b, factor) if upper else factor
    half = b.solve_triangular(low, right, upper=False, unit=False)
    found: Value = b.solve_triangular(turned(b, low), half, upper=True, unit=False)
    return found


@operation
def cholesky_solve(b: Builder, input: Value, input2: Value, upper: builtins.bool = False) -> Value:
    """X with A X = B, from B and the Cholesky factor of A."""
    for x in (input, input2):
        if len(shape_of(x)) < 2:
            raise ShapeError(f"b should have at least 2 dimensions, but has {len(shape_of(x))} dimensions instead")
    _check_system("cholesky_solve", input2, input)
    right, factor = _matched(b, input, input2)
    return _by_factor(b, right, factor, upper)


@operation
def cholesky_inverse(b: Builder, input: Value, upper: builtins.bool = False) -> Value:
    """The inverse of A, from its Cholesky factor."""
    square("cholesky_inverse", input.type)
    return _by_factor(b, identity(b, input), input, upper)


# --- Solving ----------------------------------------------------------------------------------------------------------


@operation
def solve(b: Builder, A: Value, B: Value, *, left: builtins.bool = True) -> Value:
    """X with A X = B (with `left=False`: X A = B). B is a vector, or a batch of them, where its shape is that of A without columns."""
    square("solve", A.type)
    vector = len(shape_of(B)) == 1 or (len(shape_of(A)) - 1 == len(shape_of(B)) and shape_of(B) == shape_of(A)[:-1])
    right = reshape(b, B, (*shape_of(B), 1)) if vector else B
    if vector and not left:
        raise ShapeError(
            "linalg.solve: Vector broadcasting of the left hand side is not supported for left=False. In this case linalg.solve is "
            "equivalent to B / A.squeeze(-1)"
        )
    _check_system("solve", A, right, left)
    a, right = _matched(b, A, right)
    if not left:
        return turned(b, b.solve(turned(b, a), turned(b, right)))
    found: Value = b.solve(a, right)
    return reshape(b, found, shape_of(found)[:-1]) if vector else found


@operation
def solve_triangular(
    b: Builder, input: Value, B: Value, *, upper: builtins.bool, left: builtins.bool = True, unitriangular: builtins.bool = False
) -> Value:
    """X with A X = B (with `left=False`: X A = B), A triangular."""
    _check_ranks("solve_triangular", ("A", input), ("B", B))
    _check_system("solve_triangular", input, B, left)
    a, right = _matched(b, input, B)
    if left:
        found: Value = b.solve_triangular(a, right, upper=upper, unit=unitriangular)
        return found
    return turned(b, b.solve_triangular(turned(b, a), turned(b, right), upper=not upper, unit=unitriangular))


@operation
def inv(b: Builder, A: Value) -> Value:
    """The inverse."""
    found: Value = b.inv(A, check=True)
    return found


@operation(name="lu_factor")
def lu_factor_op(b: Builder, A: Value) -> LUFactors:
    """L and U in one matrix, and the pivots."""
    return LUFactors(*b.lu_factor(A))


def lu_factor(A: Any, *, pivot: builtins.bool = True, out: Any = None) -> Any:
    """A = P L U, L and U in one matrix, with pivots."""
    _check_pivot("lu_factor", pivot)
    return into(out, lu_factor_op(A))


def _check_pivot(name: str, pivot: builtins.bool) -> None:
    if not pivot:
        raise ShapeError(f"linalg.{name}: LU without pivoting is not implemented on the CPU")


@operation(name="lu_permutation", blocks=True)
def _permutation(b: Builder, lu: Value, pivots: Value) -> Value:
    """P, which is constant."""
    rows, lead = shape_of(lu)[-2], shape_of(lu)[:-2]
    at = TensorType(i64, (*lead, rows, rows))
    # row k of P^T A is row order[k] of A, so column k of P has its 1 there
    wanted = b.broadcast_to(b.row_order(pivots, lu), shape=at.shape, dims=(*range(len(lead)), len(lead) + 1))
    found: Value = b.convert(b.eq(b.iota(type=at, axis=len(lead)), wanted), dtype=dtype_of(lu))
    return found


@operation(name="lu_triangles")
def _triangles(b: Builder, lu: Value) -> tuple[Value, Value]:
    """L and U."""
    rows, columns = shape_of(lu)[-2:]
    size = minimum(rows, columns)
    return unit_lower(b, block(b, lu, rows, size)), part(b, block(b, lu, size, columns), "le")


def lu(A: Any, *, pivot: builtins.bool = True, out: Any = None) -> Any:
    """A = P L U: a permutation, a lower triangle with ones on its diagonal, an upper triangle."""
    _check_pivot("lu", pivot)
    return into(out, lu_unpack(*lu_factor_op(A)))


def lu_unpack(LU_data: Any, LU_pivots: Any, unpack_data: builtins.bool = True, unpack_pivots: builtins.bool = True) -> Any:
    """P, L and U of what `lu_factor` gives."""
    return LU(_permutation(LU_data, LU_pivots), *_triangles(LU_data))


@operation
def lu_solve(
    b: Builder, LU: Value, pivots: Value, B: Value, *, left: builtins.bool = True, adjoint: builtins.bool = False
) -> Value:
    """X with A X = B (`left=False`: X A = B; `adjoint`: with A^T), from what `lu_factor` gives."""
    _check_ranks("lu_solve", ("LU", LU), ("B", B))
    _check_system("lu_solve", LU, B, left)
    if not left:  # X A = B is A^T X^T = B^T
        B, adjoint = turned(b, B), not adjoint
    lu, right = _matched(b, LU, B)
    order = broadcast_to(b, b.row_order(pivots, LU), shape_of(lu)[:-1])
    rows = by_row(b, order, right)
    axis = len(shape_of(right)) - 2
    if adjoint:  # A^T = U^T L^T P^T
        half = b.solve_triangular(turned(b, lu), right, upper=False, unit=False)
        inner = b.solve_triangular(turned(b, lu), half, upper=True, unit=True)
        found: Value = b.scatter_add(b.const(0, inner), rows, inner, axis=axis)
    else:
        half = b.solve_triangular(lu, b.gather(right, rows, axis=axis), upper=False, unit=True)
        found = b.solve_triangular(lu, half, upper=True, unit=False)
    return found if left else turned(b, found)


# --- Determinants -----------------------------------------------------------------------------------------------------


@operation
def det(b: Builder, A: Value) -> Value:
    """The determinant. Its gradient is the matrix of cofactors, of singular matrices, too."""
    found: Value = b.det(A)
    return found


@operation
def slogdet(b: Builder, A: Value) -> Slogdet:
    """The sign of the determinant and the logarithm of its absolute value."""
    return Slogdet(*b.slogdet(A))


@operation
def logdet(b: Builder, input: Value) -> Value:
    """The logarithm of the determinant; NaN where that is negative."""
    sign, logarithm = b.slogdet(input)
    found: Value = b.select(b.lt(sign, 0), b.const(math.nan, logarithm), logarithm)
    return found


# --- Orthogonal factors -----------------------------------------------------------------------------------------------


@operation(name="qr")
def qr_op(b: Builder, A: Value, complete: builtins.bool) -> QR:
    """Q and R."""
    return QR(*b.qr(A, complete=complete))


@operation(name="qr_r")
def _only_r(b: Builder, A: Value) -> QR:
    """Nothing, and R."""
    _, r = b.qr(A, complete=False)
    return QR(b.const(0, TensorType(dtype_of(A), (0,))), r)


def qr(A: Any, mode: str = "reduced", *, out: Any = None) -> Any:
    """A = Q R. `mode`: reduced, complete (Q square; no derivative where A has more rows than columns), or r (R alone)."""
    if mode not in ("reduced", "complete", "r"):
        raise ShapeError(f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', or 'complete'")
    return into(out, _only_r(A) if mode == "r" else qr_op(A, mode == "complete"))


@operation(name="eigh")
def eigh_op(b: Builder, A: Value, lower: builtins.bool) -> Eigh:
    """Eigenvalues and eigenvectors."""
    return Eigh(*b.eigh(A, lower=lower))


@operation(name="eigvalsh")
def eigvalsh_op(b: Builder, A: Value, lower: builtins.bool) -> Value:
    """Eigenvalues."""
    found: Value = b.eigh(A, lower=lower)[0]
    return found


def _is_lower(UPLO: str) -> builtins.bool:
    if UPLO not in ("L", "U", "l", "u"):
        raise ShapeError(f"Expected UPLO argument to be 'L' or 'U', but got {UPLO}")
    return UPLO in ("L", "l")


def eigh(A: Any, UPLO: str = "L", *, out: Any = None) -> Any:
    """Eigenvalues in ascending order, and eigenvectors, of a symmetric matrix, of which one triangle is read.

    The gradient through eigenvectors is finite only where all eigenvalues are distinct.
    """
    return into(out, eigh_op(A, _is_lower(UPLO)))


def eigvalsh(A: Any, UPLO: str = "L", *, out: Any = None) -> Any:
    """The eigenvalues, in ascending order, of a symmetric matrix, of which one triangle is read."""
    return into(out, eigvalsh_op(A, _is_lower(UPLO)))


@operation(name="svd")
def svd_op(b: Builder, A: Value, full: builtins.bool) -> SVD:
    """U, S and V transposed."""
    return SVD(*b.svd(A, full=full))


def svd(A: Any, full_matrices: builtins.bool = True, *, driver: str | None = None, out: Any = None) -> Any:
    """A = U diag(S) Vh, S in descending order; U and Vh square, or with as many vectors as S has numbers.

    The gradient through U and Vh is finite only where all singular values are distinct and not 0, and does not see the further vectors
    of square ones, which are not determined.
    """
    return into(out, svd_op(A, bool(full_matrices)))


@operation(name="svdvals")
def svdvals_op(b: Builder, A: Value) -> Value:
    """The singular values."""
    found: Value = b.svd(A, full=False)[1]
    return found


def svdvals(A: Any, *, driver: str | None = None, out: Any = None) -> Any:
    """The singular values in descending order; their gradient is finite for equal ones, too."""
    return into(out, svdvals_op(A))


@operation(name="pinv")
def pinv_op(b: Builder, A: Value, atol: builtins.float, rtol: builtins.float, hermitian: builtins.bool) -> Value:
    """The pseudoinverse."""
    found: Value = b.pinv(A, atol=atol, rtol=rtol, hermitian=hermitian)
    return found


def pinv(A: Any, rcond: Any = None, hermitian: builtins.bool = False, *, atol: Any = None, rtol: Any = None, out: Any = None) -> Any:
    """The pseudoinverse: singular values up to max(atol, rtol * the largest) count as zeros."""
    if isinstance(A, TensorBase) and len(A._type.shape) < 2:
        found = f"{title(A._type.dtype)}{{{list(A._type.shape)}}}"
        raise ShapeError(
            f"linalg.pinv({found}): expected a tensor with 2 or more dimensions of float, double, cfloat or cdouble types"
        )
    absolute, relative = _cut(A, atol, rtol if rcond is None else rcond)
    return into(out, pinv_op(A, absolute, relative, bool(hermitian)))


@operation(name="matrix_rank", blocks=True)
def matrix_rank_op(b: Builder, A: Value, atol: builtins.float, rtol: builtins.float, hermitian: builtins.bool) -> Value:
    """How many singular values are above the cut."""
    s = b.abs(b.eigh(A, lower=True)[0]) if hermitian else b.svd(A, full=False)[1]
    if product(shape_of(s)[-1:]) == 0:
        return b.const(0, TensorType(i64, shape_of(s)[:-1]))
    largest = reduce(b, "max", s, -1, keepdim=True)
    cut = broadcast_to(b, b.maximum(b.mul(largest, rtol), atol), shape_of(s))
    return reduce(b, "sum", convert(b, b.gt(s, cut), i64), -1)


def matrix_rank(A: Any, tol: Any = None, hermitian: builtins.bool = False, *, atol: Any = None, rtol: Any = None, out: Any = None) -> Any:
    """How many singular values are above max(atol, rtol * the largest)."""
    if len(A._type.shape) < 2:
        raise ShapeError("torch.linalg.matrix_rank: The input tensor input must have at least 2 dimensions.")
    absolute, relative = (builtins.float(tol), 0.0) if tol is not None else _cut(A, atol, rtol)
    return into(out, matrix_rank_op(A, absolute, relative, bool(hermitian)))


@operation(name="lstsq")
def lstsq_op(b: Builder, A: Value, B: Value, rcond: builtins.float, driver: str) -> tuple[Value, Value]:
    """The solution through the pseudoinverse, and the residuals."""
    matrix("lstsq", A.type)
    vector = len(shape_of(A)) - 1 == len(shape_of(B)) and shape_of(B) == shape_of(A)[:-1]
    right = reshape(b, B, (*shape_of(B), 1)) if vector else B
    if len(shape_of(right)) < 2 or shape_of(A)[-2] != shape_of(right)[-2]:
        raise ShapeError("torch.linalg.lstsq: input.size(-2) should match other.size(-2)")
    a, right = _matched(b, A, right)
    found = mm(b, b.pinv(a, atol=0.0, rtol=rcond, hermitian=False), right)
    rows, columns = shape_of(A)[-2:]
    tall = driver != "gelsy" and isinstance(rows, builtins.int) and isinstance(columns, builtins.int) and rows > columns
    distance = b.sub(mm(b, a, found), right)
    residuals = reduce(b, "sum", b.mul(distance, distance), -2) if tall else b.const(0, TensorType(dtype_of(A), (0,)))
    return (reshape(b, found, shape_of(found)[:-1]) if vector else found), residuals


@operation(name="lstsq_rank", blocks=True)
def _known_of(b: Builder, A: Value, rcond: builtins.float, driver: str) -> tuple[Value, Value]:
    """The rank and the singular values, which are constant here, where the driver gives them."""
    rank = matrix_rank_op.emit(b, A, 0.0, rcond, False) if driver != "gels" else b.const(0, TensorType(i64, (0,)))
    return rank, b.svd(A, full=False)[1] if driver in ("gelsd", "gelss") else b.const(0, TensorType(dtype_of(A), (0,)))


def lstsq(A: Any, B: Any, rcond: Any = None, *, driver: str | None = None) -> Any:
    """X with the smallest |A X - B|, and of those with the smallest |X|; differentiable where the rank of A is constant around it.

    Residuals are given for more rows than columns by the drivers gels, gelsd and gelss, the rank by all but gels, singular values by
    gelsd and gelss; what is not given is empty. The default is gelsy. All of them compute through the singular values.
    """
    if driver not in (None, "gels", "gelsy", "gelsd", "gelss"):
        raise ShapeError(
            "torch.linalg.lstsq: parameter `driver` should be one of (gels, gelsy, gelsd, gelss)"
        )
    _, relative = _cut(A, None, rcond)
    return Lstsq(*lstsq_op(A, B, relative, driver or "gelsy"), *_known_of(A, relative, driver or "gelsy"))


# --- Older names ------------------------------------------------------------------------------------------------------


def old_qr(input: Any, some: builtins.bool = True, *, out: Any = None) -> Any:
    """`linalg.qr`: reduced, or complete without `some`."""
    return qr(input, "reduced" if some else "complete", out=out)


def old_cholesky(input: Any, upper: builtins.bool = False, *, out: Any = None) -> Any:
    """`linalg.cholesky`."""
    return into(out, cholesky(input, upper=upper))


def old_svd(input: Any, some: builtins.bool = True, compute_uv: builtins.bool = True, *, out: Any = None) -> Any:
    """A = U diag(S) V^T: `linalg.svd`, but with V; reduced, or full without `some`."""
    u, s, vh = svd(input, not some)
    return OldSVD(u, s, vh.mT)


def pinverse(input: Any, rcond: builtins.float = 1e-15) -> Any:
    """`linalg.pinv`."""
    return pinv(input, rcond)


inverse = inv

METHODS: dict[str, Any] = {
    "det": det, "slogdet": slogdet, "logdet": logdet, "inverse": inv, "cholesky": old_cholesky, "cholesky_solve": cholesky_solve,
    "cholesky_inverse": cholesky_inverse, "qr": old_qr, "svd": old_svd, "pinverse": pinverse,
}  # fmt: skip
"""Methods of tensors."""
