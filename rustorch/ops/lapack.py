"""What the ops of `linalg.py` compute, on arrays: LAPACK through numpy, and by blocks what numpy does not give.

Matrices are the last two axes; axes before them are batches. Failures are `LinAlgError` in PyTorch's words, with the batch element.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from rustorch.errors import LinAlgError

Array = np.ndarray[Any, Any]

BLOCK = 32
"""Rows that are eliminated or solved for one by one; between blocks the work is matrix products."""


def turned(x: Array) -> Array:
    """The matrices transposed."""
    return np.swapaxes(x, -1, -2)


def _failing(function: Callable[..., Any], *arrays: Array) -> tuple[str, tuple[Array, ...]]:
    """The first batch element that a function of numpy fails for: PyTorch's name of it ("" without batches), and its matrices."""
    lead = arrays[0].shape[:-2]
    for number, place in enumerate(np.ndindex(*lead)):
        own = tuple(x[place] for x in arrays)
        try:
            function(*own)
        except np.linalg.LinAlgError:
            return (f"(Batch element {number}): " if lead else ""), own
    return "", tuple(x[(0,) * len(lead)] for x in arrays)  # it failed among others only


# --- Cholesky ---------------------------------------------------------------------------------------------------------


def cholesky(a: Array) -> Array:
    """The lower triangular factor; of A only the lower triangle is read."""
    try:
        return np.asarray(np.linalg.cholesky(a))
    except np.linalg.LinAlgError:
        which, (own,) = _failing(np.linalg.cholesky, a)
        raise LinAlgError(
            f"linalg.cholesky: {which}The factorization could not be completed because the input is not positive-definite (the leading "
            f"minor of order {_first_bad_minor(own)} is not positive-definite)."
        ) from None


def _first_bad_minor(a: Array) -> int:
    """The smallest k whose leading k x k block has no factor; by halving, since all larger ones have none either."""
    good, bad = 0, len(a)
    while bad - good > 1:
        middle = (good + bad) // 2
        try:
            np.linalg.cholesky(a[:middle, :middle])
            good = middle
        except np.linalg.LinAlgError:
            bad = middle
    return bad


# --- Solving ----------------------------------------------------------------------------------------------------------


def solve(a: Array, b: Array) -> Array:
    """X with A X = B."""
    try:
        return np.asarray(np.linalg.solve(a, b))
    except np.linalg.LinAlgError:
        which, _ = _failing(np.linalg.solve, a, b)
        raise LinAlgError(f"torch.linalg.solve: {which}The solver failed because the input matrix is singular.") from None


def inv(a: Array, check: bool) -> Array:
    """The inverse. Of a singular matrix there is none: an error, or NaN everywhere in its place."""
    try:
        return np.asarray(np.linalg.inv(a))
    except np.linalg.LinAlgError:
        if not check:
            return _each_inverse(a)
        which, (own,) = _failing(np.linalg.inv, a)
        zeros = np.flatnonzero(np.diagonal(lu_factor(own)[0]) == 0)
        raise LinAlgError(
            f"linalg.inv: {which}The diagonal element {1 + int(zeros[0]) if len(zeros) else len(own)} is zero, the inversion could not be "
            "completed because the input matrix is singular."
        ) from None


def _each_inverse(a: Array) -> Array:
    found = np.full_like(a, np.nan)
    for place in np.ndindex(*a.shape[:-2]):
        try:
            found[place] = np.linalg.inv(a[place])
        except np.linalg.LinAlgError:
            continue
    return found


def solve_triangular(a: Array, b: Array, upper: bool, unit: bool) -> Array:
    """X with A X = B, reading one triangle of A; a zero on the diagonal gives infinities, as in PyTorch."""
    if upper:  # turned around both ways it is lower triangular
        return solve_triangular(a[..., ::-1, ::-1], b[..., ::-1, :], False, unit)[..., ::-1, :]
    x = b.copy()
    _substitute(a, x, unit)
    return x


def _substitute(a: Array, x: Array, unit: bool) -> None:
    """Solve in place: halves first, then row by row."""
    size = a.shape[-1]
    if size > BLOCK:
        half = size // 2
        _substitute(a[..., :half, :half], x[..., :half, :], unit)
        x[..., half:, :] -= a[..., half:, :half] @ x[..., :half, :]
        _substitute(a[..., half:, half:], x[..., half:, :], unit)
        return
    for i in range(size):
        if i:
            x[..., i : i + 1, :] -= a[..., i : i + 1, :i] @ x[..., :i, :]
        if not unit:
            x[..., i, :] /= a[..., i, i, None]


# --- LU ---------------------------------------------------------------------------------------------------------------


