"""Derivatives of scans and of what is chosen by order, both doors, batches; values beside PyTorch's are in tests/differential."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rustorch
from rustorch.autograd import gradcheck, gradgradcheck

pytestmark = pytest.mark.filterwarnings("ignore:.*a new program was compiled")  # each case is one, on the same line
RNG = np.random.default_rng(13)

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "cumsum": lambda x: rustorch.cumsum(x, 1),
    "cumprod": lambda x: rustorch.cumprod(x, 0),
    "cummax": lambda x: rustorch.cummax(x, 1)[0],
    "cummin": lambda x: rustorch.cummin(x, 0)[0],
    "logcumsumexp": lambda x: rustorch.logcumsumexp(x, 1),
    "sort": lambda x: rustorch.sort(x, 0, descending=True)[0],
    "topk": lambda x: rustorch.topk(x, 2, 1)[0],
    "kthvalue": lambda x: rustorch.kthvalue(x, 2, 1)[0],
    "median": lambda x: rustorch.median(x, 1)[0],
    "mode": lambda x: rustorch.mode(x, 1)[0],
    "quantile": lambda x: rustorch.quantile(x, 0.3, 1),
}


def matrix() -> Any:
    """Numbers at least 0.05 apart, in no order."""
    return rustorch.tensor(RNG.permutation(20).reshape(4, 5) / 10 - 0.93, requires_grad=True)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives(name: str) -> None:
    assert gradcheck(FUNCTIONS[name], (matrix(),))
    assert gradgradcheck(FUNCTIONS[name], (matrix(),))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_doors_agree(name: str) -> None:
    x = matrix().detach()
    np.testing.assert_array_equal(rustorch.jit(FUNCTIONS[name])(x).numpy(), FUNCTIONS[name](x).numpy())
    stacked = rustorch.stack([x, x * 0.5, x - 1.0])
    each = np.stack([FUNCTIONS[name](stacked[i]).numpy() for i in range(3)])
    np.testing.assert_allclose(rustorch.vmap(FUNCTIONS[name])(stacked).numpy(), each, rtol=1e-12)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_operands_are_read_through_views(name: str) -> None:
    whole = rustorch.tensor(RNG.standard_normal((9, 12)))
    strided, copied = whole.t()[::2, 1:8], rustorch.tensor(np.ascontiguousarray(whole.numpy().T[::2, 1:8]))
    function = rustorch.jit(lambda x: FUNCTIONS[name](x.t()[::2, 1:8]))
    for found in (FUNCTIONS[name](strided), function(whole)):
        np.testing.assert_array_equal(found.numpy(), FUNCTIONS[name](copied).numpy())


def test_products_around_zeros() -> None:
    x = rustorch.tensor([2.0, 0.0, 3.0, 0.0, 5.0], dtype=rustorch.float64, requires_grad=True)
    assert gradcheck(lambda x: rustorch.cumprod(x, 0), (x,))
    assert gradgradcheck(lambda x: rustorch.cumprod(x, 0), (x,))


def test_last_of_equals_gets_the_gradient() -> None:
    x = rustorch.tensor([1.0, 3.0, 3.0, 2.0], requires_grad=True)
    rustorch.cummax(x, 0)[0].sum().backward()
    assert x.grad.tolist() == [1.0, 1.0, 2.0, 0.0]


def test_logcumsumexp_does_not_overflow() -> None:
    x = rustorch.tensor([900.0, -900.0, 1000.0, float("-inf")], dtype=rustorch.float64, requires_grad=True)
    y = rustorch.logcumsumexp(x, 0)
    np.testing.assert_allclose(y.detach().numpy(), [900.0, 900.0, 1000.0, 1000.0], rtol=1e-13)
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [2.0, 0.0, 2.0, 0.0], atol=1e-13)


def test_methods_and_names() -> None:
    x = matrix().detach()
    values, indices = x.sort(dim=1)
    found = x.sort(dim=1)
    assert (found.values.tolist(), found.indices.tolist()) == (values.tolist(), indices.tolist())
    assert x.topk(2).indices.shape == (4, 2)
    assert x.clone().cumsum_(0).tolist() == x.cumsum(0).tolist()
    assert x.median().item() == np.sort(x.numpy().ravel())[9]


def test_what_must_be_looked_at_is_refused_in_traces() -> None:
    with pytest.raises(RuntimeError):
        rustorch.jit(lambda x: rustorch.unique(x))(matrix().detach())
