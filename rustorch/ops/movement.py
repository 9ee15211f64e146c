"""Movement: other shapes, orders and extents of the same elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rustorch.errors import ArgumentError, DimensionError, DTypeError, ShapeError, compose
from rustorch.ir.builder import Builder
from rustorch.ir.dims import Size, product, symbol
from rustorch.ir.dtypes import DTYPES, bool_, f32, f64, i64
from rustorch.ir.graph import Value
from rustorch.ir.op import IndexMap, Linear, Nest, Refusal, Rules, Sample
from rustorch.ir.types import TensorType, Type
from rustorch.ops.family import Array, Domain, Shape, batch_size, check_axes, movement, others, shape_of, tensor, with_batch

_draw = Domain(-9, 9).drawn


def _of_every_type(shape: tuple[int, ...], attrs: dict[str, Any], operands: int = 1) -> tuple[Sample, ...]:
    return tuple(Sample(_draw(*(shape,) * operands, dtype=d), attrs, d is f64, f"{d}{list(shape)}") for d in DTYPES)


def _text(shape: Sequence[Size]) -> str:
    return f"[{', '.join(map(str, shape))}]"


def _known_negative(*sizes: Size) -> bool:
    return any(isinstance(s, int) and s < 0 for s in sizes)


def _after(axes: Sequence[int]) -> tuple[int, ...]:
    """The axes, behind a new leading one."""
    return tuple(a + 1 for a in axes)


# --- reshape ----------------------------------------------------------------------------------------------------------


def _reshape_type(x: Type, *, shape: Shape) -> TensorType:
    type_ = tensor("reshape", x)
    if _known_negative(*shape):
        raise ShapeError(
            compose("reshape takes the whole shape", f"found {_text(shape)} for {x}", todo="give every size; -1 is resolved at the door")
        )
    if product(shape) != type_.size:
        found = f"found {x}, which has {type_.size} elements, and {_text(shape)}, which has {product(shape)}"
        raise ShapeError(compose("reshape keeps the number of elements", found))
    return type_.with_shape(shape)


def _reshape_batch(b: Builder, operands: Sequence[Value], batched: Sequence[bool], attrs: dict[str, Any]) -> Value:
    result: Value = b.reshape(operands[0], shape=(batch_size(operands, batched), *attrs["shape"]))
    return result


reshape = movement(
    "reshape",
    "The elements in row-major order under another shape of as many elements.",
    infer=_reshape_type,
    reference=lambda x, shape: x.reshape(shape),
    derivative=Linear((lambda b, ct, x, shape: b.reshape(ct, shape=shape_of(x)),)),
    batch=_reshape_batch,
    lower=Nest("reshape"),
    attributes=("shape",),
    samples=(
        *_of_every_type((2, 6), {"shape": (3, 4)}),
        Sample(_draw((1, 1)), {"shape": ()}, label="to 0-d"),
        Sample(_draw(()), {"shape": (1, 1)}, label="from 0-d"),
        Sample(_draw((67,)), {"shape": (67, 1)}, label="67"),
        Sample(_draw((0, 3)), {"shape": (5, 0)}, label="empty"),
        Sample(_draw((2, 3, 4)), {"shape": (6, 4)}, label="merged axes"),
    ),
    errors=(
        Refusal((f32[2, 3],), {"shape": (4,)}, ShapeError, "keeps the number of elements"),
        Refusal((f32["n", 3],), {"shape": (symbol("n"),)}, ShapeError, "keeps the number of elements"),
        Refusal((f32[2, 3],), {"shape": (-1,)}, ShapeError, "takes the whole shape"),
    ),
)

# --- transpose --------------------------------------------------------------------------------------------------------


def _transpose_type(x: Type, *, perm: tuple[int, ...]) -> TensorType:
    type_ = tensor("transpose", x)
    if sorted(perm) != list(range(type_.rank)):
        raise ArgumentError(compose(f"transpose: `perm` must order the axes 0 to {type_.rank - 1}", f"found {list(perm)} for {x}"))
    return type_.with_shape(tuple(type_.shape[p] for p in perm))


def inverse(perm: Sequence[int]) -> tuple[int, ...]:
    """The permutation that undoes `perm`."""
    return tuple(perm.index(axis) for axis in range(len(perm)))


def _transpose_batch(b: Builder, operands: Sequence[Value], batched: Sequence[bool], attrs: dict[str, Any]) -> Value:
    result: Value = b.transpose(operands[0], perm=(0, *_after(attrs["perm"])))
    return result


transpose = movement(
    "transpose",
    "Result axis k is operand axis perm[k].",
    infer=_transpose_type,
    reference=lambda x, perm: np.transpose(x, perm),
    derivative=Linear((lambda b, ct, x, perm: b.transpose(ct, perm=inverse(perm)),)),
    batch=_transpose_batch,
    lower=IndexMap(lambda result, operands, attrs: [[(axis, 1, 0) for axis in inverse(attrs["perm"])]]),
    attributes=("perm",),
    samples=(
        *_of_every_type((3, 5), {"perm": (1, 0)}),
        Sample(_draw(()), {"perm": ()}, label="0-d"),
        Sample(_draw((67,)), {"perm": (0,)}, label="67"),
        Sample(_draw((2, 0, 3)), {"perm": (2, 0, 1)}, label="empty"),
        Sample(_draw((2, 3, 4)), {"perm": (2, 0, 1)}, label="cycle"),
        Sample(_draw((1, 67)), {"perm": (1, 0)}, label="size 1"),
        Sample(_draw((19, 67)), {"perm": (1, 0)}, label="large"),
    ),
    errors=(
        Refusal((f32[2, 3],), {"perm": (0,)}, ArgumentError, "must order the axes"),
        Refusal((f32[2, 3],), {"perm": (0, 0)}, ArgumentError, "must order the axes"),
        Refusal((f32[2, 3],), {"perm": (0, 2)}, ArgumentError, "must order the axes"),
    ),
)

# --- broadcast_to -----------------------------------------------------------------------------------------------------


def _broadcast_type(x: Type, *, shape: Shape, dims: tuple[int, ...]) -> TensorType:
    type_ = tensor("broadcast_to", x)
    result = type_.with_shape(shape)
    if _known_negative(*shape):
        raise ShapeError(compose("broadcast_to takes sizes that are not negative", f"found {_text(shape)}"))
    if len(dims) != type_.rank:
        raise ArgumentError(compose("broadcast_to: `dims` names a result axis for each operand axis", f"found {list(dims)} for {x}"))
    check_axes("broadcast_to", dims, result, ascending=True)
    for axis, dim in enumerate(dims):
        if type_.shape[axis] not in (1, shape[dim]):
            found = f"axis {axis} of {x} is to become axis {dim} of {_text(shape)}"
            raise ShapeError(compose("broadcast_to repeats axes of size 1 only", found, todo="sizes must be equal, or the operand's 1"))
    return result


def _repeated(x: TensorType, shape: Shape, dims: tuple[int, ...]) -> list[int]:
    """The axes of x that have size 1 and are repeated."""
    return [axis for axis, dim in enumerate(dims) if x.shape[axis] != shape[dim]]


def _broadcast_transpose(b: Builder, ct: Value, x: Value, shape: Shape, dims: tuple[int, ...]) -> Value:
    type_ = tensor("broadcast_to", x.type)
    added = others(len(shape), dims)
    summed = b.reduce_sum(ct, axes=tuple(sorted((*added, *(dims[a] for a in _repeated(type_, shape, dims))))))
    result: Value = b.reshape(summed, shape=type_.shape)
    return result


def _broadcast_reference(x: Array, shape: tuple[int, ...], dims: tuple[int, ...]) -> Array:
    aligned = [1] * len(shape)
    for axis, dim in enumerate(dims):
        aligned[dim] = x.shape[axis]
    return np.broadcast_to(x.reshape(aligned), shape).copy()


def _broadcast_access(result: TensorType, operands: Sequence[TensorType], attrs: dict[str, Any]) -> list[list[tuple[int | None, int, int]]]:
    dims = attrs["dims"]
    still = _repeated(operands[0], result.shape, dims)
    return [[(None, 0, 0) if axis in still else (dim, 1, 0) for axis, dim in enumerate(dims)]]


def _broadcast_batch(b: Builder, operands: Sequence[Value], batched: Sequence[bool], attrs: dict[str, Any]) -> Value:
    size = batch_size(operands, batched)
    result: Value = b.broadcast_to(operands[0], shape=(size, *attrs["shape"]), dims=(0, *_after(attrs["dims"])))
    return result


broadcast_to = movement(
    "broadcast_to",
    "Operand axis k is result axis dims[k] (ascending), repeated where the operand's size is 1; other result axes repeat the whole.",
    infer=_broadcast_type,
    reference=_broadcast_reference,
    derivative=Linear((_broadcast_transpose,)),
    batch=_broadcast_batch,
    lower=IndexMap(_broadcast_access),
    attributes=("shape", "dims"),
    samples=(
        *_of_every_type((5,), {"shape": (3, 5), "dims": (1,)}),
        Sample(_draw(()), {"shape": (67,), "dims": ()}, label="of 0-d"),
        Sample(_draw(()), {"shape": (), "dims": ()}, label="0-d"),
        Sample(_draw((3,)), {"shape": (3, 67), "dims": (0,)}, label="along the last axis"),
        Sample(_draw((2, 1, 3)), {"shape": (2, 4, 3), "dims": (0, 1, 2)}, label="size 1 in the middle"),
        Sample(_draw((1, 4)), {"shape": (2, 5, 3, 4), "dims": (1, 3)}, label="both ways"),
        Sample(_draw((1,)), {"shape": (0, 2), "dims": (0,)}, label="to nothing"),
        Sample(_draw((1,)), {"shape": (1, 1), "dims": (0,)}, label="size 1"),
    ),
    errors=(
        Refusal((f32[3],), {"shape": (2, 4), "dims": (1,)}, ShapeError, "repeats axes of size 1 only"),
        Refusal((f32["n"],), {"shape": (2, 4), "dims": (1,)}, ShapeError, "repeats axes of size 1 only"),
        Refusal((f32[3],), {"shape": (2, 3), "dims": ()}, ArgumentError, "for each operand axis"),
        Refusal((f32[3],), {"shape": (2, 3), "dims": (2,)}, DimensionError, "out of range"),
        Refusal((f32[3, 2],), {"shape": (2, 3), "dims": (1, 0)}, ArgumentError, "ascending"),
        Refusal((f32[()],), {"shape": (-2,), "dims": ()}, ShapeError, "not negative"),
    ),
)

# --- slice ------------------------------------------------------------------------------------------------------------


def _per_axis(name: str, type_: TensorType, **lists: Sequence[Size]) -> None:
    for key, values in lists.items():
        if len(values) != type_.rank:
            raise ArgumentError(compose(f"{name}: `{key}` has an entry for each axis", f"found {_text(values)} for {type_}"))


def _slice_type(x: Type, *, starts: Shape, limits: Shape, strides: tuple[int, ...]) -> TensorType:
    type_ = tensor("slice", x)
    _per_axis("slice", type_, starts=starts, limits=limits, strides=strides)
    sizes: list[Size] = []
    for axis, (size, start, limit, stride) in enumerate(zip(type_.shape, starts, limits, strides, strict=True)):
        if stride < 1:
            raise ArgumentError(compose("slice takes positive strides", f"found {stride} along axis {axis}", todo="flip the axis first"))
        if _known_negative(start, limit - start, size - limit):
            found = f"found {start} to {limit} of {size} along axis {axis} of {x}"
            raise DimensionError(compose("slice stays inside its operand", found, todo="0 <= start <= limit <= size"))
        sizes.append(limit - start if stride == 1 else (limit - start + (stride - 1)) // stride)
    return type_.with_shape(tuple(sizes))


def _slice_reference(x: Array, starts: Sequence[int], limits: Sequence[int], strides: Sequence[int]) -> Array:
    return x[tuple(slice(*bounds) for bounds in zip(starts, limits, strides, strict=True))]


def _slice_transpose(b: Builder, ct: Value, x: Value, starts: Shape, limits: Shape, strides: tuple[int, ...]) -> Value:
    """The cotangent's elements in their old places, zeros elsewhere."""
    rank = len(strides)
    for axis, stride in enumerate(strides):
        if stride > 1:
            ct = spaced(b, ct, axis, stride, limits[axis] - starts[axis])
    high = tuple(size - limit for size, limit in zip(shape_of(x), limits, strict=True))
    padded: Value = b.pad(ct, low=starts, high=high, value=_zero_like(ct)) if rank else ct
    return padded


