"""What belongs to a tensor's gradient: whether it is wanted, where it lies, its hooks, and the tensor without a history."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Self

from rustorch.errors import ArgumentError, DTypeError, GradError, ShapeError, compose
from rustorch.frontend import backward, elementwise, graph, hooks
from rustorch.frontend.base import Link, TensorBase, concrete
from rustorch.frontend.creation import check_can_require
from rustorch.frontend.state import local
from rustorch.frontend.storage import become_leaf, is_leaf, link, root_of, take, version_of
from rustorch.ir.dtypes import title


class Differentiable(TensorBase):
    """The part of `Tensor` that differentiation sees."""

    __slots__ = ()

    @property
    def requires_grad(self) -> bool:
        """Whether gradients are wanted at it, or flow through it."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        self.requires_grad_(wanted)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Ask for gradients at this tensor, or stop asking; gives the tensor."""
        if not is_leaf(self):
            if requires_grad:
                return self
            raise GradError(
                compose(
                    "you can only change requires_grad flags of leaf variables. If you want to use a computed variable in a "
                    "subgraph that doesn't require differentiation use var_no_grad = var.detach()."
                )
            )
        check_can_require(self._type.dtype, requires_grad)
        if requires_grad and not local.inference and self.is_inference():
            raise GradError(compose("Setting requires_grad=True on inference tensor outside InferenceMode is not allowed."))
        if requires_grad and not self._requires_grad:
            become_leaf(self)
        elif not requires_grad and self._requires_grad:
            take(self, self.detach()) if self._array is None else local.segment.forget(self)
            self._requires_grad = False
        return self

    def is_inference(self) -> bool:
        """Whether it was made in `inference_mode`."""
        return bool(local.segment.is_inference(self))

    @property
    def is_leaf(self) -> bool:
        """Whether gradients end here."""
        return is_leaf(self)

    @property
    def output_nr(self) -> int:
        """Which result of its operation it is."""
        return graph.output_nr(self)

    @property
    def grad(self) -> Any:
        """The accumulated gradient, or None."""
        local.segment.about_to_read_grad(self)
        if self._grad is None and self._requires_grad and not is_leaf(self) and not self.retains_grad:
            warnings.warn(
                "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its .grad attribute won't be populated "
                "during autograd.backward(). If you indeed want the .grad field to be populated for a non-leaf Tensor, use "
                ".retain_grad() on the non-leaf Tensor.",
                stacklevel=2,
            )
        return self._grad

    @grad.setter
    def grad(self, value: Any) -> None:
        if value is not None:
            if not isinstance(value, TensorBase):
                raise ArgumentError(f"assigned grad expected to be a Tensor or None but got grad of type {type(value).__name__}")
            if value._type.shape != self._type.shape:
                raise ShapeError(
                    compose(
                        f"attempting to assign a gradient of size '{list(value._type.shape)}' to a tensor of size "
                        f"'{list(self._type.shape)}'. Please ensure that the gradient and the tensor are the same size"
                    )
                )
            if value._type.dtype is not self._type.dtype:
                raise DTypeError(
                    compose(
                        f"attempting to assign a gradient with dtype '{title(value._type.dtype).lower()}' to a tensor with grad_dtype "
                        f"'{title(self._type.dtype)}'",
                        todo="A gradient has the element type of its tensor: convert it first.",
                    )
                )
            if value is self:
                raise GradError(compose("can't assign Variable as its own grad"))
        local.segment.about_to_set_grad(self)
        self._grad = value

    @grad.deleter
    def grad(self) -> None:
        self.grad = None

    def zero_grad(self) -> None:
        """Forget the accumulated gradient."""
        self.grad = None

    @property
    def retains_grad(self) -> bool:
        """Whether `backward` leaves the gradient of this computed tensor in `.grad`."""
        return self._extra is not None and self._extra.retains

    @property
    def grad_fn(self) -> Any:
        """The operation that computed it, or None for a leaf."""
        return graph.grad_fn(self)

    def backward(
        self, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False, inputs: Any = None
    ) -> None:
        """Add the gradients of this tensor, times `gradient`, to the `.grad` of the leaves that it depends on."""
        backward.backward(self, None if gradient is None else [gradient], retain_graph, create_graph, inputs)

    def register_hook(self, hook: Callable[[Any], Any]) -> hooks.RemovableHandle:
        """Call `hook(gradient)` whenever the gradient here is complete; what it returns, if not None, goes on instead."""
        return hooks.register_hook(self, hook)

    def register_post_accumulate_grad_hook(self, hook: Callable[[Any], Any]) -> hooks.RemovableHandle:
        """Call `hook(tensor)` whenever `backward` has added to `.grad`."""
        return hooks.register_post_accumulate_grad_hook(self, hook)

    def retain_grad(self) -> None:
        """Let `backward` leave the gradient of this computed tensor in `.grad`."""
        hooks.retain_grad(self)

    @property
    def _hooked(self) -> tuple[int, ...]:
        """Which hooks the tensor has as a leaf: functions that were traced with it depend on them."""
        extra = self._extra
        if extra is None:
            return ()
        node = () if extra.node is None else (*extra.node.before, *extra.node.after)
        return (*extra.hooks, *extra.after, *node)

    @property
    def _version(self) -> int:
        if self.is_inference():
            raise GradError("Inference tensors do not track version counter.")
        return version_of(self)

    @property
    def _base(self) -> Any:
        root = root_of(self, Link.VIEW)
        return None if root is self else root

    @property
    def data(self) -> Any:
        """The tensor without its history: writing to it writes to the tensor, and neither gradients nor `_version` see that."""
        strict = local.strict_data
        return link(_detached(self), self, _detached, _written_through_data if strict else _over, Link.DATA)

    @data.setter
    def data(self, value: Any) -> None:
        if not isinstance(value, TensorBase):
            raise ArgumentError(f"Variable data has to be a tensor, but got {type(value).__name__}")
        if local.strict_data:
            _written_through_data(self, value)
        wanted, leaf = self._requires_grad, is_leaf(self)
        take(self, _detached(value))
        if wanted and leaf:
            become_leaf(self)

    def detach(self) -> Any:
        """The tensor as a constant of differentiation; it shares the elements."""
        return link(_detached(self), self, _detached, _over, Link.DETACHED)

    def detach_(self) -> Self:
        """Forget the history; gives the tensor."""
        if not is_leaf(self):
            take(self, _detached(self))
        self._requires_grad = False
        return self


def _over(base: TensorBase, value: Any) -> Any:
    """The base after a write to all of it."""
    return value


def _written_through_data(base: TensorBase, value: Any) -> Any:
    """As `_over`, under `rustorch.debug.strict_data()`."""
    if base._requires_grad and local.segment.mode:
        raise GradError(
            compose(
                "a Variable that requires grad is being written through .data",
                "no gradient would know of it: what was recorded goes on with the old elements",
                todo="Write to the tensor itself under rustorch.no_grad(), or leave rustorch.debug.strict_data() out.",
            )
        )
    return value


def _detached(x: TensorBase) -> Any:
    """The value of `x` without history."""
    if x._array is not None and local.segment.writes_memory:
        return concrete(x._array, x._type)
    return elementwise.recorded["detach"](x)
