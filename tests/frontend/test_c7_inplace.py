"""C7 of the checklist, and 61 and 62: writing in place, views, versions. Each line twice, recorded and under `jit`.

Where PyTorch must refuse a gradient because a saved value was overwritten, there is one here: what was recorded does not change.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import rustorch
from rustorch import no_grad, tensor
from tests.frontend.door import Door, leaf

LEAF = r"^a leaf Variable that requires grad is being used in an in-place operation\."
VIEW = r"^a view of a leaf Variable that requires grad is being used in an in-place operation\."


def gradient(program: Any) -> Any:
    """A program that gives its argument's gradient, once the first result of `program` is differentiated."""

    def run(*args: Any) -> Any:
        found = program(*args)
        y, rest = (found[0], found[1:]) if isinstance(found, tuple) else (found, ())
        y.sum().backward()
        return args[0].grad, y.detach(), *rest

    return run


# --- 61 and 62: tensors that share ------------------------------------------------------------------------------------


def test_c6_61_detached_tensors_share(door: Door) -> None:
    def program(x: Any) -> Any:
        y = x * 1
        d = y.detach()
        z = y * y
        traits = d.requires_grad, d.is_leaf, d._base is None, d.grad_fn
        before = y._version
        d.mul_(10)
        return z + y, d, y._version - before, d._version - before, traits

    x, z, d, counted, seen, traits = door(gradient(program), leaf(2.0, 3.0))
    assert traits == (False, True, True, None)
    assert (counted, seen) == (1, 1)
    assert d.tolist() == [20.0, 30.0]
    assert z.tolist() == [24.0, 39.0]
    assert x.tolist() == [5.0, 7.0]  # of what was recorded; PyTorch refuses


def test_c6_62_data(door: Door) -> None:
    def program(x: Any) -> Any:
        y = x * 1
        z = y * y
        before = y._version
        data = y.data
        data.zero_()
        return z + y, y.detach(), y._version - before, data._version, data.requires_grad

    x, z, y, counted, own, tracked = door(gradient(program), leaf(2.0, 3.0))
    assert (counted, own, tracked) == (0, 1, False)
    assert y.tolist() == [0.0, 0.0]
    assert z.tolist() == [4.0, 9.0]
    assert x.tolist() == [5.0, 7.0]  # of what was recorded; PyTorch silently gives that of zeros


def test_c6_62_data_of_a_leaf(door: Door) -> None:
    x = leaf(1.0, 2.0)

    def program() -> Any:
        x.data.mul_(3)
        x.data -= 1
        (x * x).sum().backward()
        return x.grad, x.is_leaf, x.requires_grad

    gradient_, is_leaf, flag = door(program)
    assert (x.tolist(), is_leaf, flag) == ([2.0, 5.0], True, True)
    assert x._version == int(door.compiled)  # a call counts what it writes, once
    assert gradient_.tolist() == [4.0, 10.0]


def test_c6_62_strict_data(door: Door) -> None:
    message = r"^a Variable that requires grad is being written through .data"

    def write(x: Any) -> None:
        (x * 1).data.zero_()

    def write_leaf(x: Any) -> None:
        x.data[0] = 1

    def assign(x: Any) -> None:
        x.data = tensor([1.0, 2.0])

    for program in (write, write_leaf, assign):
        with rustorch.debug.strict_data():
            with pytest.raises(RuntimeError, match=message):
                door(program, leaf(1.0, 2.0))
            with no_grad():
                door(program, leaf(1.0, 2.0))
            door(program, tensor([1.0, 2.0]))
        door(program, leaf(1.0, 2.0))
    with rustorch.debug.strict_data():
        assert door(lambda x: x.data * 2, leaf(1.0, 2.0)).tolist() == [2.0, 4.0]
    with rustorch.debug.strict_data(), rustorch.debug.strict_data(False):
        door(write, leaf(1.0, 2.0))


# --- 64: leaves -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("write", [
    lambda x: x.add_(1), lambda x: x.zero_(), lambda x: x.fill_(1), lambda x: x.copy_(rustorch.ones(2)), lambda x: x.exp_(),
    lambda x: x.clamp_(min=0), lambda x: x.masked_fill_(x > 1, 0.0), lambda x: x.__iadd__(1), lambda x: x.__setitem__([0], 1.0),
])  # fmt: skip
def test_c7_64_leaves_are_not_written(door: Door, write: Any) -> None:
    with pytest.raises(RuntimeError, match=LEAF):
        door(write, leaf(1.0, 2.0))
    with no_grad():
        door(write, leaf(1.0, 2.0))


