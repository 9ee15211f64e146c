"""What the forward of a `Function` leaves for its backward, and how tensors are kept for it."""

from __future__ import annotations

import weakref
from typing import Any

from rustorch.errors import ArgumentError, compose
from rustorch.frontend.base import TensorBase, concrete, looked_into, recorded
from rustorch.frontend.elementwise import recorded as elementwise
from rustorch.frontend.modes import enable_grad
from rustorch.frontend.pull import refuse_freed
from rustorch.frontend.state import local
from rustorch.frontend.storage import same


class FunctionCtx:
    """What a `forward` leaves for its `backward`: tensors by `save_for_backward`, anything else as attributes."""

    needs_input_grad: tuple[bool, ...] = ()
    """For each argument of `apply`, whether it requires gradients."""
    materialize_grads = True

    def __init__(self) -> None:
        self._to_save: tuple[Any, ...] = ()
        self._for_forward: tuple[Any, ...] | None = None
        self._saved: list[Saved | None] | None = None
        self._dirty: tuple[Any, ...] = ()
        self._constant: tuple[Any, ...] = ()

    def save_for_backward(self, *tensors: Any) -> None:
        """Save tensors (or None) for `backward`, which finds them in `saved_tensors`. The last call counts."""
        for i, x in enumerate(tensors):
            if x is not None and not isinstance(x, TensorBase):
                raise ArgumentError(
                    compose(
                        f"save_for_backward can only save variables, but argument {i} is of type {type(x).__name__}",
                        todo="Keep anything that is no tensor as an attribute of ctx.",
                    )
                )
        self._to_save = tensors

    def save_for_forward(self, *tensors: Any) -> None:
        """Save tensors (or None) for `jvp`, which finds them in `saved_tensors`."""
        for x in tensors:
            if x is not None and not isinstance(x, TensorBase):
                raise ArgumentError(
                    "save_for_forward expects all arguments to be tensors; you should save non-tensors as attributes on ctx."
                )
        self._for_forward = tensors

    def mark_dirty(self, *args: Any) -> None:
        """Say which inputs `forward` has changed in place. They must be among its results."""
        self._dirty = args

    def mark_non_differentiable(self, *args: Any) -> None:
        """Say which results have no gradient. `backward` gets zeros for them."""
        self._constant = args

    def set_materialize_grads(self, value: bool) -> None:
        """Whether `backward` gets zeros (else None) for results that no gradient comes to."""
        self.materialize_grads = value

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What was saved; refused once a backward pass has given it up."""
        if self._saved is None:
            return self._to_save
        return tuple(None if x is None else x.again() for x in self._saved)

    def _free(self) -> None:
        if self._saved:
            self._saved = [_GONE] * len(self._saved)


class Saved:
    """A tensor as `save_for_backward` keeps it: its value without a history, and the place that its gradients go to.

    So nothing here holds the segment that holds it: its own one is known by a weak reference.
    """

    def __init__(self, value: Any, segment: Any = None, number: int = -1) -> None:
        self.value, self.number = value, number
        self.segment = None if segment is None else weakref.ref(segment)

    def again(self) -> Any:
        """The tensor, with its history."""
        segment = None if self.segment is None else self.segment()
        if segment is None:
            return self.value
        if segment is local.segment:
            with enable_grad():
                (found,) = segment.record_key(same.operation, (same.operation, self.number))
            return found
        if not getattr(segment, "closed", False):  # a trace around the one that is open
            return recorded(segment, self.number, self.value._type, True)
        found = concrete(self.value._elements(), self.value._type, True)
        found._origin = (segment, self.number)
        return found


class _Gone(Saved):
    """In the place of what a backward pass has given up."""

    def again(self) -> Any:
        refuse_freed()


_GONE = _Gone(None)


def snapshot(x: TensorBase) -> Any:
    """The value that a tensor has now, whatever is written to it later, without a history."""
    if x._array is not None and local.segment.writes_memory:
        return concrete(x._array.copy() if looked_into(x) else x._array, x._type)
    return elementwise["detach"](x)