def spaced(b: Builder, x: Value, axis: int, stride: int, extent: Size) -> Value:
    """`stride - 1` zeros behind each element along an axis, then cut or filled to `extent`."""
    shape = shape_of(x)
    rank = len(shape)
    apart = b.reshape(x, shape=(*shape[: axis + 1], 1, *shape[axis + 1 :]))
    filled = b.pad(
        apart, low=(0,) * (rank + 1), high=tuple(stride - 1 if a == axis + 1 else 0 for a in range(rank + 1)), value=_zero_like(x)
    )
    joined = b.reshape(filled, shape=(*shape[:axis], shape[axis] * stride, *shape[axis + 1 :]))
    limits = tuple(extent if a == axis else size for a, size in enumerate(shape))
    cut: Value = b.slice(joined, starts=(0,) * rank, limits=limits, strides=(1,) * rank)
    return cut


def _zero_like(x: Value) -> int | float | bool:
    zero: int | float | bool = tensor("zero", x.type).dtype.numpy.type(0).item()
    return zero


def _slice_batch(b: Builder, operands: Sequence[Value], batched: Sequence[bool], attrs: dict[str, Any]) -> Value:
    size = batch_size(operands, batched)
    result: Value = b.slice(operands[0], starts=(0, *attrs["starts"]), limits=(size, *attrs["limits"]), strides=(1, *attrs["strides"]))
    return result


