"""A graph run node by node, without code of its own: what a program gets that may never come back.

What numpy computes with the same bits as our code (movement, comparisons, arithmetic that is rounded once) goes to the ops'
references, and so does what calls out of native code. Any other node goes to a *single*: code of one node with symbolic sizes, made
once per process for all shapes and kept by its structure. The singles that a graph lacks are compiled together, in one module, as
plain code: two milliseconds each.

The passes run first, and the bits are those of the compiled graph: no op of ours is rounded differently beside another one.
"""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from rustorch.codegen.assemble import assemble
from rustorch.codegen.callout import is_callout
from rustorch.codegen.generate import merge_modules
from rustorch.compiler.compiled import Cost
from rustorch.compiler.pipeline import generate_code, imports
from rustorch.compiler.stored import native_target
from rustorch.errors import DimensionError, LinAlgError
from rustorch.ir.builder import Builder
from rustorch.ir.dims import Size, symbol
from rustorch.ir.graph import Graph, Node, Value
from rustorch.ir.op import Trait
from rustorch.ir.types import TensorType
from rustorch.ops.interpret import interpret
from rustorch.runtime.callouts import alone
from rustorch.runtime.executable import Executable
from rustorch.runtime.loader import load

Array = np.ndarray[Any, Any]
Run = Callable[..., Any]

VIEWS = frozenset({"reshape", "transpose", "broadcast_to", "slice", "flip", "bitcast"})
"""Ops whose reference looks into the operand's memory."""
EXACT = VIEWS | {
    "iota", "pad", "concat", "gather",
    "add", "sub", "mul", "div", "neg", "abs", "sqrt", "floor", "ceil", "round_even", "copysign",
    "lt", "le", "gt", "ge", "eq", "ne", "select", "and", "or", "xor", "not", "shl", "shr_logical", "shr_arith", "convert",
}  # fmt: skip
"""Ops whose reference gives the bits of our code: each rounds once, or not at all. `tests/compiler` compares them on every sample."""

KEPT = 1_000
"""So many singles are kept: with sizes left open there are a few hundred; those of ops without open sizes are one a shape."""


SINGLE, PRODUCT, NODE, ELEMENT = 5e-3, 1.5e-3, 3e-6, 0.7e-9
"""Seconds: a single; the single of a product, whose code is shared; a node's turn; an element of a node's result."""
FUSED, FUSED_NODE = 6e-3, 0.45e-3
"""Seconds to compile a graph: its fixed part, and a node's."""


@dataclass(frozen=True)
class Task:
    """One node's turn: places of operands and results among the values, and of the values that nobody reads after it."""

    run: Run
    operands: tuple[int, ...]
    result: int
    dead: tuple[int, ...]


