"""C1 to C4 and C6 of the checklist: leaves, `backward`, `grad`, modes, `retain_grad`, `detach`, `clone`; hooks' basics."""

from __future__ import annotations

import copy
import threading
import warnings
from typing import Any

import numpy as np
import pytest

import rustorch
from rustorch import Variable, grad, no_grad, tensor
from rustorch.autograd import backward


def leaf(*values: float) -> Any:
    return tensor(list(values), requires_grad=True)


def test_leaves() -> None:
    x = leaf(1.0)
    assert (x.is_leaf, x.grad_fn, x.grad, x.output_nr) == (True, None, None, 0)
    y = x * 2
    assert not y.is_leaf
    assert y.grad_fn.name() == "MulBackward0"
    assert y.grad_fn.next_functions[0][0].name() == "AccumulateGrad"
    assert isinstance(y, Variable)


@pytest.mark.parametrize("make", [lambda: tensor([1], requires_grad=True), lambda: tensor([True]).requires_grad_()])
def test_integers_have_no_gradient(make: Any) -> None:
    with pytest.raises(RuntimeError, match="Only Tensors of floating point and complex dtype can require gradients"):
        make()


def test_what_requires_gradients() -> None:
    x = leaf(1.0, 2.0)
    assert (x + 1).requires_grad
    assert x.floor().requires_grad
    assert not (x > 1).requires_grad
    assert not x.argmax().requires_grad
    assert not x.max(0).indices.requires_grad
    assert x.max(0).values.requires_grad
    with no_grad():
        assert not (x + 1).requires_grad


def test_toggling_a_leaf_does_not_alter_what_was_recorded() -> None:
    x = tensor([1.0, 2.0])
    y = x * 3
    assert x.requires_grad_() is x
    z = x * 3
    assert (y.requires_grad, z.requires_grad) == (False, True)
    with pytest.raises(RuntimeError, match="you can only change requires_grad flags of leaf variables"):
        z.requires_grad_(False)
    z.sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]


def test_numpy_and_numbers() -> None:
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match=r"Can't call numpy\(\) on Tensor that requires grad"):
        x.numpy()
    assert x.detach().numpy().tolist() == [1.0, 2.0]
    assert (float(x[0]), int(x[1]), bool(x[0] > 0), x[1].item()) == (1.0, 2, True, 2.0)
    with pytest.raises(RuntimeError, match="Boolean value of Tensor with more than one value is ambiguous"):
        bool(x)


def test_gradients_of_computed_tensors_are_told_to_be_missing() -> None:
    y = leaf(1.0) * 2
    with pytest.warns(UserWarning, match="not a leaf Tensor is being accessed"):
        assert y.grad is None


def test_assigning_gradients() -> None:
    x = leaf(1.0, 2.0)
    with pytest.raises(TypeError, match="assigned grad expected to be a Tensor or None"):
        x.grad = 3
    with pytest.raises(RuntimeError, match="attempting to assign a gradient of size"):
        x.grad = tensor([1.0])
    with pytest.raises(RuntimeError, match="attempting to assign a gradient with dtype"):
        x.grad = tensor([1.0, 2.0], dtype=rustorch.float64)
    x.grad = tensor([1.0, 2.0])
    x.zero_grad()
    assert x.grad is None


def test_deepcopy() -> None:
    x = leaf(1.0, 2.0)
    y = copy.deepcopy(x)
    assert y.requires_grad
    assert y.is_leaf
    assert y is not x
    with pytest.raises(RuntimeError, match="Only Tensors created explicitly by the user"):
        copy.deepcopy(x * 2)


def test_seed_names() -> None:
    t = tensor([2.0])
    v = Variable(t, requires_grad=True)
    w = Variable.from_tensor(t, requires_grad=True)
    y = v * 3 + w * np.array([2.0], np.float32) + 1
    y.backward()
    assert (v.grad.tolist(), w.grad.tolist()) == ([3.0], [2.0])
    (g,) = rustorch.grad([v * v], [v], retain_graph=False, create_graph=False)
    assert g.tolist() == [4.0]


