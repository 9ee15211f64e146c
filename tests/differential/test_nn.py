"""Functions of neural networks beside PyTorch's: values and gradients, option by option. Run with -m oracle."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest

import rustorch

torch: Any = pytest.importorskip("torch")

pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore")]
Function = Callable[..., Any]


def rng(*seed: int) -> np.random.Generator:
    return np.random.default_rng((11, *seed))


def results(library: Any, function: Function, arrays: tuple[Any, ...]) -> list[Any]:
    """What a function gives, and the gradients of the sum of its squares with respect to the floating-point arguments."""
    tensors = [library.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    found = function(*tensors)
    outputs = list(found) if isinstance(found, tuple) else [found]
    floats = [y for y in outputs if y.requires_grad]
    if floats:
        sum((y * y).sum() for y in floats).backward()
    gradients = [t.grad for t in tensors if t.requires_grad and t.grad is not None]
    return [np.asarray(y.detach().numpy()) for y in (*outputs, *gradients)]


def same(ours: Function, theirs: Function, *arrays: Any, tolerance: float = 1e-10) -> None:
    """Both libraries' functions agree on values and gradients, in type and shape too."""
    found, expected = results(rustorch, ours, arrays), results(torch, theirs, arrays)
    assert len(found) == len(expected)
    for mine, other in zip(found, expected, strict=True):
        assert (mine.dtype, mine.shape) == (other.dtype, other.shape)
        np.testing.assert_allclose(mine, other, rtol=tolerance, atol=tolerance)


def functions(name: str) -> tuple[Function, Function]:
    return getattr(rustorch.functional, name), getattr(torch.nn.functional, name)


# --- Convolutions -----------------------------------------------------------------------------------------------------

STEPS = list(product((1, 2), (0, 1), (1, 2), (1, 2)))


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize(("stride", "padding", "dilation", "groups"), STEPS)
def test_conv(rank: int, stride: int, padding: int, dilation: int, groups: int) -> None:
    draw = rng(rank).standard_normal
    ours, theirs = functions(f"conv{rank}d")
    arrays = draw((2, 4, *(7, 8, 6)[:rank])), draw((6, 4 // groups, *(3, 2, 3)[:rank])), draw(6)
    same(lambda *a: ours(*a, stride, padding, dilation, groups), lambda *a: theirs(*a, stride, padding, dilation, groups), *arrays)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize(("stride", "padding", "dilation", "groups"), STEPS)
def test_conv_transpose(rank: int, stride: int, padding: int, dilation: int, groups: int) -> None:
    draw = rng(rank).standard_normal
    ours, theirs = functions(f"conv_transpose{rank}d")
    arrays = draw((2, 6, *(4, 5, 3)[:rank])), draw((6, 4 // groups, *(3, 2, 3)[:rank])), draw(4)
    same(
        lambda *a: ours(*a, stride, padding, stride - 1, groups, dilation),
        lambda *a: theirs(*a, stride, padding, stride - 1, groups, dilation),
        *arrays,
    )


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
def test_conv_layer(mode: str) -> None:
    ours = rustorch.nn.Conv2d(2, 3, (3, 2), padding="same", padding_mode=mode, dtype=rustorch.float64)
    theirs = torch.nn.Conv2d(2, 3, (3, 2), padding="same", padding_mode=mode, dtype=torch.float64)
    theirs.load_state_dict({name: torch.tensor(value.detach().numpy()) for name, value in ours.state_dict().items()})
    same(ours, theirs, rng().standard_normal((2, 2, 5, 4)))
