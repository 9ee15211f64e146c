"""Values that stand in the attributes: constants and counters."""

from __future__ import annotations

from typing import Any

import numpy as np

from rustorch.errors import ArgumentError, DTypeError, ShapeError, compose
from rustorch.ir.dtypes import NUMBERS, bool_, f32, f64, i32, i64
from rustorch.ir.graph import Payload
from rustorch.ir.op import Internal, Nest, Never, Refusal, Sample, Trait, Zero
from rustorch.ir.types import BufferType, TensorType, Type, element
from rustorch.ops.family import Array, check_axes, general, not_taken, sizes_of, tensor


def _const_type(*, value: Any, type: Type) -> Type:
    if isinstance(type, BufferType):
        raise DTypeError(compose("const gives tensors, vectors and elements", f"found {type}"))
    if isinstance(value, Payload):
        if value.array.shape != sizes_of(type):
            raise ShapeError(compose("const: the array's shape is not the type's", f"found {list(value.array.shape)} for {type}"))
        if value.array.dtype != element(type).numpy:
            raise DTypeError(compose("const: the array's element type is not the type's", f"found {value.array.dtype} for {type}"))
    elif not isinstance(value, (bool, int, float)):
        raise ArgumentError(compose("const: `value` must be a number or an array", f"found {value!r}"))
    return type


def _const(*, value: Any, type: Type) -> Array:
    if isinstance(value, Payload):
        return value.array
    shape: Any = sizes_of(type)
    return np.full(shape, value, element(type).numpy)


const = general(
    "const",
    "A number repeated over the whole type, or an array.",
    public=Internal("Python numbers and captured arrays"),
    operands=0,
    infer=_const_type,
    reference=_const,
    derivative=Zero("a constant"),
    batch=None,
    lower=Never("its readers hold it"),
    attributes=("value", "type"),
    traits=frozenset({Trait.PURE, Trait.CONSTANT}),
    cost=0,
    samples=(
        Sample(lambda rng: (), {"value": 1.5, "type": f32[()]}, label="0-d"),
        Sample(lambda rng: (), {"value": -0.0, "type": f64[2, 3]}, label="negative zero"),
        Sample(lambda rng: (), {"value": float("nan"), "type": f32[4]}, label="NaN"),
        Sample(lambda rng: (), {"value": True, "type": bool_[67]}, label="bool"),
        Sample(lambda rng: (), {"value": -(1 << 63), "type": i64[1]}, label="smallest integer"),
        Sample(lambda rng: (), {"value": Payload(np.arange(67, dtype=np.int32)), "type": i32[67]}, label="array"),
        Sample(lambda rng: (), {"value": Payload(np.ones((0, 3))), "type": f64[0, 3]}, label="empty array"),
    ),
    errors=(
        Refusal((), {"value": Payload(np.ones(3)), "type": f64[4]}, ShapeError, "not the type's"),
        Refusal((), {"value": Payload(np.ones(3)), "type": f32[3]}, DTypeError, "not the type's"),
        Refusal((), {"value": "1", "type": f32[3]}, ArgumentError, "must be a number"),
        Refusal((), {"value": 1, "type": BufferType(f32, (3,))}, DTypeError, "const gives"),
    ),
)


def _iota_type(*, type: Type, axis: int) -> Type:
    counted = tensor("iota", type)
    if counted.dtype not in NUMBERS:
        raise DTypeError(not_taken("iota", counted, NUMBERS))
    check_axes("iota", (axis,), counted)
    return counted


def _iota(*, type: TensorType, axis: int) -> Array:
    shape: Any = type.shape
    steps = np.arange(shape[axis], dtype=type.dtype.numpy)
    return np.broadcast_to(steps.reshape([-1 if a == axis else 1 for a in range(len(shape))]), shape).copy()


iota = general(
    "iota",
    "The index along `axis`: 0, 1, 2, …",
    public=Internal("arange, one-hot masks and random bits"),
    operands=0,
    infer=_iota_type,
    reference=_iota,
    derivative=Zero("a constant"),
    batch=None,
    lower=Nest("iota"),
    attributes=("type", "axis"),
    samples=(
        Sample(lambda rng: (), {"type": i64[67], "axis": 0}, label="i64[67]"),
        Sample(lambda rng: (), {"type": i32[3, 5], "axis": 1}, label="last axis"),
        Sample(lambda rng: (), {"type": f32[20, 3], "axis": 0}, label="first axis, f32"),
        Sample(lambda rng: (), {"type": f64[1], "axis": 0}, label="size 1"),
        Sample(lambda rng: (), {"type": i64[0, 2], "axis": 0}, label="empty"),
    ),
    errors=(
        Refusal((), {"type": i64[3], "axis": 1}, IndexError, "out of range"),
        Refusal((), {"type": bool_[3], "axis": 0}, DTypeError, "does not take element type"),
        Refusal((), {"type": i64, "axis": 0}, DTypeError, "takes tensors"),
    ),
)
