"""Groups, states, learning rates, and what a step costs in compilations."""

from __future__ import annotations

import copy
import gc
import pickle
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rustorch
from rustorch import compiler
from rustorch.optim import SGD, Adagrad, Adam, AdamW, RMSprop


def leaf(*values: float) -> Any:
    return rustorch.tensor(list(values), requires_grad=True, dtype=rustorch.float64)


def advance(optimizer: Any, params: list[Any], value: float = 1.0) -> None:
    """A step with every gradient equal to `value`."""
    for p in params:
        p.grad = rustorch.full_like(p, value)
    optimizer.step()


def test_groups_have_their_own_settings() -> None:
    x, y = leaf(1.0), leaf(1.0)
    optimizer = SGD([{"params": [x], "lr": 0.5}, {"params": y}], lr=0.25)
    advance(optimizer, [x, y])
    assert (x.item(), y.item()) == (0.5, 0.75)
    z = leaf(1.0)
    optimizer.add_param_group({"params": z, "lr": 1.0})
    advance(optimizer, [x, y, z])
    assert (x.item(), y.item(), z.item()) == (0.0, 0.5, 0.0)
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.25, 1.0]


def test_a_parameter_without_gradient_stays() -> None:
    x, y = leaf(1.0), leaf(1.0)
    optimizer = Adam([x, y], lr=0.5)
    advance(optimizer, [x])
    assert y.item() == 1.0
    assert x.item() != 1.0
    assert y not in optimizer.state


def test_counts_of_steps_part_where_parameters_do() -> None:
    x, y, alone = leaf(1.0), leaf(1.0), leaf(1.0)
    optimizer, single = Adam([x, y], lr=0.1), Adam([alone], lr=0.1)
    for moved in ([x, y], [x, y], [x], [x, y], [y]):
        optimizer.zero_grad()
        advance(optimizer, moved)
        if y in moved:
            advance(single, [alone])
    assert [float(optimizer.state[p]["step"]) for p in (x, y)] == [4, 4]
    np.testing.assert_allclose(y.detach().numpy(), alone.detach().numpy(), rtol=1e-14)


@pytest.mark.parametrize("jit", [False, True], ids=["loop", "jit"])
def test_neither_learning_rate_nor_count_compiles_anew(jit: bool) -> None:
    x = leaf(1.0, 2.0)
    optimizer = Adam([x], lr=0.5)

    def step() -> None:
        optimizer.zero_grad()
        (x * x).sum().backward()
        optimizer.step()

    run = rustorch.jit(step) if jit else step
    for _ in range(3):
        run()
    before = compiler.statistics.compiles
    for rate in (0.1, 0.01, 0.2):
        optimizer.set_lr(rate)
        assert optimizer.learning_rate == rate
        at = x.detach().numpy().copy()
        run()
        assert 0 < np.abs(x.detach().numpy() - at).max() <= 2 * rate
    assert compiler.statistics.compiles == before


def test_a_new_setting_is_seen_by_a_jitted_step() -> None:
    x = leaf(1.0)
    optimizer = SGD([x], lr=0.5)

    @rustorch.jit
    def step() -> None:
        optimizer.zero_grad()
        (x * 0.0).sum().backward()
        optimizer.step()

    step()
    step()
    assert x.item() == 1.0
    step()
    optimizer.param_groups[0]["weight_decay"] = 1.0
    step()
    assert x.item() == 0.5
    rate = rustorch.tensor(1.0, dtype=rustorch.float64)
    optimizer.param_groups[0]["lr"] = rate
    step()
    assert x.item() == 0.0


def test_views_and_exported_memory_see_a_step() -> None:
    x = leaf(1.0, 2.0)
    optimizer = SGD([x], lr=1.0)
    for _ in range(3):
        advance(optimizer, [x], 0.0)
    view, memory, version = x.detach(), x.detach().numpy(), x._version
    advance(optimizer, [x])
    assert view.tolist() == [0.0, 1.0]
    assert memory.tolist() == [0.0, 1.0]
    assert x._version > version
    del view, memory
    advance(optimizer, [x])
    assert x.tolist() == [-1.0, 0.0]


def test_a_saved_graph_keeps_the_values_from_before_the_step() -> None:
    x = leaf(3.0)
    loss = (x * x).sum()
    optimizer = SGD([x], lr=1.0)
    advance(optimizer, [x])
    x.grad = None
    loss.backward()
    assert x.item() == 2.0
    assert x.grad.item() == 6.0


def test_closure() -> None:
    x = leaf(3.0)
    optimizer = SGD([x], lr=0.5)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = (x * x).sum()
        loss.backward()
        return loss

    with rustorch.no_grad():
        assert optimizer.step(closure).item() == 9.0
    assert x.item() == 0.0


