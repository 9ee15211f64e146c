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


# --- Pooling ----------------------------------------------------------------------------------------------------------


def images(rank: int, *lead: int) -> Any:
    """Numbers with ties among them."""
    return rng(rank).integers(-4, 5, (*lead, *(9, 8, 7)[:rank])).astype(np.float64)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize(
    "given",
    [{}, {"stride": 1}, {"padding": 1, "stride": 2}, {"dilation": 2, "padding": 1}, {"ceil_mode": True}, {"ceil_mode": True, "padding": 1}],
    ids=str,
)
@pytest.mark.parametrize("indices", [False, True])
def test_max_pool(rank: int, given: dict[str, Any], indices: bool) -> None:
    ours, theirs = functions(f"max_pool{rank}d")
    x = images(rank, 2, 3)
    same(lambda x: ours(x, 3, return_indices=indices, **given), lambda x: theirs(x, 3, return_indices=indices, **given), x)
    same(lambda x: ours(x, 2, return_indices=indices, **given), lambda x: theirs(x, 2, return_indices=indices, **given), x[0])


def test_max_pool_of_special_numbers() -> None:
    x = np.array([[[1.0, np.nan, 2.0, np.nan, -np.inf, -np.inf, -np.inf, np.inf]]])
    for window, given in ((2, {}), (3, {"stride": 1}), (4, {"stride": 1, "padding": 2})):
        ours, theirs = functions("max_pool1d")
        found, places = ours(rustorch.tensor(x), window, return_indices=True, **given)
        expected, at = theirs(torch.tensor(x), window, return_indices=True, **given)
        np.testing.assert_array_equal(found.numpy(), expected.numpy())
        np.testing.assert_array_equal(places.numpy(), at.numpy())
        np.testing.assert_array_equal(ours(rustorch.tensor(x), window, **given).numpy(), expected.numpy())


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize(
    "given",
    [{}, {"stride": 1}, {"padding": 1, "stride": 2}, {"padding": 1, "count_include_pad": False}, {"ceil_mode": True},
     {"ceil_mode": True, "padding": 1}, {"ceil_mode": True, "padding": 1, "count_include_pad": False}],
    ids=str,
)  # fmt: skip
def test_avg_pool(rank: int, given: dict[str, Any]) -> None:
    ours, theirs = functions(f"avg_pool{rank}d")
    x = images(rank, 2, 3)
    for size in (2, 3):
        same(lambda x, k=size: ours(x, k, **given), lambda x, k=size: theirs(x, k, **given), x)
    if rank > 1:
        same(lambda x: ours(x, 3, divisor_override=5, **given), lambda x: theirs(x, 3, divisor_override=5, **given), x)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 11])
def test_adaptive_pool(rank: int, size: int) -> None:
    x = images(rank, 2, 3)
    for kind in ("avg", "max"):
        ours, theirs = functions(f"adaptive_{kind}_pool{rank}d")
        same(lambda x, f=ours: f(x, size), lambda x, f=theirs: f(x, size), x)
    ours, theirs = functions(f"adaptive_max_pool{rank}d")
    same(lambda x: ours(x, size, return_indices=True), lambda x: theirs(x, size, return_indices=True), x)


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
def test_lp_pool(p: float) -> None:
    for rank in (1, 2, 3):
        ours, theirs = functions(f"lp_pool{rank}d")
        same(lambda x, f=ours: f(x, p, 2, 3), lambda x, f=theirs: f(x, p, 2, 3), np.abs(images(rank, 2, 3)) + 0.5)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_max_unpool(rank: int) -> None:
    x = images(rank, 2, 3)

    def there_and_back(library: Any) -> Function:
        pool, unpool = (getattr(library.nn.functional, f"{name}{rank}d") for name in ("max_pool", "max_unpool"))
        return lambda x: unpool(*pool(x, 2, return_indices=True), 2, output_size=x.shape)

    same(there_and_back(rustorch), there_and_back(torch), x)