@pytest.mark.parametrize("write", [
    lambda x: x[0].add_(1), lambda x: x.reshape(2, 1).mul_(2), lambda x: x[:1][0].zero_(), lambda x: x.view(1, 2).T.exp_(),
    lambda x: x[:1].copy_(rustorch.ones(1)), lambda x: x.__setitem__(0, 1.0), lambda x: x.unsqueeze(0).add_(1),
])  # fmt: skip
def test_c7_64_views_of_leaves_are_not_written(door: Door, write: Any) -> None:
    with pytest.raises(RuntimeError, match=VIEW):
        door(write, leaf(1.0, 2.0))


def test_c7_64_views_that_became_views_of_leaves(door: Door) -> None:
    def base(b: Any) -> None:
        view = b[0]
        b.requires_grad_()
        view.mul_(2)

    def view(b: Any) -> None:
        b[0].requires_grad_().mul_(2)

    for program in (base, view):
        with pytest.raises(RuntimeError, match="leaf Variable that requires grad is being used in an in-place operation"):
            door(program, tensor([1.0, 2.0]))


def test_c7_64_nothing_has_happened(door: Door) -> None:
    def program(x: Any) -> Any:
        with pytest.raises(RuntimeError, match=LEAF):
            x.mul_(2)
        with pytest.raises(RuntimeError, match=VIEW):
            x[0].mul_(2)
        return (x * x), x._version

    x, y, version = door(gradient(program), leaf(2.0, 3.0))
    assert (x.tolist(), y.tolist(), version) == ([4.0, 6.0], [4.0, 9.0], 0)


# --- 65: saved values -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["exp", "tanh", "sigmoid", "sqrt", "relu"])
def test_c7_65_overwritten_results_do_not_spoil_the_gradient(door: Door, name: str) -> None:
    def program(x: Any) -> Any:
        y = getattr(x, name)()
        z = y * 1
        y.mul_(2)
        return z + y

    def functional(x: Any) -> Any:
        return getattr(x, name)() * 3

    written, plain = (door(gradient(f), leaf(1.0, 2.0))[0] for f in (program, functional))
    np.testing.assert_allclose(written.numpy(), plain.numpy(), rtol=1e-6)


def test_c7_65_overwritten_operands_do_not_spoil_the_gradient(door: Door) -> None:
    def program(x: Any, c: Any) -> Any:
        y = x * c
        w = x * x
        c.add_(100)
        z = w * y
        w.zero_()
        return z

    x, z = door(gradient(program), leaf(1.0, 2.0), tensor([3.0, 5.0]))
    assert z.tolist() == [3.0, 40.0]
    assert x.tolist() == [9.0, 60.0]


def test_c7_65_at_the_second_order(door: Door) -> None:
    def program(x: Any) -> Any:
        y = x**3
        z = y * y
        y.zero_()
        (first,) = rustorch.grad(z.sum(), x, create_graph=True)
        (second,) = rustorch.grad(first.sum(), x)
        return first, second

    first, second = door(program, leaf(1.0, 2.0))
    assert (first.tolist(), second.tolist()) == ([6.0, 192.0], [30.0, 480.0])


def test_c7_65_memory_that_was_shared_after_it_was_read(door: Door) -> None:
    """The write goes to memory that an earlier program has read, and reads again when it is differentiated."""
    x, w = tensor([0.5, -0.5]), leaf(-1.0, -2.0)
    plain = x.detach().numpy()
    del plain

    def program() -> Any:
        mask = x.detach() > 0
        y = rustorch.where(mask, w.sum(), x)
        if not door.compiled:
            y.tolist()
        x.copy_(y.detach())
        return y

    (gradient_,) = rustorch.grad(door(program).sum(), w)
    assert gradient_.tolist() == [1.0, 1.0]
    assert x.tolist() == [-3.0, -0.5]


def test_c7_65_a_masked_write(door: Door) -> None:
    w = leaf(-1.0, -2.0)

    def program(x: Any) -> Any:
        y = x * 1
        if not door.compiled:
            y.detach().numpy()
        y[y.detach() > 0] = w.sum()
        return y

    y = door(program, tensor([0.5, -0.5]))
    (gradient_,) = rustorch.grad(y.sum(), w)
    assert (y.tolist(), gradient_.tolist()) == ([-3.0, -0.5], [1.0, 1.0])


# --- 66: legal writes -------------------------------------------------------------------------------------------------


