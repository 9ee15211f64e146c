"""Losses against numpy in float64, their gradients against central differences, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rustorch
import rustorch.functional as F
from rustorch.autograd import gradcheck

pytestmark = pytest.mark.filterwarnings("ignore:.*a new program was compiled")  # each case is one, on the same line
Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(2)
X, Y = RNG.normal(size=(4, 3)), RNG.normal(size=(4, 3))
CHANCE, LABEL = RNG.uniform(0.05, 0.95, (4, 3)), RNG.uniform(0, 1, (4, 3))
WEIGHT = RNG.uniform(0.5, 2, (4, 3))


def log_softmax(x: Array, axis: int) -> Array:
    return x - x.max(axis, keepdims=True) - np.log(np.exp(x - x.max(axis, keepdims=True)).sum(axis, keepdims=True))


D = np.abs(X - Y)
ELEMENTWISE: list[tuple[str, Callable[..., Any], Array, Array, Array]] = [
    ("mse", F.mse_loss, X, Y, D**2),
    ("l1", F.l1_loss, X, Y, D),
    ("smooth l1", lambda *a, **k: F.smooth_l1_loss(*a, beta=0.7, **k), X, Y, np.where(D < 0.7, D**2 / 1.4, D - 0.35)),
    ("huber", lambda *a, **k: F.huber_loss(*a, delta=0.7, **k), X, Y, np.where(D <= 0.7, D**2 / 2, 0.7 * (D - 0.35))),
    ("bce", F.binary_cross_entropy, CHANCE, LABEL, -(LABEL * np.log(CHANCE) + (1 - LABEL) * np.log1p(-CHANCE))),
    ("bce with logits", F.binary_cross_entropy_with_logits, X, LABEL, (1 - LABEL) * X + np.logaddexp(0, -X)),
    ("kl", F.kl_div, X, LABEL, LABEL * (np.log(LABEL) - X)),
]


@pytest.mark.parametrize(("loss", "x", "y", "expected"), [c[1:] for c in ELEMENTWISE], ids=[c[0] for c in ELEMENTWISE])
@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")
def test_elementwise_losses(loss: Callable[..., Any], x: Array, y: Array, expected: Array) -> None:
    given, target = rustorch.tensor(x, requires_grad=True), rustorch.tensor(y)
    # a handful of roundings of numbers near 1
    np.testing.assert_allclose(loss(given, target, reduction="none").detach().numpy(), expected, rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(loss(given, target).item(), expected.mean(), rtol=1e-14)
    np.testing.assert_allclose(loss(given, target, reduction="sum").item(), expected.sum(), rtol=1e-14)
    assert gradcheck(lambda v: loss(v, target), (given,))


def test_weighted_binary_losses() -> None:
    x, t, w = rustorch.tensor(X), rustorch.tensor(LABEL), rustorch.tensor(WEIGHT)
    positive = np.array([0.5, 1.0, 3.0])
    expected = (1 - LABEL) * X + (1 + (positive - 1) * LABEL) * np.logaddexp(0, -X)
    found = F.binary_cross_entropy_with_logits(x, t, w, reduction="none", pos_weight=rustorch.tensor(positive))
    np.testing.assert_allclose(found.numpy(), WEIGHT * expected, rtol=1e-14)


def test_certain_probabilities_have_a_finite_loss() -> None:
    x = rustorch.tensor([0.0, 0.0, 1.0, 1.0], requires_grad=True)
    loss = F.binary_cross_entropy(x, rustorch.tensor([0.0, 1.0, 0.0, 1.0]), reduction="none")
    assert loss.tolist() == [0.0, 100.0, 100.0, 0.0]
    loss.sum().backward()
    assert np.isfinite(x.grad.numpy()).all()


# --- Classes ----------------------------------------------------------------------------------------------------------

CLASSES = np.array([2, 0, 1, 2])
CLASS_WEIGHT = np.array([0.5, 2.0, 1.5])


def reference(
    x: Array, target: Array, weight: Array | None, ignore: int, smoothing: float, reduction: str
) -> Array | float:
    """PyTorch's definition, row by row; classes along axis 1."""
    w = np.ones(x.shape[1]) if weight is None else weight
    logp = log_softmax(x, 1)
    losses, counts = np.zeros(target.shape), 0.0
    smooth = 0.0
    for place in np.ndindex(target.shape):
        if target[place] == ignore:
            continue
        row = logp[(place[0], slice(None), *place[1:])]
        even = -(row * w).sum() / len(w)
        losses[place] = -(1 - smoothing) * w[target[place]] * row[target[place]] + smoothing * even
        counts += w[target[place]]
        smooth += even
    return losses if reduction == "none" else losses.sum() / (counts if reduction == "mean" else 1)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weight", [None, CLASS_WEIGHT], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("ignore", [-100, 2])
def test_cross_entropy(smoothing: float, weight: Array | None, ignore: int) -> None:
    given = rustorch.tensor(X, requires_grad=True)
    w = None if weight is None else rustorch.tensor(weight)
    for reduction in ("none", "sum", "mean"):

        def call(x: Any, reduction: str = reduction) -> Any:
            target = rustorch.tensor(CLASSES)
            return F.cross_entropy(x, target, w, ignore_index=ignore, reduction=reduction, label_smoothing=smoothing)

        expected = reference(X, CLASSES, weight, ignore, smoothing, reduction)
        np.testing.assert_allclose(call(given).detach().numpy(), expected, rtol=1e-13, atol=1e-15)
    assert gradcheck(call, (given,))


