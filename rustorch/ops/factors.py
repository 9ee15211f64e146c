"""Factors of matrices: LU, QR, eigenvalues, singular values, and the pseudoinverse. Sources of the rules: see `linalg.py`."""

from __future__ import annotations

from typing import Any

from rustorch.errors import GradError, ShapeError
from rustorch.ir.builder import Builder
from rustorch.ir.dims import minimum
from rustorch.ir.dtypes import f64, i32, i64
from rustorch.ir.graph import Value
from rustorch.ir.op import Refusal, Rules, Sample, Zero
from rustorch.ir.types import TensorType, Type
from rustorch.ops import lapack
from rustorch.ops.family import shape_of, tensor
from rustorch.ops.matrices import (
    SHAPES,
    SQUARES,
    Maybe,
    Values,
    block,
    by_column,
    by_row,
    diagonal,
    drawn,
    grown,
    half_diagonal,
    matrix,
    mm,
    no_matrix,
    not_square,
    or_zero,
    part,
    places,
    record,
    singular,
    square,
    symmetric,
    total,
    turned,
    unit_lower,
    well,
)

# --- LU ---------------------------------------------------------------------------------------------------------------


def _lu_type(a: Type) -> tuple[TensorType, TensorType]:
    type_ = matrix("lu_factor", a)
    return type_, TensorType(i32, (*type_.shape[:-2], minimum(*type_.shape[-2:])))


def _row_places(b: Builder, pivots: Value, lu: Value) -> Value:
    """For each element of P^T A, the row of A that it is from."""
    return by_row(b, b.row_order(pivots, lu), lu)


def _right_upper(b: Builder, up: Value, x: Value, transposed: bool = False) -> Value:
    """X U^-1, or X U^-T."""
    a = up if transposed else turned(b, up)
    found: Value = turned(b, b.solve_triangular(a, turned(b, x), upper=transposed, unit=False))
    return found


def _lu_jvp(b: Builder, operands: Values, tangents: Maybe, results: Values, attrs: Any) -> Maybe:
    """With B = P^T dA and Y = L^-1 B U^-1 of the k x k blocks: dL = L low(Y), dU = up(Y) U; and from A = L U what lies beside them.

    Seeger et al. 2017 give the square case; the others follow from L2 = A2 U^-1 and U2 = L^-1 A2.
    """
    (t,), (lu, pivots) = tangents, results
    if t is None:
        return [None, None]
    rows, columns = shape_of(lu)[-2:]
    size = minimum(rows, columns)
    low = up = block(b, lu, size, size)  # of L and U; the diagonal of L is not there
    moved = b.gather(t, _row_places(b, pivots, lu), axis=len(shape_of(lu)) - 2)
    y = b.solve_triangular(low, _right_upper(b, up, block(b, moved, size, size)), upper=False, unit=True)
    if rows == size:
        wide = b.sub(b.solve_triangular(low, moved, upper=False, unit=True), mm(b, part(b, y, "gt"), part(b, lu, "le")))
        core = mm(b, unit_lower(b, low), part(b, y, "gt"))
        return [b.add(grown(b, core, rows, columns), part(b, wide, "le")), None]
    tall = b.sub(_right_upper(b, up, moved), mm(b, unit_lower(b, lu), part(b, y, "le")))
    core = mm(b, part(b, y, "le"), part(b, up, "le"))
    return [b.add(grown(b, core, rows, columns), part(b, tall, "gt")), None]


def _lu_vjp(b: Builder, cotangents: Maybe, operands: Values, results: Values, attrs: Any) -> Maybe:
    """The transpose of the jvp."""
    ct, (lu, pivots) = cotangents[0], results
    if ct is None:
        return [None]
    rows, columns = shape_of(lu)[-2:]
    size = minimum(rows, columns)
    low = up = block(b, lu, size, size)  # of L and U; the diagonal of L is not there
    lower_ct, upper_ct = part(b, ct, "gt"), part(b, ct, "le")
    upper, lower = part(b, lu, "le"), unit_lower(b, lu)
    if rows == size:
        h = b.sub(mm(b, turned(b, unit_lower(b, low)), block(b, lower_ct, size, size)), mm(b, upper_ct, turned(b, upper)))
        middle = _right_upper(b, up, part(b, h, "gt"), transposed=True)
        whole = b.solve_triangular(turned(b, low), b.add(upper_ct, grown(b, middle, rows, columns)), upper=True, unit=True)
    else:
        h = b.sub(mm(b, block(b, upper_ct, size, size), turned(b, part(b, up, "le"))), mm(b, turned(b, lower), lower_ct))
        middle = b.solve_triangular(turned(b, low), part(b, h, "le"), upper=True, unit=True)
        whole = _right_upper(b, up, b.add(lower_ct, grown(b, middle, rows, columns)), transposed=True)
    return [b.scatter_add(b.const(0, whole), _row_places(b, pivots, lu), whole, axis=len(shape_of(lu)) - 2)]


