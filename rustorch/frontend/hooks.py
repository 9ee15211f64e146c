"""Hooks: functions that a backward pass calls with gradients, on tensors and on the operations behind them.

What a hook does with rustorch operations is recorded like anything else, so it is fused with the gradients around it. The order,
at an operation: hooks of the results; `retain_grad`; pre-hooks of the operation; the operation; its post-hooks. At a leaf: hooks
of the tensor; pre-hooks of `AccumulateGrad`; accumulation; post-accumulate hooks; post-hooks.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import Any

from rustorch.errors import ArgumentError, GradError, ShapeError, TraceError, compose
from rustorch.frontend.base import TensorBase
from rustorch.frontend.explain import note
from rustorch.frontend.host import call_looking
from rustorch.frontend.modes import set_grad_enabled
from rustorch.frontend.segment import Origin
from rustorch.frontend.state import defaults, local
from rustorch.frontend.storage import is_leaf
from rustorch.frontend.structure import changed
from rustorch.frontend.trace import Trace
from rustorch.ir.location import user_location

Hook = Callable[..., Any]
_ids = count()


class RemovableHandle:
    """Takes a hook away again: by `remove()`, or at the end of a `with` block."""

    def __init__(self, hooks: dict[int, Any], hook: Any, notice: Callable[[], None] | None = None, first: bool = False) -> None:
        self.id, self._hooks, self._notice = next(_ids), hooks, notice
        others = dict(hooks) if first else {}
        if first:
            hooks.clear()
        hooks[self.id] = hook
        hooks.update(others)
        if notice is not None:
            notice()

    def remove(self) -> None:
        """Take the hook away; a second call does nothing."""
        if self._hooks.pop(self.id, None) is not None and self._notice is not None:
            self._notice()

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


class Observers:
    """What is attached to one operation, or to the accumulation into one leaf."""

    def __init__(self) -> None:
        self.before: dict[int, Hook] = {}
        """Pre-hooks: `hook(grad_outputs)`."""
        self.after: dict[int, Hook] = {}
        """Post-hooks: `hook(grad_inputs, grad_outputs)`."""
        self.metadata: dict[Any, Any] = {}
        self.shown: weakref.ref[Any] | None = None
        """The node that stands for the operation, while somebody holds it."""


# --- Registration -----------------------------------------------------------------------------------------------------


def place_of(x: TensorBase) -> Origin:
    """The segment, and the number in it, of a tensor with a history."""
    return x._origin or (x._segment, x._number)


def register_hook(input: TensorBase, hook: Hook) -> RemovableHandle:
    """Call `hook(gradient)` whenever the gradient at the tensor is complete; what it returns, if not None, goes on instead."""
    if not input._requires_grad:
        raise GradError(
            compose(
                "cannot register a hook on a tensor that doesn't require gradient",
                todo="Set requires_grad=True on the leaves that it is computed from, before they are used.",
            )
        )
    defaults.hooked = True
    if is_leaf(input):
        return RemovableHandle(input._more().hooks, hook, changed)
    segment, number = place_of(input)
    return RemovableHandle(segment.hooks.setdefault(number, {}), hook)


def register_post_accumulate_grad_hook(input: TensorBase, hook: Hook) -> RemovableHandle:
    """Call `hook(tensor)` whenever `backward` has added to the `.grad` of a leaf."""
    if not input._requires_grad:
        raise GradError(
            compose(
                "cannot register a hook on a tensor that doesn't require gradient",
                todo="Set requires_grad=True on the tensor first.",
            )
        )
    if not is_leaf(input):
        raise GradError(
            compose(
                "post accumulate grad hooks cannot be registered on non-leaf tensors",
                "gradients accumulate in leaves only",
                todo="Use register_hook, which sees the gradient of any tensor.",
            )
        )
    defaults.hooked = True
    return RemovableHandle(input._more().after, hook, changed)


def retain_grad(input: TensorBase) -> None:
    """Let `backward` leave the gradient of a computed tensor in its `.grad`."""
    if not input._requires_grad:
        raise GradError(compose("can't retain_grad on Tensor that has requires_grad=False"))
    if is_leaf(input):
        return
    defaults.hooked = True
    input._more().retains = True
    segment, number = place_of(input)
    segment.retained[number] = weakref.ref(input)


class MultiHandle:
    """Takes the hooks of several tensors away together."""

    def __init__(self, handles: Sequence[RemovableHandle]) -> None:
        self.handles = tuple(handles)

    def remove(self) -> None:
        """Take the hooks away."""
        for handle in self.handles:
            handle.remove()

    def __enter__(self) -> MultiHandle:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


def register_multi_grad_hook(tensors: Sequence[TensorBase], fn: Hook, *, mode: str = "all") -> MultiHandle:
    """Call `fn` once in a backward pass that reaches some of the tensors.

    With mode "all", `fn(gradients)` is called when the last of those gradients that the pass computes is there; the list has None
    for the others. With mode "any", `fn(gradient)` is called with the first one. What it returns is ignored.
    """
    if mode not in ("all", "any"):
        raise ArgumentError(f"Expects mode to be one of ('all', 'any') but got {mode}")
    for x in tensors:
        if not x._requires_grad:
            raise AssertionError("Expected gradient function to be set")
    lock = threading.Lock()
    calls: weakref.WeakKeyDictionary[Any, list[Any]] = weakref.WeakKeyDictionary()
    """By pass: the gradients so far, None for those that are missing, and last how many are to come."""

    def seen(place: int, gradient: Any) -> None:
        walk = local.walk
        if walk is None:
            raise TraceError(
                compose(
                    "gradients from outside would meet a hook on several tensors inside a traced function",
                    todo="Take the gradients inside of the function, or put hooks on the tensors one by one (register_hook).",
                )
            )
        with lock:
            found = calls.get(walk)
            if found is None:
                waiting = sum(walk.will_reach(x) for x in tensors) if mode == "all" else 1
                found = calls[walk] = [*[None] * len(tensors), waiting]
            found[place] = gradient
            found[-1] -= 1
            waiting = found[-1]
        if waiting == 0:
            segment = local.segment
            looks = getattr(segment, "looks", None)
            if looks is not None:
                segment.looks = None  # it sees gradients that came earlier: none of them would be there in a later call
            fn(gradient if mode == "any" else found[:-1])
            if looks is not None:
                segment.looks = looks

    def hook_of(place: int) -> Hook:
        return lambda gradient: seen(place, gradient)

    return MultiHandle([register_hook(x, hook_of(i)) for i, x in enumerate(tensors)])


# --- Calls ------------------------------------------------------------------------------------------------------------


def name_of(hook: Hook) -> str:
    """The hook's name, as errors have it."""
    return str(getattr(hook, "__name__", type(hook).__name__))


