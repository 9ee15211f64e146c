"""The memory of a tensor: its slots, and what every other file of the front end needs to know of it.

A tensor is *concrete* (`_array` holds its elements) or *recorded* (number `_number` of segment `_segment`, not computed yet).
`Tensor` in `tensor.py` adds what users see. The slots stay few and flat: compiled entries read and fill them in native code.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Sequence
from enum import Enum, auto
from functools import cached_property
from sys import getrefcount
from typing import Any, Protocol

import numpy as np

from rustorch.ir.types import TensorType

Array = np.ndarray[Any, Any]


class Owner(Protocol):
    """What a tensor asks of the segment that it is recorded in."""

    def settle(self, tensor: TensorBase) -> None:
        """Make the tensor concrete, or raise the user's error where that cannot be."""


class Link(Enum):
    """What a view shares with its base besides the elements."""

    VIEW = auto()
    """The history: a write to it is a write to the base."""
    DETACHED = auto()
    """The count of writes (`detach`)."""
    DATA = auto()
    """Nothing (`.data`)."""


class Extra:
    """What few tensors have: made when first needed.

    `version` counts writes, of all that share a tensor's elements together: at the tensor that they are views of. `exposed`: memory
    that is shared with numpy. `shared`: memory that other tensors look into too. `base` and `derive` are a view's tensor and how to get
    the view from it; `scatter` puts a new view into the base; a view without them is *plain*: numpy made it, and the memory alone ties
    it to its base. `views` are those that look into this tensor, `plain` the plain ones. `link` says what a view shares with its base.
    `inference`: it was made in inference mode.
    """

    version = 0
    exposed = shared = retains = inference = False
    base: TensorBase | None = None
    derive: Callable[[Any], Any] | None = None
    scatter: Callable[[Any, Any], Any] | None = None
    link = Link.VIEW
    node: Any = None
    """What is attached to the accumulation into a leaf (`Observers`)."""
    name: str | None = None
    label = ""
    views: Sequence[weakref.ref[TensorBase]] = ()
    plain: Sequence[weakref.ref[TensorBase]] = ()
    # What most have no use for stays in the class: every recorded view makes two of these.

    @cached_property
    def hooks(self) -> dict[int, Callable[[Any], Any]]:
        """Hooks on the gradient of a leaf."""
        return {}

    @cached_property
    def after(self) -> dict[int, Callable[[Any], Any]]:
        """Hooks that run after accumulation into a leaf."""
        return {}


class TensorBase:
    """The slots.

    `_origin` is `(segment, number)` of a concrete tensor that has a gradient history; None for leaves and for recorded ones.
    """

    __slots__ = ("_array", "_segment", "_number", "_type", "_requires_grad", "_grad", "_origin", "_extra", "__weakref__")
    _array: Array | None
    _segment: Any
    _number: int
    _type: TensorType
    _requires_grad: bool
    _grad: Any
    _origin: tuple[Any, int] | None
    _extra: Extra | None

    def _more(self) -> Extra:
        extra = self._extra
        if extra is None:
            extra = self._extra = Extra()
        return extra

    def _elements(self) -> Array:
        """The elements, computed now if they were only recorded: every observation point comes through here."""
        segment = self._segment  # before the array: it is let go when the array is there, perhaps by another thread
        if self._array is None:
            segment.settle(self)
        array = self._array
        assert array is not None
        return array


FRESH_SLOTS = {"_segment": None, "_number": -1, "_requires_grad": False, "_grad": None, "_origin": None, "_extra": None}
"""The slots of a new concrete tensor besides `_array` and `_type`: what compiled entries fill in."""

_new = object.__new__
_class: type[TensorBase] = TensorBase


def set_tensor_class(cls: type[TensorBase]) -> None:
    """Say of which class results are (done once, by `tensor.py`)."""
    global _class
    _class = cls


def tensor_class() -> type[TensorBase]:
    """The class of results."""
    return _class


def concrete(array: Array, type_: TensorType, requires_grad: bool = False) -> Any:
    """A new tensor with these elements."""
    t = _new(_class)
    t._array, t._segment, t._number, t._type, t._requires_grad = array, None, -1, type_, requires_grad
    t._grad = t._origin = t._extra = None
    return t


def recorded(segment: Owner, number: int, type_: TensorType, requires_grad: bool) -> Any:
    """A new tensor for a value of a segment."""
    t = _new(_class)
    t._array, t._segment, t._number, t._type, t._requires_grad = None, segment, number, type_, requires_grad
    t._grad = t._origin = t._extra = None
    return t


GIL = getattr(sys, "_is_gil_enabled", lambda: True)()
"""Whether two slots can be read without another thread writing in between."""


def looked_into(x: TensorBase) -> bool:
    """Whether somebody else may see or write the memory of a concrete tensor: numpy, or a view."""
    extra = x._extra
    if extra is None or not (extra.exposed or extra.shared):
        return False
    if extra.base is None and alone(x._array):
        extra.exposed = extra.shared = False
        return False
    return True


def alone(array: Any) -> bool:
    """Whether an array, and the memory behind it, is known to one tensor only."""
    if not array.flags.owndata and (array.base is None or getrefcount(array.base) > _ONE_VIEW):
        return False
    return getrefcount(array) <= _ONE_HOLDER


_ONE_HOLDER = 3
"""References to an array of one tensor: the slot's, the parameter's, the argument's."""
_ONE_VIEW = 2
