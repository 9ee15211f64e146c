"""Hooks, nodes, saved values and checkpoints against PyTorch: one program, run with both libraries, must tell the same story."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import pytest

import rustorch
from tests.differential.beside import Programs, leaf

pytestmark = pytest.mark.oracle

program = Programs()


def graph_of(lib: Any) -> Any:
    return importlib.import_module(f"{lib.__name__}.autograd.graph")


def plain(x: Any) -> Any:
    """What a program tells, as lists and numbers."""
    if isinstance(x, (list, tuple)):
        told = [plain(each) for each in x]
        return sorted(told[1], key=repr) if told[:1] == ["unordered"] else told
    return x.tolist() if hasattr(x, "tolist") else x


@program
def order_of_a_network(lib: Any) -> Any:
    log: list[Any] = []
    x, w, b, v = leaf(lib, 1.0, 2.0), leaf(lib, 0.5, -1.0), leaf(lib, 0.1, 0.2), leaf(lib, 2.0, 3.0)
    h = x * w
    k = h + b
    t = k.tanh()
    y = (t * v + k).sum()
    graph = graph_of(lib)
    for name, each in {"x": x, "w": w, "b": b, "v": v, "h": h, "k": k, "t": t, "y": y}.items():
        each.register_hook(lambda g, n=name: log.append((n, g)))
        node = graph.get_gradient_edge(each).node
        node.register_prehook(lambda go, n=name: log.append((n, "before", go)))
        node.register_hook(lambda gi, go, n=name: log.append((n, "after", gi, go)))
        if each.is_leaf:
            each.register_post_accumulate_grad_hook(lambda t, n=name: log.append((n, "added", t.grad.clone())))
    y.backward()
    return log


@program
def shared_leaves(lib: Any) -> Any:
    log: list[Any] = []
    x, w = leaf(lib, 1.0), leaf(lib, 2.0)
    a = x * w
    b = a * x
    c = b.exp() * w
    for name, each in {"x": x, "w": w, "a": a, "b": b, "c": c}.items():
        each.register_hook(lambda g, n=name: log.append((n, g)))
    c.sum().backward()
    return log


@program
def some_inputs(lib: Any) -> Any:
    log: list[Any] = []
    x, w = leaf(lib, 1.0), leaf(lib, 2.0)
    a = x * 3
    b = a * w
    for name, each in {"x": x, "w": w, "a": a, "b": b}.items():
        each.register_hook(lambda g, n=name: log.append((n, g)))
    log += [lib.autograd.grad(b.sum(), inputs, retain_graph=True) for inputs in ([x], [w], [a], [b], [x, w])]
    b.sum().backward(inputs=[w], retain_graph=True)
    b.sum().backward(inputs=[a, x])
    return log, x.grad, w.grad, a.grad, a.retains_grad


@program
def replaced_everywhere(lib: Any) -> Any:
    x, w = leaf(lib, 1.0, 2.0), leaf(lib, 3.0, 4.0)
    y = x * w
    z = y.sin()
    y.register_hook(lambda g: g * 2)
    z.register_hook(lambda g: g + 1)
    y.grad_fn.register_prehook(lambda go: (go[0] * 3,))
    y.grad_fn.register_hook(lambda gi, go: (gi[0] + 5, gi[1] * 7))
    z.grad_fn.register_hook(lambda gi, go: (gi[0].clamp(-0.5, 0.5),))
    x.register_hook(lambda g: g - 1)
    y.retain_grad()
    z.sum().backward()
    return x.grad, w.grad, y.grad


@program
def some_results_only(lib: Any) -> Any:
    log: list[Any] = []
    x = leaf(lib, 3.0, 1.0, 2.0)
    values, _ = x.sort()
    parts = values.split(1)
    for i, part in enumerate(parts):
        part.register_hook(lambda g, i=i: log.append((i, g)))
    (parts[0] * parts[2]).sum().backward()
    return ["unordered", [entry for entry in log if entry[1] is not None]], x.grad


@program
def many_tensors(lib: Any) -> Any:
    log: list[Any] = []
    a, b, c = leaf(lib, 1.0), leaf(lib, 2.0), leaf(lib, 3.0)
    h = a * b
    graph = graph_of(lib)
    handle = graph.register_multi_grad_hook([a, h, c], lambda gs: log.append(gs))
    first = graph.register_multi_grad_hook([c, h], lambda g: log.append(("any", g)), mode="any")
    (h * c).sum().backward(retain_graph=True)
    h.sum().backward(retain_graph=True)
    (c * 2).sum().backward()
    handle.remove()
    first.remove()
    h.sum().backward()
    return log, a.grad


@program
def names_and_edges(lib: Any) -> Any:
    x, w = leaf(lib, 1.0, 2.0), leaf(lib, 3.0, 4.0)
    y = ((x * w).exp() + x * 2.0).sum()
    seen = []
    waiting = [y.grad_fn]
    while waiting:
        node = waiting.pop(0)
        name = node.name().removeprefix("torch::autograd::")
        seen.append((name, [n for _, n in node.next_functions], [f is None for f, _ in node.next_functions]))
        waiting += [f for f, _ in node.next_functions if f is not None]
    return seen


@program
def packing(lib: Any) -> Any:
    log: list[Any] = []
    x, w = leaf(lib, 1.0, 2.0), leaf(lib, 3.0, 4.0)

    def pack(t: Any) -> Any:
        log.append(("pack", t.detach()))
        return t * 1 if len(log) > 1 else t

    def unpack(t: Any) -> Any:
        log.append(("unpack", t.detach()))
        return t * 2

    with graph_of(lib).saved_tensors_hooks(pack, unpack):
        y = (x.exp() * w).sum()
    y.backward()
    return ["unordered", log], x.grad, w.grad


@program
def modules(lib: Any) -> Any:
    log: list[Any] = []
    nn = importlib.import_module(f"{lib.__name__}.nn")

    class Two(nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, a: Any, b: Any, c: Any = None) -> Any:
            return a * 2 + b, b * 3

    class Net(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = Two(), Two()

        def forward(self, a: Any, b: Any) -> Any:
            p, q = self.one(a, b, 5)
            return self.two(p, q)[0]

    net = Net()
    for name, m in net.named_modules():
        m.register_forward_pre_hook(lambda m, a, n=name: log.append((n, "in", len(a))))
        m.register_forward_hook(lambda m, a, o, n=name: log.append((n, "out")))
        m.register_full_backward_pre_hook(lambda m, go, n=name: log.append((n, "back", go)))
        m.register_full_backward_hook(lambda m, gi, go, n=name: log.append((n, "done", gi, go)))
    net.one.register_full_backward_hook(lambda m, gi, go: (gi[0] * 10, gi[1] * 100, None))
    a, b = leaf(lib, 1.0), leaf(lib, 2.0)
    net(a, b).sum().backward()
    return log, a.grad, b.grad


@program
def checkpoints(lib: Any) -> Any:
    calls: list[int] = []
    checkpoint = importlib.import_module(f"{lib.__name__}.utils.checkpoint")
    x, w = leaf(lib, 1.0, 2.0), leaf(lib, 3.0, 4.0)

    def f(x: Any) -> Any:
        calls.append(1)
        return (x * w).sin() * x

    y = checkpoint.checkpoint(f, x, use_reentrant=False)
    z = checkpoint.checkpoint(f, y, use_reentrant=False)
    (g,) = lib.autograd.grad(z.sum(), x, retain_graph=True)
    first = len(calls)
    z.sum().backward()
    return g, first, len(calls), x.grad, w.grad


@program
def exceptions(lib: Any) -> Any:
    x = leaf(lib, 1.0)
    y = x * 2
    told = []
    for answer in (lambda g: 3, lambda g: (g,), lambda g: g.float(), lambda g: g.sum()):
        with y.register_hook(answer):
            try:
                (y * y).sum().backward()
            except Exception as error:
                told.append((type(error).__mro__[-3].__name__, str(error).split("(")[0].split("\n")[0].strip()))
    (y * y).sum().backward()
    return [words for _, words in told], x.grad


@pytest.mark.parametrize("name", program)
@pytest.mark.parametrize("compiled", [False, True], ids=["recorded", "jit"])
def test_the_same_story(name: str, compiled: bool) -> None:
    torch = importlib.import_module("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = plain(program[name](torch))
        found = plain(rustorch.jit(lambda: program[name](rustorch))() if compiled else program[name](rustorch))
    assert _close(found, expected), f"rustorch: {found}\nPyTorch:  {expected}"


def _close(x: Any, y: Any) -> bool:
    if isinstance(x, list) and isinstance(y, list):
        return len(x) == len(y) and all(map(_close, x, y))
    if isinstance(x, float) and isinstance(y, float):
        return x == pytest.approx(y, rel=1e-12, abs=1e-12)
    return bool(x == y)
