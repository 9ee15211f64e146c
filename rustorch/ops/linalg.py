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

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rustorch.errors import DTypeError, GradError, ShapeError
from rustorch.ir.builder import Builder
from rustorch.ir.dims import Size, minimum
from rustorch.ir.dtypes import FLOATS, f32, f64, i32, i64
from rustorch.ir.graph import Value
from rustorch.ir.op import REGISTRY, Callout, Internal, OpDef, Refusal, Rules, Sample, Zero
from rustorch.ir.types import DType, TensorType, Type
from rustorch.ops import lapack
from rustorch.ops.family import Array, Formula, batch_size, general, shape_of, tensor, with_batch

Values = Sequence[Value]
Maybe = Sequence[Value | None]

# --- Types ------------------------------------------------------------------------------------------------------------


def matrix(name: str, x: Type) -> TensorType:
    """The type of matrices of floats, or PyTorch's words."""
    type_ = tensor(name, x)
    if type_.rank < 2:
        raise ShapeError(f"linalg.{name}: The input tensor A must have at least 2 dimensions.")
    if type_.dtype not in FLOATS:
        word = {"bool": "Bool", "i32": "Int", "i64": "Long"}.get(type_.dtype.short, type_.dtype.name)
        raise DTypeError(f"linalg.{name}: Expected a floating point or complex tensor as input. Got {word}")
    return type_


def square(name: str, x: Type) -> TensorType:
    """The type of square matrices."""
    type_ = matrix(name, x)
    if type_.shape[-2] != type_.shape[-1]:
        raise ShapeError(
            f"linalg.{name}: A must be batches of square matrices, but they are {type_.shape[-2]} by {type_.shape[-1]} matrices"
        )
    return type_


def _system(name: str, a: Type, b: Type) -> TensorType:
    """The type of X in A X = B."""
    left, right = square(name, a), tensor(name, b)
    if left.dtype is not right.dtype:
        words = [{"f32": "Float", "f64": "Double"}.get(t.dtype.short, t.dtype.name) for t in (left, right)]
        raise DTypeError(
            f"linalg.{name}: Expected A and B to have the same dtype, but found A of type {words[0]} and B of type {words[1]} instead"
        )
    if right.rank != left.rank or right.shape[:-1] != left.shape[:-1]:
        sizes = "x".join(map(str, right.shape[-2:]))
        raise ShapeError(
            f"linalg.{name}: Incompatible shapes of A and B for the equation AX = B ({left.shape[-2]}x{left.shape[-1]} and {sizes})"
        )
    return right


# --- What the rules are written with ----------------------------------------------------------------------------------


def _mm(b: Builder, *factors: Value) -> Value:
    """The product of matrices with equal batches, from the left."""
    x = factors[0]
    lead = len(shape_of(x)) - 2
    groups = tuple(range(lead))
    for y in factors[1:]:
        x = b.dot_general(x, y, contract=((lead + 1,), (lead,)), batch=(groups, groups))
    return x


def _t(b: Builder, x: Value) -> Value:
    """The matrices transposed."""
    rank = len(shape_of(x))
    turned: Value = b.transpose(x, perm=(*range(rank - 2), rank - 1, rank - 2))
    return turned


def _places(b: Builder, x: Value) -> tuple[Value, Value]:
    """Row and column of each element."""
    type_ = TensorType(i64, shape_of(x))
    return b.iota(type=type_, axis=type_.rank - 2), b.iota(type=type_, axis=type_.rank - 1)


def _part(b: Builder, x: Value, which: str) -> Value:
    """The elements where row and column compare as `which` (`ge`: the lower triangle, `gt`: below the diagonal), zeros elsewhere."""
    found: Value = b.select(getattr(b, which)(*_places(b, x)), x, b.const(0, x))
    return found


def _half_diagonal(b: Builder, x: Value) -> Value:
    """The matrix with its diagonal halved."""
    found: Value = b.select(b.eq(*_places(b, x)), b.mul(x, 0.5), x)
    return found


def _columns(b: Builder, s: Value, like: Value) -> Value:
    """One number a column, repeated over the rows."""
    rank = len(shape_of(like))
    found: Value = b.broadcast_to(s, shape=shape_of(like), dims=(*range(rank - 2), rank - 1))
    return found


def _rows(b: Builder, s: Value, like: Value) -> Value:
    """One number a row, repeated over the columns."""
    found: Value = b.broadcast_to(s, shape=shape_of(like), dims=tuple(range(len(shape_of(like)) - 1)))
    return found


def _scalars(b: Builder, s: Value, like: Value) -> Value:
    """One number a matrix, repeated."""
    found: Value = b.broadcast_to(s, shape=shape_of(like), dims=tuple(range(len(shape_of(like)) - 2)))
    return found


def _diagonal(b: Builder, x: Value) -> Value:
    """The diagonals of square matrices."""
    found: Value = b.reduce_sum(_part(b, x, "eq"), axes=(len(shape_of(x)) - 1,))
    return found


def _trace(b: Builder, x: Value) -> Value:
    rank = len(shape_of(x))
    found: Value = b.reduce_sum(_part(b, x, "eq"), axes=(rank - 2, rank - 1))
    return found


