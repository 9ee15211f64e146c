"""Layers, their first values, gradients clipped, and small networks that learn."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import rustorch.nn.functional

import rustorch
from rustorch import compiler, nn
from rustorch.nn.utils import clip_grad_norm_, clip_grad_value_, parameters_to_vector, vector_to_parameters

pytestmark = pytest.mark.filterwarnings("ignore:.*a new program was compiled")  # each case is one, on the same line


def test_one_functional_module() -> None:
    assert rustorch.nn.functional is rustorch.functional is nn.functional


def test_linear() -> None:
    layer = rustorch.Linear(3, 2, True)
    assert (layer.in_features, layer.out_features, layer.input_size, layer.output_size) == (3, 2, 3, 2)
    assert (layer.weight.shape, layer.bias.shape) == ((2, 3), (2,))
    x = rustorch.tensor([[1.0, -2.0, 0.5]])
    expected = x.numpy() @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
    np.testing.assert_allclose(layer.forward(x).detach().numpy(), expected, rtol=1e-6)
    assert nn.Linear(3, 2, bias=False).bias is None
    assert nn.Linear(3, 2, dtype=rustorch.float64).weight.dtype is rustorch.float64


def test_linear_begins_as_in_pytorch() -> None:
    layer = nn.Linear(100, 300)
    for values in (layer.weight.detach().numpy(), layer.bias.detach().numpy()):
        assert np.abs(values).max() <= 0.1  # 1 / sqrt(100)
        assert np.abs(values).max() > 0.095
        assert abs(values.std() - 0.1 / math.sqrt(3)) < 0.01


def test_a_seed_gives_the_same_layer() -> None:
    found = []
    for _ in range(2):
        rustorch.manual_seed(7)
        found.append(nn.Linear(4, 4).weight.tolist())
    assert found[0] == found[1]
    assert nn.Linear(4, 4).weight.tolist() != found[0]


def test_models_of_any_size_begin_with_one_program() -> None:
    nn.Linear(3, 5)
    before = compiler.statistics.compiles
    layers = [nn.Linear(n, n + 1) for n in range(2, 9)]
    rustorch.sync()
    assert compiler.statistics.compiles == before
    rustorch.manual_seed(3)
    first = nn.init.uniform_(rustorch.zeros(3, 4), -1.0, 2.0)
    rustorch.manual_seed(3)
    traced = rustorch.jit(lambda: nn.init.uniform_(rustorch.zeros(3, 4), -1.0, 2.0))()
    assert first.tolist() == traced.tolist()
    assert len({layer.weight[0, 0].item() for layer in layers}) == len(layers)


LAYERS: list[tuple[Callable[[], Any], tuple[int, ...], tuple[int, ...], str]] = [
    (lambda: nn.Identity(1, a=2), (2, 3), (2, 3), "Identity()"),
    (lambda: nn.Flatten(), (2, 3, 4), (2, 12), "Flatten(start_dim=1, end_dim=-1)"),
    (lambda: nn.Unflatten(1, (3, 4)), (2, 12), (2, 3, 4), "Unflatten(dim=1, unflattened_size=(3, 4))"),
    (lambda: nn.Dropout(0.5, False), (2, 3), (2, 3), "Dropout(p=0.5, inplace=False)"),
    (lambda: nn.LayerNorm(3), (2, 3), (2, 3), "LayerNorm((3,), eps=1e-05, elementwise_affine=True)"),
    (lambda: nn.RMSNorm(3, 1e-6), (2, 3), (2, 3), "RMSNorm((3,), eps=1e-06, elementwise_affine=True)"),
    (
        lambda: nn.BatchNorm1d(3, 1e-5, 0.1, True, True), (4, 3), (4, 3),
        "BatchNorm1d(3, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True)",
    ),
    (
        lambda: nn.BatchNorm2d(3, 1e-5, 0.1, True), (4, 3, 2, 2), (4, 3, 2, 2),
        "BatchNorm2d(3, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True)",
    ),
    (lambda: nn.Softmax(1), (2, 3), (2, 3), "Softmax(dim=1)"),
    (lambda: nn.LogSoftmax(dim=-1), (2, 3), (2, 3), "LogSoftmax(dim=-1)"),
    (lambda: nn.Softplus(), (2, 3), (2, 3), "Softplus(beta=1.0, threshold=20.0)"),
    (lambda: nn.ReLU(True), (2, 3), (2, 3), "ReLU(inplace=True)"),
    (lambda: nn.LeakyReLU(0.1), (2, 3), (2, 3), "LeakyReLU(negative_slope=0.1)"),
    (lambda: nn.ELU(), (2, 3), (2, 3), "ELU(alpha=1.0)"),
    (lambda: nn.GELU(), (2, 3), (2, 3), "GELU(approximate='none')"),
    (lambda: nn.PReLU(), (2, 3), (2, 3), "PReLU(num_parameters=1)"),
    (lambda: nn.Hardtanh(), (2, 3), (2, 3), "Hardtanh(min_val=-1.0, max_val=1.0)"),
    (lambda: nn.GLU(), (2, 4), (2, 2), "GLU(dim=-1)"),
    *((getattr(nn, name), (2, 3), (2, 3), f"{name}()") for name in (
        "Tanh", "Sigmoid", "LogSigmoid", "Softsign", "SiLU", "Mish", "SELU", "ReLU6", "Hardswish", "Hardsigmoid",
    )),
]  # fmt: skip


@pytest.mark.parametrize(("make", "given", "expected", "text"), LAYERS, ids=[case[3].split("(")[0] for case in LAYERS])
def test_shapes_gradients_and_text(make: Callable[[], Any], given: tuple[int, ...], expected: tuple[int, ...], text: str) -> None:
    layer = make()
    assert repr(layer) == text
    x = rustorch.randn(*given, requires_grad=True)
    found = layer(x * 1.0)
    assert found.shape == expected
    found.sum().backward()
    assert x.grad.shape == given
    assert all(p.grad is not None for p in layer.parameters())


def test_embedding() -> None:
    table = nn.Embedding(5, 3, padding_idx=-1)
    assert repr(table) == "Embedding(5, 3, padding_idx=4)"
    assert table.weight[4].tolist() == [0.0] * 3
    found = table(rustorch.tensor([[0, 4]]))
    assert found.shape == (1, 2, 3)
    assert found[0, 0].tolist() == table.weight[0].tolist()
    frozen = nn.Embedding.from_pretrained(rustorch.eye(2))
    assert not frozen.weight.requires_grad
    assert frozen(rustorch.tensor(1)).tolist() == [0.0, 1.0]


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("jit", [False, True], ids=["plain", "jit"])
def test_running_statistics(momentum: float | None, jit: bool) -> None:
    layer = nn.BatchNorm1d(2, momentum=momentum).double()
    call = rustorch.jit(layer) if jit else layer
    mean, variance = np.zeros(2), np.ones(2)
    rng = np.random.default_rng(0)
    for count in range(1, 5):
        x = rng.normal(size=(6, 2))
        call(rustorch.tensor(x))
        share = 1 / count if momentum is None else momentum
        mean += share * (x.mean(0) - mean)
        variance += share * (x.var(0, ddof=1) - variance)
    rtol = 1e-6 if momentum is None else 1e-12  # 1 / count is a float32
    np.testing.assert_allclose(layer.running_mean.numpy(), mean, rtol=rtol)
    np.testing.assert_allclose(layer.running_var.numpy(), variance, rtol=rtol)
    assert layer.num_batches_tracked.item() == 4
    assert list(layer.state_dict()) == ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    layer.eval()
    x = rng.normal(size=(3, 2))
    expected = (x - layer.running_mean.numpy()) / np.sqrt(layer.running_var.numpy() + 1e-5)
    np.testing.assert_allclose(call(rustorch.tensor(x)).detach().numpy(), expected, rtol=1e-12)
    layer.reset_running_stats()
    assert layer.running_var.tolist() == [1.0, 1.0]


def test_batch_norm_without_statistics_uses_the_batch() -> None:
    layer = nn.BatchNorm1d(2, track_running_stats=False).eval()
    found = layer(rustorch.tensor([[1.0, 2.0], [3.0, 8.0]]))
    np.testing.assert_allclose(found.detach().numpy(), [[-1, -1], [1, 1]], rtol=1e-4)
    with pytest.raises(ValueError, match=r"expected 2D or 3D input \(got 1D input\)"):
        layer(rustorch.ones(2))


LOSSES: list[tuple[Any, Callable[[Any, Any], Any]]] = [
    (nn.MSELoss(), rustorch.functional.mse_loss),
    (nn.L1Loss(reduction="sum"), lambda x, y: (x - y).abs().sum()),
    (nn.SmoothL1Loss(beta=0.5), lambda x, y: rustorch.functional.smooth_l1_loss(x, y, beta=0.5)),
    (nn.HuberLoss(delta=0.5), lambda x, y: rustorch.functional.huber_loss(x, y, delta=0.5)),
    (nn.BCELoss(), rustorch.functional.binary_cross_entropy),
    (nn.BCEWithLogitsLoss(pos_weight=rustorch.tensor(2.0)),
     lambda x, y: rustorch.functional.binary_cross_entropy_with_logits(x, y, pos_weight=rustorch.tensor(2.0))),
    (nn.KLDivLoss(reduction="batchmean"), lambda x, y: rustorch.functional.kl_div(x, y, reduction="batchmean")),
]  # fmt: skip


@pytest.mark.parametrize(("loss", "expected"), LOSSES, ids=[type(case[0]).__name__ for case in LOSSES])
def test_losses(loss: Any, expected: Callable[[Any, Any], Any]) -> None:
    x, y = rustorch.tensor([[0.2, 0.9], [0.4, 0.7]]), rustorch.tensor([[0.1, 0.8], [0.9, 0.3]])
    np.testing.assert_allclose(loss(x, y).item(), expected(x, y).item(), rtol=1e-6)


def test_losses_of_classes() -> None:
    x, y, w = rustorch.randn(4, 3), rustorch.tensor([0, 2, 1, 2]), rustorch.tensor([1.0, 2.0, 3.0])
    cross = nn.CrossEntropyLoss(w, ignore_index=1)(x, y)
    likelihood = nn.NLLLoss(w, ignore_index=1)(nn.LogSoftmax(1)(x), y)
    np.testing.assert_allclose(cross.item(), likelihood.item(), rtol=1e-6)
    assert list(nn.CrossEntropyLoss(w).state_dict()) == ["weight"]


# --- First values -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("begin", "std"),
    [
        (nn.init.xavier_uniform_, math.sqrt(2 / 500)),
        (nn.init.xavier_normal_, math.sqrt(2 / 500)),
        (lambda x: nn.init.kaiming_uniform_(x, nonlinearity="relu"), math.sqrt(2 / 300)),
        (lambda x: nn.init.kaiming_normal_(x, mode="fan_out", nonlinearity="relu"), math.sqrt(2 / 200)),
        (lambda x: nn.init.normal_(x, 0.0, 0.3), 0.3),
        (lambda x: nn.init.uniform_(x, -1.0, 1.0), 1 / math.sqrt(3)),
        (lambda x: nn.init.trunc_normal_(x, a=-1.0, b=1.0), 0.5396),
    ],
)
def test_spread_of_first_values(begin: Callable[[Any], Any], std: float) -> None:
    x = nn.Parameter(rustorch.zeros(200, 300))
    assert begin(x) is x
    assert abs(x.std().item() / std - 1) < 0.02  # 60,000 numbers: their deviation is known to 0.3 %
    assert abs(x.mean().item()) < 0.02 * std
    assert x.is_leaf and x.requires_grad


def test_plain_first_values() -> None:
    x = nn.Parameter(rustorch.zeros(2, 3))
    assert nn.init.constant_(x, 2.0).tolist() == [[2.0] * 3] * 2
    assert nn.init.ones_(x).sum().item() == 6.0
    assert nn.init.eye_(x).tolist() == [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    assert nn.init.zeros_(x).sum().item() == 0.0
    rows = nn.init.orthogonal_(x, gain=2.0).detach().numpy()
    np.testing.assert_allclose(rows @ rows.T, 4 * np.eye(2), atol=1e-5)
    assert nn.init.calculate_gain("leaky_relu", 1.0) == 1.0
    with pytest.raises(ValueError, match="Unsupported nonlinearity sine"):
        nn.init.calculate_gain("sine")
    with pytest.raises(ValueError, match="Fan in and fan out can not be computed for tensor with fewer than 2 dimensions"):
        nn.init.xavier_uniform_(rustorch.zeros(3))


# --- Gradients --------------------------------------------------------------------------------------------------------


def with_gradients(*values: list[float]) -> list[Any]:
    params = [nn.Parameter(rustorch.zeros(len(v))) for v in values]
    for p, v in zip(params, values, strict=True):
        p.grad = rustorch.tensor(v)
    return params


@pytest.mark.parametrize(("norm_type", "norm"), [(2.0, 13.0), (1.0, 19.0), (float("inf"), 12.0)])
def test_clip_grad_norm(norm_type: float, norm: float) -> None:
    params = with_gradients([3.0, 4.0], [-12.0])
    bare = nn.Parameter(rustorch.zeros(1))
    assert clip_grad_norm_([*params, bare], 1.0, norm_type).item() == pytest.approx(norm)
    np.testing.assert_allclose(params[0].grad.numpy(), np.array([3.0, 4.0]) / norm, rtol=1e-6)
    np.testing.assert_allclose(params[1].grad.numpy(), [-12 / norm], rtol=1e-6)
    clip_grad_norm_(params, 100.0, norm_type)
    np.testing.assert_allclose(params[1].grad.numpy(), [-12 / norm], rtol=1e-6)
    assert bare.grad is None


def test_clip_grad_norm_of_what_is_not_finite() -> None:
    params = with_gradients([float("nan")])
    with pytest.raises(RuntimeError, match=r"The total norm of order 2.0 for gradients from `parameters` is non-finite"):
        clip_grad_norm_(params, 1.0, error_if_nonfinite=True)


def test_clip_grad_value() -> None:
    params = with_gradients([3.0, -0.5], [-12.0])
    clip_grad_value_(params, 1.0)
    assert [p.grad.tolist() for p in params] == [[1.0, -0.5], [-1.0]]


def test_parameters_as_a_vector() -> None:
    net = nn.Linear(2, 2)
    vector_to_parameters(rustorch.arange(6.0), net.parameters())
    assert net.weight.tolist() == [[0.0, 1.0], [2.0, 3.0]]
    assert net.bias.tolist() == [4.0, 5.0]
    assert net.weight.requires_grad and net.weight.is_leaf
    assert parameters_to_vector(net.parameters()).tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    with pytest.raises(ValueError, match="the vector has 5 elements, and the parameters 6"):
        vector_to_parameters(rustorch.zeros(5), net.parameters())


# --- Networks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clip", [False, True], ids=["", "clipped"])
def test_a_network_learns_the_same_in_a_loop_and_jitted(clip: bool) -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(64, 2))
    x, y = rustorch.tensor(points), rustorch.tensor((points[:, 0] * points[:, 1] > 0).astype(np.int64))
    losses = []
    for jit in (False, True):
        rustorch.manual_seed(1)
        net = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.LayerNorm(16), nn.Linear(16, 2)).double()
        optimizer = rustorch.Adam(net.parameters(), lr=0.03)
        criterion = rustorch.CrossEntropyLoss()

        def step(net: Any = net, optimizer: Any = optimizer, criterion: Any = criterion) -> Any:
            optimizer.zero_grad()
            loss = criterion(net(x), y)
            loss.backward()
            if clip:
                clip_grad_norm_(net.parameters(), 0.5)
            optimizer.step()
            return loss.detach()

        run = rustorch.jit(step) if jit else step
        losses.append([run().item() for _ in range(60)])
    assert losses[0][-1] < 0.1 < losses[0][0]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-9)
