"""Writing in place: the graph knows no mutation, so a write lets the tensor stand for a new value.

A view remembers its base, how it is derived from it, and how a new value of the view is put back (`scatter`). A write to a view
is a write to its base; every other view of the base is then derived anew. Memory that is shared (with numpy, or by views of
concrete tensors) is written through at once.
"""

from __future__ import annotations

import functools
import math
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from rustorch.errors import ArgumentError, DTypeError, GradError, ShapeError, compose
from rustorch.frontend.base import Array, Extra, Link, TensorBase, concrete, looked_into
from rustorch.frontend.emission import Builder, Value, convert, dtype_of, operation, reshape, shape_of
from rustorch.frontend.operation import set_writer
from rustorch.frontend.segment import LEAF, VARIABLE, Track, keep_apart
from rustorch.frontend.state import local
from rustorch.ir.dims import product
from rustorch.ir.dtypes import bool_, i64, title
from rustorch.ir.op import REGISTRY
from rustorch.ir.types import DType, TensorType

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
    if 0 not in out._type.shape:
        warnings.warn(
            f"An output with one or more elements was resized since it had shape {list(out._type.shape)}, which does not match the "
            f"required output shape {list(result._type.shape)}. This behavior is deprecated: give an empty tensor, or out.resize_(0).",
            stacklevel=4,
        )
    take(out, result)
    count_write(out)
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
    """Refuse writes to leaves that require gradients, and to views of them, while gradients are recorded; and writes outside of
    inference mode to what was made in it."""
    if not local.inference and any(map(local.segment.is_inference, (x, *bases(x, Link.VIEW)))):
        raise GradError(
            compose(
                "Inplace update to inference tensor outside InferenceMode is not allowed.You can make a clone to get a normal tensor "
                "before doing inplace update."
            )
        )
    if not local.segment.mode:
        return
    if x._requires_grad and is_leaf(x):
        raise GradError(
            compose(
                "a leaf Variable that requires grad is being used in an in-place operation.",
                todo="Write to it under rustorch.no_grad(), or to a clone.",
            )
        )
    for base in bases(x, Link.VIEW):
        if not base._requires_grad:
            continue
        if is_leaf(base):
            raise GradError(
                compose(
                    "a view of a leaf Variable that requires grad is being used in an in-place operation.",
                    todo="Write to it under rustorch.no_grad(), or to a clone.",
                )
            )
        if not x._requires_grad:
            raise GradError(
                compose(
                    "A view was created in no_grad mode and is being modified inplace with grad mode enabled.",
                    "its base has a history, and the write would be recorded for the base but not for the view",
                    todo="Make the view where it is written: both under rustorch.no_grad(), or both outside.",
                )
            )


def bases(x: TensorBase, *links: Link) -> Iterator[TensorBase]:
    """What a tensor is a view of, and what that is a view of, as far as the links are of these kinds."""
    extra = x._extra
    while extra is not None and extra.base is not None and extra.link in links:
        yield extra.base
        extra = extra.base._extra


def root_of(x: TensorBase, *links: Link) -> TensorBase:
    """The last of a tensor's bases, or itself."""
    root = x
    for base in bases(x, *links):
        root = base
    return root


def version_of(x: TensorBase) -> int:
    """How often the tensor was written, itself or through a view."""
    extra = root_of(x, Link.VIEW, Link.DETACHED)._extra
    return 0 if extra is None else extra.version


def count_write(x: TensorBase) -> None:
    """Count a write to the tensor."""
    root_of(x, Link.VIEW, Link.DETACHED)._more().version += 1


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


def write(x: TensorBase, value: TensorBase) -> None:
    """Let `x`, what it is a view of, and what views it has, see `value` (of the type of `x`), and count that."""
    _put(x, value, local.segment.mode)
    count_write(x)


def _put(x: TensorBase, value: TensorBase, differentiable: bool) -> None:
    """Let `x`, what it is a view of, and what views it has, see `value`."""
    extra = x._extra
    if extra is None or extra.base is None:
        store(x, value, differentiable)
        return
    base = extra.base
    if extra.scatter is None and (value._requires_grad or not local.segment.writes_memory):
        follow_by_places(base)  # numpy's memory alone would not tell the base
    if extra.scatter is not None:
        _put(base, extra.scatter(base, value), differentiable and extra.link is Link.VIEW)  # derives this view anew, too
    else:
        store(x, value, differentiable)


def follow_by_places(x: TensorBase) -> None:
    """Let the plain views of a concrete tensor be derived like others: by the places of their elements in it."""
    extra = x._more()
    memory = x._array
    for ref in extra.plain:
        view = ref()
        if view is None or view._extra is None or view._array is None or memory is None:
            continue
        places = _places(memory, view._array)
        view._extra.derive = functools.partial(_taken, places)
        view._extra.scatter = functools.partial(_replaced, places)
        extra.views = [*extra.views, ref]
    extra.plain = ()