lu_factor = record(
    "lu_factor",
    "A = P L U: L below the diagonal (its own is 1), U from it on; and the row (from 1) that each row changed places with.",
    infer=_lu_type,
    reference=lapack.lu_factor,
    rules=Rules(_lu_jvp, _lu_vjp),
    samples=drawn(well, (*SHAPES, (70, 40))),
    errors=no_matrix(),
    kinks="The leading square block of L U must be invertible.",
)


def _order_type(pivots: Type, lu: Type) -> TensorType:
    type_, given = matrix("lu_factor", lu), tensor("row_order", pivots)
    count = minimum(*type_.shape[-2:])
    too_many = isinstance(count, int) and given.rank > 0 and isinstance(given.shape[-1], int) and given.shape[-1] > count
    if given.dtype is not i32 or given.rank != type_.rank - 1 or given.shape[:-1] != type_.shape[:-2] or too_many:
        raise ShapeError(f"row_order: {given} are no pivots of {type_}")
    return TensorType(i64, type_.shape[:-1])


row_order = record(
    "row_order",
    "The rows of A in the order of those of L U, from pivots and L U (of which only the size counts).",
    operands=2,
    infer=_order_type,
    reference=lapack.row_order,
    rules=Zero("rows are counted"),
    samples=tuple(
        Sample(lambda rng, n=shape: lapack.lu_factor(rng.uniform(-1, 1, n))[::-1], label=str(shape)) for shape in (*SHAPES, (20, 3, 3))
    ),
    errors=(Refusal((i32[4], f64[3, 3]), {}, ShapeError, "are no pivots of"),),
)


# --- Orthogonal factors -----------------------------------------------------------------------------------------------


def _qr_type(a: Type, *, complete: bool) -> tuple[TensorType, TensorType]:
    type_ = matrix("qr", a)
    rows, columns = type_.shape[-2:]
    size = rows if complete else minimum(rows, columns)
    return type_.with_shape((*type_.shape[:-2], rows, size)), type_.with_shape((*type_.shape[:-2], size, columns))


def _square_r(b: Builder, q: Value, r: Value) -> Value:
    """The first min(m, n) columns of R."""
    size = minimum(shape_of(q)[-2], shape_of(r)[-1])
    if shape_of(q)[-1] != size:
        raise GradError(
            "The QR decomposition is not differentiable when mode='complete' and nrows > ncols\n  mode='reduced' is differentiable."
        )
    return block(b, r, size, size)


def _qr_jvp(b: Builder, operands: Values, tangents: Maybe, results: Values, attrs: Any) -> Maybe:
    """With X = dA1 R1^-1 and C = Q^T X: C = W + U, W skew and U upper triangular, so dQ = X - Q U and dR = Q^T dA - W R.

    U is the upper triangle of C + C^T with its diagonal halved (Seeger et al. 2017, section 4; A1 and R1: the first k columns).
    """
    (t,), (q, r) = tangents, results
    if t is None:
        return [None, None]
    core = _square_r(b, q, r)
    x = _right_upper(b, core, block(b, t, shape_of(t)[-2], shape_of(core)[-1]))
    c = mm(b, turned(b, q), x)
    up = half_diagonal(b, part(b, b.add(c, turned(b, c)), "le"))
    dr = b.sub(mm(b, turned(b, q), t), mm(b, b.sub(c, up), r))
    return [b.sub(x, mm(b, q, up)), part(b, dr, "le")]


