"""C7 of the checklist: writing in place, views, versions, memory shared with numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import rustorch
from rustorch import no_grad, tensor


def test_leaves_that_require_gradients_are_not_written() -> None:
    x = tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(RuntimeError, match=r"a leaf Variable that requires grad is being used in an in-place operation\."):
        x.add_(1)
    with pytest.raises(RuntimeError, match=r"a view of a leaf Variable that requires grad is being used in an in-place operation\."):
        x[0].add_(1)
    with no_grad():
        x.add_(1)
    assert (x.tolist(), x.requires_grad, x.is_leaf, x._version) == ([2.0, 3.0], True, True, 1)
    (x * x).sum().backward()
    assert x.grad.tolist() == [4.0, 6.0]


def test_two_leaves_of_one_value_have_their_own_gradients() -> None:
    a, b = (tensor([1.0], requires_grad=True) for _ in range(2))
    with no_grad():
        a.zero_()
        b.zero_()
    (a * 2 + b * 3).sum().backward()
    assert (a.grad.tolist(), b.grad.tolist()) == ([2.0], [3.0])


def test_legal_writes() -> None:
    x = tensor([2.0], requires_grad=True)
    y = x * 2
    y.mul_(3)
    assert y._version == 1
    y.sum().backward()
    assert x.grad.tolist() == [6.0]


def test_writing_over_a_saved_value_gives_the_right_gradient() -> None:
    x = tensor([1.0, 2.0], requires_grad=True)
    y = x.exp()
    z = y * 2
    y.mul_(0)
    z.sum().backward()
    assert np.allclose(x.grad.numpy(), 2 * np.exp([1.0, 2.0]), rtol=1e-6)


def test_writes_through_views() -> None:
    x = tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x * 2
    y[0].mul_(10)
    y.sum().backward()
    assert x.grad.tolist() == [20.0, 2.0, 2.0]
    assert y[0:1]._base is y


def test_assignment_differentiates_both_ways() -> None:
    x = tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x * 1
    y[1] = x[0] * 5
    y.sum().backward()
    assert x.grad.tolist() == [6.0, 0.0, 1.0]


@pytest.mark.parametrize("look", [False, True])
@pytest.mark.parametrize("recorded", [False, True])
def test_views_and_bases_see_each_other(look: bool, recorded: bool) -> None:
    def make() -> Any:
        x = rustorch.arange(12, dtype=rustorch.float32).reshape(3, 4)
        return x + 0 if recorded else x

    expected = np.arange(12, dtype=np.float32).reshape(3, 4)
    x = make()
    row, column, turned, flat = x[1], x[:, 2], x.T, x.reshape(-1)
    n_row, n_column, n_turned, n_flat = expected[1], expected[:, 2], expected.T, expected.reshape(-1)
    if look:
        x.tolist()
    row.add_(10)
    n_row += 10
    column.mul_(2)
    n_column *= 2
    turned[3, 0] = -1
    n_turned[3, 0] = -1
    flat[5:7] = 0
    n_flat[5:7] = 0
    x[::2, 1::2] = 7
    expected[::2, 1::2] = 7
    for ours, theirs in ((x, expected), (row, n_row), (column, n_column), (turned, n_turned), (flat, n_flat)):
        assert ours.tolist() == theirs.tolist()


def test_memory_is_shared_with_numpy() -> None:
    array = np.array([1.0, 2.0, 3.0], np.float32)
    x = rustorch.from_numpy(array)
    y = x * 2
    array[0] = 100
    assert y.tolist() == [2.0, 4.0, 6.0]
    assert x.tolist() == [100.0, 2.0, 3.0]
    x.add_(1)
    assert array.tolist() == [101.0, 3.0, 4.0]
    x[1:].zero_()
    assert array.tolist() == [101.0, 0.0, 0.0]
    shown = (x + 1).numpy()
    shown[0] = 5
    assert x[0].item() == 101.0


def test_copies_do_not_share() -> None:
    array = np.array([1.0, 2.0])
    x = tensor(array)
    c = x.clone()
    seen = c.numpy()
    seen[0] = 9
    array[1] = 9
    assert x.tolist() == [1.0, 2.0]
    assert x.dtype is rustorch.float64


def test_data() -> None:
    x = tensor([1.0, 2.0], requires_grad=True)
    x.data.mul_(3)
    assert x.tolist() == [3.0, 6.0]
    x.data -= 1
    assert x.tolist() == [2.0, 5.0]
    x.data = tensor([7.0])
    assert (x.tolist(), x.is_leaf, x.requires_grad) == ([7.0], True, True)
    (x * x).sum().backward()
    assert x.grad.tolist() == [14.0]


def test_detached_tensors_share() -> None:
    x = tensor([1.0, 2.0], requires_grad=True)
    d = x.detach()
    d[0] = 5
    assert x.tolist() == [5.0, 2.0]


def test_kinds_and_shapes_are_kept() -> None:
    n = tensor([1, 2])
    with pytest.raises(RuntimeError, match="result type Float can't be cast to the desired output type Long"):
        n.add_(0.5)
    x = tensor([1.0, 2.0])
    with pytest.raises(RuntimeError, match=r"output with shape \[2\] doesn't match the broadcast shape \[3, 2\]"):
        x.add_(rustorch.ones(3, 2))
    x += tensor([1.0, 1.0], dtype=rustorch.float64)
    assert (x.dtype, x.tolist()) == (rustorch.float32, [2.0, 3.0])
    same = x
    x *= 2
    assert same is x


def test_assignments() -> None:
    for index, value in [
        ((0,), 5.0), ((slice(None), 1), 2.0), ((Ellipsis, -1), [1.0, 2.0, 3.0]), (([0, 2],), 4.0), (([0, 2], [1, 3]), [8.0, 9.0]),
        ((np.array([True, False, True]),), 6.0), ((None, 1), 3.0),
    ]:  # fmt: skip
        x, expected = rustorch.zeros(3, 4), np.zeros((3, 4), np.float32)
        x[index] = tensor(value) if isinstance(value, list) else value
        expected[index] = value
        assert x.tolist() == expected.tolist(), index
    x = rustorch.zeros(3)
    x[tensor([1.0, -1.0, 2.0]) > 0] = 3.0
    assert x.tolist() == [3.0, 0.0, 3.0]
    with pytest.raises(IndexError, match="out of bounds"):
        x[7] = 1.0


def test_indexing_as_numpy() -> None:
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    x = tensor(array)
    for index in [
        0, -1, slice(0, 1), (slice(None), 1), (Ellipsis, 2), (None, 1), (slice(None, None, 2), slice(1, 3)), ([1, 0],), (0, [2, 0]),
        (slice(None), [0, 2], [1, 3]), ([0, 1], slice(None), [1, 3]), array > 5, (1, Ellipsis, np.array([0, 3])), (),
        (np.array([[0, 1], [1, 0]]),), (slice(None), -1, slice(None, -1)),
    ]:  # fmt: skip
        assert x[index].tolist() == array[index].tolist(), index
    with pytest.raises(IndexError, match="too many indices for tensor of dimension 3"):
        x[0, 0, 0, 0]
    with pytest.raises(IndexError, match="index 5 is out of bounds for dimension 0 with size 2"):
        x[5]
    with pytest.raises(ValueError, match="step must be greater than zero"):
        x[::-1]
    assert [row.tolist() for row in x] == array.tolist()
    assert len(x) == 2


def test_writes_to_a_batch_are_no_programs_of_their_own() -> None:
    x = rustorch.arange(10, dtype=rustorch.float32)
    batches = [x[i : i + 2] for i in range(0, 10, 2)]
    assert all(b._array is not None for b in batches)
    assert [float(b.sum()) for b in batches] == [1.0, 5.0, 9.0, 13.0, 17.0]
