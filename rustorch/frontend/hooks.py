"""Hooks on tensors, `retain_grad`, and what `grad_fn` tells of the graph."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

from rustorch.errors import GradError, compose
from rustorch.frontend.base import TensorBase
from rustorch.frontend.storage import is_leaf

Hook = Callable[[Any], Any]
_ids = count()


class RemovableHandle:
    """Takes a hook away again: by `remove()`, or at the end of a `with` block."""

    def __init__(self, hooks: dict[int, Hook], hook: Hook) -> None:
        self.id = next(_ids)
        self._hooks = hooks
        hooks[self.id] = hook

    def remove(self) -> None:
        """Take the hook away; a second call does nothing."""
        self._hooks.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


def place_of(x: TensorBase) -> tuple[Any, int]:
    """The segment, and the number in it, of a tensor with a history."""
    return x._origin or (x._segment, x._number)


def register_hook(input: TensorBase, hook: Hook) -> RemovableHandle:
    """Call `hook(gradient)` whenever the gradient at the tensor is complete; what it returns, if not None, goes on instead."""
    if not input._requires_grad:
        raise GradError("cannot register a hook on a tensor that doesn't require gradient")
    if is_leaf(input):
        return RemovableHandle(input._more().hooks, hook)
    segment, number = place_of(input)
    return RemovableHandle(segment.hooks.setdefault(number, {}), hook)


def register_post_accumulate_grad_hook(input: TensorBase, hook: Hook) -> RemovableHandle:
    """Call `hook(tensor)` whenever `backward` has added to the `.grad` of a leaf."""
    if not input._requires_grad:
        raise GradError("cannot register a hook on a tensor that doesn't require gradient")
    if not is_leaf(input):
        raise GradError("post accumulate grad hooks cannot be registered on non-leaf tensors")
    return RemovableHandle(input._more().after, hook)


def retain_grad(input: TensorBase) -> None:
    """Let `backward` leave the gradient of a computed tensor in its `.grad`."""
    if not input._requires_grad:
        raise GradError(compose("can't retain_grad on Tensor that has requires_grad=False"))
    if is_leaf(input):
        return
    segment, number = place_of(input)
    segment.retained[number] = input
    input._more().retains = True


class Node:
    """The operation behind a tensor, as `grad_fn` shows it."""

    def __init__(self, segment: Any, number: int) -> None:
        self._segment, self._number = segment, number

    def name(self) -> str:
        """The operation's name, such as `MulBackward0`."""
        operation, _ = self._segment.operation_of(self._number)
        words = operation.name.replace(".", "_").split("_")
        return "".join(w[:1].upper() + w[1:] for w in words) + "Backward0"

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        """The nodes that gradients go on to, each with the number of the result that they come in at."""
        operation, key = self._segment.operation_of(self._number)
        return tuple((node_at(self._segment, n), 0) for n in operation.operands(key))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and (self._segment, self._number) == (other._segment, other._number)

    def __hash__(self) -> int:
        return hash((id(self._segment), self._number))

    def __repr__(self) -> str:
        return f"<{self.name()} object at {hex(id(self._segment) + self._number)}>"


class AccumulateGrad:
    """Where gradients end: at the leaf `variable`."""

    def __init__(self, variable: TensorBase) -> None:
        self.variable = variable
        self.next_functions: tuple[()] = ()

    def name(self) -> str:
        """The class's name, as PyTorch's."""
        return "AccumulateGrad"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AccumulateGrad) and self.variable is other.variable

    def __hash__(self) -> int:
        return id(self.variable)


def node_at(segment: Any, number: int) -> Any:
    """The node of a value of a segment; None where no gradient goes."""
    source = segment.sources.get(number)
    if source is not None:
        tensor, origin = source
        return AccumulateGrad(tensor) if origin is None else node_at(*origin)
    operation, _ = segment.operation_of(number)
    return None if operation.name in ("input", "number") else Node(segment, number)


def grad_fn(input: TensorBase) -> Any:
    """The operation that computed the tensor, or None for a leaf."""
    if not input._requires_grad or is_leaf(input):
        return None
    return Node(*place_of(input))
