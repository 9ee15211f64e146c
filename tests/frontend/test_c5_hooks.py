"""C5 of the checklist, lines 44 to 57: hooks on tensors and on operations. Each program runs recorded and under `jit`."""

from __future__ import annotations

from typing import Any

import pytest

import rustorch
from rustorch import grad, no_grad, tensor
from rustorch.autograd import graph
from tests.frontend.door import Door, leaf


def test_c5_44_handles(door: Door) -> None:
    def program(x: Any) -> Any:
        calls: list[str] = []
        y = x * 2
        handle = y.register_hook(lambda g: calls.append("removed"))
        with y.register_hook(lambda g: calls.append("inside")):
            y.sum().backward(retain_graph=True)
        handle.remove()
        handle.remove()
        y.sum().backward()
        return calls, x.grad

    calls, gradient = door(program, leaf(1.0))
    assert calls == ["removed", "inside"]
    assert gradient.tolist() == [4.0]
    with pytest.raises(RuntimeError, match=r"^cannot register a hook on a tensor that doesn't require gradient"):
        tensor([1.0]).register_hook(print)


def test_c5_45_once_with_the_whole_gradient(door: Door) -> None:
    def program(x: Any) -> Any:
        seen: list[Any] = []
        y = x * 1
        y.register_hook(seen.append)
        x.register_hook(seen.append)
        (y * 3 + y * 4).sum().backward()
        return seen

    assert [g.tolist() for g in door(program, leaf(1.0))] == [[7.0], [7.0]]


def test_c5_46_order_and_replacement(door: Door) -> None:
    def program(x: Any) -> Any:
        seen: list[Any] = []
        y = x * 1
        y.register_hook(lambda g: g * 2)
        y.register_hook(lambda g: seen.append(g))
        y.register_hook(lambda g: g + 1)
        y.register_hook(lambda g: seen.append(g))
        y.sum().backward()
        return seen, x.grad

    seen, gradient = door(program, leaf(1.0))
    assert [g.tolist() for g in seen] == [[2.0], [3.0]]
    assert gradient.tolist() == [3.0]


def test_c5_46_the_argument_written_in_place(door: Door) -> None:
    def program(x: Any) -> Any:
        def double(g: Any) -> None:
            g.mul_(2)

        y = x * 3
        y.register_hook(double)
        (y * 1).sum().backward()
        return x.grad

    assert door(program, leaf(1.0)).tolist() == [6.0]


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (lambda g: 1, TypeError, "^expected Variable, but hook returned 'int'"),
        (lambda g: (g,), TypeError, "^expected Variable, but hook returned 'tuple'"),
        (lambda g: g[:1], RuntimeError, "^hook '<lambda>' has changed the size of value"),
        (lambda g: g.double(), RuntimeError, "^hook '<lambda>' has changed the type of value"),
    ],
)
@pytest.mark.parametrize("where", ["leaf", "inner"])
def test_c5_47_wrong_answers(door: Door, where: str, answer: Any, error: type[Exception], words: str) -> None:
    x = leaf(1.0, 2.0)

    def program(x: Any) -> Any:
        y = x * 2
        with (x if where == "leaf" else y).register_hook(answer):
            y.sum().backward()

    with pytest.raises(error, match=words):
        door(program, x)
    assert rustorch.is_grad_enabled()
    (x * 3).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]


def test_c5_48_leaf_hooks_come_before_accumulation(door: Door) -> None:
    def program(x: Any) -> Any:
        seen: list[Any] = []

        def double(g: Any) -> Any:
            seen.append(x.grad is None)
            return g * 2

        x.register_hook(double)
        (x * 3).sum().backward()
        (x * 3).sum().backward()
        return seen, x.grad

    seen, gradient = door(program, leaf(1.0))
    assert seen == [True, False]
    assert gradient.tolist() == [12.0]


