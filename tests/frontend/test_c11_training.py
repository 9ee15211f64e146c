"""C11 of the checklist: training loops. Each line twice, recorded and under `jit`.

Line 97's trajectories, in all settings over 200 steps, are in `tests/optim/test_trajectories.py` against formulas, and in
`tests/differential` against PyTorch itself.
"""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import rustorch
from rustorch import functional as F
from rustorch import nn, no_grad, optim, tensor
from tests.frontend.door import Door

f64 = rustorch.float64


def numbers(seed: int, *shape: int, dtype: Any = np.float64) -> Any:
    return tensor(np.random.default_rng(seed).normal(size=shape).astype(dtype))


def model() -> Any:
    rustorch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).double()


def train(door: Door, net: Any, optimizer: Any, steps: int = 10, schedule: Any = None, clip: float | None = None) -> list[float]:
    """A loop in PyTorch's manner; under `jit` the step is one program."""
    x, y = numbers(1, 16, 4), numbers(2, 16, 3)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = F.mse_loss(net(x), y)
        loss.backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(net.parameters(), clip)
        optimizer.step()
        return loss

    call = rustorch.jit(step) if door.compiled else step
    losses = []
    for _ in range(steps):
        losses.append(float(call(x, y)))
        if schedule is not None:
            schedule.step()
    return losses


def parameters(net: Any) -> Any:
    return [p.tolist() for p in net.parameters()]


# --- 97: optimisers ---------------------------------------------------------------------------------------------------


def test_c11_97_zero_grad(door: Door) -> None:
    w = tensor([1.0, 2.0], requires_grad=True)
    optimizer = optim.SGD([w], lr=0.1)

    def program(keep: bool) -> Any:
        (w * w).sum().backward()
        found = w.grad
        optimizer.zero_grad(set_to_none=not keep) if keep else optimizer.zero_grad()
        return found * 1

    assert door(program, False).tolist() == [2.0, 4.0]
    assert w.grad is None
    door(program, True)
    assert w.grad.tolist() == [0.0, 0.0]


def test_c11_97_a_step_by_hand(door: Door) -> None:
    w = tensor([1.0, -2.0], dtype=f64, requires_grad=True)
    optimizer = optim.SGD([w], lr=0.1, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad()
        (w * w).sum().backward()
        optimizer.step()

    p, v = np.array([1.0, -2.0]), np.zeros(2)
    call = rustorch.jit(step) if door.compiled else step
    for _ in range(20):
        call()
        v = 0.9 * v + 2 * p
        p = p - 0.1 * v
    np.testing.assert_allclose(w.detach().numpy(), p, rtol=1e-12)


def test_c11_97_groups(door: Door) -> None:
    a, b = (tensor([1.0], requires_grad=True) for _ in range(2))
    optimizer = optim.SGD([{"params": [a]}, {"params": [b], "lr": 0.5}], lr=0.1)

    def step() -> None:
        (a + b).sum().backward()
        optimizer.step()

    door(step)
    assert (a.item(), b.item()) == (pytest.approx(0.9), 0.5)
    assert [g["lr"] for g in optimizer.param_groups] == [0.1, 0.5]
    c = tensor([1.0], requires_grad=True)
    optimizer.add_param_group({"params": [c], "lr": 2.0})
    c.grad = tensor([1.0])
    a.grad = b.grad = None
    door(optimizer.step)
    assert (a.item(), c.item()) == (pytest.approx(0.9), -1.0)


@pytest.mark.parametrize("make", [
    lambda p: optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    lambda p: optim.SGD(p, lr=0.05, momentum=0.9, dampening=0.5, maximize=True),
    lambda p: optim.Adam(p, lr=0.01, betas=(0.8, 0.99), weight_decay=0.1, amsgrad=True),
    lambda p: optim.AdamW(p, lr=0.01),
], ids=["sgd nesterov", "sgd maximize", "adam amsgrad", "adamw"])  # fmt: skip
def test_c11_97_state_goes_on(door: Door, make: Any) -> None:
    whole, first = model(), model()
    train(door, whole, make(whole.parameters()), steps=8)
    optimizer = make(first.parameters())
    train(door, first, optimizer, steps=5)
    saved = pickle.loads(pickle.dumps({"net": first.state_dict(), "optimizer": optimizer.state_dict()}))
    second = model()
    other = make(second.parameters())
    second.load_state_dict(saved["net"])
    other.load_state_dict(saved["optimizer"])
    train(door, second, other, steps=3)
    for ours, theirs in zip(parameters(second), parameters(whole), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_c11_97_both_doors_agree() -> None:
    found = []
    for compiled in (False, True):
        net = model()
        losses = train(Door(compiled), net, optim.Adam(net.parameters(), lr=0.01), steps=30)
        found.append((losses, parameters(net)))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-12)
    for ours, theirs in zip(found[0][1], found[1][1], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10)
    assert found[0][0][-1] < found[0][0][0]


# --- 98: modules ------------------------------------------------------------------------------------------------------


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(rustorch.ones(1))
        self.layers = nn.ModuleList([nn.Linear(4, 3), nn.BatchNorm1d(3)])
        self.register_buffer("count", rustorch.zeros(()))
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Any) -> Any:
        self.count += 1
        for layer in self.layers:
            x = layer(x)
        return self.drop(x) * self.scale


