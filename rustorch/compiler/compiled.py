"""Compiled graphs, and the one cache of them. The pipeline that makes them is imported when the first one is made."""

from __future__ import annotations

import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from rustorch.artifact import Artifact, EntryPlan, Layout, Signature
from rustorch.compiler import stored
from rustorch.config import config
from rustorch.errors import DimensionError, LinAlgError
from rustorch.ir.analysis import digest
from rustorch.ir.graph import Graph
from rustorch.ops.interpret import interpret
from rustorch.runtime import layout
from rustorch.runtime.entry import Epoch, make_entry
from rustorch.runtime.executable import Executable
from rustorch.runtime.loader import Loaded

Array = np.ndarray[Any, Any]


@dataclass
class Statistics:
    """What the compiler did in this process."""

    compiles: int = 0
    hits: int = 0
    kernels: int = 0
    seconds: float = 0.0
    stored: int = 0
    """Graphs whose code was found on disk."""


statistics = Statistics()


@dataclass
class Compiled:
    """A compiled graph: `run` takes the inputs as arrays and gives the outputs."""

    graph: Graph
    kernels: int = 0
    seconds: float = 0.0
    artifact: Artifact | None = None
    executable: Executable | None = None
    times: dict[str, float] = field(default_factory=dict)
    """Seconds per pass."""
    shared: bool = False
    """Whether the code was there already: another graph had simplified to the same."""

    @property
    def name(self) -> str:
        """The graph's name as an identifier."""
        return self.graph.name if self.graph.name.isidentifier() else "graph"

    def run(self, arrays: Sequence[Array], outputs: Sequence[Array] | None = None) -> list[Array]:
        """The outputs for these inputs (each of the input's element type and shape), in new arrays or in `outputs`."""
        if self.executable is None:
            return interpret(self.graph, list(arrays))
        try:
            return self.executable.run(arrays, outputs)
        except (DimensionError, LinAlgError):
            interpret(self.graph, list(arrays))  # the references say which index or matrix it was, and at which line of the user's program
            raise


_compiled: OrderedDict[str, Compiled] = OrderedDict()
"""By the digest of the graph as it was given, the least recently asked for first."""
KEPT = 2_000
"""So many are kept for somebody who asks for an equal graph; whoever has one keeps it anyway."""
_lock = threading.RLock()


def compile_graph(graph: Graph, simplified: Graph | None = None) -> Compiled:
    """The executable of a graph; equal graphs (by digest) share one. `simplified` is the graph after the passes, where they have run."""
    key = digest(graph)
    with _lock:
        return _known(key, graph) or _compile(key, graph, simplified)


def _compile(key: str, graph: Graph, simplified: Graph | None) -> Compiled:
    from rustorch.compiler import pipeline

    compiled = pipeline.build(graph, simplified)
    if compiled.shared:
        statistics.hits += 1
    else:
        statistics.compiles += 1
        statistics.kernels += compiled.kernels
    statistics.seconds += compiled.seconds
    if compiled.artifact is not None:
        stored.save_graph(key, compiled.artifact, pipeline.objects_of(compiled.artifact))
    _keep(key, compiled)
    if config.logs("compile") or compiled.seconds > 1.0:
        print(f"rustorch: compiled @{graph.name} in {compiled.seconds:.2f} s, {compiled.kernels} kernels", file=sys.stderr)
    return compiled


LONG = 1000
"""Nodes of a graph that is not compiled because an earlier process has seen it once."""


def recall(graph: Graph) -> Compiled | None:
    """The executable of a graph that was seen before, in this process or, where there is a cache on disk, in an earlier one.

    None at first sight, which is remembered, and for what takes seconds to compile and this process has not seen.
    """
    key = digest(graph)
    with _lock:
        worth = len(graph.nodes) <= LONG
        return _known(key, graph) or (_compile(key, graph, None) if stored.was_seen(key) and worth else None)


def _known(key: str, graph: Graph) -> Compiled | None:
    known = _compiled.get(key)
    if known is not None:
        statistics.hits += 1
        _compiled.move_to_end(key)
        return known
    start = time.perf_counter()
    executable = None if config.eager else stored.find_graph(key)
    if executable is None:
        return None
    statistics.stored += 1
    artifact = executable.artifact
    compiled = Compiled(graph, artifact.kernels, time.perf_counter() - start, artifact, executable)
    compiled.times["open"] = compiled.seconds
    _keep(key, compiled)
    return compiled


def _keep(key: str, compiled: Compiled) -> None:
    _compiled[key] = compiled
    if len(_compiled) > KEPT:
        _compiled.popitem(last=False)


@dataclass(frozen=True)
class Cost:
    """What each way to run a graph would take, in seconds. Estimates from measured averages: they decide, nothing more."""

    singles: float
    """To compile what running node by node needs and is not there yet."""
    run: float
    """To run node by node, once."""
    fused: float
    """To compile the graph."""


class NodeByNode(Protocol):
    """A graph that runs without code of its own (`stepwise.py`)."""

    graph: Graph
    """The graph after the passes."""

    def cost(self) -> Cost:
        """What this way and the other one would take."""

    def run(self, arrays: Sequence[Array]) -> list[Array]:
        """The outputs for these inputs, each in memory of its own."""


def node_by_node(graph: Graph) -> NodeByNode | None:
    """The graph, its passes done, ready to run node by node; None where that cannot be."""
    from rustorch.compiler import pipeline
    from rustorch.compiler.stepwise import Stepwise

    found = Stepwise(pipeline.lowered(graph)[-1][1])
    return found if found.possible else None


_entries: dict[str, tuple[EntryPlan, Loaded]] = {}
"""Plans and code of Python entries by their keys."""


def _entry(signature: Signature, probed: Layout, slots: Mapping[str, int]) -> tuple[EntryPlan, Loaded]:
    key = stored.entry_key(signature, probed, slots)
    with _lock:
        found = _entries.get(key) or stored.find_entry(key)
        if found is None:
            from rustorch.compiler import pipeline

            found = pipeline.entry_code(signature, probed, slots, key)
        _entries[key] = found
        return found


def python_entry(
    compiled: Compiled,
    signature: Signature,
    fallback: Callable[..., Any],
    tensor_type: type,
    captured: Sequence[object],
    objects: Mapping[str, object],
    epoch: Array,
) -> Callable[..., Any] | None:
    """A builtin function around a compiled graph (see `Signature`); None where this interpreter's objects cannot be read.

    `epoch` is a counter (i64[1]): once it has moved on, all calls go to `fallback`.
    """
    probed = layout.probe()
    executable, artifact = compiled.executable, compiled.artifact
    if probed is None or executable is None or artifact is None:
        return None
    plan, code = _entry(signature, probed, layout.slot_offsets(tensor_type))
    return make_entry(
        plan,
        code,
        executable.loaded,
        artifact.symbol,
        fallback,
        name=compiled.name,
        work_bytes=artifact.work_bytes if isinstance(artifact.work_bytes, int) else 0,
        tensor_type=tensor_type,
        captured=captured,
        objects=objects,
        epoch=Epoch(epoch),
        executor=executable.executor,
    )
