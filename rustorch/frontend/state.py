"""Everything that belongs to a thread: the segment that is open, and the modes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from rustorch.ir.dtypes import f32
from rustorch.ir.types import DType


class State(threading.local):
    """One a thread."""

    segment: Any
    """Where operations are recorded: a recorder's segment, or a trace while a function is traced. Made on first use."""
    grad: bool = True
    """Whether operations are recorded for differentiation."""
    strict_data: bool = False
    """Whether writing through `.data` is refused where a gradient would not see it."""
    inference: bool = False
    """Whether what is made now is never to be differentiated."""
    transforms: int = 0
    """How many transforms of functions (`func.grad`, `vmap` …) are running, one inside another."""
    levels: tuple[Any, ...] = ()
    """Forward derivatives that are being taken, the innermost last."""
    walk: Any = None
    """The backward pass that is running."""
    packing: tuple[Any, ...] = ()
    """Hooks on saved tensors, the innermost last: pairs of functions that pack and unpack."""
    packing_refused: str | None = None
    """Why such hooks may not be used now."""

    def __getattr__(self, name: str) -> Any:
        if name != "segment":
            raise AttributeError(name)
        self.segment = _begin[0]()
        return self.segment


local = State()
_begin: list[Callable[[], Any]] = []


def set_first_segment(begin: Callable[[], Any]) -> None:
    """Say how a thread's first segment is made (done once, by `recorder.py`)."""
    _begin[:] = [begin]


class Defaults:
    """What all threads share: the element type of Python floats and of factories."""

    dtype: DType = f32
    epoch = np.zeros(1, np.int64)
    """Grows when something changes that compiled entries do not look at."""
    anomaly, checks_nan = False, True
    """Whether backward passes name what makes NaN in them, and whether they look."""
    hooked = False
    """Whether any tensor or operation was ever given a hook; until then backward passes need not look for them."""


defaults = Defaults()