def checked(hook: Hook, gradient: Any, answer: Any) -> Any:
    """A hook's answer in the place of a gradient, refused where its kind, size or element type is another."""
    if not isinstance(answer, TensorBase):
        raise ArgumentError(f"expected Variable, but hook returned '{type(answer).__name__}'")
    if gradient is None:
        return answer
    if answer._type.dtype is not gradient._type.dtype:
        was, got = gradient._type.dtype.name, answer._type.dtype.name
        raise ShapeError(f"hook '{name_of(hook)}' has changed the type of value (was {was} got {got})")
    if answer._type.shape != gradient._type.shape:
        raise ShapeError(
            compose(
                f"hook '{name_of(hook)}' has changed the size of value",
                f"the gradient has shape {list(gradient._type.shape)}, the hook returned {list(answer._type.shape)}",
            )
        )
    return answer


def call_tensor_hooks(hooks: Iterable[Hook], gradient: Any, create: bool) -> Any:
    """The gradient after all hooks of a tensor: each may answer with another one. A gradient that is not defined is None."""
    hooks = list(hooks)
    if not hooks:
        return gradient
    with set_grad_enabled(create):
        for hook in hooks:
            answer = call_hook(hook, (gradient,), create)
            if answer is not None:
                gradient = checked(hook, gradient, answer)
    return gradient


def call_node_hooks(hooks: Iterable[Hook], gradients: tuple[Any, ...], others: tuple[Any, ...], create: bool) -> tuple[Any, ...]:
    """The gradients after hooks of an operation, which are called with them and with `others`, and may answer with a tuple."""
    hooks = list(hooks)
    if not hooks:
        return gradients
    with set_grad_enabled(create):
        for hook in hooks:
            answer = call_hook(hook, (gradients, *others), create)
            if answer is None:
                continue
            if not isinstance(answer, tuple):
                raise ArgumentError(f"expected tuple, but hook returned '{type(answer).__name__}'")
            if len(answer) != len(gradients):
                raise ShapeError(
                    f"hook '{name_of(hook)}' has returned an incorrect number of values (got {len(answer)}, but expected {len(gradients)})"
                )
            gradients = tuple(None if new is None else checked(hook, old, new) for old, new in zip(gradients, answer, strict=True))
    return gradients


def call_accumulate_hooks(x: TensorBase, hooks: Iterable[Hook], create: bool) -> None:
    """Call the hooks that run after accumulation into a leaf."""
    hooks = list(hooks)
    if not hooks:
        return
    with set_grad_enabled(create):
        for hook in hooks:
            answer = hook(x)
            if answer is not None:
                raise ArgumentError(f"post accumulate grad hooks should return None, but hook returned '{type(answer).__name__}'")


def call_hook(hook: Hook, given: tuple[Any, ...], create: bool) -> Any:
    """What a hook answers. One that looks at numbers cuts the program: where one is recorded, it ends; for traces see `host.py`."""
    segment = local.segment
    if isinstance(segment, Trace):
        return call_looking(segment, hook, given, create)
    answer = hook(*given)
    if local.segment is not segment:
        note("backward program cut", user_location(), f"the hook {name_of(hook)} looked at numbers", "segments")
    return answer


__all__ = ["Hook", "Observers", "RemovableHandle"]
