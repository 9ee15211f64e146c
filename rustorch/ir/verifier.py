"""Is a graph well formed? Run after every pass in tests and when debugging; what fails here is a mistake of ours."""

from __future__ import annotations

from collections.abc import Callable

from rustorch.errors import CompilerBug, UserError, compose
from rustorch.ir.graph import Graph, Node, Value
from rustorch.ir.op import REGISTRY, Trait
from rustorch.ir.printer import node_text
from rustorch.ir.types import TensorType

_Fail = Callable[[Node | None, str], CompilerBug]


def verify(graph: Graph, what: str = "") -> Graph:
    """The graph, if it is well formed; else `CompilerBug` with `what` (the pass that made it), the node and the user's line.

    Checked: operands are defined before they are used, values once; ops are the registered ones; result types are what the
    ops infer; no op of the loop dialect stands among tensors.
    """
    among_tensors = _has_tensors(graph)
    defined: set[Value] = set()

    def fail(node: Node | None, problem: str) -> CompilerBug:
        at = str(node.location) if node is not None and node.location.line else ""
        text = [_safe_text(node)] if node is not None else []
        return CompilerBug(compose(f"{what or 'a pass'} made an ill-formed graph @{graph.name}", problem, *text, at=at))

    def define(values: tuple[Value, ...], node: Node | None) -> None:
        for value in values:
            if value in defined:
                raise fail(node, f"a value is defined twice: {value}")
            defined.add(value)

    def visit(region: Graph) -> None:
        for node in region.nodes:
            for operand in node.operands:
                if operand not in defined:
                    raise fail(node, f"an operand is not defined before its use: {operand}")
            if node.op.name not in REGISTRY or REGISTRY[node.op.name] is not node.op:
                raise fail(node, f"the op {node.op.name} is not the registered one")
            if among_tensors and Trait.LOOP in node.op.traits:
                raise fail(node, f"{node.op.name} belongs to the loop dialect")
            for inner in node.regions:
                define(inner.inputs, node)
                visit(inner)
            _check_types(node, fail)
            define(node.results, node)
        for value in region.outputs:
            if value not in defined:
                raise fail(None, f"an output is not defined: {value}")

    define(graph.inputs, None)
    visit(graph)
    return graph


def _check_types(node: Node, fail: _Fail) -> None:
    if node.op.operands is not None and node.op.operands != len(node.operands):
        raise fail(node, f"{node.op.name} takes {node.op.operands} operands, not {len(node.operands)}")
    try:
        types = node.op.infer(*[v.type for v in node.operands], **node.attrs, **({"regions": node.regions} if node.regions else {}))
    except (UserError, CompilerBug, TypeError) as error:
        raise fail(node, f"its operands are refused: {error}") from error
    inferred = types if isinstance(types, tuple) else (types,)
    found = tuple(v.type for v in node.results)
    if inferred != found:
        raise fail(node, f"its results should be {', '.join(map(str, inferred))}, not {', '.join(map(str, found))}")


def _has_tensors(graph: Graph) -> bool:
    values = [*graph.inputs, *(v for node in graph.nodes for v in node.results)]
    return any(isinstance(v.type, TensorType) for v in values)


def _safe_text(node: Node) -> str:
    try:
        return node_text(node)
    except Exception:  # a node too broken to print is still named
        return repr(node)
