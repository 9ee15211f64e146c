"""What recorders and traces have in common: numbered values, and the graph that is built from recorded operations.

Operations are recorded as *keys*: `(operation, argument, …)`, where a tensor stands as the number of its value, a Python number
in its place as `(type, number)`, a sequence of tensors as a tuple, and everything else as itself. A key says all that the
operation needs to be emitted into a graph, so a program is a list of keys, and equal programs have equal keys.
"""

from __future__ import annotations

import weakref
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rustorch.autodiff.vjp import pullback
from rustorch.errors import GradError, UserError, compose
from rustorch.frontend.base import TensorBase, concrete, recorded
from rustorch.frontend.state import local
from rustorch.ir.builder import Builder
from rustorch.ir.dtypes import bool_, f64, i64
from rustorch.ir.graph import Value
from rustorch.ir.location import Location
from rustorch.ir.pattern import RuleRewriter
from rustorch.ir.types import DType, TensorType
from rustorch.ops.rules import STABILITY

Key = tuple[Any, ...]
Origin = tuple[Any, int]
"""The closed segment that computed a tensor, and the number of its value there."""


class Primitive:
    """What can be recorded. `build` emits it into a graph."""

    name: str = ""
    blocks = False
    """Whether its results never require gradients."""
    plural = False
    """Whether the user gets a tuple even for one result."""

    def build(self, building: Building, key: Key) -> tuple[Value, ...]:
        """Emit the operation of a key; a value per result."""
        raise NotImplementedError(self.name)

    def operands(self, key: Key) -> list[int]:
        """Numbers of the values that the operation of a key reads."""
        return []

    def require(self, building: Building, key: Key, results: Sequence[Value]) -> list[bool]:
        """Which results require gradients: those of floating point, if an operand does."""
        needs = not self.blocks and building.mode and any(building.grads[n] for n in self.operands(key))
        return [needs and is_floating(v) for v in results]

    def wrap(self, results: tuple[Any, ...]) -> Any:
        """What the user gets for several results."""
        return results

    def __repr__(self) -> str:
        return f"<operation {self.name}>"


def is_floating(value: Value) -> bool:
    """Whether a value holds floating-point numbers."""
    return tensor_type(value).dtype.kind == "float"


def tensor_type(value: Value) -> TensorType:
    """The type of a tensor value."""
    type_ = value.type
    assert isinstance(type_, TensorType)
    return type_


def alias(b: Builder, x: Value) -> Value:
    """A value of its own with the elements of `x`, for the derivative's sake: passes drop it."""
    b.forget()
    same: Value = b.reshape(x, shape=tensor_type(x).shape)
    return same


def carrier(kind: type) -> DType:
    """The element type that carries a Python number of a type."""
    return _CARRIERS[kind]


_CARRIERS = {bool: bool_, int: i64, float: f64}


class Scalar:
    """A Python number that became a run-time input: weaker in promotion than any tensor."""

    __slots__ = ("value", "kind")

    def __init__(self, value: Value, kind: type) -> None:
        self.value, self.kind = value, kind


def value_of(x: Any) -> Value:
    """The value behind a number's entry."""
    found: Value = x.value if isinstance(x, Scalar) else x
    return found


class Track(Primitive):
    """A value of its own for a tensor that becomes a leaf: gradients stop here, unless `through` says that they go on."""

    def __init__(self, name: str, through: bool) -> None:
        self.name, self.through = name, through

    def build(self, building: Building, key: Key) -> tuple[Value, ...]:
        (x,) = building.values(key[1:])
        building.tracked.append(len(building.ir))
        return (alias(building.b, x) if self.through else building.b.detach(x),)

    def require(self, building: Building, key: Key, results: Sequence[Value]) -> list[bool]:
        return [True]


LEAF, VARIABLE = Track("leaf", False), Track("variable", True)


_STABLE = RuleRewriter(STABILITY)


