"""`autograd.forward_ad`: tensors that carry a tangent, by hand.

    with forward_ad.dual_level():
        x = forward_ad.make_dual(primal, tangent)
        y = f(x)
        value, derivative = forward_ad.unpack_dual(y)
"""

from __future__ import annotations

from typing import Any, NamedTuple

from rustorch.errors import ArgumentError, GradError, compose
from rustorch.frontend.base import TensorBase
from rustorch.frontend.dual import Level
from rustorch.frontend.elementwise import recorded
from rustorch.frontend.state import local
from rustorch.frontend.storage import convert_to, same


class UnpackedDualTensor(NamedTuple):
    """A tensor without its tangent, and the tangent: None where it has none."""

    primal: Any
    tangent: Any


class DualLevel(Level):
    """A level that the user has entered."""


def _levels() -> list[DualLevel]:
    return [level for level in local.levels if isinstance(level, DualLevel)]


def enter_dual_level() -> int:
    """Begin a forward derivative; gives its number. Levels do not nest."""
    if _levels():
        raise GradError(
            compose("Nested forward mode AD is not supported at the moment", todo="Nest rustorch.func.jvp, which may stand inside another.")
        )
    DualLevel().__enter__()
    return 0


def exit_dual_level(*, level: int | None = None) -> None:
    """End the forward derivative: tensors lose their tangents."""
    levels = _levels()
    if not levels:
        raise GradError("Dual level must be a positive number.")
    if level not in (None, 0):
        raise GradError(f"Trying to exit a forward AD level that was not the last one that was created: level {level}, not 0")
    levels[-1].__exit__()


class dual_level:
    """A forward derivative as a context: `with dual_level():`."""

    def __enter__(self) -> int:
        return enter_dual_level()

    def __exit__(self, *exception: object) -> None:
        exit_dual_level()


def make_dual(tensor: Any, tangent: Any, *, level: int | None = None) -> Any:
    """The tensor with a tangent of its shape: what is computed from it carries the derivative along the tangent."""
    levels = _levels()
    if not levels:
        raise GradError(
            "Trying to create a dual Tensor for forward AD but no level exists, make sure to enter_dual_level() first."
        )
    for what, x in (("primal", tensor), ("tangent", tangent)):
        if not isinstance(x, TensorBase):
            raise ArgumentError(f"make_dual(): argument '{what}' must be Tensor, not {type(x).__name__}")
        if x._type.dtype.kind != "float":
            raise ArgumentError(f"Expected {what} to be floating point or complex, but got: {x._type.dtype}")
    dual = same(tensor)
    levels[-1].add(dual, tangent if tangent._type.dtype is tensor._type.dtype else convert_to(tangent, tensor._type.dtype))
    return dual


def unpack_dual(tensor: Any, *, level: int | None = None) -> UnpackedDualTensor:
    """The tensor's value, and the tangent that it carries at the level that was entered.

    The value has no tangent, so long as it needs no gradient; one that does is given back as it is.
    """
    levels = _levels()
    tangent = levels[-1].tangents([tensor])[0] if levels and tensor._type.dtype.kind == "float" else None
    primal = tensor if tensor._requires_grad or tangent is None else recorded["detach"](tensor)
    return UnpackedDualTensor(primal, tangent)


__all__ = ["UnpackedDualTensor", "dual_level", "enter_dual_level", "exit_dual_level", "make_dual", "unpack_dual"]