def test_c5_49_the_order_at_an_operation(door: Door) -> None:
    def program(x: Any) -> Any:
        order: list[str] = []
        seen: list[Any] = []
        y = x * 2
        y.retain_grad()

        def hook(g: Any) -> Any:
            order.append("hook")
            return g * 10

        def before(grad_outputs: Any) -> Any:
            order.append("before")
            return (grad_outputs[0] + 100,)

        def after(grad_inputs: Any, grad_outputs: Any) -> None:
            order.append("after")
            seen.extend((grad_inputs[0], grad_inputs[1], grad_outputs[0]))

        y.register_hook(hook)
        y.grad_fn.register_prehook(before)
        y.grad_fn.register_hook(after)
        (y * 2).sum().backward()
        return order, y.grad, x.grad, seen

    order, inner, gradient, seen = door(program, leaf(1.0))
    assert order == ["hook", "before", "after"]
    assert (inner.tolist(), gradient.tolist()) == ([20.0], [240.0])
    assert (seen[0].tolist(), seen[1], seen[2].tolist()) == ([240.0], None, [120.0])


def test_c5_49_the_order_of_a_pass(door: Door) -> None:
    """Operations in the reverse order of recording; a leaf as soon as its gradient is complete."""

    def program(w1: Any, w2: Any, x: Any) -> Any:
        order: list[str] = []
        h = w1 * x
        k = h.exp()
        y = w2 * k
        for name, t in {"w1": w1, "w2": w2, "x": x, "h": h, "k": k, "y": y}.items():
            t.register_hook(lambda g, n=name: order.append(n))
            node = graph.get_gradient_edge(t).node
            node.register_prehook(lambda go, n=name: order.append(f"{n} before"))
            node.register_hook(lambda gi, go, n=name: order.append(f"{n} after {len(gi)}"))
            if t.is_leaf:
                t.register_post_accumulate_grad_hook(lambda t, n=name: order.append(f"{n} added"))
        y.sum().backward()
        return order

    assert door(program, leaf(1.0), leaf(2.0), leaf(3.0)) == [
        "y", "y before", "y after 2", "w2", "w2 before", "w2 added", "w2 after 0",
        "k", "k before", "k after 1", "h", "h before", "h after 2",
        "w1", "w1 before", "w1 added", "w1 after 0", "x", "x before", "x added", "x after 0",
    ]  # fmt: skip


def test_c5_49_hooks_where_no_gradient_is_wanted_are_not_called(door: Door) -> None:
    def program(w: Any, x: Any) -> Any:
        order: list[str] = []
        h = w * 3
        w.register_hook(lambda g: order.append("w"))
        h.register_hook(lambda g: order.append("h"))
        h.grad_fn.register_prehook(lambda g: order.append("before"))
        y = (h * x).sum()
        y.backward(inputs=[x], retain_graph=True)
        grad(y, [x], retain_graph=True)
        assert order == []
        grad(y, [h], retain_graph=True)
        return order

    assert door(program, leaf(1.0), leaf(2.0)) == ["h"]


def test_c5_49_results_without_a_gradient(door: Door) -> None:
    def program(x: Any) -> Any:
        seen: list[Any] = []
        a, b = x.unbind(0)
        a.register_hook(lambda g: seen.append(g is None))
        b.register_hook(lambda g: seen.append(g is None))
        node = a.grad_fn
        node.register_prehook(lambda go: seen.append(tuple(g is None for g in go)))
        a.backward()
        return seen, x.grad, node is b.grad_fn, a.output_nr, b.output_nr

    seen, gradient, same, first, second = door(program, leaf(1.0, 2.0))
    assert gradient.tolist() == [1.0, 0.0]
    assert (first, second) == (0, 1) if same else seen == [False, (False,)]


def test_c5_50_the_gradient_mode_inside(door: Door) -> None:
    def program(x: Any) -> Any:
        modes: list[bool] = []
        flags: list[bool] = []

        def hook(g: Any) -> Any:
            modes.append(rustorch.is_grad_enabled())
            flags.append((g * x).requires_grad)
            return None

        y = x * x
        y.register_hook(hook)
        x.register_hook(hook)
        y.sum().backward(retain_graph=True)
        y.sum().backward(create_graph=True)
        return modes, flags, rustorch.is_grad_enabled()

    modes, flags, after = door(program, leaf(2.0))
    assert modes == [False, False, True, True]
    assert flags == [False, False, True, True]
    assert after