def test_c7_66_legal_writes(door: Door) -> None:
    def program(x: Any) -> Any:
        y = x * 2
        before = y._version
        same = y.mul_(3) is y
        name = y.grad_fn.name()
        return y, before, y._version, same, y.is_leaf, name

    x, y, before, after, same, is_leaf, name = door(gradient(program), leaf(2.0))
    assert (before, after, same, is_leaf, name) == (0, 1, True, False, "MulBackward0")
    assert (x.tolist(), y.tolist()) == ([6.0], [12.0])


def test_c7_66_tensors_without_a_gradient_take_one_on(door: Door) -> None:
    def program(x: Any) -> Any:
        z, w, v = rustorch.zeros(2), rustorch.zeros(3), rustorch.zeros(2, 2)
        z.add_(x)
        w[1:] = x * 2
        v[0].add_(x * 3)
        copied = rustorch.ones(2).copy_(x * 4)
        flags = z.requires_grad, z.is_leaf, w.requires_grad, w.is_leaf, v.requires_grad, v[1].requires_grad, copied.requires_grad
        return z.sum() + w.sum() + v.sum() + copied.sum(), flags

    x, _, flags = door(gradient(program), leaf(2.0, 3.0))
    assert flags == (True, False, True, False, True, True, True)
    assert x.tolist() == [10.0, 10.0]


@pytest.mark.parametrize(("write", "factor"), [
    (lambda y: y.zero_(), 0.0), (lambda y: y.fill_(3), 0.0), (lambda y: y.copy_(tensor([5.0, 6.0])), 0.0), (lambda y: y.neg_(), -1.0),
    (lambda y: y.sub_(1).div_(2).add_(y.detach(), alpha=2), 0.5), (lambda y: y.__setitem__(slice(None), 1.0), 0.0),
])  # fmt: skip
def test_c7_66_what_is_written_over_has_no_gradient(door: Door, write: Any, factor: float) -> None:
    def program(x: Any) -> Any:
        y = x * 1
        write(y)
        return y, y.requires_grad

    x, _, flag = door(gradient(program), leaf(2.0, 3.0))
    assert flag
    assert x.tolist() == [factor, factor]


def test_c7_66_a_write_that_is_not_recorded_keeps_the_history(door: Door) -> None:
    def program(x: Any) -> Any:
        y = x * 3
        with no_grad():
            y.mul_(10)
            y[0] = 7.0
        return y, y.requires_grad, y.is_leaf

    x, y, flag, is_leaf = door(gradient(program), leaf(2.0, 3.0))
    assert (flag, is_leaf) == (True, False)
    assert (x.tolist(), y.tolist()) == ([3.0, 3.0], [7.0, 90.0])


# --- 67 and 68: views -------------------------------------------------------------------------------------------------


def test_c7_67_writes_through_views(door: Door) -> None:
    def program(x: Any) -> Any:
        y = x * 2
        view = y[0]
        view.mul_(10)
        return y, view._base is y, y[1:][0]._base is y, y._base, y._version, view._version, view.requires_grad

    x, y, base, root, none, *versions, flag = door(gradient(program), leaf(1.0, 2.0, 3.0))
    assert (base, root, none, flag) == (True, True, None, True)
    assert versions == [1, 1]
    assert (x.tolist(), y.tolist()) == ([20.0, 2.0, 2.0], [20.0, 4.0, 6.0])


@pytest.mark.parametrize("recorded", [False, True])
def test_c7_67_versions_are_shared(door: Door, recorded: bool) -> None:
    def program(c: Any) -> Any:
        x = c * 1 if recorded else c
        start = x._version
        view, row = x[1:3], x.reshape(2, 2)[0]
        counts = [(t._version - start) for t in (x, view, row)]
        x.add_(1)
        view.mul_(2)
        row.sub_(1)
        view[0] = 9
        late = x[:2]
        return counts, [(t._version - start) for t in (x, view, row, late)], view._base is x, row._base is x, x.clone()._version

    before, after, base, root, copy = door(program, rustorch.zeros(4))
    assert (before, after) == ([0, 0, 0], [4, 4, 4, 4])
    assert (base, root, copy) == (True, True, 0)


