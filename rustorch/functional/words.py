"""Element types as PyTorch's messages write them, and sizes that must be known."""

from __future__ import annotations

from rustorch.errors import Unsupported, compose
from rustorch.frontend.emit import Size, Value, dtype_of
from rustorch.ir import dtypes


def title(x: Value) -> str:
    """`Float`, `Long`, …"""
    return dtypes.title(dtype_of(x))


def known(size: Size) -> float:
    """A size as a number."""
    if not isinstance(size, int):
        raise Unsupported(compose("this needs a size that is known when the program is recorded", f"found {size}"))
    return float(size)
