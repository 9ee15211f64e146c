"""The compiler's door: graphs in, executables out. The pipeline behind it is in `pipeline.py`."""

from rustorch.compiler.compiled import (
    Array,
    Compiled,
    NodeByNode,
    Statistics,
    compile_graph,
    node_by_node,
    python_entry,
    recall,
    statistics,
)

__all__ = ["Array", "Compiled", "NodeByNode", "Statistics", "compile_graph", "node_by_node", "python_entry", "recall", "statistics"]
