"""The compiler's door: graphs in, executables out. The pipeline behind it is in `pipeline.py`."""

from rustorch.compiler.compiled import Array, Compiled, Statistics, compile_graph, python_entry, statistics

__all__ = ["Array", "Compiled", "Statistics", "compile_graph", "python_entry", "statistics"]
