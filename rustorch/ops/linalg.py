"""Linear algebra: decompositions and solutions, computed by LAPACK outside of native code, with derivatives as mathematics.

    func @f(%a: f64[3, 3], %y: f64[3, 2]) -> f64[3, 2] {
      %0 = cholesky %a : f64[3, 3]
      %1 = solve_triangular %0, %y {unit = false, upper = false} : f64[3, 2]
      return %1
    }

Matrices are the last two axes, axes before them are batches. The derivatives are closed forms in terms of these ops and products, so
they exist in every order. Sources, named at the rules:

- Giles, Collected matrix derivative results for forward and reverse mode algorithmic differentiation, 2008;
- Seeger, Hetzel, Dai, Meissner, Lawrence, Auto-differentiating linear algebra, 2017;
- Townsend, Differentiating the singular value decomposition, 2016;
- Murray, Differentiation of the Cholesky decomposition, 2016;
- Golub & Pereyra, The differentiation of pseudo-inverses and nonlinear least squares problems, 1973.

Where a matrix is degenerate (equal singular values or eigenvalues for derivatives of vectors, a rank below full for those of QR and
LU) the derivative does not exist, and formulas give infinities or NaN, as PyTorch's do.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rustorch.errors import DTypeError, ShapeError
from rustorch.ir.builder import Builder
from rustorch.ir.dtypes import f32, f64
from rustorch.ir.graph import Value
from rustorch.ir.op import Refusal, Rules
from rustorch.ir.types import DType, TensorType, Type
from rustorch.ops import lapack
from rustorch.ops.family import Array, Formula, shape_of
from rustorch.ops.matrices import (
    SQUARES,
    Maybe,
    Values,
    block,
    by_matrix,
    drawn,
    half_diagonal,
    inner,
    mm,
    not_square,
    part,
    record,
    singular,
    square,
    system,
    total,
    trace,
    turned,
    well,
)

# --- Cholesky ---------------------------------------------------------------------------------------------------------


def _cholesky_jvp(b: Builder, operands: Values, tangents: Maybe, results: Values, attrs: Any) -> Maybe:
    """dL = L P(L^-1 dA L^-T), P: the lower triangle with its diagonal halved (Murray 2016, eq. 8)."""
    (t,), (low,) = tangents, results
    if t is None:
        return [None]
    symmetric = b.mul(b.add(t, turned(b, t)), 0.5)
    half = b.solve_triangular(low, symmetric, upper=False, unit=False)
    whole = b.solve_triangular(low, turned(b, half), upper=False, unit=False)
    return [mm(b, low, half_diagonal(b, part(b, whole, "ge")))]


def _cholesky_vjp(b: Builder, cotangents: Maybe, operands: Values, results: Values, attrs: Any) -> Maybe:
    """A' = L^-T P(L^T L') L^-1, symmetrized (Murray 2016, eq. 10)."""
    (ct,), (low,) = cotangents, results
    if ct is None:
        return [None]
    middle = half_diagonal(b, part(b, mm(b, turned(b, low), ct), "ge"))
    symmetric = b.mul(b.add(middle, turned(b, middle)), 0.5)
    up = turned(b, low)
    half = b.solve_triangular(up, symmetric, upper=True, unit=False)
    return [turned(b, b.solve_triangular(up, turned(b, half), upper=True, unit=False))]


def _definite(rng: np.random.Generator, dtype: DType, shape: tuple[int, ...]) -> Array:
    x = rng.uniform(-1, 1, shape)
    return np.asarray(x @ np.swapaxes(x, -1, -2) + np.eye(shape[-1])).astype(dtype.numpy)


cholesky = record(
    "cholesky",
    "The lower triangular L with A = L L^T, A symmetric and positive definite; its lower triangle is read.",
    infer=lambda a: square("cholesky", a),
    reference=lapack.cholesky,
    rules=Rules(_cholesky_jvp, _cholesky_vjp),
    samples=drawn(_definite, (*SQUARES, (70, 70)), smooth=False),  # moved alone, an element above the diagonal changes nothing
    errors=not_square(),
)


# --- Solving ----------------------------------------------------------------------------------------------------------


def _solve_jvp(b: Builder, operands: Values, tangents: Maybe, results: Values, attrs: Any) -> Maybe:
    """dX = A^-1 (dB - dA X) (Giles 2008, 2.3.1)."""
    (a, _), (ta, tb), (x,) = operands, tangents, results
    right = total(b, [tb, None if ta is None else b.neg(mm(b, ta, x))])
    return [None if right is None else b.solve(a, right)]


def _solve_vjp(b: Builder, cotangents: Maybe, operands: Values, results: Values, attrs: Any) -> Maybe:
    """B' = A^-T X', A' = -B' X^T (Giles 2008, 2.3.1)."""
    (ct,), (a, _), (x,) = cotangents, operands, results
    if ct is None:
        return [None, None]
    right = b.solve(turned(b, a), ct)
    return [b.neg(mm(b, right, turned(b, x))), right]


_SYSTEM_ERRORS: tuple[tuple[tuple[Type, ...], type[Exception], str], ...] = (
    ((f64[3, 4], f64[3, 2]), ShapeError, "square matrices, but they are 3 by 4"),
    ((f64[3, 3], f64[4, 2]), ShapeError, "Incompatible shapes of A and B for the equation AX = B (3x3 and 4x2)"),
    ((f64[3, 3], f32[3, 2]), DTypeError, "A of type Double and B of type Float"),
)

solve = record(
    "solve",
    "X with A X = B.",
    operands=2,
    infer=lambda a, b: system("solve", a, b),
    reference=lapack.solve,
    rules=Rules(_solve_jvp, _solve_vjp),
    samples=drawn(well, SQUARES, right=(2, 0, 1)),
    errors=tuple(Refusal(types, {}, error, words) for types, error, words in _SYSTEM_ERRORS),
)


def _triangle(b: Builder, x: Value, upper: bool, unit: bool) -> Value:
    """The elements that a triangular system reads."""
    return part(b, x, ("lt" if unit else "le") if upper else ("gt" if unit else "ge"))


def _triangular_jvp(b: Builder, operands: Values, tangents: Maybe, results: Values, attrs: Any) -> Maybe:
    (a, _), (ta, tb), (x,) = operands, tangents, results
    right = total(b, [tb, None if ta is None else b.neg(mm(b, _triangle(b, ta, **attrs), x))])
    return [None if right is None else b.solve_triangular(a, right, **attrs)]


def _triangular_vjp(b: Builder, cotangents: Maybe, operands: Values, results: Values, attrs: Any) -> Maybe:
    (ct,), (a, _), (x,) = cotangents, operands, results
    if ct is None:
        return [None, None]
    right = b.solve_triangular(turned(b, a), ct, upper=not attrs["upper"], unit=attrs["unit"])
    return [b.neg(_triangle(b, mm(b, right, turned(b, x)), **attrs)), right]


solve_triangular = record(
    "solve_triangular",
    "X with A X = B, A upper or lower triangular: the other triangle is not read, nor is the diagonal where it is said to be `unit`.",
    operands=2,
    infer=lambda a, b, upper, unit: system("solve_triangular", a, b),
    reference=lapack.solve_triangular,
    rules=Rules(_triangular_jvp, _triangular_vjp),
    attributes=("upper", "unit"),
    samples=(
        *drawn(well, (*SQUARES, (70, 70)), {"upper": False, "unit": False}, right=(2,)),
        *drawn(well, SQUARES, {"upper": True, "unit": False}, right=(1, 0)),
        *drawn(well, ((3, 3), (2, 4, 4)), {"upper": True, "unit": True}, right=(2,)),
        *drawn(well, ((3, 3), (2, 4, 4)), {"upper": False, "unit": True}, right=(2,)),
    ),
    errors=tuple(Refusal(types, {"upper": True, "unit": False}, error, words) for types, error, words in _SYSTEM_ERRORS),
)


def _inv_jvp(b: Builder, operands: Values, tangents: Maybe, results: Values, attrs: Any) -> Maybe:
    """dC = -C dA C (Giles 2008, 2.2.3)."""
    (t,), (c,) = tangents, results
    return [None if t is None else b.neg(mm(b, c, t, c))]


def _inv_vjp(b: Builder, cotangents: Maybe, operands: Values, results: Values, attrs: Any) -> Maybe:
    """A' = -C^T C' C^T (Giles 2008, 2.2.3)."""
    (ct,), (c,) = cotangents, results
    return [None if ct is None else b.neg(mm(b, turned(b, c), ct, turned(b, c)))]


inv = record(
    "inv",
    "The inverse. A singular matrix is an error, or has NaN in place of it without `check`.",
    infer=lambda a, check: square("inv", a),
    reference=lapack.inv,
    rules=Rules(_inv_jvp, _inv_vjp),
    attributes=("check",),
    samples=(
        *drawn(well, SQUARES, {"check": True}),
        *drawn(lambda rng, d, n: np.ones(n, d.numpy), ((3, 3),), {"check": False}, False),
    ),
    errors=not_square({"check": True}),
)


# --- Determinants -----------------------------------------------------------------------------------------------------


def _det_jvp(b: Builder, operands: Values, tangents: Maybe, results: Values, attrs: Any) -> Maybe:
    """d det A = <cof A, dA> (Jacobi; Giles 2008, 2.2.4)."""
    (a,), (t,) = operands, tangents
    return [None if t is None else inner(b, b.cofactor(a), t)]


def _det_vjp(b: Builder, cotangents: Maybe, operands: Values, results: Values, attrs: Any) -> Maybe:
    (ct,), (a,) = cotangents, operands
    return [None if ct is None else b.mul(by_matrix(b, ct, a), b.cofactor(a))]


def _without_matrix(name: str) -> Formula:
    def infer(a: Type) -> TensorType:
        type_ = square(name, a)
        return type_.with_shape(type_.shape[:-2])

    return infer


det = record(
    "det",
    "The determinant.",
    infer=_without_matrix("det"),
    reference=lapack.det,
    rules=Rules(_det_jvp, _det_vjp),
    samples=drawn(well, (*SQUARES, (5, 5), (20, 3, 3))),
    errors=not_square(),
    kinks="The gradient is the matrix of cofactors, of singular matrices, too; second derivatives there are NaN.",
)


def _cofactor_jvp(b: Builder, operands: Values, tangents: Maybe, results: Values, attrs: Any) -> Maybe:
    """With X = A^-1 dA: dC = tr(X) C - C X^T, from C = det(A) A^-T."""
    (a,), (t,), (c,) = operands, tangents, results
    if t is None:
        return [None]
    x = mm(b, b.inv(a, check=False), t)
    return [b.sub(b.mul(by_matrix(b, trace(b, x), c), c), mm(b, c, turned(b, x)))]


def _cofactor_vjp(b: Builder, cotangents: Maybe, operands: Values, results: Values, attrs: Any) -> Maybe:
    """A' = A^-T (<C', C> I - C'^T C)."""
    (ct,), (a,), (c,) = cotangents, operands, results
    if ct is None:
        return [None]
    flipped = mm(b, turned(b, ct), c)
    scalar = by_matrix(b, inner(b, ct, c), c)
    return [mm(b, turned(b, b.inv(a, check=False)), b.sub(part(b, scalar, "eq"), flipped))]