def test_c5_50_hooks_of_a_higher_order(door: Door) -> None:
    """A hook's own operations are differentiated with `create_graph`: the gradient is 2 x * x, its derivative 4 x."""

    def program(x: Any) -> Any:
        y = x * x
        y.register_hook(lambda g: g * x)
        (first,) = grad(y.sum(), x, create_graph=True)
        (second,) = grad(first.sum(), x)
        return first, second

    first, second = door(program, leaf(3.0))
    assert (first.tolist(), second.tolist()) == ([18.0], [12.0])


@pytest.mark.parametrize("kind", ["leaf", "inner", "before", "after", "added"])
def test_c5_51_exceptions_pass_as_they_are(door: Door, kind: str) -> None:
    x, w = leaf(1.0), leaf(2.0)

    def boom(*_: Any) -> None:
        raise ValueError("boom")

    def program(x: Any, w: Any, broken: bool) -> Any:
        y = x * w
        if broken:
            {
                "leaf": x.register_hook,
                "inner": y.register_hook,
                "before": y.grad_fn.register_prehook,
                "after": y.grad_fn.register_hook,
                "added": x.register_post_accumulate_grad_hook,
            }[kind](boom)
        (y * y).sum().backward()
        return x.grad

    given = x.detach().requires_grad_()
    with pytest.raises(ValueError, match=r"^boom$"):
        door(program, given, w, True)
    assert rustorch.is_grad_enabled()
    x.grad = w.grad = None
    door(program, x, w, False)
    assert x.grad.tolist() == [8.0]


def test_c5_51_the_graph_stays_usable() -> None:
    x = leaf(1.0)
    y = (x * 2).exp()
    handle = y.register_hook(lambda g: 1 / 0)
    loss = y.sum()
    with pytest.raises(ZeroDivisionError):
        loss.backward()
    handle.remove()
    loss.backward()
    assert x.grad.tolist() == pytest.approx([2 * 7.3890561], rel=1e-6)


def test_c5_52_a_hook_before_a_write_stays_with_the_old_value(door: Door) -> None:
    def program(x: Any) -> Any:
        order: list[Any] = []
        y = x * 2
        y.register_hook(lambda g: order.append(("before", g)))
        y.mul_(3)
        y.register_hook(lambda g: order.append(("after", g)))
        y.sum().backward()
        return order, x.grad

    order, gradient = door(program, leaf(1.0))
    assert [(name, g.tolist()) for name, g in order] == [("after", [1.0]), ("before", [3.0])]
    assert gradient.tolist() == [6.0]


def test_c5_53_copies_have_no_hooks(door: Door) -> None:
    def program(x: Any) -> Any:
        calls: list[str] = []
        y = x * 2
        y.register_hook(lambda g: calls.append("y"))
        z = y.detach().requires_grad_()
        (z * 2).sum().backward()
        none = list(calls)
        y.clone().sum().backward()
        return none, calls, x.grad

    none, calls, gradient = door(program, leaf(1.0))
    assert (none, calls) == ([], ["y"])
    assert gradient.tolist() == [2.0]


def test_c5_54_after_accumulation(door: Door) -> None:
    def program(x: Any) -> Any:
        seen: list[Any] = []
        x.register_post_accumulate_grad_hook(lambda t: seen.append(t.grad.clone()))
        (x * 2).sum().backward()
        (x * 2).sum().backward()
        grad((x * 2).sum(), x)
        return seen

    assert [g.tolist() for g in door(program, leaf(1.0))] == [[2.0], [4.0]]


def test_c5_54_refusals(door: Door) -> None:
    def inner(x: Any) -> None:
        (x * 2).register_post_accumulate_grad_hook(print)

    def answers(x: Any) -> None:
        x.register_post_accumulate_grad_hook(lambda t: 3)
        (x * 2).sum().backward()

    with pytest.raises(RuntimeError, match=r"^post accumulate grad hooks cannot be registered on non-leaf tensors"):
        door(inner, leaf(1.0))
    with pytest.raises(TypeError, match="hook returned 'int'"):
        door(answers, leaf(1.0))
    with pytest.raises(RuntimeError, match=r"^cannot register a hook on a tensor that doesn't require gradient"):
        tensor([1.0]).register_post_accumulate_grad_hook(print)


