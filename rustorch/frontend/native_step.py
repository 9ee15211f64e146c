"""The short way into a jitted function with effects, such as a training step: one native entry, and a little Python around it.

The entry reads the tensors from outside where they are and puts the new elements of those that are written into them. The rest
is done here: gradients become the `.grad` of their tensors, counts of writes grow, random generators move on. What the entry
does not expect (another type, a value that is not computed yet) goes the general way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rustorch.artifact import Result, Source
from rustorch.frontend import tree
from rustorch.frontend.base import TensorBase
from rustorch.frontend.entry import CONCRETE, argument, entry_of, new_tensor
from rustorch.frontend.program import Program
from rustorch.frontend.state import local
from rustorch.frontend.trace import Output, Outside, Traced

_DECLINED = object()


def _decline(*_: Any, **__: Any) -> Any:
    return _DECLINED


def native_step(
    program: Program, traced: Traced, leaves: Sequence[Any], mode: bool, general: Callable[..., Any]
) -> Callable[..., Any] | None:
    """A function for calls like the one with these argument leaves; None where the traced function is not of the kind."""
    if not _is_fit(program, traced, leaves):
        return None
    plan = _Plan(program, traced, leaves)
    entry = plan.entry()
    if entry is None:
        return None
    guards, structure = traced.guards, traced.structure
    written, draws, gradients, answers, single = plan.written, plan.draws, plan.gradients, plan.answers, plan.single
    moving = plan.moving

    def step(*args: Any, **kwargs: Any) -> Any:
        segment = local.segment
        if segment.mode is not mode or not segment.writes_memory or kwargs:
            return general(*args, **kwargs)
        for x, has in guards:
            if (x._grad is not None) is not has:
                return general(*args)
        for x in written:
            extra = x._extra
            if extra is None:
                x._more()
            elif extra.views or extra.exposed or extra.shared or extra.base is not None:
                return general(*args)
        more = [x._grad for x in moving]
        for generator, _ in draws:
            more.append(np.array((generator.seed_number, generator.offset), np.int64))
        found = entry(*args, *more) if more else entry(*args)
        if found is _DECLINED:
            return general(*args)
        for generator, count in draws:
            generator.offset += count
        for x in written:
            x._extra.version += 1  # type: ignore[union-attr]
        for x, place in gradients:
            x._grad = None if place is None else found[place]
        if single is not None:
            return found[single]
        return tree.unflatten(structure, [found[x] if kind else x for kind, x in answers])

    return step


def _is_fit(program: Program, traced: Traced, leaves: Sequence[Any]) -> bool:
    if program.compiled is None or program.compiled.artifact is None or program.copied or traced.leaked:
        return False
    if not all(computed for computed, _ in program.outputs) or len(leaves) != traced.arguments:
        return False
    if len(program.inputs) != traced.arguments + len(traced.outside):
        return False  # an argument, or a tensor from outside, without a check
    if not all(isinstance(target, Outside) and not target.gradient for target, _ in traced.written):
        return False
    if not all(isinstance(owner, TensorBase) and (new is None or isinstance(new, Output)) for owner, new in traced.grads):
        return False
    uses = [o.index for _, o in traced.written] + [g.index for _, g in traced.grads if isinstance(g, Output)]
    uses += [x.index for x in traced.leaves if isinstance(x, Output)]
    if sorted(uses) != list(range(len(program.outputs))):
        return False
    outside = [o.tensor for o in traced.outside if isinstance(o, Outside) and not o.gradient]
    return all(t._origin is None for t in outside) and all(argument(x, k) is not None for k, x in enumerate(leaves))


class _Plan:
    """What the entry is told, and what is left to do around it."""

    def __init__(self, program: Program, traced: Traced, leaves: Sequence[Any]) -> None:
        self.program, self.traced, self.leaves = program, traced, leaves
        outside = list(enumerate(traced.outside, traced.arguments))
        self.captured = [o.tensor for _, o in outside if isinstance(o, Outside) and not o.gradient]
        fixed = [place for place, o in outside if isinstance(o, Outside) and not o.gradient]
        gradients = [(place, o.tensor) for place, o in outside if isinstance(o, Outside) and o.gradient]
        draws = [(place, o) for place, o in outside if not isinstance(o, Outside)]
        self.moving = [x for _, x in gradients]
        self.draws = [o for _, o in draws]
        self.captured_at = {place: i for i, place in enumerate(fixed)}
        extra = [place for place, _ in (*gradients, *draws)]
        self.argument_at = {place: len(leaves) + i for i, place in enumerate(extra)}
        self.extra = len(extra)
        self.draw_places = {place for place, _ in draws}
        self.written = [target.tensor for target, _ in traced.written if isinstance(target, Outside)]
        order = [x.index for x in traced.leaves if isinstance(x, Output)]
        order += [g.index for _, g in traced.grads if isinstance(g, Output)]
        self.place = {index: i for i, index in enumerate(order)}
        self.gradients: list[tuple[TensorBase, int | None]] = [
            (owner, self.place[g.index] if isinstance(g, Output) else None) for owner, g in traced.grads if isinstance(owner, TensorBase)
        ]
        self.answers = [(True, self.place[x.index]) if isinstance(x, Output) else (False, x) for x in traced.leaves]
        self.single = self.answers[0][1] if traced.structure is tree.LEAF and self.answers[0][0] else None

    def source(self, place: int) -> Source:
        """Where an input of the graph comes from."""
        if place < self.traced.arguments:
            found = argument(self.leaves[place], place)
            assert found is not None, "`_is_fit` has looked at the arguments"
            return found
        if place in self.captured_at:
            index = self.captured_at[place]
            flag = "true" if self.captured[index]._requires_grad else "false"
            return Source("captured", index, (("_segment", "none"), ("_requires_grad", flag)))
        kind = "array" if place in self.draw_places else "tensor"
        return Source(kind, self.argument_at[place], () if kind == "array" else CONCRETE)

    def entry(self) -> Callable[..., Any] | None:
        """The builtin, which answers with a tuple of the results and the gradients."""
        output_at = {place: index for index, (_, place) in enumerate(self.program.outputs)}
        captured = {id(x): i for i, x in enumerate(self.captured)}
        target_of = {o.index: target.tensor for target, o in self.traced.written if isinstance(target, Outside)}
        if any(id(x) not in captured for x in target_of.values()):
            return None  # written without being read
        results = []
        for k in range(len(self.program.outputs)):
            index = output_at[k]
            if index in target_of:
                results.append(Result("captured", captured[id(target_of[index])], (("_segment", "none"),)))
            else:
                results.append(new_tensor(self.program, k, self.place[index]))
        sources = [self.source(place) for place in self.program.inputs]
        return entry_of(self.program, len(self.leaves) + self.extra, sources, results, _decline, self.captured, as_tuple=True, epoch=True)
