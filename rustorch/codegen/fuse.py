"""Partition a tensor graph into steps: fused kernels, matrix products, scatters; and decide what goes through memory.

A kernel has one iteration space: the sizes of `shape`, of which the axes in `reduced` are summed over. Its members are
*full* (one element per point of the space) or *kept* (one element per point of the axes that are kept). A kept value may
be read by full members again through a broadcast: the kernel then makes several passes over the reduced axes while the row
is in cache (softmax, layer norm). Axes of size 1 do not count.

Vertical fusion joins a node to the kernel of its operands, horizontal fusion to a kernel of the same space that reads the
same memory. A node joins only if no path leads out of the kernel and back, so the steps stay acyclic.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from rustorch.codegen.callout import is_callout
from rustorch.codegen.contraction import grouped_strides, kernel_strides, operand_axes
from rustorch.codegen.schedule import ROW_BLOCK
from rustorch.codegen.views import View, follows, is_virtual, real_axes, tensor, view
from rustorch.ir.analysis import live_nodes, producers
from rustorch.ir.dims import Size
from rustorch.ir.graph import Graph, Node, Value
from rustorch.ir.op import Trait
from rustorch.ir.types import contiguous_strides

MAX_NODES = 160
"""Nodes of one kernel: beyond, registers and compile time suffer."""
DEAR, MOST_AGAIN = 8, 24
"""A pad computes what it reads again where that is nodes cheaper than the one, and no more than the other."""
MOST_LANES = 64
"""The most lanes of a sum on any level."""
CANDIDATES = 4
"""Kernels of the same space that horizontal fusion looks at."""

_OWN_STEP = {"dot_general": "product", "scatter_add": "scatter", "scatter": "scatter", "concat": "concat", "pad": "pad", "reshape": "alias",
             "barrier": "alias", "conv_general": "convolution", "sort": "sort",
             **dict.fromkeys(("cumsum", "cumprod", "cummax", "cummin", "logcumsumexp", "recurrence"), "scan")}  # fmt: skip


@dataclass(eq=False)
class Store:
    """A member value written to the memory of `target` at `offset` with `strides` over the axes of the value's shape.

    Without strides: row-major, the whole of the target.
    """

    value: Value
    target: Value
    offset: Size = 0
    strides: tuple[Size, ...] | None = None


@dataclass(eq=False)
class Step:
    """One step of the plan. `kind` is kernel, product, scatter, concat, pad or alias; all but kernels have one node."""

    index: int
    kind: str
    shape: tuple[Size, ...] = ()
    reduced: frozenset[int] = frozenset()
    nodes: list[Node] = field(default_factory=list)
    stores: list[Store] = field(default_factory=list)
    needs: int = 0
    """Bit set of the steps that this one depends on, directly or not."""
    reason: str = ""
    """Why this step is not part of an earlier one."""
    bases: set[Value] = field(default_factory=set)
    """What the step reads: members and memory, single numbers left out."""
    partials: dict[Node, Value] = field(default_factory=dict)
    """Reductions whose blocks are added up by another step, and the memory (blocks, then the kept axes) where they wait (`split.py`)."""
    combines: dict[Node, Value] = field(default_factory=dict)
    """Reductions whose blocks this step adds up."""
    inlined: dict[Value, Node] = field(default_factory=dict)
    """Cheap values that a pad reads elsewhere than the loops stand, and that are therefore computed there again."""
    sides: dict[Node, None] = field(default_factory=dict)
    """Reductions over other axes, whose elements pass by row after row: sums of columns, sums of everything. No member reads them."""

    @property
    def kept(self) -> tuple[int, ...]:
        """Axes that are not reduced."""
        return tuple(k for k in range(len(self.shape)) if k not in self.reduced)


@dataclass
class Plan:
    """The steps of a graph in order, and which values live in memory of their own."""

    graph: Graph
    steps: list[Step]
    memory: dict[Value, None]
    """Values that are written to memory (insertion order = order of definition)."""
    producers: dict[Value, Node]
    aliases: dict[Value, Value]
    """Values that share the memory of another (contiguous reshapes)."""
    outputs: list[Value] = field(default_factory=list)
    """The memory of each output of the graph."""

    def view(self, value: Value, through: bool = False) -> View:
        """The value as a view of memory, of a member, or of a constant."""
        return view(value, self.producers, self.in_memory, through)

    def in_memory(self, value: Value) -> bool:
        """Whether a value has memory: an input, an array constant, or written by a step."""
        node = self.producers.get(value)
        if node is None:
            return True
        return value in self.memory or (node.op.name == "const" and not isinstance(node.attrs["value"], (int, float, bool)))

    def root(self, value: Value) -> Value:
        """The value whose memory this is."""
        while value in self.aliases:
            value = self.aliases[value]
        return value

    @property
    def kernels(self) -> list[Step]:
        """The fused kernels."""
        return [step for step in self.steps if step.kind == "kernel"]


def squeeze(shape: tuple[Size, ...]) -> tuple[Size, ...]:
    """The sizes that are not 1."""
    return tuple(s for s in shape if s != 1)


def fuse(graph: Graph) -> Plan:
    """The plan of a simplified tensor graph."""
    return _Fuser(graph).run()


class _Fuser:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes = live_nodes(graph)
        self.plan = Plan(graph, [], {}, producers(graph), {})
        self.home: dict[Value, Step] = {}
        self.by_space: dict[tuple[Size, ...], list[Step]] = {}
        self.place = {node: number for number, node in enumerate(self.nodes)}
        self.count = 0
        self.needed = 0
        """Bit set of the steps that some other step needs."""

    def run(self) -> Plan:
        self._mark_memory()
        for node in self.nodes:
            if not node.operands:  # constants and iota: made where they are read
                if node.result in self.plan.memory:
                    self._copy(node)
                continue
            if is_virtual(node) and node.result not in self.plan.memory:
                continue
            if _has_own_step(node):
                self._own_step(node)
            elif is_virtual(node):
                self._copy(node)
            else:
                self._join(node)
        self._merge()
        self._drop_unread()
        self._write_outputs()
        self._write_crossing()
        self.plan.steps = _ordered(self.plan.steps)
        return self.plan

    # --- what must be in memory -----------------------------------------------------------------------------------------

    def _mark_memory(self) -> None:
        """Operands and results of steps that work on memory, seen through views."""
        for node in self.nodes:
            if _has_own_step(node):
                self.plan.memory.update(dict.fromkeys(node.results))
        known = -1
        while known < len(self.plan.memory):  # a value that gets memory ends the views through it, so look again
            known = len(self.plan.memory)
            for node in self.nodes:
                self._mark_operands(node)

    def _mark_operands(self, node: Node) -> None:
        name = node.op.name
        if name == "dot_general":
            for k, operand in enumerate(node.operands):
                self._require(operand, _product_reads(self.plan, node, k))
        elif _OWN_STEP.get(name) == "scan":
            for operand in node.operands:
                self._require(operand, True)
        elif name == "sort" or is_callout(node):
            for operand in node.operands:
                self._require(operand, self.plan.view(operand).is_contiguous(tensor(operand).shape))
        elif name == "conv_general":
            self._require(node.operands[0], True)
            self._require(node.operands[1], kernel_strides(self.plan.view(node.operands[1]), node) is not None)
        elif name == "barrier" or (name == "reshape" and not is_virtual(node)):
            operand = node.operands[0]
            self._require(operand, self.plan.view(operand).is_contiguous(tensor(operand).shape))
        elif name == "gather" or (name == "pad" and not _has_own_step(node) and not self._inlined(node)):
            self._require(node.operands[0], True)
        elif name in ("scatter_add", "scatter"):
            for operand in node.operands:
                if not self._is_number(operand):
                    self._require(operand, True)

    def _require(self, value: Value, through_view: bool) -> None:
        """The value (or, if a view of it will do, its base) must be in memory."""
        base = self.plan.view(value).base if through_view else value
        if not self.plan.in_memory(base):
            self.plan.memory[base] = None

    def _is_number(self, value: Value) -> bool:
        node = self.plan.producers.get(self.plan.view(value).base)
        return node is not None and node.op.name == "const"

    # --- steps --------------------------------------------------------------------------------------------------------

    def _step(self, kind: str, shape: tuple[Size, ...] = (), reason: str = "") -> Step:
        step = Step(self.count, kind, shape, reason=reason)
        self.count += 1
        self.plan.steps.append(step)
        return step

    def _own_step(self, node: Node) -> None:
        step = self._step("callout" if is_callout(node) else _OWN_STEP[node.op.name])
        step.nodes.append(node)
        self.home.update(dict.fromkeys(node.results, step))
        if step.kind == "alias":
            self.plan.aliases[node.result] = self.plan.view(node.operands[0]).base
        self._depend(step, node.operands)
        if step.kind in ("concat", "pad"):
            self._place_parts(step, node)

    def _place_parts(self, step: Step, node: Node) -> None:
        """Each operand of a concat or pad is written straight to its place in the result."""
        fill = self._step("fill") if node.op.name == "pad" else None
        if fill is not None:
            fill.nodes.append(node)
        for operand, (offset, strides) in zip(node.operands, _placements(node), strict=True):
            writer = self._writer(operand)
            writer.stores.append(Store(operand, node.result, offset, strides))
            if fill is not None:
                self._add_needs(writer, fill)
            self._add_needs(step, writer)

    def _writer(self, value: Value) -> Step:
        """A kernel of its own that copies a value, reading it through its view."""
        step = self._step("kernel", squeeze(tensor(value).shape), reason="copies into its place")
        self._depend(step, (value,))
        return step

    def _copy(self, node: Node) -> None:
        """A movement node or a constant whose result must be in memory."""
        step = self._step("kernel", squeeze(tensor(node.result).shape), reason="copies for a reader that needs memory")
        self._depend(step, node.operands)
        step.nodes.append(node)
        step.stores.append(Store(node.result, node.result))
        self.home[node.result] = step

    def _join(self, node: Node) -> None:
        """Put a computing node into the best kernel that can take it, or into a new one."""
        space_value = node.operands[0] if node.op.has(Trait.REDUCTION) else node.result
        space = squeeze(tensor(space_value).shape)
        reasons: list[str] = []
        for step in self._candidates(node, space):
            reason = self._obstacle(step, node, space)
            if not reason:
                break
            reasons.append(f"k{step.index}: {reason}")
        else:
            step = self._step("kernel", space, reason="; ".join(reasons[:2]))
            self.by_space.setdefault(space, []).append(step)
        if node.op.has(Trait.REDUCTION):
            self._reduce(step, node)
        step.nodes.append(node)
        if node.op.name == "pad":
            step.inlined.update(self._inlined(node))
        self.home[node.result] = step
        self._depend(step, self._read_by(node))

    def _read_by(self, node: Node) -> list[Value]:
        """What a node reads, seen through what it computes again."""
        again = self._inlined(node) if node.op.name == "pad" else {}
        return [v for user in (node, *again.values()) for v in user.operands if v not in again]

    def _inlined(self, node: Node) -> dict[Value, Node]:
        """The cheap elementwise nodes behind a pad's operand; none where it is in memory, costly, or moved in a way of its own."""
        again: dict[Value, Node] = {}
        waiting = [node.operands[0]]
        while waiting:
            value = waiting.pop()
            seen = self.plan.view(value)
            made = self.plan.producers.get(seen.base)
            if seen.base in again or made is None or self.plan.in_memory(seen.base) or not made.operands:
                continue
            cheap = made.op.cost < DEAR and not made.op.has(Trait.REDUCTION) and made.op.name != "gather" and not _has_own_step(made)
            shape = tensor(seen.base).shape
            if not cheap or value is not seen.base or is_virtual(made) or made.op.name == "pad" or squeeze(shape) != shape:
                if value is node.operands[0] or seen.base in again:
                    return {}
                continue
            again[value] = made
            waiting += made.operands
            if len(again) > MOST_AGAIN:
                return {}
        bases = [self.plan.view(v).base for user in again.values() for v in user.operands if v not in again]
        return {} if any(base in again for base in bases) else dict(sorted(again.items(), key=lambda item: self.place[item[1]]))

    def _candidates(self, node: Node, space: tuple[Size, ...]) -> Iterable[Step]:
        found: dict[Step, None] = {}
        bases = {self.plan.view(operand).base for operand in self._read_by(node)}
        for base in bases:
            step = self.home.get(base)
            if step is not None and step.kind == "kernel":
                found[step] = None
        ordered = sorted(found, key=lambda s: -s.index)
        for step in reversed(self.by_space.get(space, [])[-CANDIDATES:]):
            if step not in found and not bases.isdisjoint(step.bases):
                ordered.append(step)
        return ordered

    def _obstacle(self, step: Step, node: Node, space: tuple[Size, ...]) -> str:
        """Why a node cannot join a kernel; empty if it can."""
        if len(step.nodes) >= MAX_NODES:
            return "the kernel is full"
        kept_space = tuple(step.shape[k] for k in step.kept)
        if node.op.has(Trait.REDUCTION):
            if step.shape != space:
                return "another iteration space"
            if step.reduced and step.reduced != _reduced_axes(node) and not (self._passes_by(step, node) or self._turned(step, node)):
                return "a reduction over other axes"
            level = "full"
        elif step.shape == space:
            level = "full"
        elif step.reduced and kept_space == space and node.op.name != "pad":
            level = "kept"
        else:
            return "another iteration space"
        for operand in self._read_by(node):
            seen = self.plan.view(operand)
            home = self.home.get(seen.base)
            if home is step:
                if _reads_anywhere(node, operand) or not self._linked(step, seen, operand, level):
                    return "reads a member at another index"
            elif home is not None and (home.needs | 1 << home.index) >> step.index & 1:
                return "would make a cycle"
        return ""

    def _reduce(self, step: Step, node: Node) -> None:
        """Make a reduction one of a kernel that can take it."""
        axes = _reduced_axes(node)
        if step.reduced and step.reduced != axes:
            if self._passes_by(step, node):
                step.sides[node] = None
                return
            step.sides = dict.fromkeys(n for n in step.nodes if n.op.has(Trait.REDUCTION))
            axes = frozenset((len(step.shape) - 1,))
            if axes != _reduced_axes(node):
                step.sides[node] = None
        step.reduced = axes

    def _passes_by(self, step: Step, node: Node) -> bool:
        """Whether a reduction can be a side of a kernel of rows."""
        last = len(step.shape) - 1
        if last < 1 or step.reduced != {last}:
            return False
        axes, row = _reduced_axes(node), step.shape[-1]
        if axes == frozenset(range(last)):
            return True
        # The sum of everything has blocks that begin where rows do, and rows that begin at the first lane, on every level.
        return axes == frozenset(range(last + 1)) and isinstance(row, int) and row % MOST_LANES == 0 and ROW_BLOCK % row == 0

    def _turned(self, step: Step, node: Node) -> bool:
        """Whether a kernel that only adds up columns, or everything, can be one of rows, with those sums as sides."""
        last = len(step.shape) - 1
        rows = Step(-1, "kernel", step.shape, frozenset((last,)))
        if last < 1 or not (_reduced_axes(node) == {last} or self._passes_by(rows, node)):
            return False
        sums = [n for n in step.nodes if n.op.has(Trait.REDUCTION)]
        made = {n.result for n in sums}
        read = {self.plan.view(v).base for n in step.nodes for v in n.operands}
        kept = any(is_kept(step, n.result) for n in step.nodes if n not in sums)
        return not kept and made.isdisjoint(read) and all(self._passes_by(rows, n) for n in sums)

    def _linked(self, step: Step, seen: View, operand: Value, level: str) -> bool:
        """Whether a member can be read at the loop's own index."""
        made = self.plan.producers[seen.base]
        if (made.operands and is_virtual(made)) or made in step.sides:
            return False  # a copy, or a sum that ends with the kernel: it is read from memory, once it is all there
        base_shape, reader = tensor(seen.base).shape, real_axes(tensor(operand).shape)
        if is_kept(step, seen.base):
            axes = reader if level == "kept" else tuple(reader[k] for k in step.kept)
            return follows(seen.reads, base_shape, axes)
        return level == "full" and follows(seen.reads, base_shape, reader)

    # --- merging ------------------------------------------------------------------------------------------------------

    def _merge(self) -> None:
        """Join kernels of one space that read the same things, or one the other, and that came apart in the order of nodes."""
        for step in list(self.plan.steps):
            if step.kind != "kernel" or step.stores or not step.nodes:
                continue
            earlier = {home: None for home in map(self.home.get, step.bases) if home is not None and home is not step}
            earlier |= {other: None for other in self.by_space.get(step.shape, [])[-CANDIDATES:] if not other.bases.isdisjoint(step.bases)}
            for other in sorted(earlier, key=lambda s: -s.index):
                if other.index < step.index and self._can_merge(other, step):
                    self._merge_into(other, step)
                    break

    def _can_merge(self, first: Step, second: Step) -> bool:
        if first.kind != "kernel" or first.stores or first.shape != second.shape or first.inlined or second.inlined:
            return False
        if len(first.nodes) + len(second.nodes) > MAX_NODES or (first.reduced and second.reduced and first.reduced != second.reduced):
            return False
        merged = Step(-1, "kernel", first.shape, first.reduced | second.reduced, sides={**first.sides, **second.sides})
        for part, other in ((first, second), (second, first)):
            unchanged = part.reduced == merged.reduced  # what its nodes read of each other they still can
            if unchanged and not part.needs >> other.index & 1:
                continue
            for node in part.nodes:
                level = "kept" if not node.op.has(Trait.REDUCTION) and is_kept(merged, node.result) else "full"
                for operand in node.operands:
                    seen = self.plan.view(operand)
                    home = self.home.get(seen.base)
                    if home is not other and (home is not part or unchanged):
                        continue
                    if _reads_anywhere(node, operand) or not self._linked(merged, seen, operand, level):
                        return False
        return not (self._between(first, second) or self._between(second, first))

    def _between(self, first: Step, last: Step) -> bool:
        """Whether a path leads from `first` through another step to `last`."""
        if not last.needs >> first.index & 1:
            return False
        return any(s.needs >> first.index & 1 and last.needs >> s.index & 1 for s in self.plan.steps)

    def _merge_into(self, first: Step, second: Step) -> None:
        first.nodes = sorted((*first.nodes, *second.nodes), key=self.place.__getitem__)
        first.reduced |= second.reduced
        first.sides.update(second.sides)
        first.bases |= second.bases
        for node in second.nodes:
            self.home.update(dict.fromkeys(node.results, first))
        own = 1 << first.index | 1 << second.index
        first.needs = (first.needs | second.needs) & ~own
        for step in self.plan.steps:
            if step.needs & own:
                step.needs = (step.needs | 1 << first.index | first.needs) & ~(1 << second.index)
        self.plan.steps.remove(second)
        self.by_space[second.shape].remove(second)

    def _drop_unread(self) -> None:
        """Drop the nodes that only pads read, which compute them again."""
        if not any(step.inlined for step in self.plan.steps):
            return
        read = {self.plan.view(output).base for output in self.graph.outputs} | set(self.graph.outputs) | set(self.plan.memory)
        unread: set[Node] = set()
        for node in reversed(self.nodes):
            if read.isdisjoint(node.results):
                unread.add(node)
            else:
                read.update(self.plan.view(v).base for v in self._read_by(node))
        for step in self.plan.steps:
            if step.kind == "kernel":
                step.nodes = [node for node in step.nodes if node not in unread]
        self.plan.steps = [step for step in self.plan.steps if step.kind != "kernel" or step.nodes or step.stores]
        there = sum(1 << step.index for step in self.plan.steps)
        for step in self.plan.steps:
            step.needs &= there

    # --- dependences --------------------------------------------------------------------------------------------------

    def _depend(self, step: Step, operands: Iterable[Value]) -> None:
        for operand in operands:
            base = self.plan.view(operand).base
            if squeeze(tensor(base).shape) and (self.plan.in_memory(base) or self.plan.producers[base].operands):
                step.bases.add(base)
            home = self.home.get(base)
            if home is not None and home is not step:
                self._add_needs(step, home)

    def _add_needs(self, step: Step, other: Step) -> None:
        new = other.needs | 1 << other.index
        if step.needs | new == step.needs:
            return
        step.needs |= new
        self.needed |= new
        if self.needed >> step.index & 1:
            for later in self.plan.steps:
                if later.needs >> step.index & 1:
                    later.needs |= step.needs

    # --- writes ---------------------------------------------------------------------------------------------------------

    def _write_crossing(self) -> None:
        """Members that another step reads go to memory."""
        for step in self.plan.steps:
            again = step.inlined
            reads = [v for node in (*step.nodes, *again.values()) for v in node.operands if v not in again] + [s.value for s in step.stores]
            for operand in reads:
                seen = self.plan.view(operand)
                home = self.home.get(seen.base)
                if home is not None and home is not step:
                    self.plan.memory[seen.base] = None
        for step in self.plan.steps:
            if step.kind != "kernel":
                continue
            stored = {s.target for s in step.stores}
            for node in step.nodes:
                for value in node.results:
                    if value in self.plan.memory and value not in stored:
                        step.stores.append(Store(value, value))

    def _write_outputs(self) -> None:
        """Every output is in memory of its own; an input, a view, a constant or a repeated output is copied there."""
        for output in self.graph.outputs:
            home = self.home.get(output)
            if home is None or home.kind == "alias" or output in self.plan.outputs:
                target = Value(output.type, output.hint)
                self._writer(output).stores.append(Store(output, target))
                self.plan.outputs.append(target)
            else:
                self.plan.memory[output] = None
                self.plan.outputs.append(output)