@pytest.mark.parametrize("given", [{}, {"dilation": 2}, {"padding": (1, 2), "stride": 2}, {"stride": (2, 3)}], ids=str)
def test_unfold_and_fold(given: dict[str, Any]) -> None:
    ours, theirs = functions("unfold")
    same(lambda x: ours(x, (3, 2), **given), lambda x: theirs(x, (3, 2), **given), images(2, 2, 3))
    same(lambda x: ours(x, (3, 2), **given), lambda x: theirs(x, (3, 2), **given), images(2, 3))
    columns = theirs(torch.tensor(images(2, 2, 3)), (3, 2), **given).numpy() + 0.5
    ours, theirs = functions("fold")
    same(lambda x: ours(x, (9, 8), (3, 2), **given), lambda x: theirs(x, (9, 8), (3, 2), **given), columns)


@pytest.mark.parametrize(
    "make",
    [
        lambda nn: nn.MaxPool2d(2, padding=1), lambda nn: nn.MaxPool2d((2, 2), (2, 2), (0, 0)), lambda nn: nn.AvgPool2d(2, 1),
        lambda nn: nn.AvgPool1d(2), lambda nn: nn.AdaptiveAvgPool2d((3, None)), lambda nn: nn.AdaptiveMaxPool1d(4),
        lambda nn: nn.LPPool2d(2, 3), lambda nn: nn.Unfold(2), lambda nn: nn.Fold((4, 5), 2),
        lambda nn: nn.MaxPool3d(2, return_indices=True), lambda nn: nn.MaxUnpool2d(2, 3),
    ],
)  # fmt: skip
def test_pooling_layers_print_as_in_pytorch(make: Function) -> None:
    assert repr(make(rustorch.nn)) == repr(make(torch.nn))


@pytest.mark.parametrize(
    ("name", "layer", "shape"),
    [
        ("MaxPool2d", (3, 2, 1), (2, 3, 9, 8)), ("AvgPool1d", (3, 2, 1), (2, 3, 9)), ("AvgPool2d", (3, 2, 1, False, False), (2, 3, 9, 8)),
        ("AdaptiveAvgPool2d", ((3, None),), (2, 3, 9, 8)), ("AdaptiveMaxPool2d", (4,), (2, 3, 9, 8)), ("LPPool1d", (2, 3), (2, 3, 9)),
        ("Unfold", (2,), (2, 3, 5, 4)), ("MaxPool3d", (2,), (2, 3, 5, 4, 6)),
    ],
)  # fmt: skip
def test_pooling_layers(name: str, layer: tuple[Any, ...], shape: tuple[int, ...]) -> None:
    same(getattr(rustorch.nn, name)(*layer), getattr(torch.nn, name)(*layer), np.abs(rng().standard_normal(shape)))


@pytest.mark.parametrize(
    "call",
    [
        lambda lib, F, x: F.max_pool2d(x, (2, 2, 2)), lambda lib, F, x: F.max_pool2d(x, 3, padding=2), lambda lib, F, x: F.max_pool2d(x, 7),
        lambda lib, F, x: F.avg_pool2d(x, 7), lambda lib, F, x: F.avg_pool2d(x, 2, divisor_override=0),
        lambda lib, F, x: F.max_pool1d(x, 3),
        lambda lib, F, x: F.max_pool2d(x, 2, padding=-1), lambda lib, F, x: F.max_pool3d(x[0], 3),
        lambda lib, F, x: F.adaptive_avg_pool2d(x, (3, -1)), lambda lib, F, x: F.adaptive_avg_pool2d(x[0, 0], 3),
        lambda lib, F, x: F.unfold(x[0], 7), lambda lib, F, x: F.fold(lib.ones(1, 18, 8), (5, 5), 3),
        lambda lib, F, x: F.fold(lib.ones(1, 17, 9), (5, 5), 3),
        lambda lib, F, x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2, output_size=(9, 5)),
    ],
)  # fmt: skip
def test_pooling_refuses_as_pytorch_does(call: Function) -> None:
    """The same exception (a subclass of it) and first sentence."""
    raised = []
    for library in (torch, rustorch):
        with pytest.raises(Exception) as caught:
            call(library, library.nn.functional, library.ones(1, 2, 5, 5))
        raised.append(caught.value)
    assert isinstance(raised[1], type(raised[0]))
    assert str(raised[1]).splitlines()[0] == str(raised[0]).splitlines()[0]