def test_c5_54_a_step_inside_backward(door: Door) -> None:
    """The optimiser in the backward pass: each gradient is used and dropped when it is there."""

    def program(x: Any, w: Any) -> Any:
        def step(t: Any) -> None:
            with no_grad():
                t.add_(t.grad, alpha=-0.5)
            t.grad = None

        for t in (x, w):
            t.register_post_accumulate_grad_hook(step)
        (x * w).sum().backward()
        return x.grad, w.grad

    x, w = leaf(2.0), leaf(4.0)
    assert door(program, x, w) == (None, None)
    assert (x.tolist(), w.tolist()) == ([0.0], [3.0])


def test_c5_55_hooks_on_many(door: Door) -> None:
    def program(a: Any, b: Any, c: Any, d: Any) -> Any:
        seen: list[Any] = []
        h = b * 1
        tensors = [a, h, c, d]
        handle = graph.register_multi_grad_hook(tensors, lambda gradients: seen.append([g is not None for g in gradients]))
        (a * h).sum().backward(retain_graph=True)
        (a * h * c * d).sum().backward()
        (c * 1).sum().backward()
        handle.remove()
        (a * 1).sum().backward()
        first: list[Any] = []
        with graph.register_multi_grad_hook(tensors, first.append, mode="any"):
            (a * c).sum().backward()
        return seen, first

    seen, first = door(program, leaf(1.0), leaf(2.0), leaf(3.0), leaf(4.0))
    assert seen == [[True, True, False, False], [True] * 4, [False, False, True, False]]
    assert [g.tolist() for g in first] == [[3.0]]
    with pytest.raises(ValueError, match=r"^Expects mode to be one of \('all', 'any'\) but got x"):
        graph.register_multi_grad_hook([leaf(1.0)], print, mode="x")


def test_c5_56_nodes(door: Door) -> None:
    def program(x: Any, c: Any) -> Any:
        y = x * x
        z = (x * 2 + c).sum()
        node = y.grad_fn
        node.metadata["mark"] = 1
        names = [f[0].name() if f[0] else None for f in z.grad_fn.next_functions[0][0].next_functions]
        leaves = [f[0].variable is x for f in node.next_functions]
        return node.name(), z.grad_fn.name(), names, leaves, node is y.grad_fn, y.grad_fn.metadata, (x * c).grad_fn.next_functions[1]

    name, total, names, leaves, same, metadata, none = door(program, leaf(1.0, 2.0), tensor([1.0, 2.0]))
    assert (name, total, names) == ("MulBackward0", "SumBackward0", ["MulBackward0", None])
    assert leaves == [True, True]
    assert same
    assert metadata == {"mark": 1}
    assert none == (None, 0)
    assert isinstance((leaf(1.0) * 2).grad_fn, graph.Node)


NAMES = {
    "AddBackward0": lambda x, w, a: x + w,
    "RsubBackward1": lambda x, w, a: 1 - x,
    "SubBackward0": lambda x, w, a: x - w,
    "PowBackward0": lambda x, w, a: x**2,
    "PowBackward1": lambda x, w, a: x**w,
    "Log1PBackward0": lambda x, w, a: x.log1p(),
    "SumBackward1": lambda x, w, a: x.sum(0),
    "MeanBackward0": lambda x, w, a: x.mean(),
    "MaxBackward0": lambda x, w, a: x.max(0).values,
    "MmBackward0": lambda x, w, a: a @ a,
    "MvBackward0": lambda x, w, a: a @ x,
    "DotBackward0": lambda x, w, a: x @ w,
    "AddmmBackward0": lambda x, w, a: rustorch.functional.linear(a, a, x),
    "ViewBackward0": lambda x, w, a: a.reshape(4),
    "CatBackward0": lambda x, w, a: rustorch.cat([x, w]),
    "CloneBackward0": lambda x, w, a: x.clone(),
    "LogSoftmaxBackward0": lambda x, w, a: rustorch.functional.log_softmax(x, 0),
    "WhereBackward0": lambda x, w, a: rustorch.where(x > 1, x, w),
    "NllLossBackward0": lambda x, w, a: rustorch.functional.cross_entropy(a, tensor([0, 1])),
}


@pytest.mark.parametrize("name", NAMES)
def test_c5_56_names(name: str) -> None:
    assert NAMES[name](leaf(1.0, 2.0), leaf(3.0, 4.0), rustorch.ones(2, 2, requires_grad=True)).grad_fn.name() == name


