"""Cotangents through one segment: as one operation of the segment while it is open, as one call of a graph when it has closed."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from rustorch.autodiff.vjp import pullback
from rustorch.errors import GradError, compose
from rustorch.frontend.anomaly import checker, checks
from rustorch.frontend.base import concrete, recorded
from rustorch.frontend.history import differentiable, used_history
from rustorch.frontend.program import normal_form
from rustorch.frontend.recorder import ALL, Recorder
from rustorch.frontend.segment import Building, Key, Primitive, Segment, alias, is_floating, tensor_type, value_of
from rustorch.frontend.state import local
from rustorch.frontend.trie import Place
from rustorch.ir.builder import Builder
from rustorch.ir.graph import Graph, Node, Value
from rustorch.ir.rewrite import replay_into
from rustorch.ir.types import TensorType


class Pull(Primitive):
    """Cotangents, from roots to other values of one segment.

    Its key: numbers of the roots; of their cotangents (None for one); of the values whose cotangent is wanted; pairs of values
    and the cotangents that replace what would flow into them (None: nothing flows on); whether the results are differentiable.
    There is a result for each wanted value that a path leads to; the remark says for which, and which values' history was used
    (as bits).
    """

    name = "backward"
    plural = True

    def build(self, building: Building, key: Key) -> tuple[Value, ...]:
        _, roots, given, wanted, replaced, create, *_checked = key
        cotangents = [None if n is None else building.values((n,))[0] for n in given]
        before = building.b.share(building.pulled)
        found = pulled(building, roots, cotangents, wanted, _values(building, replaced))
        building.b.share(before)
        building.remark = (tuple(i for i, ct in enumerate(found) if ct is not None), used_history(building, roots, wanted))
        results = [ct for ct in found if ct is not None]
        if not create:
            return tuple(map(building.b.detach, results))
        results = [alias(building.b, ct) if ct in building.gradients else ct for ct in results]  # equal gradients are apart
        building.gradients.update(results)
        return tuple(results)

    def operands(self, key: Key) -> list[int]:
        _, roots, given, _, replaced, *_ = key
        return [*roots, *(n for n in given if n is not None), *(n for _, n in replaced if n is not None)]

    def require(self, building: Building, key: Key, results: Sequence[Value]) -> list[bool]:
        if not key[5]:
            return [False] * len(results)
        sources = [value_of(v) for v, flag in zip(building.ir, building.grads, strict=True) if flag]
        depending = differentiable(building.b.nodes, sources)
        return [v in depending and is_floating(v) for v in results]


class Call(Primitive):
    """A graph as one operation. Its key: whether the results are differentiable; the numbers of the graph's inputs."""

    plural = True

    def __init__(self, graph: Graph, name: str) -> None:
        self.graph, self.name = graph, name
        self.batches: dict[Any, Call] = {}
        """The same for batches."""

    def build(self, building: Building, key: Key) -> tuple[Value, ...]:
        new = replay_into(building.b, self.graph, dict(zip(self.graph.inputs, building.values(key[2:]), strict=True)))
        results = [new[v] for v in self.graph.outputs]
        return tuple(results if key[1] else map(building.b.detach, results))

    def operands(self, key: Key) -> list[int]:
        return list(key[2:])

    def require(self, building: Building, key: Key, results: Sequence[Value]) -> list[bool]:
        return super().require(building, key, results) if key[1] else [False] * len(results)


class Inlined(Call):
    """A traced function as one operation of an open segment, so that gradients flow through it."""

    def __init__(self, graph: Graph, name: str, flows: Sequence[bool]) -> None:
        super().__init__(graph, name)
        self.flows = tuple(flows)

    def build(self, building: Building, key: Key) -> tuple[Value, ...]:
        results = super().build(building, key)
        return tuple(v if flows else building.b.detach(v) for v, flows in zip(results, self.flows, strict=True))

    def require(self, building: Building, key: Key, results: Sequence[Value]) -> list[bool]:
        needs = building.mode and any(building.grads[n] for n in self.operands(key))
        return [needs and flows and is_floating(v) for v, flows in zip(results, self.flows, strict=True)]