def _places(memory: Array, view: Array) -> Array:
    """Where the elements of an array lie in the row-major order of another one, whose memory it looks into."""
    if view.size == 0:
        return np.zeros(view.shape, np.int64)
    first, start = (a.__array_interface__["data"][0] for a in (memory, view))
    reach = [stride * (size - 1) for stride, size in zip(memory.strides, memory.shape, strict=True)]
    low, high = sum(min(r, 0) for r in reach), sum(max(r, 0) for r in reach)
    unit = math.gcd(memory.itemsize, start - first, *memory.strides, *view.strides)
    numbers = np.zeros((high - low) // unit + 1, np.int64)  # at each unit of memory, the number of the element that begins there
    of_memory, of_view = (
        np.lib.stride_tricks.as_strided(numbers[(place - low) // unit :], a.shape, [s // unit * numbers.itemsize for s in a.strides])
        for place, a in ((0, memory), (start - first, view))
    )
    of_memory[...] = np.arange(memory.size).reshape(memory.shape)
    return of_view.copy()


def _taken(places: Array, base: Any) -> Any:
    return take_op(base, concrete(places, TensorType(i64, places.shape)))


def _replaced(places: Array, base: Any, value: Any) -> Any:
    source = np.full(base.numel(), -1, np.int64)
    source[places.reshape(-1)] = np.arange(places.size)
    return put_op(base, value, concrete(source, TensorType(i64, source.shape)))


@operation(name="take")
def take_op(b: Builder, input: Value, index: Value) -> Value:
    """The elements at places of the flattened tensor."""
    flat = reshape(b, input, (product(shape_of(input)),))
    found: Value = b.gather(flat, reshape(b, index, (product(shape_of(index)),)), axis=0)
    return reshape(b, found, shape_of(index))


@operation(name="put")
def put_op(b: Builder, input: Value, values: Value, source: Value) -> Value:
    """Element i of the flattened tensor replaced by element `source[i]` of the flattened values; kept where that is negative."""
    own = shape_of(input)
    size = product(own)
    count = product(shape_of(values))
    if count == 0:
        return input
    flat = reshape(b, convert(b, values, dtype_of(input)), (count,))
    found = b.gather(flat, b.maximum(source, 0), axis=0)
    return reshape(b, b.select(b.ge(source, 0), found, reshape(b, input, (size,))), own)


@operation(name="rewritten")
def rewritten(b: Builder, value: Value, of: Value) -> Value:
    """The value, with the history of another one: what a tensor is after a write that is not recorded."""
    inside = Builder()
    ct = [inside.input(value.type) for _ in range(4)][-1]
    attrs = {"name": "rewritten", "inputs": 1, "results": 1, "rules": ("vjp",), "saves": False, "refusal": ""}
    found: Value = b.emit(REGISTRY["custom"], (of, value), attrs, (inside.build([ct]),))[0]
    return found


@operation(name="covered")
def covered(b: Builder, value: Value, of: Value) -> Value:
    """The value, with a gradient of zero for what it was written over."""
    type_ = of.type
    assert isinstance(type_, TensorType)
    found: Value = b.select(b.const(False, type_.with_dtype(bool_)), of, value)
    return found


def store(x: TensorBase, value: TensorBase, differentiable: bool) -> None:
    """Replace the value of a tensor that is no view, and derive its views anew."""
    extra = x._extra
    if x._requires_grad and not value._requires_grad and not is_leaf(x):
        value = _with_history(x, value, differentiable)
    segment = local.segment
    stays_leaf = x._requires_grad and is_leaf(x) and not value._requires_grad
    if extra is not None and x._array is not None and segment.writes_memory and looked_into(x):
        elements = value._elements()
        segment = local.segment
        keep_apart(x._array)
        np.copyto(x._array, elements)
        segment.forget(x)
        x._requires_grad, x._origin = value._requires_grad or stays_leaf, value._origin
        for base in bases(x, *Link):  # whose memory this is, too
            if base._extra is not None and base._extra.views:
                _derive_views(base)
    else:
        if extra is not None and extra.plain:
            follow_by_places(x)
        take(x, value)
        if stays_leaf:
            become_leaf(x)
    if extra is not None and extra.views:
        _derive_views(x)


def over(x: TensorBase, value: Any) -> Any:
    """The value that is written over all of `x`, whose history gets zeros."""
    return covered(value, x) if x._requires_grad and local.segment.mode and not is_leaf(x) else value


def _with_history(x: TensorBase, value: TensorBase, differentiable: bool) -> Any:
    """The value as what a computed tensor becomes: its history stays, or what was there has no part in the result."""
    if differentiable:
        return covered(value, x)
    segment = local.segment
    mode = segment.mode
    segment.set_grad(True)
    try:
        return rewritten(value, x)
    finally:
        local.segment.set_grad(mode)


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
            if x._origin is not None and x._extra is not None and x._extra.retains:
                x._origin[0].retained[x._origin[1]] = weakref.ref(x)
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
        if more.plain:
            follow_by_places(view)
        take(view, more.derive(x))
        if more.views:
            _derive_views(view)


def link(view: Any, base: TensorBase, derive: Callable[[Any], Any], scatter: Callable[[Any, Any], Any], kind: Link = Link.VIEW) -> Any:
    """Make `view` a view of `base`; gives `view`."""
    extra = view._extra = view._extra or Extra()
    extra.base, extra.derive, extra.scatter = base, derive, scatter
    if kind is not Link.VIEW:
        extra.link = kind
    more = base._extra
    if more is None:
        more = base._extra = Extra()
    elif more.inference:
        extra.inference = True
    more.views = noted(more.views, view)
    return view


def noted(views: Sequence[weakref.ref[TensorBase]], view: TensorBase) -> Sequence[weakref.ref[TensorBase]]:
    """Views with another one; now and then those that are gone are left out."""
    if not views:
        return (weakref.ref(view),)
    found = list(views) if type(views) is tuple else views
    assert isinstance(found, list)
    if len(found) >= 8 and len(found) & (len(found) - 1) == 0:
        found[:] = [ref for ref in found if ref() is not None]
    found.append(weakref.ref(view))
    return found


__all__ = ["VARIABLE", "become_leaf", "check_writable", "into", "is_leaf", "link", "rebind", "store", "tracked", "write"]
