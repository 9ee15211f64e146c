"""When a recorded program is compiled: where that pays at once, else when it is seen again.

At a prompt, in a test suite, in a script that runs from top to bottom, a program is seen once, and compiling it takes longer than
anything else about it. So at first sight it runs node by node (`compiler/stepwise.py`), unless that is dearer than half of what
compiling takes: then a training loop's first step would wait twice. `docs/recording.md` has the figures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from rustorch import compiler
from rustorch.config import config
from rustorch.frontend.base import Array
from rustorch.frontend.entry import array_entry
from rustorch.frontend.explain import journal, note
from rustorch.frontend.program import Program, make_program
from rustorch.ir.graph import Node, Value
from rustorch.ir.location import user_location

SMALL = 20e-3
"""Seconds: a program that is compiled sooner may wait once for singles, since the next programs find them there."""
OFTEN = 6
"""Runs of compiled code after which a program gets an entry of its own: some milliseconds for some microseconds a run."""
SHARE = 0.5
"""What a first run may cost, as a share of what compiling would."""


class Recorded:
    """A program of a closed segment."""

    __slots__ = ("__weakref__", "_entry", "_given", "_program", "_runs")

    def __init__(self, inputs: Sequence[Value], nodes: Sequence[Node], outputs: Sequence[Value]) -> None:
        self._given = tuple(inputs), tuple(nodes), tuple(outputs)
        self._program: Program | None = None
        self._runs = 0
        self._entry: Callable[..., Any] | None = None

    def run(self, arrays: Sequence[Array]) -> list[Array]:
        """The results for these inputs."""
        program = self._program
        if self._entry is not None:
            assert program is not None
            found = self._entry(*[arrays[i] for i in program.inputs])
            return program.arranged(found, arrays)
        if program is None:
            program = self._program = self._first()
            self._given = ((), (), ())
        elif program.stepwise is not None:
            program = self._program = _compiled(program, "it was seen again")
        else:
            self._runs += 1
            if self._runs == OFTEN and program.graph.outputs:
                self._entry = array_entry(program)
        return program.run(arrays)

    def _first(self) -> Program:
        program = make_program(*self._given, later=True)
        if program.compiled is not None or config.eager or program.is_checked or not program.graph.outputs:
            return program
        known = compiler.recall(program.graph)
        if known is not None:
            return replace(program, compiled=known)
        stepwise = compiler.node_by_node(program.graph) if config.sight > 1 else None
        if stepwise is None:
            return _compiled(program, "it is new")
        program = replace(program, stepwise=stepwise)
        cost = stepwise.cost()
        if cost.run + (cost.singles if cost.fused > SMALL else 0.0) > SHARE * cost.fused:
            return _compiled(program, "it is new, and too dear to be run node by node")
        journal.stepwise += 1
        return program


def _compiled(program: Program, why: str) -> Program:
    simplified = None if program.stepwise is None else program.stepwise.graph
    note("program compiled", user_location(), why, "segments")
    return replace(program, compiled=compiler.compile_graph(program.graph, simplified), stepwise=None)
