"""`vmap`: functions on single examples, over batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import rustorch
from rustorch import jit, tensor, vmap
from rustorch.testing import assert_close

X = rustorch.tensor(np.random.default_rng(0).standard_normal((5, 3)))
W = rustorch.tensor(np.random.default_rng(1).standard_normal((3, 2)))


def loop(f: Any, *batches: Any) -> Any:
    return rustorch.stack([f(*(b[i] for b in batches)) for i in range(len(batches[0]))])


@pytest.mark.parametrize("wrap", [lambda f: f, jit], ids=["recorded", "jit"])
@pytest.mark.parametrize(
    "f",
    [
        lambda x: x.exp().sum(),
        lambda x: (x @ W).tanh(),
        lambda x: x.reshape(1, 3).transpose(0, 1) * 2,
        lambda x: rustorch.cat([x, x.flip(0)])[1:4],
        lambda x: x.softmax(0) if hasattr(x, "softmax") else x.max(0).values,
        lambda x: rustorch.where(x > 0, x, 0.5 * x).cumsum(0),
        lambda x: x[tensor([2, 0])],
        lambda x: rustorch.ones(2),
    ],
)
def test_against_a_loop(f: Any, wrap: Any) -> None:
    assert_close(wrap(vmap(f))(X), loop(f, X), rtol=1e-6, atol=1e-6)


def test_dimensions() -> None:
    f = vmap(lambda x, w: x @ w, in_dims=(0, None))
    assert_close(f(X, W), X @ W)
    assert_close(vmap(lambda x: x * 2, in_dims=1, out_dims=1)(X), X * 2)
    assert_close(vmap(lambda p: p["a"] + p["b"], in_dims=({"a": 0, "b": None},))({"a": X, "b": X[0]}), X + X[0])
    assert_close(vmap(vmap(lambda x, y: x * y, (None, 0)), (0, None))(X[:, 0], X[:, 1]), X[:, :1] * X[:, 1])
    found = vmap(lambda x: (x.sum(), {"twice": x * 2}))(X)
    assert_close(found[1]["twice"], X * 2)


def test_per_sample_gradients() -> None:
    w = tensor([0.5, -1.0, 2.0], dtype=rustorch.float64)

    def loss(w: Any, x: Any) -> Any:
        return (w * x).sum().sin()

    per_sample = vmap(rustorch.grad(loss), (None, 0))
    expected = loop(lambda x: rustorch.grad(loss)(w, x), X)
    assert_close(per_sample(w, X), expected)
    assert_close(jit(per_sample)(w, X), expected)
    through = rustorch.grad(lambda w: vmap(loss, (None, 0))(w, X).sum())(w)
    assert_close(through, expected.sum(0))
    leaf = X.clone().requires_grad_()
    vmap(lambda x: (x * x).sum())(leaf).sum().backward()
    assert_close(leaf.grad, 2 * X)


def test_randomness() -> None:
    with pytest.raises(RuntimeError, match="randomness error mode"):
        vmap(lambda x: x + rustorch.rand(3))(X)
    rustorch.manual_seed(0)
    same = vmap(lambda x: rustorch.rand(3) + 0 * x, randomness="same")(X)
    different = vmap(lambda x: rustorch.rand(3) + 0 * x, randomness="different")(X)
    assert len({tuple(r) for r in same.tolist()}) == 1
    assert len({tuple(r) for r in different.tolist()}) == 5


def test_refusals() -> None:
    state = rustorch.zeros(3)
    with pytest.raises(NotImplementedError, match="writes to tensors from outside"):
        vmap(lambda x: state.add_(1) + x)(X)
    with pytest.raises(ValueError, match="Expected all tensors to have the same size in the mapped dimension"):
        vmap(lambda x, y: x * y)(X, X[:2])
    with pytest.raises(IndexError, match="in_dim=3"):
        vmap(lambda x: x, in_dims=3)(X)
    with pytest.raises(RuntimeError, match="where"):
        vmap(lambda x: x if x.sum() > 0 else -x)(X)
    assert state.tolist() == [0.0, 0.0, 0.0]
