"""What several of the tests beside PyTorch do: one function in both libraries, its gradients, what it refuses; programs by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import rustorch

Program = Callable[[Any], Any]


class Programs(dict[str, Program]):
    """Programs over one of the libraries, by name: a decorator for each of them."""

    def __call__(self, function: Program) -> Program:
        self[function.__name__] = function
        return function


def leaf(lib: Any, *values: float) -> Any:
    """A vector of float64 that gradients are asked for."""
    return lib.tensor(list(values), requires_grad=True, dtype=lib.float64)


def results(library: Any, function: Callable[..., Any], arrays: tuple[Any, ...]) -> list[Any]:
    """What a function gives, and the gradients of the sum of its squares with respect to the floating-point arguments."""
    tensors = [library.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    found = function(*tensors)
    outputs = list(found) if isinstance(found, tuple) else [found]
    floats = [y for y in outputs if y.requires_grad]
    if floats:
        sum((y * y).sum() for y in floats).backward()
    gradients = [t.grad for t in tensors if t.requires_grad and t.grad is not None]
    return [np.asarray(y.detach().numpy()) for y in (*outputs, *gradients)]


def refusals(call: Program) -> tuple[str, str]:
    """The first lines of what rustorch and PyTorch raise: the same exception, or a subclass of it."""
    raised = []
    for library in (rustorch, torch):
        with pytest.raises(Exception) as caught:
            call(library)
        raised.append(caught.value)
    ours, theirs = raised
    assert isinstance(ours, type(theirs))
    return str(ours).splitlines()[0], str(theirs).splitlines()[0]
