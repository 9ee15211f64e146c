"""Forward mode: tangents flow along with the values, as nodes of the same graph.

    func @f(%x: f32[]) -> f32[] {
      %0 = exp %x : f32[]
      return %0
    }
    // becomes
    func @f.jvp(%x: f32[], %t_x: f32[]) -> (f32[], f32[]) {
      %0 = exp %x : f32[]
      %1 = mul %t_x, %0 : f32[]
      return %0, %1
    }
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rustorch.autodiff.forms import Expansions, carries, is_followed, no_derivative, scaled
from rustorch.autodiff.vjp import stated
from rustorch.errors import CompilerBug
from rustorch.ir.builder import Builder
from rustorch.ir.graph import Graph, Node, Value
from rustorch.ir.op import Expanded, Linear, Multilinear, NotDifferentiable, Partials, Rules, Stated, Trait, Undefined, Zero
from rustorch.ir.rewrite import replay_into


def pushforward(b: Builder, nodes: Sequence[Node], tangents: Mapping[Value, Value]) -> dict[Value, Value]:
    """The tangents of all values that depend on those given, and those; a value that is not in the result has tangent zero.

    `nodes` are the forward nodes, in order, already in `b`; tangent nodes are emitted into `b` with the location of their
    forward node.
    """
    for value, tangent in tangents.items():
        if tangent.type is not value.type:
            raise CompilerBug(f"the tangent of a value of type {value.type} has type {tangent.type}")
    found = {v: t for v, t in tangents.items() if carries(v)}
    _walk(b, tuple(nodes), found, {}, Expansions())
    return found


def jvp(graph: Graph, wrt: Sequence[int], name: str | None = None) -> Graph:
    """The joint graph: inputs and the tangents of inputs `wrt` → outputs and the tangents of floating-point outputs."""
    b = Builder()
    new = replay_into(b, graph, {v: b.input(v.type, v.hint) for v in graph.inputs})
    forward = tuple(b.nodes)
    inputs = [b.inputs[i] for i in wrt]
    found = pushforward(b, forward, {v: b.input(v.type, f"t_{v.hint or i}") for i, v in zip(wrt, inputs, strict=True)})
    outputs = [new[v] for v in graph.outputs]
    tangents = [found[v] if v in found else b.const(0, v) for v in outputs if carries(v)]
    return b.build([*outputs, *tangents], name or f"{graph.name}.jvp")


def _walk(
    b: Builder, nodes: Sequence[Node], found: dict[Value, Value], emitted: Mapping[Value, Value], expansions: Expansions
) -> None:
    """Add the tangents of the nodes' results to `found`; `emitted` says what stands for a value in the builder, if not itself."""
    for node in nodes:
        tangents = [found.get(v) if is_followed(node, i) else None for i, v in enumerate(node.operands)]
        if all(t is None for t in tangents):
            continue
        operands = [emitted.get(v, v) for v in node.operands]
        results = [emitted.get(v, v) for v in node.results]
        with b.at(node.location):
            pushed = zip(node.results, _push(b, node, operands, tangents, results, expansions), strict=True)
            found.update((value, tangent) for value, tangent in pushed if tangent is not None and carries(value))


def _push(
    b: Builder, node: Node, operands: list[Value], tangents: list[Value | None], results: list[Value], expansions: Expansions
) -> Sequence[Value | None]:
    """The tangent of each result."""
    form, attrs = node.op.derivative, node.attrs
    if isinstance(form, Undefined):
        raise no_derivative(node, form.why)
    if isinstance(form, Zero):
        return [None] * len(results)
    if isinstance(form, Stated):
        along = [b.const(0, v) if t is None else t for t, v in zip(tangents, operands[: attrs["inputs"]], strict=False)]
        return stated(b, node, "jvp", operands, results, along)
    if isinstance(form, Rules):
        pushed: Sequence[Value | None] = form.jvp(b, operands, tangents, results, attrs)
        return pushed
    if isinstance(form, Expanded):
        graph = expansions.of(node)
        emitted = replay_into(b, graph, dict(zip(graph.inputs, operands, strict=True)))
        found = {v: t for v, t in zip(graph.inputs, tangents, strict=True) if t is not None}
        _walk(b, graph.nodes, found, emitted, expansions)
        return [found.get(v) for v in graph.outputs]
    if isinstance(form, Partials):
        partials = form.partials(b, results[0], *operands, **attrs)
        return [_sum(b, [scaled(b, t, p) for p, t in zip(partials, tangents, strict=True) if p is not None and t is not None])]
    if isinstance(form, Multilinear):
        terms = []
        for i, tangent in enumerate(tangents):
            if tangent is not None:
                terms.append(b.emit(node.op, [tangent if k == i else x for k, x in enumerate(operands)], attrs)[0])
        return [_sum(b, terms)]
    assert isinstance(form, Linear)
    if _is_diagonal(node) and None in tangents:
        terms = []
        for transpose, tangent in zip(form.transposes, tangents, strict=True):
            if tangent is not None and not isinstance(transpose, NotDifferentiable):
                terms.append(transpose(b, tangent, *operands, **attrs))
        return [_sum(b, terms)]
    moved = []
    for i, (x, tangent) in enumerate(zip(operands, tangents, strict=True)):
        moved.append(tangent if tangent is not None else b.const(0, x) if is_followed(node, i) else x)
    return b.emit(node.op, moved, attrs)


def _is_diagonal(node: Node) -> bool:
    """Whether the op scales elements in place: then its transpose is itself, and zeros need not be made for it to add."""
    (result,) = node.results
    return Trait.ELEMENTWISE in node.op.traits and all(v.type is result.type for v in node.operands if carries(v))


def _sum(b: Builder, terms: Sequence[Value]) -> Value | None:
    total: Value | None = None
    for term in terms:
        total = term if total is None else b.add(total, term)
    return total
