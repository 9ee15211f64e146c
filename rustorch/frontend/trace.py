"""Tracing: a Python function runs once, on tensors that stand for values of a graph.

While a trace is open, operations go into its graph. Tensors from outside become inputs when they are first used; what the
function does to them in place, or to their `.grad`, is undone at the end and becomes outputs, so that a call can write them
back. Tensors that outlive the function without being its result (a state that an optimiser makes at its first step) are outputs,
too, once: the next call traces anew, and finds them as tensors from outside.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import index
from typing import Any

import numpy as np

from rustorch.errors import TraceError, UserError, compose
from rustorch.frontend.base import TensorBase, recorded
from rustorch.frontend.history import used_history
from rustorch.frontend.host import HostCall, HostResult, Looks
from rustorch.frontend.program import make_program
from rustorch.frontend.random import offset_key
from rustorch.frontend.recorder import held
from rustorch.frontend.segment import GONE, LEAF, Building, Key, Primitive, Scalar, Segment, located, tensor_type, value_of
from rustorch.frontend.sizes import plain, shown
from rustorch.frontend.state import defaults, local
from rustorch.frontend.stated import state_derivatives, with_regions
from rustorch.frontend.storage import convert_to
from rustorch.frontend.trie import INPUT, NUMBER
from rustorch.ir.dims import Dim
from rustorch.ir.dtypes import i64
from rustorch.ir.graph import Graph, Value
from rustorch.ir.location import UNKNOWN, Location, user_location
from rustorch.ir.types import TensorType

Slots = tuple[Any, ...]


class _Nowhere:
    """Where a trace stands in the trie: nothing is known from here."""

    next: dict[Any, Any] = {}  # noqa: RUF012 - stays empty


_NOWHERE = _Nowhere()


class SizeOf(Primitive):
    """A size without a value, as a number: one more than the last place along an axis of that size. Its key holds the size."""

    name = "size"

    def build(self, building: Building, key: Key) -> tuple[Value, ...]:
        b, size = building.b, key[1]
        places = b.iota(type=TensorType(i64, (size,)), axis=0)
        last = b.slice(places, starts=(size - 1,), limits=(size,), strides=(1,))
        return (b.add(b.reshape(last, shape=()), 1),)


SIZE = SizeOf()


class Trace(Segment):
    """The open segment while a function is traced."""

    writes_memory = False
    batch: Any = None
    """The examples that the function is traced for, where `vmap` traces it."""

    def __init__(self, name: str, mode: bool) -> None:
        super().__init__()
        self.name = name
        self.at = _NOWHERE
        self.outer: Any = None
        self.mode = mode
        self.building = Building()
        self.building.mode = mode
        self.written: dict[int, tuple[TensorBase, Slots]] = {}
        """By `id`: tensors from outside that were written, and their slots before."""
        self.graded: dict[int, tuple[TensorBase, Any]] = {}
        """By `id`: tensors from outside whose `.grad` was set, and the gradient before."""
        self.read_grads: dict[int, tuple[TensorBase, Any]] = {}
        """By `id`: tensors from outside whose `.grad` was looked at before it was set, and what was found."""
        self.generators: dict[int, tuple[Any, int, int]] = {}
        """By `id`: random generators, the number of their key, and how many numbers were drawn."""
        self.given: Sequence[Any] | None = None
        """The arguments (tensors, arrays or numbers), where the function is traced for a call with them."""
        self.looks: Looks | None = None
        """The hook that is running, if it may look at numbers."""
        self.calls: list[HostCall] = []
        """The calls of such hooks."""
        self.is_symbolic = False
        """Whether some argument has a size without a value."""
        self.watched: list[tuple[Any, str, Any]] = []
        """Attributes that the program depends on, and their values."""

    # --- recording ----------------------------------------------------------------------------------------------------

    def number(self, x: TensorBase) -> int:
        known = self.known.get(id(x))
        if known is not None:
            return known
        if x._array is None and x._segment is not None and isinstance(x._segment, Trace) and not x._segment.is_open():
            raise x._segment.ended(x)
        key = (INPUT, x._type, x._requires_grad)
        self.emit(INPUT, (*key, "inference") if x._extra is not None and x._extra.inference else key, UNKNOWN)
        return self.take_input(x)

    def ended(self, x: TensorBase) -> TraceError:
        """The error for a tensor of this trace that was kept."""
        return TraceError(
            compose(
                "a tensor of a traced function was used after the function had ended",
                f"it is {x._type}, made by {self.name}",
                todo="Return it from the function instead of keeping it elsewhere.",
            )
        )

    def take_input(self, x: TensorBase | None) -> int:
        """The next number, for an input."""
        number = self.count
        self.count += 1
        self.values.append(GONE)
        self.leaves.append(x)
        if x is not None:
            self.known[id(x)] = number
            if x._requires_grad:
                self.sources[number] = (x, None)
        return number

    def is_open(self) -> bool:
        """Whether the function is still running."""
        return any(s is self for s in open_traces())

    def record(self, operation: Any, args: tuple[Any, ...]) -> Any:
        if self.is_symbolic:
            args = tuple([self.known_part(x, operation, place) for place, x in enumerate(args, 1)])
        key = operation.key(self, args)
        return self.recorded(operation, key, args, self.record_key(operation, key))

    def known_part(self, x: Any, operation: Any, place: int) -> Any:
        """An argument in which sizes without a value are what operations take: a number in the place of a tensor, else a `Dim`."""
        if isinstance(x, (tuple, list)):
            return tuple([self.known_part(part, operation, place) for part in x]) if any(isinstance(p, Dim) for p in x) else x
        if not isinstance(x, Dim):
            return x
        if place not in operation.numeric:
            return plain(x)
        values, _ = self.emit(SIZE, (SIZE, plain(x)), UNKNOWN)
        self.building.ir[-1] = Scalar(values[0], int)
        self.values.append(GONE)
        self.count += 1
        return self.add_view(self.count - 1)

    def record_key(self, operation: Primitive, key: Key) -> list[Any]:
        values, flags = self.emit(operation, key, user_location())
        return self.add_results([tensor_type(v) for v in values], flags)

    def emit(self, operation: Primitive, key: Key, location: Location) -> tuple[list[Value], list[bool]]:
        """Emit an operation into the graph."""
        try:
            return self.building.emit(operation, key, location)
        except UserError as error:
            located(error, location)
            raise

    def remark(self) -> Any:
        return self.building.remark

    def set_inference(self, on: bool) -> None:
        if self.inference is not None:
            made = [n for n in range(self.inference, self.count) if n not in self.normal]
            self.building.inference.update(made)
            for t in (self.values[n] for n in made):
                if t is not GONE:
                    t._more().inference = True
        super().set_inference(on)

    def set_grad(self, mode: bool) -> None:
        self.mode = self.building.mode = mode

    def settle(self, tensor: TensorBase) -> None:
        looks = self.looks
        if looks is not None and self.given is not None and (tensor._array is not None or self.can_see(tensor, looks)):
            looks.looked = True
            if tensor._array is None:
                tensor._array = self.evaluate(tensor)
                looks.settled.append(tensor)
            return
        if not self.is_open():
            raise self.ended(tensor)
        raise TraceError(
            compose(
                f"the elements of a tensor ({tensor._type}) were asked for while the function {self.name} is traced",
                "a traced function has no numbers yet: `if`, `while`, float(), int(), item(), numpy() and print need them",
                at=str(user_location()),
                todo="Choose by rustorch.where(condition, x, y) or rustorch.cond; print with rustorch.debug.print; make an argument that "
                "decides what the program is static (static_argnums), or leave this part out of jit.",
            )
        )

    # --- hooks that look at numbers (`host.py`) ------------------------------------------------------------------------

    def can_see(self, x: TensorBase, looks: Looks) -> bool:
        """Whether a hook can look at a value: at what it was called with, at tensors from outside, and at what it makes of them."""
        if x._segment is not self:
            return False
        waiting, seen = [x._number], set(looks.given)
        while waiting:
            number = waiting.pop()
            if number in seen:
                continue
            seen.add(number)
            operation, key = self.building.made[number]
            if operation in (INPUT, NUMBER):
                if self.leaf_of(number) is None:
                    return False
            elif number < looks.start:
                return False
            else:
                waiting += operation.operands(key)
        return True

    def leaf_of(self, number: int) -> Any:
        """What an input stands for, besides arguments."""
        return self.leaves[self.inputs().index(number)]

    def inputs(self) -> list[int]:
        """The number of each input."""
        return [n for n, (operation, _) in enumerate(self.building.made) if operation in (INPUT, NUMBER)]

    def evaluate(self, value: TensorBase) -> Any:
        """The elements that a value has in the call that the function is traced for."""
        assert self.given is not None
        b = self.building.b
        keys = {number: np.array([g.seed_number, g.offset], np.int64) for g, number, _ in self.generators.values()}
        arrays: list[Any] = []
        for place, (number, leaf) in enumerate(zip(self.inputs(), self.leaves, strict=True)):
            if place < len(self.given):
                x = self.given[place]
                arrays.append(np.asarray(x._elements() if isinstance(x, TensorBase) else x, self.type_of(number).dtype.numpy))
            elif isinstance(leaf, HostResult):
                assert leaf.call.first is not None
                arrays.append(leaf.call.first[leaf.place])
            elif leaf is None:
                arrays.append(keys[number])
            else:
                before = self.written.get(id(leaf))
                arrays.append(leaf._elements() if before is None else before[1][0])
        (found,) = make_program(b.inputs, b.nodes, self.building.values((self.number_of(value),)), "look", eager=True).run(arrays)
        return found

    def add_result(self, result: HostResult, type_: TensorType) -> Any:
        """A new input for what a hook answers."""
        self.emit(INPUT, (INPUT, type_, False), UNKNOWN)
        t = self.add_input()
        self.leaves[-1] = result
        return t

    def about_to_write(self, x: TensorBase) -> None:
        if x._segment is self and x._array is None:
            return
        version = 0 if x._extra is None else x._extra.version
        self.written.setdefault(id(x), (x, (x._array, x._segment, x._number, x._type, x._requires_grad, x._origin, version)))

    def about_to_set_grad(self, x: TensorBase) -> None:
        if id(x) not in self.graded and not self.is_own(x):
            self.graded[id(x)] = (x, x._grad)

    def about_to_read_grad(self, x: TensorBase) -> None:
        if id(x) not in self.graded and id(x) not in self.read_grads and not self.is_own(x):
            self.read_grads[id(x)] = (x, x._grad)

    def watch(self, owner: Any, name: str) -> None:
        self.watched.append((owner, name, getattr(owner, name)))

    def is_own(self, x: TensorBase) -> bool:
        """Whether the tensor was made by the function, or stands for an argument."""
        return x._segment is self and x._array is None and id(x) not in self.written

    def is_weak(self, x: Any) -> bool:
        return isinstance(x, TensorBase) and x._segment is self and x._array is None and isinstance(self.building.ir[x._number], Scalar)

    def draw(self, generator: Any, count: int) -> Any:
        count = index(shown(count))  # by how much a generator moves on is known for one size only
        known = self.generators.get(id(generator))
        if known is None:
            self.emit(INPUT, (INPUT, i64[2], False), UNKNOWN)
            number, used = self.take_input(None), 0
        else:
            _, number, used = known
        self.generators[id(generator)] = (generator, number, used + count)
        key = self.add_view(number)
        return key if used == 0 else offset_key(key, used)

    def add_view(self, number: int) -> Any:
        """A tensor for a number that exists."""
        return recorded(self, number, self.type_of(number), self.building.grads[number])

    def type_of(self, number: int) -> TensorType:
        """The type of a number's value."""
        return tensor_type(value_of(self.building.ir[number]))

    def add_argument(self, type_: TensorType, requires_grad: bool, name: str) -> Any:
        """A new input, and the tensor that stands for it in the function."""
        self.is_symbolic = self.is_symbolic or not type_.is_static
        values, _ = self.emit(INPUT, (INPUT, type_, requires_grad), UNKNOWN)
        values[0].hint = name
        t = self.add_input()
        if requires_grad:
            self.sources[t._number] = (t, None)
        return t

    def add_number(self, kind: type, name: str) -> Any:
        """A new input for a Python number, and the tensor that stands for it in the function."""
        values, _ = self.emit(NUMBER, (NUMBER, kind), UNKNOWN)
        values[0].hint = name
        self.building.ir[-1] = Scalar(values[0], kind)
        return self.add_input()

    def add_input(self) -> Any:
        """The next number, for the input that was just emitted, and the tensor that stands for it."""
        t = self.add_view(self.take_input(None))
        self.values[t._number] = t
        return t

    def undo(self) -> None:
        """Give the tensors from outside back what they had."""
        for x, slots in self.written.values():
            x._array, x._segment, x._number, x._type, x._requires_grad, x._origin, version = slots
            x._more().version = version
        for x, gradient in self.graded.values():
            x._grad = gradient

    def alive(self) -> list[TensorBase]:
        """Tensors recorded here that somebody besides the trace still holds."""
        return [t for t in (self.values[number] for number in held(self.values)) if t._segment is self]


