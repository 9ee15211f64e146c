"""What the vocabulary refuses, and that a wrong index is named, through both doors, before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rustorch
from rustorch.errors import UserError

X = np.arange(12.0).reshape(3, 4)

WRONG: list[tuple[str, Callable[..., Any], list[list[int]], str]] = [
    ("x[i]", lambda x, i: x[i], [[0, 3]], "index 3 is out of bounds for dimension 0 with size 3"),
    ("x[negative]", lambda x, i: x[i], [[-4]], "index -4 is out of bounds for dimension 0 with size 3"),
    ("x[:, i]", lambda x, i: x[:, i], [[1, 4]], "index 4 is out of bounds for dimension 1"),
    ("x[i, j]", lambda x, i, j: x[i, j], [[0, 1], [2, 7]], "index 7 is out of bounds for dimension 1"),
    ("x[i, j], the first", lambda x, i, j: x[i, j], [[0, -5], [2, 0]], "index -5 is out of bounds for dimension 0"),
    ("gather", lambda x, i: x.gather(1, i.reshape(1, 2)), [[0, 4]], "index 4 is out of bounds for dimension 1 with size 4"),
    ("gather negative", lambda x, i: x.gather(1, i.reshape(1, 1)), [[-1]], "index -1 is out of bounds for dimension 1 with size 4"),
    ("take", lambda x, i: x.take(i), [[12]], "index 12 is out of bounds for dimension 0 with size 12"),
    ("index_select", lambda x, i: x.index_select(0, i), [[3]], "index 3 is out of bounds for dimension 0 with size 3"),
    ("take_along_dim", lambda x, i: x.take_along_dim(i.reshape(1, 1), 1), [[4]], "index 4 is out of bounds for dimension 1 with size 4"),
    ("scatter", lambda x, i: x.scatter(0, i.reshape(1, 1), 1.0), [[5]], "index 5 is out of bounds for dimension 0 with size 3"),
    ("scatter_add", lambda x, i: x.scatter_add(0, i.reshape(1, 1), x), [[5]], "index 5 is out of bounds for dimension 0 with size 3"),
    ("index_add", lambda x, i: x.index_add(0, i, x[:1]), [[3]], "index 3 is out of bounds for dimension 0 with size 3"),
    ("index_fill", lambda x, i: x.index_fill(1, i, 0), [[-5]], "index -5 is out of bounds for dimension 1 with size 4"),
    ("index_put", lambda x, i: x.index_put((i, i), x[0, 0]), [[3]], "index 3 is out of bounds for dimension 0"),
    ("put", lambda x, i: x.put(i, x[0, :1]), [[12]], "index 12 is out of bounds for dimension 0 with size 12"),
    ("embedding", lambda x, i: rustorch.functional.embedding(i, x), [[3]], "index"),
]


@pytest.mark.parametrize("door", ["recorded", "jit"])
@pytest.mark.parametrize(("call", "indices", "words"), [c[1:] for c in WRONG], ids=[c[0] for c in WRONG])
def test_a_wrong_index_is_named(call: Callable[..., Any], indices: list[list[int]], words: str, door: str) -> None:
    given = [rustorch.tensor(X), *(rustorch.tensor(i) for i in indices)]
    function = rustorch.jit(call) if door == "jit" else call
    with pytest.raises(IndexError, match=words):
        function(*given).numpy()


def test_nothing_is_written_where_an_index_is_wrong() -> None:
    def write(x: Any, y: Any, i: Any) -> Any:
        x[i] = 5.0
        y.mul_(2)
        return y

    for door in (write, rustorch.jit(write)):
        x, y = rustorch.tensor(X), rustorch.tensor(X)
        with pytest.raises(IndexError, match="index 3 is out of bounds"):
            door(x, y, rustorch.tensor([0, 3])).numpy()
        if door is not write:  # recorded writes are values that nobody can read after the error
            np.testing.assert_array_equal(x.numpy(), X)
            np.testing.assert_array_equal(y.numpy(), X)


def test_assignments_to_index_tensors_are_traced() -> None:
    def put(x: Any, i: Any, v: Any) -> Any:
        x = x.clone()
        x[i] = v
        return x

    x, v = rustorch.tensor(X), rustorch.tensor(X[:2] + 0.5)
    found = rustorch.jit(put)(x, rustorch.tensor([2, 0]), v).numpy()
    np.testing.assert_array_equal(found, np.stack([X[1] + 0.5, X[1], X[0] + 0.5]))
    last = rustorch.jit(put)(x, rustorch.tensor([1, 1]), v).numpy()
    np.testing.assert_array_equal(last[1], X[1] + 0.5)


T, F = rustorch.tensor, rustorch.functional
REFUSED: list[tuple[str, Callable[[], Any], type[Exception], str]] = [
    ("einsum ranks", lambda: rustorch.einsum("ij,jk", T(X), T(X[0])), RuntimeError, "number of subscripts"),
    ("einsum sizes", lambda: rustorch.einsum("ij,kj->ik", T(X), T(X.T.copy())), RuntimeError, "do not broadcast"),
    ("einsum output", lambda: rustorch.einsum("ij->k", T(X)), RuntimeError, "does not appear"),
    ("mm of vectors", lambda: rustorch.mm(T(X), T(X[0])), RuntimeError, "must be a matrix"),
    ("dot of matrices", lambda: rustorch.dot(T(X), T(X)), RuntimeError, "1D tensors expected"),
    ("cross", lambda: rustorch.cross(T(X), T(X), dim=1), RuntimeError, "must have length 3"),
    ("tensordot", lambda: rustorch.tensordot(T(X), T(X), 1), RuntimeError, "contracted dimensions need to match"),
    ("mean of integers", lambda: T([1, 2]).mean(), RuntimeError, "could not infer output dtype"),
    ("max of nothing", lambda: rustorch.zeros(0).max(), RuntimeError, "Expected reduction dim to be specified"),
    ("max along nothing", lambda: rustorch.zeros(0, 3).max(0), IndexError, "to have non-zero size"),
    ("dim twice", lambda: T(X).sum((0, 0)), (RuntimeError, TypeError), "multiple times"),
    ("no such dim", lambda: T(X).sum(2), IndexError, "Dimension out of range"),
    ("scatter types", lambda: T(X).scatter(0, T([[0]]), T([[1]])), RuntimeError, "self.dtype to be equal to src.dtype"),
    ("gather index type", lambda: T(X).gather(0, T([[0.0]])), RuntimeError, "dtype int64 for index"),
    ("where condition", lambda: rustorch.where(T(X), T(X), T(X)), TypeError, "boolean tensor"),
    ("view that does not fit", lambda: T(X).reshape(5, -1), RuntimeError, "is invalid for input of size 12"),
    ("repeat", lambda: T(X).repeat(2), RuntimeError, "can not be smaller"),
    ("roll", lambda: T(X).roll((1, 2), 0), RuntimeError, "must align"),
    ("diagonal", lambda: T(X).diagonal(0, 1, 1), RuntimeError, "cannot be identical"),
    ("as_strided", lambda: T(X).as_strided((4, 4), (4, 1)), RuntimeError, "out of bounds for storage"),
    ("expanded memory", lambda: T([1.0, 2.0]).expand(3, 2).add_(1), RuntimeError, "more than one element"),
    ("pad", lambda: rustorch.functional.pad(T(X), (4, 0), "reflect"), RuntimeError, "Padding size should be less"),
    ("pixel_shuffle", lambda: rustorch.functional.pixel_shuffle(rustorch.zeros(1, 3, 2, 2), 2), RuntimeError, "divisible by"),
    ("grid_sample", lambda: F.grid_sample(rustorch.zeros(1, 1, 2, 2), rustorch.zeros(1, 2, 2, 3)), RuntimeError, "expected 4D"),
    ("interpolate", lambda: rustorch.functional.interpolate(rustorch.zeros(1, 1, 2)), (TypeError, ValueError), "should be defined"),
    ("multi_margin", lambda: rustorch.functional.multi_margin_loss(T(X), T([0, 1, 4])), IndexError, "out of bounds"),
    ("heaviside", lambda: rustorch.heaviside(T(X), T([1])), RuntimeError, "different dtypes"),
    ("lerp", lambda: rustorch.lerp(T(X), T(X).float(), 0.5), RuntimeError, "expected dtype"),
    ("the name of integers", lambda: T([1, 2]).mean(), RuntimeError, "Got: Long"),
    ("the names of two types", lambda: rustorch.isclose(T([1.0]), T([1])), RuntimeError, "Float did not match Long"),
    ("the name of doubles", lambda: rustorch.addmm(T(X[:3, :3]).float(), T(X), T(X.T.copy())), RuntimeError, "got Float and Double"),
]


@pytest.mark.parametrize(("call", "kind", "words"), [c[1:] for c in REFUSED], ids=[c[0] for c in REFUSED])
def test_refusals(call: Callable[[], Any], kind: Any, words: str) -> None:
    with pytest.raises(kind, match=words) as caught:
        call().numpy()
    assert isinstance(caught.value, UserError)