def is_kept(step: Step, value: Value) -> bool:
    """Whether a member of a kernel has the kept axes only."""
    if not step.reduced or len(squeeze(tensor(value).shape)) >= len(step.shape):
        return False
    return not any(value in node.results for node in step.sides)


def _reads_anywhere(node: Node, operand: Value) -> bool:
    """Whether a node reads elements of an operand that only run time knows: all of it must be in memory before."""
    return node.op.name == "pad" or (node.op.name == "gather" and operand is node.operands[0])


def _has_own_step(node: Node) -> bool:
    """Whether a node is a step by itself. A reshape may be a view; a pad is part of a kernel where no axis of its operand has size 1."""
    if node.op.name == "pad":
        low: Any = node.attrs["low"]
        high: Any = node.attrs["high"]
        shape = tensor(node.operands[0]).shape
        negative = any(isinstance(size, int) and size < 0 for size in (*low, *high))
        return negative or not shape or any(isinstance(size, int) and size < 2 for size in shape)
    return is_callout(node) or (node.op.name in _OWN_STEP and not (node.op.name == "reshape" and is_virtual(node)))


def _reduced_axes(node: Node) -> frozenset[int]:
    """The reduced axes, numbered among the operand's axes that are not of size 1."""
    real = real_axes(tensor(node.operands[0]).shape)
    axes: Any = node.attrs["axes"]
    return frozenset(real.index(a) for a in axes if a in real)