PULL = Pull()


def _values(building: Building, replaced: Sequence[tuple[int, int | None]]) -> dict[Value, Value | None]:
    return {building.values((n,))[0]: None if ct is None else building.values((ct,))[0] for n, ct in replaced}


def pulled(
    building: Building, roots: Sequence[int], given: Sequence[Value | None], wanted: Sequence[int], replaced: Mapping[Value, Value | None]
) -> list[Value | None]:
    """Emit the backward nodes; a cotangent for each wanted value that a path leads to."""
    b = building.b
    outputs = building.values(roots)
    cotangents = [b.const(1, v) if ct is None else ct for v, ct in zip(outputs, given, strict=True)]
    return pullback(
        b, tuple(b.nodes), outputs, cotangents, building.values(wanted), lambda value, ct: replaced.get(value, ct), replaced,
        checker(building),
    )  # fmt: skip


# --- One segment ------------------------------------------------------------------------------------------------------


def pull_segment(
    segment: Any,
    seeds: Mapping[int, Any],
    wanted: Sequence[int],
    replaced: Mapping[int, Any],
    create: bool,
    retain: bool,
) -> dict[int, Any]:
    """Gradients at numbers of a segment, open or closed, given tensors for the cotangents of others (None for one)."""
    now = local.segment
    roots, places = tuple(seeds), tuple(dict.fromkeys(wanted))
    if segment is now:
        given = tuple(None if ct is None else now.number_of(ct) for ct in seeds.values())
        pairs = tuple((n, None if ct is None else now.number_of(ct)) for n, ct in replaced.items())
        key = (PULL, roots, given, places, pairs, create)
        results = now.record_key(PULL, (*key, "checked") if checks() else key)
        found, bits = now.remark()
    elif is_around(segment):
        results, found, bits = _pull_around(segment, seeds, places, replaced, create)
    else:
        results, found, bits = pull_closed(segment, seeds, places, replaced, create)
    check_history(segment, bits)
    if not retain:
        segment.free(bits)
    return {places[i]: ct for i, ct in zip(found, results, strict=True)}


def check_history(segment: Any, bits: int) -> None:
    """Refuse to go where an earlier pass has given up what is needed."""
    if segment.freed & bits:
        refuse_freed()


def refuse_freed() -> NoReturn:
    """Say that an earlier pass has given up what is needed."""
    raise GradError(
        compose(
            "Trying to backward through the graph a second time (or directly access saved tensors after they have already been freed). "
            "Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). Specify retain_graph=True "
            "if you need to backward through the graph a second time or if you need to access saved tensors after calling backward."
        )
    )


@dataclass(frozen=True)
class Closed:
    """The backward program of a closed segment."""

    call: Call
    used: tuple[int, ...]
    """What the call reads: places among the segment's inputs, then its residuals, then the cotangents."""
    found: tuple[int, ...]
    bits: int
    """As `Pull` remarks."""
    read: tuple[int, ...]
    """Those places of `used` that are residuals."""
    types: tuple[TensorType, ...]
    """The types of those residuals."""


