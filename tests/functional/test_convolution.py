"""Convolutions against sums written out, their gradients, the layers around them, and what they refuse."""

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
RNG = np.random.default_rng(4)
CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def leaf(*shape: int) -> Any:
    return rustorch.tensor(RNG.normal(size=shape), requires_grad=True)


def summed(x: Any, w: Any, stride: int, padding: int, dilation: int, groups: int) -> Any:
    """The definition, one product at a time."""
    rank = x.ndim - 2
    x = np.pad(x, [(0, 0), (0, 0), *[(padding, padding)] * rank])
    places = [(n - (k - 1) * dilation - 1) // stride + 1 for n, k in zip(x.shape[2:], w.shape[2:], strict=True)]
    y = np.zeros((x.shape[0], w.shape[0], *places))
    per_group = w.shape[0] // groups
    for o, c, tap in ((o, c, tap) for o in range(w.shape[0]) for c in range(w.shape[1]) for tap in np.ndindex(*w.shape[2:])):
        channel = o // per_group * w.shape[1] + c
        window = tuple(slice(t * dilation, t * dilation + (n - 1) * stride + 1, stride) for t, n in zip(tap, places, strict=True))
        y[:, o] += x[(slice(None), channel, *window)] * w[(o, c, *tap)]
    return y


@pytest.mark.parametrize("jitted", [False, True])
@pytest.mark.parametrize(("stride", "padding", "dilation", "groups"), [(1, 0, 1, 1), (2, 1, 1, 2), (1, 2, 2, 1), (3, 1, 2, 2)])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_values(rank: int, stride: int, padding: int, dilation: int, groups: int, jitted: bool) -> None:
    x, w, b = RNG.normal(size=(2, 4, 9, 8, 7)[: rank + 2]), RNG.normal(size=(6, 4 // groups, 3, 2, 3)[: rank + 2]), RNG.normal(size=6)
    convolve: Any = lambda *a: CONVOLUTIONS[rank](*a, stride, padding, dilation, groups)  # noqa: E731
    found = (rustorch.jit(convolve) if jitted else convolve)(*map(rustorch.tensor, (x, w, b)))
    expected = summed(x, w, stride, padding, dilation, groups) + b.reshape(-1, *[1] * rank)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12, atol=1e-12)


GIVEN: list[dict[str, Any]] = [{}, {"stride": 2, "padding": 1}, {"dilation": 2, "groups": 2}, {"padding": "same", "dilation": 2}]


@pytest.mark.parametrize("given", GIVEN, ids=str)
def test_derivatives(given: dict[str, Any]) -> None:
    x, w, b = leaf(2, 2, 6, 5), leaf(2, 2 // given.get("groups", 1), 3, 2), leaf(2)
    assert gradcheck(lambda *a: F.conv2d(*a, **given), (x, w, b))
    assert gradgradcheck(lambda *a: F.conv2d(*a, **given), (x, w, b))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_transposed_is_the_gradient(rank: int) -> None:
    """`conv_transpose` is what `conv` does to cotangents."""
    x, w = leaf(2, 4, 9, 7, 7)[(..., *[0] * (3 - rank))].detach(), leaf(6, 2, 3, 3, 3)[(..., *[0] * (3 - rank))].detach()
    x.requires_grad_()
    y = CONVOLUTIONS[rank](x, w, None, 2, 1, 1, 2)
    ct = rustorch.tensor(RNG.normal(size=tuple(y.shape)))
    (expected,) = rustorch.autograd.grad(y, x, ct)
    np.testing.assert_allclose(TRANSPOSED[rank](ct, w, None, 2, 1, 0, 2).numpy(), expected.numpy(), rtol=1e-12, atol=1e-12)


def test_transposed_derivatives() -> None:
    x, w, b = leaf(2, 2, 3, 4), leaf(2, 3, 3, 2), leaf(3)
    assert gradcheck(lambda *a: F.conv_transpose2d(*a, 2, 1, 1), (x, w, b))
    assert gradgradcheck(lambda *a: F.conv_transpose2d(*a, 2, 1, 1), (x, w, b))


def test_one_image() -> None:
    x, w = leaf(3, 6, 5).detach(), leaf(4, 3, 2, 2).detach()
    one, many = F.conv2d(x, w), F.conv2d(x[None], w)
    assert one.shape == (4, 5, 4)
    np.testing.assert_array_equal(one.numpy(), many[0].numpy())


def test_no_image() -> None:
    x, w = rustorch.zeros(0, 3, 6, 5, requires_grad=True), rustorch.ones(4, 3, 2, 2, requires_grad=True)
    y = F.conv2d(x, w)
    assert y.shape == (0, 4, 5, 4)
    y.sum().backward()
    assert w.grad.abs().sum().item() == 0
    assert x.grad.shape == x.shape


def test_integers() -> None:
    x, w = RNG.integers(-9, 9, (2, 2, 5, 6)), RNG.integers(-9, 9, (3, 2, 2, 3))
    found = F.conv2d(rustorch.tensor(x), rustorch.tensor(w), stride=2, padding=1)
    assert found.dtype is rustorch.int64
    np.testing.assert_array_equal(found.numpy(), summed(x, w, 2, 1, 1, 1))


def test_batched_by_vmap() -> None:
    x, w = leaf(3, 2, 2, 5, 5).detach(), leaf(3, 4, 2, 2, 2).detach()
    found = rustorch.vmap(F.conv2d)(x, w)
    np.testing.assert_allclose(found.numpy(), np.stack([F.conv2d(x[i], w[i]).numpy() for i in range(3)]), rtol=1e-12)


X, W = rustorch.ones(1, 4, 5, 5), rustorch.ones(6, 4, 3, 3)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: F.conv2d(X, rustorch.ones(6, 3, 3, 3)), "expected input[1, 4, 5, 5] to have 3 channels, but got 4"),
        (lambda: F.conv2d(X[0, 0], W), "Expected 3D (unbatched) or 4D (batched) input to conv2d, but got input of size: [5, 5]"),
        (lambda: F.conv2d(X, rustorch.ones(6, 4, 7, 7)), "size per channel: (5 x 5). Kernel size: (7 x 7). Kernel size can't be"),
        (lambda: F.conv2d(X, W, groups=2), "Given groups=2, weight of size [6, 4, 3, 3], expected input[1, 4, 5, 5] to have 8 channels"),
        (lambda: F.conv2d(X, W, groups=4), "Given groups=4, expected weight to be divisible by 4 at dimension 0"),
        (lambda: F.conv2d(X, W, rustorch.ones(5)), "expected bias to be 1-dimensional with 6 elements, but got bias of size [5] instead"),
        (lambda: F.conv2d(X, W, stride=0), "non-positive stride is not supported"),
        (lambda: F.conv2d(X, W, padding=-1), "negative padding is not supported"),
        (lambda: F.conv2d(X, W, groups=0), "non-positive groups is not supported"),
        (lambda: F.conv2d(X, W, dilation=0), "dilation should be greater than zero, but got [0, 0]"),
        (lambda: F.conv2d(X, W.double()), "expected scalar type Float but found Double"),
        (lambda: F.conv2d(X, W, padding="same", stride=2), "padding='same' is not supported for strided convolutions"),
        (lambda: F.conv2d(X, W, padding="foo"), "Invalid padding string: 'foo'"),
        (lambda: F.conv2d(X, W, stride=(1, 1, 1)), "expected stride to be a single integer value or a list of 2 values"),
        (lambda: F.conv2d(X, rustorch.ones(0, 4, 3, 3)), "expected weight to be at least 1 at dimension 0"),
        (lambda: F.conv2d(X, rustorch.ones(6, 4, 3)), "expected 4-dimensional weight for conv2d"),
        (lambda: F.conv_transpose2d(X, W), "transposed=1, weight of size [6, 4, 3, 3], expected input[1, 4, 5, 5] to have 6"),
        (lambda: F.conv_transpose2d(X, rustorch.ones(4, 3, 3, 3), output_padding=1), "output padding must be smaller than either stride"),
        (lambda: F.conv_transpose2d(X, rustorch.ones(4, 4, 3, 3), padding=5), "(5 x 5). Calculated output size per channel: (-3 x -3)."),
    ],
)  # fmt: skip
def test_refusals(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(RuntimeError) as caught:
        call()
    assert words in str(caught.value)


# --- Layers -----------------------------------------------------------------------------------------------------------


def test_layer_in_the_older_spelling() -> None:
    layer = rustorch.Conv2d(3, 16, (3, 3), (1, 1), (1, 1), True)
    assert (layer.in_channels, layer.out_channels) == (3, 16)
    assert (layer.kernel_size, layer.stride, layer.padding) == ((3, 3), (1, 1), (1, 1))
    assert (layer.weight.shape, layer.bias.shape) == ((16, 3, 3, 3), (16,))
    assert layer.forward(rustorch.ones(2, 3, 5, 4)).shape == (2, 16, 5, 4)
    assert rustorch.Conv2d(3, 16, (3, 3), (1, 1), (1, 1), False).bias is None


def test_layer_begins_as_in_pytorch() -> None:
    layer = nn.Conv2d(25, 200, 2)
    for values in (layer.weight.detach().numpy(), layer.bias.detach().numpy()):
        assert 0.095 < np.abs(values).max() <= 0.1  # 1 / sqrt(25 * 4)
        assert abs(values.std() - 0.1 / np.sqrt(3)) < 0.01


def test_layer_prints_as_in_pytorch() -> None:
    assert repr(nn.Conv2d(3, 4, 3, padding=1, bias=False)) == (
        "Conv2d(3, 4, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=False)"
    )
    assert repr(nn.Conv2d(3, 4, 3, padding="same", dilation=2)) == (
        "Conv2d(3, 4, kernel_size=(3, 3), stride=(1, 1), padding=same, dilation=(2, 2))"
    )
    assert repr(nn.ConvTranspose2d(4, 4, 3, output_padding=1, stride=2, groups=2)) == (
        "ConvTranspose2d(4, 4, kernel_size=(3, 3), stride=(2, 2), output_padding=(1, 1), groups=2)"
    )


MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@pytest.mark.parametrize(("mode", "numpy_mode"), MODES.items())
def test_padding_modes(mode: str, numpy_mode: Any) -> None:
    layer = nn.Conv2d(2, 3, 3, padding=(2, 1), padding_mode=mode, dtype=rustorch.float64)
    x = RNG.normal(size=(1, 2, 5, 4))
    padded = np.pad(x, [(0, 0), (0, 0), (2, 2), (1, 1)], mode=numpy_mode)
    expected = F.conv2d(rustorch.tensor(padded), layer.weight, layer.bias)
    np.testing.assert_allclose(layer(rustorch.tensor(x)).detach().numpy(), expected.detach().numpy(), rtol=1e-12)


def test_output_size() -> None:
    layer, x = nn.ConvTranspose2d(4, 4, 3, stride=2), rustorch.ones(1, 4, 5, 5)
    assert layer(x, output_size=(12, 11)).shape == (1, 4, 12, 11)
    with pytest.raises(ValueError, match=r"requested an output size of \(20, 20\), but valid sizes range from \[11, 11\] to \[12, 12\]"):
        layer(x, output_size=(20, 20))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: nn.Conv2d(3, 4, 3, groups=2), "in_channels must be divisible by groups"),
        (lambda: nn.Conv2d(4, 3, 3, groups=2), "out_channels must be divisible by groups"),
        (lambda: nn.Conv2d(4, 3, 3, padding_mode="foo"), "padding_mode must be one of"),
        (lambda: nn.Conv2d(4, 3, 3, padding="same", stride=2), "padding='same' is not supported for strided convolutions"),
        (lambda: nn.ConvTranspose1d(4, 3, 3, padding_mode="reflect"), 'Only "zeros" padding mode is supported for ConvTranspose1d'),
    ],
)
def test_layers_that_cannot_be(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()
