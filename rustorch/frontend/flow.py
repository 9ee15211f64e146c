"""Gradients through one recorded operation by itself, and the values that it saves for them.

A backward pass sees whole graphs. Where a single operation is looked at (its post-hooks, its saved values, hooks that pack and
unpack those) its derivative is a small graph of its own, a `Flow`: saved operands and results, and cotangents of the results in,
a gradient for each operand out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from rustorch.autodiff.forms import carries
from rustorch.autodiff.vjp import pullback
from rustorch.errors import Unsupported, compose
from rustorch.frontend.applied import APPLIED
from rustorch.frontend.course import Spot, operation_at
from rustorch.frontend.operation import Operation
from rustorch.frontend.pull import Call, again, call_of, down_to, read_by, refuse_freed
from rustorch.frontend.recorder import ALL
from rustorch.frontend.segment import Building, Key, Primitive, Scalar, Track, tensor_type, value_of
from rustorch.frontend.state import local
from rustorch.frontend.trace import Trace
from rustorch.frontend.trie import NUMBER
from rustorch.ir.graph import Graph, Value
from rustorch.ir.types import TensorType


@dataclass(frozen=True)
class Kind:
    """What is known of a value without its elements."""

    type: TensorType
    grad: bool
    number: Any = None
    """The type of the Python number that it is."""

    @property
    def is_float(self) -> bool:
        """Whether gradients exist for it."""
        return self.type.dtype.kind == "float"


def kinds(segment: Any) -> list[Kind]:
    """The kind of each value of a segment."""
    if isinstance(segment, Trace):
        b = segment.building
        return [
            Kind(tensor_type(value_of(x)), flag, x.kind if isinstance(x, Scalar) else None) for x, flag in zip(b.ir, b.grads, strict=True)
        ]
    memo = segment.at.memo
    known: list[Kind] | None = memo.get("kinds")
    if known is None:
        known = memo["kinds"] = [
            Kind(type_, flag, step.key[1] if step.operation is NUMBER else None)
            for step in segment.at.path()
            for type_, flag in zip(step.types, step.flags, strict=True)
        ]
    return known


def renumbered(operation: Primitive, key: Key) -> Key:
    """The key with its operands numbered from 0 on, each place by itself."""
    numbers = count()
    if isinstance(operation, Operation):
        parts = list(key)
        for i, found in operation.filled(key):
            parts[i] = next(numbers) if type(key[i]) is int else tuple(next(numbers) for _ in found)
        return tuple(parts)
    if isinstance(operation, Track):
        return operation, 0
    if isinstance(operation, Call):
        return operation, key[1], *range(len(key) - 2)
    raise Unsupported(
        compose(
            f"hooks on a node of {operation.name}, which is an operation of a backward pass",
            todo="Put a hook on the tensor instead: register_hook.",
        )
    )


@dataclass(frozen=True)
class Flow:
    """The derivative of one operation."""

    saved: tuple[tuple[str, int], ...]
    """What it reads of the forward pass: operands and results, each by its place."""
    call: Call
    """From what is saved, and the cotangents, to the gradients."""
    given: tuple[int, ...]
    """The results whose cotangents it reads."""
    gives: tuple[int, ...]
    """The operands whose gradients it gives."""


_flows: dict[Any, Flow] = {}


def flow_of(operation: Primitive, key: Key, operands: Sequence[Kind], given: tuple[bool, ...]) -> Flow:
    """The derivative of an operation for operands of some kinds, from the cotangents of those results that are `given`."""
    alone = renumbered(operation, key)
    name = (alone, tuple(operands), given)
    known = _flows.get(name)
    if known is None:
        if len(_flows) > 10_000:
            _flows.clear()
        known = _flows[name] = _made(operation, alone, operands, given)
    return known


def _made(operation: Primitive, key: Key, operands: Sequence[Kind], given: tuple[bool, ...]) -> Flow:
    building = Building()
    b = building.b
    inputs: list[Value] = []
    for kind in operands:
        value = b.input(kind.type)
        inputs.append(value)
        building.ir.append(value if kind.number is None else Scalar(value, kind.number))
        building.grads.append(kind.grad)
        building.places.append(0)
    results = list(operation.build(building, key))
    forward = tuple(b.nodes)
    places = [i for i, (v, wanted) in enumerate(zip(results, given, strict=True)) if wanted and carries(v)]
    cotangents = {i: b.input(tensor_type(results[i]), "ct") for i in places}
    asked = [i for i, kind in enumerate(operands) if kind.grad and kind.is_float]
    found = pullback(b, forward, results, [cotangents.get(i) for i in range(len(results))], [inputs[i] for i in asked])
    gives = tuple(i for i, flow in zip(asked, found, strict=True) if flow is not None)
    outputs = [flow for flow in found if flow is not None]
    needed = read_by(b.nodes[len(forward) :], outputs)
    ends: dict[Value, tuple[str, int]] = {v: ("operand", i) for i, v in enumerate(inputs)}
    for i, v in enumerate(results):
        if v in needed:
            ends.setdefault(v, ("result", i))
    nodes, read = down_to(b.nodes, outputs, ends)
    saved = [v for v in ends if v in read]
    every = (*saved, *cotangents.values())
    graph = Graph(f"{operation.name}_backward", every, tuple(nodes), tuple(outputs))
    return Flow(tuple(ends[v] for v in saved), Call(graph, graph.name), tuple(places), gives)


# --- Values of a segment, later ---------------------------------------------------------------------------------------


def recall(segment: Any, numbers: tuple[int, ...], create: bool) -> list[int]:
    """Numbers, in the segment that is open now, of values of a segment; those of a closed one are computed again."""
    now = local.segment
    if segment is now or not numbers:
        return list(numbers)
    if segment.freed == ALL:
        refuse_freed()
    memo = segment.at.memo
    known = memo.get(("recall", numbers))
    if known is None:
        building = segment.building()
        b, outputs = building.b, building.values(numbers)
        known = memo["recall", numbers] = call_of(b.inputs, b.nodes, outputs, "recall")
    call, used = known
    found = now.record_key(call, (call, create, *[again(now, segment, i) for i in used]))
    return [x._number for x in found]


def saved_places(place: Spot, flow: Flow) -> tuple[int, ...]:
    """The numbers of what an operation saves."""
    operands = place.operation.operands(place.key)
    return tuple(operands[i] if what == "operand" else place.first + i for what, i in flow.saved)


def slots(place: Spot, known: Sequence[Kind]) -> list[int | None]:
    """Which operands gradients of an operation go to, in order: each by its place, and None for a Python number in a tensor's place."""
    operation, key = place.operation, place.key
    if operation is APPLIED:
        return list(range(len(key[2])))
    if isinstance(operation, Operation) and operation.name in ("add", "sub", "mul", "div"):
        places = count()
        return [next(places) if type(key[i]) is int else None for i in operation.positions]
    return [i for i, n in enumerate(operation.operands(key)) if known[n].is_float]