def test_only_scalars_start_by_themselves() -> None:
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match="grad can be implicitly created only for scalar outputs"):
        (x * 2).backward()
    (x * 2).backward(gradient=tensor([1.0, 10.0]))
    assert x.grad.tolist() == [2.0, 20.0]
    with pytest.raises(RuntimeError, match=r"Mismatch in shape: grad_output\[0\] has a shape of"):
        (x * 2).backward(gradient=tensor([1.0]))
    with pytest.raises(RuntimeError, match="element 0 of tensors does not require grad and does not have a grad_fn"):
        tensor(1.0).backward()


def test_gradients_add_up_in_one_object() -> None:
    x = leaf(1.0, 2.0)
    (x * x).sum().backward()
    first = x.grad
    (x * x).sum().backward()
    assert x.grad is first
    assert first.tolist() == [4.0, 8.0]
    (x * x).sum().backward(create_graph=True)
    assert x.grad is not first
    assert x.grad.requires_grad
    assert x.grad.tolist() == [6.0, 12.0]


def test_a_second_backward() -> None:
    x = leaf(2.0)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [8.0]
    with pytest.raises(RuntimeError, match="Trying to backward through the graph a second time"):
        y.backward()
    z = (x + 1).sum()
    z.backward()
    z.backward()
    assert x.grad.tolist() == [10.0]


def test_backward_into_some_inputs() -> None:
    x, w = leaf(2.0), leaf(3.0)
    h = x * w
    h.sum().backward(inputs=[x], retain_graph=True)
    assert (x.grad.tolist(), w.grad) == ([3.0], None)
    with pytest.raises(RuntimeError, match=r"`inputs` argument to `backward\(\)` cannot be empty\."):
        h.sum().backward(inputs=[])
    h = x * w
    (h * h).sum().backward(inputs=[h])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert h.grad.tolist() == [12.0]


def test_several_roots_are_summed() -> None:
    x = leaf(2.0)
    backward([x * 2, x * 3], [tensor([1.0]), tensor([10.0])])
    assert x.grad.tolist() == [32.0]


def test_roots_may_repeat_and_depend_on_each_other() -> None:
    x = leaf(2.0)
    y = (x * x).sum()
    backward([y, y])
    assert x.grad.tolist() == [8.0]
    x.grad = None
    h = x * 3
    h.tolist()
    backward([h, h * 5])
    assert x.grad.tolist() == [18.0]


def test_the_gradient_given_is_not_the_gradient_kept() -> None:
    x, g = leaf(1.0), tensor([5.0])
    (x + 0).backward(g)
    assert x.grad is not g
    g.add_(1)
    assert x.grad.tolist() == [5.0]
    x.grad = None
    x.backward(g)
    assert x.grad is not g


def test_shapes_and_types_of_gradients() -> None:
    x = leaf(1.0, 2.0, 3.0)
    (x * rustorch.ones(4, 3)).sum().backward()
    assert x.grad.tolist() == [4.0] * 3
    x.grad = None
    x[[0, 0, 1]].sum().backward()
    assert x.grad.tolist() == [2.0, 1.0, 0.0]
    x.grad = None
    x.double().sum().backward()
    assert x.grad.dtype is rustorch.float32
    x.grad = None
    x.expand(5, 3).sum().backward()
    assert x.grad.tolist() == [5.0] * 3


def test_long_chains_need_no_stack() -> None:
    x = leaf(1.0)
    y = x
    for _ in range(3000):
        y = y + 1
    y.backward()
    assert x.grad.tolist() == [1.0]


def test_looking_at_values_before_backward() -> None:
    def run(look: bool) -> list[float]:
        x = leaf(1.0, 2.0)
        h = (x * x).exp()
        if look:
            h.tolist()
        loss = (h * x).sum()
        if look:
            loss.item()
        loss.backward()
        return x.grad.tolist()  # type: ignore[no-any-return]

    assert np.allclose(run(True), run(False), rtol=1e-6)


def test_deleting_tensors_does_not_break_backward() -> None:
    x = leaf(3.0)
    y = x * x
    z = y * y
    del y
    z.backward()
    assert x.grad.tolist() == [108.0]


def test_threads_on_a_shared_leaf() -> None:
    x = leaf(1.0)
    y = (x * x).sum()
    y.item()
    results = []

    def work() -> None:
        results.append(grad(y, x, retain_graph=True)[0].item())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == [2.0] * 4


