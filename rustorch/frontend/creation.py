"""Tensors from numbers, lists and arrays, and those that are filled by rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rustorch.errors import ArgumentError, DTypeError, GradError, ShapeError, compose
from rustorch.frontend.base import TensorBase, concrete
from rustorch.frontend.dtype import as_dtype, device
from rustorch.frontend.emission import Builder, Value, operation
from rustorch.frontend.movement import sizes_from
from rustorch.frontend.state import defaults, local
from rustorch.frontend.storage import become_leaf, convert_to
from rustorch.ir.dtypes import from_numpy as dtype_from_numpy
from rustorch.ir.dtypes import i64
from rustorch.ir.graph import Payload
from rustorch.ir.types import DType, TensorType


def array_of(data: Any, dtype: DType | None) -> Any:
    """A new array of the elements of numbers, nested lists or arrays; Python floats have the default element type if none is given."""
    if isinstance(data, TensorBase):
        array, of_python = data._elements(), False
    elif isinstance(data, (list, tuple)):
        array = _from_list(data)
        of_python = array.dtype == np.float64 and (array.size == 0 or not _has_array(data))
    else:
        array = np.asarray(data)
        of_python = isinstance(data, float) and not isinstance(data, np.generic)
    if array.dtype == object:
        raise _no_tensor(data)
    if dtype is None:
        dtype = defaults.dtype if of_python else dtype_from_numpy(array.dtype)
    return np.array(array, dtype.numpy, order="C", copy=True)


def _from_list(data: Sequence[Any]) -> Any:
    data = [x._elements() if isinstance(x, TensorBase) else x for x in data]
    try:
        return np.asarray(data)
    except ValueError:
        raise ShapeError(compose("expected sequence of equal length at every level", f"got {data!r:.100}")) from None


def _has_array(data: Any) -> bool:
    """Whether the elements come from numpy, and so have a type of their own."""
    while isinstance(data, (list, tuple)) and data:
        data = data[0]
    return isinstance(data, (np.ndarray, np.generic))


def _no_tensor(data: Any) -> Exception:
    return ArgumentError(f"Could not infer dtype of {type(data).__name__}")


def tensor(data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False) -> Any:
    """A new leaf with a copy of numbers, nested lists, an array (whose element type is kept) or a tensor."""
    _check_device(device)
    if isinstance(data, TensorBase) and not local.segment.writes_memory:
        made = data.detach()  # type: ignore[attr-defined]
        made = made if dtype is None else convert_to(made, as_dtype(dtype))
        if requires_grad:
            become_leaf(made)
        return made
    array = array_of(data, None if dtype is None else as_dtype(dtype))
    return leaf(array, requires_grad)


def leaf(array: Any, requires_grad: bool = False) -> Any:
    """A concrete tensor around an array of its own."""
    type_ = TensorType(dtype_from_numpy(array.dtype), array.shape)
    check_can_require(type_.dtype, requires_grad)
    if local.segment.writes_memory:
        return concrete(array, type_, bool(requires_grad))
    made = array_op(Payload(array), type_)
    if requires_grad:
        become_leaf(made)
    return made


@operation(name="array")
def array_op(b: Builder, elements: Payload, type: TensorType) -> Value:
    """The elements of an array as a constant."""
    return b.const(elements.array, type)


def check_can_require(dtype: DType, requires_grad: bool) -> None:
    """Refuse gradients of integers and bools."""
    if requires_grad and dtype.kind != "float":
        raise GradError(
            compose(
                "Only Tensors of floating point and complex dtype can require gradients",
                f"found element type {dtype.name}",
                todo="Convert it first, for instance with x.float().",
            )
        )


def _check_device(given: Any) -> None:
    if given is not None:
        device(given)


def from_numpy(ndarray: Any) -> Any:
    """A tensor that shares the array's memory: what is written to one is seen by the other."""
    if not isinstance(ndarray, np.ndarray):
        raise ArgumentError(f"expected np.ndarray (got {type(ndarray).__name__})")
    made = concrete(ndarray, TensorType(dtype_from_numpy(ndarray.dtype), ndarray.shape))
    made._more().exposed = True
    return made


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Any:
    """The tensor itself, or one that shares an array's memory where it can; a copy elsewhere."""
    _check_device(device)
    if isinstance(data, TensorBase):
        return data if dtype is None else convert_to(data, as_dtype(dtype))
    if isinstance(data, np.ndarray) and (dtype is None or as_dtype(dtype).numpy == data.dtype):
        return from_numpy(data)
    return tensor(data, dtype=dtype)


