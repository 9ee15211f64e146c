"""Element types as PyTorch's messages write them, and sizes that must be known."""

from __future__ import annotations

from rustorch.errors import Unsupported, compose
from rustorch.frontend.emit import Size, Value, dtype_of

_TITLES = {"f32": "Float", "f64": "Double", "i32": "Int", "i64": "Long", "bool": "Bool"}


def title(x: Value) -> str:
    """`Float`, `Long`, …"""
    return _TITLES[dtype_of(x).short]


def known(size: Size) -> float:
    """A size as a number."""
    if not isinstance(size, int):
        raise Unsupported(compose("this needs a size that is known when the program is recorded", f"found {size}"))
    return float(size)
