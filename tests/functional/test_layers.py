"""What layers compute, against numpy in float64, their gradients against central differences, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rustorch
import rustorch.functional as F
from rustorch.autograd import gradcheck

pytestmark = pytest.mark.filterwarnings("ignore:.*a new program was compiled")  # each case is one, on the same line
RNG = np.random.default_rng(3)
X = RNG.normal(size=(5, 4))


def leaf(*shape: int) -> Any:
    return rustorch.tensor(RNG.normal(size=shape), requires_grad=True)


@pytest.mark.parametrize("lead", [(), (5,), (2, 3)])
def test_linear(lead: tuple[int, ...]) -> None:
    x, w, b = leaf(*lead, 4), leaf(3, 4), leaf(3)
    values = [t.detach().numpy() for t in (x, w, b)]
    np.testing.assert_allclose(F.linear(x, w, b).detach().numpy(), values[0] @ values[1].T + values[2], rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(F.linear(x, w).detach().numpy(), values[0] @ values[1].T, rtol=1e-13, atol=1e-14)
    assert gradcheck(F.linear, (x, w, b))


def test_layer_norm() -> None:
    x, w, b = leaf(2, 3, 4), leaf(3, 4), leaf(3, 4)
    values, scale, shift = (t.detach().numpy() for t in (x, w, b))
    mean, variance = values.mean((1, 2), keepdims=True), values.var((1, 2), keepdims=True)
    expected = (values - mean) / np.sqrt(variance + 1e-5) * scale + shift
    np.testing.assert_allclose(F.layer_norm(x, (3, 4), w, b).detach().numpy(), expected, rtol=1e-12, atol=1e-13)
    assert gradcheck(lambda *a: F.layer_norm(a[0], (3, 4), *a[1:]), (x, w, b))


def test_rms_norm() -> None:
    x, w = leaf(3, 4), leaf(4)
    values, scale = x.detach().numpy(), w.detach().numpy()
    expected = values / np.sqrt((values**2).mean(1, keepdims=True) + 2.0**-52) * scale
    np.testing.assert_allclose(F.rms_norm(x, (4,), w).detach().numpy(), expected, rtol=1e-13)
    assert gradcheck(lambda x, w: F.rms_norm(x, (4,), w), (x, w))


def test_batch_norm() -> None:
    x, w, b = leaf(6, 3, 2), leaf(3), leaf(3)
    values, scale, shift = (t.detach().numpy() for t in (x, w, b))
    mean, variance = rustorch.zeros(3, dtype=rustorch.float64), rustorch.ones(3, dtype=rustorch.float64)
    found = F.batch_norm(x, mean, variance, w, b, training=True, momentum=0.25)
    over = (0, 2)
    normal = (values - values.mean(over, keepdims=True)) / np.sqrt(values.var(over, keepdims=True) + 1e-5)
    np.testing.assert_allclose(found.detach().numpy(), normal * scale[:, None] + shift[:, None], rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(mean.numpy(), 0.25 * values.mean(over), rtol=1e-13)
    np.testing.assert_allclose(variance.numpy(), 0.75 + 0.25 * values.var(over, ddof=1), rtol=1e-13)
    assert not mean.requires_grad
    kept = F.batch_norm(x, mean, variance, w, b)
    own, spread = (t.numpy()[:, None] for t in (mean, variance))
    np.testing.assert_allclose(
        kept.detach().numpy(), (values - own) / np.sqrt(spread + 1e-5) * scale[:, None] + shift[:, None], rtol=1e-12, atol=1e-13
    )
    assert gradcheck(lambda *a: F.batch_norm(a[0], None, None, *a[1:], training=True), (x, w, b))


def test_lengths_and_distances() -> None:
    x, y = leaf(3, 4), leaf(3, 4)
    a, b = x.detach().numpy(), y.detach().numpy()
    for p in (1.0, 2.0, 3.0, float("inf")):
        norm = np.linalg.norm(a, p, 1, keepdims=True)
        np.testing.assert_allclose(F.normalize(x, p).detach().numpy(), a / norm, rtol=1e-13)
    similarity = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    np.testing.assert_allclose(F.cosine_similarity(x, y).detach().numpy(), similarity, rtol=1e-12)
    np.testing.assert_allclose(F.pairwise_distance(x, y).detach().numpy(), np.linalg.norm(a - b + 1e-6, axis=1), rtol=1e-13)
    assert gradcheck(F.normalize, (x,))
    assert gradcheck(F.cosine_similarity, (x, y))
    assert gradcheck(lambda x, y: F.pairwise_distance(x, y, 3.0), (x, y))


def test_a_vector_of_length_zero_has_no_direction_and_no_gradient_that_is_nan() -> None:
    x = rustorch.zeros(2, 3, requires_grad=True)
    found = F.normalize(x)
    found.sum().backward()
    assert found.tolist() == [[0.0] * 3] * 2
    np.testing.assert_allclose(x.grad.numpy(), np.full((2, 3), 1e12), rtol=1e-6)  # 1 / eps


def test_dropout() -> None:
    rustorch.manual_seed(5)
    x = rustorch.ones(100, 100, requires_grad=True)
    found = F.dropout(x, 0.25)
    found.sum().backward()
    values = found.detach().numpy()
    assert set(np.unique(values)) == {np.float32(0), np.float32(1 / 0.75)}
    assert abs((values == 0).mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 1e4)  # four standard deviations
    np.testing.assert_array_equal(x.grad.numpy(), values)
    assert not np.array_equal(F.dropout(x, 0.25).detach().numpy(), values)
    assert F.dropout(x, 0.5, training=False) is x
    assert F.dropout(x, 0.0) is x
    assert F.dropout(x, 1.0).sum().item() == 0.0


def test_dropout_of_attention() -> None:
    x = rustorch.ones(1, 2, 3, 4)
    assert F.scaled_dot_product_attention(x, x, x, dropout_p=1.0).abs().sum().item() == 0.0
    with pytest.raises(ValueError, match=r"dropout probability has to be between 0 and 1, but got 1\.5"):
        F.scaled_dot_product_attention(x, x, x, dropout_p=1.5)


def test_one_hot() -> None:
    classes = rustorch.tensor([[2, 0], [1, 1]])
    expected = np.eye(3, dtype=np.int64)[classes.numpy()]
    np.testing.assert_array_equal(F.one_hot(classes).numpy(), expected)
    np.testing.assert_array_equal(F.one_hot(classes, 3).numpy(), expected)
    assert F.one_hot(classes, 5).shape == (2, 2, 5)


def test_embedding() -> None:
    table, rows = leaf(5, 3), rustorch.tensor([[0, 4], [2, 2]])
    np.testing.assert_array_equal(F.embedding(rows, table).detach().numpy(), table.detach().numpy()[rows.numpy()])
    assert gradcheck(lambda w: F.embedding(rows, w), (table,))
    F.embedding(rows, table, padding_idx=-3).sum().backward()
    assert table.grad.tolist() == [[1.0] * 3, [0.0] * 3, [0.0] * 3, [0.0] * 3, [1.0] * 3]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: F.linear(x, rustorch.ones(3, 5).double()), RuntimeError, r"mat1 and mat2 shapes cannot be multiplied \(5x4 and 5x3\)"),
        (lambda x: F.linear(x, rustorch.ones(3, 4)), RuntimeError, "mat1 and mat2 must have the same dtype"),
        (lambda x: F.layer_norm(x, (3,)), RuntimeError, r"Given normalized_shape=\[3\], expected input with shape \[\*, 3\]"),
        (lambda x: F.layer_norm(x, ()), RuntimeError, "Expected normalized_shape to be at least 1-dimensional"),
        (lambda x: F.dropout(x, 1.5), ValueError, "dropout probability has to be between 0 and 1, but got 1.5"),
        (lambda x: F.batch_norm(x[:1], None, None, training=True), ValueError, "Expected more than 1 value per channel when training"),
        (lambda x: F.one_hot(x), RuntimeError, "one_hot is only applicable to index tensor"),
        (lambda x: F.one_hot(rustorch.tensor([-1, 2])), ValueError, "Class values must be non-negative"),
        (lambda x: F.one_hot(rustorch.tensor([1, 2]), 2), ValueError, "Class values must be smaller than num_classes"),
        (lambda x: F.embedding(rustorch.tensor([5]), x), IndexError, "index out of range in self"),
        (lambda x: F.embedding(rustorch.tensor([0.5]), x), RuntimeError, "Expected tensor for argument #1 'indices'"),
    ],
)
def test_refusals(call: Callable[[Any], Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call(rustorch.tensor(X))


def test_messages_name_the_line() -> None:
    with pytest.raises(RuntimeError) as caught:
        F.linear(rustorch.ones(2, 3), rustorch.ones(5, 4))
    assert "test_layers.py" in str(caught.value)
    assert "linear contracts the last axis of input (length 3) with the last axis of weight (length 4)" in str(caught.value)
