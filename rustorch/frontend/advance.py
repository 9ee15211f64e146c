"""Operations that run at once, as programs of their own, and write over tensors: the steps of optimisers.

In a loop the same operation runs on the same types again and again, on tensors that have their elements. So nothing is recorded:
the elements go to the compiled program directly, and its results become the elements of the tensors that are written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rustorch.frontend.base import TensorBase, concrete, looked_into
from rustorch.frontend.modes import set_mode
from rustorch.frontend.program import Program, make_program
from rustorch.frontend.state import defaults, local
from rustorch.frontend.storage import rebind
from rustorch.ir.builder import Builder
from rustorch.ir.location import user_location

LIMIT = 1000
"""So many programs are remembered."""
_programs: dict[Any, Program] = {}


def advance(function: Callable[..., Any], arguments: Sequence[Any], into: Sequence[Any]) -> None:
    """Write the results of an operation over the tensors `into`. An observation point; inside a traced function it is recorded.

    `arguments` are all arguments of the operation, in order. What is written is no part of any gradient.
    """
    segment = local.segment
    if not segment.writes_memory:
        _traced(function, arguments, into)
        return
    if segment.count:
        segment.close("an optimiser's step")
    operation = function.operation  # type: ignore[attr-defined]
    arrays: list[Any] = []
    kind: list[Any] = [operation, defaults.dtype]
    for place, argument in enumerate(arguments, 1):
        if place not in operation.positions:
            kind.append(argument)
        elif argument is None:
            kind.append(None)
        else:
            many = argument if isinstance(argument, (list, tuple)) else (argument,)
            kind.append(len(many))
            for x in many:
                kind.append(x._type)
                array = x._array
                arrays.append(array if array is not None else x._elements())
    key = tuple(kind)
    program = _programs.get(key)
    if program is None:
        if len(_programs) >= LIMIT:
            _programs.clear()
        program = _programs[key] = _compiled(operation, arguments)
    for x, array in zip(into, program.run(arrays), strict=True):
        extra = x._extra
        if extra is None:
            extra = x._more()
        elif extra.views or extra.base is not None or looked_into(x):
            _rebound(x, concrete(array, x._type))
            continue
        extra.version += 1
        x._array = array


def _compiled(operation: Any, arguments: Sequence[Any]) -> Program:
    """The program of an operation on arguments of these types."""
    b = Builder()
    with b.at(user_location()):
        given = []
        for place, argument in enumerate(arguments, 1):
            if place not in operation.positions or argument is None:
                given.append(argument)
            elif isinstance(argument, (list, tuple)):
                given.append([b.input(x._type) for x in argument])
            else:
                given.append(b.input(argument._type))
        results = operation.emit(b, *given)
    return make_program(b.inputs, b.nodes, results, operation.name)


def _traced(function: Callable[..., Any], arguments: Sequence[Any], into: Sequence[Any]) -> None:
    before = local.segment.mode
    set_mode(False)
    try:
        for x, value in zip(into, function(*arguments), strict=True):
            rebind(x, value)
    finally:
        set_mode(before)


def _rebound(x: TensorBase, value: TensorBase) -> None:
    before = local.segment.mode
    set_mode(False)
    try:
        rebind(x, value)
    finally:
        set_mode(before)