def _qr_vjp(b: Builder, cotangents: Maybe, operands: Values, results: Values, attrs: Any) -> Maybe:
    """The transpose of the jvp."""
    (a,), (q, r) = operands, results
    if cotangents[0] is None and cotangents[1] is None:
        return [None]
    gq, gr = or_zero(b, cotangents[0], q), part(b, or_zero(b, cotangents[1], r), "le")
    core = _square_r(b, q, r)
    outer = mm(b, gr, turned(b, r))
    w = half_diagonal(b, part(b, b.sub(outer, mm(b, turned(b, q), gq)), "le"))
    v = b.sub(b.add(w, turned(b, w)), outer)
    first = _right_upper(b, core, b.add(gq, mm(b, q, v)), transposed=True)
    return [b.add(mm(b, q, gr), grown(b, first, *shape_of(a)[-2:]))]


qr = record(
    "qr",
    "A = Q R: Q with orthonormal columns, as many as rows (`complete`) or as the smaller size; R upper triangular.",
    infer=_qr_type,
    reference=lapack.qr,
    rules=Rules(_qr_jvp, _qr_vjp),
    attributes=("complete",),
    samples=(
        *drawn(well, SHAPES, {"complete": False}),
        *drawn(well, ((3, 3), (3, 5)), {"complete": True}),
        *drawn(well, ((5, 3), (2, 4, 3), (4, 0)), {"complete": True}, False),
    ),
    errors=no_matrix({"complete": False}),
    kinks="The first min(m, n) columns must be independent. With `complete` and more rows than columns there is no derivative.",
)


def _gaps(b: Builder, s: Value, like: Value) -> Value:
    """1 / (s_j - s_i) for i != j, 0 on the diagonal."""
    difference = b.sub(by_column(b, s, like), by_row(b, s, like))
    same = b.eq(*places(b, like))
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
    p = mm(b, turned(b, v), t, v)
    return [diagonal(b, p), mm(b, v, b.mul(_gaps(b, values, p), p))]


def _eigh_vjp(b: Builder, cotangents: Maybe, operands: Values, results: Values, attrs: Any) -> Maybe:
    """A' = V (diag l' + F * (V^T V')) V^T (Giles 2008, 3.1)."""
    (ct_values, ct_v), (values, v) = cotangents, results
    terms: list[Value | None] = [None if ct_values is None else part(b, by_row(b, ct_values, v), "eq")]
    if ct_v is not None:
        flipped = mm(b, turned(b, v), ct_v)
        terms.append(b.mul(_gaps(b, values, flipped), flipped))
    middle = total(b, terms)
    return [None if middle is None else mm(b, v, middle, turned(b, v))]


