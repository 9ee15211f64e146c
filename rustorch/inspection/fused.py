"""The fused stage: what the plan of a graph runs, step by step, what goes through memory, and where that lies."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from rustorch.codegen.contraction import product_sizes
from rustorch.codegen.fuse import Step
from rustorch.codegen.generate import Generated
from rustorch.codegen.loops import Lowered
from rustorch.codegen.memory_plan import value_bytes
from rustorch.inspection.costs import Cost, kernel_cost, traffic
from rustorch.inspection.lines import Line, Section, Stage, printed_nodes, value_names
from rustorch.inspection.origins import number_of
from rustorch.ir.dims import Dim, Size
from rustorch.ir.graph import Graph, Node, Value
from rustorch.ir.printer import to_text

_PREFIX = {"product": "p", "convolution": "p", "sort": "s", "concat": "c", "pad": "c", "alias": "a"}
_KERNELS = ("kernel", "fill", "scatter", "scan")
"""Kinds of step that are a loop graph of their own."""


class Kernel(NamedTuple):
    """A step of the plan: a fused kernel, a product, a scatter, or a name for memory that others fill."""

    name: str
    kind: str
    shape: tuple[Size, ...]
    reduced: tuple[int, ...]
    nodes: tuple[str, ...]
    """Names of its nodes' results in the fused text."""
    links: tuple[int, ...]
    """Numbers of its nodes."""
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    cost: Cost
    schedule: str
    reason: str
    """Why it is not part of an earlier kernel; empty where nothing came before."""
    needs: tuple[str, ...]
    """Steps whose results it reads."""


class Memory(NamedTuple):
    """A value in memory: where it lies, how large it is, and the first and last step that touch it (arena only)."""

    value: str
    place: str
    bytes: Size
    offset: Size | None
    first: int | None
    last: int | None
    number: int | None


class Fusion(NamedTuple):
    """The plan as records and as text."""

    kernels: tuple[Kernel, ...]
    memory: tuple[Memory, ...]
    arena_bytes: Size
    live_bytes: Size
    stage: Stage
    buffers: dict[Value, int]
    """Number of each value in memory."""
    lowered: dict[str, Lowered]
    """The loop graph of each step that has one, by the kernel's name."""


def describe(generated: Generated, inputs: Iterable[int]) -> Fusion:
    """The fused stage of generated code; `inputs` are the numbers of the graph's inputs."""
    return _Description(generated, tuple(inputs)).run()


