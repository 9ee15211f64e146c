"""The trie of recorded programs: an edge for each operation, a place for each program, and a bound on both.

What is remembered of a program that nobody runs any more is worth nothing, but a loop must find its own program again however
many others have passed by. So places where segments close are stamped, and when there are too many edges or programs, the
places that were used least recently are cut off. Half is kept: the next cut is then far away, and its cost (a walk over all
edges) is small beside that of recording what was new in between.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from itertools import count
from typing import Any

from rustorch.frontend.segment import Building, Key, Primitive, carrier
from rustorch.frontend.sight import Recorded
from rustorch.ir.graph import Value
from rustorch.ir.location import UNKNOWN, Location
from rustorch.ir.types import DType, TensorType

Place = tuple[int, int]
"""A value of a program's graph: the number of its node, and which of the node's results it is."""

EDGES, PROGRAMS = 200_000, 2_000
"""So many are remembered at most: an edge takes about 0.7 kB, a compiled program of ten operations 110 kB."""


class Input(Primitive):
    """A foreign tensor: its key holds the type, and whether it requires gradients."""

    name = "input"

    def build(self, building: Building, key: Key) -> tuple[Value, ...]:
        if len(key) > 3:  # from inference mode
            building.inference.add(len(building.ir))
        return (building.b.input(key[1]),)

    def require(self, building: Building, key: Key, results: Sequence[Value]) -> list[bool]:
        return [key[2]]


class Number(Primitive):
    """A Python number as an input: its key holds the number's type."""

    name = "number"

    def build(self, building: Building, key: Key) -> tuple[Value, ...]:
        return (building.b.input(TensorType(carrier(key[1]), ())),)


class Mode(Primitive):
    """A switch of the gradient mode."""

    name = "mode"

    def build(self, building: Building, key: Key) -> tuple[Value, ...]:
        building.mode = key[1]
        return ()


class Packing(Primitive):
    """A switch of hooks on saved tensors: behind it every operation is recorded the long way, which tells the hooks."""

    name = "packing"

    def build(self, building: Building, key: Key) -> tuple[Value, ...]:
        return ()


INPUT, NUMBER, MODE, PACKING = Input(), Number(), Mode(), Packing()


class Step:
    """A place in the trie: the program that leads here, and what was made for exactly this program."""

    __slots__ = (
        "parent", "operation", "key", "next", "types", "flags", "type", "grad", "location", "programs", "holes", "memo", "residuals",
        "remark", "used",
    )  # fmt: skip

    def __init__(self, parent: Step | None, operation: Primitive | None, key: Key, location: Location) -> None:
        self.parent, self.operation, self.key, self.location = parent, operation, key, location
        self.next: dict[Key, Step] = {}
        self.types: tuple[TensorType, ...] = ()
        self.flags: tuple[bool, ...] = ()
        self.type: TensorType | None = None
        """The result's type where there is exactly one."""
        self.grad = False
        """Whether that result requires gradients."""
        self.programs: dict[tuple[int, ...], tuple[tuple[Place, ...], Recorded]] = {}
        """By the numbers of the values that were still held at the end: the residuals that the program gives after them, and itself."""
        self.holes: set[Key] = set()
        """Keys of the edges from here that hold a Python number, with the number left out."""
        self.memo: dict[Any, Any] = {}
        """Backward programs of segments that closed here."""
        self.residuals: tuple[Place, ...] = ()
        """Values of the forward pass that backward passes, once this segment has closed, have had to compute anew."""
        self.remark: Any = None
        self.used = 0
        """The serial number of the last segment that closed here; 0 where none did."""

    def path(self) -> list[Step]:
        """The steps from the root to here."""
        steps: list[Step] = []
        step = self
        while step.parent is not None:
            steps.append(step)
            step = step.parent
        return steps[::-1]

    def root(self) -> Step:
        """Where the path begins; its key holds the gradient mode."""
        step = self
        while step.parent is not None:
            step = step.parent
        return step

    def keep(self, residuals: Iterable[Place]) -> None:
        """Let programs give these values, too, from now on."""
        new = {*self.residuals, *residuals}
        if len(new) > len(self.residuals):
            self.residuals = tuple(sorted(new))
            self.programs = {}

    def clear(self) -> None:
        """Forget what was made for the program that ends here."""
        self.programs, self.memo, self.residuals, self.used = {}, {}, (), 0


class Trie:
    """All programs that were recorded in this process. `lock` is held while it grows."""

    def __init__(self) -> None:
        self.roots: dict[tuple[bool, DType], Step] = {}
        self.edges = self.programs = 0
        """How many there are, at most: what was cut off in the middle of being recorded is counted until the next cut."""
        self.forgotten = 0
        """Programs that were cut off since the import."""
        self.lock = threading.RLock()
        self._serials = count(1)

    def root(self, key: tuple[bool, DType]) -> Step:
        """Where programs of a gradient mode and default element type begin."""
        found = self.roots.get(key)
        return found if found is not None else self.roots.setdefault(key, Step(None, None, key, UNKNOWN))

    def add(self, at: Step, key: Key, step: Step) -> None:
        """Hang a new step below another."""
        at.next[key] = step
        self.edges += 1

    def end(self, step: Step) -> int:
        """Take notice that a segment has closed at a step; its serial number."""
        step.used = serial = next(self._serials)
        if self.edges > EDGES or self.programs > PROGRAMS:
            with self.lock:
                self.shrink(EDGES // 2, PROGRAMS // 2)
        return serial

    def shrink(self, edges: int, programs: int) -> None:
        """Forget the programs that were used least recently, until no more edges and programs are left than given."""
        ends = sorted((step for step in self.steps() if step.used), key=lambda step: -step.used)
        kept: set[Step] = set(self.roots.values())
        edges += len(kept)
        count = 0
        for place, end in enumerate(ends):
            path, step = [end], end
            while step.parent is not None and step.parent not in kept:
                step = step.parent
                path.append(step)
            new = 0 if end in kept else len(path)
            if len(kept) + new > edges or count + len(end.programs) > programs:
                self.forgotten += len(ends) - place
                for other in ends[place:]:
                    other.clear()
                break
            kept.update(path[:new])
            count += len(end.programs)
        for step in kept:
            if step.next:
                step.next = {key: below for key, below in step.next.items() if below in kept}
                if not any(below.operation is NUMBER for below in step.next.values()):
                    step.holes = set()
        self.edges, self.programs = len(kept) - len(self.roots), count

    def steps(self) -> list[Step]:
        """All steps, each after the one above it."""
        found = list(self.roots.values())
        for step in found:
            found.extend(step.next.values())  # the loop goes on over what is added
        return found


trie = Trie()