eigh = record(
    "eigh",
    "Eigenvalues in ascending order and orthonormal eigenvectors as columns, of a symmetric matrix of which one triangle is read.",
    infer=_eigh_type,
    reference=lapack.eigh,
    rules=Rules(_eigh_jvp, _eigh_vjp),
    attributes=("lower",),
    samples=drawn(symmetric, SQUARES, {"lower": True}, False) + drawn(symmetric, ((3, 3),), {"lower": False}, False),
    errors=not_square({"lower": True}),
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
    found: Value = b.sub(x, mm(b, basis, mm(b, turned(b, basis), x)))
    return found


def _squares_apart(b: Builder, s: Value, like: Value) -> Value:
    return _gaps(b, b.mul(s, s), like)


def _thin(b: Builder, results: Values) -> tuple[Value, Value, Value]:
    """U [m, k], S [k] and V [n, k]."""
    u, s, vh = results
    size = shape_of(s)[-1]
    return block(b, u, shape_of(u)[-2], size), s, turned(b, block(b, vh, size, shape_of(vh)[-1]))


def _svd_jvp(b: Builder, operands: Values, tangents: Maybe, results: Values, attrs: Any) -> Maybe:
    """With P = U^T dA V and F_ij = 1 / (s_j^2 - s_i^2): dS = diag P, dU = U (F * (P S + S P^T)) + (I - U U^T) dA V S^-1, dV likewise.

    Townsend 2016, eq. 17 to 19. Columns beyond k of full U and V, which are not determined, are taken as constant.
    """
    (t,) = tangents
    if t is None:
        return [None, None, None]
    u, s, v = _thin(b, results)
    p = mm(b, turned(b, u), t, v)
    ps, sp = b.mul(p, by_column(b, s, p)), b.mul(by_row(b, s, p), p)
    gaps = _squares_apart(b, s, p)
    du = mm(b, u, b.mul(gaps, b.add(ps, turned(b, ps))))
    dv = mm(b, v, b.mul(gaps, b.add(sp, turned(b, sp))))
    for_u, for_v = _outside(b, u, mm(b, t, v)), _outside(b, v, mm(b, turned(b, t), u))
    du = du if for_u is None else b.add(du, b.div(for_u, by_column(b, s, du)))
    dv = dv if for_v is None else b.add(dv, b.div(for_v, by_column(b, s, dv)))
    full_u, _, full_vh = results
    return [grown(b, du, *shape_of(full_u)[-2:]), diagonal(b, p), grown(b, turned(b, dv), *shape_of(full_vh)[-2:])]


def _svd_vjp(b: Builder, cotangents: Maybe, operands: Values, results: Values, attrs: Any) -> Maybe:
    """The transpose of the jvp. With K = F * (U^T U'), L = F * (V^T V'): A' = U ((K + K^T) S + S (L + L^T) + diag S') V^T + the rest."""
    ct_u, ct_s, ct_vh = cotangents
    u, s, v = _thin(b, results)
    size = shape_of(s)[-1]
    square_like = mm(b, turned(b, u), u)
    middle: list[Value | None] = [None if ct_s is None else part(b, by_row(b, ct_s, square_like), "eq")]
    rest: list[Value | None] = []
    if ct_u is not None:
        gu = block(b, ct_u, shape_of(u)[-2], size)
        k = mm(b, turned(b, u), gu)
        k = b.mul(_squares_apart(b, s, k), k)
        middle.append(b.mul(b.add(k, turned(b, k)), by_column(b, s, k)))
        outside = _outside(b, u, b.div(gu, by_column(b, s, gu)))
        rest.append(None if outside is None else mm(b, outside, turned(b, v)))
    if ct_vh is not None:
        gv = turned(b, block(b, ct_vh, size, shape_of(v)[-2]))
        el = mm(b, turned(b, v), gv)
        el = b.mul(_squares_apart(b, s, el), el)
        middle.append(b.mul(by_row(b, s, el), b.add(el, turned(b, el))))
        outside = _outside(b, v, b.div(gv, by_column(b, s, gv)))
        rest.append(None if outside is None else mm(b, u, turned(b, outside)))
    core = total(b, middle)
    return [total(b, [None if core is None else mm(b, u, core, turned(b, v)), *rest])]


svd = record(
    "svd",
    "A = U diag(S) V^T: U and V with orthonormal columns (as many as S, or square ones with `full`), S in descending order; V transposed.",
    infer=_svd_type,
    reference=lapack.svd,
    rules=Rules(_svd_jvp, _svd_vjp),
    attributes=("full",),
    samples=(
        *drawn(well, SHAPES, {"full": False}),
        *drawn(well, ((3, 3), (2, 4, 4)), {"full": True}),
        *drawn(well, ((5, 3), (3, 5)), {"full": True}, False),
    ),
    errors=no_matrix({"full": False}),
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
    flipped, pt = turned(b, t), turned(b, p)
    left = mm(b, p, pt, flipped)
    right = mm(b, flipped, pt, p)
    found = b.add(b.sub(left, mm(b, left, a, p)), b.sub(right, mm(b, p, a, right)))
    return [b.sub(found, mm(b, p, t, p))]


def _pinv_vjp(b: Builder, cotangents: Maybe, operands: Values, results: Values, attrs: Any) -> Maybe:
    """The transpose of the jvp."""
    (ct,), (a,), (p,) = cotangents, operands, results
    if ct is None:
        return [None]
    pt = turned(b, p)
    left = mm(b, p, pt, b.sub(ct, mm(b, ct, a, p)))
    right = mm(b, b.sub(ct, mm(b, p, a, ct)), pt, p)
    return [b.sub(turned(b, b.add(left, right)), mm(b, pt, ct, pt))]


_CUT = {"atol": 0.0, "rtol": 1e-12, "hermitian": False}

pinv = record(
    "pinv",
    "The pseudoinverse; singular values up to max(atol, rtol * the largest) count as zeros.",
    infer=_pinv_type,
    reference=lapack.pinv,
    rules=Rules(_pinv_jvp, _pinv_vjp),
    attributes=("atol", "rtol", "hermitian"),
    samples=(
        *drawn(well, SHAPES, _CUT),
        *drawn(singular, ((4, 3),), _CUT, False),
        *drawn(symmetric, ((3, 3), (2, 4, 4)), {**_CUT, "hermitian": True}, False),
    ),
    errors=no_matrix(_CUT),
    kinks="Where the rank is not constant around the matrix, the derivative is that along matrices of its rank.",
)