def lu_factor(a: Array) -> tuple[Array, Array]:
    """L below the diagonal (which is 1), U from it on, and the row (from 1) that row i changed places with: getrf, by panels of columns.

    Golub & Van Loan, Matrix Computations, 4th ed., algorithm 3.4.1 inside a panel; then products, as in section 3.2.11.
    """
    rows, columns = a.shape[-2:]
    lu = np.array(a).reshape(math.prod(a.shape[:-2]), rows, columns)
    count = min(rows, columns)
    pivots = np.zeros((len(lu), count), np.int32)
    each = np.arange(len(lu))
    for start in range(0, count, BLOCK):
        stop = min(start + BLOCK, count)
        for j in range(start, stop):
            best = j + np.argmax(np.abs(lu[:, j:, j]), axis=1) if len(lu) else np.zeros(0, np.int64)
            pivots[:, j] = best + 1
            moved = lu[each, best].copy()
            lu[each, best] = lu[:, j]
            lu[:, j] = moved
            pivot = lu[:, j, j, None]
            lu[:, j + 1 :, j] /= np.where(pivot == 0, 1, pivot)
            lu[:, j + 1 :, j + 1 : stop] -= lu[:, j + 1 :, j, None] * lu[:, j, None, j + 1 : stop]
        if stop < columns:
            _substitute(lu[:, start:stop, start:stop], lu[:, start:stop, stop:], True)
            lu[:, stop:, stop:] -= lu[:, stop:, start:stop] @ lu[:, start:stop, stop:]
    return lu.reshape(a.shape), pivots.reshape(*a.shape[:-2], count)


def row_order(pivots: Array, lu: Array) -> Array:
    """The rows of A in the order of those of L U."""
    rows, count = lu.shape[-2], pivots.shape[-1]
    flat = pivots.reshape(math.prod(pivots.shape[:-1]), count).astype(np.int64) - 1
    found = np.tile(np.arange(rows), (len(flat), 1))
    each = np.arange(len(flat))
    for j in range(count):
        best = np.clip(flat[:, j], 0, rows - 1)
        found[each, best], found[:, j] = found[:, j].copy(), found[each, best].copy()
    return found.reshape(*lu.shape[:-1])


# --- Orthogonal factors -----------------------------------------------------------------------------------------------


def qr(a: Array, complete: bool) -> tuple[Array, Array]:
    """Q with orthonormal columns and upper triangular R."""
    rows, columns = a.shape[-2:]
    size = rows if complete else min(rows, columns)
    if 0 in a.shape:
        q = np.zeros((*a.shape[:-2], rows, size), a.dtype)
        q[..., np.arange(size), np.arange(size)] = 1
        return q, np.zeros((*a.shape[:-2], size, columns), a.dtype)
    q, r = np.linalg.qr(a, "complete" if complete else "reduced")
    return q, r


def eigh(a: Array, lower: bool) -> tuple[Array, Array]:
    """Eigenvalues in ascending order and eigenvectors as columns, of a symmetric matrix of which one triangle is read."""
    triangle = "L" if lower else "U"

    def decompose(x: Array) -> tuple[Array, Array]:
        values, vectors = np.linalg.eigh(x, triangle)  # type: ignore[call-overload]
        return values, vectors

    try:
        return decompose(a)
    except np.linalg.LinAlgError:
        finite = np.asarray(np.isfinite(a).all((-2, -1)))
        values, vectors = decompose(np.where(finite[..., None, None], a, 0)) if not finite.all() else _no_eigenvalues(decompose, a)
        values[~finite], vectors[~finite] = np.nan, np.nan
        return values, vectors


def _no_eigenvalues(function: Callable[..., Any], a: Array) -> tuple[Array, Array]:
    which, _ = _failing(function, a)
    raise LinAlgError(
        f"linalg.eigh: {which}The algorithm failed to converge because the input matrix is ill-conditioned or has too many repeated "
        "eigenvalues."
    )


def svd(a: Array, full: bool) -> tuple[Array, Array, Array]:
    """U, S in descending order, and V transposed."""
    if not np.isfinite(a).all():
        bad = int(np.flatnonzero(~np.isfinite(a).all((-2, -1)).reshape(-1))[0])
        which = f"(Batch element {bad}): " if a.ndim > 2 else ""
        raise LinAlgError(f"linalg.svd: {which}The algorithm failed to converge because the input matrix contained non-finite values.")
    try:
        u, s, vh = np.linalg.svd(a, full_matrices=full)
    except np.linalg.LinAlgError:
        which, _ = _failing(np.linalg.svd, a)
        raise LinAlgError(
            f"linalg.svd: {which}The algorithm failed to converge because the input matrix is ill-conditioned or has too many repeated "
            "singular values."
        ) from None
    return u, s, vh


