"""The recorder: programs that look eager are recorded, recognised, and compiled as a whole when somebody looks.

A thread has one open segment. Recording walks a trie (`trie.py`) whose edges are keys (`segment.py`): an edge that was seen before knows
the types of its results, so that a repeated step costs one look-up an operation, with no inference and no graph. An edge that
is new is emitted into a graph (rebuilt from the path, once), where shapes and element types are checked: errors are raised on
the user's line.

Observation points close the segment, and what is still held by somebody is computed:

- `backward`, `grad` without `create_graph`, and `rustorch.sync()`, which optimisers call at the end of a step;
- looking at elements: `numpy()`, `item()`, `tolist()`, `float()`, `int()`, `bool()`, use as an index, `__array__`, DLPack;
- `print`, `repr` and `format`; pickling and `deepcopy`;
- shapes that depend on elements (`nonzero`, masks as an index);
- writing to memory that is shared with numpy or with another tensor;
- `LIMIT` recorded values, or fewer at the end of a loop's body (`WHOLE`); a change of the default element type.

Another thread that looks at a value computes it without closing the segment of the thread that recorded it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from sys import getrefcount
from typing import Any

import numpy as np

from rustorch.config import config
from rustorch.errors import UserError
from rustorch.frontend.base import GIL, Array, TensorBase, concrete, looked_into
from rustorch.frontend.explain import note, note_closed, note_new_edge
from rustorch.frontend.history import history_of
from rustorch.frontend.segment import (
    GONE,
    Building,
    Key,
    Origin,
    Primitive,
    Scalar,
    Segment,
    carrier,
    located,
    remembering,
    tensor_type,
)
from rustorch.frontend.sight import Recorded
from rustorch.frontend.state import defaults, local, set_first_segment
from rustorch.frontend.trie import INPUT, MODE, NUMBER, PACKING, Place, Step, trie
from rustorch.ir.dtypes import f32
from rustorch.ir.graph import Value
from rustorch.ir.location import UNKNOWN, Location, user_location
from rustorch.ir.types import TensorType

LIMIT = 4000
"""A segment closes at this many values. Loops that never look at a number need a limit; a training step should not be cut by it."""
WHOLE = 3000
"""From this many values on it closes where it began: at the line of its first operation, so that a loop gives equal programs."""
ALL = -1
"""All bits: the history of every value."""


def replay(step: Step) -> Building:
    """The graph of the program that leads to a step."""
    building = Building()
    building.mode = step.root().key[0]
    for each in step.path():
        assert each.operation is not None
        emit(building, each.operation, each.key, each.location)
    return building


def emit(building: Building, operation: Primitive, key: Key, location: Location) -> tuple[list[Value], list[bool]]:
    """Emit one recorded operation; Python numbers that became inputs are weak in promotion."""
    values, flags = building.emit(operation, key, location)
    if operation is NUMBER:
        building.ir[-1] = Scalar(values[0], key[1])
    return values, flags


class Arrays(Primitive):
    """Many arrays at once, which no tensor stands for: its key holds their types."""

    name = "arrays"

    def build(self, building: Building, key: Key) -> tuple[Value, ...]:
        return tuple(building.b.input(type_) for type_ in key[1])


ARRAYS = Arrays()


class Recorder(Segment):
    """A segment of a program that looks eager. See the module's text."""

    def __init__(self) -> None:
        super().__init__()
        self.mode = local.grad
        self.at = self.first()
        self.arrays: list[Array] = []
        """The elements of the inputs."""
        self.residuals: dict[Place, Array] = {}
        """Values of the forward pass that were computed together with those that are held, for `backward`."""
        self.history: list[int] = []
        """Numbers of the values from which gradients could flow back when it closed."""
        self.serial = 0
        """Segments are numbered as they close."""
        self.closed = False
        self._building: Building | None = None
        self._began: tuple[str, int] | None = None
        self._lock = threading.RLock()
        if self.packing:
            self.follow(PACKING, (PACKING, True))

    def first(self) -> Step:
        """Where the trie is entered."""
        return trie.root((self.mode, defaults.dtype))

    # --- recording ----------------------------------------------------------------------------------------------------

    def number(self, x: TensorBase) -> int:
        known = self.known.get(id(x))
        if known is not None:
            return known
        array = x._elements()
        extra = x._extra
        if extra is not None and extra.exposed and looked_into(x):
            array = array.copy()  # what is recorded is the tensor of now, whatever numpy writes later
        key = (INPUT, x._type, x._requires_grad)
        self.follow(INPUT, (*key, "inference") if extra is not None and extra.inference else key)
        number = self.take_input(x, array)
        elsewhere = x._segment  # open in another thread
        if x._requires_grad:
            self.sources[number] = (x, x._origin if elsewhere is None else elsewhere.origin_of(x))
        if GIL and elsewhere is None:
            x._number = number
            x._segment = self
        return number

    def origin_of(self, x: TensorBase) -> Origin | None:
        """Where the history of a tensor ends that this segment has not closed over yet."""
        number = x._number
        computed = number not in self.sources and number < len(self.values) and self.values[number] is x
        return (self, number) if computed else x._origin

    def take_input(self, x: TensorBase | None, array: Array) -> int:
        """The next number, for an input."""
        number = self.count
        self.count = number + 1
        if x is not None:
            self.known[id(x)] = number
        self.leaves.append(x)
        self.arrays.append(array)
        self.values.append(GONE)
        return number

    def take_arrays(self, arrays: Sequence[Array], types: Sequence[TensorType]) -> Sequence[int]:
        self.follow(ARRAYS, (ARRAYS, types))
        first, count = self.count, len(arrays)
        self.count += count
        self.leaves += [None] * count
        self.arrays += arrays
        self.values += [GONE] * count
        return range(first, first + count)

    def record(self, operation: Any, args: tuple[Any, ...]) -> Any:
        if self.count >= WHOLE and (self.count >= LIMIT or self.is_where_it_began()):
            self.close("length")
            return local.segment.record(operation, args)
        key = operation.key(self, args)
        step = self.at.next.get(key)
        if step is None and operation.has_number(key):
            key = self.second_sight(operation, key)
        return self.recorded(operation, key, args, self.record_key(operation, key))

    def is_where_it_began(self) -> bool:
        """Whether the user's line is that of the segment's first operation."""
        if self._began is None:
            first = next(step for step in self.at.path() if step.operation not in (INPUT, NUMBER, ARRAYS, MODE))
            self._began = (first.location.file, first.location.line)
        now = user_location()
        return (now.file, now.line) == self._began

    def record_key(self, operation: Primitive, key: Key) -> list[Any]:
        step = self.follow(operation, key)
        return self.add_results(step.types, step.flags)

    def remark(self) -> Any:
        return self.at.remark

    def follow(self, operation: Primitive, key: Key) -> Step:
        """Go along the edge of a key, which is made where it is new."""
        step = self.at.next.get(key)
        if step is None:
            step = self.extend(operation, key)
        self.at = step
        return step

    def set_grad(self, mode: bool) -> None:
        if mode != self.mode:
            self.mode = mode
            self.follow(MODE, (MODE, mode))

    def set_inference(self, on: bool) -> None:
        if on:
            super().set_inference(on)
        else:
            self.close("the end of inference mode")

    def set_packing(self, on: bool) -> None:
        if on != self.packing:
            self.packing = on
            self.follow(PACKING, (PACKING, on))

    def second_sight(self, operation: Any, key: Key) -> Key:
        """A Python number is a constant until another one is seen in the same place; from then on it is an input."""
        hole = operation.without_numbers(key)
        if hole not in self.at.holes:
            self.at.holes.add(hole)
            return key
        if not any(below.operation is NUMBER for below in self.at.next.values()):
            note(f"a number in {operation.name} became an input", user_location(), "it was another one when the program came here before")
        return operation.with_inputs(key, self.take_number)  # type: ignore[no-any-return]

    def take_number(self, kind: type, number: Any) -> int:
        """The number of a new input that holds a Python number."""
        self.follow(NUMBER, (NUMBER, kind))
        return self.take_input(None, np.asarray(number, carrier(kind).numpy))

    def extend(self, operation: Primitive, key: Key) -> Step:
        """The new edge of a key: the operation is emitted, and refused here if its operands do not fit."""
        location = user_location()
        with trie.lock, self._lock:
            at = self.at
            if key in at.next:  # another thread was faster
                return at.next[key]
            building = self.building()
            try:
                values, flags = emit(building, operation, key, location)
            except BaseException as error:
                self._building = None
                if isinstance(error, UserError):
                    located(error, location)
                raise
            step = Step(at, operation, key, location)
            step.remark = building.remark
            step.types, step.flags = tuple(tensor_type(v) for v in values), tuple(flags)
            if len(values) == 1 and not operation.plural and not self.packing:
                step.type, step.grad = step.types[0], step.flags[0]
            note_new_edge(operation.name, location, at.next, key)
            trie.add(at, key, step)
            return step

    def building(self) -> Building:
        """The graph of the program so far: the path is replayed where it was only recognised."""
        building = self._building
        if self.closed:
            return replay(self.at)
        if building is None or len(building.ir) != self.count or building.mode != self.mode:
            building = self._building = replay(self.at)
        return building

    def replayed(self) -> Building:
        """The graph of the program so far, in a building of its own: the segment's grows where another thread has it open."""
        return replay(self.at)

    # --- observation --------------------------------------------------------------------------------------------------

    def settle(self, tensor: TensorBase) -> None:
        if local.segment is self:
            self.close("reading a value")
        elif tensor._array is None:
            self.compute()

    def close(self, why: str) -> None:
        """End the segment: compute what is still held, and let go of everything that no later `backward` can need."""
        if local.segment is self:
            for level in local.levels:
                level.settle(self)
            if self.closed:  # by that: operations run one by one
                return
            del local.segment  # the next operation begins a new one
        known = len(self.at.programs)
        live = self.compute()
        self.closed = True
        self.serial = trie.end(self.at)
        new = len(self.at.programs) > known
        history = []
        for number in live:
            t = self.values[number]
            if t is GONE:  # another thread has written to it
                continue
            if t._requires_grad and number not in self.sources:
                t._origin = (self, number)
                history.append(number)
            if self.inference is not None and number >= self.inference and number not in self.normal:
                t._more().inference = True
            t._segment = None
        for x in self.leaves:
            if x is not None and x._segment is self:
                x._segment = None
        self.values.clear()
        self.known.clear()
        self._building = None
        self.history = history
        if history:
            remembering.add(self)
        if not history:
            self.let_go()
        elif self.has_freed:
            self.let_go_of_the_useless()
        if live:
            note_closed(why, user_location(), new)

    @property
    def has_freed(self) -> bool:
        """Whether some history, here or in the segments that values came from, was given up."""
        return bool(self.freed) or any(origin is not None and origin[0].freed for _, origin in self.sources.values())

    def is_usable(self, number: int) -> bool:
        """Whether gradients can still flow back from a value: no `backward` has given up what they need, here or before."""
        if self.freed == ALL:
            return False
        key = ("history", number)
        known = self.at.memo.get(key)
        if known is None:
            known = self.at.memo[key] = history_of(self.building(), [number], list(self.sources))
        bits, reached = known
        if self.freed & bits:
            return False
        origins = [self.sources[n][1] for n in reached]
        return all(origin is None or origin[0].is_usable(origin[1]) for origin in origins)

    def inputs(self) -> list[tuple[int, TensorType]]:
        """The number of each input, and its type."""
        at = self.at
        known: list[tuple[int, TensorType]] | None = at.memo.get("inputs")
        if known is None:
            known, number = [], 0
            for step in at.path():
                if step.operation in (INPUT, NUMBER, ARRAYS):
                    known += [(number + i, type_) for i, type_ in enumerate(step.types)]
                number += len(step.types)
            at.memo["inputs"] = known
        return known

    def free(self, bits: int) -> None:
        super().free(bits)
        if self.closed:
            self.let_go_of_the_useless()

    def let_go_of_the_useless(self) -> None:
        """Drop the history if gradients cannot flow back from any value any more."""
        if not any(map(self.is_usable, self.history)):
            self.freed = ALL
            self.let_go()

    def let_go(self) -> None:
        """Drop what only a later `backward` could need."""
        self.residuals.clear()
        self.leaves.clear()
        self.arrays.clear()
        self.sources.clear()
        self.hooks.clear()
        self.retained.clear()
        self.nodes.clear()
        self.packed.clear()

    def compute(self) -> list[int]:
        """Compute the values that are held and not computed yet; gives the numbers of all that are held."""
        with self._lock:
            values = self.values
            live = held(values)
            waiting = tuple([n for n in live if (t := values[n]) is not GONE and t._array is None and t._segment is self])
            if waiting:
                numbers, kept, program = self.program(self.at, waiting)
                results = program.run(self.arrays)
                for number, array in zip(numbers, results, strict=False):
                    t = values[number]
                    if t is not GONE and t._array is None and t._segment is self:
                        t._array = array
                if kept:
                    self.residuals |= zip(kept, results[len(numbers) :], strict=True)
            return live

    def program(self, step: Step, live: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[Place, ...], Recorded]:
        """A program of this path that gives the values `live`, or more: the numbers of those it gives, and the
        residuals that follow them."""
        found = step.programs.get(live)
        if found is not None:
            return live, *found
        wanted = set(live)
        for numbers, (kept, program) in list(step.programs.items()):
            if wanted.issubset(numbers):
                return numbers, kept, program
        building = self.building()
        b = building.b
        kept = step.residuals if any(building.grads[n] and n not in self.sources for n in live) else ()
        residuals = [b.nodes[node].results[i] for node, i in kept]
        made = Recorded(b.inputs, b.nodes, [*building.values(live), *residuals])
        step.programs[live] = kept, made
        trie.programs += 1
        return live, kept, made