slice_ = movement(
    "slice",
    "The elements from `starts` to before `limits`, every `strides`-th, along each axis. Strides are positive (see flip).",
    infer=_slice_type,
    reference=_slice_reference,
    derivative=Linear((_slice_transpose,)),
    batch=_slice_batch,
    lower=IndexMap(
        lambda result, operands, attrs: [
            [(axis, step, start) for axis, (start, step) in enumerate(zip(attrs["starts"], attrs["strides"], strict=True))]
        ]
    ),
    attributes=("starts", "limits", "strides"),
    samples=(
        *_of_every_type((4, 5), {"starts": (1, 0), "limits": (3, 5), "strides": (1, 1)}),
        Sample(_draw(()), {"starts": (), "limits": (), "strides": ()}, label="0-d"),
        Sample(_draw((67,)), {"starts": (3,), "limits": (66,), "strides": (2,)}, label="stride 2"),
        Sample(_draw((67,)), {"starts": (0,), "limits": (67,), "strides": (3,)}, label="stride 3"),
        Sample(_draw((7, 9)), {"starts": (1, 2), "limits": (7, 9), "strides": (5, 3)}, label="strides 5 and 3"),
        Sample(_draw((5,)), {"starts": (4,), "limits": (5,), "strides": (7,)}, label="one element"),
        Sample(_draw((5, 2)), {"starts": (2, 0), "limits": (2, 2), "strides": (1, 1)}, label="empty"),
        Sample(_draw((5,)), {"starts": (2,), "limits": (2,), "strides": (2,)}, label="empty, stride 2"),
    ),
    errors=(
        Refusal((f32[4],), {"starts": (0,), "limits": (5,), "strides": (1,)}, DimensionError, "stays inside"),
        Refusal((f32[4],), {"starts": (-1,), "limits": (3,), "strides": (1,)}, DimensionError, "stays inside"),
        Refusal((f32[4],), {"starts": (3,), "limits": (2,), "strides": (1,)}, DimensionError, "stays inside"),
        Refusal((f32[4],), {"starts": (0,), "limits": (4,), "strides": (-1,)}, ArgumentError, "flip"),
        Refusal((f32[4, 2],), {"starts": (0,), "limits": (4, 2), "strides": (1, 1)}, ArgumentError, "an entry for each axis"),
        Refusal(
            (f32["n"],), {"starts": (0,), "limits": (symbol("n") - (symbol("n") + 1),), "strides": (1,)}, DimensionError, "stays inside"
        ),
    ),
)

