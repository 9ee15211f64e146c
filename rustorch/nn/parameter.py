"""Parameters: tensors that a module registers when they become its attributes."""

from __future__ import annotations

from typing import Any, Self

from rustorch import Tensor


class Parameter(Tensor):
    """A leaf that requires gradients, and that a `Module` takes for a parameter of its own."""

    __slots__ = ()

    def __new__(cls, data: Any = (), requires_grad: bool = True) -> Self:
        return super().__new__(cls, data, requires_grad)

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()