def _inner(b: Builder, x: Value, y: Value) -> Value:
    """The sum of products of elements, for each matrix."""
    rank = len(shape_of(x))
    found: Value = b.reduce_sum(b.mul(x, y), axes=(rank - 2, rank - 1))
    return found


def _block(b: Builder, x: Value, rows: Size, columns: Size, at: tuple[Size, Size] = (0, 0)) -> Value:
    """Some rows and columns of matrices."""
    shape = shape_of(x)
    lead = len(shape) - 2
    if at == (0, 0) and shape[-2:] == (rows, columns):
        return x
    limits = (*shape[:-2], at[0] + rows, at[1] + columns)
    found: Value = b.slice(x, starts=(*(0,) * lead, *at), limits=limits, strides=(1,) * len(shape))
    return found


def _grown(b: Builder, x: Value, rows: Size, columns: Size) -> Value:
    """The matrices with zeros below and to the right."""
    shape = shape_of(x)
    lead = (0,) * (len(shape) - 2)
    if shape[-2:] == (rows, columns):
        return x
    found: Value = b.pad(x, low=(*lead, 0, 0), high=(*lead, rows - shape[-2], columns - shape[-1]), value=0.0)
    return found


def _total(b: Builder, terms: Maybe) -> Value | None:
    """The sum of what is there."""
    found: Value | None = None
    for term in terms:
        found = term if found is None else found if term is None else b.add(found, term)
    return found


def _or_zero(b: Builder, x: Value | None, like: Value) -> Value:
    zero: Value = b.const(0, like)
    return zero if x is None else x


# --- Records ----------------------------------------------------------------------------------------------------------


def _batch(name: str) -> Formula:
    def batch(b: Builder, operands: Values, batched: Sequence[bool], attrs: dict[str, Any]) -> tuple[Value, ...]:
        size = batch_size(operands, batched)
        return b.emit(REGISTRY[name], [with_batch(b, x, yes, size) for x, yes in zip(operands, batched, strict=True)], attrs)

    return batch


def _well(rng: np.random.Generator, dtype: DType, shape: tuple[int, ...]) -> Array:
    """Matrices far from singular, with singular values apart."""
    x = rng.uniform(-1, 1, shape)
    size = min(shape[-2:])
    x[..., np.arange(size), np.arange(size)] += 2.0 + 0.75 * np.arange(size)
    return x.astype(dtype.numpy)


def _symmetric(rng: np.random.Generator, dtype: DType, shape: tuple[int, ...]) -> Array:
    x = _well(rng, f64, shape)
    return np.asarray(x + np.swapaxes(x, -1, -2)).astype(dtype.numpy)


Draw = Callable[[np.random.Generator, DType, tuple[int, ...]], Array]
_SQUARES = ((3, 3), (1, 1), (0, 0), (2, 5, 5), (0, 3, 3))
_SHAPES = (*_SQUARES, (5, 3), (3, 5), (2, 6, 3), (0, 4), (4, 0))