# --- pad --------------------------------------------------------------------------------------------------------------


def _pad_type(x: Type, *, low: Shape, high: Shape, value: int | float | bool) -> TensorType:
    type_ = tensor("pad", x)
    _per_axis("pad", type_, low=low, high=high)
    if _known_negative(*low, *high):
        raise ArgumentError(
            compose("pad adds elements", f"found low {_text(low)} and high {_text(high)}", todo="slice takes elements away")
        )
    if (isinstance(value, float) and not type_.dtype.is_floating_point) or isinstance(value, bool) is not (type_.dtype is bool_):
        raise DTypeError(compose("pad: `value` must be of the operand's element type", f"found {value!r} for {x}"))
    return type_.with_shape(tuple(lo + size + hi for lo, size, hi in zip(low, type_.shape, high, strict=True)))


def _pad_reference(x: Array, low: Sequence[int], high: Sequence[int], value: int | float | bool) -> Array:
    return np.pad(x, list(zip(low, high, strict=True)), constant_values=value) if x.ndim else x


def _pad_jvp(b: Builder, operands: Any, tangents: Any, results: Any, attrs: Any) -> list[Value | None]:
    (t,) = tangents
    return [None if t is None else b.pad(t, low=attrs["low"], high=attrs["high"], value=_zero_like(t))]


