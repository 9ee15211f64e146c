"""Parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rustorch import Tensor, cat
from rustorch.errors import ArgumentError, ShapeError


def parameters_to_vector(parameters: Iterable[Any]) -> Any:
    """All elements of the parameters in one vector."""
    return cat([p.reshape(-1) for p in parameters])


def vector_to_parameters(vec: Any, parameters: Iterable[Any]) -> None:
    """Write the parts of a vector over the parameters."""
    if not isinstance(vec, Tensor):
        raise ArgumentError(f"expected rustorch.Tensor, but got: {type(vec).__name__}")
    listed = list(parameters)
    if sum(p.numel() for p in listed) != vec.numel():
        raise ShapeError(f"the vector has {vec.numel()} elements, and the parameters {sum(p.numel() for p in listed)}")
    start = 0
    for p in listed:
        p.data = vec[start : start + p.numel()].reshape(p.shape).detach()
        start += p.numel()