cofactor = record(
    "cofactor",
    "The matrix of cofactors: det(A) A^-T, of singular matrices, too.",
    infer=lambda a: square("cofactor", a),
    reference=lapack.cofactor,
    rules=Rules(_cofactor_jvp, _cofactor_vjp),
    samples=drawn(well, SQUARES) + drawn(singular, ((3, 3), (2, 4, 4)), smooth=False),
    errors=not_square(),
    kinks="Of singular matrices the derivative is NaN.",
)


def _slogdet_jvp(b: Builder, operands: Values, tangents: Maybe, results: Values, attrs: Any) -> Maybe:
    """d log |det A| = tr(A^-1 dA) (Giles 2008, 2.2.4); the sign is constant."""
    (a,), (t,) = operands, tangents
    return [None, None if t is None else inner(b, turned(b, b.inv(a, check=False)), t)]


def _slogdet_vjp(b: Builder, cotangents: Maybe, operands: Values, results: Values, attrs: Any) -> Maybe:
    (_, ct), (a,) = cotangents, operands
    return [None if ct is None else b.mul(by_matrix(b, ct, a), turned(b, b.inv(a, check=False)))]


def _slogdet_type(a: Type) -> tuple[TensorType, TensorType]:
    type_: TensorType = _without_matrix("slogdet")(a)
    return type_, type_


