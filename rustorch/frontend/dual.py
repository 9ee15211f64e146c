"""Forward mode: tensors that carry a tangent, level by level.

A level knows the tangents of some values of a segment; those of all others follow from the graph when somebody asks (`Push`). Where a
recorded segment closes, the tangents of what is still held are computed with it and go on with the tensors themselves, so Python may
look at numbers in between. A `Function` says its own rule: its results get their tangents when it is applied.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from rustorch.autodiff.jvp import pushforward
from rustorch.errors import ShapeError, compose
from rustorch.frontend.base import TensorBase
from rustorch.frontend.batched import over_batch
from rustorch.frontend.recorder import held
from rustorch.frontend.segment import Building, Key, Primitive, Segment
from rustorch.frontend.state import defaults, local
from rustorch.frontend.trace import TRACING
from rustorch.ir.builder import Builder
from rustorch.ir.graph import Value


class Push(Primitive):
    """Tangents, from values of one segment to others.

    Its key: the size of the batch of directions (None for a single one); numbers of the results; of the values that have tangents; of
    those tangents. There is a result for each that depends on any of them; the remark says for which.
    """

    name = "forward"
    plural = True

    def build(self, building: Building, key: Key) -> tuple[Value, ...]:
        _, size, outputs, variables, tangents = key
        b = building.b
        forward, values = tuple(b.nodes), building.values(outputs)

        def emit(b: Builder, moved: Mapping[Value, Value]) -> list[Value | None]:
            found = pushforward(b, forward, moved)
            return [found.get(v) for v in values]

        given = dict(zip(building.values(variables), building.values(tangents), strict=True))
        found = emit(b, given) if size is None else over_batch(b, size, given, emit)
        building.remark = tuple(i for i, t in enumerate(found) if t is not None)
        return tuple(t for t in found if t is not None)

    def operands(self, key: Key) -> list[int]:
        return [*key[2], *key[3], *key[4]]


PUSH = Push()


class Level:
    """Tangents of one forward derivative; with `size`, a batch of that many tangents for each value."""

    def __init__(self, size: int | None = None) -> None:
        self.size = size
        self.settling = False
        self.home: Segment = local.segment
        self.places: list[tuple[Segment, int, Any]] = []
        """Values of segments that have tangents of their own."""
        self.carried: dict[int, tuple[weakref.ref[TensorBase], Any]] = {}
        """By `id`: tensors whose segment has closed, and their tangents."""

    def __enter__(self) -> Level:
        local.levels = (*local.levels, self)
        defaults.epoch += TRACING  # compiled functions are called in Python: tangents go through them
        return self

    def __exit__(self, *exception: object) -> None:
        defaults.epoch -= TRACING
        local.levels = tuple(level for level in local.levels if level is not self)

    @property
    def is_here(self) -> bool:
        """Whether operations are recorded where the level was entered, and not in a trace inside it."""
        return local.segment is self.home or (self.home.writes_memory and local.segment.writes_memory)

    def add(self, x: TensorBase, tangent: TensorBase) -> None:
        """Let a tensor recorded in the open segment have a tangent."""
        batch = () if self.size is None else (self.size,)
        if (*batch, *x._type.shape) != tangent._type.shape or x._type.dtype is not tangent._type.dtype:
            raise ShapeError(
                compose(
                    "Trying to set a forward gradient that has a different size than that of the original Tensor, this is not supported. "
                    f"Tensor is of size {list(x._type.shape)} while the given forward gradient is of size {list(tangent._type.shape)}.",
                    f"the tensor is {x._type}, the tangent {tangent._type}",
                )
            )
        segment = local.segment
        if x._segment is segment and x._array is None:
            self.places.append((segment, x._number, tangent))
        else:  # every operation was run at once
            self.carry(x, tangent)

    def carry(self, x: TensorBase, tangent: Any) -> None:
        """Let a concrete tensor have a tangent."""
        key = id(x)
        self.carried[key] = weakref.ref(x, lambda _: self.carried.pop(key, None)), tangent

    def tangents(self, tensors: Sequence[TensorBase]) -> list[Any]:
        """The tangent of each tensor, or None where it depends on no value that has one."""
        segment = local.segment
        found: list[Any] = [self.carried[id(x)][1] if id(x) in self.carried else None for x in tensors]
        given = {n: t for s, n, t in self.places if s is segment}
        for key, number in segment.known.items():
            if key in self.carried:
                given[number] = self.carried[key][1]
        waiting = [i for i, x in enumerate(tensors) if found[i] is None and x._segment is segment and x._array is None]
        if not given or not waiting:
            return found
        numbers = tuple(segment.number_of(tensors[i]) for i in waiting)
        key = (PUSH, self.size, numbers, tuple(given), tuple(segment.number_of(t) for t in given.values()))
        pushed = segment.record_key(PUSH, key)
        for i, tangent in zip(segment.remark() if pushed else (), pushed, strict=True):
            found[waiting[i]] = tangent
        return found

    def tangents_of(self, args: Sequence[Any]) -> list[Any]:
        """As `tangents`, for arguments of which some may be no tensors of floating point."""
        places = [i for i, x in enumerate(args) if isinstance(x, TensorBase) and x._type.dtype.kind == "float"]
        found: list[Any] = [None] * len(args)
        for i, tangent in zip(places, self.tangents([args[i] for i in places]), strict=True):
            found[i] = tangent
        return found

    def settle(self, segment: Segment) -> None:
        """A segment is closing: let the tensors that somebody holds carry their tangents."""
        if self.settling:  # running op by op, where the tangents' own operations end segments, too
            return
        alive = [t for t in (segment.values[n] for n in held(segment.values)) if t._type.dtype.kind == "float" and t._array is None]
        self.settling = True
        try:
            for t, tangent in zip(alive, self.tangents(alive), strict=True):
                if tangent is not None:
                    self.carry(t, tangent)
        finally:
            self.settling = False


def levels_here() -> list[Level]:
    """The levels whose tangents operations of the open segment move, the outermost first."""
    return [level for level in local.levels if level.is_here]


__all__ = ["Level", "levels_here"]