def _samples(
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


def _not_square(attrs: dict[str, Any] | None = None) -> tuple[Refusal, ...]:
    return (Refusal((f64[3, 4],), attrs or {}, ShapeError, "square matrices, but they are 3 by 4"), *_no_matrix(attrs))


def _no_matrix(attrs: dict[str, Any] | None = None) -> tuple[Refusal, ...]:
    return (
        Refusal((f64[3],), attrs or {}, ShapeError, "at least 2 dimensions"),
        Refusal((i32[3, 3],), attrs or {}, DTypeError, "Expected a floating point or complex tensor as input. Got Int"),
    )


def _record(
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
    return general(
        name,
        doc,
        public=Internal(f"rustorch.linalg.{name} and others are compositions of it"),
        operands=operands,
        infer=infer,
        reference=reference,
        derivative=rules,
        batch=_batch(name),
        lower=Callout(),
        attributes=attributes,
        cost=50,
        samples=samples,
        errors=errors,
        kinks=kinks,
    )


# --- Cholesky ---------------------------------------------------------------------------------------------------------


def _cholesky_jvp(b: Builder, operands: Values, tangents: Maybe, results: Values, attrs: Any) -> Maybe:
    """dL = L P(L^-1 dA L^-T), P: the lower triangle with its diagonal halved (Murray 2016, eq. 8)."""
    (t,), (low,) = tangents, results
    if t is None:
        return [None]
    symmetric = b.mul(b.add(t, _t(b, t)), 0.5)
    half = b.solve_triangular(low, symmetric, upper=False, unit=False)
    whole = b.solve_triangular(low, _t(b, half), upper=False, unit=False)
    return [_mm(b, low, _half_diagonal(b, _part(b, whole, "ge")))]


def _cholesky_vjp(b: Builder, cotangents: Maybe, operands: Values, results: Values, attrs: Any) -> Maybe:
    """A' = L^-T P(L^T L') L^-1, symmetrized (Murray 2016, eq. 10)."""
    (ct,), (low,) = cotangents, results
    if ct is None:
        return [None]
    inner = _half_diagonal(b, _part(b, _mm(b, _t(b, low), ct), "ge"))
    symmetric = b.mul(b.add(inner, _t(b, inner)), 0.5)
    up = _t(b, low)
    half = b.solve_triangular(up, symmetric, upper=True, unit=False)
    return [_t(b, b.solve_triangular(up, _t(b, half), upper=True, unit=False))]


def _definite(rng: np.random.Generator, dtype: DType, shape: tuple[int, ...]) -> Array:
    x = rng.uniform(-1, 1, shape)
    return np.asarray(x @ np.swapaxes(x, -1, -2) + np.eye(shape[-1])).astype(dtype.numpy)


cholesky = _record(
    "cholesky",
    "The lower triangular L with A = L L^T, A symmetric and positive definite; its lower triangle is read.",
    infer=lambda a: square("cholesky", a),
    reference=lapack.cholesky,
    rules=Rules(_cholesky_jvp, _cholesky_vjp),
    samples=_samples(_definite, (*_SQUARES, (70, 70)), smooth=False),  # moved alone, an element above the diagonal changes nothing
    errors=_not_square(),
)


# --- Solving ----------------------------------------------------------------------------------------------------------


def _solve_jvp(b: Builder, operands: Values, tangents: Maybe, results: Values, attrs: Any) -> Maybe:
    """dX = A^-1 (dB - dA X) (Giles 2008, 2.3.1)."""
    (a, _), (ta, tb), (x,) = operands, tangents, results
    right = _total(b, [tb, None if ta is None else b.neg(_mm(b, ta, x))])
    return [None if right is None else b.solve(a, right)]


def _solve_vjp(b: Builder, cotangents: Maybe, operands: Values, results: Values, attrs: Any) -> Maybe:
    """B' = A^-T X', A' = -B' X^T (Giles 2008, 2.3.1)."""
    (ct,), (a, _), (x,) = cotangents, operands, results
    if ct is None:
        return [None, None]
    right = b.solve(_t(b, a), ct)
    return [b.neg(_mm(b, right, _t(b, x))), right]


_SYSTEM_ERRORS: tuple[tuple[tuple[Type, ...], type[Exception], str], ...] = (
    ((f64[3, 4], f64[3, 2]), ShapeError, "square matrices, but they are 3 by 4"),
    ((f64[3, 3], f64[4, 2]), ShapeError, "Incompatible shapes of A and B for the equation AX = B (3x3 and 4x2)"),
    ((f64[3, 3], f32[3, 2]), DTypeError, "A of type Double and B of type Float"),
)

solve = _record(
    "solve",
    "X with A X = B.",
    operands=2,
    infer=lambda a, b: _system("solve", a, b),
    reference=lapack.solve,
    rules=Rules(_solve_jvp, _solve_vjp),
    samples=_samples(_well, _SQUARES, right=(2, 0, 1)),
    errors=tuple(Refusal(types, {}, error, words) for types, error, words in _SYSTEM_ERRORS),
)


def _triangle(b: Builder, x: Value, upper: bool, unit: bool) -> Value:
    """The elements that a triangular system reads."""
    return _part(b, x, ("lt" if unit else "le") if upper else ("gt" if unit else "ge"))


def _triangular_jvp(b: Builder, operands: Values, tangents: Maybe, results: Values, attrs: Any) -> Maybe:
    (a, _), (ta, tb), (x,) = operands, tangents, results
    right = _total(b, [tb, None if ta is None else b.neg(_mm(b, _triangle(b, ta, **attrs), x))])
    return [None if right is None else b.solve_triangular(a, right, **attrs)]


def _triangular_vjp(b: Builder, cotangents: Maybe, operands: Values, results: Values, attrs: Any) -> Maybe:
    (ct,), (a, _), (x,) = cotangents, operands, results
    if ct is None:
        return [None, None]
    right = b.solve_triangular(_t(b, a), ct, upper=not attrs["upper"], unit=attrs["unit"])
    return [b.neg(_triangle(b, _mm(b, right, _t(b, x)), **attrs)), right]


solve_triangular = _record(
    "solve_triangular",
    "X with A X = B, A upper or lower triangular: the other triangle is not read, nor is the diagonal where it is said to be `unit`.",
    operands=2,
    infer=lambda a, b, upper, unit: _system("solve_triangular", a, b),
    reference=lapack.solve_triangular,
    rules=Rules(_triangular_jvp, _triangular_vjp),
    attributes=("upper", "unit"),
    samples=(
        *_samples(_well, (*_SQUARES, (70, 70)), {"upper": False, "unit": False}, right=(2,)),
        *_samples(_well, _SQUARES, {"upper": True, "unit": False}, right=(1, 0)),
        *_samples(_well, ((3, 3), (2, 4, 4)), {"upper": True, "unit": True}, right=(2,)),
        *_samples(_well, ((3, 3), (2, 4, 4)), {"upper": False, "unit": True}, right=(2,)),
    ),
    errors=tuple(Refusal(types, {"upper": True, "unit": False}, error, words) for types, error, words in _SYSTEM_ERRORS),
)


def _inv_jvp(b: Builder, operands: Values, tangents: Maybe, results: Values, attrs: Any) -> Maybe:
    """dC = -C dA C (Giles 2008, 2.2.3)."""
    (t,), (c,) = tangents, results
    return [None if t is None else b.neg(_mm(b, c, t, c))]


def _inv_vjp(b: Builder, cotangents: Maybe, operands: Values, results: Values, attrs: Any) -> Maybe:
    """A' = -C^T C' C^T (Giles 2008, 2.2.3)."""
    (ct,), (c,) = cotangents, results
    return [None if ct is None else b.neg(_mm(b, _t(b, c), ct, _t(b, c)))]


inv = _record(
    "inv",
    "The inverse. A singular matrix is an error, or has NaN in place of it without `check`.",
    infer=lambda a, check: square("inv", a),
    reference=lapack.inv,
    rules=Rules(_inv_jvp, _inv_vjp),
    attributes=("check",),
    samples=_samples(_well, _SQUARES, {"check": True}) + _samples(lambda rng, d, n: np.ones(n, d.numpy), ((3, 3),), {"check": False}, False),
    errors=_not_square({"check": True}),
)


# --- Determinants -----------------------------------------------------------------------------------------------------


def _det_jvp(b: Builder, operands: Values, tangents: Maybe, results: Values, attrs: Any) -> Maybe:
    """d det A = <cof A, dA> (Jacobi; Giles 2008, 2.2.4)."""
    (a,), (t,) = operands, tangents
    return [None if t is None else _inner(b, b.cofactor(a), t)]


def _det_vjp(b: Builder, cotangents: Maybe, operands: Values, results: Values, attrs: Any) -> Maybe:
    (ct,), (a,) = cotangents, operands
    return [None if ct is None else b.mul(_scalars(b, ct, a), b.cofactor(a))]


def _without_matrix(name: str) -> Formula:
    def infer(a: Type) -> TensorType:
        type_ = square(name, a)
        return type_.with_shape(type_.shape[:-2])

    return infer


def _singular(rng: np.random.Generator, dtype: DType, shape: tuple[int, ...]) -> Array:
    x = _well(rng, dtype, shape)
    x[..., 0] = x[..., 1] * 2
    return x


det = _record(
    "det",
    "The determinant.",
    infer=_without_matrix("det"),
    reference=lapack.det,
    rules=Rules(_det_jvp, _det_vjp),
    samples=_samples(_well, (*_SQUARES, (5, 5), (20, 3, 3))),
    errors=_not_square(),
    kinks="The gradient is the matrix of cofactors, of singular matrices, too; second derivatives there are NaN.",
)


def _cofactor_jvp(b: Builder, operands: Values, tangents: Maybe, results: Values, attrs: Any) -> Maybe:
    """With X = A^-1 dA: dC = tr(X) C - C X^T, from C = det(A) A^-T."""
    (a,), (t,), (c,) = operands, tangents, results
    if t is None:
        return [None]
    x = _mm(b, b.inv(a, check=False), t)
    return [b.sub(b.mul(_scalars(b, _trace(b, x), c), c), _mm(b, c, _t(b, x)))]


def _cofactor_vjp(b: Builder, cotangents: Maybe, operands: Values, results: Values, attrs: Any) -> Maybe:
    """A' = A^-T (<C', C> I - C'^T C)."""
    (ct,), (a,), (c,) = cotangents, operands, results
    if ct is None:
        return [None]
    turned = _mm(b, _t(b, ct), c)
    scalar = _scalars(b, _inner(b, ct, c), c)
    return [_mm(b, _t(b, b.inv(a, check=False)), b.sub(_part(b, scalar, "eq"), turned))]


cofactor = _record(
    "cofactor",
    "The matrix of cofactors: det(A) A^-T, of singular matrices, too.",
    infer=lambda a: square("cofactor", a),
    reference=lapack.cofactor,
    rules=Rules(_cofactor_jvp, _cofactor_vjp),
    samples=_samples(_well, _SQUARES) + _samples(_singular, ((3, 3), (2, 4, 4)), smooth=False),
    errors=_not_square(),
    kinks="Of singular matrices the derivative is NaN.",
)


def _slogdet_jvp(b: Builder, operands: Values, tangents: Maybe, results: Values, attrs: Any) -> Maybe:
    """d log |det A| = tr(A^-1 dA) (Giles 2008, 2.2.4); the sign is constant."""
    (a,), (t,) = operands, tangents
    return [None, None if t is None else _inner(b, _t(b, b.inv(a, check=False)), t)]


def _slogdet_vjp(b: Builder, cotangents: Maybe, operands: Values, results: Values, attrs: Any) -> Maybe:
    (_, ct), (a,) = cotangents, operands
    return [None if ct is None else b.mul(_scalars(b, ct, a), _t(b, b.inv(a, check=False)))]


def _slogdet_type(a: Type) -> tuple[TensorType, TensorType]:
    type_: TensorType = _without_matrix("slogdet")(a)
    return type_, type_


slogdet = _record(
    "slogdet",
    "The sign of the determinant and the logarithm of its absolute value.",
    infer=_slogdet_type,
    reference=lapack.slogdet,
    rules=Rules(_slogdet_jvp, _slogdet_vjp),
    samples=_samples(_well, (*_SQUARES, (5, 5), (20, 3, 3))),
    errors=_not_square(),
    kinks="Of singular matrices the derivative is NaN.",
)


# --- LU ---------------------------------------------------------------------------------------------------------------


def _lu_type(a: Type) -> tuple[TensorType, TensorType]:
    type_ = matrix("lu_factor", a)
    return type_, TensorType(i32, (*type_.shape[:-2], minimum(*type_.shape[-2:])))


def _row_places(b: Builder, pivots: Value, lu: Value) -> Value:
    """For each element of P^T A, the row of A that it is from."""
    return _rows(b, b.row_order(pivots, lu), lu)


def _lu_parts(b: Builder, lu: Value) -> tuple[Size, Value, Value]:
    """k = min(m, n), and the k x k blocks of L (its diagonal is not there) and U."""
    size = minimum(*shape_of(lu)[-2:])
    core = _block(b, lu, size, size)
    return size, core, core


def _unit_lower(b: Builder, x: Value) -> Value:
    """The lower triangle with ones on the diagonal, zeros above."""
    found: Value = b.select(b.eq(*_places(b, x)), b.const(1, x), _part(b, x, "gt"))
    return found


def _right_upper(b: Builder, up: Value, x: Value, transposed: bool = False) -> Value:
    """X U^-1, or X U^-T."""
    a = up if transposed else _t(b, up)
    found: Value = _t(b, b.solve_triangular(a, _t(b, x), upper=transposed, unit=False))
    return found


def _lu_jvp(b: Builder, operands: Values, tangents: Maybe, results: Values, attrs: Any) -> Maybe:
    """With B = P^T dA and Y = L^-1 B U^-1 of the k x k blocks: dL = L low(Y), dU = up(Y) U; and from A = L U what lies beside them.

    Seeger et al. 2017 give the square case; the others follow from L2 = A2 U^-1 and U2 = L^-1 A2.
    """
    (t,), (lu, pivots) = tangents, results
    if t is None:
        return [None, None]
    rows, columns = shape_of(lu)[-2:]
    size, low, up = _lu_parts(b, lu)
    moved = b.gather(t, _row_places(b, pivots, lu), axis=len(shape_of(lu)) - 2)
    y = b.solve_triangular(low, _right_upper(b, up, _block(b, moved, size, size)), upper=False, unit=True)
    if rows == size:
        wide = b.sub(b.solve_triangular(low, moved, upper=False, unit=True), _mm(b, _part(b, y, "gt"), _part(b, lu, "le")))
        core = _mm(b, _unit_lower(b, low), _part(b, y, "gt"))
        return [b.add(_grown(b, core, rows, columns), _part(b, wide, "le")), None]
    tall = b.sub(_right_upper(b, up, moved), _mm(b, _unit_lower(b, lu), _part(b, y, "le")))
    core = _mm(b, _part(b, y, "le"), _part(b, up, "le"))
    return [b.add(_grown(b, core, rows, columns), _part(b, tall, "gt")), None]


def _lu_vjp(b: Builder, cotangents: Maybe, operands: Values, results: Values, attrs: Any) -> Maybe:
    """The transpose of the jvp."""
    ct, (lu, pivots) = cotangents[0], results
    if ct is None:
        return [None]
    rows, columns = shape_of(lu)[-2:]
    size, low, up = _lu_parts(b, lu)
    lower_ct, upper_ct = _part(b, ct, "gt"), _part(b, ct, "le")
    upper, lower = _part(b, lu, "le"), _unit_lower(b, lu)
    if rows == size:
        h = b.sub(_mm(b, _t(b, _unit_lower(b, low)), _block(b, lower_ct, size, size)), _mm(b, upper_ct, _t(b, upper)))
        inner = _right_upper(b, up, _part(b, h, "gt"), transposed=True)
        whole = b.solve_triangular(_t(b, low), b.add(upper_ct, _grown(b, inner, rows, columns)), upper=True, unit=True)
    else:
        h = b.sub(_mm(b, _block(b, upper_ct, size, size), _t(b, _part(b, up, "le"))), _mm(b, _t(b, lower), lower_ct))
        inner = b.solve_triangular(_t(b, low), _part(b, h, "le"), upper=True, unit=True)
        whole = _right_upper(b, up, b.add(lower_ct, _grown(b, inner, rows, columns)), transposed=True)
    return [b.scatter_add(b.const(0, whole), _row_places(b, pivots, lu), whole, axis=len(shape_of(lu)) - 2)]


lu_factor = _record(
    "lu_factor",
    "A = P L U: L below the diagonal (its own is 1), U from it on; and the row (from 1) that each row changed places with.",
    infer=_lu_type,
    reference=lapack.lu_factor,
    rules=Rules(_lu_jvp, _lu_vjp),
    samples=_samples(_well, (*_SHAPES, (70, 40))),
    errors=_no_matrix(),
    kinks="The leading square block of L U must be invertible.",
)


def _order_type(pivots: Type, lu: Type) -> TensorType:
    type_, given = matrix("lu_factor", lu), tensor("row_order", pivots)
    count = minimum(*type_.shape[-2:])
    too_many = isinstance(count, int) and given.rank > 0 and isinstance(given.shape[-1], int) and given.shape[-1] > count
    if given.dtype is not i32 or given.rank != type_.rank - 1 or given.shape[:-1] != type_.shape[:-2] or too_many:
        raise ShapeError(f"row_order: {given} are no pivots of {type_}")
    return TensorType(i64, type_.shape[:-1])


row_order = _record(
    "row_order",
    "The rows of A in the order of those of L U, from pivots and L U (of which only the size counts).",
    operands=2,
    infer=_order_type,
    reference=lapack.row_order,
    rules=Zero("rows are counted"),
    samples=tuple(
        Sample(lambda rng, n=shape: lapack.lu_factor(rng.uniform(-1, 1, n))[::-1], label=str(shape)) for shape in (*_SHAPES, (20, 3, 3))
    ),
    errors=(Refusal((i32[4], f64[3, 3]), {}, ShapeError, "are no pivots of"),),
)


# --- Orthogonal factors -----------------------------------------------------------------------------------------------


def _qr_type(a: Type, *, complete: bool) -> tuple[TensorType, TensorType]:
    type_ = matrix("qr", a)
    rows, columns = type_.shape[-2:]
    size = rows if complete else minimum(rows, columns)
    return type_.with_shape((*type_.shape[:-2], rows, size)), type_.with_shape((*type_.shape[:-2], size, columns))


def _square_r(b: Builder, q: Value, r: Value) -> tuple[Size, Value]:
    """k = min(m, n) and the first k columns of R."""
    size = minimum(shape_of(q)[-2], shape_of(r)[-1])
    if shape_of(q)[-1] != size:
        raise GradError(
            "The QR decomposition is not differentiable when mode='complete' and nrows > ncols\n  mode='reduced' is differentiable."
        )
    return size, _block(b, r, size, size)


def _qr_jvp(b: Builder, operands: Values, tangents: Maybe, results: Values, attrs: Any) -> Maybe:
    """With X = dA1 R1^-1 and C = Q^T X: C = W + U, W skew and U upper triangular, so dQ = X - Q U and dR = Q^T dA - W R.

    U is the upper triangle of C + C^T with its diagonal halved (Seeger et al. 2017, section 4; A1 and R1: the first k columns).
    """
    (t,), (q, r) = tangents, results
    if t is None:
        return [None, None]
    size, core = _square_r(b, q, r)
    x = _right_upper(b, core, _block(b, t, shape_of(t)[-2], size))
    c = _mm(b, _t(b, q), x)
    up = _half_diagonal(b, _part(b, b.add(c, _t(b, c)), "le"))
    dr = b.sub(_mm(b, _t(b, q), t), _mm(b, b.sub(c, up), r))
    return [b.sub(x, _mm(b, q, up)), _part(b, dr, "le")]


def _qr_vjp(b: Builder, cotangents: Maybe, operands: Values, results: Values, attrs: Any) -> Maybe:
    """The transpose of the jvp."""
    (a,), (q, r) = operands, results
    if cotangents[0] is None and cotangents[1] is None:
        return [None]
    gq, gr = _or_zero(b, cotangents[0], q), _part(b, _or_zero(b, cotangents[1], r), "le")
    size, core = _square_r(b, q, r)
    outer = _mm(b, gr, _t(b, r))
    w = _half_diagonal(b, _part(b, b.sub(outer, _mm(b, _t(b, q), gq)), "le"))
    v = b.sub(b.add(w, _t(b, w)), outer)
    first = _right_upper(b, core, b.add(gq, _mm(b, q, v)), transposed=True)
    return [b.add(_mm(b, q, gr), _grown(b, first, *shape_of(a)[-2:]))]


qr = _record(
    "qr",
    "A = Q R: Q with orthonormal columns, as many as rows (`complete`) or as the smaller size; R upper triangular.",
    infer=_qr_type,
    reference=lapack.qr,
    rules=Rules(_qr_jvp, _qr_vjp),
    attributes=("complete",),
    samples=(
        *_samples(_well, _SHAPES, {"complete": False}),
        *_samples(_well, ((3, 3), (3, 5)), {"complete": True}),
        *_samples(_well, ((5, 3), (2, 4, 3), (4, 0)), {"complete": True}, False),
    ),
    errors=_no_matrix({"complete": False}),
    kinks="The first min(m, n) columns must be independent. With `complete` and more rows than columns there is no derivative.",
)


def _gaps(b: Builder, s: Value, like: Value) -> Value:
    """1 / (s_j - s_i) for i != j, 0 on the diagonal."""
    difference = b.sub(_columns(b, s, like), _rows(b, s, like))
    same = b.eq(*_places(b, like))
    found: Value = b.select(same, b.const(0, like), b.div(b.const(1, like), b.select(same, b.const(1, like), difference)))
    return found


def _eigh_type(a: Type, *, lower: bool) -> tuple[TensorType, TensorType]:
    type_ = square("eigh", a)
    return type_.with_shape(type_.shape[:-1]), type_


def _eigh_jvp(b: Builder, operands: Values, tangents: Maybe, results: Values, attrs: Any) -> Maybe:
    """With P = V^T dA V: dl = diag P, dV = V (F * P), F_ij = 1 / (l_j - l_i) (Giles 2008, 3.1)."""
    (t,), (values, v) = tangents, results
    if t is None:
        return [None, None]
    p = _mm(b, _t(b, v), t, v)
    return [_diagonal(b, p), _mm(b, v, b.mul(_gaps(b, values, p), p))]


def _eigh_vjp(b: Builder, cotangents: Maybe, operands: Values, results: Values, attrs: Any) -> Maybe:
    """A' = V (diag l' + F * (V^T V')) V^T (Giles 2008, 3.1)."""
    (ct_values, ct_v), (values, v) = cotangents, results
    terms: list[Value | None] = [None if ct_values is None else _part(b, _rows(b, ct_values, v), "eq")]
    if ct_v is not None:
        turned = _mm(b, _t(b, v), ct_v)
        terms.append(b.mul(_gaps(b, values, turned), turned))
    inner = _total(b, terms)
    return [None if inner is None else _mm(b, v, inner, _t(b, v))]


eigh = _record(
    "eigh",
    "Eigenvalues in ascending order and orthonormal eigenvectors as columns, of a symmetric matrix of which one triangle is read.",
    infer=_eigh_type,
    reference=lapack.eigh,
    rules=Rules(_eigh_jvp, _eigh_vjp),
    attributes=("lower",),
    samples=_samples(_symmetric, _SQUARES, {"lower": True}, False) + _samples(_symmetric, ((3, 3),), {"lower": False}, False),
    errors=_not_square({"lower": True}),
    kinks="Derivatives of eigenvectors need distinct eigenvalues, and are those of the computed signs.",
)


def _svd_type(a: Type, *, full: bool) -> tuple[TensorType, TensorType, TensorType]:
    type_ = matrix("svd", a)
    lead, (rows, columns) = type_.shape[:-2], type_.shape[-2:]
    size = minimum(rows, columns)
    u, v = (rows, columns) if full else (size, size)
    return type_.with_shape((*lead, rows, u)), type_.with_shape((*lead, size)), type_.with_shape((*lead, v, columns))


def _outside(b: Builder, basis: Value, x: Value) -> Value | None:
    """(I - Q Q^T) X; nothing where Q is square."""
    if shape_of(basis)[-2] == shape_of(basis)[-1]:
        return None
    found: Value = b.sub(x, _mm(b, basis, _mm(b, _t(b, basis), x)))
    return found


def _squares_apart(b: Builder, s: Value, like: Value) -> Value:
    return _gaps(b, b.mul(s, s), like)


def _thin(b: Builder, results: Values) -> tuple[Value, Value, Value]:
    """U [m, k], S [k] and V [n, k]."""
    u, s, vh = results
    size = shape_of(s)[-1]
    return _block(b, u, shape_of(u)[-2], size), s, _t(b, _block(b, vh, size, shape_of(vh)[-1]))


def _svd_jvp(b: Builder, operands: Values, tangents: Maybe, results: Values, attrs: Any) -> Maybe:
    """With P = U^T dA V and F_ij = 1 / (s_j^2 - s_i^2): dS = diag P, dU = U (F * (P S + S P^T)) + (I - U U^T) dA V S^-1, dV likewise.

    Townsend 2016, eq. 17 to 19. Columns beyond k of full U and V, which are not determined, are taken as constant.
    """
    (t,) = tangents
    if t is None:
        return [None, None, None]
    u, s, v = _thin(b, results)
    p = _mm(b, _t(b, u), t, v)
    ps, sp = b.mul(p, _columns(b, s, p)), b.mul(_rows(b, s, p), p)
    gaps = _squares_apart(b, s, p)
    du = _mm(b, u, b.mul(gaps, b.add(ps, _t(b, ps))))
    dv = _mm(b, v, b.mul(gaps, b.add(sp, _t(b, sp))))
    for_u, for_v = _outside(b, u, _mm(b, t, v)), _outside(b, v, _mm(b, _t(b, t), u))
    du = du if for_u is None else b.add(du, b.div(for_u, _columns(b, s, du)))
    dv = dv if for_v is None else b.add(dv, b.div(for_v, _columns(b, s, dv)))
    full_u, _, full_vh = results
    return [_grown(b, du, *shape_of(full_u)[-2:]), _diagonal(b, p), _grown(b, _t(b, dv), *shape_of(full_vh)[-2:])]


def _svd_vjp(b: Builder, cotangents: Maybe, operands: Values, results: Values, attrs: Any) -> Maybe:
    """The transpose of the jvp. With K = F * (U^T U'), L = F * (V^T V'): A' = U ((K + K^T) S + S (L + L^T) + diag S') V^T + the rest."""
    ct_u, ct_s, ct_vh = cotangents
    u, s, v = _thin(b, results)
    size = shape_of(s)[-1]
    square_like = _mm(b, _t(b, u), u)
    inner: list[Value | None] = [None if ct_s is None else _part(b, _rows(b, ct_s, square_like), "eq")]
    rest: list[Value | None] = []
    if ct_u is not None:
        gu = _block(b, ct_u, shape_of(u)[-2], size)
        k = _mm(b, _t(b, u), gu)
        k = b.mul(_squares_apart(b, s, k), k)
        inner.append(b.mul(b.add(k, _t(b, k)), _columns(b, s, k)))
        outside = _outside(b, u, b.div(gu, _columns(b, s, gu)))
        rest.append(None if outside is None else _mm(b, outside, _t(b, v)))
    if ct_vh is not None:
        gv = _t(b, _block(b, ct_vh, size, shape_of(v)[-2]))
        el = _mm(b, _t(b, v), gv)
        el = b.mul(_squares_apart(b, s, el), el)
        inner.append(b.mul(_rows(b, s, el), b.add(el, _t(b, el))))
        outside = _outside(b, v, b.div(gv, _columns(b, s, gv)))
        rest.append(None if outside is None else _mm(b, u, _t(b, outside)))
    core = _total(b, inner)
    return [_total(b, [None if core is None else _mm(b, u, core, _t(b, v)), *rest])]


svd = _record(
    "svd",
    "A = U diag(S) V^T: U and V with orthonormal columns (as many as S, or square ones with `full`), S in descending order; V transposed.",
    infer=_svd_type,
    reference=lapack.svd,
    rules=Rules(_svd_jvp, _svd_vjp),
    attributes=("full",),
    samples=(
        *_samples(_well, _SHAPES, {"full": False}),
        *_samples(_well, ((3, 3), (2, 4, 4)), {"full": True}),
        *_samples(_well, ((5, 3), (3, 5)), {"full": True}, False),
    ),
    errors=_no_matrix({"full": False}),
    kinks="Derivatives of singular vectors need distinct singular values above 0, and are those of the computed signs.",
)


def _pinv_type(a: Type, *, atol: float, rtol: float, hermitian: bool) -> TensorType:
    type_ = square("pinv", a) if hermitian else matrix("pinv", a)
    return type_.with_shape((*type_.shape[:-2], type_.shape[-1], type_.shape[-2]))


def _pinv_jvp(b: Builder, operands: Values, tangents: Maybe, results: Values, attrs: Any) -> Maybe:
    """dP = -P dA P + P P^T dA^T (I - A P) + (I - P A) dA^T P^T P (Golub & Pereyra 1973, theorem 4.3)."""
    (a,), (t,), (p,) = operands, tangents, results
    if t is None:
        return [None]
    turned, pt = _t(b, t), _t(b, p)
    left = _mm(b, p, pt, turned)
    right = _mm(b, turned, pt, p)
    found = b.add(b.sub(left, _mm(b, left, a, p)), b.sub(right, _mm(b, p, a, right)))
    return [b.sub(found, _mm(b, p, t, p))]


def _pinv_vjp(b: Builder, cotangents: Maybe, operands: Values, results: Values, attrs: Any) -> Maybe:
    """The transpose of the jvp."""
    (ct,), (a,), (p,) = cotangents, operands, results
    if ct is None:
        return [None]
    pt = _t(b, p)
    left = _mm(b, p, pt, b.sub(ct, _mm(b, ct, a, p)))
    right = _mm(b, b.sub(ct, _mm(b, p, a, ct)), pt, p)
    return [b.sub(_t(b, b.add(left, right)), _mm(b, pt, ct, pt))]


_CUT = {"atol": 0.0, "rtol": 1e-12, "hermitian": False}

pinv = _record(
    "pinv",
    "The pseudoinverse; singular values up to max(atol, rtol * the largest) count as zeros.",
    infer=_pinv_type,
    reference=lapack.pinv,
    rules=Rules(_pinv_jvp, _pinv_vjp),
    attributes=("atol", "rtol", "hermitian"),
    samples=(
        *_samples(_well, _SHAPES, _CUT),
        *_samples(_singular, ((4, 3),), _CUT, False),
        *_samples(_symmetric, ((3, 3), (2, 4, 4)), {**_CUT, "hermitian": True}, False),
    ),
    errors=_no_matrix(_CUT),
    kinks="Where the rank is not constant around the matrix, the derivative is that along matrices of its rank.",
)


# --- Exponentials -----------------------------------------------------------------------------------------------------


def _frechet(b: Builder, a: Value, along: Value) -> Value:
    """The derivative of exp at A along E: the upper right block of exp [[A, E], [0, A]] (Van Loan 1978; Higham 2008, eq. 3.16)."""
    rank, size = len(shape_of(a)), shape_of(a)[-1]
    top = b.concat(a, along, axis=rank - 1)
    bottom = b.concat(b.const(0, a), a, axis=rank - 1)
    return _block(b, b.matrix_exp(b.concat(top, bottom, axis=rank - 2)), size, size, (0, size))


def _exp_jvp(b: Builder, operands: Values, tangents: Maybe, results: Values, attrs: Any) -> Maybe:
    (a,), (t,) = operands, tangents
    return [None if t is None else _frechet(b, a, t)]


def _exp_vjp(b: Builder, cotangents: Maybe, operands: Values, results: Values, attrs: Any) -> Maybe:
    """The transpose of the derivative at A is that at A^T."""
    (ct,), (a,) = cotangents, operands
    return [None if ct is None else _frechet(b, _t(b, a), ct)]


matrix_exp = _record(
    "matrix_exp",
    "The exponential of matrices: the sum of A^k / k!.",
    infer=lambda a: square("matrix_exp", a),
    reference=lapack.matrix_exp,
    rules=Rules(_exp_jvp, _exp_vjp),
    samples=_samples(lambda rng, d, n: rng.uniform(-1, 1, n).astype(d.numpy), (*_SQUARES, (20, 20))),
    errors=_not_square(),
)
