"""Types of values: tensors above, vectors, buffers and bare scalars in the loop dialect. Interned: `is` compares.

    f32[4, n]        a tensor: element type and sizes; rank 0 is f32[]
    vec<8xf32>       a vector register's worth of elements
    buf<f32[4, 8]>   memory behind a tensor, with strides in elements
    f32              one element (loop dialect)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rustorch.ir.dims import Dim, Size, product, symbol, symbols

_interned: dict[tuple[Any, ...], Any] = {}


class DType:
    """An element type. `dtype["n", 3]` is the type of a tensor with a named dimension."""

    __slots__ = ("name", "short", "kind", "bits", "numpy")

    def __init__(self, name: str, short: str, kind: str, bits: int) -> None:
        self.name, self.short, self.kind, self.bits = name, short, kind, bits
        self.numpy = np.dtype("bool" if kind == "bool" else name)

    @property
    def is_floating_point(self) -> bool:
        """Whether values are floating-point numbers."""
        return self.kind == "float"

    @property
    def itemsize(self) -> int:
        """Bytes of one element in memory."""
        return int(self.numpy.itemsize)

    def __getitem__(self, shape: int | str | Dim | tuple[int | str | Dim, ...]) -> TensorType:
        sizes = shape if isinstance(shape, tuple) else (shape,)
        return TensorType(self, tuple(symbol(s) if isinstance(s, str) else s for s in sizes))

    def __str__(self) -> str:
        return self.short

    def __repr__(self) -> str:
        return f"rustorch.{self.name}"

    def __reduce__(self) -> tuple[Any, ...]:
        return _dtype_by_short, (self.short,)


_dtypes: dict[str, DType] = {}


def _dtype_by_short(short: str) -> DType:
    return _dtypes[short]


def define_dtype(name: str, short: str, kind: str, bits: int) -> DType:
    """Register an element type (called by `dtypes` only)."""
    dtype = _dtypes[short] = DType(name, short, kind, bits)
    return dtype


def dtype_named(short: str) -> DType | None:
    """The element type that the IR spells `short`, or None."""
    return _dtypes.get(short)


class TensorType:
    """Type of a tensor: element type and shape."""

    __slots__ = ("dtype", "shape")
    dtype: DType
    shape: tuple[Size, ...]

    def __new__(cls, dtype: DType, shape: tuple[Size, ...] = ()) -> TensorType:
        key = (cls, dtype, shape)
        known: TensorType | None = _interned.get(key)
        if known is None:
            known = super().__new__(cls)
            known.dtype, known.shape = dtype, shape
            _interned[key] = known
        return known

    @property
    def rank(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> Size:
        """Number of elements."""
        return product(self.shape)

    @property
    def is_static(self) -> bool:
        """Whether every size is known."""
        return all(isinstance(s, int) for s in self.shape)

    def symbols(self) -> list[str]:
        """Names of the symbolic dimensions, in order of appearance."""
        names: list[str] = []
        for size in self.shape:
            names += [n for n in sorted(symbols(size)) if n not in names]
        return names

    def with_dtype(self, dtype: DType) -> TensorType:
        """The same shape with another element type."""
        return TensorType(dtype, self.shape)

    def with_shape(self, shape: tuple[Size, ...]) -> TensorType:
        """The same element type with another shape."""
        return TensorType(self.dtype, shape)

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"

    __repr__ = __str__

    def __reduce__(self) -> tuple[Any, ...]:
        return TensorType, (self.dtype, self.shape)


class VectorType:
    """Type of a vector register's worth of elements."""

    __slots__ = ("dtype", "lanes")
    dtype: DType
    lanes: int

    def __new__(cls, dtype: DType, lanes: int) -> VectorType:
        key = (cls, dtype, lanes)
        known: VectorType | None = _interned.get(key)
        if known is None:
            known = super().__new__(cls)
            known.dtype, known.lanes = dtype, lanes
            _interned[key] = known
        return known

    def with_dtype(self, dtype: DType) -> VectorType:
        """As many lanes of another element type."""
        return VectorType(dtype, self.lanes)

    def __str__(self) -> str:
        return f"vec<{self.lanes}x{self.dtype}>"

    __repr__ = __str__


class BufferType:
    """Type of the memory behind a tensor: row-major sizes of `shape`."""

    __slots__ = ("dtype", "shape")
    dtype: DType
    shape: tuple[Size, ...]

    def __new__(cls, dtype: DType, shape: tuple[Size, ...]) -> BufferType:
        key = (cls, dtype, shape)
        known: BufferType | None = _interned.get(key)
        if known is None:
            known = super().__new__(cls)
            known.dtype, known.shape = dtype, shape
            _interned[key] = known
        return known

    def __str__(self) -> str:
        return f"buf<{self.dtype}[{', '.join(map(str, self.shape))}]>"

    __repr__ = __str__


Type = TensorType | VectorType | BufferType | DType


def element(type_: Type) -> DType:
    """The element type of a type."""
    return type_ if isinstance(type_, DType) else type_.dtype


def with_element(type_: Type, dtype: DType) -> Type:
    """The same tensor, vector or scalar type over another element type."""
    if isinstance(type_, DType):
        return dtype
    if isinstance(type_, BufferType):
        return BufferType(dtype, type_.shape)
    return type_.with_dtype(dtype)


def contiguous_strides(shape: tuple[Size, ...]) -> tuple[Size, ...]:
    """Row-major strides, in elements."""
    strides: list[Size] = []
    step: Size = 1
    for size in reversed(shape):
        strides.append(step)
        step = step * size
    return tuple(reversed(strides))
