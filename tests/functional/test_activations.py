"""Activations against numpy in float64, their gradients against central differences, and what they do at kinks."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rustorch
import rustorch.functional as F
from rustorch.autograd import gradcheck

pytestmark = pytest.mark.filterwarnings("ignore:.*a new program was compiled")  # each case is one, on the same line
Array = np.ndarray[Any, Any]
NORMAL = np.vectorize(lambda x: 0.5 * math.erfc(-x / math.sqrt(2)), otypes=[float])


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def softplus(x: Array) -> Array:
    return np.logaddexp(0, x)


def softmax(x: Array, axis: int) -> Array:
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


CASES: list[tuple[str, Callable[[Any], Any], Callable[[Array], Array]]] = [
    ("relu", F.relu, lambda x: np.maximum(x, 0)),
    ("relu6", F.relu6, lambda x: np.clip(x, 0, 6)),
    ("hardtanh", lambda x: F.hardtanh(x, -0.7, 1.2), lambda x: np.clip(x, -0.7, 1.2)),
    ("leaky_relu", lambda x: F.leaky_relu(x, 0.2), lambda x: np.where(x > 0, x, 0.2 * x)),
    ("elu", lambda x: F.elu(x, 1.3), lambda x: np.where(x > 0, x, 1.3 * np.expm1(np.minimum(x, 0)))),
    ("selu", F.selu, lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0)))),
    ("sigmoid", F.sigmoid, sigmoid),
    ("tanh", F.tanh, np.tanh),
    ("logsigmoid", F.logsigmoid, lambda x: -softplus(-x)),
    ("softplus", lambda x: F.softplus(x, 2.0, 3.0), lambda x: np.where(2 * x > 3, x, softplus(2 * x) / 2)),
    ("softsign", F.softsign, lambda x: x / (1 + np.abs(x))),
    ("tanhshrink", F.tanhshrink, lambda x: x - np.tanh(x)),
    ("silu", F.silu, lambda x: x * sigmoid(x)),
    ("mish", F.mish, lambda x: x * np.tanh(softplus(x))),
    ("hardsigmoid", F.hardsigmoid, lambda x: np.clip(x / 6 + 0.5, 0, 1)),
    ("hardswish", F.hardswish, lambda x: x * np.clip(x / 6 + 0.5, 0, 1)),
    ("gelu", F.gelu, lambda x: x * NORMAL(x)),
    ("gelu tanh", lambda x: F.gelu(x, "tanh"), lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))),
    ("glu", lambda x: F.glu(x, 1), lambda x: x[:, :2] * sigmoid(x[:, 2:])),
    ("softmax", lambda x: F.softmax(x, 0), lambda x: softmax(x, 0)),
    ("log_softmax", lambda x: F.log_softmax(x, -1), lambda x: np.log(softmax(x, -1))),
    ("softmin", lambda x: F.softmin(x, 1), lambda x: softmax(-x, 1)),
]


@pytest.mark.parametrize(("call", "reference"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_values_and_gradients(call: Callable[[Any], Any], reference: Callable[[Array], Array]) -> None:
    x = np.random.default_rng(1).normal(size=(3, 4)) * 3
    given = rustorch.tensor(x, requires_grad=True)
    # a composition of at most ten roundings, each at the magnitude of x
    np.testing.assert_allclose(call(given).detach().numpy(), reference(x), rtol=1e-14, atol=1e-14)
    assert gradcheck(call, (given,))


@pytest.mark.parametrize(
    ("call", "at", "slope"),
    [
        (F.relu, 0.0, 0.0),
        (lambda x: F.leaky_relu(x, 0.25), 0.0, 0.25),
        (F.hardtanh, 1.0, 0.0),
        (F.hardtanh, -1.0, 0.0),
        (F.relu6, 6.0, 0.0),
        (lambda x: F.elu(x, 2.0), 0.0, 2.0),
    ],
)
def test_kinks(call: Callable[[Any], Any], at: float, slope: float) -> None:
    x = rustorch.tensor([at], requires_grad=True)
    call(x).sum().backward()
    assert x.grad.item() == slope


def test_softmax_does_not_overflow() -> None:
    x = rustorch.tensor([[1e4, 0.0, -1e4], [3e38, 3e38, -3e38]])
    np.testing.assert_array_equal(F.softmax(x, 1).numpy(), np.array([[1, 0, 0], [0.5, 0.5, 0]], np.float32))
    np.testing.assert_array_equal(F.log_softmax(x[:1], 1).numpy(), np.array([[0, -1e4, -2e4]], np.float32))


def test_softmax_takes_a_dtype_and_single_numbers() -> None:
    assert F.softmax(rustorch.tensor([1, 2]), 0, dtype=rustorch.float64).dtype is rustorch.float64
    assert F.softmax(rustorch.tensor(3.0), 0).item() == 1.0
    with pytest.warns(UserWarning, match="Implicit dimension choice for softmax"):
        F.softmax(rustorch.tensor([1.0, 2.0]))


def test_inplace_writes_the_input() -> None:
    x = rustorch.tensor([-1.0, 2.0])
    assert F.relu(x, inplace=True) is x
    assert x.tolist() == [0.0, 2.0]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: F.softmax(rustorch.tensor([1, 2]), 0), RuntimeError, '"softmax_lastdim_kernel_impl" not implemented for \'Long\''),
        (lambda: F.softmax(rustorch.tensor([1.0]), 2), IndexError, "Dimension out of range"),
        (lambda: F.gelu(rustorch.tensor([1.0]), "sine"), ValueError, "approximate argument must be either none or tanh"),
        (lambda: F.glu(rustorch.tensor([1.0, 2.0, 3.0])), IndexError, "Halving dimension must be even, but dimension 0 is size 3"),
        (lambda: F.hardtanh(rustorch.tensor([1.0]), 2.0, 1.0), ValueError, "min_val cannot be greater than max_val"),
        (lambda: F.relu([1.0]), TypeError, r"relu\(\): argument 'input' \(position 1\) must be Tensor, not list"),
        (lambda: F.prelu(rustorch.ones(2, 3), rustorch.ones(2)), ValueError, "Mismatch of parameter numbers and input channel size"),
    ],
)
def test_refusals(call: Callable[[], Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()
