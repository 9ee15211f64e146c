"""Functions of neural networks beside PyTorch's: values and gradients, option by option. Run with -m oracle."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest

import rustorch
from tests.differential.beside import refusals, results

torch: Any = pytest.importorskip("torch")

pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore")]
Function = Callable[..., Any]


def rng(*seed: int) -> np.random.Generator:
    return np.random.default_rng((11, *seed))


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
    ours, theirs = refusals(lambda lib: call(lib, lib.nn.functional, lib.ones(1, 2, 5, 5)))
    assert ours == theirs


# --- Normalisation and dropout ----------------------------------------------------------------------------------------


def test_group_norm() -> None:
    draw = rng().standard_normal
    ours, theirs = functions("group_norm")
    for shape, groups in (((2, 6, 4, 3), 3), ((2, 6, 5), 1), ((3, 6), 2), ((2, 6, 2, 3, 2), 6)):
        same(lambda x, w, b, g=groups: ours(x, g, w, b), lambda x, w, b, g=groups: theirs(x, g, w, b), draw(shape), draw(6), draw(6))
        same(lambda x, g=groups: ours(x, g), lambda x, g=groups: theirs(x, g), draw(shape))


def test_instance_norm() -> None:
    draw = rng().standard_normal
    ours, theirs = functions("instance_norm")
    for shape in ((2, 6, 5), (2, 6, 4, 3), (2, 6, 2, 3, 2)):
        same(lambda x, w, b: ours(x, None, None, w, b), lambda x, w, b: theirs(x, None, None, w, b), draw(shape), draw(6), draw(6))
        mean, variance = draw(6), draw(6) ** 2 + 1

        def fixed(f: Function, library: Any, mean: Any = mean, variance: Any = variance) -> Function:
            return lambda x: f(x, library.tensor(mean), library.tensor(variance), use_input_stats=False)

        same(fixed(ours, rustorch), fixed(theirs, torch), draw(shape))


def test_local_response_norm() -> None:
    ours, theirs = functions("local_response_norm")
    for shape in ((2, 7, 5), (2, 7, 4, 3), (2, 7, 2, 3, 2)):
        for size in (1, 2, 5):
            same(lambda x, n=size: ours(x, n, 0.3, 0.6, 2.0), lambda x, n=size: theirs(x, n, 0.3, 0.6, 2.0), rng().standard_normal(shape))


@pytest.mark.parametrize(
    ("name", "arguments", "given", "shape"),
    [
        ("BatchNorm1d", (4,), {}, (5, 4)), ("BatchNorm1d", (4,), {"momentum": None}, (5, 4, 3)), ("BatchNorm2d", (4,), {}, (5, 4, 3, 2)),
        ("BatchNorm2d", (4, 1e-3, 0.3, False), {}, (5, 4, 3, 2)), ("BatchNorm3d", (4,), {"track_running_stats": False}, (5, 4, 3, 2, 2)),
        ("LayerNorm", ((3, 2),), {}, (5, 4, 3, 2)), ("LayerNorm", (2,), {"bias": False}, (5, 2)), ("RMSNorm", (2,), {}, (5, 2)),
        ("GroupNorm", (2, 4), {}, (5, 4, 3)), ("GroupNorm", (2, 4), {"affine": False}, (5, 4)),
        ("InstanceNorm1d", (4,), {"affine": True, "track_running_stats": True}, (5, 4, 3)), ("InstanceNorm2d", (4,), {}, (4, 3, 2)),
        ("InstanceNorm3d", (4,), {"track_running_stats": True, "momentum": 0.4}, (5, 4, 3, 2, 2)),
        ("LocalResponseNorm", (3,), {}, (5, 4, 3)),
    ],
)  # fmt: skip
def test_normalising_layers(name: str, arguments: tuple[Any, ...], given: dict[str, Any], shape: tuple[int, ...]) -> None:
    """Three training steps, then one in evaluation: results, gradients and state stay equal, and layers print alike."""
    stateful = name != "LocalResponseNorm"
    ours = getattr(rustorch.nn, name)(*arguments, **given, **({"dtype": rustorch.float64} if stateful else {}))
    theirs = getattr(torch.nn, name)(*arguments, **given, **({"dtype": torch.float64} if stateful else {}))
    for step in range(4):
        if step == 3:
            ours.eval(), theirs.eval()
        same(ours, theirs, rng(step).standard_normal(shape) * 2 + 1)
        mine, other = ours.state_dict(), theirs.state_dict()
        assert list(mine) == list(other)
        for key, value in mine.items():
            np.testing.assert_allclose(value.detach().numpy(), other[key].detach().numpy(), rtol=1e-12, atol=1e-12)
    if name not in ("LayerNorm", "BatchNorm1d", "BatchNorm2d", "BatchNorm3d"):  # whose newest versions also print their bias
        assert repr(ours) == repr(theirs)


@pytest.mark.parametrize("name", ["dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"])
def test_dropout(name: str) -> None:
    """Numbers are random: the same values occur, as often, and whole channels go where they should."""
    ours, theirs = functions(name)
    shape = (400, 5, 3, 2, 2)[: {"dropout1d": 3, "dropout2d": 4}.get(name, 5)]
    found = np.asarray(ours(rustorch.ones(*shape), 0.3, True).numpy())
    expected = theirs(torch.ones(*shape), 0.3, True).numpy()
    np.testing.assert_allclose(np.unique(found.round(5)), np.unique(expected.round(5)), rtol=1e-5)
    assert abs(found.mean() - expected.mean()) < 0.15
    whole = found.reshape(400, 5, -1)
    assert ((whole == whole[..., :1]).all() or name == "alpha_dropout") and not (whole == whole[:, :1]).all()
    off = np.asarray(ours(rustorch.ones(*shape), 1.0, True).numpy())
    np.testing.assert_allclose(off, theirs(torch.ones(*shape), 1.0, True).numpy())
    assert ours(rustorch.ones(*shape), 0.3, False).numpy().min() == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda lib, F, x: F.group_norm(x, 4), lambda lib, F, x: F.group_norm(x, 2, lib.ones(3)),
        lambda lib, F, x: F.group_norm(lib.ones(3), 1),
        lambda lib, F, x: F.group_norm(lib.ones(1, 2), 2), lambda lib, F, x: F.instance_norm(lib.ones(2, 3, 1)),
        lambda lib, F, x: F.instance_norm(x, use_input_stats=False), lambda lib, F, x: lib.nn.InstanceNorm2d(5, affine=True)(x),
        lambda lib, F, x: lib.nn.InstanceNorm2d(6)(x[0, 0]), lambda lib, F, x: F.dropout2d(x, 1.5),
        lambda lib, F, x: F.alpha_dropout(x, -1),
        lambda lib, F, x: lib.nn.GroupNorm(3, 4), lambda lib, F, x: lib.nn.BatchNorm3d(3)(x), lambda lib, F, x: lib.nn.Dropout2d(2.0),
    ],
)  # fmt: skip
def test_normalisation_refuses_as_pytorch_does(call: Function) -> None:
    """The same exception (a subclass of it) and first sentence."""
    ours, theirs = refusals(lambda lib: call(lib, lib.nn.functional, lib.ones(2, 6, 4, 4)))
    assert ours == theirs.replace("torch.Size([2, 3, 1])", "[2, 3, 1]")
