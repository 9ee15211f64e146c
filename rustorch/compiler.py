"""The pipeline: from a tensor graph to native code, one table of passes, one cache of results."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rustorch.artifact import Artifact
from rustorch.ir.analysis import digest
from rustorch.ir.graph import Graph
from rustorch.ops.interpret import interpret

Array = np.ndarray[Any, Any]


@dataclass
class Statistics:
    """What the compiler did in this process."""

    compiles: int = 0
    hits: int = 0
    kernels: int = 0
    seconds: float = 0.0


statistics = Statistics()


@dataclass
class Compiled:
    """A compiled graph: `run` takes the inputs as arrays and gives the outputs."""

    graph: Graph
    kernels: int = 0
    seconds: float = 0.0
    artifact: Artifact | None = None
    stages: dict[str, str] = field(default_factory=dict)

    def run(self, arrays: Sequence[Array]) -> list[Array]:
        """The outputs for these inputs (each of the input's element type and shape)."""
        return interpret(self.graph, list(arrays))


_compiled: dict[str, Compiled] = {}
_lock = threading.RLock()


def compile_graph(graph: Graph) -> Compiled:
    """The executable of a graph; equal graphs (by digest) share one."""
    key = digest(graph)
    with _lock:
        known = _compiled.get(key)
        if known is not None:
            statistics.hits += 1
            return known
        start = time.perf_counter()
        compiled = Compiled(graph)
        compiled.seconds = time.perf_counter() - start
        statistics.compiles += 1
        statistics.seconds += compiled.seconds
        _compiled[key] = compiled
        return compiled
