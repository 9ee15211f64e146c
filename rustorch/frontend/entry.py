"""Compiled programs as Python builtins: where their inputs come from, and what becomes of their outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from rustorch import compiler
from rustorch.artifact import Result, Signature, Source, TensorSlots
from rustorch.frontend.base import FRESH_SLOTS, TensorBase, tensor_class
from rustorch.frontend.program import Program
from rustorch.frontend.segment import tensor_type
from rustorch.frontend.state import defaults
from rustorch.ir.conditions import decisive
from rustorch.ir.dims import Size, rename
from rustorch.ir.graph import Graph
from rustorch.ir.types import TensorType

CONCRETE = (("_segment", "none"), ("_requires_grad", "false"))
"""Slots of a tensor that an entry reads: its elements are there, and nobody wants its gradient."""


def array_entry(program: Program) -> Callable[..., Any] | None:
    """A builtin from the arrays that a program's graph takes to the tuple of those that it gives; None where there is none."""
    compiled = program.compiled
    if compiled is None or compiled.artifact is None or compiled.artifact.dims:
        return None

    def fallback(*arrays: Any) -> tuple[Any, ...]:
        return tuple(compiled.run(arrays))

    sources = [Source("array", place) for place in range(len(program.inputs))]
    results = [Result("array", place) for place in range(len(program.graph.outputs))]
    return entry_of(program, len(sources), sources, results, fallback, (), as_tuple=True)


def entry_of(
    program: Program,
    arguments: int,
    sources: Sequence[Source],
    results: Sequence[Result],
    fallback: Callable[..., Any],
    captured: Sequence[TensorBase],
    *,
    as_tuple: bool = False,
    epoch: bool = False,
    keywords: bool = False,
) -> Callable[..., Any] | None:
    """The builtin of a compiled program; the flags are those of the `Signature`."""
    compiled = program.compiled
    assert compiled is not None and compiled.artifact is not None
    artifact = compiled.artifact
    names = dict(zip(program.dims, artifact.dims, strict=True))
    signature = Signature(
        arguments=arguments,
        inputs=tuple(artifact.inputs),
        sources=tuple(sources),
        outputs=tuple(artifact.outputs),
        results=tuple(results),
        dims=artifact.dims,
        conditions=tuple((str(rename(size, names)), least) for size, least in decisive(program.graph).items()) if names else (),
        by_size="types" if any(result.sized for result in results) else "",
        work_bytes=artifact.work_bytes,
        cost=_cost(program.graph, names, _UNLOCKED if artifact.callouts else 0),
        slots=TensorSlots("_array", _FRESH),
        as_tuple=as_tuple,
        epoch=epoch,
        keywords=keywords,
    )
    objects = _OBJECTS | {f"type{k}": value.type for k, value in enumerate(program.graph.outputs)} | {"types": program.types}
    return compiler.python_entry(compiled, signature, fallback, tensor_class(), captured, objects, defaults.epoch)


_OBJECTS: dict[str, object] = {"none": None, "false": False, "true": True, "minus": -1}
"""What entries compare slots with, or put into those of new tensors."""
_FRESH = tuple((slot, next(name for name, known in _OBJECTS.items() if known == value)) for slot, value in FRESH_SLOTS.items())


def new_tensor(program: Program, output: int, place: int) -> Result:
    """An output of the graph as a new tensor, at a place of the answer."""
    if not tensor_type(program.graph.outputs[output]).is_static:
        return Result("tensor", place, sized="_type")
    return Result("tensor", place, fresh=(("_type", f"type{output}"),))


def argument(x: Any, place: int) -> Source | None:
    """Where an argument like `x` is read; None for what an entry does not take."""
    if type(x) is np.ndarray:
        return Source("array", place)
    if isinstance(x, TensorBase):
        return Source("tensor", place, CONCRETE) if type(x) is tensor_class() and not x._requires_grad else None
    return Source(type(x).__name__, place) if type(x) in (float, int) else None


_UNLOCKED = 1 << 20
"""More than programs cost that keep the interpreter's lock: Python code inside may let other threads run, so its inputs must be held."""


def _cost(graph: Graph, names: Mapping[str, str], least: int) -> int | str:
    """Elements read, written and computed: what the time of a call grows with; dimensions by their other names."""
    total: Size = least
    for node in graph.nodes:
        for value in (*node.operands, *node.results):
            if isinstance(value.type, TensorType):
                total = total + value.type.size
    return total if isinstance(total, int) else str(rename(total, names))
