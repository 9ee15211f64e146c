"""What a node or a kernel costs: arithmetic, elementary functions, bytes. Exact counts, symbolic where sizes are.

- `flops`: one for each element of an arithmetic operation or comparison on floating-point numbers, two for an fma; a reduction
  of n elements to m is n - m; a product of m x k by k x n is 2 m n k.
- `transcendental`: one for each element of an exponential, logarithm, power, trigonometric or hyperbolic function.
- `integer`: the same count as flops for operations on integers and bools.
- `read`, `written`: bytes of the operands and the results, each once, as if the node ran alone. A kernel reads and writes only
  what really goes through memory, and of a slice only the part that is read.

An op that is defined by others costs what its definition costs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

from rustorch.codegen.contraction import product_sizes
from rustorch.codegen.fuse import Plan, Step
from rustorch.codegen.views import View, tensor
from rustorch.ir.dims import Dim, Size, product
from rustorch.ir.graph import Node, Value
from rustorch.ir.op import Trait
from rustorch.ir.rewrite import expansion
from rustorch.ir.types import element

TRANSCENDENTAL = frozenset(("exp", "expm1", "log", "log1p", "pow", "sin", "cos", "tanh", "sigmoid"))
FREE = frozenset(("convert", "bitcast", "select", "copysign", "detach"))
"""Elementwise ops that move bits."""


@dataclass(frozen=True)
class Cost:
    """Counts; they add up."""

    flops: Size = 0
    transcendental: Size = 0
    integer: Size = 0
    read: Size = 0
    written: Size = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def bytes(self) -> Size:
        """Bytes read and written."""
        return self.read + self.written


def total(costs: Iterable[Cost]) -> Cost:
    """The sum."""
    return sum(costs, Cost())


SCANS = {"cumsum": 1, "cumprod": 1, "cummax": 1, "cummin": 1, "recurrence": 2}
"""Operations an element."""


def node_cost(node: Node) -> Cost:
    """The cost of a tensor node by itself."""
    if not node.operands:
        return Cost(written=_bytes(node.results)) if not node.op.has(Trait.CONSTANT) else Cost()
    read, written = _bytes(dict.fromkeys(node.operands)), _bytes(node.results)
    work = _work(node)
    if node.op.name == "gather":  # of the table, only the rows that are chosen
        read = written + _bytes(node.operands[1:])
    return Cost(work.flops, work.transcendental, work.integer, read, written)


def kernel_cost(plan: Plan, step: Step) -> Cost:
    """The cost of a step of the plan: the arithmetic of its nodes, and the bytes that go through memory."""
    if step.kind == "alias" or (step.kind in ("concat", "pad")):
        return Cost()  # no work of its own: a name for memory that other steps write
    if step.kind == "fill":
        return Cost(written=_bytes(step.nodes[0].results))
    if step.kind != "kernel":
        return total(node_cost(node) for node in step.nodes)
    work = total(_work(node) for node in step.nodes)
    read = sum(traffic(plan, step).values(), 0)
    written = sum((tensor(s.value).size * element(s.value.type).itemsize for s in step.stores), 0)
    return Cost(work.flops, work.transcendental, work.integer, read, written)


def traffic(plan: Plan, step: Step) -> dict[Value, Size]:
    """Bytes that a kernel reads, by the value in memory that they belong to: each element once."""
    made = {value for node in step.nodes for value in node.results}
    parts: dict[Value, dict[tuple[object, ...], Size]] = {}

    def note(value: Value, through: bool = False) -> None:
        seen = plan.view(value, through)
        if seen.base in made or not plan.in_memory(seen.base):
            return
        elements = _elements(seen, value)
        parts.setdefault(seen.base, {})[(*seen.reads, elements)] = elements

    for node in step.nodes:
        if node.op.name == "gather":
            note(node.operands[1])
            base = plan.view(node.operands[0]).base
            parts.setdefault(base, {})[(node,)] = tensor(node.result).size
            continue
        for operand in node.operands:
            note(operand)
    for store in step.stores:
        if plan.view(store.value).base not in made:
            note(store.value, store.value is store.target)
    return {base: _least(_sum(found.values()), tensor(base).size) * element(base.type).itemsize for base, found in parts.items()}


def _elements(seen: View, reader: Value) -> Size:
    """Elements of the base that a view reads, each counted once."""
    shape = tensor(reader).shape
    return product(tuple(shape[r.axis] for r in seen.reads if r.axis is not None and r.stride != 0))


def _work(node: Node) -> Cost:
    op, operands = node.op, node.operands
    if op.expand is not None:
        definition = expansion(node)
        if definition is not None:
            return _arithmetic(_work(inner) for inner in definition.nodes)
    if not operands or op.has(Trait.MOVEMENT) or op.has(Trait.CONSTANT):
        return Cost()
    floating = element(operands[-1].type).kind == "float"
    size = tensor(node.results[0]).size
    if op.has(Trait.REDUCTION):
        return _counted(tensor(operands[0]).size - size, floating)
    if op.name == "dot_general":
        batch, rows, columns, depth = product_sizes(node)
        return _counted(2 * batch * rows * columns * depth, floating)
    if op.name == "conv_general":
        return _counted(2 * size * product(tensor(operands[1]).shape[2:]), floating)
    if op.name in SCANS:
        return _counted(SCANS[op.name] * size, floating)
    if op.name in ("scatter_add", "scatter"):
        return _counted(tensor(operands[2]).size, floating)
    if not op.has(Trait.ELEMENTWISE) or op.name in FREE:
        return Cost()
    if op.name in TRANSCENDENTAL:
        return Cost(transcendental=size)
    return _counted(2 * size if op.name == "fma" else size, floating)


def _counted(count: Size, floating: bool) -> Cost:
    return Cost(flops=count) if floating else Cost(integer=count)


def _arithmetic(costs: Iterable[Cost]) -> Cost:
    found = total(costs)
    return Cost(found.flops, found.transcendental, found.integer)


def _bytes(values: Iterable[Value]) -> Size:
    return _sum(tensor(v).size * element(v.type).itemsize for v in values)


def _sum(sizes: Iterable[Size]) -> Size:
    found: Size = 0
    for size in sizes:
        found = found + size
    return found


def _least(left: Size, right: Size) -> Size:
    if isinstance(left, Dim) or isinstance(right, Dim):
        return right  # all of it: an upper bound
    return min(left, right)
