"""Tensors that are made: by rule against numpy, by chance against what the distribution says; and `out=`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rustorch
from rustorch.errors import ArgumentError, DTypeError, GradError, ShapeError

MADE: list[tuple[str, Callable[[], Any], Any]] = [
    ("linspace", lambda: rustorch.linspace(-1, 2, 7), np.linspace(-1, 2, 7, dtype=np.float32)),
    ("linspace of one", lambda: rustorch.linspace(3, 9, 1, dtype=rustorch.float64), np.array([3.0])),
    ("logspace", lambda: rustorch.logspace(-1, 2, 4, base=2, dtype=rustorch.float64), 2.0 ** np.linspace(-1, 2, 4)),
    ("eye", lambda: rustorch.eye(2, 3), np.eye(2, 3, dtype=np.float32)),
    ("eye of integers", lambda: rustorch.eye(3, dtype=rustorch.int64), np.eye(3, dtype=np.int64)),
    ("arange", lambda: rustorch.arange(1, 2, 0.25), np.arange(1, 2, 0.25, dtype=np.float32)),
    ("arange backwards", lambda: rustorch.arange(5, 0, -2), np.array([5, 3, 1])),
    ("full", lambda: rustorch.full((2, 3), 7), np.full((2, 3), 7)),
    ("tril_indices", lambda: rustorch.tril_indices(3, 4, 1), np.stack(np.tril_indices(3, 1, 4))),
    ("triu_indices", lambda: rustorch.triu_indices(3, 4, -1), np.stack(np.triu_indices(3, -1, 4))),
    ("scalar_tensor", lambda: rustorch.scalar_tensor(3), np.array(3, np.float32)),
    ("asarray", lambda: rustorch.asarray([1, 2]), np.array([1, 2])),
    ("frombuffer", lambda: rustorch.frombuffer(bytearray(b"\1\0\0\0\2\0\0\0"), dtype=rustorch.int32), np.array([1, 2], np.int32)),
    ("hann_window", lambda: rustorch.hann_window(5, False, dtype=rustorch.float64), np.hanning(5)),
    ("hamming_window", lambda: rustorch.hamming_window(5, dtype=rustorch.float64), np.hamming(6)[:5]),
    ("blackman_window", lambda: rustorch.blackman_window(6, dtype=rustorch.float64), np.blackman(7)[:6]),
    ("bartlett_window", lambda: rustorch.bartlett_window(4, dtype=rustorch.float64), np.bartlett(5)[:4]),
]


@pytest.mark.parametrize(("make", "expected"), [c[1:] for c in MADE], ids=[c[0] for c in MADE])
def test_made_by_rule(make: Callable[[], Any], expected: Any) -> None:
    found = make().numpy()
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=1e-6 if found.dtype == np.float32 else 1e-15, atol=1e-16)
    np.testing.assert_array_equal(rustorch.jit(make)().numpy(), found)


MANY = 20_000
DRAWS: list[tuple[str, Callable[[], Any], float, float]] = [
    ("rand", lambda: rustorch.rand(MANY), 1 / 2, 1 / 12),
    ("randn", lambda: rustorch.randn(MANY), 0.0, 1.0),
    ("randint", lambda: rustorch.randint(3, 8, (MANY,)), 5.0, 2.0),
    ("randint_like", lambda: rustorch.randint_like(rustorch.zeros(MANY), 5), 2.0, 2.0),
    ("normal", lambda: rustorch.normal(3.0, 2.0, (MANY,)), 3.0, 4.0),
    ("normal of tensors", lambda: rustorch.normal(rustorch.full((MANY,), 1.0), rustorch.full((MANY,), 0.5)), 1.0, 0.25),
    ("bernoulli", lambda: rustorch.bernoulli(rustorch.full((MANY,), 0.3)), 0.3, 0.21),
    ("bernoulli p", lambda: rustorch.bernoulli(rustorch.zeros(MANY), 0.3), 0.3, 0.21),
    ("bernoulli_", lambda: rustorch.zeros(MANY).bernoulli_(0.8), 0.8, 0.16),
    ("uniform_", lambda: rustorch.zeros(MANY).uniform_(-1, 3), 1.0, 16 / 12),
    ("exponential_", lambda: rustorch.zeros(MANY).exponential_(2.0), 0.5, 0.25),
    ("geometric_", lambda: rustorch.zeros(MANY).geometric_(0.25), 4.0, 12.0),
    ("log_normal_", lambda: rustorch.zeros(MANY).log_normal_(0.0, 0.5), float(np.exp(1 / 8)), float((np.exp(1 / 4) - 1) * np.exp(1 / 4))),
    ("random_", lambda: rustorch.zeros(MANY).random_(0, 4), 1.5, 1.25),
    ("binomial", lambda: rustorch.binomial(rustorch.full((MANY,), 6.0), rustorch.full((MANY,), 0.5)), 3.0, 1.5),
    ("multinomial", lambda: rustorch.multinomial(rustorch.tensor([1.0, 0.0, 3.0]), MANY, replacement=True), 1.5, 0.75),
]


@pytest.mark.parametrize(("draw", "mean", "variance"), [c[1:] for c in DRAWS], ids=[c[0] for c in DRAWS])
def test_drawn_by_chance(draw: Callable[[], Any], mean: float, variance: float) -> None:
    rustorch.manual_seed(11)
    found = draw().double().numpy()
    # five standard deviations of a mean; variances of so many numbers are within a tenth of theirs
    assert abs(found.mean() - mean) < 5 * (variance / MANY) ** 0.5
    assert found.var() == pytest.approx(variance, rel=0.1)
    rustorch.manual_seed(11)
    np.testing.assert_array_equal(draw().double().numpy(), found)


def test_the_median_of_the_cauchy_distribution() -> None:
    rustorch.manual_seed(3)
    found = rustorch.zeros(MANY).cauchy_(1.0, 2.0).numpy()
    assert np.median(found) == pytest.approx(1.0, abs=0.1)
    assert np.quantile(found, 0.75) - np.quantile(found, 0.25) == pytest.approx(4.0, rel=0.05)


def test_draws_without_replacement() -> None:
    rustorch.manual_seed(5)
    weights = rustorch.tensor(np.tile([1.0, 2.0, 0.0, 3.0], (4000, 1)))
    found = rustorch.multinomial(weights, 3).numpy()
    assert (np.sort(found, 1) == [0, 1, 3]).all()
    shares = [(found[:, 0] == k).mean() for k in (0, 1, 3)]
    np.testing.assert_allclose(shares, [1 / 6, 1 / 3, 1 / 2], atol=0.03)
    assert sorted(rustorch.randperm(9).tolist()) == list(range(9))


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: rustorch.multinomial(rustorch.tensor([1.0, 0.0]), 2), ShapeError, "not enough non-negative category"),
        (lambda: rustorch.multinomial(rustorch.tensor([1.0, -1.0]), 1), ShapeError, "element < 0"),
        (lambda: rustorch.multinomial(rustorch.tensor([1, 2]), 1), DTypeError, "floating-point"),
        (lambda: rustorch.zeros(2).exponential_(0), ArgumentError, "lambda > 0.0"),
        (lambda: rustorch.randint(3, 3, (2,)), ArgumentError, "'from' to be less than 'to'"),
        (lambda: rustorch.eye(-1), ShapeError, "greater or equal to 0"),
    ],
)
def test_refusals(call: Callable[[], Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        call()


# --- out= -------------------------------------------------------------------------------------------------------------


def test_out_is_written_and_returned() -> None:
    x, out = rustorch.tensor([1.0, 4.0]), rustorch.zeros(2)
    assert rustorch.sqrt(x, out=out) is out
    assert out.tolist() == [1.0, 2.0]
    assert rustorch.add(x, 1, out=out).tolist() == [2.0, 5.0]
    assert rustorch.sum(x, out=rustorch.empty(())).item() == 5.0
    assert rustorch.cat([x, x], out=rustorch.empty(0)).tolist() == [1.0, 4.0, 1.0, 4.0]
    values, places = rustorch.empty(0), rustorch.empty(0, dtype=rustorch.int64)
    found = rustorch.max(rustorch.tensor([[1.0, 3.0], [4.0, 2.0]]), 1, out=(values, places))
    assert found.values is values
    assert (values.tolist(), places.tolist()) == ([3.0, 4.0], [1, 0])


def test_out_through_a_view_reaches_its_base() -> None:
    base = rustorch.zeros(4)
    rustorch.neg(rustorch.tensor([1.0, 2.0]), out=base[1:3])
    assert base.tolist() == [0.0, -1.0, -2.0, 0.0]


def test_out_of_another_type_or_shape() -> None:
    x = rustorch.tensor([1.5, 2.5])
    assert rustorch.exp(x, out=rustorch.zeros(2, dtype=rustorch.float64)).dtype == rustorch.float64
    with pytest.raises(RuntimeError, match="result type Float can't be cast to the desired output type Long"):
        rustorch.exp(x, out=rustorch.zeros(2, dtype=rustorch.int64))
    with pytest.warns(UserWarning, match="was resized"):
        assert rustorch.exp(x, out=rustorch.zeros(3)).shape == (2,)


def test_out_takes_no_part_in_gradients() -> None:
    x = rustorch.tensor([1.5], requires_grad=True)
    with pytest.raises(GradError, match="don't support automatic differentiation"):
        rustorch.exp(x, out=rustorch.zeros(1))
    with rustorch.no_grad():
        rustorch.exp(x, out=rustorch.zeros(1))


def test_out_in_a_traced_function() -> None:
    def f(x: Any, out: Any) -> Any:
        return rustorch.mul(x, 3, out=out) + 1

    x, out = rustorch.tensor([1.0, 2.0]), rustorch.zeros(2)
    assert rustorch.jit(f)(x, out).tolist() == [4.0, 7.0]
    assert out.tolist() == [3.0, 6.0]
