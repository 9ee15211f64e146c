"""Writing in place: the graph knows no mutation, so a write lets the tensor stand for a new value.

A view remembers its base, how it is derived from it, and how a new value of the view is put back (`scatter`). A write to a view
is a write to its base; every other view of the base is then derived anew. Memory that is shared (with numpy, or by views of
concrete tensors) is written through at once.
"""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from rustorch.errors import ArgumentError, DTypeError, GradError, ShapeError, compose
from rustorch.frontend.base import TensorBase, looked_into
from rustorch.frontend.emission import Builder, Value, convert, operation
from rustorch.frontend.operation import set_writer
from rustorch.frontend.segment import LEAF, VARIABLE, Track
from rustorch.frontend.state import local
from rustorch.ir.types import DType

_CATEGORY = {"bool": 0, "int": 1, "float": 2}


@operation(name="convert")
def convert_to(b: Builder, x: Value, dtype: DType) -> Value:
    """The tensor with other elements."""
    return convert(b, x, dtype)


def is_leaf(x: TensorBase) -> bool:
    """Whether gradients end here: the tensor was not computed from others that require gradients."""
    if not x._requires_grad:
        return True
    if x._origin is not None:
        return False
    segment, number = x._segment, x._number
    return segment is None or number in segment.sources or number >= len(segment.values) or segment.values[number] is not x


def tracked(x: TensorBase, as_: Track = LEAF) -> Any:
    """A new tensor with the value of `x`, at which gradients are wanted."""
    segment = local.segment
    (t,) = segment.record_key(as_, (as_, segment.number_of(x)))
    segment.sources[t._number] = (t, None)
    return t


def become_leaf(x: TensorBase) -> None:
    """Let gradients end at the value that `x` has now."""
    segment = local.segment
    if x._array is not None and segment.writes_memory:
        segment.forget(x)  # from its next use on it is an input that requires gradients
    else:
        segment.about_to_write(x)
        segment.move(x, tracked(x))
        segment.sources[x._number] = (x, None)
    x._requires_grad = True


@operation(name="clone")
def same(b: Builder, input: Value) -> Value:
    """The tensor's value, as a result of its own."""
    return input


def rebind(x: Any, value: Any) -> Any:
    """Write `value` into `x`; gives `x`. This is how every operation with a trailing underscore ends."""
    check_writable(x)
    if value._type is not x._type:
        value = fitted(x, value)
    write(x, value)
    return x


def into(out: Any, result: Any) -> Any:
    """What `out=` does: the result is written into `out`, which is returned (several results into a tuple of tensors).

    A tensor of another shape takes the result's, with a warning unless it was empty.
    """
    if out is None:
        return result
    if isinstance(result, tuple):
        if not isinstance(out, (tuple, list)) or len(out) != len(result):
            raise ArgumentError(compose(f"out= must be a tuple of {len(result)} tensors, not {type(out).__name__}"))
        written = [into(x, value) for x, value in zip(out, result, strict=True)]
        return type(result)(*written) if hasattr(result, "_fields") else tuple(written)
    if not isinstance(out, TensorBase):
        raise ArgumentError(compose(f"argument 'out' must be Tensor, not {type(out).__name__}"))
    if local.segment.mode and (out._requires_grad or result._requires_grad):
        raise GradError(
            compose(
                "functions with out=... arguments don't support automatic differentiation, but one of the arguments requires grad.",
                todo="Leave out= away, or call it under rustorch.no_grad().",
            )
        )
    if result._type.dtype is not out._type.dtype:
        check_category(out._type.dtype, result._type.dtype)
        result = convert_to(result, out._type.dtype)
    if out._type.shape == result._type.shape:
        write(out, result)
        return out
    if out.numel():
        warnings.warn(
            f"An output with one or more elements was resized since it had shape {list(out._type.shape)}, which does not match the "
            f"required output shape {list(result._type.shape)}. This behavior is deprecated: give an empty tensor, or out.resize_(0).",
            stacklevel=4,
        )
    take(out, result)
    out._more().version += 1
    return out


set_writer(into)


def check_category(own: DType, new: DType) -> None:
    """Refuse to write elements of a higher kind (bool, int, float) over those of a lower one."""
    if _CATEGORY[new.kind] > _CATEGORY[own.kind]:
        raise DTypeError(
            compose(
                f"result type {title(new)} can't be cast to the desired output type {title(own)}",
                todo="Convert the tensor first, for instance with x.float().",
            )
        )


