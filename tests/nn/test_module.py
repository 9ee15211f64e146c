"""Modules: registration, walks, state, hooks, text, copies."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rustorch
from rustorch import nn


class Net(nn.Module):
    """Two layers, a shared one, a buffer, and a buffer that is no state."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.rest = nn.Sequential(nn.ReLU(), nn.Linear(4, 2, bias=False))
        self.again = self.first
        self.scale = nn.Parameter(rustorch.ones(2))
        self.register_buffer("seen", rustorch.zeros(1))
        self.register_buffer("scratch", rustorch.zeros(1), persistent=False)

    def forward(self, x: Any) -> Any:
        return self.rest(self.first(x)) * self.scale


NAMES = ["scale", "first.weight", "first.bias", "rest.1.weight"]


def test_registration_and_walks() -> None:
    net = Net()
    assert [name for name, _ in net.named_parameters()] == NAMES
    assert [name for name, _ in net.named_parameters(recurse=False)] == ["scale"]
    assert [p is q for p, q in zip(net.parameters(), (net.get_parameter(n) for n in NAMES), strict=True)] == [True] * 4
    assert [name for name, _ in net.named_buffers()] == ["seen", "scratch"]
    assert [name for name, _ in net.named_modules()] == ["", "first", "rest", "rest.0", "rest.1"]
    assert [name for name, _ in net.named_children()] == ["first", "rest"]
    assert "again.weight" in dict(net.named_parameters(remove_duplicate=False))
    assert net.get_submodule("rest.1") is net.rest[1]
    assert net.get_buffer("seen") is net.seen
    for wrong in (lambda: net.get_submodule("rest.7"), lambda: net.get_parameter("first.gain"), lambda: net.get_buffer("scale")):
        with pytest.raises(AttributeError):
            wrong()


def test_attributes_replace_and_remove_parts() -> None:
    net = Net()
    net.first = nn.Identity()
    net.scale = None
    assert net.scale is None
    assert [name for name, _ in net.named_parameters()] == ["rest.1.weight", "again.weight", "again.bias"]
    net.plain = 3
    net.plain = nn.Parameter(rustorch.ones(1))
    assert "plain" not in net.__dict__
    assert dict(net.named_parameters())["plain"] is net.plain
    del net.plain
    with pytest.raises(AttributeError, match="'Net' object has no attribute 'plain'"):
        net.plain
    assert "rest" in dir(net)