def pinv(a: Array, atol: float, rtol: float, hermitian: bool) -> Array:
    """The pseudoinverse: singular values up to max(atol, rtol * the largest) count as zeros."""
    if 0 in a.shape:
        return np.zeros((*a.shape[:-2], a.shape[-1], a.shape[-2]), a.dtype)
    if hermitian:
        values, vectors = eigh(a, True)
        u, s, vh = vectors * np.sign(values)[..., None, :], np.abs(values), turned(vectors)
    else:
        u, s, vh = svd(a, False)
    keep = s > np.maximum(atol, rtol * s.max(-1, keepdims=True))
    inverse = np.where(keep, 1 / np.where(keep, s, 1), 0).astype(a.dtype)
    return np.asarray(turned(vh) @ (inverse[..., None] * turned(u)))


# --- Determinants -----------------------------------------------------------------------------------------------------


def slogdet(a: Array) -> tuple[Array, Array]:
    """Sign and logarithm of the absolute value of the determinant."""
    sign, logarithm = np.linalg.slogdet(a)
    return np.asarray(sign, a.dtype), np.asarray(logarithm, a.dtype)


def det(a: Array) -> Array:
    """The determinant."""
    return np.asarray(np.linalg.det(a), a.dtype)


def cofactor(a: Array) -> Array:
    """The matrix of cofactors, det(A) A^-T, of singular matrices, too.

    With A = U S V^T it is det(U) det(V) U C V^T, where C_ii is the product of the other singular values (from both ends, since one of
    them may be 0). Where A is far from singular, its inverse is faster.
    """
    if 0 in a.shape:
        return a.copy()
    if not np.isfinite(a).all():
        return np.full_like(a, np.nan)
    try:
        inverse = np.linalg.inv(a)
        condition = np.abs(a).sum(-1).max(-1) * np.abs(inverse).sum(-1).max(-1)
        if np.all(condition < 0.01 / np.finfo(a.dtype).eps):
            return np.asarray(np.linalg.det(a)[..., None, None] * turned(inverse))
    except np.linalg.LinAlgError:
        pass
    u, s, vh = svd(a, False)
    ones = np.ones_like(s[..., :1])
    before = np.cumprod(np.concatenate([ones, s[..., :-1]], -1), -1)
    behind = np.cumprod(np.concatenate([ones, s[..., :0:-1]], -1), -1)[..., ::-1]
    sign = np.linalg.det(u) * np.linalg.det(vh)
    return np.asarray((u * (before * behind * np.round(sign)[..., None])[..., None, :]) @ vh).astype(a.dtype)


# --- Exponentials -----------------------------------------------------------------------------------------------------

_PADE = (64764752532480000.0, 32382376266240000.0, 7771770303897600.0, 1187353796428800.0, 129060195264000.0, 10559470521600.0,
         670442572800.0, 33522128640.0, 1323241920.0, 40840800.0, 960960.0, 16380.0, 182.0, 1.0)  # fmt: skip
_REACH = 5.371920351148152
"""The largest 1-norm for which the approximant of degree 13 has a backward error below half an ulp of float64 (Higham 2005, table 2.3)."""


def matrix_exp(a: Array) -> Array:
    """exp(A) by scaling and squaring around a Padé approximant of degree 13.

    Higham, The scaling and squaring method for the matrix exponential revisited, SIAM J. Matrix Anal. Appl. 26 (2005), algorithm 2.3.
    Computed in float64; each matrix of a batch is scaled by its own norm.
    """
    if 0 in a.shape:
        return a.copy()
    flat = a.reshape(-1, *a.shape[-2:]).astype(np.float64)
    finite = np.asarray(np.isfinite(flat).all((-2, -1)))
    flat = np.where(finite[:, None, None], flat, 0)
    norm = np.abs(flat).sum(-2).max(-1)
    _, exponent = np.frexp(norm / _REACH)
    squarings = np.maximum(exponent, 0)
    x = np.ldexp(flat, -squarings[:, None, None])
    found = _pade(x)
    for turn in range(int(squarings.max(initial=0))):
        more = squarings > turn
        found[more] = found[more] @ found[more]
    found[~finite] = np.nan
    return found.reshape(a.shape).astype(a.dtype)


def _pade(x: Array) -> Array:
    """(V - U)^-1 (V + U), U the odd and V the even part of the polynomial."""
    c, one = _PADE, np.eye(x.shape[-1])
    x2 = x @ x
    x4 = x2 @ x2
    x6 = x4 @ x2
    odd = x @ (x6 @ (c[13] * x6 + c[11] * x4 + c[9] * x2) + c[7] * x6 + c[5] * x4 + c[3] * x2 + c[1] * one)
    even = x6 @ (c[12] * x6 + c[10] * x4 + c[8] * x2) + c[6] * x6 + c[4] * x4 + c[2] * x2 + c[0] * one
    return np.asarray(np.linalg.solve(even - odd, even + odd))
