"""C1 of the checklist: leaves, flags, creation. Each line twice, recorded and under `jit`."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import rustorch
from rustorch import Variable, no_grad, tensor
from tests.frontend.door import Door, leaf


def traits(x: Any) -> tuple[Any, ...]:
    """What a tensor says of its gradient."""
    return x.requires_grad, x.is_leaf, x.grad_fn is None, x.grad is None, x.output_nr


@pytest.mark.parametrize("values", [1.0, [], [1.0, 2.0], [[1.0], [2.0]]])
def test_c1_01_a_leaf(door: Door, values: Any) -> None:
    def program() -> Any:
        return traits(tensor(values, requires_grad=True)), traits(tensor(values)), traits(rustorch.zeros(2, requires_grad=True))

    leaf_, plain, zeros = door(program)
    assert leaf_ == zeros == (True, True, True, True, 0)
    assert plain == (False, True, True, True, 0)


def test_c1_01_an_argument_is_a_leaf(door: Door) -> None:
    assert door(traits, leaf(1.0)) == (True, True, True, True, 0)
    def computed(x: Any) -> Any:
        y = x * 2
        return y.requires_grad, y.is_leaf, y.grad_fn is None, y.output_nr

    assert door(computed, leaf(1.0)) == (True, False, False, 0)


@pytest.mark.parametrize("make", [
    lambda: tensor([1], requires_grad=True),
    lambda: tensor([True], requires_grad=True),
    lambda: tensor([1]).requires_grad_(),
    lambda: setattr(tensor([1]), "requires_grad", True),
    lambda: rustorch.zeros(2, dtype=rustorch.int64, requires_grad=True),
    lambda: Variable(np.array([1]), requires_grad=True),
    lambda: rustorch.arange(3, requires_grad=True),
])  # fmt: skip
def test_c1_02_integer_requires_grad(door: Door, make: Any) -> None:
    with pytest.raises(RuntimeError, match=r"^Only Tensors of floating point and complex dtype can require gradients"):
        door(make)


def test_c1_03_what_requires_grad(door: Door) -> None:
    def program(x: Any, c: Any) -> Any:
        with no_grad():
            silent = x * 2
        yes = (x + 1, x + c, c * x, x.double(), x.floor(), x.round(), x.sign(), x.ceil(), x.max(0).values, x[0], x.sum(), x.clone())
        no = (
            c + 1, x > 1, x == c, x.argmax(), x.max(0).indices, x.long(), rustorch.isnan(x), rustorch.ones_like(x), x.detach(), silent,
        )  # fmt: skip
        return [t.requires_grad for t in yes], [t.requires_grad for t in no]

    yes, no = door(program, leaf(1.0, 2.0), tensor([1.0, 3.0]))
    assert all(yes)
    assert not any(no)


@pytest.mark.parametrize("name", ["round", "floor", "ceil", "sign", "trunc"])
def test_c1_03_steps_have_a_gradient_of_zero(door: Door, name: str) -> None:
    def program(x: Any) -> Any:
        getattr(x, name)().sum().backward()
        return x.grad

    assert door(program, leaf(-1.5, 0.0, 1.0, 2.5)).tolist() == [0.0] * 4


def test_c1_04_requires_grad_(door: Door) -> None:
    def program(x: Any) -> Any:
        before = x * 3
        same = x.requires_grad_() is x
        after = x * 3
        after.sum().backward()
        off = tensor([1.0], requires_grad=True)
        on = off * 2
        off.requires_grad_(False)
        return same, before.requires_grad, after.requires_grad, x.grad, on.requires_grad, (off * 2).requires_grad

    same, before, after, gradient, on, off = door(program, tensor([1.0, 2.0]))
    assert same
    assert (before, after, on, off) == (False, True, True, False)
    assert gradient.tolist() == [3.0, 3.0]


def test_c1_04_a_leaf_switched_off_keeps_its_graph(door: Door) -> None:
    def program(x: Any) -> Any:
        y = (x * x).sum()
        x.requires_grad_(False)
        y.backward()
        return x.grad, y.requires_grad

    x = leaf(3.0)
    gradient, flag = door(program, x)
    assert flag
    assert gradient is None or gradient.tolist() == [6.0]


def test_c1_05_flags_of_computed_tensors(door: Door) -> None:
    message = r"^you can only change requires_grad flags of leaf variables\. If you want to use a computed variable in a subgraph"
    with pytest.raises(RuntimeError, match=message):
        door(lambda x: (x * 2).requires_grad_(False), leaf(1.0))
    with pytest.raises(RuntimeError, match=message):
        door(lambda x: setattr(x * 2, "requires_grad", False), leaf(1.0))
    assert door(lambda x: (x * 2).requires_grad_(True).requires_grad, leaf(1.0))


def test_c1_06_numpy(door: Door) -> None:
    for program in (lambda x: x.numpy(), lambda x: np.asarray(x), lambda x: (x * 2).numpy()):
        message = r"^Can't call numpy\(\) on Tensor that requires grad. Use tensor.detach\(\).numpy\(\) instead."
        with pytest.raises(RuntimeError, match=message):
            door(program, leaf(1.0, 2.0))
    found = door.looking(lambda x: x.detach().numpy(), leaf(1.0, 2.0))
    assert found is None or found.tolist() == [1.0, 2.0]
    found = door.looking(lambda x: x.numpy(force=True), leaf(1.0, 2.0))
    assert found is None or found.tolist() == [1.0, 2.0]


def test_c1_07_numbers(door: Door) -> None:
    x = tensor([[2.5]])
    for convert, expected in ((float, 2.5), (int, 2), (bool, True), (lambda t: t.item(), 2.5), (lambda t: [0, 1, 2][t.long()], 2)):
        found = door.looking(convert, x)
        assert door.compiled or (found == expected and type(found) is type(expected))
    assert door.looking(lambda t: t.item(), leaf(2.5)) in (None, 2.5)


def test_c1_07_numbers_of_many_elements(door: Door) -> None:
    many, none = tensor([1.0, 2.0]), rustorch.zeros(0)
    with pytest.raises(RuntimeError, match=r"^Boolean value of Tensor with more than one value is ambiguous"):
        door(bool, many)
    with pytest.raises(RuntimeError, match=r"^Boolean value of Tensor with no values is ambiguous"):
        door(bool, none)
    with pytest.raises(RuntimeError, match=r"^a Tensor with 2 elements cannot be converted to Scalar"):
        door(lambda t: t.item(), many)
    for convert in (float, int):
        for t in (many, none):
            with pytest.raises(ValueError, match=r"^only one element tensors can be converted to Python scalars"):
                door(convert, t)
    with pytest.raises(TypeError, match=r"^only integer tensors of a single element can be converted to an index"):
        door(lambda t: [1, 2][t], many)


def test_c1_07_numbers_of_a_tensor_with_a_gradient() -> None:
    """PyTorch warns that a tensor with a gradient loses it as a number; float() of a loss is no reason to warn here."""
    assert float(leaf(2.5)) == 2.5


def test_c1_08_gradients_of_computed_tensors(door: Door) -> None:
    def program(x: Any) -> Any:
        y = x * 2
        with pytest.warns(UserWarning, match=r"^The .grad attribute of a Tensor that is not a leaf Tensor is being accessed") as caught:
            found = y.grad
        y.retain_grad()
        return found is None, y.grad is None, caught[0].filename

    none, still, file = door(program, leaf(1.0))
    assert none
    assert still
    assert file == __file__


def test_c1_09_assigning_gradients(door: Door) -> None:
    def assign(value: Any) -> Any:
        def program(x: Any) -> Any:
            x.grad = value
            return x.grad is value

        return door(program, leaf(1.0, 2.0))

    with pytest.raises(TypeError, match=r"^assigned grad expected to be a Tensor or None but got grad of type int"):
        assign(3)
    with pytest.raises(RuntimeError, match=r"^attempting to assign a gradient of size '\[3\]' to a tensor of size '\[2\]'"):
        assign(tensor([1.0, 2.0, 3.0]))
    with pytest.raises(RuntimeError, match=r"^attempting to assign a gradient with dtype 'double' to a tensor with grad_dtype 'Float'"):
        assign(tensor([1.0, 2.0], dtype=rustorch.float64))
    assert assign(tensor([5.0, 6.0]))
    assert assign(None)


def test_c1_09_a_tensor_is_not_its_own_gradient(door: Door) -> None:
    def program(x: Any) -> None:
        x.grad = x

    with pytest.raises(RuntimeError, match=r"^can't assign Variable as its own grad"):
        door(program, leaf(1.0))


def test_c1_09_assigned_gradients_are_accumulated_into(door: Door) -> None:
    def program(x: Any) -> Any:
        x.grad = tensor([10.0, 20.0])
        (x * 2).sum().backward()
        first = x.grad
        del x.grad
        return first, x.grad

    gradient, none = door(program, leaf(1.0, 2.0))
    assert gradient.tolist() == [12.0, 22.0]
    assert none is None


def test_c1_10_deepcopy(door: Door) -> None:
    x = leaf(1.0, 2.0)
    (x * x).sum().backward()

    def program() -> Any:
        found = copy.deepcopy({"a": x, "b": x})
        twin = found["a"]
        traits = twin is found["b"], twin is x, twin.requires_grad, twin.is_leaf, twin.grad is x.grad
        with no_grad():
            twin.add_(1)
        (twin * 3).sum().backward()
        return traits, twin.detach(), twin.grad

    for _ in range(2):
        traits, twin, gradient = door(program)
        assert traits == (True, False, True, True, False)
        assert (twin.tolist(), gradient.tolist()) == ([2.0, 3.0], [5.0, 7.0])
        assert (x.tolist(), x.grad.tolist()) == ([1.0, 2.0], [2.0, 4.0])
    with pytest.raises(RuntimeError, match=r"^Only Tensors created explicitly by the user \(graph leaves\) support the deepcopy protocol"):
        door(lambda x: copy.deepcopy(x * 2), x)


def test_c1_10_pickle(door: Door) -> None:
    found = door.looking(lambda x: pickle.loads(pickle.dumps(x)), leaf(1.0, 2.0))
    assert found is None or (found.requires_grad, found.is_leaf, found.tolist()) == (True, True, [1.0, 2.0])
    found = door.looking(lambda x: pickle.loads(pickle.dumps(x)), tensor([1, 2]))
    assert found is None or (found.requires_grad, found.dtype, found.tolist()) == (False, rustorch.int64, [1, 2])


def test_c1_10_pickle_of_a_computed_tensor_gives_a_leaf() -> None:
    twin = pickle.loads(pickle.dumps(leaf(1.0, 2.0) * 2))
    assert (twin.requires_grad, twin.is_leaf, twin.tolist()) == (True, True, [2.0, 4.0])


def test_c1_11_variables(door: Door) -> None:
    def program(t: Any) -> Any:
        v, w = Variable(t, requires_grad=True), Variable.from_tensor(t, requires_grad=True)
        y = 1 + v * 3 - 2 + w * np.array([2.0, 4.0], np.float32) + np.float32(1) * v
        y.sum().backward()
        first = v.grad
        v.zero_grad()
        return isinstance(y, Variable), isinstance(t, rustorch.Tensor), y, first, w.grad, v.grad, v.is_leaf, v.data.requires_grad

    variable, is_tensor, y, first, second, none, is_leaf, tracked = door(program, tensor([2.0, 3.0]))
    assert variable
    assert is_tensor
    assert is_leaf
    assert not tracked
    assert y.tolist() == [11.0, 23.0]
    assert (first.tolist(), second.tolist(), none) == ([4.0, 4.0], [2.0, 4.0], None)


@pytest.mark.parametrize("other", [2, 2.0, True, np.float32(2), np.array([2.0, 3.0], np.float32), np.array(2), tensor([2.0, 3.0])])
def test_c1_11_operators_with_numbers_and_arrays(door: Door, other: Any) -> None:
    def program(x: Any) -> Any:
        return [x + other, other + x, x * other, other * x, x - other, other - x, x / other, other / x, x**other, x > other]

    x = np.array([1.5, 4.0], np.float32)
    y = other.numpy() if isinstance(other, rustorch.Tensor) else other
    expected = [x + y, y + x, x * y, y * x, x - y, y - x, x / y, y / x, x**y, x > y]
    for ours, theirs in zip(door(program, tensor(x, requires_grad=True)), expected, strict=True):
        assert isinstance(ours, Variable)
        np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=1e-6)


@pytest.mark.parametrize("other", [3, 2.5, True, tensor([1.0, 2.0], dtype=rustorch.float64)])
def test_c1_11_data_is_written_without_a_trace_in_the_graph(door: Door, other: Any) -> None:
    def program(x: Any) -> Any:
        x.data = x.data + other
        (x * x).sum().backward()
        return x.grad, x.is_leaf, x.requires_grad

    x = leaf(1.0, 2.0, dtype=rustorch.float64)
    gradient, is_leaf, flag = door(program, x)
    assert is_leaf
    assert flag
    assert gradient.tolist() == (2 * x.detach()).tolist()
