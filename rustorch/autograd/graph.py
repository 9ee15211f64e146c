"""The graph behind tensors: nodes and edges, hooks on them, and hooks on what operations save."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rustorch.frontend import embedded as _embedded  # noqa: F401 - hooks inside of traced functions
from rustorch.frontend.graph import GradientEdge, Node, get_gradient_edge, through
from rustorch.frontend.hooks import RemovableHandle, register_multi_grad_hook
from rustorch.frontend.packing import disable_saved_tensors_hooks, save_on_cpu, saved_tensors_hooks
from rustorch.frontend.tensor import Tensor


class allow_mutation_on_saved_tensors:
    """Changes nothing: saved values are values of the graph, which nothing mutates, so writing in place never spoils a gradient.

    In PyTorch this context makes copies of saved tensors before they are written to, where an error would be raised otherwise.
    """

    def __enter__(self) -> allow_mutation_on_saved_tensors:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def clear(self) -> None:
        """Nothing is kept."""


def increment_version(tensor: Any | Iterable[Any]) -> None:
    """Let a tensor, or each of several, count one more write than `rustorch` has seen: for memory that was written elsewhere."""
    for x in [tensor] if isinstance(tensor, Tensor) else tensor:
        x._more().version += 1


__all__ = [
    "GradientEdge",
    "Node",
    "RemovableHandle",
    "allow_mutation_on_saved_tensors",
    "disable_saved_tensors_hooks",
    "get_gradient_edge",
    "increment_version",
    "register_multi_grad_hook",
    "save_on_cpu",
    "saved_tensors_hooks",
    "through",
]
