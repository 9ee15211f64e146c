"""Linear algebra beside PyTorch's: values, gradients, shapes, words of errors. Run with -m oracle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rustorch

torch: Any = pytest.importorskip("torch")

pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore")]
Function = Callable[[Any, Any], Any]
SHAPES = [(3, 3), (1, 1), (2, 4, 4), (0, 0), (2, 0, 0), (5, 3), (3, 5), (2, 4, 2)]


def matrix(shape: tuple[int, ...], dtype: str = "float64") -> Any:
    x = np.random.default_rng(sum(shape)).uniform(-1, 1, shape)
    size = min(shape[-2:])
    x[..., np.arange(size), np.arange(size)] += 2.0 + 0.75 * np.arange(size)
    return x.astype(dtype)


def results(library: Any, function: Function, array: Any) -> list[Any]:
    x = library.tensor(array, requires_grad=True)
    found = function(library, x)
    outputs = list(found) if isinstance(found, tuple) else [found]
    floats = [y for y in outputs if y.requires_grad and y.numel()]
    if floats:
        sum((y * y * (1 + k)).sum() for k, y in enumerate(floats)).backward()
    return [np.asarray(y.detach().numpy()) for y in (*outputs, *([x.grad] if floats else []))]


def same(function: Function, array: Any) -> None:
    found, expected = (results(library, function, array) for library in (rustorch, torch))
    assert len(found) == len(expected)
    tolerance = 2e-3 if array.dtype == np.float32 else 1e-8
    for mine, other in zip(found, expected, strict=True):
        assert (mine.dtype, mine.shape) == (other.dtype, other.shape)
        np.testing.assert_allclose(mine, other, rtol=tolerance, atol=tolerance)


def sym(x: Any) -> Any:
    return x + x.mT


def pos(x: Any) -> Any:
    return x @ x.mT


SQUARE: dict[str, Function] = {
    "cholesky": lambda lib, x: lib.linalg.cholesky(pos(x)),
    "cholesky of itself": lambda lib, x: lib.linalg.cholesky((x + x.mT).detach().requires_grad_() + 0 * x),
    "cholesky upper": lambda lib, x: lib.linalg.cholesky(pos(x), upper=True),
    "cholesky_solve": lambda lib, x: lib.cholesky_solve(x, lib.linalg.cholesky(pos(x))),
    "cholesky_inverse": lambda lib, x: lib.cholesky_inverse(lib.linalg.cholesky(pos(x))),
    "inv": lambda lib, x: lib.linalg.inv(x),
    "det": lambda lib, x: lib.linalg.det(x),
    "slogdet": lambda lib, x: tuple(lib.linalg.slogdet(x)),
    "logdet": lambda lib, x: lib.logdet(x),
    "solve": lambda lib, x: lib.linalg.solve(x, x.mT),
    "solve left": lambda lib, x: lib.linalg.solve(x, x.mT, left=False),
    "solve vector": lambda lib, x: lib.linalg.solve(x, x[..., 0]) if x.numel() else x * 1,
    "solve_triangular": lambda lib, x: lib.linalg.solve_triangular(x, x.mT, upper=False),
    "solve_triangular unit": lambda lib, x: lib.linalg.solve_triangular(x, x.mT, upper=True, left=False, unitriangular=True),
    "lu_solve": lambda lib, x: lib.linalg.lu_solve(*lib.linalg.lu_factor(x), x.mT),
    "lu_solve adjoint": lambda lib, x: lib.linalg.lu_solve(*lib.linalg.lu_factor(x), x.mT, left=False, adjoint=True),
    "eigh": lambda lib, x: lib.linalg.eigh(sym(x))[0],
    "eigenvectors": lambda lib, x: lib.linalg.eigh(sym(x))[1].abs(),
    "eigh of itself": lambda lib, x: lib.linalg.eigh((x + x.mT) * 1)[0],
    "eigvalsh": lambda lib, x: lib.linalg.eigvalsh(x, UPLO="U"),
    "matrix_power": lambda lib, x: lib.linalg.matrix_power(x, 3),
    "matrix_power 0": lambda lib, x: lib.linalg.matrix_power(x, 0) + 0 * x,
    "matrix_power -3": lambda lib, x: lib.linalg.matrix_power(x, -3),
    "matrix_exp": lambda lib, x: lib.linalg.matrix_exp(x * 0.5),
    "pinv hermitian": lambda lib, x: lib.linalg.pinv(sym(x), hermitian=True),
}
ANY: dict[str, Function] = {
    "qr": lambda lib, x: tuple(lib.linalg.qr(x)),
    "qr complete": lambda lib, x: tuple(y.detach() for y in lib.linalg.qr(x, "complete")),
    "qr r": lambda lib, x: tuple(y.detach() for y in lib.linalg.qr(x, "r")),
    "svd": lambda lib, x: (lambda u, s, v: (u.abs(), s, v.abs()))(*lib.linalg.svd(x, full_matrices=False)),
    "svd shapes": lambda lib, x: tuple((y * 0).detach() for y in lib.linalg.svd(x)),
    "svdvals": lambda lib, x: lib.linalg.svdvals(x),
    "lu": lambda lib, x: tuple(lib.linalg.lu(x)),
    "lu_factor": lambda lib, x: tuple(lib.linalg.lu_factor(x)),
    "lu_unpack": lambda lib, x: tuple(lib.lu_unpack(*lib.linalg.lu_factor(x))),
    "pinv": lambda lib, x: lib.linalg.pinv(x),
    "matrix_rank": lambda lib, x: lib.linalg.matrix_rank(x),
    "lstsq": lambda lib, x: lib.linalg.lstsq(x, x[..., :1] * 2 + 1).solution,
    "diagonal": lambda lib, x: lib.linalg.diagonal(x),
    "vecdot": lambda lib, x: lib.linalg.vecdot(x, x * 2),
    "vander": lambda lib, x: lib.linalg.vander(x, N=3),
    "norm": lambda lib, x: lib.linalg.norm(x),
    "vector_norm": lambda lib, x: lib.linalg.vector_norm(x, 3, dim=-1, keepdim=True),
}
NORMS = ["fro", "nuc", 1, -1, 2, -2, float("inf"), -float("inf")]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", SQUARE)
def test_square(name: str, dtype: str) -> None:
    for shape in SHAPES[:5]:
        same(SQUARE[name], matrix(shape, dtype))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ANY)
def test_any(name: str, dtype: str) -> None:
    for shape in SHAPES:
        if name in ("lstsq", "vander") and 0 in shape:
            continue
        same(ANY[name], matrix(shape, dtype))


@pytest.mark.parametrize("ord", NORMS)
def test_norms_of_matrices(ord: Any) -> None:
    for shape in [(3, 3), (2, 4, 3), (1, 1)]:
        same(lambda lib, x: lib.linalg.matrix_norm(x, ord), matrix(shape))
        same(lambda lib, x: lib.linalg.norm(x, ord, dim=(-1, -2), keepdim=True), matrix(shape))
    through_inverse = ord not in (2, -2, "nuc")  # whose gradient PyTorch 2.13 refuses: it changes the inverse in place
    for shape in [(3, 3), (2, 4, 4)]:
        same(lambda lib, x: lib.linalg.cond(x.detach() if through_inverse else x, ord), matrix(shape))


def test_of_several() -> None:
    def chain(lib: Any, x: Any) -> Any:
        return lib.linalg.multi_dot([x[0], x, x.mT, x * 2, x[:, 0]])

    same(chain, matrix((4, 4)))
    same(lambda lib, x: lib.linalg.tensorinv(x.reshape(2, 3, 6), ind=2), matrix((6, 6)))
    same(lambda lib, x: lib.linalg.tensorsolve(x.reshape(2, 3, 6), x[:2, :3]), matrix((6, 6)))
    same(lambda lib, x: lib.linalg.householder_product(x, x[0, :3]), matrix((5, 3)))
    same(lambda lib, x: lib.linalg.cross(x, x.flip(0)), matrix((4, 3)))
    for driver in (None, "gels", "gelsd"):
        same(lambda lib, x, d=driver: tuple(lib.linalg.lstsq(x, x[:, :2] + 1, driver=d)), matrix((5, 3)))


def test_gradient_of_singular_determinant() -> None:
    same(lambda lib, x: lib.linalg.det(x) + 0 * x, np.array([[1.0, 2, 3], [2, 4, 6.5], [3, 6, 1]]))


CALLS: list[Function] = [
    lambda lib, x: lib.linalg.cholesky(x),
    lambda lib, x: lib.linalg.inv(x[0]),
    lambda lib, x: lib.linalg.solve(x, x),
    lambda lib, x: lib.linalg.solve(x[:, :3], x[:2]),
    lambda lib, x: lib.linalg.solve(x[:, :3], x.double()),
    lambda lib, x: lib.linalg.solve_triangular(x[:, :3], x[0], upper=True),
    lambda lib, x: lib.linalg.inv(lib.ones(2, 2)).sum().item(),
    lambda lib, x: lib.linalg.inv(lib.stack([lib.eye(2), lib.ones(2, 2)])).sum().item(),
    lambda lib, x: lib.linalg.solve(lib.ones(2, 2), lib.ones(2, 1)).sum().item(),
    lambda lib, x: lib.linalg.cholesky(lib.tensor([[1.0, 2.0], [2.0, 1.0]])).sum().item(),
    lambda lib, x: lib.linalg.cholesky(lib.stack([lib.eye(3), -lib.eye(3)])).sum().item(),
    lambda lib, x: lib.linalg.svd(x * float("nan"))[1].sum().item(),
    lambda lib, x: lib.linalg.matrix_norm(x, 3),
    lambda lib, x: lib.linalg.norm(x.reshape(1, 3, 4), "fro"),
    lambda lib, x: lib.linalg.cond(x, 1),
    lambda lib, x: lib.linalg.tensorinv(x, 0),
    lambda lib, x: lib.linalg.qr(x, "x"),
    lambda lib, x: lib.linalg.eigh(x[:, :3], UPLO="X"),
    lambda lib, x: lib.linalg.lstsq(x, x.t()),
]


@pytest.mark.parametrize("number", range(len(CALLS)))
def test_words_of_errors(number: int) -> None:
    said = []
    for library in (rustorch, torch):
        with pytest.raises(RuntimeError) as error:
            CALLS[number](library, library.ones(3, 4))
        said.append(str(error.value).splitlines()[0].strip())
    assert said[0] == said[1]
