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
from rustorch.frontend.storage import become_leaf, convert_to, into
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


def _noted(x: Any) -> Any:
    """A new tensor, which remembers where it was made in inference mode."""
    if local.inference:
        x._more().inference = True
    return x


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
        return _noted(concrete(array, type_, bool(requires_grad)))
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


def float_dtype(dtype: Any) -> DType:
    """The element type that is asked for; the default one if none is."""
    return defaults.dtype if dtype is None else as_dtype(dtype)


def _check_device(given: Any) -> None:
    if given is not None:
        device(given)


def from_numpy(ndarray: Any) -> Any:
    """A tensor that shares the array's memory: what is written to one is seen by the other."""
    if not isinstance(ndarray, np.ndarray):
        raise ArgumentError(f"expected np.ndarray (got {type(ndarray).__name__})")
    made = _noted(concrete(ndarray, TensorType(dtype_from_numpy(ndarray.dtype), ndarray.shape)))
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
        return _noted(concrete(np.full(shape, value, dtype.numpy), TensorType(dtype, shape), bool(requires_grad)))
    made = full_op({"bool": bool, "int": int, "float": float}[dtype.kind](value), TensorType(dtype, shape))
    if requires_grad:
        become_leaf(made)
    return made


def zeros(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False, out: Any = None) -> Any:
    """Zeros of a shape."""
    _check_device(device)
    return into(out, _made(0, sizes_from(size), float_dtype(dtype), requires_grad))


def ones(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False, out: Any = None) -> Any:
    """Ones of a shape."""
    _check_device(device)
    return into(out, _made(1, sizes_from(size), float_dtype(dtype), requires_grad))


empty = zeros
"""As `zeros`: memory of undefined content is a source of surprises, and a compiled program does not need it."""


def full(
    size: Any, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False, out: Any = None
) -> Any:
    """A number, repeated to a shape."""
    _check_device(device)
    if isinstance(fill_value, TensorBase):
        fill_value = fill_value._elements().item()
    if dtype is None:
        kind = bool if isinstance(fill_value, bool) else int if isinstance(fill_value, int) else float
        dtype = kind
    return into(out, _made(fill_value, sizes_from((size,)), as_dtype(dtype), requires_grad))


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
    start: float,
    end: float | None = None,
    step: float = 1,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    out: Any = None,
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
    return into(out, leaf(numbers.astype(kind.numpy), requires_grad))


def linspace(
    start: Any, end: Any, steps: int, *, dtype: Any = None, device: Any = None, requires_grad: bool = False, out: Any = None
) -> Any:
    """`steps` numbers from `start` to `end`, evenly apart."""
    _check_device(device)
    if steps < 0:
        raise ShapeError("number of steps must be non-negative")
    kind = float_dtype(dtype)
    return into(out, leaf(np.linspace(float(start), float(end), steps).astype(kind.numpy), requires_grad))


def logspace(
    start: Any,
    end: Any,
    steps: int,
    base: float = 10.0,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    out: Any = None,
) -> Any:
    """`steps` powers of `base`, with exponents from `start` to `end`."""
    _check_device(device)
    kind = float_dtype(dtype)
    return into(out, leaf((base ** np.linspace(float(start), float(end), steps)).astype(kind.numpy), requires_grad))


@operation(name="eye")
def eye_op(b: Builder, type: TensorType) -> Value:
    """Ones on the diagonal, zeros elsewhere."""
    places = type.with_dtype(i64)
    found: Value = b.convert(b.eq(b.iota(type=places, axis=0), b.iota(type=places, axis=1)), dtype=type.dtype)
    return found


def eye(
    n: int, m: int | None = None, *, dtype: Any = None, device: Any = None, requires_grad: bool = False, out: Any = None
) -> Any:
    """Ones on the diagonal, zeros elsewhere."""
    _check_device(device)
    kind = float_dtype(dtype)
    columns = n if m is None else m
    if n < 0 or columns < 0:
        raise ShapeError(f"n must be greater or equal to 0, got {min(n, columns)}")
    if local.segment.writes_memory:
        return into(out, leaf(np.eye(n, m, dtype=kind.numpy), requires_grad))
    made = eye_op(TensorType(kind, (n, columns)))
    if requires_grad:
        become_leaf(made)
    return into(out, made)


