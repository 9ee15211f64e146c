"""Linear algebra, under the names of `torch.linalg`.

Decompositions and solutions are computed by LAPACK, through numpy, as steps of compiled programs; derivatives are closed forms, of every
order. A matrix for which there is none (singular, not positive definite) raises `LinAlgError`, recorded and compiled. Functions whose
results are complex (`eig`, `eigvals`) are not there.
"""

from rustorch import matmul
from rustorch.errors import LinAlgError
from rustorch.frontend.linalg import (
    cholesky,
    cholesky_ex,
    det,
    eigh,
    eigvalsh,
    inv,
    lstsq,
    lu,
    lu_factor,
    lu_solve,
    matrix_rank,
    pinv,
    qr,
    slogdet,
    solve,
    solve_triangular,
    svd,
    svdvals,
)
from rustorch.frontend.linalg_compositions import (
    cond,
    cross,
    diagonal,
    householder_product,
    matrix_exp,
    matrix_norm,
    matrix_power,
    multi_dot,
    norm,
    tensorinv,
    tensorsolve,
    vander,
    vecdot,
    vector_norm,
)

__all__ = [
    "cholesky", "cholesky_ex", "cond", "cross", "det", "diagonal", "eigh", "eigvalsh", "householder_product", "inv", "LinAlgError", "lstsq",
    "lu", "lu_factor", "lu_solve", "matmul", "matrix_exp", "matrix_norm", "matrix_power", "matrix_rank", "multi_dot", "norm", "pinv", "qr",
    "slogdet", "solve", "solve_triangular", "svd", "svdvals", "tensorinv", "tensorsolve", "vander", "vecdot", "vector_norm",
]  # fmt: skip
