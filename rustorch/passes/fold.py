"""Values that are known: nodes on constants, computed by the ops' references.

A node on numbers repeated over a shape gives such a number again; a node on small arrays (64 elements) an array.

    func @f(%x: f32[n]) -> f32[n] {
      %0 = const 2.0 : f32[n]
      %1 = mul %0, 3.0 : f32[n]
      %2 = add %x, %1 : f32[n]
      return %2
    }
    // becomes
    func @f(%x: f32[n]) -> f32[n] {
      %0 = add %x, 6.0 : f32[n]
      return %0
    }
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rustorch.errors import UserError
from rustorch.ir.builder import Builder
from rustorch.ir.graph import Graph, Node, Payload, Value
from rustorch.ir.op import Trait
from rustorch.ir.pattern import FunctionRule, Log, rewrite, splat
from rustorch.ir.types import TensorType, Type, element
from rustorch.passes import dead_code

LIMIT = 64
"""The most elements that an operand or the result may have, where not all are the same number."""

Array = np.ndarray[Any, Any]


def _fold(b: Builder, node: Node) -> Value | None:
    if not node.operands or len(node.results) != 1 or node.op.name == "detach":
        return None
    constants = [b.producer(v) for v in node.operands]
    if any(n is None or n.op.name != "const" for n in constants):
        return None
    type_ = node.results[0].type
    numbers = [splat(b, v) for v in node.operands]
    if Trait.ELEMENTWISE in node.op.traits and all(n is not None for n in numbers):
        scalars = [np.asarray(n, element(v.type).numpy) for n, v in zip(numbers, node.operands, strict=True)]
        return b.const(_computed(node, scalars)[()], type_)
    if not all(_is_small(v.type) for v in (*node.operands, *node.results)):
        return None
    arrays = [_array(n.attrs["value"], v.type) for n, v in zip(constants, node.operands, strict=True) if n is not None]
    try:
        return b.const(_computed(node, arrays), type_)
    except UserError:  # an index out of range: the program says so, with the user's line, when it runs
        return None


def _computed(node: Node, arrays: list[Array]) -> Array:
    with np.errstate(all="ignore"):
        return np.asarray(node.op.reference(*arrays, **node.attrs))


def _is_small(type_: Type) -> bool:
    return isinstance(type_, TensorType) and isinstance(type_.size, int) and type_.size <= LIMIT


def _array(value: Any, type_: Type) -> Array:
    assert isinstance(type_, TensorType)
    shape: Any = type_.shape
    return value.array if isinstance(value, Payload) else np.full(shape, value, type_.dtype.numpy)


RULES = (FunctionRule("fold", None, _fold),)


def run(graph: Graph, log: Log | None = None) -> Graph:
    """The graph with everything computed that depends on constants only."""
    return dead_code.run(rewrite(graph, RULES, log))
