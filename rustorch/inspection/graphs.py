"""Levels as networkx graphs. The only user of networkx, which is imported on first use."""

from __future__ import annotations

from typing import Any

from rustorch.inspection.stages import Stages


def to_networkx(stages: Stages, level: str = "simplified") -> Any:
    """A `networkx.MultiDiGraph` of a tensor level, or of the steps (level `fused`).

    Nodes are named as in the text and have the attributes of `NodeView` (`kind` is input, node or, in `fused`, that of the
    step); an edge per operand has its position as `operand` and its type as `type`. The graph has `outputs`: their names.
    """
    import networkx

    graph = networkx.MultiDiGraph(name=stages.name, level=level)
    if level == "fused":
        for kernel in stages.kernels:
            costs = {"flops": kernel.cost.flops, "transcendental": kernel.cost.transcendental, "bytes": kernel.cost.bytes}
            graph.add_node(f"@{kernel.name}", kind=kernel.kind, nodes=kernel.nodes, reads=kernel.reads, writes=kernel.writes, **costs)
        for kernel in stages.kernels:
            graph.add_edges_from((f"@{other}", f"@{kernel.name}") for other in kernel.needs)
        return graph
    views = stages.nodes_of(level)
    tensor, ids = getattr(stages, level), stages.ids(level)
    for value in tensor.graph.inputs:
        graph.add_node(ids[value], kind="input", op="input", type=str(value.type), number=tensor.numbers[value])
    for node in views:
        place = {"file": node.location.file, "line": node.location.line} if node.location.line else {}
        costs = {"flops": node.cost.flops, "transcendental": node.cost.transcendental, "bytes": node.cost.bytes}
        graph.add_node(
            node.id, kind="node", op=node.op, attrs=node.attrs, type=node.type, number=node.number, kernel=node.kernel, **place, **costs
        )
    types = {ids[value]: str(value.type) for value in ids}
    for node in views:
        for position, operand in enumerate(node.operands):
            graph.add_edge(operand, node.id, operand=position, type=types[operand])
    graph.graph["outputs"] = [ids[value] for value in tensor.graph.outputs]
    return graph
