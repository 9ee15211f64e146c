"""Linear algebra: derivatives of both orders, both doors, batches, sizes that change, errors; PyTorch's values: tests/differential."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rustorch
from rustorch import aot, linalg
from rustorch.autograd import gradcheck, gradgradcheck
from rustorch.errors import Unsupported
from tests.frontend.door import Door

pytestmark = pytest.mark.filterwarnings("ignore:.*a new program was compiled")  # each case is one, on the same line


def matrix(*shape: int, grad: bool = True, dtype: Any = np.float64) -> Any:
    """Matrices far from singular, their singular values apart; the same ones for a shape."""
    x = np.random.default_rng(len(shape) + sum(shape)).uniform(-1, 1, shape)
    size = min(shape[-2:])
    x[..., np.arange(size), np.arange(size)] += 2.0 + 0.75 * np.arange(size)
    return rustorch.tensor(x.astype(dtype), requires_grad=grad)


def symmetric(x: Any) -> Any:
    return x + x.mT


def definite(x: Any) -> Any:
    return x @ x.mT


SQUARE: dict[str, Callable[[Any], Any]] = {
    "cholesky": lambda x: linalg.cholesky(definite(x)),
    "cholesky upper": lambda x: linalg.cholesky(definite(x), upper=True),
    "cholesky_solve": lambda x: rustorch.cholesky_solve(x, linalg.cholesky(definite(x))),
    "cholesky_inverse": lambda x: rustorch.cholesky_inverse(linalg.cholesky(definite(x))),
    "solve": lambda x: linalg.solve(x, x.mT),
    "solve from the right": lambda x: linalg.solve(x, x.mT, left=False),
    "solve_triangular": lambda x: linalg.solve_triangular(x, x.mT, upper=True),
    "solve_triangular from the right": lambda x: linalg.solve_triangular(x, x.mT, upper=False, left=False, unitriangular=True),
    "inv": linalg.inv,
    "det": linalg.det,
    "slogdet": lambda x: linalg.slogdet(x).logabsdet,
    "logdet": lambda x: rustorch.logdet(definite(x)),
    "lu": lambda x: linalg.lu(x)[1:],
    "lu_solve": lambda x: linalg.lu_solve(*linalg.lu_factor(x), x.mT),
    "lu_solve from the right, transposed": lambda x: linalg.lu_solve(*linalg.lu_factor(x), x.mT, left=False, adjoint=True),
    "qr": lambda x: tuple(linalg.qr(x)),
    "eigh": lambda x: tuple(linalg.eigh(symmetric(x))),
    "eigvalsh": lambda x: linalg.eigvalsh(symmetric(x), "U"),
    "svd": lambda x: tuple(linalg.svd(x)),
    "svdvals": linalg.svdvals,
    "pinv": linalg.pinv,
    "lstsq": lambda x: linalg.lstsq(x, x.mT).solution,
    "matrix_power": lambda x: linalg.matrix_power(x, 5),
    "matrix_power below 0": lambda x: linalg.matrix_power(x, -2),
    "matrix_exp": lambda x: linalg.matrix_exp(x * 0.3),
    "cond": linalg.cond,
    "cond 1": lambda x: linalg.cond(x, 1),
    "nuclear norm": lambda x: linalg.matrix_norm(x, "nuc"),
    "2-norm": lambda x: linalg.matrix_norm(x, 2),
    "norm of rows": lambda x: linalg.norm(x, float("inf"), (-2, -1)),
    "householder_product": lambda x: linalg.householder_product(x, x[..., 0, :2]),
    "vander": lambda x: linalg.vander(x, N=3),
}
TALL_OR_WIDE = ("lu", "qr", "svdvals", "pinv", "nuclear norm")


@pytest.mark.parametrize("name", SQUARE)
def test_derivatives(name: str) -> None:
    for shape in ((3, 3), (2, 2, 2)):
        assert gradcheck(SQUARE[name], (matrix(*shape),))
    assert gradgradcheck(SQUARE[name], (matrix(3, 3),))


@pytest.mark.parametrize("name", TALL_OR_WIDE)
@pytest.mark.parametrize("shape", [(4, 2), (2, 4)])
def test_derivatives_of_matrices_that_are_not_square(name: str, shape: tuple[int, int]) -> None:
    assert gradcheck(SQUARE[name], (matrix(*shape),))
    assert gradgradcheck(SQUARE[name], (matrix(*shape),))


def test_derivatives_of_least_squares() -> None:
    a, y = matrix(5, 3), matrix(5, 2)
    assert gradcheck(lambda a, y: linalg.lstsq(a, y).solution, (a, y))
    assert gradcheck(lambda a, y: linalg.lstsq(a, y, driver="gels").residuals, (a, y))


def leaves(found: Any) -> list[Any]:
    return [found] if isinstance(found, rustorch.Tensor) else list(found)


@pytest.mark.parametrize("name", SQUARE)
def test_doors_and_batches_agree(name: str) -> None:
    function = SQUARE[name]
    stacked = matrix(3, 4, 4, grad=False)
    recorded, compiled = (leaves(Door(compiled)(function, stacked)) for compiled in (False, True))
    each = [leaves(function(stacked[i])) for i in range(3)]
    mapped = leaves(rustorch.vmap(function)(stacked))
    for k, found in enumerate(recorded):
        np.testing.assert_array_equal(found.numpy(), compiled[k].numpy())
        np.testing.assert_allclose(mapped[k].numpy(), found.numpy(), rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(found.numpy(), np.stack([row[k].numpy() for row in each]), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(0, 0), (1, 1), (0, 3, 3), (2, 0, 0)])
def test_small_and_empty(shape: tuple[int, ...], dtype: Any, compiled: bool) -> None:
    x = matrix(*shape, grad=False, dtype=dtype)
    for name in ("cholesky", "solve", "inv", "det", "lu_solve", "qr", "eigh", "svd", "pinv", "matrix_power", "matrix_exp"):
        for found in leaves(Door(compiled)(SQUARE[name], x)):
            assert found.dtype is x.dtype
            assert found.shape[: len(shape) - 2] == shape[:-2]
    assert (linalg.det(rustorch.zeros(0, 0)).item(), linalg.matrix_rank(rustorch.zeros(0, 0)).item()) == (1.0, 0)


def test_one_program_for_all_sizes() -> None:
    f = rustorch.jit(rustorch.value_and_grad(lambda x, y: (linalg.solve(x, y) * y).sum() + linalg.slogdet(x).logabsdet))
    for size in (2, 3, 5, 4, 40, 3):
        x, y = matrix(size, size, grad=False), matrix(size, 3, grad=False)
        value, gradient = f(x, y)
        inverse = np.linalg.inv(x.numpy())
        np.testing.assert_allclose(value.item(), (inverse @ y.numpy() * y.numpy()).sum() + np.linalg.slogdet(x.numpy())[1], rtol=1e-10)
        expected = inverse.T - inverse.T @ y.numpy() @ (inverse @ y.numpy()).T
        np.testing.assert_allclose(gradient.numpy(), expected, rtol=1e-8, atol=1e-10)


def test_inside_a_larger_program_and_through_views() -> None:
    whole = matrix(9, 12, grad=False)

    def function(x: Any) -> Any:
        a = rustorch.sin(x.t()[::3, 1:8:2]) + 3 * rustorch.eye(4, dtype=rustorch.float64)
        return rustorch.tanh(linalg.inv(a) @ a[:, :2]).sum(), linalg.det(a.t()), linalg.inv(a[::2, ::2])

    a = np.sin(whole.numpy().T[::3, 1:8:2]) + 3 * np.eye(4)
    expected = np.tanh(np.eye(4)[:, :2]).sum(), np.linalg.det(a), np.linalg.inv(a[::2, ::2])
    for compiled in (False, True, True):
        for found, value in zip(Door(compiled)(function, whole), expected, strict=True):
            np.testing.assert_allclose(found.numpy(), value, rtol=1e-12)


SINGULAR = rustorch.ones(2, 2)
FAILURES: list[tuple[Callable[[Any], Any], str]] = [
    (linalg.inv, "linalg.inv: The diagonal element 2 is zero, the inversion could not be completed because the input matrix is singular."),
    (lambda x: linalg.solve(x, x), "torch.linalg.solve: The solver failed because the input matrix is singular."),
    (
        lambda x: linalg.cholesky(x - 3),
        "linalg.cholesky: The factorization could not be completed because the input is not positive-definite (the leading minor of order "
        "1 is not positive-definite).",
    ),
    (
        lambda x: linalg.svdvals(x / 0),
        "linalg.svd: The algorithm failed to converge because the input matrix contained non-finite values.",
    ),
    (lambda x: linalg.inv(rustorch.stack([rustorch.eye(2), x])), "linalg.inv: (Batch element 1): The diagonal element 2 is zero"),
]


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(("function", "words"), FAILURES)
def test_failures_name_the_matrix_and_the_line(function: Callable[[Any], Any], words: str, compiled: bool) -> None:
    run = rustorch.jit(function) if compiled else function
    for _ in range(2):
        with pytest.raises(linalg.LinAlgError) as failure:
            run(SINGULAR).numpy()
        assert str(failure.value).startswith(words)
        assert "test_linalg.py" in str(failure.value)
    assert isinstance(failure.value, RuntimeError)


def test_a_program_goes_on_after_a_failure() -> None:
    run = rustorch.jit(linalg.inv)
    good = rustorch.tensor([[2.0, 0.0], [0.0, 4.0]])
    for _ in range(3):
        assert run(good).tolist() == [[0.5, 0.0], [0.0, 0.25]]
        with pytest.raises(linalg.LinAlgError):
            run(SINGULAR)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x: linalg.cholesky(x), "linalg.cholesky: A must be batches of square matrices, but they are 3 by 4 matrices"),
        (lambda x: linalg.det(x[0]), "linalg.det: The input tensor A must have at least 2 dimensions."),
        (lambda x: linalg.inv(x.long()), "linalg.inv: Expected a floating point or complex tensor as input. Got Long"),
        (lambda x: linalg.solve(x[:, :3], x[:2]), r"linalg.solve: Incompatible shapes of A and B for the equation AX = B \(3x3 and 2x4\)"),
        (lambda x: linalg.qr(x, "full"), "qr received unrecognized mode 'full'"),
        (lambda x: linalg.eigh(x[:, :3], "X"), "Expected UPLO argument to be 'L' or 'U', but got X"),
        (lambda x: linalg.matrix_norm(x, 3), "linalg.matrix_norm: Order 3 not supported."),
        (lambda x: linalg.multi_dot([x]), "expected at least 2 tensors but got 1"),
        (lambda x: linalg.lu(x, pivot=False), "LU without pivoting is not implemented on the CPU"),
        (lambda x: linalg.qr(x.t().requires_grad_(), "complete").Q.sum().backward(), "The QR decomposition is not differentiable"),
    ],
)
def test_refusals(function: Callable[[Any], Any], words: str) -> None:
    with pytest.raises(RuntimeError, match=words):
        function(rustorch.rand(3, 4))


def test_gradients_at_hard_spots() -> None:
    x = rustorch.tensor([[1.0, 2.0], [2.0, 4.0]], dtype=rustorch.float64, requires_grad=True)
    linalg.det(x).backward()
    np.testing.assert_allclose(x.grad.numpy(), [[4, -2], [-2, 1]], atol=1e-12)  # cofactors
    zero = rustorch.zeros(2, 2, requires_grad=True)
    (linalg.norm(zero) + linalg.matrix_norm(zero)).backward()
    assert zero.grad.tolist() == [[0, 0], [0, 0]]
    same = rustorch.eye(3, dtype=rustorch.float64).requires_grad_()
    (linalg.svdvals(same).sum() + linalg.eigvalsh(same).sum()).backward()  # equal values: their sums have derivatives
    np.testing.assert_allclose(same.grad.numpy(), 2 * np.eye(3), atol=1e-15)


def test_one_triangle_is_read() -> None:
    x = rustorch.tensor([[2.0, float("nan")], [1.0, 3.0]])
    np.testing.assert_allclose(linalg.cholesky(x).numpy(), np.linalg.cholesky([[2, 1], [1, 3]]), rtol=1e-6)
    np.testing.assert_allclose(linalg.eigvalsh(x.t(), "U").numpy(), np.linalg.eigvalsh([[2, 1], [1, 3]]), rtol=1e-6)


def test_large_factors() -> None:
    """Sizes beyond the blocks that are eliminated row by row."""
    x, y = matrix(130, 130, grad=False), matrix(130, 7, grad=False)
    p, low, up = linalg.lu(x)
    np.testing.assert_allclose((p @ low @ up).numpy(), x.numpy(), atol=1e-11)
    np.testing.assert_allclose(linalg.lu_solve(*linalg.lu_factor(x), y).numpy(), np.linalg.solve(x.numpy(), y.numpy()), atol=1e-11)
    upper = rustorch.triu(x)
    np.testing.assert_allclose((upper @ linalg.solve_triangular(x, y, upper=True)).numpy(), y.numpy(), atol=1e-9)
    tall, wide = matrix(70, 40, grad=False), matrix(40, 70, grad=False)
    for a in (tall, wide):
        p, low, up = linalg.lu(a)
        np.testing.assert_allclose((p @ low @ up).numpy(), a.numpy(), atol=1e-11)


def test_exponentials_of_many_sizes() -> None:
    for scale in (1e-9, 0.1, 3.0, 40.0):
        angle = scale * rustorch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=rustorch.float64)
        expected = [[np.cos(scale), -np.sin(scale)], [np.sin(scale), np.cos(scale)]]
        np.testing.assert_allclose(linalg.matrix_exp(angle).numpy(), expected, atol=1e-13)


def test_threads_call_out_at_once() -> None:
    run = rustorch.jit(lambda x: linalg.inv(x) @ x)
    x = matrix(30, 30, grad=False)
    run(x)
    wrong: list[Any] = []

    def work() -> None:
        for _ in range(20):
            found = run(x).numpy()
            if not np.allclose(found, np.eye(30)):
                wrong.append(found)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_export_names_the_op_and_the_line() -> None:
    def function(x: Any) -> Any:
        return linalg.inv(x).sum()

    with pytest.raises(Unsupported, match=r"(?s)inv is computed by LAPACK, outside of native code.*test_linalg\.py"):
        aot.export(function, {"x": rustorch.f64[3, 3]})


def test_methods_and_older_names() -> None:
    x = matrix(3, 3, grad=False)
    np.testing.assert_array_equal(x.inverse().numpy(), rustorch.inverse(x).numpy())
    u, s, v = rustorch.svd(x)
    np.testing.assert_allclose((u * s @ v.mT).numpy(), x.numpy(), atol=1e-12)
    assert rustorch.det(x).item() == x.det().item() == linalg.det(x).item()
    p, low, up = rustorch.lu_unpack(*linalg.lu_factor(x))
    np.testing.assert_allclose((p @ low @ up).numpy(), x.numpy(), atol=1e-12)
