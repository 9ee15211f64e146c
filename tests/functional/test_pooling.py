"""Pooling: gradients of every order, both doors, batches; values beside PyTorch's are in tests/differential."""

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
RNG = np.random.default_rng(5)

POOLINGS: dict[str, Callable[[Any], Any]] = {
    "max": lambda x: F.max_pool2d(x, 2),
    "max, overlapping": lambda x: F.max_pool2d(x, 3, 2, 1),
    "avg": lambda x: F.avg_pool2d(x, 2),
    "avg, overlapping": lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
    "lp": lambda x: F.lp_pool2d(x * x + 1.0, 3.0, 2),
    "adaptive avg": lambda x: F.adaptive_avg_pool2d(x, (3, 2)),
    "adaptive max": lambda x: F.adaptive_max_pool2d(x, (2, 3)),
    "whole": lambda x: F.adaptive_avg_pool2d(x, 1),
    "there and back": lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2, output_size=(5, 6)),
    "columns": lambda x: F.unfold(x, 2, padding=1, stride=2),
    "columns added up": lambda x: F.fold(F.unfold(x, 2), (5, 6), 2),
}


def image() -> Any:
    """All elements at least 0.01 apart, so that differences do not change which is the largest."""
    return rustorch.tensor(RNG.permutation(60).reshape(1, 2, 5, 6) / 20 - 1.5, requires_grad=True)


@pytest.mark.parametrize("name", POOLINGS)
def test_derivatives(name: str) -> None:
    assert gradcheck(POOLINGS[name], (image(),))
    assert gradgradcheck(POOLINGS[name], (image(),))


@pytest.mark.parametrize("name", POOLINGS)
def test_doors_agree(name: str) -> None:
    x = image().detach()
    np.testing.assert_array_equal(rustorch.jit(POOLINGS[name])(x).numpy(), POOLINGS[name](x).numpy())
    stacked = rustorch.stack([x, x * 0.5, x + 1.0])
    each = np.stack([POOLINGS[name](stacked[i]).numpy() for i in range(3)])
    np.testing.assert_allclose(rustorch.vmap(POOLINGS[name])(stacked).numpy(), each, rtol=1e-12)


def test_first_of_equals_gets_the_gradient() -> None:
    x = rustorch.tensor([[[1.0, 3.0, 3.0, 3.0]]], requires_grad=True)
    F.max_pool1d(x, 4).sum().backward()
    assert x.grad.tolist() == [[[0.0, 1.0, 0.0, 0.0]]]


def test_an_index_outside_is_refused() -> None:
    found, places = F.max_pool2d(image().detach(), 2, return_indices=True)
    with pytest.raises(IndexError, match="index 1"):
        F.max_unpool2d(found, places * 0 + 100, 2).numpy()


def test_older_spelling() -> None:
    layer = rustorch.MaxPool2d((2, 2), (2, 2), (0, 0))
    assert (layer.kernel_size, layer.stride, layer.padding) == ((2, 2), (2, 2), (0, 0))
    assert layer(rustorch.ones(1, 3, 4, 6)).shape == (1, 3, 2, 3)
    assert nn.AdaptiveAvgPool2d(1)(rustorch.ones(2, 3, 4, 6)).tolist() == [[[[1.0]]] * 3] * 2


def test_layers_of_other_names() -> None:
    """What a layer does is not in its name."""

    class Smaller(nn.MaxPool2d):
        """A maximum of one's own."""

    class Back(nn.MaxUnpool2d):
        """And back."""

    class Whole(nn.AdaptiveAvgPool2d):
        """One number a channel."""

    x = image().detach()
    found, places = Smaller(2, return_indices=True)(x)
    np.testing.assert_array_equal(found.numpy(), F.max_pool2d(x, 2).numpy())
    np.testing.assert_array_equal(
        Back(2)(found, places, output_size=(5, 6)).numpy(), F.max_unpool2d(found, places, 2, output_size=(5, 6)).numpy()
    )
    assert Whole(1)(x).shape == (1, 2, 1, 1)