TRACING = 1 << 40
"""While the epoch is so much larger, native entries go their general ways, which see that a function is traced."""


def open_traces() -> list[Trace]:
    """The traces that are open in this thread, the innermost first."""
    found = []
    segment = local.segment
    while isinstance(segment, Trace):
        found.append(segment)
        segment = segment.outer
    return found


@dataclass(frozen=True)
class Output:
    """In the place of a tensor: which output of the graph it is."""

    index: int


@dataclass(frozen=True)
class Outside:
    """A tensor from outside that a program reads: itself, or the gradient that it has at the time of the call."""

    tensor: TensorBase
    gradient: bool

    def found(self) -> Any:
        """The tensor now."""
        return self.tensor._grad if self.gradient else self.tensor


@dataclass
class Traced:
    """What tracing a function gave."""

    name: str
    graph: Graph
    """Its inputs: the arguments, then what `outside` lists. Its outputs, in the order that `Output` counts."""
    arguments: int
    outside: list[Outside | tuple[Any, int] | HostResult]
    """The other inputs: tensors from outside, a random generator and how many numbers are drawn, or what a hook answers."""
    structure: Any
    """Of the function's result."""
    leaves: list[Any]
    """The leaves of the result, `Output` in the place of tensors."""
    written: list[tuple[Outside | int, Output]]
    """Tensors that a call writes (an int: an argument), and what they become."""
    grads: list[tuple[TensorBase | int, Any]]
    """Tensors whose `.grad` a call sets (an int: an argument's is added to): None, a tensor from outside, or an `Output`."""
    guards: list[tuple[TensorBase, bool]]
    """Tensors from outside, and whether they have a gradient when the function begins."""
    watched: list[tuple[Any, str, Any]]
    leaked: list[tuple[TensorBase, Output]]
    """Tensors that outlive the function."""
    differentiable: list[bool]
    """For each output, whether gradients can flow back through it."""
    calls: list[HostCall]
    """Hooks that look at numbers, in the order of their calls."""