def check_writable(x: TensorBase) -> None:
    """Refuse writes to leaves that require gradients, while gradients are recorded."""
    if not (local.segment.mode and x._requires_grad):
        return
    if is_leaf(x):
        raise GradError(
            compose(
                "a leaf Variable that requires grad is being used in an in-place operation.",
                todo="Write to it under rustorch.no_grad(), or to a clone.",
            )
        )
    base = x._extra.base if x._extra is not None else None
    while base is not None:
        if base._requires_grad and is_leaf(base):
            raise GradError(
                compose(
                    "a view of a leaf Variable that requires grad is being used in an in-place operation.",
                    todo="Write to it under rustorch.no_grad(), or to a clone.",
                )
            )
        base = base._extra.base if base._extra is not None else None


def fitted(x: TensorBase, value: TensorBase) -> Any:
    """The value in the element type of `x`; refused where the shapes differ or the type would lose its kind."""
    own, new = x._type, value._type
    if own.shape != new.shape:
        raise ShapeError(
            compose(
                f"output with shape {list(own.shape)} doesn't match the broadcast shape {list(new.shape)}",
                todo="An operation in place keeps the tensor's shape; write x = x + y for a larger result.",
            )
        )
    check_category(own.dtype, new.dtype)
    return convert_to(value, own.dtype)


_TITLES = {"f32": "Float", "f64": "Double", "i32": "Int", "i64": "Long", "bool": "Bool"}


def title(dtype: DType) -> str:
    """PyTorch's name of an element type in messages: Float, Long."""
    return _TITLES.get(dtype.short, dtype.name)


def write(x: TensorBase, value: TensorBase) -> None:
    """Let `x`, what it is a view of, and what views it has, see `value` (of the type of `x`)."""
    extra = x._extra
    if extra is not None and extra.base is not None and extra.scatter is not None:
        base = extra.base
        write(base, extra.scatter(base, value))  # derives this view anew, too
    else:
        store(x, value)
    extra = x._more()
    extra.version += 1


def store(x: TensorBase, value: TensorBase) -> None:
    """Replace the value of a tensor that is no view, and derive its views anew."""
    extra = x._extra
    segment = local.segment
    stays_leaf = x._requires_grad and is_leaf(x) and not value._requires_grad
    if extra is not None and x._array is not None and segment.writes_memory and looked_into(x):
        elements = value._elements()
        segment = local.segment
        np.copyto(x._array, elements)
        segment.forget(x)
        x._requires_grad, x._origin = value._requires_grad or stays_leaf, value._origin
        base = extra.base
        while base is not None:  # whose memory this is, too
            if base._extra is not None and base._extra.views:
                _derive_views(base)
            base = base._extra.base if base._extra is not None else None
    else:
        take(x, value)
        if stays_leaf:
            become_leaf(x)
    if extra is not None and extra.views:
        _derive_views(x)


def take(x: TensorBase, value: TensorBase) -> None:
    """Let `x` stand for `value`, which nobody else holds as a tensor of its own, or which is concrete."""
    segment = local.segment
    segment.about_to_write(x)
    if value._segment is not segment or value._array is not None:
        if segment.writes_memory and not (value._requires_grad and is_leaf(value)):
            segment = local.segment
            array = value._elements()
            segment.forget(x)
            x._array = array.copy() if looked_into(value) else array
            x._segment, x._type, x._requires_grad, x._origin = None, value._type, value._requires_grad, value._origin
            return
        value = same(value)
        if value._array is not None:  # running op by op
            take(x, value)
            return
    segment.move(x, value)


def _derive_views(x: TensorBase) -> None:
    """Derive the views of `x` anew, and theirs."""
    extra = x._more()
    alive = [(ref, view) for ref in extra.views if (view := ref()) is not None]
    extra.views = [ref for ref, _ in alive]
    for _, view in alive:
        more = view._more()
        if more.derive is None:
            continue
        take(view, more.derive(x))
        more.version += 1
        if more.views:
            _derive_views(view)


def link(view: Any, base: TensorBase, derive: Callable[[Any], Any], scatter: Callable[[Any, Any], Any]) -> Any:
    """Make `view` a view of `base`; gives `view`."""
    extra = view._more()
    extra.base, extra.derive, extra.scatter = base, derive, scatter
    views = base._more().views
    if len(views) >= 8 and len(views) & (len(views) - 1) == 0:
        views[:] = [ref for ref in views if ref() is not None]
    views.append(weakref.ref(view))
    return view


__all__ = ["VARIABLE", "become_leaf", "check_writable", "into", "is_leaf", "link", "rebind", "store", "title", "tracked", "write"]