@pytest.mark.parametrize(
    ("kind", "answer", "error", "words"),
    [
        ("after", lambda gi, go: gi[0], TypeError, "^expected tuple, but hook returned 'Tensor'"),
        ("after", lambda gi, go: (gi[0],), RuntimeError, r"returned an incorrect number of values \(got 1, but expected 2\)"),
        ("after", lambda gi, go: [*gi], TypeError, "^expected tuple, but hook returned 'list'"),
        ("after", lambda gi, go: (3, 4), TypeError, "^expected Variable, but hook returned 'int'"),
        ("after", lambda gi, go: (gi[0].double(), gi[1]), RuntimeError, "has changed the type of value"),
        ("before", lambda go: go[0] * 2, TypeError, "^expected tuple, but hook returned 'Tensor'"),
        ("before", lambda go: (go[0], go[0]), RuntimeError, r"returned an incorrect number of values \(got 2, but expected 1\)"),
        ("before", lambda go: (go[0].double(),), RuntimeError, "has changed the type of value"),
    ],
)
def test_c5_56_wrong_answers(door: Door, kind: str, answer: Any, error: type[Exception], words: str) -> None:
    def program(x: Any) -> None:
        y = x * x
        (y.grad_fn.register_hook if kind == "after" else y.grad_fn.register_prehook)(answer)
        y.sum().backward()

    with pytest.raises(error, match=words):
        door(program, leaf(2.0))


def test_c5_56_replacing_what_an_operation_gives(door: Door) -> None:
    def program(x: Any) -> Any:
        y = x * x
        with y.grad_fn.register_hook(lambda gi, go: (gi[0] * 10, gi[1])):
            y.sum().backward(retain_graph=True)
        first = x.grad.clone()
        with y.grad_fn.register_hook(lambda gi, go: (None, None)):
            y.sum().backward(retain_graph=True)
        with y.grad_fn.register_prehook(lambda go: (go[0] * 3,)):
            y.sum().backward(retain_graph=True)
        return first, x.grad

    first, second = door(program, leaf(2.0))
    assert (first.tolist(), second.tolist()) == ([22.0], [34.0])


@pytest.mark.parametrize("look", [False, True])
def test_c5_56_hooks_of_closed_programs(look: bool) -> None:
    x, w = leaf(2.0), leaf(3.0)
    seen: list[Any] = []
    h = x.exp() * w
    y = h * x
    y.grad_fn.register_hook(lambda gi, go: seen.append([g.item() for g in gi]))
    h.register_hook(lambda g: g * 10)
    if look:
        y.tolist()
    (y * 2).sum().backward()
    exp = 7.38905609893065
    assert seen[0] == pytest.approx([4.0, 2 * exp * 3], rel=1e-6)
    assert x.grad.tolist() == pytest.approx([40 * exp * 3 + 2 * exp * 3], rel=1e-6)
    assert w.grad.tolist() == pytest.approx([40 * exp], rel=1e-6)


def test_c5_57_saved_values(door: Door) -> None:
    def program(x: Any, w: Any) -> Any:
        y = x * w
        e = y.exp()
        node = y.grad_fn
        saved = node._saved_self, node._saved_other, e.grad_fn._saved_result
        names = [name for name in dir(node) if name.startswith("_saved_")]
        e.sum().backward()
        with pytest.raises(RuntimeError, match=r"^Trying to backward through the graph a second time"):
            node._saved_self
        return *saved, names, saved[0] is x

    a, b, result, names, same = door(program, leaf(1.0), leaf(2.0))
    assert (a.tolist(), b.tolist()) == ([1.0], [2.0])
    assert result.tolist() == pytest.approx([7.3890561], rel=1e-6)
    assert names == ["_saved_other", "_saved_self"] or names == ["_saved_self", "_saved_other"]
    assert same
    with pytest.raises(AttributeError, match="has no attribute '_saved_self'"):
        (leaf(1.0) + 1).grad_fn._saved_self
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        (leaf(1.0) + 1).grad_fn.nonsense