def _placements(node: Node) -> list[tuple[Size, tuple[Size, ...]]]:
    """Offset and strides in the result of each operand of a concat or pad."""
    strides = contiguous_strides(tensor(node.result).shape)
    if node.op.name == "pad":
        low: Any = node.attrs["low"]
        offset: Size = 0
        for amount, step in zip(low, strides, strict=True):
            offset = offset + step * amount
        return [(offset, strides)]
    axis: Any = node.attrs["axis"]
    placed: list[tuple[Size, tuple[Size, ...]]] = []
    start: Size = 0
    for operand in node.operands:
        placed.append((strides[axis] * start, strides))
        start = start + tensor(operand).shape[axis]
    return placed


def _product_reads(plan: Plan, node: Node, k: int) -> bool:
    """Whether operand k of a product can be read through its view: rows, columns and batches each have one stride."""
    operand = node.operands[k]
    seen = plan.view(operand)
    _, strides = seen.strided(tensor(operand).rank)
    return grouped_strides(tensor(operand).shape, strides, operand_axes(node, k)) is not None


def _ordered(steps: list[Step]) -> list[Step]:
    """Steps in an order that respects their needs, earliest first."""
    ordered: list[Step] = []
    done = 0
    parked: dict[int, list[Step]] = {}
    """Steps that wait, by the index of one that they wait for."""
    for step in steps:
        ready = [step]
        while ready:
            current = ready.pop()
            missing = current.needs & ~done
            if missing:
                parked.setdefault(missing.bit_length() - 1, []).append(current)
                continue
            ordered.append(current)
            done |= 1 << current.index
            ready += reversed(parked.pop(current.index, []))
    assert not parked, "the steps of a plan are acyclic"
    return ordered
