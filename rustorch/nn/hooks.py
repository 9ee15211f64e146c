"""Hooks of modules: functions that see, and may replace, what goes in and out of `forward`, and the gradients of both.

A backward hook is made of hooks on tensors: the module's inputs and outputs are passed through an identity each, whose gradients
are the module's own, whatever else uses the tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import Any

from rustorch import Tensor
from rustorch.errors import ArgumentError, Unsupported

Hook = Callable[..., Any]
_ids = count()


class RemovableHandle:
    """Takes a hook away again: by `remove()`, or at the end of a `with` block."""

    def __init__(self, hooks: dict[int, Any], hook: Any, changed: Callable[[], None], first: bool = False) -> None:
        self.id, self._hooks, self._changed = next(_ids), hooks, changed
        others = dict(hooks) if first else {}
        if first:
            hooks.clear()
        hooks[self.id] = hook
        hooks.update(others)

    def remove(self) -> None:
        """Take the hook away; a second call does nothing."""
        if self._hooks.pop(self.id, None) is not None:
            self._changed()

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


class Hooks:
    """The hooks of one module, by kind. Those of `before` and `after` come with whether they take keyword arguments."""

    def __init__(self) -> None:
        self.before: dict[int, tuple[Hook, bool]] = {}
        self.after: dict[int, tuple[Hook, bool, bool]] = {}
        """Of the third entry are those that are called even where `forward` raises."""
        self.before_backward: dict[int, Hook] = {}
        self.backward: dict[int, Hook] = {}
        self.is_full: bool | None = None
        """Whether the backward hooks were registered as full ones; None where there were none."""

    def call(self, module: Any, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """`forward`, between the hooks."""
        result, done = None, False
        try:
            for hook, takes_kwargs in list(self.before.values()):
                args, kwargs = _replaced(hook, takes_kwargs, module, args, kwargs)
            gradients = Gradients(self, module) if self.backward or self.before_backward else None
            if gradients is not None:
                args = gradients.enter(args)
            result = forward(*args, **kwargs)
            for hook, takes_kwargs, _ in list(self.after.values()):
                answer = hook(module, args, kwargs, result) if takes_kwargs else hook(module, args, result)
                result = result if answer is None else answer
            done = True
            return result if gradients is None else gradients.leave(result)
        finally:
            if not done:
                for hook, takes_kwargs, always in list(self.after.values()):
                    if always:
                        _ = hook(module, args, kwargs, result) if takes_kwargs else hook(module, args, result)


def _replaced(
    hook: Hook, takes_kwargs: bool, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if not takes_kwargs:
        answer = hook(module, args)
        return args if answer is None else answer if isinstance(answer, tuple) else (answer,), kwargs
    answer = hook(module, args, kwargs)
    if answer is None:
        return args, kwargs
    if not isinstance(answer, tuple) or len(answer) != 2:
        raise ArgumentError(f"forward pre-hook must return None or a tuple of (new_args, new_kwargs), but got {answer}.")
    return answer[0], answer[1]


class Gradients:
    """The gradients of one call of a module, gathered until all are there; then the backward hooks are called."""

    def __init__(self, hooks: Hooks, module: Any) -> None:
        self.hooks, self.module = hooks, module
        self.inputs: list[Any] = []
        """The gradient of each input, as far as they are there."""
        self.outputs: list[Any] = []
        self.waiting_inputs = self.waiting_outputs = 0

    def enter(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The inputs, tensors that require gradients through an identity that reports their gradients."""
        passed, self.waiting_inputs = _reported(args, self.inputs, self._input)
        return tuple(passed)

    def leave(self, result: Any) -> Any:
        """The outputs, through an identity that reports their gradients."""
        results = result if isinstance(result, tuple) else (result,)
        passed, self.waiting_outputs = _reported(results, self.outputs, self._output)
        return type(result)(passed) if type(result) is tuple else result if isinstance(result, tuple) else passed[0]

    def _output(self, place: int, gradient: Any) -> Any:
        self.outputs[place] = gradient
        self.waiting_outputs -= 1
        if self.waiting_outputs:
            return None
        for hook in list(self.hooks.before_backward.values()):
            answer = hook(self.module, tuple(self.outputs))
            if answer is not None:
                self.outputs = list(_as_many(answer, self.outputs, place, "outputs"))
        if not self.waiting_inputs:  # nothing but parameters wants gradients
            self._finish(None)
        return self.outputs[place]

    def _input(self, place: int, gradient: Any) -> Any:
        self.inputs[place] = gradient
        self.waiting_inputs -= 1
        return gradient if self.waiting_inputs else self._finish(place)

    def _finish(self, place: int | None) -> Any:
        for hook in list(self.hooks.backward.values()):
            answer = hook(self.module, tuple(self.inputs), tuple(self.outputs))
            if answer is not None:
                self.inputs = list(_as_many(answer, self.inputs, place, "inputs"))
        return None if place is None else self.inputs[place]


def _reported(values: Sequence[Any], gradients: list[Any], report: Callable[[int, Any], Any]) -> tuple[list[Any], int]:
    """The values, tensors that require gradients through an identity whose gradient goes to `report(place, gradient)`; and how
    many those are. `gradients` gets a place for every tensor."""
    passed, waiting = [], 0
    for x in values:
        if isinstance(x, Tensor) and x.requires_grad:
            x = x.clone()
            x.register_hook(partial(report, len(gradients)))
            waiting += 1
        if isinstance(x, Tensor):
            gradients.append(None)
        passed.append(x)
    return passed, waiting


def _as_many(found: Any, known: list[Any], place: int | None, what: str) -> tuple[Any, ...]:
    """A hook's answer as a tuple; only the gradient that arrived last can still be replaced."""
    answer: tuple[Any, ...] = found if isinstance(found, tuple) else (found,)
    if len(answer) != len(known):
        raise ArgumentError(f"Backward hook returned an invalid number of grad_input, got {len(answer)}, but expected {len(known)}")
    for i, (new, old) in enumerate(zip(answer, known, strict=True)):
        if new is not old and i != place:
            raise Unsupported(f"a backward hook replaces the gradients of a module with one tensor among its {what} only")
    return answer