@pytest.mark.parametrize(
    ("act", "error", "words"),
    [
        (lambda net: setattr(net, "scale", rustorch.ones(2)), TypeError, "cannot assign 'Tensor' as parameter 'scale'"),
        (lambda net: setattr(net, "rest", 3), TypeError, "cannot assign 'int' as child module 'rest'"),
        (lambda net: setattr(net, "seen", 3), TypeError, "cannot assign 'int' as buffer 'seen'"),
        (lambda net: net.register_parameter("a.b", None), KeyError, r"parameter name can.*t contain"),
        (lambda net: net.register_parameter("", None), KeyError, r"parameter name can.*t be empty"),
        (lambda net: net.register_buffer("forward", None), KeyError, "attribute 'forward' already exists"),
        (lambda net: net.register_parameter("w", rustorch.ones(1)), TypeError, "cannot assign 'Tensor' object to parameter 'w'"),
        (lambda net: net.add_module("m", 3), TypeError, "int is not a Module subclass"),
        (lambda net: net.train("yes"), ValueError, "training mode is expected to be boolean"),
        (lambda net: nn.Module()(1), NotImplementedError, "is missing the required \"forward\" function"),
    ],
)
def test_refusals(act: Callable[[Any], Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        act(Net())


def test_parts_before_init_are_refused() -> None:
    class Early(nn.Module):
        def __init__(self) -> None:
            self.layer = nn.Linear(1, 1)

    with pytest.raises(AttributeError, match=r"before Early.__init__\(\) has called Module.__init__\(\)"):
        Early()


def test_train_eval_apply_and_gradients() -> None:
    net = Net()
    assert net.eval() is net
    assert not any(m.training for m in net.modules())
    net.train()
    assert all(m.training for m in net.modules())
    seen: list[str] = []
    net.apply(lambda m: seen.append(type(m).__name__))
    assert seen == ["Linear", "ReLU", "Linear", "Sequential", "Net"]
    net(rustorch.ones(1, 3)).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    net.zero_grad(set_to_none=False)
    assert all((p.grad.numpy() == 0).all() for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())
    net.requires_grad_(False)
    assert not net(rustorch.ones(1, 3)).requires_grad


def test_state_goes_from_one_module_to_another() -> None:
    one, other = Net(), Net()
    state = one.state_dict()
    assert list(state) == ["scale", "seen", "first.weight", "first.bias", "rest.1.weight", "again.weight", "again.bias"]
    assert not any(x.requires_grad for x in state.values())
    assert one.state_dict(keep_vars=True)["scale"] is one.scale
    weight = other.first.weight
    assert repr(other.load_state_dict(state)) == "<All keys matched successfully>"
    assert other.first.weight is weight
    assert weight.requires_grad and weight.is_leaf
    x = rustorch.randn(2, 3)
    assert one(x).tolist() == other(x).tolist()
    arrays = {name: np.array(value) for name, value in state.items()}
    assert not other.load_state_dict(arrays).missing_keys


def test_state_that_does_not_fit() -> None:
    net = Net()
    state = net.state_dict()
    del state["scale"]
    state["more"] = rustorch.ones(1)
    state["first.bias"] = rustorch.ones(7)
    with pytest.raises(RuntimeError) as caught:
        net.load_state_dict(state)
    text = str(caught.value)
    assert text.startswith("Error(s) in loading state_dict for Net:\n\tMissing key(s) in state_dict: \"scale\". ")
    assert 'Unexpected key(s) in state_dict: "more". ' in text
    assert "size mismatch for first.bias: copying a param with shape" in text
    state["first.bias"] = net.first.bias
    found = net.load_state_dict(state, strict=False)
    assert found.missing_keys == ["scale"]
    assert found.unexpected_keys == ["more"]


def test_assigned_state_keeps_its_element_type() -> None:
    layer = nn.Linear(2, 1)
    state = {name: x.double() for name, x in layer.state_dict().items()}
    layer.load_state_dict(state, assign=True)
    assert layer.weight.dtype is rustorch.float64
    assert isinstance(layer.weight, nn.Parameter)


def test_element_types() -> None:
    net = Net()
    weight = net.first.weight
    assert net.double() is net
    assert net.first.weight is weight
    assert all(p.dtype is rustorch.float64 and p.is_leaf and p.requires_grad for p in net.parameters())
    assert net.seen.dtype is rustorch.float64
    net(rustorch.ones(1, 3, dtype=rustorch.float64)).sum().backward()
    net.to(rustorch.float32)
    assert weight.grad.dtype is rustorch.float32
    counting = nn.BatchNorm1d(2).double()
    assert counting.num_batches_tracked.dtype is rustorch.int64


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))], ids=["deepcopy", "pickle"])
def test_copies(copied: Callable[[Any], Any]) -> None:
    net = Net().eval()
    twin = copied(net)
    assert twin.again is twin.first
    assert isinstance(twin.scale, nn.Parameter)
    assert not twin.training
    assert all(p is not q and p.tolist() == q.tolist() for p, q in zip(net.parameters(), twin.parameters(), strict=True))
    with rustorch.no_grad():
        twin.scale.fill_(5.0)
    assert net.scale.tolist() == [1.0, 1.0]


def test_repr() -> None:
    assert repr(nn.Sequential(nn.Linear(3, 2), nn.Sequential(nn.ReLU(), nn.Dropout(0.1)))) == (
        "Sequential(\n"
        "  (0): Linear(in_features=3, out_features=2, bias=True)\n"
        "  (1): Sequential(\n"
        "    (0): ReLU()\n"
        "    (1): Dropout(p=0.1, inplace=False)\n"
        "  )\n"
        ")"
    )
    assert repr(nn.Parameter(rustorch.ones(1))) == "Parameter containing:\ntensor([1.], requires_grad=True)"


# --- Hooks ------------------------------------------------------------------------------------------------------------


def test_forward_hooks() -> None:
    layer, order = nn.Identity(), list[str]()
    handles = [
        layer.register_forward_pre_hook(lambda m, args: order.append("pre") or (args[0] + 1,)),
        layer.register_forward_hook(lambda m, args, out: order.append("post") or out * 2),
        layer.register_forward_hook(lambda m, args, out: order.append("first"), prepend=True),
        layer.register_forward_hook(lambda m, args, kwargs, out: order.append(str(kwargs)), with_kwargs=True),
    ]
    assert layer(rustorch.tensor([1.0])).tolist() == [4.0]
    assert order == ["pre", "first", "post", "{}"]
    for handle in handles:
        handle.remove()
        handle.remove()
    assert layer(rustorch.tensor([1.0])).tolist() == [1.0]


def test_a_hook_that_is_always_called() -> None:
    class Fails(nn.Module):
        def forward(self, x: Any) -> Any:
            raise RuntimeError("no")

    layer, seen = Fails(), list[Any]()
    layer.register_forward_hook(lambda m, args, out: seen.append(out), always_call=True)
    with pytest.raises(RuntimeError, match="no"):
        layer(1)
    assert seen == [None]


