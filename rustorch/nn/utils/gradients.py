"""Gradients kept from growing: by their common norm, or element by element."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rustorch import Tensor, no_grad, tensor
from rustorch.errors import GradError
from rustorch.functional import update


def _gradients(parameters: Any) -> list[Any]:
    """The gradients of those parameters that have one."""
    listed = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [p.grad for p in listed if p.grad is not None]


@no_grad()
def get_total_norm(tensors: Iterable[Any], norm_type: float = 2.0, error_if_nonfinite: bool = False, foreach: bool | None = None) -> Any:
    """The norm of all elements of tensors together."""
    listed = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    if not listed:
        return tensor(0.0)
    total = update.total_norm(listed, float(norm_type))
    if error_if_nonfinite:
        _refuse_nonfinite(total, norm_type)
    return total


@no_grad()
def clip_grad_norm_(
    parameters: Any, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False, foreach: bool | None = None
) -> Any:
    """Scale the gradients so that their common norm is at most `max_norm`; gives the norm they had."""
    gradients = _gradients(parameters)
    total = get_total_norm(gradients, norm_type, error_if_nonfinite)
    if gradients:
        update.write(gradients, update.scaled_to_norm(gradients, total, float(max_norm)))
    return total


@no_grad()
def clip_grad_value_(parameters: Any, clip_value: float, foreach: bool | None = None) -> None:
    """Move the elements of gradients into the range from -clip_value to clip_value."""
    gradients = _gradients(parameters)
    if gradients:
        update.write(gradients, update.clamped(gradients, float(clip_value)))


def _refuse_nonfinite(total: Any, norm_type: float) -> None:
    size = abs(float(total))
    if size != size or size == float("inf"):
        raise GradError(
            f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, so it cannot be clipped. To disable "
            "this error and scale the gradients by the non-finite norm anyway, set `error_if_nonfinite=False`"
        )