class Outputs:
    """The outputs of a traced graph, numbered as they are asked for."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.numbers: dict[int, int] = {}

    def of(self, x: TensorBase) -> Output:
        """The output that a tensor is; a Python number becomes one of the default element type."""
        if self.trace.is_weak(x) and x._type.dtype.kind == "float":
            x = convert_to(x, defaults.dtype)
        return Output(self.numbers.setdefault(self.trace.number_of(x), len(self.numbers)))


_embedding: list[Any] = [lambda trace, arguments, numbers: [], lambda graph, nodes: graph]


def set_embedding(nodes: Callable[..., Any], put: Callable[..., Any]) -> None:
    """Say what makes hooks a part of the graph (done once, by `embedded.py`)."""
    _embedding[:] = [nodes, put]


def run_traced(name: str, mode: bool, begin: Callable[[Trace], list[Any]], call: Callable[[list[Any]], tuple[list[Any], Any]]) -> Traced:
    """Trace `call(begin(trace))`: `begin` makes the arguments' tensors, `call` gives the leaves of the result and its structure."""
    with Young() as young:
        return _traced(name, mode, begin, call, young)


def _traced(
    name: str, mode: bool, begin: Callable[[Trace], list[Any]], call: Callable[[list[Any]], tuple[list[Any], Any]], young: Young
) -> Traced:
    outer, grad_before = local.segment, local.grad
    trace = Trace(name, mode)
    trace.outer = outer
    local.segment, local.grad = trace, mode
    defaults.epoch += TRACING
    outputs = Outputs(trace)
    try:
        arguments = begin(trace)
        first = {t._number: t for t in arguments}
        results, structure = call(arguments)
        leaves = [outputs.of(x) if isinstance(x, TensorBase) else x for x in results]
        del results
        of_gradient = {id(g): x for x, g in trace.read_grads.values() if g is not None}
        written: list[tuple[Outside | int, Output]] = []
        for x, _ in trace.written.values():
            if x._segment is trace and x._array is None:
                owner = of_gradient.get(id(x))
                written.append((Outside(x if owner is None else owner, owner is not None), outputs.of(x)))
        grads: list[tuple[TensorBase | int, Any]] = []
        for x, before in trace.graded.values():
            if x._grad is not before:
                new = x._grad
                grads.append((x, outputs.of(new) if isinstance(new, TensorBase) and trace.is_own(new) else new))
        for place, (number, t) in enumerate(first.items()):
            if t._number != number:
                written.append((place, outputs.of(t)))
            if t._grad is not None:
                grads.append((place, outputs.of(t._grad)))
        for each in trace.calls:
            each.outputs = [outputs.of(x).index for x in each.given]
            each.given = []
        sources = list(trace.sources)
        flowing = [n for n in outputs.numbers if _flows(trace, n, sources)]
        hooked = _embedding[0](trace, arguments, flowing)
        stated = state_derivatives(trace, flowing)
    finally:
        trace.undo()
        defaults.epoch -= TRACING
        local.segment, local.grad = trace.outer, grad_before  # another one, where a rule for batches has looked at numbers
    count = len(first)
    arguments = first = x = new = t = None  # type: ignore[assignment]
    leaked = [(held, outputs.of(held)) for held in _leaked(trace, count, young)]
    building = trace.building
    graph = with_regions(building.b.build([value_of(building.ir[n]) for n in outputs.numbers], name), stated)
    graph = _embedding[1](graph, hooked)
    flows = [_flows(trace, n, sources) for n in outputs.numbers]
    drawn = {number: (generator, used) for generator, number, used in trace.generators.values()}
    outside: list[Outside | tuple[Any, int] | HostResult] = []
    for number, leaf in zip(trace.inputs()[count:], trace.leaves[count:], strict=True):
        if leaf is None:
            outside.append(drawn[number])
        elif isinstance(leaf, HostResult):
            outside.append(leaf)
        else:
            owner = of_gradient.get(id(leaf))
            outside.append(Outside(leaf if owner is None else owner, owner is not None))
    guards = [(x, g is not None) for x, g in trace.read_grads.values()]
    return Traced(name, graph, count, outside, structure, leaves, written, grads, guards, trace.watched, leaked, flows, trace.calls)