def test_c5_57_saved_values_of_a_closed_program() -> None:
    x = leaf(1.0)
    y = x * 2
    e = y.exp()
    z = e * e
    z.tolist()
    assert z.grad_fn._saved_self.tolist() == pytest.approx([7.3890561], rel=1e-6)
    assert e.grad_fn._saved_result.tolist() == pytest.approx([7.3890561], rel=1e-6)


@pytest.mark.parametrize("wrong", [lambda t: 3, lambda t: t.sum()])
def test_c9_90_what_unpack_must_return(door: Door, wrong: Any) -> None:
    def program(x: Any, w: Any) -> None:
        with graph.saved_tensors_hooks(lambda t: t, wrong):
            y = x * w
        y.sum().backward()

    with pytest.raises((TypeError, RuntimeError), match="saved tensor unpack_hook"):
        door(program, leaf(1.0, 2.0), leaf(3.0, 4.0))


def test_c9_90_pack_and_unpack(door: Door) -> None:
    def program(x: Any, w: Any) -> Any:
        order: list[Any] = []

        def pack(t: Any) -> Any:
            order.append(("pack", t.requires_grad, t.is_leaf, rustorch.is_grad_enabled()))
            return t, len(order)

        def unpack(packed: Any) -> Any:
            order.append(("unpack", packed[1], rustorch.is_grad_enabled()))
            return packed[0]

        with graph.saved_tensors_hooks(pack, unpack):
            y = x * w
            z = y.exp() + 1
        outside = (z * z).sum()
        forward = list(order)
        outside.backward()
        return forward, order[len(forward) :], x.grad, w.grad

    forward, backward, x, w = door(program, leaf(1.0), leaf(2.0))
    assert forward == [("pack", True, True, False), ("pack", True, True, False), ("pack", False, True, False)]
    assert backward == [("unpack", 3, False), ("unpack", 1, False), ("unpack", 2, False)]
    e = 7.38905609893065
    assert x.tolist() == pytest.approx([2 * (e + 1) * e * 2], rel=1e-6)
    assert w.tolist() == pytest.approx([2 * (e + 1) * e], rel=1e-6)


def test_c9_90_what_comes_out_is_what_counts(door: Door) -> None:
    def program(x: Any, w: Any) -> Any:
        with graph.saved_tensors_hooks(lambda t: t * 2, lambda t: t):
            y = x * w
        return grad(y.sum(), [x, w])

    a, b = door(program, leaf(1.0, 2.0), leaf(3.0, 4.0))
    assert (a.tolist(), b.tolist()) == ([6.0, 8.0], [2.0, 4.0])


def test_c9_90_a_second_derivative(door: Door) -> None:
    """Gradients go on through what was saved, whatever the hooks made of it."""

    def program(x: Any, w: Any) -> Any:
        with graph.saved_tensors_hooks(lambda t: t * 2, lambda t: t):
            y = x * w
        (g,) = grad(y.sum(), [x], create_graph=True)
        return g, grad(g.sum(), [w])[0]

    a, b = door(program, leaf(1.0, 2.0), leaf(3.0, 4.0))
    assert (a.tolist(), b.tolist()) == ([6.0, 8.0], [1.0, 1.0])


def test_c9_90_packed_values_of_programs_that_were_closed() -> None:
    for _ in range(3):
        x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
        store: list[Any] = []

        def pack(t: Any, store: list[Any] = store) -> int:
            store.append(t.detach().numpy().copy())
            return len(store) - 1

        with graph.saved_tensors_hooks(pack, lambda i, store=store: tensor(store[i])):
            y = (x * w).sin() * 2
        assert len(store) == 3
        y.sum().backward()
        assert x.grad.tolist() == pytest.approx([2 * 3 * -0.9899925, 2 * 4 * -0.14550003], rel=1e-5)


def test_c9_90_the_innermost_counts_and_more(door: Door) -> None:
    def program(x: Any) -> Any:
        order: list[str] = []

        def noted(name: str) -> Any:
            return graph.saved_tensors_hooks(lambda t: (order.append(name), t)[1], lambda t: t)

        with noted("outer"):
            with noted("inner"):
                y = x.exp()
            y = y.sin()
        y = y.cos()
        with graph.save_on_cpu(), graph.allow_mutation_on_saved_tensors():
            y = y * y
        y.sum().backward()
        return order

    assert door(program, leaf(1.0)) == ["inner", "outer"]
    with (
        pytest.raises(RuntimeError, match=r"^none here"),
        graph.disable_saved_tensors_hooks("none here"),
        graph.saved_tensors_hooks(lambda t: t, lambda t: t),
    ):
        pass
    with graph.saved_tensors_hooks(lambda t: t.mul_(2), lambda t: t), pytest.raises(RuntimeError, match="modifying its input in place"):
        leaf(1.0).exp()