def pull_closed(
    segment: Recorder,
    seeds: Mapping[int, Any],
    wanted: tuple[int, ...],
    replaced: Mapping[int, Any],
    create: bool,
    over: Callable[[Call, Sequence[bool]], Call] | None = None,
) -> tuple[list[Any], tuple[int, ...], int]:
    """Gradients at numbers of a closed segment; for which of them there are any; bits of the history that they need.

    `over(call, single)` may give another call, for cotangents of other types: all inputs but those are `single`.
    """
    if segment.freed == ALL:
        return [], (), ALL
    kept = {} if create else segment.residuals  # a second derivative goes through all of the forward pass
    ends = tuple((n, ct is None) for n, ct in replaced.items())
    key = (tuple(seeds), tuple(ct is None for ct in seeds.values()), wanted, ends, tuple(kept), checks())
    memo = segment.at.memo
    known = memo.get(key)
    if known is None:
        known = memo[key] = _closed_backward(segment, seeds, wanted, replaced, tuple(kept), create)
    if segment.freed & known.bits:
        return [], (), known.bits
    cotangents = [ct for ct in seeds.values() if ct is not None] + [ct for ct in replaced.values() if ct is not None]
    now = local.segment
    count, rest = len(segment.arrays), len(segment.arrays) + len(kept)
    residuals: Sequence[int] = ()
    if known.types:
        arrays = list(kept.values())
        residuals = now.take_arrays([arrays[i - count] for i in known.read], known.types)
    numbers, following = [], iter(residuals)
    for i in known.used:
        if i < count:
            numbers.append(again(now, segment, i))
        elif i < rest:
            numbers.append(next(following))
        else:
            numbers.append(now.number_of(cotangents[i - rest]))
    call = known.call if over is None else over(known.call, [i < rest for i in known.used])
    return now.record_key(call, (call, create, *numbers)), known.found, known.bits


def _closed_backward(
    segment: Recorder, seeds: Mapping[int, Any], wanted: tuple[int, ...], replaced: Mapping[int, Any], kept: tuple[Place, ...], create: bool
) -> Closed:
    """The backward graph of a closed program as an operation on the program's inputs, the residuals that it has kept, and the
    cotangents. What it has to compute anew is kept from the next run on."""
    building = segment.replayed()
    b = building.b
    inputs, forward = list(b.inputs), len(b.nodes)
    residuals = [b.nodes[node].results[i] for node, i in kept]
    given = [None if ct is None else b.input(building.values((n,))[0].type, "ct") for n, ct in seeds.items()]
    values = {n: building.values((n,))[0] for n in replaced}
    pairs = {values[n]: None if ct is None else b.input(values[n].type, "ct") for n, ct in replaced.items()}
    bits = used_history(building, tuple(seeds), wanted)
    found = pulled(building, tuple(seeds), given, wanted, pairs)
    outputs = [ct for ct in found if ct is not None]
    every = [*inputs, *residuals, *b.inputs[len(inputs) :]]
    nodes = [node for node in b.nodes if not any(v in residuals for v in node.results)]
    if not create:
        segment.at.keep(read_residuals(b.nodes, forward, outputs))
    call, used = call_of(every, nodes, outputs, "backward")
    read = tuple(i for i in used if len(inputs) <= i < len(inputs) + len(residuals))
    some = tuple(i for i, ct in enumerate(found) if ct is not None)
    return Closed(call, used, some, bits, read, tuple(tensor_type(every[i]) for i in read))


def call_of(inputs: Sequence[Value], nodes: Sequence[Node], outputs: Sequence[Value], name: str) -> tuple[Call, tuple[int, ...]]:
    """What leads to `outputs` as one operation, and the places of those inputs that it takes: what it reads or passes on."""
    graph, read, places = normal_form(inputs, nodes, outputs, name)
    passed = tuple(dict.fromkeys(i for computed, i in places if not computed and i not in read))
    whole = Graph(name, (*graph.inputs, *(inputs[i] for i in passed)), graph.nodes, tuple(outputs))
    return Call(whole, name), (*read, *passed)


def read_residuals(nodes: Sequence[Node], forward: int, outputs: Sequence[Value]) -> tuple[Place, ...]:
    """Values of the first `forward` nodes, the forward pass, that the rest needs for `outputs`.

    Of a value that costs nothing (a view, a constant) what it is made from is taken: it is made again.
    """
    place = {v: (n, i) for n, node in enumerate(nodes[:forward]) for i, v in enumerate(node.results)}
    needed = read_by(nodes[forward:], outputs)
    found: set[Place] = set()
    for n in range(forward - 1, -1, -1):
        read = [place[v] for v in nodes[n].results if v in needed]
        if read and nodes[n].op.cost == 0:
            needed.update(nodes[n].operands)
        else:
            found.update(read)
    return tuple(sorted(found))