def _pad_vjp(b: Builder, cotangents: Any, operands: Any, results: Any, attrs: Any) -> list[Value | None]:
    (ct,), (x,) = cotangents, operands
    if ct is None:
        return [None]
    limits = tuple(lo + size for lo, size in zip(attrs["low"], shape_of(x), strict=True))
    return [b.slice(ct, starts=attrs["low"], limits=limits, strides=(1,) * len(limits))]


def _pad_batch(b: Builder, operands: Sequence[Value], batched: Sequence[bool], attrs: dict[str, Any]) -> Value:
    result: Value = b.pad(operands[0], low=(0, *attrs["low"]), high=(0, *attrs["high"]), value=attrs["value"])
    return result


pad = movement(
    "pad",
    "`low` elements of `value` before and `high` behind, along each axis.",
    infer=_pad_type,
    reference=_pad_reference,
    derivative=Rules(_pad_jvp, _pad_vjp),
    batch=_pad_batch,
    lower=Nest("pad"),
    attributes=("low", "high", "value"),
    samples=(
        *(
            Sample(_draw((3, 5), dtype=d), {"low": (1, 0), "high": (0, 2), "value": d is bool_ or 2}, d is f64, f"{d}[3, 5]")
            for d in DTYPES
        ),
        Sample(_draw((67,)), {"low": (1,), "high": (3,), "value": 0.0}, label="67"),
        Sample(_draw(()), {"low": (), "high": (), "value": 0.0}, label="0-d"),
        Sample(_draw((0, 2)), {"low": (1, 0), "high": (1, 0), "value": 1.5}, label="of nothing"),
        Sample(_draw((2, 1, 3)), {"low": (0, 1, 2), "high": (0, 0, 1), "value": -1.0}, label="rank 3"),
        Sample(_draw((3,), dtype=f32), {"low": (2,), "high": (0,), "value": float("-inf")}, False, "infinity"),
    ),
    errors=(
        Refusal((f32[3],), {"low": (-1,), "high": (0,), "value": 0.0}, ArgumentError, "slice takes elements away"),
        Refusal((f32[3],), {"low": (0, 0), "high": (0,), "value": 0.0}, ArgumentError, "an entry for each axis"),
        Refusal((i64[3],), {"low": (0,), "high": (0,), "value": 0.5}, DTypeError, "element type"),
        Refusal((bool_[3],), {"low": (0,), "high": (0,), "value": 1}, DTypeError, "element type"),
    ),
)

# --- concat -----------------------------------------------------------------------------------------------------------


def _concat_type(*types: Type, axis: int) -> TensorType:
    if not types:
        raise ArgumentError(compose("concat takes at least one operand", "found none"))
    parts = [tensor("concat", t) for t in types]
    first = parts[0]
    check_axes("concat", (axis,), first)
    total: Size = 0
    for part in parts:
        if part.dtype is not first.dtype:
            raise DTypeError(
                compose("concat: the operands' element types differ", f"found {first} and {part}", todo="convert them to one type first")
            )
        if part.rank != first.rank or any(p != f for a, (p, f) in enumerate(zip(part.shape, first.shape, strict=True)) if a != axis):
            raise ShapeError(compose(f"concat: the operands' shapes differ beside axis {axis}", f"found {first} and {part}"))
        total = total + part.shape[axis]
    return first.with_shape(tuple(total if a == axis else size for a, size in enumerate(first.shape)))