class Building:
    """The graph of a segment while it grows: a value and a gradient flag for each number."""

    def __init__(self) -> None:
        self.b = Builder(_STABLE)  # before any derivative is taken, so that it is stable, too
        self.ir: list[Any] = []
        """The `Value` (or `Scalar`) of each number."""
        self.grads: list[bool] = []
        self.mode = True
        """Whether gradients are recorded at this point of the program."""
        self.made: list[tuple[Primitive, Key]] = []
        """The operation, and its key, behind each number."""
        self.places: list[int] = []
        """How many nodes there were when each number was complete."""
        self.remark: Any = None
        """What the last operation says besides its results."""
        self.inference: set[int] = set()
        """Numbers made in inference mode."""
        self.tracked: list[int] = []
        """Numbers at which a tensor became a leaf or a variable."""
        self.pulled: dict[Any, Any] = {}
        """The nodes of backward passes, which go to the same places again and again where there are hooks."""
        self.gradients: set[Value] = set()
        """Differentiable results of backward passes."""

    def values(self, numbers: Sequence[int]) -> list[Value]:
        """The values of some numbers."""
        return [value_of(self.ir[n]) for n in numbers]

    def first_of(self, place: int) -> int:
        """The number of the first result of the operation that emitted the node at a place."""
        return bisect_right(self.places, place)

    def emit(self, operation: Primitive, key: Key, location: Location) -> tuple[list[Value], list[bool]]:
        """Emit one recorded operation; its results and whether each requires gradients."""
        b = self.b
        b.forget()
        self.remark = None
        before = len(b.nodes)
        with b.at(location):
            results = list(operation.build(self, key))
            flags = operation.require(self, key, results)
            operands = operation.operands(key)
            if self.inference and any(flags):
                refuse_inference(self, operands, results, before)
            if operands:
                read = {id(self.ir[n]) for n in operands}
                silent = not self.mode and any(self.grads[n] for n in operands)
                for i, value in enumerate(results):
                    if silent and is_floating(value):
                        results[i] = b.detach(value)
                    elif id(value) in read:
                        results[i] = alias(b, value)
        self.ir += results
        self.made += [(operation, key)] * len(results)
        self.grads += flags
        self.places += [len(b.nodes)] * len(results)
        return results, flags


def refuse_inference(building: Building, operands: Sequence[int], results: Sequence[Value], before: int) -> None:
    """Refuse an operation, that of the nodes from `before` on, whose derivative reads a value that was made in inference mode."""
    made = set(building.values([n for n in operands if n in building.inference]))
    wanted = building.values([n for n in operands if building.grads[n]])
    if not made:
        return
    inner = building.b.region()
    emitted = len(building.b.nodes)
    outputs = [v for v in results if is_floating(v)]
    pullback(inner, building.b.nodes[before:], outputs, [inner.input(v.type) for v in outputs], wanted)
    if any(v in made for node in (*inner.nodes, *building.b.nodes[emitted:]) for v in node.operands):
        raise GradError(
            compose(
                "Inference tensors cannot be saved for backward. Please do not use Tensors created in inference mode in computation "
                "tracked by autograd. To work around this, you can make a clone to get a normal tensor and use it in autograd, or use "
                "`rustorch.no_grad()` instead of `rustorch.inference_mode()`."
            )
        )


def located(error: UserError, location: Location) -> UserError:
    """The error with the user's line, unless it names one."""
    text = str(error.args[0]) if error.args else ""
    if "\n  at " in text or not location.line:
        return error
    error.args = (f"{text}\n  at {location}", *error.args[1:])
    return error


_pack: list[Callable[..., None]] = []


def set_packer(pack: Callable[..., None]) -> None:
    """Say what packs the values that an operation saves (done once, by `packing.py`)."""
    _pack[:] = [pack]