def _flows(trace: Trace, number: int, sources: list[int]) -> bool:
    """Whether gradients can flow back through a value from outside."""
    building = trace.building
    if not building.grads[number] or building.made[number][0] is LEAF:  # gradients end there, inside
        return False
    return not (trace.freed & used_history(building, [number], sources))


def _leaked(trace: Trace, arguments: int, young: Young) -> list[TensorBase]:
    """Tensors recorded in a trace that somebody still holds, after its own books are closed."""
    trace.sources.clear()
    trace.retained.clear()
    trace.hooks.clear()
    trace.nodes.clear()
    trace.packed.clear()
    for number in range(arguments):
        trace.values[number] = GONE
    found = trace.alive()
    if found:
        del found
        young.collect()
        found = trace.alive()
    return found


class Young:
    """Keeps what is made within its block in the collector's youngest generation, so that cycles among it are found without a look at
    everything, which takes 10 ms and more. The collector pauses meanwhile."""

    def __enter__(self) -> Young:
        self.paused = gc.isenabled()
        gc.disable()
        self.before = self.collections()
        return self

    def __exit__(self, *_: object) -> None:
        if self.paused:
            gc.enable()

    @staticmethod
    def collections() -> int:
        """How many there were in this process."""
        return sum(generation["collections"] for generation in gc.get_stats())

    def collect(self) -> None:
        """Find the cycles made since; everywhere, if another thread has let the collector go on."""
        if self.collections() == self.before:
            gc.collect(0)
        else:
            gc.collect()


__all__ = ["Outside", "Output", "Trace", "Traced", "open_traces", "run_traced", "set_embedding"]