def test_c11_98_registration(door: Door) -> None:
    net = Net()
    names = ["scale", "layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias"]
    assert [n for n, _ in net.named_parameters()] == names
    assert [n for n, _ in net.named_buffers()] == ["count", "layers.1.running_mean", "layers.1.running_var", "layers.1.num_batches_tracked"]
    assert list(net.state_dict()) == [
        "scale", "count", "layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias", "layers.1.running_mean",
        "layers.1.running_var", "layers.1.num_batches_tracked",
    ]  # fmt: skip
    for k in range(3):
        door(net, numbers(k, 5, 4, dtype=np.float32))
    assert net.count.item() == 3


def test_c11_98_train_and_eval(door: Door) -> None:
    net = Net()
    x = numbers(0, 64, 4, dtype=np.float32)
    call = rustorch.jit(net) if door.compiled else net
    out = call(x)
    zeros = float((out == 0).float().mean())
    assert 0.3 < zeros < 0.7
    norm = net.layers[1]
    hidden = net.layers[0](x).detach().numpy()
    np.testing.assert_allclose(norm.running_mean.numpy(), 0.1 * hidden.mean(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(norm.running_var.numpy(), 0.9 + 0.1 * hidden.var(0, ddof=1), rtol=1e-4)
    assert norm.num_batches_tracked.item() == 1
    net.eval()
    mean, var = norm.running_mean.numpy().copy(), norm.running_var.numpy().copy()
    still = call(x)
    np.testing.assert_allclose(still.detach().numpy(), (hidden - mean) / np.sqrt(var + 1e-5), rtol=1e-4, atol=1e-5)
    assert norm.num_batches_tracked.item() == 1
    net.train()
    call(x)
    assert norm.num_batches_tracked.item() == 2


def test_c11_98_state_loads(door: Door) -> None:
    first, second = Net(), Net()
    door(first, numbers(0, 5, 4, dtype=np.float32))
    found = second.load_state_dict(first.state_dict())
    assert (list(found.missing_keys), list(found.unexpected_keys)) == ([], [])
    x = numbers(1, 5, 4, dtype=np.float32)
    first.eval()
    second.eval()
    np.testing.assert_array_equal(door(first, x).detach().numpy(), door(second, x).detach().numpy())
    with pytest.raises(RuntimeError, match=r"^Error\(s\) in loading state_dict for Net"):
        second.load_state_dict({"scale": rustorch.ones(1)})
    twin = copy.deepcopy(first)
    np.testing.assert_array_equal(door(twin, x).detach().numpy(), door(first, x).detach().numpy())


# --- 99: the names of the library before this one -----------------------------------------------------------------------


def test_c11_99_layers(door: Door) -> None:
    layer = rustorch.Linear(3, 2, True)
    assert (layer.input_size, layer.output_size) == (3, 2)
    assert (layer.weight.shape, layer.bias.shape) == ((2, 3), (2,))
    x = numbers(0, 5, 3, dtype=np.float32)
    np.testing.assert_array_equal(door(layer.forward, x).detach().numpy(), door(layer, x).detach().numpy())
    image = numbers(1, 2, 3, 8, 8, dtype=np.float32)
    for made, shape in [
        (rustorch.Conv2d(3, 4, (3, 3)), (2, 4, 6, 6)), (rustorch.Conv2d(3, 4, 3, stride=2, padding=1), (2, 4, 4, 4)),
        (rustorch.MaxPool2d(2), (2, 3, 4, 4)), (rustorch.BatchNorm2d(3), (2, 3, 8, 8)), (rustorch.Dropout(0.5, False), (2, 3, 8, 8)),
        (rustorch.Flatten(1, -1), (2, 192)),
    ]:  # fmt: skip
        assert door(made, image).shape == shape
    assert door(rustorch.BatchNorm1d(3), x).shape == (5, 3)


def test_c11_99_losses_and_optimisers(door: Door) -> None:
    rustorch.manual_seed(0)
    net = rustorch.Sequential(rustorch.Linear(4, 8), rustorch.ReLU(), rustorch.Linear(8, 3))
    x, target = numbers(0, 6, 4, dtype=np.float32), tensor([0, 1, 2, 0, 1, 2])
    for optimizer in (
        rustorch.SGD(net.parameters(), 0.1, momentum=0.9, weight_decay=1e-4, nesterov=True),
        rustorch.Adam(net.parameters(), lr=0.01, betas=(0.9, 0.999)),
    ):
        criterion = rustorch.CrossEntropyLoss()

        def step(optimizer: Any = optimizer, criterion: Any = criterion) -> Any:
            optimizer.zero_grad()
            loss = criterion(net(x), target)
            loss.backward()
            optimizer.step()
            return loss

        call = rustorch.jit(step) if door.compiled else step
        losses = [float(call()) for _ in range(5)]
        assert losses[-1] < losses[0]
        optimizer.set_lr(0.5)
        assert optimizer.learning_rate == optimizer.param_groups[0]["lr"] == 0.5
    value = door(rustorch.MSELoss(), rustorch.ones(3), rustorch.zeros(3))
    assert float(value) == 1.0


# --- 100: clipping, schedules, averages ---------------------------------------------------------------------------------


def test_c11_100_clipping(door: Door) -> None:
    w = tensor([3.0, 4.0], requires_grad=True)

    def program() -> Any:
        (w * tensor([12.0, 16.0])).sum().backward()
        return nn.utils.clip_grad_norm_([w], 10.0)

    assert float(door(program)) == pytest.approx(20.0)
    assert w.grad.tolist() == pytest.approx([6.0, 8.0], rel=1e-5)
    w.grad = tensor([-5.0, 0.5])
    door(lambda: nn.utils.clip_grad_value_([w], 1.0))
    assert w.grad.tolist() == [-1.0, 0.5]


def test_c11_100_schedules(door: Door) -> None:
    net = model()
    optimizer = optim.SGD(net.parameters(), lr=1.0)
    schedule = optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.1)
    seen = []
    for _ in range(5):
        seen.append(optimizer.param_groups[0]["lr"])
        train(door, net, optimizer, steps=1, schedule=schedule)
    assert seen == pytest.approx([1, 1, 0.1, 0.1, 0.01])


def test_c11_100_an_average_of_parameters(door: Door) -> None:
    net = model()
    average = copy.deepcopy(net)
    expected = [p.detach().numpy().copy() for p in net.parameters()]

    def follow() -> None:
        with no_grad():
            for a, p in zip(average.parameters(), net.parameters(), strict=True):
                a.mul_(0.9).add_(p, alpha=0.1)

    optimizer = optim.SGD(net.parameters(), lr=0.5)
    for _ in range(4):
        train(door, net, optimizer, steps=1, clip=1.0)
        door(follow)
        expected = [0.9 * a + 0.1 * p.detach().numpy() for a, p in zip(expected, net.parameters(), strict=True)]
    for ours, theirs in zip(average.parameters(), expected, strict=True):
        np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=1e-12)