def test_c7_67_views_follow_their_base(door: Door) -> None:
    def program(x: Any) -> Any:
        y = x * 1
        view, turned = y[1:], y.reshape(1, 3).T
        y.mul_(3)
        view[0] = x[0] * 5
        turned[2, 0] = x[1] * 7
        return view.sum() + turned.sum() + y.sum(), view.detach(), turned.detach(), y.detach()

    x, _, view, turned, y = door(gradient(program), leaf(1.0, 2.0, 3.0))
    assert (view.tolist(), turned.tolist(), y.tolist()) == ([5.0, 14.0], [[3.0], [5.0], [14.0]], [3.0, 5.0, 14.0])
    assert x.tolist() == [21.0, 21.0, 0.0]


def test_c7_67_writes_to_views_from_outside(door: Door) -> None:
    base = rustorch.arange(4, dtype=rustorch.float32)
    view = base[1:3]
    seen = base.numpy()

    def program() -> Any:
        view.add_(10)
        total = base.sum()
        base.mul_(2)
        return total, view * 1

    total, after = door(program)
    assert (total.item(), after.tolist()) == (26.0, [22.0, 24.0])
    assert (base.tolist(), seen.tolist(), view.tolist()) == ([0.0, 22.0, 24.0, 6.0], [0.0, 22.0, 24.0, 6.0], [22.0, 24.0])


def test_c7_67_views_made_where_nothing_is_recorded(door: Door) -> None:
    def program(x: Any) -> Any:
        y = x * 2
        with no_grad():
            view = y[0]
        view.mul_(10)

    with pytest.raises(RuntimeError, match=r"^A view was created in no_grad mode and is being modified inplace with grad mode enabled"):
        door(program, leaf(1.0, 2.0))


def test_c7_67_each_of_several_views_may_be_written(door: Door) -> None:
    """PyTorch refuses to write to results of unbind, split and chunk."""

    def program(x: Any) -> Any:
        y = x * 1
        a, b = y.unbind(0)
        a.mul_(2)
        b.mul_(3)
        y.split(1)[0].mul_(5)
        return y

    x, y = door(gradient(program), leaf(1.0, 2.0))
    assert (x.tolist(), y.tolist()) == ([10.0, 3.0], [10.0, 6.0])


def test_c7_67_overlapping_reads_and_writes(door: Door) -> None:
    """PyTorch refuses, since elements would be read after they were written."""

    def program(x: Any) -> Any:
        y = x * 1
        y[:2].add_(y[1:])
        return y

    x, y = door(gradient(program), leaf(1.0, 2.0, 3.0))
    assert (y.tolist(), x.tolist()) == ([3.0, 5.0, 3.0], [1.0, 2.0, 2.0])


def test_c7_68_assignment(door: Door) -> None:
    def program(x: Any) -> Any:
        y = x * 1
        y[1] = x[0] * 5
        return y, y.grad_fn is not None

    x, y, has = door(gradient(program), leaf(1.0, 2.0, 3.0))
    assert has
    assert (x.tolist(), y.tolist()) == ([6.0, 0.0, 1.0], [1.0, 5.0, 3.0])


@pytest.mark.parametrize(("index", "expected"), [
    (slice(1, None), [1.0, 0.0, 0.0]), (Ellipsis, [0.0, 0.0, 0.0]), ([0, 2], [0.0, 1.0, 0.0]), (tensor([2, 0]), [0.0, 1.0, 0.0]),
    (-1, [1.0, 1.0, 0.0]), (slice(None, None, 2), [0.0, 1.0, 0.0]), (tensor([True, False, True]), [0.0, 1.0, 0.0]),
])  # fmt: skip
def test_c7_68_assignment_of_a_number(door: Door, index: Any, expected: list[float]) -> None:
    def program(x: Any) -> Any:
        y = x * 1
        y[index] = 4.0
        return y

    x, y = door(gradient(program), leaf(1.0, 2.0, 3.0))
    assert x.tolist() == expected
    assert y.tolist() == [v if keep else 4.0 for v, keep in zip([1.0, 2.0, 3.0], expected, strict=True)]


def test_c7_68_assignment_at_the_second_order(door: Door) -> None:
    def program(x: Any) -> Any:
        y = x * 1
        y[1] = x[0] ** 3
        y[0].mul_(x[2])
        (first,) = rustorch.grad((y * y).sum(), x, create_graph=True)
        (second,) = rustorch.grad(first.sum(), x)
        return first, second

    first, second = door(program, leaf(2.0, 3.0, 5.0))
    # f = (a c)^2 + a^6 + c^2
    assert first.tolist() == [2 * 2 * 25 + 6 * 32, 0.0, 2 * 4 * 5 + 10]
    assert second.tolist() == [2 * 25 + 30 * 16 + 4 * 2 * 5, 0.0, 4 * 2 * 5 + 2 * 4 + 2]