def test_zero_grad() -> None:
    x = leaf(3.0)
    optimizer = SGD([x], lr=0.5)
    x.grad = rustorch.ones_like(x)
    optimizer.zero_grad(set_to_none=False)
    assert x.grad.tolist() == [0.0]
    optimizer.zero_grad()
    assert x.grad is None


@pytest.mark.parametrize(
    "make",
    [
        lambda p: SGD(p, lr=0.1, momentum=0.9),
        lambda p: SGD(p, lr=0.1, momentum=0.9, dampening=0.5),
        lambda p: Adam(p, amsgrad=True),
        lambda p: RMSprop(p, momentum=0.5, centered=True),
        lambda p: Adagrad(p),
    ],
)
@pytest.mark.parametrize("way", ["state_dict", "pickle"])
def test_state_goes_on_elsewhere(make: Callable[[Any], Any], way: str) -> None:
    x = leaf(1.0, -2.0)
    optimizer = make([x])
    for value in (1.0, 3.0):
        advance(optimizer, [x], value)
    if way == "pickle":
        y, twin = pickle.loads(pickle.dumps((x, optimizer)))
    else:
        y = copy.deepcopy(x)
        twin = make([y])
        twin.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for value in (-1.0, 0.5):
        advance(optimizer, [x], value)
        advance(twin, [y], value)
    assert x.tolist() == y.tolist()


def test_state_dict_has_torchs_names() -> None:
    x = leaf(1.0)
    optimizer = AdamW([x], amsgrad=True)
    advance(optimizer, [x])
    state = optimizer.state_dict()
    assert set(state) == {"state", "param_groups"}
    assert set(state["state"][0]) == {"step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"}
    assert state["param_groups"][0]["params"] == [0]
    assert {"lr", "betas", "eps", "weight_decay", "amsgrad", "maximize"} <= set(state["param_groups"][0])
    momentum = SGD([x], momentum=0.5)
    advance(momentum, [x])
    assert set(momentum.state_dict()["state"][0]) == {"momentum_buffer"}


def test_a_long_loop_does_not_grow() -> None:
    x = leaf(1.0, 2.0)
    optimizer = Adam([x], lr=0.01)

    def steps(n: int) -> None:
        for _ in range(n):
            optimizer.zero_grad()
            ((x - 1.0) ** 2).sum().backward()
            optimizer.step()

    steps(50)
    gc.collect()
    tracemalloc.start()
    steps(1)
    before = tracemalloc.get_traced_memory()[0]
    steps(500)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 20_000, f"{grown} bytes in 500 steps"


def test_repr() -> None:
    assert repr(SGD([leaf(1.0)], lr=0.5)) == (
        "SGD (\nParameter Group 0\n    dampening: 0\n    lr: 0.5\n    maximize: False\n    momentum: 0\n    nesterov: False\n"
        "    weight_decay: 0\n)"
    )


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda x: SGD([], lr=1), "optimizer got an empty parameter list"),
        (lambda x: SGD(x, lr=1), "params argument given to the optimizer should be an iterable of Tensors or dicts, but got Tensor"),
        (lambda x: SGD([1.0], lr=1), "optimizer can only optimize Tensors, but one of the params is float"),
        (lambda x: SGD([x * 2], lr=1), "can't optimize a non-leaf Tensor"),
        (lambda x: SGD([x, x], lr=1), "duplicate parameters"),
        (lambda x: SGD([{"params": x}, {"params": x}], lr=1), "some parameters appear in more than one parameter group"),
        (lambda x: SGD([{"params": {x}}], lr=1), "optimizer parameters need to be organized in ordered collections"),
        (lambda x: SGD([x], lr=-1), "Invalid learning rate: -1"),
        (lambda x: SGD([x], lr=1, momentum=-1), "Invalid momentum value: -1"),
        (lambda x: SGD([x], lr=1, nesterov=True), "Nesterov momentum requires a momentum and zero dampening"),
        (lambda x: Adam([x], betas=(1.0, 0.9)), "Invalid beta parameter at index 0: 1.0"),
        (lambda x: Adam([x], eps=-1), "Invalid epsilon value: -1"),
        (lambda x: RMSprop([x], alpha=-1), "Invalid alpha value: -1"),
        (lambda x: Adagrad([x], lr_decay=-1), "Invalid lr_decay value: -1"),
        (lambda x: SGD([x], lr=1).load_state_dict({"state": {}, "param_groups": []}), "different number of parameter groups"),
        (lambda x: SGD([x], lr=1).load_state_dict({"state": {}, "param_groups": [{"params": []}]}), "doesn't match the size of"),
    ],
)
def test_refusals(make: Callable[[Any], Any], words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        make(leaf(1.0))