slogdet = record(
    "slogdet",
    "The sign of the determinant and the logarithm of its absolute value.",
    infer=_slogdet_type,
    reference=lapack.slogdet,
    rules=Rules(_slogdet_jvp, _slogdet_vjp),
    samples=drawn(well, (*SQUARES, (5, 5), (20, 3, 3))),
    errors=not_square(),
    kinks="Of singular matrices the derivative is NaN.",
)


# --- Exponentials -----------------------------------------------------------------------------------------------------


def _frechet(b: Builder, a: Value, along: Value) -> Value:
    """The derivative of exp at A along E: the upper right block of exp [[A, E], [0, A]] (Van Loan 1978; Higham 2008, eq. 3.16)."""
    rank, size = len(shape_of(a)), shape_of(a)[-1]
    top = b.concat(a, along, axis=rank - 1)
    bottom = b.concat(b.const(0, a), a, axis=rank - 1)
    return block(b, b.matrix_exp(b.concat(top, bottom, axis=rank - 2)), size, size, (0, size))


def _exp_jvp(b: Builder, operands: Values, tangents: Maybe, results: Values, attrs: Any) -> Maybe:
    (a,), (t,) = operands, tangents
    return [None if t is None else _frechet(b, a, t)]


def _exp_vjp(b: Builder, cotangents: Maybe, operands: Values, results: Values, attrs: Any) -> Maybe:
    """The transpose of the derivative at A is that at A^T."""
    (ct,), (a,) = cotangents, operands
    return [None if ct is None else _frechet(b, turned(b, a), ct)]


matrix_exp = record(
    "matrix_exp",
    "The exponential of matrices: the sum of A^k / k!.",
    infer=lambda a: square("matrix_exp", a),
    reference=lapack.matrix_exp,
    rules=Rules(_exp_jvp, _exp_vjp),
    samples=drawn(lambda rng, d, n: rng.uniform(-1, 1, n).astype(d.numpy), (*SQUARES, (20, 20))),
    errors=not_square(),
)