def test_c9_90_packed_values_are_freed(door: Door) -> None:
    def program(x: Any) -> None:
        with graph.saved_tensors_hooks(lambda t: t, lambda t: t):
            y = x.exp()
        y.sum().backward()
        y.sum().backward()

    with pytest.raises(RuntimeError, match=r"^Trying to backward through the graph a second time"):
        door(program, leaf(1.0))


def test_c3_35_edges(door: Door) -> None:
    def program(x: Any) -> Any:
        y = x * 3
        z = (y * y).sum()
        at_y, at_z, at_x = graph.get_gradient_edge(y), graph.get_gradient_edge(z), graph.get_gradient_edge(x)
        (a,) = grad(z, [at_y], retain_graph=True)
        (b,) = grad(at_z, [x], retain_graph=True)
        (c,) = grad(at_y, [at_x], grad_outputs=rustorch.ones(2), retain_graph=True)
        rustorch.autograd.backward(at_z, retain_graph=True)
        first = x.grad.clone()
        z.backward(inputs=[at_x])
        return a, b, c, first, x.grad

    a, b, c, first, second = door(program, leaf(1.0, 2.0))
    assert [t.tolist() for t in (a, b, c, first, second)] == [[6.0, 12.0], [18.0, 36.0], [3.0, 3.0], [18.0, 36.0], [36.0, 72.0]]
    with pytest.raises(RuntimeError, match=r"^It is not possible to get the gradient edge for a Tensor that does not require gradients"):
        graph.get_gradient_edge(tensor(1.0))


def test_increment_version() -> None:
    x = tensor([1.0])
    graph.increment_version(x)
    graph.increment_version([x, x])
    assert x._version == 3


def test_c5_48_the_gradient_that_a_hook_kept_is_not_the_gradient_kept(door: Door) -> None:
    def program(x: Any, w: Any) -> Any:
        seen: list[Any] = []
        fixed = rustorch.ones(1) * 2
        y = x * 1
        y.retain_grad()
        y.register_hook(seen.append)
        x.register_hook(seen.append)
        w.register_hook(lambda g: fixed)
        for _ in range(2):
            (y * 2 + w).sum().backward(retain_graph=True)
        return [*seen, fixed], x.grad, y.grad, w.grad

    seen, x, y, w = door(program, leaf(1.0), leaf(1.0))
    assert [g.tolist() for g in seen] == [[2.0]] * 5
    assert (x.tolist(), y.tolist(), w.tolist()) == ([4.0], [4.0], [4.0])


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (1,), (2, 3)])
def test_c5_shapes(door: Door, shape: tuple[int, ...]) -> None:
    """Without dimensions, without elements, strided; with every kind of hook, and a second derivative."""

    def program(x: Any) -> Any:
        seen: list[Any] = []
        y = (x.permute(*range(x.ndim)[::-1]) * 2) * x.permute(*range(x.ndim)[::-1])
        y.register_hook(lambda g: g * 3)
        y.grad_fn.register_hook(lambda gi, go: seen.append(go[0].shape))
        with graph.saved_tensors_hooks(lambda t: t * 1, lambda t: t):
            z = (y * y).sum()
        (first,) = grad(z, x, create_graph=True)
        (second,) = grad(first.sum(), x)
        return first, second, seen

    first, second, seen = door(program, rustorch.full(shape, 0.5, requires_grad=True))
    assert first.shape == second.shape == shape
    assert first.flatten().tolist() == [6.0] * first.numel()  # y = 2 x², z = y²: 3 (2 y) 4 x
    assert second.flatten().tolist() == [84.0] * first.numel()  # 3 (3 (2 · 4 x)) 4 x through y, and 3 (2 y) 4
    assert len(seen) >= 2
    assert tuple(seen[0]) == shape[::-1]
