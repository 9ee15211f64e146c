"""A compiled graph that can be looked at: every stage from the user's lines to the assembly, and what they cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, Self

from rustorch.codegen.fuse import Plan
from rustorch.codegen.generate import Generated
from rustorch.codegen.target import target
from rustorch.compiler import pipeline as compiler
from rustorch.config import config
from rustorch.errors import ArgumentError, compose
from rustorch.inspection import native
from rustorch.inspection.costs import Cost, node_cost, total
from rustorch.inspection.fused import Fusion, Kernel, Memory, describe
from rustorch.inspection.lines import Stage, graph_section, value_names
from rustorch.inspection.origins import Origins, number_of, primal_part
from rustorch.inspection.source import source_stage
from rustorch.ir.graph import Graph, Node, Value
from rustorch.ir.location import Location
from rustorch.ir.printer import attribute_text, bare_constants, node_text

LEVELS = ("source", "traced", "differentiated", "simplified", "fused", "loop", "llvm", "asm")
"""The stages, in order."""
TENSOR_LEVELS = ("traced", "differentiated", "simplified")
"""Those that are tensor graphs."""


class NodeView(NamedTuple):
    """A node of the simplified graph: what it is, what it costs, and the kernel that runs it."""

    id: str
    """Its (first) result's name in the text of the stage."""
    number: int
    """The same in every stage that has the node."""
    op: str
    operands: tuple[str, ...]
    attrs: dict[str, str]
    type: str
    location: Location
    cost: Cost
    kernel: str = ""
    """Empty where the node has no step of its own: it is read through a view."""


class Applied(NamedTuple):
    """A rule that a pass applied to a node."""

    in_pass: str
    rule: str
    node: str
    number: int | None


class TensorStage(NamedTuple):
    """A tensor graph among the stages, marked, with the number of each value."""

    name: str
    graph: Graph
    numbers: dict[Value, int]
    note: str = ""

    @property
    def stage(self) -> Stage:
        """Its text."""
        inputs = {value: self.numbers[value] for value in self.graph.inputs}
        return Stage(self.name, (graph_section(self.graph, inputs, self.note),))


