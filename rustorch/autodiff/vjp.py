"""Reverse mode: cotangents flow from outputs back to inputs, as nodes of the same graph.

`pullback` appends the backward nodes to a builder that already holds the forward ones, so value numbering shares what the
two have in common, and the result can be differentiated again. `vjp`, `value_and_grad` and `grad` make joint graphs with it:

    func @f(%x: f32[]) -> f32[] {
      %0 = tanh %x : f32[]
      return %0
    }
    // becomes
    func @f.value_and_grad(%x: f32[]) -> (f32[], f32[]) {
      %0 = tanh %x : f32[]
      %1 = mul %0, %0 : f32[]
      %2 = sub 1.0, %1 : f32[]
      %3 = mul 1.0, %2 : f32[]
      return %0, %3
    }
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from rustorch.autodiff.forms import Expansions, carries, is_followed, no_derivative, scaled
from rustorch.errors import CompilerBug, GradError, compose
from rustorch.ir.analysis import live_nodes
from rustorch.ir.builder import Builder
from rustorch.ir.graph import Graph, Node, Value
from rustorch.ir.op import Expanded, Linear, Multilinear, NotDifferentiable, Partials, Rules, Stated, Trait, Undefined, Zero
from rustorch.ir.rewrite import replay_into
from rustorch.ir.types import TensorType

OnCotangent = Callable[[Value, Value], Value | None]
OnFlow = Callable[[Node, int, Value, str, Sequence[Value]], Value]


def pullback(
    b: Builder,
    nodes: Sequence[Node],
    outputs: Sequence[Value],
    cotangents: Sequence[Value | None],
    wrt: Sequence[Value],
    on_cotangent: OnCotangent | None = None,
    watched: Container[Value] | None = None,
    on_flow: OnFlow | None = None,
) -> list[Value | None]:
    """The cotangent of each value of `wrt`, given those of `outputs`; None where no path leads from it to an output.

    `nodes` are the forward nodes, in order, already in `b`; the backward ones are emitted into `b`, each with the location of
    its forward node. Only paths from `wrt` to `outputs` are followed. `on_cotangent(value, cotangent)` is called once for
    every value on such a path (only for those in `watched` where given), in the order in which cotangents become complete, and
    gives the cotangent that flows on (None: nothing does). Values that ops of derivative zero cut off get zeros, except behind `detach`.

    `on_flow(node, index, flow, mask, others)` is called with what flows from a node to its operand `index`, and gives what flows on;
    with a mask ("on" or "off"), the first of `others` says where the flow counts; then come the cotangent of the node's first result,
    and the node's operands.
    """
    for output, cotangent in zip(outputs, cotangents, strict=True):
        if cotangent is not None and cotangent.type is not output.type:
            raise CompilerBug(f"the cotangent of a value of type {output.type} has type {cotangent.type}")
    seeds = [(value, ct) for value, ct in zip(outputs, cotangents, strict=True) if ct is not None]
    sweep = _Sweep(b, Expansions(), on_cotangent, watched, on_flow)
    before = b.location
    try:
        found = sweep.run(tuple(nodes), seeds, wrt, _Itself())
    finally:
        b.location = before
    return [sweep.value(found[v], v) if v in found else None for v in wrt]


def vjp(graph: Graph, wrt: Sequence[int], name: str | None = None) -> Graph:
    """The joint graph: inputs and one cotangent per floating-point output → outputs and the cotangents of inputs `wrt`."""
    b, new = _copied(graph)
    forward = tuple(b.nodes)
    outputs = [new[v] for v in graph.outputs]
    cotangents = [b.input(v.type, f"ct_{v.hint or i}") if carries(v) else None for i, v in enumerate(outputs)]
    return _joined(b, graph, forward, outputs, cotangents, wrt, name or f"{graph.name}.vjp")


def value_and_grad(graph: Graph, wrt: Sequence[int], name: str | None = None) -> Graph:
    """The joint graph: inputs → outputs and the gradients of the first output, a floating-point scalar, for inputs `wrt`."""
    _check_scalar(graph)
    b, new = _copied(graph)
    forward = tuple(b.nodes)
    outputs = [new[v] for v in graph.outputs]
    one = b.const(1, outputs[0])
    return _joined(b, graph, forward, outputs, [one, *[None] * (len(outputs) - 1)], wrt, name or f"{graph.name}.value_and_grad")


def grad(graph: Graph, wrt: Sequence[int], name: str | None = None) -> Graph:
    """The graph: inputs → gradients of the first output, a floating-point scalar, for inputs `wrt`."""
    joint = value_and_grad(graph, wrt)
    gradients = joint.outputs[len(graph.outputs) :]
    return Graph(name or f"{graph.name}.grad", joint.inputs, tuple(live_nodes(joint, gradients)), gradients)


def _copied(graph: Graph) -> tuple[Builder, dict[Value, Value]]:
    b = Builder()
    return b, replay_into(b, graph, {v: b.input(v.type, v.hint) for v in graph.inputs})


def _joined(
    b: Builder,
    graph: Graph,
    forward: tuple[Node, ...],
    outputs: list[Value],
    cotangents: Sequence[Value | None],
    wrt: Sequence[int],
    name: str,
) -> Graph:
    inputs = [b.inputs[i] for i in wrt]
    for value in inputs:
        if not carries(value):
            raise GradError(compose(f"only floating-point inputs have gradients; input %{value.hint} of {graph.name} is {value.type}"))
    gradients = pullback(b, forward, outputs, cotangents, inputs)
    joint = b.build([*outputs, *(g if g is not None else b.const(0, v) for g, v in zip(gradients, inputs, strict=True))], name)
    return Graph(name, joint.inputs, tuple(live_nodes(joint)), joint.outputs)


def _check_scalar(graph: Graph) -> None:
    type_ = graph.outputs[0].type if graph.outputs else None
    if not isinstance(type_, TensorType) or type_.shape != () or not carries(graph.outputs[0]):
        raise GradError(
            compose(
                "grad can be implicitly created only for scalar outputs",
                f"the first output of {graph.name} is {type_ or 'missing'}",
                todo="Reduce it to one floating-point number, or give its cotangent to vjp.",
            )
        )


def stated(
    b: Builder, node: Node, rule: str, operands: Sequence[Value], results: Sequence[Value], moved: Sequence[Value]
) -> Sequence[Value | None]:
    """What a node's own region says: cotangents of its inputs ("vjp") for those of its results, or tangents the other way ("jvp").

    Both are linear in what they move, so that the one without a region is the transpose of the other.
    """
    if node.attrs.get("refusal"):
        raise GradError(node.attrs["refusal"])
    regions = dict(zip(node.attrs["rules"], node.regions, strict=True))
    region = regions.get(rule) or next(iter(regions.values()))
    given: list[Value] = [*operands, *results]
    if rule in regions:
        new = replay_into(b, region, dict(zip(region.inputs, [*given, *moved], strict=True)))
        return [new[v] for v in region.outputs]
    free: list[Value] = []
    for value in region.inputs[len(given) :]:
        assert isinstance(value.type, TensorType)
        b.forget()  # else equal zeros would be one value
        free.append(b.reshape(b.const(0, value), shape=value.type.shape))
    before = len(b.nodes)
    new = replay_into(b, region, dict(zip(region.inputs, [*given, *free], strict=True)))
    return pullback(b, b.nodes[before:], [new[v] for v in region.outputs], moved, free)


# --- The sweep --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Masked:
    """The cotangent `select(mask, value, 0)`, or `select(mask, 0, value)` where not `on`. See Note [Safe where]."""

    value: Value
    mask: Value
    on: bool


_Cotangent = Value | _Masked | None
"""None is a zero: the value is reached, and nothing flows."""


class _Itself(dict[Value, Value]):
    """The mapping of every value to itself."""

    def __missing__(self, value: Value) -> Value:
        return value


class _Sweep:
    """One reverse walk, and the walks through expansions inside it."""

    def __init__(
        self,
        b: Builder,
        expansions: Expansions,
        on_cotangent: OnCotangent | None = None,
        watched: Container[Value] | None = None,
        on_flow: OnFlow | None = None,
    ) -> None:
        self.b, self.expansions = b, expansions
        self.on_cotangent, self.watched, self.on_flow = on_cotangent, watched, on_flow
        self.found: dict[Value, _Cotangent] = {}
        self.active: set[Value] = set()

    def run(
        self,
        nodes: Sequence[Node],
        seeds: Iterable[tuple[Value, _Cotangent]],
        wrt: Sequence[Value],
        emitted: Mapping[Value, Value],
    ) -> dict[Value, _Cotangent]:
        """The cotangents of those values of `wrt` that are reached; `emitted` says what stands for a value in the builder."""
        path, first_use = self.path(nodes, wrt)
        for value, cotangent in seeds:
            if value in self.active:
                self.add(value, cotangent)
        kept = set(wrt)
        for index in range(len(path) - 1, -1, -1):
            node = path[index]
            self.b.location = node.location
            cotangents = [self.complete(v) for v in node.results]
            reached = any(v in self.found for v in node.results)
            for value in node.results:
                if value not in kept:
                    self.found.pop(value, None)
            if reached:
                self.pull(node, cotangents, emitted)
            for value in first_use.pop(index, ()):
                self.complete(value)
        for value in first_use.get(-1, ()):
            self.complete(value)
        return {v: self.found[v] for v in wrt if v in self.found}

    def path(self, nodes: Sequence[Node], wrt: Sequence[Value]) -> tuple[list[Node], dict[int, list[Value]]]:
        """The nodes that depend on `wrt`, and for each value that none of them makes the place of its first reader, else -1."""
        active = self.active
        active.update(v for v in wrt if carries(v))
        waiting = dict.fromkeys(v for v in wrt if carries(v))
        path: list[Node] = []
        first_use: dict[int, list[Value]] = {}
        for node in nodes:
            on_path = False
            for index, value in enumerate(node.operands):
                if value in active and is_followed(node, index):
                    on_path = True
                    if value in waiting:
                        del waiting[value]
                        first_use.setdefault(len(path), []).append(value)
            if on_path:
                path.append(node)
                for value in node.results:
                    if carries(value):
                        active.add(value)
                        waiting.pop(value, None)
        first_use[-1] = list(waiting)
        return path, first_use

    def complete(self, value: Value) -> _Cotangent:
        """The cotangent of a value whose readers have all been walked: the hook's answer, where there is a hook."""
        if value not in self.found:
            return None
        cotangent = self.found[value]
        if self.on_cotangent is not None and (self.watched is None or value in self.watched):
            given = self.value(cotangent, value)
            answer = self.on_cotangent(value, given)
            if answer is None:
                del self.found[value]  # as if no path led on from here
                return None
            if answer is not given:
                cotangent = self.found[value] = answer
        return cotangent

    def pull(self, node: Node, cotangents: list[_Cotangent], emitted: Mapping[Value, Value]) -> None:
        """Add what flows from the results of a node to its operands."""
        form = node.op.derivative
        wanted = [v in self.active and is_followed(node, i) for i, v in enumerate(node.operands)]
        operands = [emitted[v] for v in node.operands]
        flows: Sequence[_Cotangent]
        if all(ct is None for ct in cotangents) or isinstance(form, Zero):
            flows = [None] * len(operands)
        elif isinstance(form, Undefined):
            raise no_derivative(node, form.why)
        elif node.op.name == "select":
            flows = self.through_select(cotangents[0], operands[0])
        elif isinstance(form, Expanded):
            flows = self.through_expansion(node, cotangents, operands, wanted)
        elif Trait.ELEMENTWISE in node.op.traits and isinstance(cotangents[0], _Masked):
            masked = cotangents[0]
            flows = [
                _Masked(flow, masked.mask, masked.on) if flow is not None else None
                for flow in self.flows(node, [masked.value], operands, [emitted[v] for v in node.results], wanted)
            ]
        else:
            given = [self.value(ct, v) if ct is not None else None for ct, v in zip(cotangents, node.results, strict=True)]
            flows = self.flows(node, given, operands, [emitted[v] for v in node.results], wanted)
        if self.on_flow is not None:
            flows = [self.seen(node, i, flow, cotangents[0]) if w else None for i, (flow, w) in enumerate(zip(flows, wanted, strict=True))]
        for value, flow, is_wanted in zip(node.operands, flows, wanted, strict=True):
            if is_wanted:
                self.add(value, flow)

    def seen(self, node: Node, index: int, flow: _Cotangent, cotangent: _Cotangent) -> _Cotangent:
        """What flows to an operand, as `on_flow` gives it."""
        assert self.on_flow is not None
        if flow is None or cotangent is None:
            return flow
        others = [cotangent.value if isinstance(cotangent, _Masked) else cotangent, *node.operands]
        if isinstance(flow, Value):
            return self.on_flow(node, index, flow, "", others)
        passed = self.on_flow(node, index, flow.value, "on" if flow.on else "off", [flow.mask, *others])
        return _Masked(passed, flow.mask, flow.on)

    def flows(
        self, node: Node, cotangents: list[Value | None], operands: list[Value], results: list[Value], wanted: list[bool]
    ) -> list[Value | None]:
        """The op's own rule: a cotangent per operand (None for zero, and where none is wanted)."""
        b, form, attrs = self.b, node.op.derivative, node.attrs
        if isinstance(form, Stated):
            given = [b.const(0, v) if ct is None else ct for ct, v in zip(cotangents, results, strict=True)]
            return [*stated(b, node, "vjp", operands, results, given), *[None] * (len(operands) - attrs["inputs"])]
        if isinstance(form, Rules):
            return list(form.vjp(b, cotangents, operands, results, attrs))
        (cotangent,) = cotangents
        assert cotangent is not None
        if isinstance(form, Partials):
            partials = form.partials(b, results[0], *operands, **attrs)
            return [scaled(b, cotangent, p) if w and p is not None else None for p, w in zip(partials, wanted, strict=True)]
        assert isinstance(form, (Linear, Multilinear))
        if isinstance(form, Linear) and form.each is not None:
            return [form.each(b, i, cotangent, *operands, **attrs) if w else None for i, w in enumerate(wanted)]
        flows: list[Value | None] = []
        for transpose, is_wanted in zip(form.transposes, wanted, strict=True):
            is_wanted = is_wanted and not isinstance(transpose, NotDifferentiable)
            flows.append(transpose(b, cotangent, *operands, **attrs) if is_wanted else None)  # type: ignore[operator]
        return flows

    def through_select(self, cotangent: _Cotangent, mask: Value) -> list[_Cotangent]:
        """Each branch gets the cotangent where it was selected."""
        if not isinstance(cotangent, _Masked):
            assert cotangent is not None
            return [None, _Masked(cotangent, mask, True), _Masked(cotangent, mask, False)]
        b, outer = self.b, cotangent.mask if cotangent.on else self.b.not_(cotangent.mask)
        x, y = b.and_(outer, mask), b.and_(outer, b.not_(mask))
        return [None, _Masked(cotangent.value, x, True), _Masked(cotangent.value, y, True)]

    def through_expansion(
        self, node: Node, cotangents: list[_Cotangent], operands: list[Value], wanted: list[bool]
    ) -> list[_Cotangent]:
        """A walk of its own through the definition; its forward nodes are those that the node stands for."""
        graph = self.expansions.of(node)
        emitted = replay_into(self.b, graph, dict(zip(graph.inputs, operands, strict=True)))
        self.b.location = node.location
        inner = _Sweep(self.b, self.expansions)
        seeds = [(v, ct) for v, ct in zip(graph.outputs, cotangents, strict=True) if ct is not None]
        found = inner.run(graph.nodes, seeds, [v for v, w in zip(graph.inputs, wanted, strict=True) if w], emitted)
        return [found.get(v) for v in graph.inputs]

    def add(self, value: Value, cotangent: _Cotangent) -> None:
        """Account for one more reader of a value."""
        known = self.found.get(value)
        if known is None:
            self.found[value] = cotangent
        elif cotangent is not None:
            self.found[value] = self.sum(known, cotangent, value)

    def sum(self, left: Value | _Masked, right: Value | _Masked, like: Value) -> Value | _Masked:
        b = self.b
        if isinstance(left, _Masked) and isinstance(right, _Masked) and left.mask is right.mask:
            if left.on == right.on:
                return _Masked(b.add(left.value, right.value), left.mask, left.on)
            on, off = (left, right) if left.on else (right, left)
            merged: Value = b.select(left.mask, on.value, off.value)
            return merged
        total: Value = b.add(self.value(left, like), self.value(right, like))
        return total

    def value(self, cotangent: _Cotangent, like: Value) -> Value:
        """A cotangent as a value of the builder."""
        if cotangent is None:
            return self.b.const(0, like)
        if isinstance(cotangent, Value):
            return cotangent
        x, zero = cotangent.value, self.b.const(0, like)
        selected: Value = self.b.select(cotangent.mask, x, zero) if cotangent.on else self.b.select(cotangent.mask, zero, x)
        return selected


# Note [Safe where]
#
# In `where(x > 0, sqrt(x), 0)` the cotangent of `sqrt(x)` is `select(x > 0, ct, 0)`, and at x = 0 the next step back is
# 0 * (1 / (2 sqrt(0))) = 0 * inf = NaN, though the branch was not taken. So the selected cotangent is kept as the pair
# (ct, mask) through elementwise ops, whose derivative scales it, and becomes `select(mask, ct * p, 0)` only where it is added
# to another, leaves the elementwise ops, or is asked for: there the untaken elements are exactly zero.