def read_by(nodes: Sequence[Node], outputs: Sequence[Value]) -> set[Value]:
    """The outputs, and what those of the nodes read that lead to them."""
    needed = set(outputs)
    for node in reversed(nodes):
        if any(v in needed for v in node.results):
            needed.update(node.operands)
    return needed


def again(now: Segment, segment: Recorder, index: int) -> int:
    """The number, in the segment that is open now, of what was input `index` of a closed one."""
    x, array = segment.leaves[index], segment.arrays[index]
    if x is not None and x._array is array and (x._segment is None or x._segment is now or not now.writes_memory):
        return now.number_of(x)
    number, type_ = segment.inputs()[index]
    source = segment.sources.get(number)
    found = now.number_of(concrete(array, type_, source is not None))
    if source is not None:
        now.sources[found] = source
    return found


# --- From inside a trace ------------------------------------------------------------------------------------------------


def is_around(segment: Any) -> bool:
    """Whether a segment is open around the trace that this thread is in."""
    around = local.segment
    while not around.writes_memory:
        around = around.outer
        if around is segment:
            return True
    return False


def _pull_around(
    segment: Any, seeds: Mapping[int, Any], wanted: Sequence[int], replaced: Mapping[int, Any], create: bool
) -> tuple[list[Any], tuple[int, ...], int]:
    """Gradients at numbers of a segment around the trace that is open; for which of them there are any; bits of the history.

    The backward nodes become one operation of the trace. What they read of the forward pass are tensors from outside, as for anything
    else that a traced function takes from where it was made.
    """
    building: Building = segment.building if isinstance(segment.building, Building) else segment.building()
    forward, b = tuple(building.b.nodes), Builder()
    cotangents = [None if ct is None else b.input(building.values((n,))[0].type, "ct") for n, ct in seeds.items()]
    ends = {building.values((n,))[0]: None if ct is None else b.input(building.values((n,))[0].type, "ct") for n, ct in replaced.items()}
    given = tuple(b.inputs)
    roots = building.values(tuple(seeds))
    ones = [b.const(1, v) if ct is None else ct for v, ct in zip(roots, cotangents, strict=True)]
    found = pullback(b, forward, roots, ones, building.values(wanted), lambda value, ct: ends.get(value, ct), ends)
    outputs = [ct for ct in found if ct is not None]
    numbers = {value_of(v): n for n, v in enumerate(building.ir)}
    nodes, read = down_to((*forward, *b.nodes), outputs, {*numbers, *given})
    before = [v for v in read if v in numbers]
    call = Call(Graph("backward", (*before, *given), tuple(nodes), tuple(outputs)), "backward")
    now: Segment = local.segment
    views = [recorded(segment, numbers[v], tensor_type(v), building.grads[numbers[v]]) for v in before]
    tensors = [*views, *(ct for ct in (*seeds.values(), *replaced.values()) if ct is not None)]
    results = now.record_key(call, (call, create, *[now.number_of(x) for x in tensors]))
    some = tuple(i for i, ct in enumerate(found) if ct is not None)
    return results, some, used_history(building, tuple(seeds), wanted)


def down_to(nodes: Sequence[Node], outputs: Sequence[Value], ends: Container[Value]) -> tuple[list[Node], list[Value]]:
    """The nodes that lead from `ends` to the outputs, and those of `ends` that they read."""
    needed = set(outputs)
    read = dict.fromkeys(v for v in outputs if v in ends)
    found: list[Node] = []
    for node in reversed(nodes):
        if any(v in needed and v not in ends for v in node.results):
            found.append(node)
            needed.update(node.operands)
            read.update(dict.fromkeys(v for v in node.operands if v in ends))
    return found[::-1], list(read)