@dataclass
class Stages:
    """What the compiler makes of a graph, stage by stage, as text and as records; `Inspection` adds other forms."""

    name: str
    origins: Origins
    traced: TensorStage
    differentiated: TensorStage
    simplified: TensorStage
    generated: Generated
    applied: list[Applied] = field(default_factory=list)
    """The rules that the passes applied, in order."""
    times: dict[str, float] = field(default_factory=dict)
    """Seconds per pass."""

    @classmethod
    def of_graph(cls, graph: Graph, name: str = "", recorded: Graph | None = None) -> Self:
        """Of a tensor graph; where it has derivatives in it, `traced` is the part that is none.

        `recorded` is the program as it was recorded, with the nodes that `graph` does not need: a gradient alone does not need
        all of the function.
        """
        origins = Origins()
        whole = graph if recorded is None else recorded
        part = primal_part(whole)
        if part is whole:
            part = graph
        else:
            read = {v for node in part.nodes for v in node.operands}
            more = (v for v in part.inputs if v in read and v not in graph.inputs)
            part = Graph(graph.name, (*graph.inputs, *more), part.nodes, part.outputs)
        return cls._compiled(origins, TensorStage("traced", *origins.mark(part, "traced")), graph, name)

    @classmethod
    def of_derivative(cls, primal: Graph, derive: Callable[[Graph], Graph], name: str = "") -> Self:
        """Of the graph that `derive` makes of `primal`, which becomes the stage `traced`.

        `derive` is given `primal` with marks on its nodes, so that every node of the result tells which one it comes from.
        """
        origins = Origins()
        traced = TensorStage("traced", *origins.mark(primal, "traced"))
        return cls._compiled(origins, traced, derive(traced.graph), name)

    @classmethod
    def _compiled(cls, origins: Origins, traced: TensorStage, graph: Graph, name: str) -> Self:
        differentiated = TensorStage("differentiated", *origins.mark(graph, "differentiated"))
        applied: list[Applied] = []
        times: dict[str, float] = {}

        def note(in_pass: str, rule: str, node: Node, values: Sequence[Value]) -> None:
            applied.append(Applied(in_pass, rule, node_text(node), number_of(node)))

        final = compiler.lowered(differentiated.graph, times, note)[-1][1]
        simplified = TensorStage("simplified", *origins.mark(final, "simplified"), note=_log_line(applied))
        name = name or differentiated.graph.name
        start = time.perf_counter()
        generated = compiler.generate_code(simplified.graph, name if name.isidentifier() else "graph", target(config.isa))
        times["codegen"] = time.perf_counter() - start
        return cls(name, origins, traced, differentiated, simplified, generated, applied, times)

    # --- stages -------------------------------------------------------------------------------------------------------

    @cached_property
    def fusion(self) -> Fusion:
        """The plan of the simplified graph: kernels, and what lies where in memory."""
        return describe(self.generated, [self.simplified.numbers[v] for v in self.simplified.graph.inputs])

    @cached_property
    def _links(self) -> dict[int, tuple[int, ...]]:
        return native.module_links(self.generated, self.fusion)

    @cached_property
    def _asm(self) -> Stage:
        start = time.perf_counter()
        stage = native.asm_stage(self.generated, self._links)
        self.times["assemble"] = (time.perf_counter() - start) / 2  # it assembles twice: with and without line numbers
        return stage

    def stage(self, level: str) -> Stage:
        """One stage in sections, with links on every line."""
        if level == "source":
            return source_stage(self.origins.all)
        if level in TENSOR_LEVELS:
            tensor: TensorStage = getattr(self, level)
            return tensor.stage
        if level == "fused":
            return self.fusion.stage
        if level == "loop":
            return native.loop_stage(self.fusion)
        if level == "llvm":
            return native.llvm_stage(self.generated, self._links)
        if level == "asm":
            return self._asm
        raise ArgumentError(compose(f"there is no level {level!r}", f"the levels are {', '.join(LEVELS)}"))

    def text(self, level: str) -> str:
        """The text of one level."""
        return self.stage(level).text

    def stages(self) -> dict[str, str]:
        """The text of every level."""
        return {level: self.text(level) for level in LEVELS}

    # --- records ------------------------------------------------------------------------------------------------------

    @property
    def nodes(self) -> list[NodeView]:
        """The nodes of the simplified graph, with their costs."""
        return self.nodes_of("simplified")

    def nodes_of(self, level: str) -> list[NodeView]:
        """The nodes of the stage traced, differentiated or simplified."""
        if level not in TENSOR_LEVELS:
            raise ArgumentError(compose(f"level {level!r} has no tensor graph", f"{', '.join(TENSOR_LEVELS)} have one"))
        stage: TensorStage = getattr(self, level)
        homes = {number: kernel.name for kernel in self.kernels for number in kernel.links} if level == "simplified" else {}
        ids = self.ids(level)
        return [_node_view(node, stage, ids, homes) for node in stage.graph.nodes]

    def related(self, number: int) -> set[int]:
        """The numbers of a node, of those that it comes from, and of those that were made from it, through all stages."""
        return self.origins.related(number)

    def ids(self, level: str) -> dict[Value, str]:
        """What each value of a tensor stage is called: as in the text; constants without a line of their own by number."""
        stage: TensorStage = getattr(self, level)
        ids = value_names(stage.graph)
        ids.update({v: f"const{stage.numbers[v]}" for v in bare_constants(stage.graph)})
        return ids

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        """The steps of the compiled graph, in the order in which they run."""
        return self.fusion.kernels

    @property
    def memory(self) -> tuple[Memory, ...]:
        """The values that lie in memory, and where."""
        return self.fusion.memory

    @property
    def plan(self) -> Plan:
        """The plan as code generation sees it."""
        return self.generated.plan

    @property
    def cost(self) -> Cost:
        """What a run costs: the sum over the kernels."""
        return total(kernel.cost for kernel in self.kernels)

    @property
    def unfused_cost(self) -> Cost:
        """What it would cost if every node of the simplified graph ran by itself."""
        return total(node_cost(node) for node in self.simplified.graph.nodes)


def _node_view(node: Node, stage: TensorStage, ids: dict[Value, str], homes: dict[int, str]) -> NodeView:
    number = stage.numbers[node.results[0]]
    at = node.location
    return NodeView(
        ids[node.results[0]],
        number,
        node.op.name,
        tuple(ids[v] for v in node.operands),
        {name: attribute_text(value) for name, value in node.attrs.items()},
        ", ".join(str(v.type) for v in node.results),
        Location(at.file, at.line, at.column, at.function),
        node_cost(node),
        homes.get(number, ""),
    )


def _log_line(applied: Sequence[Applied]) -> str:
    """Rules and how often each was applied: `rules: mul-one 2, fold-broadcast 1`."""
    counts: dict[str, int] = {}
    for each in applied:
        counts[each.rule] = counts.get(each.rule, 0) + 1
    return f"rules: {', '.join(f'{rule} {n}' for rule, n in counts.items())}" if counts else ""

