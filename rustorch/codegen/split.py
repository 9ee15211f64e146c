"""Long reductions in two steps: one that makes a partial result of every block, one that combines them.

The blocks of one reduction are work for many threads, as rows are where there are many. A kernel that sums into few elements becomes,
for each of its levels, a step over blocks (`Step.partials`) and a step that adds them up and goes on with the results
(`Step.combines`). The order of additions is that of the tree, so the bits are those of the kernel in one piece.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rustorch.codegen.fuse import Plan, Step, Store, is_kept, squeeze
from rustorch.codegen.schedule import COLUMN_BLOCK, ROW_BLOCK
from rustorch.codegen.views import is_virtual, tensor
from rustorch.codegen.walk import block_count
from rustorch.ir.dims import Size, product
from rustorch.ir.graph import Node, Value
from rustorch.ir.op import Trait
from rustorch.ir.types import TensorType

FEW_ROWS = 8
"""Kernels with more rows than this share rows among threads, not blocks."""
LEAST_COST = 1 << 17
"""Kernels with fewer elements times instructions per element stay whole."""
LEAST_ELEMENTS = 1 << 15
"""Kernels of several levels with fewer elements stay whole: they lie in the first cache, and keep there what they need again."""


def split(plan: Plan) -> Plan:
    """The plan, its long reductions in two steps each."""
    steps: list[Step] = []
    unused = max((step.index for step in plan.steps), default=0) + 1
    for step in plan.steps:
        blocks = _blocks(plan, step)
        if blocks is None and not step.sides:
            steps.append(step)
            continue
        parts = _with_sides(plan, step) if blocks is None else _Splitter(plan, step, blocks).run()
        own, before = step.index, step.needs
        for part in parts:
            part.index, unused = (own, unused) if part is parts[-1] else (unused, unused + 1)
            part.needs = before
            before |= 1 << part.index
        steps += parts
    plan.steps = steps
    return plan


def _with_sides(plan: Plan, step: Step) -> list[Step]:
    """A kernel of rows that makes the blocks of its sides, then a step for each set of axes that combines them."""
    rank = len(step.shape)
    by_axes: dict[frozenset[int], list[Node]] = {}
    for node in step.sides:
        rest = len(squeeze(tensor(node.result).shape))
        by_axes.setdefault(frozenset(range(rank - 1 if rest else rank)), []).append(node)
    combining: list[Step] = []
    for axes, nodes in by_axes.items():
        blocks = block_count(step.shape, axes, COLUMN_BLOCK if len(axes) < rank else ROW_BLOCK)
        assert blocks is not None, "the axes are adjacent"
        kept = () if len(axes) == rank else step.shape[-1:]
        partials = {node: Value(TensorType(tensor(node.result).dtype, (blocks, *kept)), "partial") for node in nodes}
        step.partials.update(partials)
        stores = [store for store in step.stores if any(store.value in node.results for node in nodes)]
        step.stores = [store for store in step.stores if store not in stores]
        combining.append(Step(0, "kernel", step.shape, axes, nodes, stores, reason="combines blocks", combines=partials))
    return [step, *combining]


def way_to(plan: Plan, step: Step, values: Sequence[Value], ends: Callable[[Value], bool]) -> list[Node]:
    """The nodes of a kernel that values are computed with, in order. The way back ends at values for which `ends` holds."""
    wanted = {plan.view(v).base for v in values}
    found: list[Node] = []
    for node in reversed(step.nodes):
        if node.results[0] in wanted and not ends(node.results[0]):
            found.append(node)
            wanted.update(plan.view(v).base for v in node.operands)
    return found[::-1]


def reductions(step: Step) -> list[Node]:
    """The nodes of a kernel that add up along its reduced axes."""
    return [node for node in step.nodes if node.op.has(Trait.REDUCTION) and not is_virtual(node) and node not in step.sides]


def levels(plan: Plan, step: Step) -> dict[Value, int]:
    """For each value that a kernel reads or makes, how many reductions stand one behind the other before it."""
    level: dict[Value, int] = {}
    own = {*reductions(step), *step.sides} - set(step.combines)
    for node in step.nodes:
        highest = max((level.get(plan.view(v).base, 0) for v in node.operands), default=0)
        for operand in node.operands:
            level.setdefault(operand, level.get(plan.view(operand).base, 0))
        for value in node.results:
            level[value] = highest + 1 if node in own else highest
    return level


def _blocks(plan: Plan, step: Step) -> Size | None:
    """The number of blocks of a kernel that is worth splitting."""
    if step.kind != "kernel" or not step.reduced or not reductions(step) or step.sides:
        return None
    across = len(step.shape) - 1 in step.reduced
    blocks = block_count(step.shape, step.reduced, ROW_BLOCK if across else COLUMN_BLOCK)
    rows, elements = product(tuple(step.shape[k] for k in step.kept)), product(step.shape)
    if isinstance(elements, int):
        cost = elements * sum(node.op.cost for node in step.nodes)
        level = levels(plan, step)
        is_deep = any(level.get(plan.view(v).base, 0) > 0 for v in (*(n.operands[0] for n in reductions(step)), *_full_values(step)))
        enough = isinstance(blocks, int) and blocks > 1 and cost >= LEAST_COST and (not is_deep or elements >= LEAST_ELEMENTS)
        return blocks if enough and (not across or (isinstance(rows, int) and rows <= FEW_ROWS)) else None
    if across:
        return blocks if rows == 1 else None
    return blocks if max(levels(plan, step).values()) == 1 else None


def _full_values(step: Step) -> list[Value]:
    """The values of all axes that a kernel writes."""
    return [store.value for store in step.stores if not is_kept(step, store.value)]


class _Splitter:
    def __init__(self, plan: Plan, step: Step, blocks: Size) -> None:
        self.plan, self.step, self.blocks = plan, step, blocks
        self.level = levels(plan, step)
        self.made = {value: node for node in step.nodes for value in node.results}
        self.written: dict[Value, int] = {}
        """Full values that are in memory, by the level at which they are written."""
        for store in step.stores:
            if store.value is store.target and not self._is_kept(store.value):
                self.written[store.value] = self._level_of(store.value)

    def run(self) -> list[Step]:
        """The steps, in order."""
        found = reductions(self.step)
        last = max([self.level[n.operands[0]] for n in found] + [self._level_of(s.value) for s in self._full_stores()])
        steps: list[Step] = []
        for level in range(last + 1):
            reduced = [n for n in found if self.level[n.operands[0]] == level]
            stores = [s for s in self._full_stores() if self._level_of(s.value) == level]
            partials = {node: self._partial(node) for node in reduced}
            wanted = [n.operands[0] for n in reduced] + [s.value for s in stores]
            if wanted:
                nodes = [*self._needed(wanted, level), *reduced]
                axes = self.step.reduced if reduced else frozenset()
                steps.append(self._step(axes, nodes, stores, self.step.reason))
                steps[-1].partials = partials
            if reduced:
                kept = [n for n in self.step.nodes if self._is_kept(n.result) and n not in found and self._home(n.result) == level]
                kept_stores = [s for s in self.step.stores if self._is_kept(s.value) and self._home(s.value) == level]
                steps.append(self._step(self.step.reduced, [*reduced, *kept], kept_stores, "combines blocks"))
                steps[-1].combines = partials
        self._write_crossing(steps)
        return steps

    def _partial(self, node: Node) -> Value:
        """The memory of a reduction's partial results."""
        kept = tuple(self.step.shape[k] for k in self.step.kept)
        return Value(TensorType(tensor(node.result).dtype, (self.blocks, *kept)), "partial")

    def _full_stores(self) -> list[Store]:
        return [s for s in self.step.stores if not self._is_kept(s.value)]

    def _is_kept(self, value: Value) -> bool:
        return is_kept(self.step, value)

    def _level_of(self, value: Value) -> int:
        return self.level.get(self.plan.view(value).base, 0)

    def _home(self, value: Value) -> int:
        """The level after which a kept value is made."""
        return max(0, self._level_of(value) - 1)

    def _needed(self, values: list[Value], level: int) -> list[Node]:
        """The nodes that a step over blocks computes values with; kept values come from memory but on the first level."""
        return way_to(
            self.plan, self.step, values, lambda v: (level > 0 and self._is_kept(v)) or self.written.get(v, level) < level
        )

    def _step(self, reduced: frozenset[int], nodes: list[Node], stores: list[Store], reason: str) -> Step:
        """A step of these nodes, which are put in order; it gets its number later."""
        chosen = set(nodes)
        ordered = [node for node in self.step.nodes if node in chosen]
        return Step(0, "kernel", self.step.shape, reduced, ordered, stores, reason=reason, inlined=self.step.inlined)

    def _write_crossing(self, steps: list[Step]) -> None:
        """What a step reads of another goes through memory."""
        for step in steps:
            own = {value for node in step.nodes if node not in step.partials for value in node.results}
            operands = [v for node in step.nodes if node not in step.combines for v in node.operands]
            for operand in [*operands, *(s.value for s in step.stores)]:
                base = self.plan.view(operand).base
                if base in self.made and base not in own:
                    self._write(base, steps)

    def _write(self, value: Value, steps: list[Step]) -> None:
        if value not in self.plan.memory:
            self.plan.memory[value] = None
        maker = next(s for s in steps if any(value in node.results for node in s.nodes if node not in s.partials))
        if all(store.target is not value for step in steps for store in step.stores):
            maker.stores.append(Store(value, value))