class Eager(Recorder):
    """`RUSTORCH_EAGER=1`: every operation is a segment of its own, run by the numpy references."""

    def first(self) -> Step:
        return Step(None, None, (self.mode, defaults.dtype), UNKNOWN)

    def record_key(self, operation: Primitive, key: Key) -> list[Any]:
        results = super().record_key(operation, key)
        self.close("running op by op")
        return results


def held(values: Sequence[Any]) -> list[int]:
    """Numbers of the values that somebody besides the list holds.

    From the last one back: a view that nobody holds lets go of its base.
    """
    found = []
    for number in range(len(values) - 1, -1, -1):
        value = values[number]
        if value is GONE:
            continue
        if getrefcount(value) > _UNHELD:
            found.append(number)
        elif value._extra is not None:
            value._extra = None
    return found[::-1]


_UNHELD = 3
"""References to a value that only the list holds: the list's, the variable's and the argument's. Checked below."""
assert not held([concrete(np.zeros(()), TensorType(f32, ()))]), "this interpreter counts references differently"


def begin() -> Recorder:
    """A new open segment for the calling thread."""
    return Eager() if config.eager else Recorder()


set_first_segment(begin)


def sync() -> None:
    """Compute everything that was recorded and is still held. Inside a traced function there is nothing to wait for."""
    segment = local.segment
    if isinstance(segment, Recorder):
        segment.close("sync")


def _renew_locks() -> None:
    """In a forked child no other thread is left to release a lock. What was recorded is there, and can be computed."""
    trie.lock = threading.RLock()
    segment = local.segment
    if isinstance(segment, Recorder):
        segment._lock = threading.RLock()


os.register_at_fork(after_in_child=_renew_locks)