# --- 69: out=, and the rest -------------------------------------------------------------------------------------------


def test_c7_69_out(door: Door) -> None:
    def program(a: Any, b: Any, out: Any) -> Any:
        before = out._version
        same = rustorch.add(a, b, out=out) is out
        rustorch.exp(a * 0, out=out[0])
        return same, out._version - before, out * 1

    out = rustorch.zeros(2, 2)
    same, counted, found = door(program, tensor([1.0, 2.0]), rustorch.ones(2, 2), out)
    assert same
    assert counted == 2
    assert found.tolist() == out.tolist() == [[1.0, 1.0], [2.0, 3.0]]


def test_c7_69_out_of_several_results(door: Door) -> None:
    def program(x: Any, values: Any, places: Any) -> Any:
        found = rustorch.max(x, 1, out=(values, places))
        return found.values is values, found.indices is places

    values, places = rustorch.zeros(2), rustorch.zeros(2, dtype=rustorch.int64)
    assert door(program, tensor([[1.0, 5.0], [7.0, 2.0]]), values, places) == (True, True)
    assert (values.tolist(), places.tolist()) == ([5.0, 7.0], [1, 0])


def test_c7_69_out_and_gradients(door: Door) -> None:
    with pytest.raises(RuntimeError, match=r"functions with out=\.\.\. arguments don't support automatic differentiation"):
        door(lambda x: rustorch.add(x, 1, out=rustorch.zeros(2)), leaf(1.0, 2.0))

    def program(x: Any) -> Any:
        with no_grad():
            return rustorch.add(x, 1, out=rustorch.zeros(2))

    found = door(program, leaf(1.0, 2.0))
    assert (found.tolist(), found.requires_grad) == ([2.0, 3.0], False)


def test_c7_69_out_of_another_shape_or_dtype(door: Door) -> None:
    with pytest.warns(UserWarning, match=r"^An output with one or more elements was resized since it had shape"):
        assert door(lambda: rustorch.add(rustorch.ones(2), 1, out=rustorch.zeros(3))).tolist() == [2.0, 2.0]
    assert door(lambda: rustorch.add(rustorch.ones(2), 1, out=rustorch.empty(0))).tolist() == [2.0, 2.0]
    wide = door(lambda: rustorch.add(rustorch.ones(2), 1, out=rustorch.zeros(2, dtype=rustorch.float64)))
    assert (wide.dtype, wide.tolist()) == (rustorch.float64, [2.0, 2.0])
    with pytest.raises(RuntimeError, match=r"^result type Float can't be cast to the desired output type Long"):
        door(lambda: rustorch.add(rustorch.ones(2), 1, out=rustorch.zeros(2, dtype=rustorch.int64)))


def test_c7_69_parameters_are_updated(door: Door) -> None:
    w = leaf(1.0, 2.0)

    def step() -> Any:
        w.grad = None
        (w * w).sum().backward()
        with no_grad():
            w.add_(w.grad, alpha=-0.25)
        return w.requires_grad, w.is_leaf

    for _ in range(3):
        assert door(step) == (True, True)
    assert w.tolist() == [0.125, 0.25]


WRITES = [
    ("copy_", (tensor([7.0, 8.0, 9.0]),), [7.0, 8.0, 9.0], 0.0),
    ("masked_fill_", (tensor([True, False, True]), -1.0), [-1.0, 2.0, -1.0], [0.0, 1.0, 0.0]),
    ("index_put_", ((tensor([0, 2]),), tensor([5.0, 6.0])), [5.0, 2.0, 6.0], [0.0, 1.0, 0.0]),
    ("index_put_", ((tensor([0, 0]),), tensor([5.0, 6.0]), True), [12.0, 2.0, 3.0], 1.0),
    ("index_add_", (0, tensor([0, 0]), tensor([5.0, 6.0])), [12.0, 2.0, 3.0], 1.0),
    ("index_fill_", (0, tensor([0, 2]), 5.0), [5.0, 2.0, 5.0], [0.0, 1.0, 0.0]),
    ("index_copy_", (0, tensor([0, 2]), tensor([5.0, 6.0])), [5.0, 2.0, 6.0], [0.0, 1.0, 0.0]),
    ("scatter_", (0, tensor([0, 2]), tensor([5.0, 6.0])), [5.0, 2.0, 6.0], [0.0, 1.0, 0.0]),
    ("scatter_add_", (0, tensor([0, 0]), tensor([5.0, 6.0])), [12.0, 2.0, 3.0], 1.0),
    ("clamp_", (1.5, 2.5), [1.5, 2.0, 2.5], [0.0, 1.0, 0.0]),
    ("lerp_", (tensor([3.0, 4.0, 5.0]), 0.5), [2.0, 3.0, 4.0], 0.5),
    ("addcmul_", (tensor([1.0, 2.0, 3.0]), tensor([1.0, 2.0, 3.0])), [2.0, 6.0, 12.0], 1.0),
    ("pow_", (2,), [1.0, 4.0, 9.0], [2.0, 4.0, 6.0]),
    ("relu_", (), [1.0, 2.0, 3.0], 1.0),
]


