"""Derivatives of normalisation, and dropout that can be repeated; values beside PyTorch's are in tests/differential."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rustorch
import rustorch.functional as F
from rustorch import nn
from rustorch.autograd import gradcheck, gradgradcheck

pytestmark = pytest.mark.filterwarnings("ignore:.*a new program was compiled")  # each case is one, on the same line
RNG = np.random.default_rng(6)

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "group_norm": lambda x, w, b: F.group_norm(x, 2, w, b),
    "instance_norm": lambda x, w, b: F.instance_norm(x, None, None, w, b),
    "local_response_norm": lambda x, w, b: F.local_response_norm(x, 3, 0.5) * w[:, None, None] + b[:, None, None],
}


def leaf(*shape: int) -> Any:
    return rustorch.tensor(RNG.normal(size=shape), requires_grad=True)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives(name: str) -> None:
    operands = leaf(2, 4, 2, 3), leaf(4), leaf(4)
    assert gradcheck(FUNCTIONS[name], operands)
    assert gradgradcheck(FUNCTIONS[name], operands)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_doors_agree(name: str) -> None:
    operands = [t.detach() for t in (leaf(2, 4, 2, 3), leaf(4), leaf(4))]
    np.testing.assert_array_equal(rustorch.jit(FUNCTIONS[name])(*operands).numpy(), FUNCTIONS[name](*operands).numpy())


@pytest.mark.parametrize("make", [nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout])
def test_dropout_is_repeated_by_a_seed(make: Any) -> None:
    layer = make(0.4)
    rank = {"Dropout1d": 3, "Dropout2d": 4}.get(type(layer).__name__, 5)
    x = rustorch.ones((6, 4, 3, 2, 2)[:rank], requires_grad=True)
    found = []
    for _ in range(2):
        rustorch.manual_seed(5)
        found.append(layer(x).detach().numpy())
    np.testing.assert_array_equal(*found)
    assert len(np.unique(found[0])) == 2
    layer.eval()
    assert layer(x) is x
    layer.train()
    layer(x).sum().backward()
    assert sorted(set(np.sign(x.grad.numpy()).ravel())) == [0, 1]
    plain = x.detach().clone()
    F.dropout1d(plain, 0.5, True, True) if rank == 3 else F.alpha_dropout(plain, 0.5, True, True)
    assert len(np.unique(plain.numpy())) == 2