class _Description:
    def __init__(self, generated: Generated, inputs: tuple[int, ...]) -> None:
        self.generated, self.plan = generated, generated.plan
        graph = self.plan.graph
        self.names = value_names(graph)
        self.numbers = dict(zip(graph.inputs, inputs, strict=True))
        self.numbers.update((v, n) for node in graph.nodes for v in node.results if (n := number_of(node)) is not None)
        self.printed = _printed(graph)
        for position, (target, output) in enumerate(zip(self.plan.outputs, graph.outputs, strict=True)):
            if target not in self.names:  # a copy of what is an output already, or an input
                self.names[target] = f"%out{position}"
                self.numbers[target] = self.numbers[output]
        self.step_names: dict[int, str] = {}
        self.lowered: dict[str, Lowered] = {}

    def run(self) -> Fusion:
        self._name_steps()
        kernels = tuple(self._kernel(step) for step in self.plan.steps)
        sections = [self._section(step, kernel) for step, kernel in zip(self.plan.steps, kernels, strict=True)]
        views = self._views()
        if views.lines:
            sections.append(views)
        memory = tuple(self._memory())
        plan = self.generated.memory
        sections.append(self._memory_section(memory))
        buffers = {value: self.numbers[value] for value in plan.places if value in self.numbers}
        return Fusion(kernels, memory, plan.arena_bytes, plan.live_bytes, Stage("fused", tuple(sections)), buffers, self.lowered)

    def _name_steps(self) -> None:
        waiting = iter(self.generated.kernels)
        counts: dict[str, int] = {}
        for step in self.plan.steps:
            if step.kind in _KERNELS:
                lowered = next(waiting)
                name = lowered.graph.name
                self.lowered[name] = lowered
            else:
                prefix = _PREFIX[step.kind]
                name = f"{prefix}{counts.get(prefix, 0)}"
                counts[prefix] = counts.get(prefix, 0) + 1
            self.step_names[step.index] = name

    def name(self, value: Value) -> str:
        """The value's name in the text."""
        return self.names.get(value, "%?")

    def _kernel(self, step: Step) -> Kernel:
        name = self.step_names[step.index]
        lowered = self.lowered.get(name)
        made = [value for node in step.nodes for value in node.results]
        if step.kind == "kernel":
            reads, writes = list(traffic(self.plan, step)), [store.target for store in step.stores]
        elif step.kind == "fill":
            reads, writes = [], made
        else:
            reads = [base for v in step.nodes[0].operands if self.plan.in_memory(base := self.plan.view(v).base)]
            writes = made
        links = dict.fromkeys(n for node in step.nodes if (n := number_of(node)) is not None)
        if not links:  # a copy: it is about what it copies
            links = dict.fromkeys(self.numbers[t] for t in writes if t in self.numbers)
        shape, reduced = _space(step)
        return Kernel(
            name,
            step.kind,
            shape,
            reduced,
            tuple(map(self.name, made)),
            tuple(links),
            tuple(dict.fromkeys(map(self.name, reads))),
            tuple(dict.fromkeys(map(self.name, writes))),
            kernel_cost(self.plan, step),
            str(lowered.schedule) if lowered is not None and step.kind == "kernel" else "",
            re.sub(r"\bk(\d+)\b", lambda found: "@" + self.step_names.get(int(found[1]), found[0]), step.reason),
            self._needs(step),
        )

    def _needs(self, step: Step) -> tuple[str, ...]:
        """The steps that write what this one reads (not those behind them)."""
        wrote = {self.plan.root(target): other for other in self.plan.steps for target in _written(other)}
        bases = [self.plan.root(self.plan.view(v).base) for v in _read(step)]
        found = dict.fromkeys(wrote[base].index for base in bases if base in wrote and wrote[base] is not step)
        return tuple(self.step_names[index] for index in found)

    def _section(self, step: Step, kernel: Kernel) -> Section:
        words = [kernel.kind, f"@{kernel.name}"]
        if kernel.shape or step.kind == "kernel":
            words.append(f"over ({_sizes(kernel.shape)})")
        if kernel.reduced:
            words.append(f"reduced ({_sizes(kernel.reduced)})")
        for what, values in (("reads", kernel.reads), ("writes", kernel.writes)):
            if values:
                words += [what, ", ".join(values)]
        if kernel.schedule:
            words.append(kernel.schedule)
        lines = [Line(" ".join(words), kernel.links)]
        if kernel.reason:
            lines.append(Line(f"    // not fused: {kernel.reason}", kernel.links))
        lines += [self._node_line(node) for node in step.nodes]
        for store in step.stores:
            if store.value is not store.target and not any(store.value in node.results for node in step.nodes):
                number = self.numbers.get(store.value)
                links = () if number is None else (number,)
                lines.append(Line(f"    copy {self.name(store.value)} to {self.name(store.target)}", links))
        return Section(f"@{kernel.name}", tuple(lines))

    def _node_line(self, node: Node) -> Line:
        number = number_of(node)
        links = () if number is None else (number,)
        names = tuple((self.name(v), number) for v in node.results) if number is not None else ()
        return Line(f"    {self.printed[id(node)]}", links, names)

    def _views(self) -> Section:
        """Nodes without a step: read through a view, or made where they are read."""
        stepped = {id(node) for step in self.plan.steps for node in step.nodes}
        lines = [self._node_line(n) for n in self.plan.graph.nodes if id(n) not in stepped and id(n) in self.printed]
        return Section("views", (Line("views  // no code of their own: read through their operand"), *lines) if lines else ())

    def _memory(self) -> Iterable[Memory]:
        plan = self.generated.memory
        for value, place in plan.places.items():
            first, last = plan.lifetimes.get(value, (None, None))
            offset = place.offset if place.kind == "arena" else None
            where = f"{place.kind} {place.index}" if offset is None else "arena"
            yield Memory(self.name(value), where, value_bytes(value), offset, first, last, self.numbers.get(value))

    def _memory_section(self, memory: Iterable[Memory]) -> Section:
        plan = self.generated.memory
        live = f" ({count(plan.live_bytes)} alive at once)" if plan.arena_bytes != 0 else ""
        lines = [Line(f"memory: arena of {count(plan.arena_bytes)} bytes{live}")]
        for entry in memory:
            where = entry.place if entry.offset is None else f"arena + {count(entry.offset)}"
            alive = "" if entry.first is None else f"  steps {entry.first} to {entry.last}"
            links = () if entry.number is None else (entry.number,)
            lines.append(Line(f"    {entry.value:<8} {where:<16} {count(entry.bytes):>12} bytes{alive}", links))
        return Section("memory", tuple(lines))


def _printed(graph: Graph) -> dict[int, str]:
    """The line of each node in the graph's text, by the node's identity."""
    lines = zip(to_text(graph, locations=True).splitlines(), printed_nodes(graph), strict=True)
    return {id(node): line.strip() for line, node in lines if isinstance(node, Node)}


def _space(step: Step) -> tuple[tuple[Size, ...], tuple[int, ...]]:
    """The iteration space of a step and its reduced axes; of a product: rows, columns, contracted length, batches in front."""
    if step.kind != "product":
        return step.shape, tuple(sorted(step.reduced))
    node = step.nodes[0]
    batch, rows, columns, depth = product_sizes(node)
    shape = (rows, columns, depth) if batch == 1 else (batch, rows, columns, depth)
    return shape, (len(shape) - 1,)


def _written(step: Step) -> list[Value]:
    made = [value for node in step.nodes for value in node.results]
    return [store.target for store in step.stores] if step.kind == "kernel" else made


def _read(step: Step) -> list[Value]:
    return [v for node in step.nodes for v in node.operands] + [s.value for s in step.stores]


def _sizes(sizes: Iterable[Size]) -> str:
    return ", ".join(map(str, sizes))


def count(size: Size) -> str:
    """A count for people: thousands apart; a symbolic one as it is."""
    return str(size) if isinstance(size, Dim) else f"{size:,}"
