"""The element types, and which type two of them meet in."""

from __future__ import annotations

import numpy as np

from rustorch.errors import DTypeError
from rustorch.ir.types import DType, define_dtype, dtype_named

f32 = define_dtype("float32", "f32", "float", 32)
f64 = define_dtype("float64", "f64", "float", 64)
i32 = define_dtype("int32", "i32", "int", 32)
i64 = define_dtype("int64", "i64", "int", 64)
bool_ = define_dtype("bool", "bool", "bool", 8)

DTYPES = (bool_, i32, i64, f32, f64)
FLOATS = (f32, f64)
INTS = (i32, i64)
NUMBERS = INTS + FLOATS

_BY_NUMPY = {dtype.numpy: dtype for dtype in DTYPES}

# Each row and column in the order of DTYPES: the type that two operands meet in (PyTorch's table).
_PROMOTION = (
    (bool_, i32, i64, f32, f64),
    (i32, i32, i64, f32, f64),
    (i64, i64, i64, f32, f64),
    (f32, f32, f32, f32, f64),
    (f64, f64, f64, f64, f64),
)


_TITLES = {f32: "Float", f64: "Double", i32: "Int", i64: "Long", bool_: "Bool"}


def title(dtype: DType) -> str:
    """PyTorch's name of an element type in messages: Float, Long."""
    return _TITLES.get(dtype, dtype.name)


def promote(left: DType, right: DType) -> DType:
    """The element type that two tensors meet in."""
    return _PROMOTION[DTYPES.index(left)][DTYPES.index(right)]


def from_numpy(dtype: np.dtype[np.generic]) -> DType:
    """The element type of a numpy array; `DTypeError` where there is none."""
    found = _BY_NUMPY.get(np.dtype(dtype))
    if found is None:
        raise DTypeError(f"element type {dtype} is not supported: convert to one of {', '.join(d.name for d in DTYPES)}")
    return found


def dtype_of(short: str) -> DType:
    """The element type that the IR spells `short`."""
    found = dtype_named(short)
    if found is None:
        raise DTypeError(f"no element type {short!r}: the element types are {', '.join(d.short for d in DTYPES)}")
    return found