# --- grad -------------------------------------------------------------------------------------------------------------


def test_grad_leaves_grad_alone() -> None:
    x, y = leaf(2.0), leaf(5.0)
    found = grad((x * y).sum(), [y, x])
    assert [g.tolist() for g in found] == [[2.0], [5.0]]
    assert (x.grad, y.grad) == (None, None)


def test_unused_inputs() -> None:
    x, y = leaf(2.0), leaf(5.0)
    with pytest.raises(RuntimeError, match="The differentiated Tensor at index 1 appears to not have been used in the graph"):
        grad(x.sum(), [x, y])
    assert grad((x * x).sum(), [x, y], allow_unused=True)[1] is None
    assert grad((x * x).sum(), [x, y], materialize_grads=True)[1].tolist() == [0.0]
    with pytest.raises(ValueError, match="allow_unused"):
        grad((x * x).sum(), [x, y], materialize_grads=True, allow_unused=False)
    with pytest.raises(RuntimeError, match="One of the differentiated Tensors does not require grad"):
        grad((x * x).sum(), tensor([1.0]), allow_unused=True)


def test_many_outputs() -> None:
    x = leaf(2.0, 3.0)
    (g,) = grad([x.sum(), x * x], [x], [None, tensor([1.0, 10.0])])
    assert g.tolist() == [5.0, 61.0]


def test_batched_gradients() -> None:
    x = leaf(2.0, 3.0)
    (jacobian,) = grad(x * x, [x], rustorch.eye(2), is_grads_batched=True)
    assert jacobian.tolist() == [[4.0, 0.0], [0.0, 6.0]]


def test_orders() -> None:
    x = tensor(2.0, requires_grad=True)
    orders = [x**3]
    for _ in range(3):
        orders += grad(orders[-1], x, create_graph=True)
    assert [o.item() for o in orders] == [8.0, 12.0, 12.0, 6.0]


def test_intermediates() -> None:
    x = leaf(2.0)
    a = x * 3
    c = a * a * x
    ga, gx = grad(c.sum(), [a, x], retain_graph=True)
    assert (ga.tolist(), gx.tolist()) == ([24.0], [108.0])
    c.tolist()
    ga, gx = grad(c.sum(), [a, x])
    assert (ga.tolist(), gx.tolist()) == ([24.0], [108.0])


def test_equal_computations_are_apart() -> None:
    x = leaf(0.5)
    a, b = x.exp(), x.exp()
    ga, gb = grad((a * 2 + b * 3).sum(), [a, b])
    assert (ga.tolist(), gb.tolist()) == ([2.0], [3.0])


# --- modes ------------------------------------------------------------------------------------------------------------


def test_modes_nest_and_are_restored() -> None:
    assert rustorch.is_grad_enabled()
    with no_grad():
        with rustorch.enable_grad():
            assert rustorch.is_grad_enabled()
        assert not rustorch.is_grad_enabled()
    with pytest.raises(ZeroDivisionError), no_grad():
        1 / 0
    assert rustorch.is_grad_enabled()
    with rustorch.set_grad_enabled(False):
        assert not rustorch.is_grad_enabled()
    assert rustorch.is_grad_enabled()
    rustorch.set_grad_enabled(False)
    assert not rustorch.is_grad_enabled()
    rustorch.set_grad_enabled(True)


def test_modes_as_decorators() -> None:
    @no_grad()
    def inside() -> bool:
        return rustorch.is_grad_enabled()

    @no_grad
    def bare() -> bool:
        return rustorch.is_grad_enabled()

    assert (inside(), bare(), rustorch.is_grad_enabled()) == (False, False, True)

    @no_grad()
    def steps() -> Any:
        yield rustorch.is_grad_enabled()
        yield rustorch.is_grad_enabled()

    assert [(inner, rustorch.is_grad_enabled()) for inner in steps()] == [(False, True), (False, True)]


