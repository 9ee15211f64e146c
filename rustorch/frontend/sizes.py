"""Sizes as users see them while a function is traced for all sizes at once.

`x.shape[0]` has no value then. It can be computed with and given to `reshape` and its like; whatever would decide something by its
value says so with an `UndecidedSize`, after which `jit` traces the function for the sizes that it was called with.
"""

from __future__ import annotations

from typing import Any

from rustorch.errors import TraceError, compose
from rustorch.frontend.dtype import Size
from rustorch.ir import dims
from rustorch.ir.conditions import least
from rustorch.ir.dims import Dim
from rustorch.ir.location import user_location


class UndecidedSize(TraceError, TypeError):
    """A size without a value was to decide something."""


class UnknownSize(Dim):
    """A size without a value. Symbols stand for integers of at least 2."""

    __slots__ = ()

    def __init__(self, size: Dim) -> None:
        super().__init__(dict(size.terms))

    def __hash__(self) -> int:
        return int(self._undecided("as a key"))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Dim):
            return self.terms == other.terms or self._undecided(f"== {other}")
        if not isinstance(other, int):
            return False
        return self._is_below(other) and self._undecided(f"== {other}")

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __lt__(self, other: Any) -> bool:
        return not self >= other

    def __gt__(self, other: Any) -> bool:
        return self.__ge__(other + 1)

    def __le__(self, other: Any) -> bool:
        return not self.__ge__(other + 1)

    def __ge__(self, other: Any) -> bool:
        difference = Dim.__sub__(self, plain(other))
        if not isinstance(difference, Dim):
            return difference >= 0
        known, opposite = least(difference, 2), least(difference * -1, 2)
        if known is not None and known >= 0:
            return True
        return not (opposite is not None and opposite > 0) and self._undecided(f">= {other}")

    def _is_below(self, other: int) -> bool:
        """Whether the size might be as small as a number."""
        known = least(plain(self), 2)
        return known is None or known <= other

    def __bool__(self) -> bool:
        return not self._is_below(0) or self._undecided("as a truth value")

    def __index__(self) -> int:
        return int(self._undecided("as a number"))

    __int__ = __index__

    def __float__(self) -> float:
        return float(self._undecided("as a number"))

    def _undecided(self, use: str) -> bool:
        raise UndecidedSize(
            compose(
                f"a size that is not known yet was used ({Dim.__str__(self)} {use})",
                "the function is traced for all sizes at once",
                at=str(user_location()),
                todo="Compute with sizes, or give them to reshape and its like; let only known sizes decide.",
            )
        )


def _computing(name: str) -> Any:
    operation = getattr(Dim, name)

    def compute(self: UnknownSize, other: Any) -> Any:
        if not isinstance(other, (int, Dim)) or isinstance(other, bool):
            return NotImplemented
        return shown(operation(plain(self), plain(other)))

    return compute


for _name in ("__add__", "__radd__", "__sub__", "__rsub__", "__mul__", "__rmul__", "__floordiv__", "__rfloordiv__", "__mod__"):
    setattr(UnknownSize, _name, _computing(_name))


def shown(size: Any) -> Any:
    """A size as users get it."""
    return UnknownSize(size) if isinstance(size, Dim) else size


def plain(size: Any) -> Any:
    """A size as the language knows it."""
    return Dim(dict(size.terms)) if isinstance(size, UnknownSize) else size


def shown_shape(shape: tuple[dims.Size, ...]) -> Size:
    """A shape as users get it."""
    return Size([shown(size) for size in shape])
