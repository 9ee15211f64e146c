"""Operations that run at once, as programs of their own, and write over tensors: the steps of optimisers.

In a loop the same operation runs again and again on the same tensors, which have their elements, and on a few new ones. So
nothing is recorded: the elements go to the compiled program directly, and its results become the elements of the tensors that
are written. When a call repeats, all of this becomes one native entry, which knows the tensors that stay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rustorch.artifact import Result, Source
from rustorch.frontend.base import TensorBase, concrete, looked_into
from rustorch.frontend.entry import CONCRETE, entry_of
from rustorch.frontend.modes import no_grad
from rustorch.frontend.program import Program, make_program
from rustorch.frontend.state import defaults, local
from rustorch.frontend.storage import rebind
from rustorch.ir.builder import Builder
from rustorch.ir.location import user_location

COMPUTED = (("_segment", "none"),)
"""Slots of a tensor that has its elements."""
ALONE = (*COMPUTED, ("_extra", "none"))
"""Those of one that is neither a view, nor viewed, nor known to numpy."""


class Advance:
    """Calls of one operation that write its results over the tensors `into`. What is written is no part of any gradient.

    `arguments` are all arguments of the operation, in order, but for the sequence of tensors at `place`: each call gives it.
    The first `visible` of `into` are those that users see: their writes are counted, and they may have views.
    """

    def __init__(self, function: Any, arguments: Sequence[Any], place: int, into: Sequence[Any], visible: int) -> None:
        self.function, self.arguments, self.place, self.into = function, list(arguments), place, list(into)
        self.visible, self.inner = self.into[:visible], self.into[visible:]
        positions = [i - 1 for i in function.operation.positions]
        self.before = _tensors(arguments[i] for i in positions if i < place)
        self.after = _tensors(arguments[i] for i in positions if i > place)
        self.programs: dict[Any, Program] = {}
        self.last: Any = None
        """The types of the last call in the general way."""
        self.entry: Callable[..., Any] = self._run

    def __call__(self, given: Sequence[Any]) -> None:
        """Write the operation's results. An observation point; inside a traced function it is recorded."""
        segment = local.segment
        if not segment.writes_memory:
            self._record(given)
            return
        if segment.count:
            segment.close("an optimiser's step")
        entry = self.entry
        for x in self.visible:
            extra = x._extra
            if extra is None:
                extra = x._more()
            elif extra.views or extra.exposed or extra.shared or extra.base is not None:
                entry = self._run
            extra.version += 1
        entry(*given)

    def _record(self, given: Sequence[Any]) -> None:
        with no_grad():
            for x, value in zip(self.into, self.function(*self._filled(given)), strict=True):
                rebind(x, value)

    def _filled(self, given: Any) -> list[Any]:
        arguments = self.arguments.copy()
        arguments[self.place] = given
        return arguments

    def _run(self, *given: Any) -> None:
        """The general way. The native entry takes it too, where it finds something unexpected."""
        tensors = [*self.before, *given, *self.after]
        kind = (defaults.dtype, *[x._type for x in tensors])
        program = self.programs.get(kind)
        if program is None:
            program = self.programs[kind] = self._compiled(given)
        results = program.run([x._elements() for x in tensors])
        for x, array in zip(self.into, results, strict=True):
            extra = x._extra
            if extra is not None and (extra.views or extra.base is not None or looked_into(x)):
                with no_grad():  # it may be one that gradients are wanted at
                    rebind(x, concrete(array, x._type))
            else:
                x._array = array
        for x in self.inner:
            if x._extra is not None and not x._extra.views:
                x._extra = None
        if self.last == kind and self.entry == self._run:
            self.entry = self._native(program, len(given)) or self._run
        self.last = kind

    def _compiled(self, given: Sequence[Any]) -> Program:
        """The program for arguments of these types."""
        b = Builder()
        with b.at(user_location()):
            filled = self._filled(given)
            for position in self.function.operation.positions:
                argument = filled[position - 1]
                if isinstance(argument, (list, tuple)):
                    filled[position - 1] = [b.input(x._type) for x in argument]
                elif argument is not None:
                    filled[position - 1] = b.input(argument._type)
            results = self.function.emit(b, *filled)
        return make_program(b.inputs, b.nodes, results, self.function.operation.name)

    def _native(self, program: Program, given: int) -> Callable[..., Any] | None:
        """The builtin for calls like the last one; None where there is none."""
        compiled = program.compiled
        if compiled is None or compiled.artifact is None or program.copied or not all(computed for computed, _ in program.outputs):
            return None
        captured = [*self.before, *self.after]
        place_of = {id(x): i for i, x in enumerate(captured)}
        first = len(self.before)
        inner = {id(x) for x in self.inner}
        sources = []
        for place in program.inputs:
            if first <= place < first + given:
                sources.append(Source("tensor", place - first, CONCRETE))
            else:
                place -= given if place >= first else 0
                sources.append(Source("captured", place, ALONE if id(captured[place]) in inner else COMPUTED))
        written = {output: place_of[id(x)] for x, (_, output) in zip(self.into, program.outputs, strict=True)}
        results = [Result("captured", written[i], COMPUTED) for i in range(len(program.outputs))]
        return entry_of(program, given, sources, results, self._run, captured)


def _tensors(arguments: Any) -> list[TensorBase]:
    found: list[TensorBase] = []
    for argument in arguments:
        if argument is not None:
            found += argument if isinstance(argument, (list, tuple)) else (argument,)
    return found
