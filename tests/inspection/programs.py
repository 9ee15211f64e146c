"""Programs that the tests of inspection look at. Goldens hold the numbers of these lines: add at the end."""

import functools
from typing import Any

import numpy as np

import rustorch
from rustorch.frontend.transforms import value_and_grad
from rustorch.inspection import Inspection, inspect


def squares(x: Any) -> Any:
    y = x * x
    return y.sum()


def squares_step(x: Any, w: Any) -> Any:
    loss = ((x * w).exp() + x).sum()
    loss.backward()
    with rustorch.no_grad():
        w.sub_(0.5 * w.grad)
    return loss


def two_layers() -> tuple[Any, dict[str, Any]]:
    """A training step that reads its parameters from outside, and those."""
    rustorch.manual_seed(0)
    parameters = {"w1": rustorch.randn(8, 16), "b1": rustorch.zeros(16), "w2": rustorch.randn(16, 4)}
    for parameter in parameters.values():
        parameter.requires_grad_()
    w1, b1, w2 = parameters.values()

    def train(x: Any, labels: Any) -> Any:
        h = rustorch.relu(x @ w1 + b1)
        logits = h @ w2
        shifted = logits - logits.amax(dim=1, keepdim=True)
        logp = shifted - shifted.exp().sum(dim=1, keepdim=True).log()
        loss = -logp.gather(1, labels.reshape(-1, 1)).mean()
        loss.backward()
        with rustorch.no_grad():
            for p in (w1, b1, w2):
                p.sub_(0.1 * p.grad)
        return loss

    return train, parameters


@functools.cache
def seen_training() -> Inspection:
    """The inspection of a training step, made once."""
    train, _ = two_layers()
    return inspect(train)(np.ones((32, 8), np.float32), np.zeros(32, np.int64))


def seen_squares() -> Inspection:
    """The inspection of a gradient: its page and its goldens name the lines of this file."""
    return inspect(value_and_grad(squares))(np.ones(1024, np.float32))
