"""Math in the loop dialect to arithmetic: every `exp : vec<16xf32>` becomes its polynomial."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rustorch.codegen.emit_llvm import INSTRUCTIONS
from rustorch.codegen.expand_math import EXPANSIONS
from rustorch.codegen.target import Target
from rustorch.errors import CompilerBug
from rustorch.ir.builder import Builder
from rustorch.ir.dtypes import dtype_of
from rustorch.ir.graph import Graph, Node, Value
from rustorch.ir.op import REGISTRY, SameName, Trait
from rustorch.ir.rewrite import replay
from rustorch.ir.types import element


class MathBuilder:
    """A builder as expansions see it: element types by their spelling, and whether the target has an fma."""

    def __init__(self, b: Builder, target: Target) -> None:
        self._b, self._target = b, target
        self.has_fma = target.has_fma
        self.element = b.element
        self.const = b.const

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return getattr(self._b, name)  # type: ignore[no-any-return]

    def rarely(self, mask: Value, otherwise: Value, compute: Callable[[MathBuilder], Value]) -> Value:
        """`compute` on all lanes if any lane of the mask holds, else `otherwise`: a branch around work that is seldom needed."""
        inner = self._b.region(guarded=True)
        region = inner.build((compute(MathBuilder(inner, self._target)),), "rarely")
        return self._b.emit(REGISTRY["when"], (mask, otherwise), {}, (region,))[0]

    def convert(self, x: Value, *, dtype: str) -> Value:
        """Conversion to the element type spelled `dtype`."""
        return self._b.convert(x, dtype=dtype_of(dtype))  # type: ignore[no-any-return]

    def bitcast(self, x: Value, *, dtype: str) -> Value:
        """The same bits as elements of the type spelled `dtype`."""
        return self._b.bitcast(x, dtype=dtype_of(dtype))  # type: ignore[no-any-return]


def expand_math(graph: Graph, target: Target) -> Graph:
    """The loop graph with every elementary function written out for the target."""

    def visit(b: Builder, node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
        expansion = EXPANSIONS.get(node.op.name)
        if expansion is None or element(operands[0].type).kind != "float":
            return None
        return (expansion.expand(MathBuilder(b, target), *operands),)

    return replay(graph, visit)


def _check_endings() -> None:
    """Every elementwise op ends somewhere: an instruction, an expansion here, or a definition by other ops."""
    for op in REGISTRY:
        if op.has(Trait.ELEMENTWISE) and isinstance(op.lower, SameName) and op.name not in INSTRUCTIONS and op.name not in EXPANSIONS:
            raise CompilerBug(f"op {op.name} has no instruction in emit_llvm, no expansion in expand_math, and no `expand`")


_check_endings()