# --- 101: a tutorial's loop ---------------------------------------------------------------------------------------------

TUTORIAL = '''
import math

import torch

# PyTorch's tutorial "Learning PyTorch with examples": a polynomial of degree 3 is fitted to a sine.
x = torch.linspace(-math.pi, math.pi, 2000)
y = torch.sin(x)
p = torch.tensor([1, 2, 3])
xx = x.unsqueeze(-1).pow(p)
model = torch.nn.Sequential(torch.nn.Linear(3, 1), torch.nn.Flatten(0, 1))
loss_fn = torch.nn.MSELoss(reduction="sum")
learning_rate = 1e-3
optimizer = torch.optim.RMSprop(model.parameters(), lr=learning_rate)
losses = []
for t in range(2000):
    y_pred = model(xx)
    loss = loss_fn(y_pred, y)
    if t % 100 == 99:
        losses.append(loss.item())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
linear_layer = model[0]
text = f"{linear_layer.bias.item():.2f} {linear_layer.weight[:, 0].item():.2f} {linear_layer.weight[:, 1].item():.2f}"

# The same with tensors and autograd alone.
dtype = torch.float
device = torch.device("cpu")
x = torch.linspace(-math.pi, math.pi, 2000, device=device, dtype=dtype)
y = torch.sin(x)
a = torch.randn((), device=device, dtype=dtype, requires_grad=True)
b = torch.randn((), device=device, dtype=dtype, requires_grad=True)
learning_rate = 1e-6
for t in range(500):
    y_pred = a + b * x
    loss = (y_pred - y).pow(2).sum()
    loss.backward()
    with torch.no_grad():
        a -= learning_rate * a.grad
        b -= learning_rate * b.grad
        a.grad = None
        b.grad = None
slope = b.item()
'''


def test_c11_101_a_tutorial() -> None:
    names: dict[str, Any] = {}
    rustorch.manual_seed(0)
    exec(TUTORIAL.replace("torch", "rustorch").replace("Pyrustorch", "PyTorch"), names)
    losses = names["losses"]
    assert losses[-1] < 10 < losses[0]  # PyTorch ends at 8.9, too
    assert names["slope"] == pytest.approx(3 / np.pi**2, rel=0.05)  # the line nearest to a sine