def test_cross_entropy_is_nll_of_log_softmax() -> None:
    x, target, w = rustorch.tensor(X), rustorch.tensor(CLASSES), rustorch.tensor(CLASS_WEIGHT)
    found = F.nll_loss(F.log_softmax(x, 1), target, w)
    np.testing.assert_allclose(found.item(), reference(X, CLASSES, CLASS_WEIGHT, -100, 0.0, "mean"), rtol=1e-14)


@pytest.mark.parametrize("dtype", [rustorch.float32, rustorch.float64])
@pytest.mark.parametrize("index", [rustorch.int32, rustorch.int64])
def test_element_types_of_classes(dtype: Any, index: Any) -> None:
    found = F.cross_entropy(rustorch.tensor(X, dtype=dtype), rustorch.tensor(CLASSES, dtype=index))
    assert found.dtype is dtype
    np.testing.assert_allclose(found.item(), reference(X, CLASSES, None, -100, 0.0, "mean"), rtol=1e-6 if dtype.bits == 32 else 1e-14)


def test_classes_of_one_row_and_of_images() -> None:
    image, labels = RNG.normal(size=(2, 3, 2, 4)), RNG.integers(0, 3, (2, 2, 4))
    found = F.cross_entropy(rustorch.tensor(image), rustorch.tensor(labels), reduction="none")
    np.testing.assert_allclose(found.numpy(), reference(image, labels, None, -100, 0.0, "none"), rtol=1e-13)
    row = F.cross_entropy(rustorch.tensor(X[0]), rustorch.tensor(1))
    np.testing.assert_allclose(row.item(), -log_softmax(X[:1], 1)[0, 1], rtol=1e-14)


def test_targets_of_probabilities() -> None:
    target = LABEL / LABEL.sum(1, keepdims=True)
    x, t = rustorch.tensor(X, requires_grad=True), rustorch.tensor(target, requires_grad=True)
    smoothed = target * 0.9 + 0.1 / 3
    expected = -(smoothed * log_softmax(X, 1) * CLASS_WEIGHT).sum(1).mean()
    found = F.cross_entropy(x, t, rustorch.tensor(CLASS_WEIGHT), label_smoothing=0.1)
    np.testing.assert_allclose(found.item(), expected, rtol=1e-14)
    assert gradcheck(F.cross_entropy, (x, t))


def test_all_targets_ignored_is_nan_as_a_mean_and_zero_as_a_sum() -> None:
    x, target = rustorch.tensor(X), rustorch.tensor([-100] * 4)
    assert np.isnan(F.cross_entropy(x, target).item())
    assert F.cross_entropy(x, target, reduction="sum").item() == 0.0


def test_a_class_out_of_range_is_an_error_or_nan() -> None:
    x = rustorch.tensor(X)
    for wrong in (3, -1):
        target = rustorch.tensor([0, 1, wrong, 2])
        with pytest.raises(IndexError, match=f"Target {wrong} is out of bounds"):
            F.cross_entropy(x, target)
        found = rustorch.jit(lambda x, t: F.cross_entropy(x, t, reduction="none"))(x, target)
        assert np.isnan(found.numpy()).tolist() == [False, False, True, False]


def test_large_logits_do_not_overflow() -> None:
    x = rustorch.tensor([[1e4, -1e4]], requires_grad=True)
    loss = F.cross_entropy(x, rustorch.tensor([1]))
    loss.backward()
    assert loss.item() == 2e4
    assert x.grad.tolist() == [[1.0, -1.0]]


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: F.cross_entropy(x, rustorch.tensor([0])), ValueError, r"Expected input batch_size \(4\) to match target batch_size"),
        (lambda x: F.cross_entropy(x, rustorch.tensor([0.0] * 4)), RuntimeError, "expected scalar type Long but found Float"),
        (lambda x: F.cross_entropy(x, rustorch.tensor([0] * 4), rustorch.ones(2)), RuntimeError, "cross_entropy: weight tensor should be"),
        (lambda x: F.cross_entropy(x, rustorch.tensor([0] * 4), reduction="avg"), ValueError, "avg is not a valid value for reduction"),
        (lambda x: F.cross_entropy(x, rustorch.tensor([0] * 4), label_smoothing=2.0), ValueError, "label_smoothing must be between"),
        (lambda x: F.mse_loss(x, rustorch.ones(2, 2)), RuntimeError, r"The size of tensor a \(3\) must match the size of tensor b \(2\)"),
        (lambda x: F.binary_cross_entropy(x, rustorch.ones(4)), ValueError, "Using a target size"),
        (lambda x: F.binary_cross_entropy_with_logits(x, rustorch.ones(4)), ValueError, "Target size"),
        (lambda x: F.smooth_l1_loss(x, x, beta=-1.0), ValueError, "smooth_l1_loss does not support negative values for beta"),
    ],
)
def test_refusals(call: Callable[[Any], Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call(rustorch.tensor(X))


def test_other_sizes_are_warned_of() -> None:
    with pytest.warns(UserWarning, match="Using a target size"):
        F.mse_loss(rustorch.ones(3, 1), rustorch.ones(3))
    with pytest.warns(UserWarning, match="please use reduction='sum' instead"):
        assert F.mse_loss(rustorch.ones(3), rustorch.zeros(3), size_average=False).item() == 3.0
