"""Lines 102 to 108 of the checklist: what holds of `jit` in particular."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest

import rustorch
from rustorch import nn, optim
from rustorch.compiler import statistics
from rustorch.errors import SideEffectWarning, TraceError, Unsupported
from rustorch.functional import softmax
from tests.frontend.door import Door

BATCHES = [8, 3, 17, 64, 5, 31, 2, 100, 9, 12, 33, 6, 7, 48, 20, 11, 129, 4, 15, 250]


def rows(count: int, width: int = 6, dtype: Any = np.float32) -> np.ndarray[Any, Any]:
    """Random rows, the same for the same count."""
    return np.random.default_rng(count).standard_normal((count, width)).astype(dtype)


W = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)


# --- 105: one program for all sizes -----------------------------------------------------------------------------------


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "elementwise": lambda x: rustorch.sin(x) * x + 1.0,
    "sum of everything": lambda x: (x * x).sum(),
    "sum of columns": lambda x: x.sum(0),
    "sum of rows": lambda x: x.sum(dim=1),
    "mean": lambda x: x.mean(0) + x.mean(),
    "extremes": lambda x: (x.amax(0), x.amin(1)),
    "softmax of rows": lambda x: softmax(x, 1),
    "softmax of columns": lambda x: softmax(x, 0),
    "product": lambda x: x @ W,
    "product of transposes": lambda x: x.T @ x,
    "centred": lambda x: x - x.mean(dim=0, keepdim=True),
    "shape": lambda x: x.reshape(x.shape[0] * 2, 3).reshape(x.shape),
    "size as a number": lambda x: x.sum(0) / x.shape[0] + x.size(0),
    "minus one": lambda x: x.reshape(-1),
    "neighbours": lambda x: x[1:] - x[:-1],
    "last row": lambda x: x[-1] * 2.0,
    "part": lambda x: x[:2] + x[-2:],
    "joined": lambda x: rustorch.cat([x, x * 2.0], 0),
    "made": lambda x: rustorch.zeros(x.shape[0], 6) + x,
    "chosen": lambda x: rustorch.where(x > 0, x, 0.0).sum(1),
    "value and gradient": rustorch.value_and_grad(lambda x: (softmax(x @ W, 1) ** 2).sum()),
    "second order": rustorch.grad(lambda x: (rustorch.grad(lambda y: (y**3).sum())(x) ** 2).sum()),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_c12_105_two_programs_serve_twenty_sizes(name: str) -> None:
    """The first is for known sizes, the second for all; each result is that of a program of its own."""
    function = FUNCTIONS[name]
    f = rustorch.jit(function)
    before = statistics.compiles
    found = [[f(rows(n)) for _ in range(3)][-1] for n in BATCHES]
    assert statistics.compiles - before <= 3
    assert f.cache_info().promoted >= 1
    for n, got in zip(BATCHES, found, strict=True):
        want = rustorch.jit(function)(rows(n))
        for x, y in zip(got if isinstance(got, tuple) else [got], want if isinstance(want, tuple) else [want], strict=True):
            assert (x.shape, x.dtype, x.requires_grad) == (y.shape, y.dtype, y.requires_grad)
            np.testing.assert_allclose(x.numpy(), y.numpy(), rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("name", ["elementwise", "sum of everything", "sum of rows", "softmax of rows", "chosen", "neighbours"])
def test_c12_105_the_bits_are_those_of_known_sizes(name: str) -> None:
    f = rustorch.jit(FUNCTIONS[name])
    for n in BATCHES:
        np.testing.assert_array_equal(f(rows(n)).numpy(), rustorch.jit(FUNCTIONS[name])(rows(n)).numpy())


@pytest.mark.filterwarnings("ignore:.*a new program was compiled")  # the plain loop has one for each size
def test_c12_105_a_training_step() -> None:
    """Of a network, with an optimiser whose state it changes: as many programs as for one batch size, and one more."""

    def trained(step: Callable[..., Any], model: Any) -> list[Any]:
        losses = [step(rows(n), rows(n, 1)).item() for n in BATCHES]
        return [losses, *[p.detach().numpy().copy() for p in model.parameters()]]

    def fresh(jit: bool) -> tuple[Callable[..., Any], Any]:
        rustorch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))
        optimiser = optim.Adam(model.parameters(), lr=0.01)

        def step(x: Any, y: Any) -> Any:
            x, y = rustorch.as_tensor(x), rustorch.as_tensor(y)
            optimiser.zero_grad()
            loss = ((model(x) - y) ** 2).mean()
            loss.backward()
            optimiser.step()
            return loss

        return (rustorch.jit(step) if jit else step), model

    step, model = fresh(True)
    before = statistics.compiles
    got = trained(step, model)
    assert statistics.compiles - before <= 4  # the first step makes the optimiser's state
    assert step.cache_info().promoted == 1  # type: ignore[attr-defined]
    for x, y in zip(got, trained(*fresh(False)), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)


def test_c12_105_equal_sizes_have_one_symbol_and_a_guard() -> None:
    f = rustorch.jit(lambda x, y: x * y)
    for n in (4, 7, 9):
        assert f(rows(n), rows(n)).shape == (n, 6)
    assert f.cache_info().promoted == 1
    for _ in range(3):  # through the native entry, too
        with pytest.raises(RuntimeError, match="must match the size"):
            f(rows(5), rows(6))
        np.testing.assert_array_equal(f(rows(5), rows(1)).numpy(), rows(5) * rows(1))
        np.testing.assert_array_equal(f(rows(8), rows(8)).numpy(), rows(8) * rows(8))


def test_c12_105_sizes_that_part_ways() -> None:
    """Sizes that were equal by chance get names of their own as soon as they differ."""
    f = rustorch.jit(lambda x: x.sum(1))
    for shape in ((3, 3), (5, 5), (4, 7), (9, 2), (6, 6), (8, 5)):
        assert f(np.ones(shape, np.float32)).tolist() == [shape[1]] * shape[0]
    assert f.cache_info()[1:] == (3, 3, 2)


def test_c12_105_zero_and_one_have_programs_of_their_own() -> None:
    f = rustorch.jit(lambda x, y: (x + y).sum())
    for n in (3, 8, 1, 0, 1, 12):
        x, y = np.ones((n, 2), np.float32), np.ones((1 if n < 2 else n, 2), np.float32)
        assert f(x, y).item() == 4.0 * n
    assert f.cache_info().promoted == 1
    assert f.cache_info().currsize == 4


DECIDING: dict[str, Callable[[Any], Any]] = {
    "if": lambda x: x * 2.0 if x.shape[0] > 10 else x * 3.0,
    "equality": lambda x: x * 2.0 if x.shape[0] == 17 else x * 3.0,
    "len": lambda x: x * float(len(x)),
    "range": lambda x: sum((x[k] for k in range(x.shape[0])), rustorch.zeros(6)),
    "numpy": lambda x: x + np.ones((x.shape[0], 1), np.float32),
    "parity": lambda x: x * 2.0 if x.shape[0] % 2 else x,
    "dict": lambda x: x * {8: 2.0, 3: 1.0}.get(x.shape[0], 5.0),
    "clamped": lambda x: x[:10] * 2.0,
}


@pytest.mark.parametrize("name", DECIDING)
def test_c12_105_what_sizes_decide_is_decided_for_each(name: str) -> None:
    function = DECIDING[name]
    f = rustorch.jit(function)
    for n in BATCHES:
        for _ in range(2):
            np.testing.assert_allclose(f(rows(n)).numpy(), function(rustorch.tensor(rows(n))).numpy(), rtol=1e-5, atol=1e-6)


def test_c12_105_a_shape_that_no_case_fits() -> None:
    """Decided sizes: programs are made one by one, and the journal says why."""
    f = rustorch.jit(DECIDING["if"])
    for n in (4, 20, 6):
        f(rows(n))
    assert f.cache_info() == (0, 3, 3, 0)
    assert "is compiled for every size of its arguments: a size that is not known yet was used (n0 >= 11)" in str(rustorch.explain())


def test_c12_105_explain_names_the_symbols() -> None:
    def scaled(x: Any) -> Any:
        return x * 2.0

    f = rustorch.jit(scaled)
    f(rows(4))
    f(rows(5))
    assert "traced scaled for all sizes n0: sizes of its arguments have changed" in str(rustorch.explain())


def test_c12_105_conditions_reach_the_native_entry() -> None:
    """`x[:4]` of three rows has three rows: the program for all sizes does not hold there."""
    f = rustorch.jit(lambda x: x[:4] * 1.0)
    for n in (8, 9, 10, 10, 10, 3, 3, 4, 10, 2):
        assert f(rows(n)).shape == (min(n, 4), 6)


def test_c12_105_gradients_that_flow_out() -> None:
    """Outside of `jit` somebody differentiates: then each size has its program."""
    f = rustorch.jit(lambda x: (x * x).sum())
    for n in (4, 7, 9):
        x = rustorch.tensor(rows(n), requires_grad=True)
        f(x).backward()
        np.testing.assert_allclose(x.grad.numpy(), 2 * rows(n), rtol=1e-6)


def test_c12_105_random_numbers() -> None:
    def noisy(x: Any) -> Any:
        return x + rustorch.rand(x.shape[0], 6)

    f = rustorch.jit(noisy)
    for n in (4, 7, 9):
        rustorch.manual_seed(n)
        got = f(rows(n))
        rustorch.manual_seed(n)
        np.testing.assert_array_equal(got.numpy(), noisy(rustorch.tensor(rows(n))).numpy())


# --- 102: the same as recorded ----------------------------------------------------------------------------------------


def test_c12_102_values_gradients_hooks_and_random_numbers(door: Door) -> None:
    """Order of hooks, gradients and the stream of random numbers are the same through both doors."""
    calls: list[str] = []

    def program(x: Any) -> Any:
        y = x * 2.0
        y.register_hook(lambda g: calls.append("y"))
        z = (y * rustorch.rand(3)).sum()
        z.register_hook(lambda g: calls.append("z"))
        z.backward()
        return z, x.grad

    rustorch.manual_seed(5)
    x = rustorch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    z, gradient = door(program, x)
    rustorch.manual_seed(5)
    drawn = rustorch.rand(3).numpy()
    np.testing.assert_allclose(gradient.numpy(), 2 * drawn, rtol=1e-6)
    np.testing.assert_allclose(z.item(), (np.array([2.0, 4.0, 6.0]) * drawn).sum(), rtol=1e-6)
    assert calls == ["z", "y"]


def test_c12_102_errors_are_the_same(door: Door) -> None:
    with pytest.raises(RuntimeError, match=r"mat1 and mat2 shapes cannot be multiplied \(2x3 and 2x3\)"):
        door(lambda x: x @ x, rustorch.ones(2, 3))
    with pytest.raises(ValueError, match="boom"):
        door(_raises, rustorch.ones(2))
    assert door(lambda x: x + 1.0, rustorch.ones(2)).tolist() == [2.0, 2.0]  # the door still works


def _raises(x: Any) -> Any:
    raise ValueError("boom")


# --- 103: side effects on Python state --------------------------------------------------------------------------------


def test_c12_103_tensors_kept_outside_are_told() -> None:
    kept: list[Any] = []

    @rustorch.jit
    def f(x: Any) -> Any:
        kept.append(x * 2.0)
        return x + 1.0

    f(np.ones(2, np.float32))
    assert kept[0].tolist() == [2.0, 2.0]
    f(np.full(2, 3.0, np.float32))
    with pytest.warns(SideEffectWarning, match=r"f keeps 1 tensor outside, so every call traces it anew"):
        f(np.full(2, 4.0, np.float32))
    assert [k.tolist() for k in kept] == [[2.0, 2.0], [6.0, 6.0], [8.0, 8.0]]


@pytest.mark.parametrize("write", ["nonlocal", "global", "attribute", "container"])
def test_c12_103_captured_state_that_changes_is_warned_of(write: str) -> None:
    """What a trace changes outside changes once, and not in later calls: the user is told, by name."""
    count = 0
    state: dict[str, int] = {}

    class Owner:
        calls = 0

    owner = Owner()

    def changed_nonlocal(x: Any) -> Any:
        nonlocal count
        count += 1
        return x * 2.0

    def changed_global(x: Any) -> Any:
        global _CALLS
        _CALLS += 1
        return x * 2.0

    def changed_attribute(x: Any) -> Any:
        owner.calls += 1
        return x * 2.0

    def changed_container(x: Any) -> Any:
        state["calls"] = state.get("calls", 0) + 1
        return x * 2.0

    function, name = {
        "nonlocal": (changed_nonlocal, "count"),
        "global": (changed_global, "_CALLS"),
        "attribute": (changed_attribute, "owner"),
        "container": (changed_container, "state"),
    }[write]
    f = rustorch.jit(function)
    with pytest.warns(SideEffectWarning, match=rf"changed {name} outside while it was traced"):
        f(np.ones(2, np.float32))
    for _ in range(3):
        assert f(np.ones(2, np.float32)).tolist() == [2.0, 2.0]


_CALLS = 0


def test_c12_103_a_pure_function_is_quiet() -> None:
    scale = [2.0]
    f = rustorch.jit(lambda x: x * scale[0])
    assert f(np.ones(2, np.float32)).tolist() == [2.0, 2.0]  # warnings are errors here


# --- 104: arguments ---------------------------------------------------------------------------------------------------


def test_c12_104_keywords_and_defaults() -> None:
    traces = []

    @rustorch.jit
    def f(x: Any, scale: float = 2.0, *, shift: Any = None, name: str = "a") -> Any:
        traces.append(name)
        return x * scale if shift is None else x * scale + shift

    x = np.ones(2, np.float32)
    for _ in range(3):
        assert f(x).tolist() == [2.0, 2.0]
        assert f(x, 3.0).tolist() == f(x, scale=3.0).tolist() == [3.0, 3.0]
        assert f(x, shift=x).tolist() == f(shift=x, x=x).tolist() == [3.0, 3.0]
        assert f(x, name="b").tolist() == [2.0, 2.0]
        assert f(x, shift=None).tolist() == [2.0, 2.0]
    assert len(traces) == 7  # one for each way to say it, and no more in later calls
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        f(x, other=1)
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        f()


class Pair(NamedTuple):
    first: Any
    second: Any


@dataclass
class Box:
    value: Any
    label: str = "box"


def test_c12_104_containers_in_and_out() -> None:
    @rustorch.jit
    def f(tree: Any) -> Any:
        return {"sum": tree["a"] + tree["b"][0], "none": None, "pair": Pair(tree["b"][1], (tree["box"].value,)), "empty": ()}

    tree = {"a": np.ones(2, np.float32), "b": [np.full(2, 2.0, np.float32), 3.0], "box": Box(np.zeros(2, np.float32))}
    for _ in range(3):
        found = f(tree)
        assert list(found) == ["sum", "none", "pair", "empty"]
        assert found["sum"].tolist() == [3.0, 3.0]
        assert (found["none"], found["empty"]) == (None, ())
        assert isinstance(found["pair"], Pair) and found["pair"].first.item() == 3.0
        assert found["pair"].second[0].tolist() == [0.0, 0.0]
    assert f.cache_info().misses == 1
    assert f(dict(reversed(tree.items())))["sum"].tolist() == [3.0, 3.0]
    assert f.cache_info().misses == 2  # another order of keys is another structure


def test_c12_104_static_arguments() -> None:
    f = rustorch.jit(lambda x, n, mode: x * float(n) if mode == "scale" else x + float(n), static_argnums=1)
    x = np.ones(2, np.float32)
    for _ in range(2):
        assert f(x, 3, "scale").tolist() == [3.0, 3.0]
        assert f(x, 4, "shift").tolist() == [5.0, 5.0]
    assert f.cache_info().misses == 2
    g = rustorch.jit(lambda x, n=2: x.reshape(n, -1), static_argnames="n")
    assert (g(np.ones(6, np.float32)).shape, g(np.ones(6, np.float32), n=3).shape) == ((2, 3), (3, 2))
    h = rustorch.jit(lambda x, spec: x * spec["factor"], static_argnums=1)
    with pytest.raises(TypeError, match="unhashable"):
        h(x, {"factor": [2.0]})


def test_c12_104_none_is_structure() -> None:
    f = rustorch.jit(lambda x, bias: x * 2.0 if bias is None else x * 2.0 + bias)
    x = np.ones(2, np.float32)
    for _ in range(3):
        assert f(x, None).tolist() == [2.0, 2.0]
        assert f(x, x).tolist() == [3.0, 3.0]
    assert f.cache_info().misses == 2


# --- 106: leaked tracers ----------------------------------------------------------------------------------------------


def test_c12_106_a_tensor_of_a_trace_that_failed_is_refused() -> None:
    kept: list[Any] = []

    def f(x: Any) -> Any:
        kept.append(x * 2.0)
        raise KeyError("over")

    with pytest.raises(KeyError):
        rustorch.jit(f)(np.ones(2, np.float32))
    inside = lambda t: rustorch.jit(lambda x: x + t)(np.ones(2, np.float32))  # noqa: E731
    for use in (lambda t: t + 1.0, lambda t: t.numpy(), lambda t: t.sum().item(), print, inside):
        with pytest.raises(TraceError, match="used after the function had ended"):
            use(kept[0])


def test_c12_106_an_argument_s_tracer_outside() -> None:
    kept: list[Any] = []

    @rustorch.jit
    def f(x: Any) -> Any:
        kept.append(x)
        return x * 2.0

    with pytest.warns(SideEffectWarning, match="changed kept outside"):
        f(np.ones(2, np.float32))
    with pytest.raises(TraceError, match="used after the function had ended"):
        kept[0].tolist()


# --- 107: methods, Modules, Functions, closures -------------------------------------------------------------------------


def test_c12_107_parameters_are_inputs(door: Door) -> None:
    """A change of a parameter is seen by the next call, which is no new program."""
    model = nn.Linear(3, 2)
    f = rustorch.jit(lambda x: model(x))
    x = rustorch.tensor(rows(4, 3))
    with rustorch.no_grad():
        before = f(x)
        f(x)
        model.weight.mul_(2.0)
        model.bias.zero_()
        after = f(x)
        np.testing.assert_allclose(after.numpy(), rows(4, 3) @ model.weight.detach().numpy().T, rtol=1e-5)
        model.weight.data = rustorch.zeros(2, 3)
        assert f(x).abs().sum().item() == 0.0
    assert not np.allclose(before.numpy(), after.numpy())
    assert f.cache_info().misses == 1


def test_c12_107_train_and_eval_are_part_of_the_guard() -> None:
    model = nn.Sequential(nn.Linear(3, 64), nn.Dropout(0.5))
    f = rustorch.jit(model)
    x = rustorch.tensor(rows(4, 3))
    with rustorch.no_grad():
        for _ in range(3):
            model.train()
            assert (f(x) == 0.0).any().item()
            model.eval()
            assert not (f(x) == 0.0).any().item()
    assert f.cache_info().misses == 2


def test_c12_107_requires_grad_is_part_of_the_guard() -> None:
    model = nn.Linear(3, 1)
    f = rustorch.jit(lambda x: model(x).sum())
    x = rustorch.tensor(rows(4, 3))
    for wanted in (True, False, True):
        for p in model.parameters():
            p.requires_grad_(wanted)
        assert f(x).requires_grad is wanted
    model.zero_grad()
    f(x).backward()
    np.testing.assert_allclose(model.weight.grad.numpy(), rows(4, 3).sum(0, keepdims=True), rtol=1e-5)


class Scaled:
    """A class with a jitted method."""

    def __init__(self, scale: float) -> None:
        self.scale = rustorch.tensor(scale)
        self.power = 2

    @rustorch.jit
    def apply(self, x: Any) -> Any:
        return x**self.power * self.scale


def test_c12_107_methods() -> None:
    a, b = Scaled(2.0), Scaled(3.0)
    x = np.full(2, 2.0, np.float32)
    for _ in range(3):
        assert (a.apply(x).tolist(), b.apply(x).tolist()) == ([8.0, 8.0], [12.0, 12.0])
    a.scale = rustorch.tensor(5.0)
    assert a.apply(x).tolist() == [20.0, 20.0]
    a.power = 3
    assert a.apply(x).tolist() == [40.0, 40.0]


def test_c12_107_functions(door: Door) -> None:
    class Double(rustorch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            (x,) = ctx.saved_tensors
            return g * x * 7.0

    x = rustorch.tensor([1.0, 2.0], requires_grad=True)
    gradient = door(lambda x: rustorch.autograd.grad(Double.apply(x).sum(), x)[0], x)
    assert gradient.tolist() == [7.0, 14.0]


def test_c12_107_modules_as_arguments() -> None:
    """A module is a container: its parameters and buffers are inputs, everything else is structure."""
    f = rustorch.jit(lambda model, x: model(x).sum())
    x = rows(4, 3)
    first, second = nn.Linear(3, 2), nn.Linear(3, 2)
    with rustorch.no_grad():
        for _ in range(3):
            for model in (first, second):
                np.testing.assert_allclose(f(model, x).item(), model(rustorch.tensor(x)).sum().item(), rtol=1e-5)
    assert f.cache_info().misses <= 2


def test_c12_107_closures() -> None:
    w = rustorch.tensor([2.0, 3.0], requires_grad=True)
    f = rustorch.jit(lambda x: (x * w).sum())
    x = rustorch.tensor([1.0, 1.0])
    for _ in range(3):
        w.grad = None
        f(x).backward()
        assert w.grad is not None and w.grad.tolist() == [1.0, 1.0]
    with rustorch.no_grad():
        w.copy_(rustorch.tensor([5.0, 5.0]))
    assert f(x).item() == 10.0
    assert f.cache_info().misses == 1


# --- 108: nesting ------------------------------------------------------------------------------------------------------


NESTINGS: dict[str, Callable[[Any], Any]] = {
    "jit(grad(jit))": lambda f: rustorch.jit(rustorch.grad(rustorch.jit(f))),
    "grad(jit)": lambda f: rustorch.grad(rustorch.jit(f)),
    "jit(grad)": lambda f: rustorch.jit(rustorch.grad(f)),
    "jit(jit(grad))": lambda f: rustorch.jit(rustorch.jit(rustorch.grad(f))),
    "jit(vmap(grad)) of rows": lambda f: lambda x: rustorch.jit(rustorch.func.vmap(rustorch.grad(f)))(rustorch.stack([x, x * 2.0]))[0],
    "vmap(jit(grad))": lambda f: lambda x: rustorch.func.vmap(rustorch.jit(rustorch.grad(f)))(rustorch.stack([x, x * 2.0]))[0],
    "vmap(grad(jit))": lambda f: lambda x: rustorch.func.vmap(rustorch.grad(rustorch.jit(f)))(rustorch.stack([x, x * 2.0]))[0],
    "jit(vjp)": lambda f: rustorch.jit(lambda x: rustorch.func.vjp(f, x)[1](rustorch.tensor(1.0))[0]),
}


@pytest.mark.parametrize("name", NESTINGS)
def test_c12_108_first_order(name: str) -> None:
    x = rustorch.tensor([0.5, 1.5, -2.0])
    g = NESTINGS[name](lambda x: (rustorch.sin(x) * x).sum())
    want = np.cos(x.numpy()) * x.numpy() + np.sin(x.numpy())
    for _ in range(3):
        found = g(x)
        found = found[0] if isinstance(found, tuple) else found
        np.testing.assert_allclose(found.numpy(), want, rtol=1e-5)


@pytest.mark.parametrize(
    "make",
    [
        lambda f: rustorch.jit(rustorch.grad(rustorch.jit(rustorch.grad(f)))),
        lambda f: rustorch.grad(rustorch.jit(rustorch.grad(rustorch.jit(f)))),
        lambda f: rustorch.jit(rustorch.grad(rustorch.grad(f))),
    ],
)
def test_c12_108_second_order(make: Callable[[Any], Any]) -> None:
    x = rustorch.tensor(0.7)
    for _ in range(3):
        np.testing.assert_allclose(make(lambda x: rustorch.sin(x) * x)(x).item(), 2 * np.cos(0.7) - 0.7 * np.sin(0.7), rtol=1e-5)


def test_c12_108_vmap_in_and_around() -> None:
    x = rustorch.tensor(rows(4, 3))
    row = lambda r: (r * r).sum() + r[0]  # noqa: E731
    want = (rows(4, 3) ** 2).sum(1) + rows(4, 3)[:, 0]
    jit, vmap = rustorch.jit, rustorch.func.vmap
    for f in (jit(vmap(row)), vmap(jit(row)), jit(vmap(jit(row)))):
        for _ in range(3):
            np.testing.assert_allclose(f(x).numpy(), want, rtol=1e-5)


# --- donate ------------------------------------------------------------------------------------------------------------


def test_donate_is_refused_where_it_cannot_be_kept() -> None:
    with pytest.raises(Unsupported, match="donate"):
        rustorch.jit(lambda x: x + 1.0, donate=0)


def test_c12_105_random_numbers_of_a_second_size() -> None:
    dropped = rustorch.jit(lambda x: rustorch.functional.dropout(x, 0.5))
    for count in (16, 5, 7, 16):
        rustorch.manual_seed(3)
        expected = rustorch.functional.dropout(rustorch.ones(count), 0.5).numpy()
        rustorch.manual_seed(3)
        assert (dropped(rustorch.ones(count)).numpy() == expected).all()


@pytest.mark.parametrize("number", [np.float64(3), np.float32(3), np.int64(3), np.bool_(True)])
def test_c12_104_numbers_of_numpy_are_arguments(number: Any) -> None:
    doubled = rustorch.jit(lambda x: {"double": x["x"] * 2})
    for _ in range(4):
        assert doubled({"x": number})["double"].item() == number * 2
