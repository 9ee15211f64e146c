"""Checkpoints: a function whose intermediate values are not kept for the backward pass, but computed again in it.

What the function's operations save is packed as a number (`packing.py`). When a backward pass unpacks the first of them, the function
runs again, on its arguments behind a *barrier* (the op `barrier`): without it, value numbering would find that everything is there
already, and the compiler would compute both together. So what is computed again begins when the gradient is there that needs it.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from rustorch.errors import ArgumentError, UserError, compose
from rustorch.frontend import tree
from rustorch.frontend.base import TensorBase
from rustorch.frontend.emission import Builder, Value, operation
from rustorch.frontend.modes import enable_grad, is_grad_enabled
from rustorch.frontend.packing import saved_tensors_hooks
from rustorch.frontend.random import default_generator
from rustorch.frontend.state import local
from rustorch.frontend.trace import Trace
from rustorch.ir.types import TensorType


class CheckpointError(UserError, RuntimeError):
    """A function that computed something else when it ran again."""


@operation
def barrier(b: Builder, input: Value, after: Sequence[Value]) -> Value:
    """The tensor itself, once others are there."""
    found: Value = b.barrier(input, *after)
    return found


class _Enough(BaseException):
    """Everything that was saved is there again: the rest of the function need not run."""


class _Frame:
    """One call of a function under a checkpoint."""

    def __init__(self, function: Callable[..., Any], args: Any, preserve: bool, contexts: Any, check: bool, early_stop: bool) -> None:
        self.function, self.args = function, args
        self.contexts, self.check, self.early_stop = contexts, check, early_stop
        self.position = drawn() if preserve else None
        """Where the random numbers were when the function began."""
        self.kinds: list[TensorType] = []
        """The type of each saved tensor."""
        self.again: weakref.WeakKeyDictionary[Any, dict[int, Any]] = weakref.WeakKeyDictionary()
        """By backward pass: the saved tensors, computed again."""

    def pack(self, x: TensorBase) -> int:
        """In the place of a saved tensor, its number."""
        self.kinds.append(x._type)
        return len(self.kinds) - 1

    def unpack(self, number: int) -> Any:
        """A saved tensor, computed again."""
        walk = local.walk
        found = self.again.get(walk)
        if found is None:
            found = self.again[walk] = self.recompute([x for x in walk.at if x is not None])
        if number not in found:
            raise CheckpointError(
                compose(
                    "torch.utils.checkpoint: A different number of tensors was saved during the original forward and recomputation.",
                    f"Number of tensors saved during forward: {len(self.kinds)}",
                    f"Number of tensors saved during recomputation: {len(found)}",
                    todo="The function must compute the same when it runs again.",
                )
            )
        return found[number]

    def recompute(self, after: list[Any]) -> dict[int, Any]:
        """Run the function again, once the tensors `after` are there; the tensors that are saved on the way."""
        found: dict[int, Any] = {}

        def keep(x: TensorBase) -> None:
            number = len(found)
            if self.check and number < len(self.kinds) and x._type is not self.kinds[number]:
                raise CheckpointError(
                    compose(
                        "torch.utils.checkpoint: Recomputed values for the following tensors have different metadata than during the "
                        "forward pass.",
                        f"tensor at position {number}: saved {self.kinds[number]}, recomputed {x._type}",
                        todo="The function must compute the same when it runs again.",
                    )
                )
            found[number] = x
            if self.early_stop and len(found) == len(self.kinds):
                raise _Enough

        with contextlib.suppress(_Enough), enable_grad(), self.contexts[1], saved_tensors_hooks(keep, _unpack_never):
            leaves, structure = tree.flatten(self.args)
            behind = [_behind(x, after) for x in leaves]
            args, kwargs = tree.unflatten(structure, behind)
            with Rewound(self.position, after):
                self.function(*args, **kwargs)
        return found


def _unpack_never(_: Any) -> Any:
    raise CheckpointError("torch.utils.checkpoint: a backward pass inside of a function under a checkpoint, as it runs again")


def _behind(x: Any, after: list[Any]) -> Any:
    """An argument behind a barrier: a new leaf with the same value."""
    if not isinstance(x, TensorBase):
        return x
    made = barrier(x.detach(), after)  # type: ignore[attr-defined]
    return made.requires_grad_() if x._requires_grad else made


def drawn() -> Any:
    """How far the default generator is: in a traced function, how many numbers it draws before."""
    segment = local.segment
    if isinstance(segment, Trace):
        known = segment.generators.get(id(default_generator))
        return 0 if known is None else known[2]
    return default_generator.seed_number, default_generator.offset


class Rewound:
    """Inside, the default generator gives once more what it gave from a position on (None: it goes on)."""

    def __init__(self, position: Any, after: list[Any]) -> None:
        self.position, self.after = position, after

    def __enter__(self) -> None:
        segment, generator = local.segment, default_generator
        self.traced = segment.generators.get(id(generator)) if isinstance(segment, Trace) else None
        self.state = generator.seed_number, generator.offset
        if self.position is None:
            return
        if self.traced is not None:
            key = barrier(segment.add_view(self.traced[1]), self.after)
            segment.generators[id(generator)] = generator, key._number, self.position
        elif not isinstance(segment, Trace):
            generator.seed_number, generator.offset = self.position

    def __exit__(self, *exception: object) -> None:
        if self.position is None:
            return
        if self.traced is not None:
            local.segment.generators[id(default_generator)] = self.traced
        default_generator.seed_number, default_generator.offset = self.state


def _no_contexts() -> tuple[Any, Any]:
    return contextlib.nullcontext(), contextlib.nullcontext()


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: Callable[[], tuple[Any, Any]] = _no_contexts,
    determinism_check: str = "default",
    debug: bool = False,
    early_stop: bool = True,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """`function(*args, **kwargs)`, whose intermediate values are computed again in the backward pass instead of being kept.

    The function runs once more in each backward pass that needs what its operations save; with `preserve_rng_state` it then draws the
    same random numbers. `context_fn` gives two contexts, for the first run and for the others. `early_stop` ends those when all is
    there. Unless `determinism_check` is "none", it is an error if the types of what is saved differ. `use_reentrant` and `debug` change
    nothing: there is one way of doing it, PyTorch's `use_reentrant=False`.
    """
    if determinism_check not in ("default", "none"):
        raise ArgumentError(f"determinism_check should be one of ['default', 'none'] but got {determinism_check}")
    contexts = context_fn()
    if not is_grad_enabled():
        with contexts[0]:
            return function(*args, **kwargs)
    frame = _Frame(function, (args, kwargs), preserve_rng_state, contexts, determinism_check == "default", early_stop)
    with contexts[0], saved_tensors_hooks(frame.pack, frame.unpack):
        return function(*args, **kwargs)


def checkpoint_sequential(functions: Any, segments: int, input: Any, use_reentrant: bool | None = None, **kwargs: Any) -> Any:
    """The functions one after the other (a `Sequential`, or a list), in `segments` parts, each but the last under a checkpoint."""
    preserve = kwargs.pop("preserve_rng_state", True)
    if kwargs:
        raise ArgumentError("Unexpected keyword arguments: " + ",".join(kwargs))
    listed = list(functions.children()) if hasattr(functions, "children") else list(functions)
    if not 1 <= segments <= max(len(listed), 1):
        raise ArgumentError(f"checkpoint_sequential takes from 1 to {len(listed)} segments, not {segments}")
    size = len(listed) // segments
    last = size * (segments - 1)

    def part(start: int, end: int) -> Callable[[Any], Any]:
        def run(x: Any) -> Any:
            for function in listed[start:end]:
                x = function(x)
            return x

        return run

    for start in range(0, last, max(size, 1)):
        input = checkpoint(part(start, start + size), input, use_reentrant=use_reentrant, preserve_rng_state=preserve)
    return part(last, len(listed))(input)
