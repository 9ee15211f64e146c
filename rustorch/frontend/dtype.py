"""Element types, sizes and devices under the names that users know."""

from __future__ import annotations

from typing import Any

import numpy as np

from rustorch.errors import DTypeError, Unsupported, compose
from rustorch.frontend.base import TensorBase
from rustorch.frontend.emission import result_type as meet_all
from rustorch.frontend.segment import Scalar
from rustorch.frontend.state import defaults, local
from rustorch.ir import dtypes
from rustorch.ir.dtypes import bool_, f32, f64, i32, i64
from rustorch.ir.graph import Value
from rustorch.ir.types import DType

dtype = DType
float32 = float_ = f32
float64 = double = f64
int32 = int_ = i32
int64 = long = i64


class Size(tuple[int, ...]):
    """A shape."""

    __slots__ = ()

    def numel(self) -> int:
        """The number of elements."""
        total = 1
        for size in self:
            total *= size
        return total

    def __repr__(self) -> str:
        return f"rustorch.Size({list(self)})"


class device:
    """Where tensors are: `cpu`, always."""

    __slots__ = ("index", "type")

    def __init__(self, type: Any = "cpu", index: int | None = None) -> None:
        name = str(getattr(type, "type", type)).partition(":")[0]
        if name != "cpu":
            raise Unsupported(compose(f"device {type!r} is not there", todo="rustorch computes on the cpu"))
        self.type, self.index = name, index

    def __eq__(self, other: object) -> bool:
        return isinstance(other, device) or other == "cpu"

    def __hash__(self) -> int:
        return hash("cpu")

    def __repr__(self) -> str:
        return "device(type='cpu')"

    def __str__(self) -> str:
        return "cpu"


CPU = device("cpu")


def get_default_dtype() -> DType:
    """The element type of Python floats and of factories."""
    return defaults.dtype


def set_default_dtype(d: DType) -> None:
    """Set the element type of Python floats and of factories: `float32` or `float64`."""
    if not isinstance(d, DType) or d.kind != "float":
        raise DTypeError("only floating-point types are supported as the default type")
    if d is not defaults.dtype:
        segment = local.segment
        if hasattr(segment, "close"):
            segment.close("the default element type")
        defaults.dtype = d
        defaults.epoch += 1


def as_dtype(d: Any) -> DType:
    """The element type that a user names: ours, numpy's, or a Python type."""
    if isinstance(d, DType):
        return d
    if d is float:
        return defaults.dtype
    if d is int:
        return i64
    if d is bool:
        return bool_
    try:
        return dtypes.from_numpy(np.dtype(d))
    except TypeError:
        raise DTypeError(f"{d!r} is no element type") from None


def promote_types(type1: DType, type2: DType) -> DType:
    """The element type that two meet in."""
    return dtypes.promote(type1, type2)


def can_cast(from_: DType, to: DType) -> bool:
    """Whether numbers of one element type may be written as another: not floats as integers, nor integers as bools."""
    return _CATEGORY[from_.kind] <= _CATEGORY[to.kind]


_CATEGORY = {"bool": 0, "int": 1, "float": 2, "complex": 3}


def result_type(*tensors: Any) -> DType:
    """The element type that tensors and numbers meet in."""
    return meet_all(*(Value(x._type) if isinstance(x, TensorBase) else x for x in tensors))


class finfo:
    """The limits of a floating-point type."""

    def __init__(self, type: DType | None = None) -> None:
        kind = defaults.dtype if type is None else type
        if kind.kind != "float":
            raise DTypeError(f"finfo() requires a floating point input type. Use iinfo to handle '{kind!r}'")
        found: Any = np.finfo(kind.numpy)
        self.bits, self.dtype = kind.bits, kind.name
        self.eps, self.max, self.min = float(found.eps), float(found.max), float(found.min)
        self.tiny = self.smallest_normal = float(found.tiny)
        self.resolution = float(10.0**-found.precision)

    def __repr__(self) -> str:
        return f"finfo(resolution={self.resolution}, min={self.min}, max={self.max}, eps={self.eps}, tiny={self.tiny}, dtype={self.dtype})"


class iinfo:
    """The limits of an integer type."""

    def __init__(self, type: DType) -> None:
        if type.kind != "int":
            raise DTypeError(f"iinfo() requires an integer input type. Use finfo to handle '{type!r}'")
        found = np.iinfo(type.numpy)
        self.bits, self.dtype, self.max, self.min = type.bits, type.name, int(found.max), int(found.min)

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"


def is_scalar(x: Any) -> bool:
    """Whether an operand is a Python number."""
    return isinstance(x, (bool, int, float, Scalar))