def test_modes_belong_to_threads() -> None:
    seen = []
    with no_grad():
        made = tensor([1.0], requires_grad=True)
        thread = threading.Thread(target=lambda: seen.append(rustorch.is_grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]
    assert made.requires_grad


def test_no_gradient_flows_through_what_was_not_recorded() -> None:
    x = leaf(2.0)
    with no_grad():
        c = x * x
    (c * x).sum().backward()
    assert x.grad.tolist() == [4.0]
    x.grad = None
    (x.detach() * x).sum().backward()
    assert x.grad.tolist() == [2.0]


# --- retain_grad, clone, detach, hooks --------------------------------------------------------------------------------


def test_retain_grad() -> None:
    x = leaf(2.0)
    y = x * 3
    y.retain_grad()
    y.retain_grad()
    assert y.retains_grad
    (y * y).sum().backward()
    assert y.grad.tolist() == [12.0]
    x.retain_grad()
    assert not x.retains_grad
    with pytest.raises(RuntimeError, match="can't retain_grad on Tensor that has requires_grad=False"):
        tensor([1.0]).retain_grad()


def test_clone_and_detach() -> None:
    x = leaf(2.0)
    c = x.clone()
    assert c.grad_fn.name() == "CloneBackward0"
    (c * c).sum().backward()
    assert x.grad.tolist() == [4.0]
    d = x.detach()
    assert (d.requires_grad, d.is_leaf) == (False, True)
    h = x * 2
    h.detach_()
    assert (h.requires_grad, h.is_leaf, h.tolist()) == (False, True, [4.0])


def test_hooks() -> None:
    x = leaf(2.0)
    y = x * 3
    seen: list[Any] = []
    handle = y.register_hook(lambda g: seen.append(g.tolist()))
    y.register_hook(lambda g: g * 10)
    x.register_hook(lambda g: g + 1)
    (y * 2).sum().backward()
    assert seen == [[2.0]]
    assert x.grad.tolist() == [61.0]
    handle.remove()
    handle.remove()
    with pytest.raises(RuntimeError, match="cannot register a hook on a tensor that doesn't require gradient"):
        tensor([1.0]).register_hook(print)


def test_hooks_see_the_whole_gradient_once() -> None:
    x = leaf(1.0)
    y = x * 1
    seen: list[Any] = []
    y.register_hook(lambda g: seen.append(g.item()))
    x.register_hook(lambda g: seen.append(g.item()))
    (y * 3 + y * 4).sum().backward()
    assert seen == [7.0, 7.0]


def test_hooks_that_answer_wrongly() -> None:
    x = leaf(1.0, 2.0)
    y = x * 2
    y.register_hook(lambda g: 1)
    with pytest.raises(TypeError, match="expected Variable, but hook returned 'int'"):
        y.sum().backward()
    z = x * 2
    z.register_hook(lambda g: g[:1])
    with pytest.raises(RuntimeError, match="has changed the size of value"):
        z.sum().backward()
    w = x * 2

    def boom(g: Any) -> None:
        raise ValueError("boom")

    handle = w.register_hook(boom)
    with pytest.raises(ValueError, match="boom"):
        w.sum().backward(retain_graph=True)
    assert rustorch.is_grad_enabled()
    handle.remove()
    w.sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]


def test_post_accumulate_hooks() -> None:
    x = leaf(1.0)
    seen: list[Any] = []
    x.register_post_accumulate_grad_hook(lambda t: seen.append(t.grad.tolist()))
    (x * 2).backward()
    (x * 2).backward()
    grad(x * 2, x)
    assert seen == [[2.0], [4.0]]
    with pytest.raises(RuntimeError, match="post accumulate grad hooks cannot be registered on non-leaf tensors"):
        (x * 2).register_post_accumulate_grad_hook(print)


def test_hooks_on_values_that_were_looked_at() -> None:
    x = leaf(2.0)
    y = x * 3
    y.register_hook(lambda g: g * 10)
    y.tolist()
    (y * y).sum().backward()
    assert x.grad.tolist() == [360.0]


@pytest.mark.parametrize("wrap", [lambda f: f, rustorch.jit], ids=["recorded", "jit"])
def test_gradients_of_detached_factors_have_no_history(wrap: Any) -> None:
    def program(x: Any) -> Any:
        (g,) = rustorch.grad((x.detach() * x).sum(), x, create_graph=True)
        (h,) = rustorch.grad((x * x).sum(), x, create_graph=True)
        return g.requires_grad, h.requires_grad

    assert wrap(program)(rustorch.tensor([2.0], requires_grad=True)) == (False, True)
