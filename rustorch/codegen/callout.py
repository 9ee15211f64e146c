"""Steps that call out of native code: which function, under which symbol, with which memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rustorch.artifact import CalloutSpec
from rustorch.codegen.views import tensor
from rustorch.ir.dims import Size
from rustorch.ir.graph import Node, Value
from rustorch.ir.op import Callout

FAILED = 2
"""The number that a driver returns where a callout has failed: behind that of an index out of range."""


@dataclass(frozen=True)
class CalloutCall:
    """A call of a function outside: the sizes of all axes, and the memory of operands and results."""

    symbol: str
    sizes: tuple[Size, ...]
    memory: tuple[Value, ...]


def is_callout(node: Node) -> bool:
    """Whether a node is computed outside of native code."""
    return isinstance(node.op.lower, Callout)


def callout_spec(node: Node) -> CalloutSpec:
    """What a node calls: the same for all sizes."""
    attrs: tuple[tuple[str, Any], ...] = tuple(sorted(node.attrs.items()))
    operands, results = ((tuple((tensor(v).dtype.short, tensor(v).rank) for v in values)) for values in (node.operands, node.results))
    words = [node.op.name, *(f"{key}_{value}" for key, value in attrs), *(f"{dtype}_{rank}" for dtype, rank in operands)]
    return CalloutSpec("rustorch." + ".".join(words), node.op.name, attrs, operands, results)


def callout_declaration(symbol: str) -> str:
    """The LLVM declaration of a function outside."""
    return f'declare i32 @"{symbol}"(ptr, ptr)'


def callout_sizes(node: Node) -> tuple[Size, ...]:
    """The sizes of all axes of a node's operands, then of its results."""
    return tuple(size for value in (*node.operands, *node.results) for size in tensor(value).shape)