@pytest.mark.parametrize(("name", "args", "value", "slope"), WRITES, ids=[f"{w[0]}{i}" for i, w in enumerate(WRITES)])
def test_c7_69_methods_that_write(door: Door, name: str, args: Any, value: Any, slope: Any) -> None:
    def program(x: Any) -> Any:
        y = x * 1
        same = getattr(y, name)(*args) is y
        return y, same, y._version

    x, y, same, version = door(gradient(program), leaf(1.0, 2.0, 3.0))
    assert (same, version) == (True, 1)
    assert y.tolist() == pytest.approx(value)
    assert x.tolist() == pytest.approx(slope if isinstance(slope, list) else [slope] * 3)


def test_c7_69_what_is_put_has_a_gradient(door: Door) -> None:
    def program(v: Any) -> Any:
        y = rustorch.zeros(4)
        y.index_put_((tensor([0, 2]),), v)
        y[[1]] = v[:1] * 10
        y[tensor([False, False, False, True])] = v[1] * 100
        return y

    v, y = door(gradient(program), leaf(1.0, 2.0))
    assert (v.tolist(), y.tolist()) == ([11.0, 101.0], [1.0, 10.0, 2.0, 200.0])


def test_c7_69_refusals(door: Door) -> None:
    ones = rustorch.ones
    sizes = r"^The size of tensor a \(2\) must match the size of tensor b \(3\) at non-singleton dimension 0"
    expanded = r"^The expanded size of the tensor \(2\) must match the existing size \(3\) at non-singleton dimension 0"
    cast, bound = r"^result type Float can't be cast to the desired output type Long", r"^index 5 is out of bounds for dimension 0"
    for write, error, message in [
        (lambda: ones(2).add_(ones(3, 2)), RuntimeError, r"^output with shape \[2\] doesn't match the broadcast shape \[3, 2\]"),
        (lambda: ones(2).add_(ones(3)), RuntimeError, sizes),
        (lambda: ones(2).copy_(ones(3)), RuntimeError, sizes),
        (lambda: ones(2).__setitem__(slice(None), ones(3)), RuntimeError, expanded),
        (lambda: ones(2).copy_(ones(2, 2)), RuntimeError, r"^expand: the number of sizes provided \(1\) must be greater or equal"),
        (lambda: tensor([1]).add_(0.5), RuntimeError, cast),
        (lambda: tensor([1]).add_(ones(1)), RuntimeError, cast),
        (lambda: ones(2).masked_fill_(ones(2), 1.0), RuntimeError, r"^masked_fill_ only supports boolean masks, but got mask"),
        (lambda: ones(2).__setitem__(5, 1.0), IndexError, bound),
        (lambda: ones(2).index_put_([tensor([5])], ones(1)), IndexError, bound),
    ]:  # fmt: skip
        with pytest.raises(error, match=message):
            door(write).tolist()  # where an index is wrong, elements say


@pytest.mark.parametrize(
    "view", [lambda w: w.diagonal(), lambda w: w.as_strided((3,), (4,)), lambda w: w.unfold(0, 3, 1), lambda w: w[1], lambda w: w.T]
)
@pytest.mark.parametrize(
    "write", [lambda v: v.fill_(7), lambda v: v.zero_(), lambda v: v.copy_(rustorch.full(v.shape, 3.0)), lambda v: v.add_(1)]
)
def test_c7_67_what_a_view_is_given_stands_in_its_base(view: Any, write: Any) -> None:
    w = rustorch.ones(3, 3)
    write(view(w))
    expected = np.ones((3, 3), np.float32)
    where = view(rustorch.arange(9).reshape(3, 3)).numpy().ravel()
    expected.reshape(-1)[where] = write(rustorch.ones(1)).item()
    assert (w.numpy() == expected).all()
