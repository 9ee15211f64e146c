"""Python called out of compiled programs: hooks of a traced backward pass that look at numbers.

Where such a hook looks, there are no numbers yet: the function is being traced. They are computed on the spot (`Trace.evaluate`), from
what the function was called with, and the hook goes on. What it answers becomes an input of the program, and what it was given an
output: the program is cut in two there (`Staged`), and in between every later call calls the hook.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rustorch.errors import TraceError, compose
from rustorch.frontend import tree
from rustorch.frontend.base import Array, TensorBase, concrete
from rustorch.frontend.modes import no_grad
from rustorch.frontend.program import Program, make_program
from rustorch.ir.graph import Graph, Node, Value
from rustorch.ir.location import user_location
from rustorch.ir.types import TensorType


@dataclass
class Looks:
    """A hook that runs while a function is traced: whether it has looked at numbers."""

    start: int
    """The number of the first value that it computes."""
    given: set[int]
    """The numbers of what it is called with."""
    looked: bool = False
    settled: list[TensorBase] = field(default_factory=list)
    """Tensors that have elements for as long as it runs."""


@dataclass
class HostCall:
    """A call of Python between two pieces of a program."""

    hook: Callable[..., Any]
    structure: tree.Structure
    """Of what it is called with."""
    given: list[TensorBase]
    """While the function is traced: the tensors in it."""
    types_given: list[TensorType]
    answer: tree.Structure | None = None
    """Of what it answers, if that counts."""
    types: list[TensorType] = field(default_factory=list)
    """Of the tensors in the answer."""
    first: list[Array] | None = None
    """The tensors in the answer that it gave while the function was traced: the first run's."""
    pending: bool = True
    """Whether the first run, for which the hook was called already, is still to come."""
    outputs: list[int] = field(default_factory=list)
    """Which outputs of the graph it is called with."""

    def run(self, arrays: Sequence[Array]) -> list[Array]:
        """The tensors in the hook's answer; in the first run, in that of the call while the function was traced."""
        if self.pending:
            self.pending = False
            return self.first or []
        given = [concrete(a, t) for a, t in zip(arrays, self.types_given, strict=True)]
        with no_grad():
            answer = self.hook(*tree.unflatten(self.structure, given))
        if self.answer is None:
            return []
        if answer is None:
            answer = tree.unflatten(self.structure, given)[0]
        leaves, structure = tree.flatten(answer)
        if structure != self.answer or any(not isinstance(x, TensorBase) for x in leaves):
            raise TraceError(
                compose(
                    "a hook inside a traced function answered otherwise than when the function was traced",
                    f"then: {self.answer}, now: {structure}",
                    todo="Let it always return a tensor, or always None.",
                )
            )
        for x, type_ in zip(leaves, self.types, strict=True):
            if x._type is not type_:
                raise TraceError(compose(f"a hook inside a traced function answered {x._type}, where it had answered {type_}"))
        return [x._elements() for x in leaves]


class HostResult(NamedTuple):
    """In the place of a tensor from outside: what a call out of the program answers."""

    call: Any
    place: int


def call_looking(trace: Any, hook: Callable[..., Any], given: tuple[Any, ...], create: bool) -> Any:
    """What a hook answers while a function is traced. One that looks at numbers is called at every later call of the function, too."""
    leaves, structure = tree.flatten(given)
    tensors: list[TensorBase] = [x for x in leaves if isinstance(x, TensorBase)]
    numbers = [trace.number_of(x) for x in tensors]
    looks = Looks(trace.count, set(numbers))
    before, trace.looks = trace.looks, looks
    try:
        answer = hook(*given)
        if not looks.looked:
            return answer
        if create:
            raise TraceError(
                compose(
                    "a hook that looks at numbers was called in a pass with create_graph while a function is traced",
                    at=str(user_location()),
                    todo="Write the hook with rustorch operations alone, or leave this part out of jit.",
                )
            )
        call = HostCall(hook, structure, [trace.add_view(n) for n in numbers], types_given=[x._type for x in tensors])
        changed = any(trace.number_of(x) != n for x, n in zip(tensors, numbers, strict=True))
        counts = answer if answer is not None else given[0] if changed else None
        found, form = tree.flatten(counts)
        if counts is not None and all(isinstance(x, TensorBase) for x in found):
            call.answer, call.types = form, [x._type for x in found]
            call.first = [trace.evaluate(x) for x in found]
        elif counts is not None:
            return answer  # an error, which is told elsewhere
        trace.calls.append(call)
    finally:
        trace.looks = before
        for x in looks.settled:
            x._array = None
    if counts is None:
        return None
    return tree.unflatten(form, [trace.add_result(HostResult(call, i), type_) for i, type_ in enumerate(call.types)])


class Staged:
    """A program in pieces, with calls of Python in between. It is run as a `Program` is."""

    def __init__(self, graph: Graph, calls: Sequence[HostCall], results: dict[Value, HostResult], name: str) -> None:
        self.graph, self.calls, self.results = graph, calls, results
        self.compiled = None
        self.pieces: list[tuple[tuple[Value, ...], tuple[Value, ...], Program]] = []
        """What each piece reads, what it gives, and its program."""
        known = {v for v in graph.inputs if v not in results}
        waiting = list(graph.nodes)
        for place in range(len(calls) + 1):
            now, later = _available(waiting, known)
            known.update(v for node in now for v in node.results)
            self._add(now, later, place, name)
            known.update(v for v, r in results.items() if place < len(calls) and r.call is calls[place])
            waiting = later

    @property
    def is_checked(self) -> bool:
        """Whether anomaly mode looks at values of any piece."""
        return any(program.is_checked for _, _, program in self.pieces)

    def _add(self, nodes: list[Node], later: list[Node], place: int, name: str) -> None:
        wanted = {v for node in later for v in node.operands} | set(self.graph.outputs)
        outputs = tuple(dict.fromkeys(v for node in nodes for v in node.results if v in wanted))
        made = {v for node in nodes for v in node.results}
        inputs = tuple(dict.fromkeys(v for node in nodes for v in node.operands if v not in made))
        self.pieces.append((inputs, outputs, make_program(inputs, nodes, outputs, f"{name}_{place}")))

    def run(self, arrays: Sequence[Array]) -> list[Array]:
        """The graph's outputs. `arrays` are the inputs, with nothing in the places of what hooks answer."""
        values: dict[Value, Array] = dict(zip(self.graph.inputs, arrays, strict=True))
        try:
            for place, (inputs, outputs, program) in enumerate(self.pieces):
                values.update(zip(outputs, program.run([values[v] for v in inputs]), strict=True))
                if place < len(self.calls):
                    call = self.calls[place]
                    found = call.run([values[self.graph.outputs[i]] for i in call.outputs])
                    values.update({v: found[r.place] for v, r in self.results.items() if r.call is call})
        finally:
            for call in self.calls:
                call.pending = False
        return [values[v] for v in self.graph.outputs]


def _available(nodes: Sequence[Node], known: set[Value]) -> tuple[list[Node], list[Node]]:
    """The nodes that can be computed from known values, and the others."""
    have = set(known)
    now, later = [], []
    for node in nodes:
        if all(v in have for v in node.operands):
            now.append(node)
            have.update(node.results)
        else:
            later.append(node)
    return now, later