def _concat_part(b: Builder, i: int, ct: Value, *operands: Value, axis: int) -> Value:
    shape = shape_of(operands[i])
    start: Size = 0
    for before in operands[:i]:
        start = start + shape_of(before)[axis]
    starts = tuple(start if a == axis else 0 for a in range(len(shape)))
    limits = tuple(start + size if a == axis else size for a, size in enumerate(shape))
    part: Value = b.slice(ct, starts=starts, limits=limits, strides=(1,) * len(shape))
    return part


def _concat_batch(b: Builder, operands: Sequence[Value], batched: Sequence[bool], attrs: dict[str, Any]) -> Value:
    size = batch_size(operands, batched)
    aligned = [with_batch(b, x, yes, size) for x, yes in zip(operands, batched, strict=True)]
    result: Value = b.concat(*aligned, axis=attrs["axis"] + 1)
    return result


concat = movement(
    "concat",
    "The operands one behind the other along `axis`.",
    operands=None,
    infer=_concat_type,
    reference=lambda *arrays, axis: np.concatenate(arrays, axis),
    derivative=Linear(each=_concat_part),
    batch=_concat_batch,
    lower=Nest("concat"),
    attributes=("axis",),
    samples=(
        *_of_every_type((3, 5), {"axis": 0}, operands=2),
        Sample(_draw((67,)), {"axis": 0}, label="one operand"),
        Sample(_draw((1,), (1,)), {"axis": 0}, label="size 1"),
        Sample(_draw((3, 2), (3, 67), (3, 4)), {"axis": 1}, label="three operands"),
        Sample(_draw((2,), (0,), (3,)), {"axis": 0}, label="nothing in the middle"),
        Sample(_draw((2, 1, 3), (2, 4, 3)), {"axis": 1}, label="middle axis"),
        Sample(_draw((0,), (0,)), {"axis": 0}, label="empty"),
    ),
    errors=(
        Refusal((), {"axis": 0}, ArgumentError, "at least one"),
        Refusal((f32[3], f64[3]), {"axis": 0}, DTypeError, "element types differ"),
        Refusal((f32[3, 2], f32[3, 4]), {"axis": 0}, ShapeError, "differ beside axis 0"),
        Refusal((f32[3], f32[3, 1]), {"axis": 0}, ShapeError, "differ beside axis 0"),
        Refusal((f32[3], f32[3]), {"axis": 1}, DimensionError, "out of range"),
    ),
)

# --- flip -------------------------------------------------------------------------------------------------------------


def _flip_type(x: Type, *, axes: tuple[int, ...]) -> TensorType:
    type_ = tensor("flip", x)
    check_axes("flip", axes, type_, ascending=True)
    return type_


def _flip_access(result: TensorType, operands: Sequence[TensorType], attrs: dict[str, Any]) -> list[list[tuple[int, int, Size]]]:
    return [[(axis, -1, size - 1) if axis in attrs["axes"] else (axis, 1, 0) for axis, size in enumerate(result.shape)]]


def _flip_batch(b: Builder, operands: Sequence[Value], batched: Sequence[bool], attrs: dict[str, Any]) -> Value:
    result: Value = b.flip(operands[0], axes=_after(attrs["axes"]))
    return result


flip = movement(
    "flip",
    "The elements in reverse order along `axes`.",
    infer=_flip_type,
    reference=lambda x, axes: np.flip(x, axes),
    derivative=Linear((lambda b, ct, x, axes: b.flip(ct, axes=axes),)),
    batch=_flip_batch,
    lower=IndexMap(_flip_access),
    attributes=("axes",),
    samples=(
        *_of_every_type((3, 5), {"axes": (1,)}),
        Sample(_draw(()), {"axes": ()}, label="0-d"),
        Sample(_draw((67,)), {"axes": (0,)}, label="67"),
        Sample(_draw((1,)), {"axes": (0,)}, label="size 1"),
        Sample(_draw((2, 0)), {"axes": (0, 1)}, label="empty"),
        Sample(_draw((2, 3, 4)), {"axes": (0, 2)}, label="two axes"),
    ),
    errors=(
        Refusal((f32[3],), {"axes": (1,)}, DimensionError, "out of range"),
        Refusal((f32[3, 2],), {"axes": (1, 0)}, ArgumentError, "ascending"),
    ),
)
