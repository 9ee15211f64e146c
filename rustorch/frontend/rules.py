"""A derivative that Python states, as regions of a node: the rules are traced where a trace ends (`stated.py`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rustorch.errors import TraceError, compose
from rustorch.frontend.applied import Stated
from rustorch.frontend.trace import Output, Outside, Trace, run_traced
from rustorch.ir.builder import Builder
from rustorch.ir.graph import Value
from rustorch.ir.rewrite import replay_into
from rustorch.ir.types import TensorType


def traced_rule(name: str, types: Sequence[TensorType], call: Callable[[list[Any]], list[Any]]) -> Any:
    """A rule, traced on arguments of these types."""
    found = run_traced(
        name, True, lambda trace: [trace.add_argument(t, True, "ct") for t in types], lambda given: (call(given), None)
    )
    if found.written or found.grads:
        raise TraceError(
            compose(
                f"{name} writes to tensors from outside, or to their .grad, inside a traced function",
                todo="Return what it computes instead.",
            )
        )
    return found


def state_rules(trace: Trace, node: Any, rules: Sequence[str], traced: Sequence[Any], behind: Value | None = None) -> Stated:
    """Regions for a node of a trace, made of traced rules: what those read from outside become operands of the node.

    `behind`: the node is not among those of the trace; it is going to stand behind this value.
    """
    reads: list[list[Value]] = []
    for one in traced:
        numbers = [trace.number_of(o.found() if isinstance(o, Outside) else trace.draw(*o)) for o in one.outside]
        reads.append(trace.building.values(numbers))
    known = [*node.operands, *node.results]
    position = {v: i for i, v in enumerate(trace.building.b.inputs)}
    more = [v for v in dict.fromkeys(v for read in reads for v in read) if v not in known]
    for value in more:
        if value not in position and not _is_before(trace, value, node, behind):
            raise TraceError(
                compose(
                    f"the backward of {node.attrs['name']} reads a tensor that was computed after its forward",
                    todo="Save what it needs in forward, by ctx.save_for_backward.",
                )
            )
    regions = []
    for one, read in zip(traced, reads, strict=True):
        b = Builder()
        inputs = {v: b.input(v.type, v.hint) for v in (*node.operands, *more)}
        inputs |= {v: b.input(v.type, v.hint) for v in node.results}
        if behind is not None:
            inputs[behind] = inputs[node.results[0]]  # what the rule reads is the value that gradients come to
        moved = [b.input(v.type, v.hint) for v in one.graph.inputs[: one.arguments]]
        new = replay_into(b, one.graph, dict(zip(one.graph.inputs, [*moved, *(inputs[v] for v in read)], strict=True)))
        outputs = [new[one.graph.outputs[x.index]] if isinstance(x, Output) else x for x in one.leaves]
        regions.append(b.build(outputs, "main"))
    return Stated(rules, regions, more)


def _is_before(trace: Trace, value: Value, node: Any, behind: Value | None) -> bool:
    """Whether a value is made before a node."""
    b = trace.building.b
    if behind in b.inputs:
        return False
    for each in b.nodes:
        if each is node:
            return False
        if value in each.results:
            return True
        if behind in each.results:
            return False
    return False