class Stepwise:
    """A simplified graph, ready to run node by node."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        own = (node for node in graph.nodes if node.op.name not in EXACT and not node.op.has(Trait.CONSTANT) and not is_callout(node))
        self._parts = {node: structure(node) for node in own}
        self._tasks: list[Task] = []
        self._constants: dict[int, Array] = {}
        self._outputs: list[tuple[int, bool]] = []

    @property
    def possible(self) -> bool:
        """Whether every node has one result: what has more is compiled."""
        return all(len(node.results) == 1 and not node.regions for node in self.graph.nodes)

    def cost(self) -> Cost:
        """What this way and the other one would take."""
        missing = [part for part in dict.fromkeys(self._parts.values()) if part not in _singles]
        elements = sum(_elements(node.result) for node in self.graph.nodes)
        count = len(self.graph.nodes)
        singles = sum(PRODUCT if part.name == "dot_general" else SINGLE for part in missing)
        return Cost(singles, count * NODE + elements * ELEMENT, FUSED + count * FUSED_NODE)

    def run(self, arrays: Sequence[Array]) -> list[Array]:
        """The outputs for these inputs, each in memory of its own."""
        try:
            return self._run(arrays)
        except (DimensionError, LinAlgError):
            interpret(self.graph, list(arrays))  # says which index or matrix it was, and at which line of the user's program
            raise

    def _run(self, arrays: Sequence[Array]) -> list[Array]:
        if not self._outputs:
            self._prepare()
        values: list[Any] = [*arrays, *[None] * len(self.graph.nodes)]
        for place, constant in self._constants.items():
            values[place] = constant
        with np.errstate(all="ignore"):
            for task in self._tasks:
                values[task.result] = np.asarray(task.run(*[values[place] for place in task.operands]))
                for place in task.dead:
                    values[place] = None
        return [np.array(values[place], order="C") if copied else np.ascontiguousarray(values[place]).reshape(values[place].shape)
                for place, copied in self._outputs]  # fmt: skip

    def _prepare(self) -> None:
        """Lay out the values, and see to it that every single is there."""
        graph = self.graph
        singles = _made(list(dict.fromkeys(self._parts.values())))
        place = {v: i for i, v in enumerate([*graph.inputs, *(node.result for node in graph.nodes)])}
        last = {v: node for node in graph.nodes for v in node.operands}
        held = {*graph.outputs, *graph.inputs}
        seen: set[Value] = set(graph.inputs)
        for node in graph.nodes:
            part = self._parts.get(node)
            if node.op.has(Trait.CONSTANT):
                self._constants[place[node.result]] = _constant(node)
            else:
                reference = functools.partial(node.op.reference, **node.attrs)
                run = part.runner(singles[part], node) if part is not None else alone(reference) if is_callout(node) else reference
                dead = tuple(place[v] for v in dict.fromkeys(node.operands) if last[v] is node and v not in held)
                self._tasks.append(Task(run, tuple(place[v] for v in node.operands), place[node.result], dead))
            if node.op.name in VIEWS or node.op.has(Trait.CONSTANT):
                seen.add(node.result)
        for value in graph.outputs:
            self._outputs.append((place[value], value in seen))
            seen.add(value)


def _elements(value: Value) -> int:
    type_ = value.type
    assert isinstance(type_, TensorType)
    return type_.size if isinstance(type_.size, int) else 0


def _constant(node: Node) -> Array:
    """A constant; one number in every place takes one place."""
    type_, value = node.result.type, node.attrs["value"]
    assert isinstance(type_, TensorType)
    if isinstance(value, (bool, int, float)):
        return np.broadcast_to(np.asarray(value, type_.dtype.numpy), type_.shape)  # type: ignore[arg-type]
    return np.asarray(node.op.reference(**node.attrs))


# --- Singles ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Structure:
    """What a node's single depends on. `squeezed`: axes of size 1 are left out; `flat`: all axes are one."""

    name: str
    attrs: tuple[tuple[str, Any], ...]
    operands: tuple[TensorType, ...]
    flat: bool = False
    squeezed: bool = False

    def graph(self) -> Graph:
        """The graph of one node."""
        b = Builder()
        result = getattr(b, f"{self.name}_" if self.name in ("and", "or", "not") else self.name)(
            *[b.input(type_) for type_ in self.operands], **dict(self.attrs)
        )
        return Graph(self.name, tuple(b.inputs), tuple(b.nodes), (result,))

    def runner(self, single: Executable, node: Node) -> Run:
        """A function of a node's operands that gives its result."""
        shape: Any = node.result.type.shape  # type: ignore[union-attr]
        if self.flat:
            return lambda *arrays: single.run([x.reshape(-1) for x in arrays])[0].reshape(shape)
        if self.squeezed:
            return lambda x: single.run([x.squeeze()])[0].reshape(shape)
        return lambda *arrays: single.run(arrays)[0]


def structure(node: Node) -> Structure:
    """The structure of a node: with symbols for sizes where the op is one for all sizes."""
    attrs = tuple(sorted(node.attrs.items()))
    types: list[TensorType] = [v.type for v in node.operands]  # type: ignore[misc]
    if node.op.has(Trait.ELEMENTWISE):
        return Structure(node.op.name, attrs, tuple(type_.dtype[symbol("n"),] for type_ in types), flat=True)
    if node.op.has(Trait.REDUCTION):
        (x,) = types
        real = [axis for axis, size in enumerate(x.shape) if size != 1]  # the order of a sum does not depend on the others
        axes = tuple(real.index(axis) for axis in node.attrs["axes"] if axis in real)
        return Structure(node.op.name, (("axes", axes),), (x.dtype[_sizes(len(real), {})],), squeezed=True)
    if node.op.name == "dot_general":
        x, y = types
        contract, batch = node.attrs["contract"], node.attrs["batch"]
        left = _sizes(x.rank, {})
        same = {b: left[a] for a, b in zip((*contract[0], *batch[0]), (*contract[1], *batch[1]), strict=True)}
        return Structure(node.op.name, attrs, (x.dtype[left], y.dtype[_sizes(y.rank, same, "m")]))
    return Structure(node.op.name, attrs, tuple(types))


def _sizes(rank: int, known: Mapping[int, Size], prefix: str = "n") -> tuple[Size, ...]:
    return tuple(known.get(axis, symbol(f"{prefix}{axis}")) for axis in range(rank))


_singles: OrderedDict[Structure, Executable] = OrderedDict()
_lock = threading.RLock()


def _made(parts: Sequence[Structure]) -> Mapping[Structure, Executable]:
    """The singles of some structures; those that are not there yet become one module."""
    if not parts:
        return MappingProxyType({})
    with _lock:
        missing = [part for part in parts if part not in _singles]
        if missing:
            goal = native_target()
            made = [generate_code(part.graph(), f"rt_single{k}", goal) for k, part in enumerate(missing)]
            code = assemble(merge_modules([each.llvm for each in made]), goal, quick=True)
            shared: dict[str, int] = {}
            for each in made:
                shared |= imports(each, goal)
            loaded = load(code, [each.symbol for each in made], shared)
            for part, each in zip(missing, made, strict=True):
                _singles[part] = Executable(each.artifact(code), loaded)
        for part in parts:
            _singles.move_to_end(part)
        found = {part: _singles[part] for part in parts}
        while len(_singles) > KEPT:
            _singles.popitem(last=False)
    return found
