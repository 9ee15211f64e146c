"""Hooks of modules: functions that see, and may replace, what goes in and out of `forward`, and the gradients of both.

A backward hook is a hook on nodes of the graph: the module's inputs pass through one node, its outputs through another. So the hook
sees the module's own gradients, whatever else uses the tensors, and can replace all of them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from rustorch import Tensor, changed, zeros_like
from rustorch.autograd import RemovableHandle
from rustorch.autograd.graph import through
from rustorch.errors import ArgumentError, ShapeError

Hook = Callable[..., Any]


class Hooks:
    """The hooks of one module, or of all, by kind. Those of `before` and `after` come with whether they take keyword arguments."""

    def __init__(self) -> None:
        self.before: dict[int, tuple[Hook, bool]] = {}
        self.after: dict[int, tuple[Hook, bool, bool]] = {}
        """Of the third entry are those that are called even where `forward` raises."""
        self.before_backward: dict[int, Hook] = {}
        self.backward: dict[int, Hook] = {}
        self.is_full: bool | None = None
        """Whether the backward hooks were registered as full ones; None where there were none."""
        self.changes = 0
        """Grows with every hook that comes or goes."""

    def change(self) -> None:
        """Let traced programs know that the hooks are others."""
        self.changes += 1
        changed()

    def __bool__(self) -> bool:
        return bool(self.before or self.after or self.before_backward or self.backward)

    def register_backward(self, hook: Hook, full: bool, notice: Callable[[], None], prepend: bool) -> RemovableHandle:
        """Add a backward hook."""
        if self.backward and self.is_full is not full:
            raise ShapeError(
                "Cannot use both regular backward hooks and full backward hooks on a single Module. Please use only one of them."
            )
        self.is_full = full
        return RemovableHandle(self.backward, hook, notice, prepend)


EVERYWHERE = Hooks()
"""The hooks of all modules."""
_NONE = Hooks()


def call_with_hooks(
    module: Any, own: Hooks | None, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """`forward`, between the hooks of all modules and those of its own."""
    hooks = (EVERYWHERE, own or _NONE)
    called: set[int] = set()
    result = None
    try:
        for hook, takes_kwargs in [h for each in hooks for h in each.before.values()]:
            args, kwargs = _replaced(hook, takes_kwargs, module, args, kwargs)
        gradients = Gradients(module, hooks) if any(each.backward or each.before_backward for each in hooks) else None
        if gradients is not None:
            args = gradients.enter(args)
        result = forward(*args, **kwargs)
        for number, (hook, takes_kwargs, _) in [h for each in hooks for h in each.after.items()]:
            called.add(number)
            answer = hook(module, args, kwargs, result) if takes_kwargs else hook(module, args, result)
            result = result if answer is None else answer
        return result if gradients is None else gradients.leave(result)
    except Exception:
        for number, (hook, takes_kwargs, always) in [h for each in hooks for h in each.after.items()]:
            if always and number not in called:
                _call_anyway(hook, takes_kwargs, module, args, kwargs, result)
        raise


def _call_anyway(hook: Hook, takes_kwargs: bool, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
    """Call a hook while an error is on its way; an error of its own becomes a warning."""
    try:
        _ = hook(module, args, kwargs, result) if takes_kwargs else hook(module, args, result)
    except Exception as error:
        warnings.warn(f"module forward hook with ``always_call=True`` raised an exception that was silenced: {error}", stacklevel=4)


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
    """The gradients of one call of a module, and the hooks that see them."""

    def __init__(self, module: Any, hooks: Sequence[Hooks]) -> None:
        self.module = module
        self.before = [h for each in hooks for h in each.before_backward.values()]
        self.hooks = [h for each in hooks for h in each.backward.values()]
        self.inputs: tuple[Any, ...] = ()
        """The positional arguments."""
        self.passed: list[int] = []
        """Which of them require gradients."""
        self.outputs: tuple[Any, ...] | None = None
        """The gradients of the outputs, from when they are there until the hooks are called."""

    def enter(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The inputs; those that require gradients have passed through a node that calls the hooks."""
        self.inputs = args
        self.passed, values, node = _through(args)
        if node is not None and self.hooks:
            node.register_hook(self._at_inputs)
        return values

    def leave(self, result: Any) -> Any:
        """The outputs; those that require gradients have passed through a node that notes their gradients."""
        if not isinstance(result, (Tensor, tuple)):
            warnings.warn(
                "For backward hooks to be called, module output should be a Tensor or a tuple of Tensors but received "
                f"{type(result)}",
                stacklevel=4,
            )
            return result
        results = result if isinstance(result, tuple) else (result,)
        places, values, node = _through(results)
        if node is None:
            return result
        node.register_hook(lambda _, gradients: self._at_outputs(places, gradients, len(results)))
        if not isinstance(result, tuple):
            return values[0]
        return type(result)(*values) if hasattr(result, "_fields") else values

    def _at_outputs(self, places: list[int], gradients: tuple[Any, ...], count: int) -> tuple[Any, ...]:
        outputs = _spread(places, gradients, count)
        for hook in self.before:
            answer = hook(self.module, outputs)
            if answer is not None:
                outputs = _as_many(answer, outputs, "Backward pre hook", "grad_output")
        if self.passed:
            self.outputs = outputs
        elif self.hooks:
            self._without_inputs(outputs)
        return tuple(outputs[i] for i in places)

    def _without_inputs(self, outputs: tuple[Any, ...]) -> None:
        """Call the hooks where nothing but parameters wants gradients."""
        warnings.warn(
            "Full backward hook is firing when gradients are computed with respect to module outputs since no inputs require gradients.",
            stacklevel=2,
        )
        for hook in self.hooks:
            answer = hook(self.module, (None,) * len(self.inputs), outputs)
            if answer is not None and not (isinstance(answer, tuple) and all(g is None for g in answer)):
                raise ShapeError(
                    "Backward hook for Modules where no input requires gradient should always return None or None for all gradients."
                )

    def _at_inputs(self, _: tuple[Any, ...], gradients: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if self.outputs is None:  # gradients that did not come through the module's outputs
            return None
        defined = [zeros_like(self.inputs[i]) if g is None else g for i, g in zip(self.passed, gradients, strict=True)]
        inputs = _spread(self.passed, defined, len(self.inputs))
        outputs, self.outputs = self.outputs, None
        for hook in self.hooks:
            answer = hook(self.module, inputs, outputs)
            if answer is not None:
                inputs = _as_many(answer, inputs, "Backward hook", "grad_input")
        return tuple(inputs[i] for i in self.passed)


def _through(values: tuple[Any, ...]) -> tuple[list[int], tuple[Any, ...], Any]:
    """Which values are tensors that require gradients; the values, those passed through one node; and the node, if there are any."""
    places = [i for i, x in enumerate(values) if isinstance(x, Tensor) and x.requires_grad]
    if not places:
        return [], values, None
    passed = dict(zip(places, through([values[i] for i in places]), strict=True))
    node = passed[places[0]].grad_fn
    if node is None:  # gradients are not recorded
        return [], values, None
    return places, tuple(passed.get(i, x) for i, x in enumerate(values)), node


def _spread(places: Sequence[int], gradients: Sequence[Any], count: int) -> tuple[Any, ...]:
    """The gradients at their places, None elsewhere."""
    at = dict(zip(places, gradients, strict=True))
    return tuple(at.get(i) for i in range(count))


def _as_many(found: Any, known: tuple[Any, ...], hook: str, what: str) -> tuple[Any, ...]:
    """A hook's answer as a tuple of as many gradients; a single one may come without a tuple."""
    answer = found if isinstance(found, tuple) else (found,)
    if len(answer) != len(known):
        raise ShapeError(f"{hook} returned an invalid number of {what}, got {len(answer)}, but expected {len(known)}")
    return answer


# --- Hooks of all modules ---------------------------------------------------------------------------------------------


def register_module_forward_pre_hook(hook: Hook) -> RemovableHandle:
    """Call `hook(module, args)` before the `forward` of every module, and before the module's own hooks."""
    return RemovableHandle(EVERYWHERE.before, (hook, False), EVERYWHERE.change)


def register_module_forward_hook(hook: Hook, *, with_kwargs: bool = False, always_call: bool = False) -> RemovableHandle:
    """Call `hook(module, args, output)` after the `forward` of every module, and before the module's own hooks."""
    return RemovableHandle(EVERYWHERE.after, (hook, with_kwargs, always_call), EVERYWHERE.change)


def register_module_full_backward_pre_hook(hook: Hook) -> RemovableHandle:
    """Call `hook(module, grad_output)` for every module, and before the module's own hooks."""
    return RemovableHandle(EVERYWHERE.before_backward, hook, EVERYWHERE.change)


def register_module_full_backward_hook(hook: Hook) -> RemovableHandle:
    """Call `hook(module, grad_input, grad_output)` for every module, and before the module's own hooks."""
    return EVERYWHERE.register_backward(hook, True, EVERYWHERE.change, False)


def register_module_backward_hook(hook: Hook) -> RemovableHandle:
    """As `register_module_full_backward_hook`: gradients are those of whole modules."""
    return EVERYWHERE.register_backward(hook, False, EVERYWHERE.change, False)