# --- Filled by rule ---------------------------------------------------------------------------------------------------


@operation(name="full")
def full_op(b: Builder, value: Any, type: TensorType) -> Value:
    """A number, repeated."""
    return b.const(value, type)


def _made(value: Any, shape: tuple[int, ...], dtype: DType, requires_grad: bool) -> Any:
    """A tensor full of a number: concrete where it is a leaf of its own, recorded inside a traced function."""
    for size in shape:
        if isinstance(size, int) and size < 0:
            raise ShapeError(f"Trying to create tensor with negative dimension {size}: {list(shape)}")
    check_can_require(dtype, requires_grad)
    if local.segment.writes_memory:
        return concrete(np.full(shape, value, dtype.numpy), TensorType(dtype, shape), bool(requires_grad))
    made = full_op({"bool": bool, "int": int, "float": float}[dtype.kind](value), TensorType(dtype, shape))
    if requires_grad:
        become_leaf(made)
    return made


def zeros(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
    """Zeros of a shape."""
    _check_device(device)
    return _made(0, sizes_from(size), defaults.dtype if dtype is None else as_dtype(dtype), requires_grad)


def ones(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
    """Ones of a shape."""
    _check_device(device)
    return _made(1, sizes_from(size), defaults.dtype if dtype is None else as_dtype(dtype), requires_grad)


empty = zeros
"""As `zeros`: memory of undefined content is a source of surprises, and a compiled program does not need it."""


def full(size: Any, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
    """A number, repeated to a shape."""
    _check_device(device)
    if isinstance(fill_value, TensorBase):
        fill_value = fill_value._elements().item()
    if dtype is None:
        kind = bool if isinstance(fill_value, bool) else int if isinstance(fill_value, int) else float
        dtype = kind
    return _made(fill_value, sizes_from((size,)), as_dtype(dtype), requires_grad)


def _like(value: Any, input: Any, dtype: Any, requires_grad: bool) -> Any:
    return _made(value, input._type.shape, input._type.dtype if dtype is None else as_dtype(dtype), requires_grad)


def zeros_like(input: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
    """Zeros of the shape and element type of a tensor."""
    _check_device(device)
    return _like(0, input, dtype, requires_grad)


def ones_like(input: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
    """Ones of the shape and element type of a tensor."""
    _check_device(device)
    return _like(1, input, dtype, requires_grad)


empty_like = zeros_like


def full_like(input: Any, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
    """A number, repeated to the shape and in the element type of a tensor."""
    _check_device(device)
    return _like(fill_value, input, dtype, requires_grad)


def arange(
    start: float, end: float | None = None, step: float = 1, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Any:
    """Numbers from `start` (0 where only one is given) up to, not including, `end`."""
    _check_device(device)
    if end is None:
        start, end = 0, start
    if step == 0:
        raise ArgumentError("step must be nonzero")
    if (end - start) * step < 0:
        raise ArgumentError("upper bound and lower bound inconsistent with step sign")
    if dtype is None:
        dtype = defaults.dtype if any(isinstance(v, float) for v in (start, end, step)) else i64
    kind = as_dtype(dtype)
    count = int(np.ceil((end - start) / step))
    numbers = start + np.arange(count) * step if kind.kind == "float" else np.arange(start, end, step)[:count]
    return leaf(numbers.astype(kind.numpy), requires_grad)


def linspace(start: float, end: float, steps: int, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
    """`steps` numbers from `start` to `end`, evenly apart."""
    _check_device(device)
    kind = defaults.dtype if dtype is None else as_dtype(dtype)
    return leaf(np.linspace(start, end, steps).astype(kind.numpy), requires_grad)


def logspace(start: float, end: float, steps: int, base: float = 10.0, *, dtype: Any = None, requires_grad: bool = False) -> Any:
    """`steps` powers of `base`, with exponents from `start` to `end`."""
    kind = defaults.dtype if dtype is None else as_dtype(dtype)
    return leaf((base ** np.linspace(start, end, steps)).astype(kind.numpy), requires_grad)


def eye(n: int, m: int | None = None, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
    """Ones on the diagonal, zeros elsewhere."""
    _check_device(device)
    kind = defaults.dtype if dtype is None else as_dtype(dtype)
    return leaf(np.eye(n, m, dtype=kind.numpy), requires_grad)


__all__ = ["DTypeError", "arange", "as_tensor", "eye", "from_numpy", "full", "linspace", "ones", "tensor", "zeros"]