# --- Through one operation --------------------------------------------------------------------------------------------


def flow_through(
    segment: Any, first: int, outputs: Sequence[Any], packed: Any, create: bool
) -> list[tuple[int | None, Any]]:
    """The gradients that go on from an operation: for each operand its number (None: a Python number) and the gradient, or None."""
    place = operation_at(segment, first)
    if place.operation is APPLIED:
        assert packed is not None
        return list(zip(place.key[2], packed.pull(outputs, create), strict=True))
    known = kinds(segment)
    operands = place.operation.operands(place.key)
    targets = [(None, None) if i is None else (i, operands[i]) for i in slots(place, known)]
    given = tuple(ct is not None for ct in outputs)
    if not any(given):
        return [(n, None) for _, n in targets]
    flow = flow_of(place.operation, place.key, [known[n] for n in operands], given)
    if packed is not None:
        values = packed.unpacked(flow, segment, place, create)
    else:
        values = recall(segment, saved_places(place, flow), create)
    now = local.segment
    key = (flow.call, create, *values, *[now.number_of(outputs[i]) for i in flow.given])
    found = now.record_key(flow.call, key) if flow.gives else []
    flows = dict(zip(flow.gives, found, strict=True))
    return [(n, None if i is None else flows.get(i)) for i, n in targets]