def tril_indices(row: int, col: int, offset: int = 0, *, dtype: Any = i64, device: Any = None) -> Any:
    """The places of the lower triangle of a matrix: a row of row numbers, a row of column numbers."""
    return _indices(np.tri(row, col, offset, dtype=bool), dtype, device)


def triu_indices(row: int, col: int, offset: int = 0, *, dtype: Any = i64, device: Any = None) -> Any:
    """The places of the upper triangle of a matrix: a row of row numbers, a row of column numbers."""
    return _indices(~np.tri(row, col, offset - 1, dtype=bool), dtype, device)


def _indices(mask: Any, dtype: Any, device: Any) -> Any:
    _check_device(device)
    return leaf(np.stack(np.nonzero(mask)).astype(as_dtype(dtype).numpy))


def scalar_tensor(s: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
    """A 0-d tensor of a number, of the default element type."""
    return tensor(s, dtype=defaults.dtype if dtype is None else dtype, device=device, requires_grad=requires_grad)


def asarray(obj: Any, *, dtype: Any = None, device: Any = None, copy: bool | None = None, requires_grad: bool = False) -> Any:
    """A tensor of numbers, lists, arrays (whose memory it shares unless told to copy) or tensors."""
    made = tensor(obj, dtype=dtype) if copy else as_tensor(obj, dtype, device)
    if copy is False and isinstance(obj, (list, tuple, int, float)):
        raise ArgumentError("can't alias arbitrary sequence into a tensor.")
    return made.requires_grad_() if requires_grad else made


def frombuffer(buffer: Any, *, dtype: Any, count: int = -1, offset: int = 0, requires_grad: bool = False) -> Any:
    """A vector that looks into the memory of an object with a buffer."""
    made = from_numpy(np.frombuffer(buffer, as_dtype(dtype).numpy, count, offset))
    return made.requires_grad_() if requires_grad else made


# --- Windows ----------------------------------------------------------------------------------------------------------


def _window(length: int, periodic: bool, dtype: Any, requires_grad: bool, weights: tuple[float, ...]) -> Any:
    """A sum of cosines over a window; a periodic one is the start of a longer one by 1."""
    kind = float_dtype(dtype)
    if kind.kind != "float":
        raise DTypeError(f"window_length: Expected a floating point dtype, but got {kind.name}")
    if length < 0:
        raise ShapeError(f"requires non-negative window_length, got window_length={length}")
    if length == 1:
        return leaf(np.ones(1, kind.numpy), requires_grad)
    angle = 2 * np.pi * np.arange(length) / (length if periodic else length - 1)
    total = sum((w * np.cos(k * angle) for k, w in enumerate(weights)), start=np.zeros(length))
    return leaf(total.astype(kind.numpy), requires_grad)


def hann_window(window_length: int, periodic: bool = True, *, dtype: Any = None, requires_grad: bool = False) -> Any:
    """(1 - cos) / 2."""
    return _window(window_length, periodic, dtype, requires_grad, (0.5, -0.5))


def hamming_window(
    window_length: int,
    periodic: bool = True,
    alpha: float = 0.54,
    beta: float = 0.46,
    *,
    dtype: Any = None,
    requires_grad: bool = False,
) -> Any:
    """alpha - beta cos."""
    return _window(window_length, periodic, dtype, requires_grad, (alpha, -beta))


def blackman_window(window_length: int, periodic: bool = True, *, dtype: Any = None, requires_grad: bool = False) -> Any:
    """0.42 - cos / 2 + 0.08 cos of the double angle."""
    return _window(window_length, periodic, dtype, requires_grad, (0.42, -0.5, 0.08))


def bartlett_window(window_length: int, periodic: bool = True, *, dtype: Any = None, requires_grad: bool = False) -> Any:
    """A triangle from 0 to 1 and back."""
    kind = float_dtype(dtype)
    size = window_length + (periodic and window_length > 1)
    return leaf(np.bartlett(size)[:window_length].astype(kind.numpy), requires_grad)


__all__ = ["DTypeError", "arange", "as_tensor", "eye", "from_numpy", "full", "linspace", "ones", "tensor", "zeros"]
