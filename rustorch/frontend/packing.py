"""Hooks on saved tensors: what an operation saves for its derivative is packed as it is recorded, and unpacked when gradients pass.

While such hooks are in force, operations are recorded one by one (`Recorder.record`, `Trace.record`), on paths of the trie of their
own, and `pack_saved` is told of each. A backward pass then stops at every operation that has something packed (`walk.py`).
Which values an operation saves follows from its derivative (`flow.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rustorch.errors import ArgumentError, GradError, ShapeError, compose
from rustorch.frontend.base import TensorBase
from rustorch.frontend.course import Spot
from rustorch.frontend.flow import Flow, Kind, flow_of, recall, saved_places
from rustorch.frontend.modes import no_grad, set_grad_enabled
from rustorch.frontend.operation import Operation
from rustorch.frontend.pull import refuse_freed
from rustorch.frontend.segment import carrier, set_packer
from rustorch.frontend.state import defaults, local
from rustorch.frontend.storage import is_leaf, rewritten
from rustorch.ir.dtypes import from_numpy
from rustorch.ir.types import TensorType


class Packed:
    """What the hooks made of the values that one operation saves."""

    def __init__(self, entries: dict[tuple[str, int], Any], kinds: dict[tuple[str, int], TensorType], unpack: Callable[[Any], Any]) -> None:
        self.entries: dict[tuple[str, int], Any] | None = entries
        self.kinds, self.unpack = kinds, unpack

    def free(self) -> None:
        """Let go of what was packed."""
        self.entries = None

    def unpacked(self, flow: Flow, segment: Any, spot: Spot, create: bool) -> list[Any]:
        """Numbers, in the open segment, of what a derivative reads."""
        if self.entries is None:
            refuse_freed()
        tensors = {}
        with set_grad_enabled(create):
            for place in flow.saved:
                if place in self.entries:
                    tensors[place] = self._unpack(place, self.entries[place])
        found = []
        for place, number in zip(flow.saved, saved_places(spot, flow), strict=True):
            x = tensors.get(place)
            if x is None or create:
                (number,) = recall(segment, (number,), create)
            if x is not None:
                now = local.segment
                value = now.number_of(x)
                if create:
                    (x,) = now.record_key(rewritten.operation, (rewritten.operation, value, number))
                number = now.number_of(x)
            found.append(number)
        return found

    def _unpack(self, place: tuple[str, int], entry: Any) -> Any:
        x = self.unpack(entry)
        if not isinstance(x, TensorBase):
            raise ArgumentError(
                f"Output of saved tensor unpack_hook expected to be a Tensor but got result of type {type(x).__name__}"
            )
        if x._type is not self.kinds[place]:
            raise ShapeError(
                compose(
                    "saved tensor unpack_hook returned another type of tensor than was packed",
                    f"packed {self.kinds[place]}, unpacked {x._type}",
                    todo="Let unpack undo what pack has done.",
                )
            )
        return x


def _operands(op: Operation, key: tuple[Any, ...], args: Sequence[Any]) -> list[Any]:
    """What stands in the places of an operation's operands: tensors, arrays, or numbers that are inputs."""
    found: list[Any] = []
    for i, _ in op.filled(key):
        found += [args[i - 1]] if type(key[i]) is int else args[i - 1]
    return found


def _kind(x: Any) -> Kind:
    if isinstance(x, TensorBase):
        return Kind(x._type, x._requires_grad, float if local.segment.is_weak(x) else None)
    if isinstance(x, (bool, int, float)):
        return Kind(TensorType(carrier(type(x)), ()), False, type(x))
    array = np.asarray(x)
    return Kind(TensorType(from_numpy(array.dtype), array.shape), False)


def pack_saved(segment: Any, op: Any, key: tuple[Any, ...], args: Sequence[Any], results: Sequence[Any], first: int) -> None:
    """Pack what an operation, which was just recorded with its first result at a number, saves for its derivative."""
    if not isinstance(op, Operation) or not any(x._requires_grad for x in results):
        return
    pack, unpack = local.packing[-1]
    operands = _operands(op, key, args)
    given = tuple(x._type.dtype.kind == "float" for x in results)
    flow = flow_of(op, key, [_kind(x) for x in operands], given)
    entries: dict[tuple[str, int], Any] = {}
    kinds: dict[tuple[str, int], TensorType] = {}
    x: Any
    for what, i in flow.saved:
        x = operands[i] if what == "operand" else results[i]
        if not isinstance(x, TensorBase):
            continue  # a number: it stays where it is
        if not is_leaf(x):
            made: Any = x
            x = made.detach()
        version = x._version
        with no_grad():
            entries[what, i] = pack(x)
        kinds[what, i] = x._type
        if x._version != version:
            raise GradError(
                compose(
                    "A saved tensor pack hook is modifying its input in place. Tensors provided as input to pack hook can not be modified "
                    "by in-place operations as this can lead to unexpected side-effects.",
                    todo="Let the hook return a new tensor.",
                )
            )
    if entries:
        defaults.hooked = True
        segment.packed[first] = Packed(entries, kinds, unpack)


set_packer(pack_saved)


class saved_tensors_hooks:
    """Inside, `pack_hook(tensor)` is called with every tensor that an operation saves for its derivative, and `unpack_hook(packed)` in a
    backward pass with what it returned; the tensor that comes out takes the saved one's place.

    A tensor that two operations save is packed twice. Hooks made of rustorch operations are compiled with the program around them.
    """

    def __init__(self, pack_hook: Callable[[Any], Any], unpack_hook: Callable[[Any], Any]) -> None:
        self.hooks = pack_hook, unpack_hook

    def __enter__(self) -> None:
        if local.packing_refused is not None:
            raise GradError(local.packing_refused)
        local.packing = (*local.packing, self.hooks)
        local.segment.set_packing(True)

    def __exit__(self, *exception: object) -> None:
        local.packing = local.packing[:-1]
        local.segment.set_packing(bool(local.packing))


class save_on_cpu(saved_tensors_hooks):
    """Keeps saved tensors on the CPU, where all tensors are: they are kept as they are."""

    def __init__(self, pin_memory: bool = False, device_type: str = "cpu") -> None:
        super().__init__(lambda x: x, lambda x: x)


class disable_saved_tensors_hooks:
    """Inside, `saved_tensors_hooks` is refused with a message."""

    def __init__(self, error_message: str) -> None:
        self.message = error_message

    def __enter__(self) -> None:
        if local.packing:
            raise GradError(self.message)
        self.before = local.packing_refused
        local.packing_refused = self.message

    def __exit__(self, *exception: object) -> None:
        local.packing_refused = self.before
