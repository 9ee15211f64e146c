"""The two ways to run a program: recorded as it runs, and compiled by `rustorch.jit`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import rustorch
from rustorch.errors import TraceError


class Door:
    """Calls a function on arguments: as it is, or under `jit`.

    What the function returns may be any nesting of tensors, numbers and names: only the test, outside, looks at elements.
    """

    def __init__(self, compiled: bool) -> None:
        self.compiled = compiled

    def __call__(self, program: Callable[..., Any], *args: Any) -> Any:
        return rustorch.jit(program)(*args) if self.compiled else program(*args)

    def looking(self, program: Callable[..., Any], *args: Any) -> Any:
        """The result of a program that looks at elements. A traced function has none, and says so: None."""
        if not self.compiled:
            return program(*args)
        with pytest.raises(TraceError, match="were asked for while the function"):
            self(program, *args)
        return None


def leaf(*values: float, dtype: Any = None) -> Any:
    """A vector that requires gradients."""
    return rustorch.tensor(list(values), requires_grad=True, dtype=dtype)