class Segment:
    """Numbered values. Subclasses say what a foreign tensor becomes (`number`) and what to do with a key (`record`)."""

    def __init__(self) -> None:
        self.count = 0
        self.values: list[Any] = []
        """The tensor recorded for each number; `GONE` where there is none, or it has moved on to another number."""
        self.known: dict[int, int] = {}
        """`id` of a foreign tensor → its number here."""
        self.leaves: list[Any] = []
        """The foreign tensors, in the order of the graph's inputs; None for a Python number."""
        self.sources: dict[int, tuple[TensorBase, Origin | None]] = {}
        """Numbers at which gradients leave, the tensors that they belong to, and where those came from, for the ones with a history."""
        self.hooks: dict[int, dict[int, Callable[[Any], Any]]] = {}
        """Hooks on values recorded here, by number."""
        self.retained: dict[int, weakref.ref[TensorBase]] = {}
        """Tensors recorded here that ask for their gradient, by number."""
        self.nodes: dict[int, Any] = {}
        """What is attached to operations (`Observers`), by the number of their first result."""
        self.packed: dict[int, Any] = {}
        """What saved-tensor hooks made of the values that an operation's derivative reads, by the number of its first result."""
        self.freed = 0
        """Bits of the numbers whose history was given up by `backward`."""
        self.mode = True
        """Whether operations are recorded for differentiation."""
        self.inference: int | None = 0 if local.inference else None
        """The first number that is made in inference mode, while it is on."""
        self.normal: set[int] = set()
        """Numbers made in inference mode for tensors from outside of it, which were written to."""
        self.packing = bool(local.packing)
        """Whether hooks on saved tensors are in force."""

    def settle(self, tensor: TensorBase) -> None:
        """Make a tensor of this segment concrete."""
        raise NotImplementedError

    def number(self, x: TensorBase) -> int:
        """The number of a foreign tensor, which becomes an input."""
        raise NotImplementedError

    def record(self, operation: Primitive, args: tuple[Any, ...]) -> Any:
        """Record an operation on the user's arguments; its result or results."""
        raise NotImplementedError

    def record_key(self, operation: Primitive, key: Key) -> list[Any]:
        """Record a key; a tensor per result."""
        raise NotImplementedError

    def remark(self) -> Any:
        """What the operation that was recorded last says besides its results."""
        raise NotImplementedError

    def set_grad(self, mode: bool) -> None:
        """Record a switch of the gradient mode."""
        raise NotImplementedError

    def set_inference(self, on: bool) -> None:
        """Begin inference mode, or end it."""
        self.inference = self.count if on else None

    def is_inference(self, x: TensorBase) -> bool:
        """Whether a tensor was made in inference mode."""
        if x._extra is not None and x._extra.inference:
            return True
        own = x._segment is self and x._array is None and self.inference is not None
        return own and x._number >= (self.inference or 0) and x._number not in self.normal

    def set_packing(self, on: bool) -> None:
        """Let hooks on saved tensors be in force, or not."""
        self.packing = on

    def recorded(self, operation: Any, key: Key, args: tuple[Any, ...], results: list[Any]) -> Any:
        """What the user gets for an operation that was just recorded."""
        if self.packing:
            _pack[0](self, operation, key, args, results, self.count - len(results))
        return results[0] if len(results) == 1 and not operation.plural else operation.wrap(tuple(results))

    def number_of(self, x: TensorBase) -> int:
        """The number of a tensor, recorded here or foreign."""
        return x._number if x._segment is self else self.number(x)

    def add_results(self, types: Sequence[TensorType], flags: Sequence[bool]) -> list[Any]:
        """New tensors for the next numbers."""
        tensors = []
        for type_, flag in zip(types, flags, strict=True):
            t = recorded(self, self.count, type_, flag)
            self.count += 1
            self.values.append(t)
            tensors.append(t)
        return tensors

    def take_arrays(self, arrays: Sequence[Any], types: Sequence[TensorType]) -> Sequence[int]:
        """The numbers of new inputs with these elements."""
        return [self.number(concrete(array, type_)) for array, type_ in zip(arrays, types, strict=True)]

    writes_memory = True
    """Whether a write to shared memory can be done at once."""

    def about_to_write(self, x: TensorBase) -> None:
        """Take notice that `x` is going to be written."""

    def about_to_set_grad(self, x: TensorBase) -> None:
        """Take notice that the gradient of `x` is going to be another tensor."""

    def about_to_read_grad(self, x: TensorBase) -> None:
        """Take notice that the program depends on the gradient that `x` has."""

    def watch(self, owner: Any, name: str) -> None:
        """Take notice that the program depends on an attribute."""

    def is_weak(self, x: Any) -> bool:
        """Whether a tensor stands for a Python number."""
        return False

    def draw(self, generator: Any, count: int) -> Any:
        """A key for the next numbers of a random generator, which is advanced."""
        array = np.array([generator.seed_number, generator.offset], np.int64)
        generator.offset += count
        return concrete(array, i64[2])

    def free(self, bits: int) -> None:
        """Give up the history of some values: no later `backward` may need it."""
        self.freed |= bits

    def forget(self, x: TensorBase) -> None:
        """Let `x` be foreign again: at its next use it becomes a new input."""
        if x._segment is self:
            number = x._number
            if number < len(self.values) and self.values[number] is x:
                self.values[number] = GONE
            x._segment = None
        self.known.pop(id(x), None)

    def move(self, x: TensorBase, to: TensorBase) -> None:
        """Let `x` stand for the value of `to`, which was recorded here and is not needed any more."""
        if self.inference is not None and not self.is_inference(x):
            self.normal.add(to._number)
        if self.writes_memory and x._segment is not None and x._segment is not self:
            x._segment.forget(x)  # open in another thread (a trace gives tensors back as they were)
        self.forget(x)
        x._array, x._segment, x._number = None, self, to._number
        x._type, x._requires_grad, x._origin = to._type, to._requires_grad, None
        self.values[to._number] = x
        if x._extra is not None and x._extra.retains:
            self.retained[to._number] = weakref.ref(x)


GONE = object()
"""In the place of a tensor that nobody can read any more."""

remembering: weakref.WeakSet[Any] = weakref.WeakSet()
"""Closed segments that gradients may still flow back through: they hold the arrays that they have read."""


def keep_apart(array: np.ndarray[Any, Any]) -> None:
    """Let nobody who remembers an array see what is about to be written into its memory."""
    for segment in list(remembering):
        for i, read in enumerate(segment.arrays):
            if np.may_share_memory(read, array):
                segment.arrays[i] = read.copy()