@pytest.mark.parametrize("kind", ["register_full_backward_hook", "register_backward_hook"])
def test_backward_hooks(kind: str) -> None:
    layer = nn.Linear(2, 1, bias=False)
    seen: list[Any] = []
    x = rustorch.tensor([[3.0, 4.0]], requires_grad=True)

    def hook(module: Any, grad_input: Any, grad_output: Any) -> Any:
        seen.append((module, [g.tolist() for g in grad_input], [g.tolist() for g in grad_output]))
        return (grad_input[0] * 10,)

    with getattr(layer, kind)(hook):
        (layer(x) * 2).sum().backward()
    weight = layer.weight.tolist()
    assert seen == [(layer, [[[2 * w for w in weight[0]]]], [[[2.0]]])]
    np.testing.assert_allclose(x.grad.numpy(), 20 * layer.weight.detach().numpy(), rtol=1e-6)
    np.testing.assert_allclose(layer.weight.grad.numpy(), [[6.0, 8.0]])
    layer(x).sum().backward()
    assert len(seen) == 1


def test_the_gradient_of_an_input_is_that_through_the_module() -> None:
    layer, seen = nn.Tanh(), list[Any]()
    layer.register_full_backward_hook(lambda m, gi, go: seen.append(gi[0].item()))
    x = rustorch.tensor(0.0, requires_grad=True)
    (layer(x) + 5 * x).backward()
    assert seen == [1.0]
    assert x.grad.item() == 6.0


def test_backward_hooks_where_no_input_wants_a_gradient() -> None:
    layer, seen = nn.Linear(2, 1), list[Any]()
    layer.register_full_backward_pre_hook(lambda m, go: (go[0] * 3,))
    layer.register_full_backward_hook(lambda m, gi, go: seen.append((gi, go[0].tolist())))
    with pytest.warns(UserWarning, match="no inputs require gradients"):
        layer(rustorch.ones(1, 2)).sum().backward()
    assert seen == [((None,), [[3.0]])]
    assert layer.weight.grad.tolist() == [[3.0, 3.0]]
    with pytest.raises(RuntimeError, match="Cannot use both regular backward hooks and full backward hooks"):
        layer.register_backward_hook(lambda m, gi, go: None)


# --- jit --------------------------------------------------------------------------------------------------------------


def test_jit_of_a_module_follows_its_changes() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Dropout(1.0))
    run = rustorch.jit(net)
    x = rustorch.ones(2, 3)
    for _ in range(3):
        assert run(x).tolist() == [[0.0] * 3] * 2
    net.eval()
    for _ in range(3):
        np.testing.assert_allclose(run(x).detach().numpy(), net(x).detach().numpy(), rtol=1e-6)
    with rustorch.no_grad():
        net[0].weight.fill_(0.0)
        net[0].bias.fill_(2.0)
    assert run(x).tolist() == [[2.0] * 3] * 2
    net[0].weight = nn.Parameter(rustorch.ones(3, 3))
    assert run(x).tolist() == [[5.0] * 3] * 2
    handle = net[0].register_forward_hook(lambda m, args, out: out + 1)
    assert run(x).tolist() == [[6.0] * 3] * 2
    handle.remove()
    assert run(x).tolist() == [[5.0] * 3] * 2
    net.train()
    assert run(x).tolist() == [[0.0] * 3] * 2


def test_containers() -> None:
    a, b, c = nn.ReLU(), nn.Tanh(), nn.Sigmoid()
    row = nn.Sequential(OrderedDict(one=a, two=b))
    assert row.one is a
    assert row[-1] is b
    assert [type(m) for m in row[:1]] == [nn.ReLU]
    row[1] = c
    assert list(row) == [a, c]
    row = nn.Sequential(a).append(b).extend([c])
    row.insert(1, nn.Identity())
    assert [name for name, _ in row.named_children()] == ["0", "1", "2", "3"]
    del row[1]
    assert list(row) == [a, b, c]
    assert len(row + nn.Sequential(a)) == 4
    with pytest.raises(IndexError, match="index 5 is out of range"):
        row[5]

    listed = nn.ModuleList([a, b])
    listed += [c]
    assert listed.pop(0) is a
    assert list(listed) == [b, c]
    assert isinstance(listed[:1], nn.ModuleList)
    assert len(list(nn.ModuleList([nn.Linear(1, 1), nn.Linear(1, 1)]).parameters())) == 4

    named = nn.ModuleDict({"a": a})
    named["b"] = b
    assert list(named) == ["a", "b"]
    assert named.pop("a") is a
    assert "a" not in named and len(named) == 1

    weights = nn.ParameterList([rustorch.ones(2), nn.Parameter(rustorch.zeros(3))])
    assert [p.shape for p in weights.parameters()] == [(2,), (3,)]
    weights[0] = rustorch.ones(5)
    assert weights[0].shape == (5,)
