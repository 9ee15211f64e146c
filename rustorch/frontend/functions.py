"""The functions on tensors that users call: `rustorch.exp(x)`, `rustorch.cat(…)`. Elementwise ones come from the registry."""

from __future__ import annotations

import builtins
from typing import Any

from rustorch.errors import ArgumentError, compose
from rustorch.frontend import elementwise, indexing, movement, reduction
from rustorch.frontend.base import TensorBase
from rustorch.frontend.emission import Builder, Value, axis_of, dtype_of, operation, reduce, shape_of, together
from rustorch.frontend.indexing import gather, index_select, masked_fill, masked_select, nonzero, scatter_add, take_along_dim
from rustorch.frontend.movement import (
    broadcast_tensors,
    cat,
    chunk,
    flatten,
    flip,
    narrow,
    permute,
    reshape,
    select,
    split,
    squeeze,
    stack,
    t,
    transpose,
    unbind,
    unflatten,
    unsqueeze,
)
from rustorch.frontend.reduction import all, amax, amin, any, argmax, argmin, clamp, logsumexp, max, mean, min, prod, std, sum, var
from rustorch.frontend.storage import same
from rustorch.ir.types import DType

_mul, _add, _sub, _div = (elementwise.functions[name] for name in ("mul", "add", "sub", "div"))


def add(input: Any, other: Any, *, alpha: float = 1) -> Any:
    """`input + alpha * other`."""
    return _add(input, other) if alpha == 1 else _add(input, _mul(other, alpha))


def sub(input: Any, other: Any, *, alpha: float = 1) -> Any:
    """`input - alpha * other`."""
    return _sub(input, other) if alpha == 1 else _sub(input, _mul(other, alpha))


def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Any:
    """`input / other`; with `rounding_mode` "floor" or "trunc", rounded to whole numbers."""
    if rounding_mode is None:
        return _div(input, other)
    if rounding_mode == "floor":
        return elementwise.functions["floor_divide"](input, other)
    if rounding_mode == "trunc":
        return trunc(_div(input, other))
    raise ArgumentError(
        f"div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{rounding_mode}'"
    )


@operation
def trunc(b: Builder, input: Value) -> Value:
    """The whole number next to each element, toward zero."""
    found: Value = b.select(b.lt(input, 0), b.ceil(input), b.floor(input))
    return found


def rsub(input: Any, other: Any, *, alpha: float = 1) -> Any:
    """`other - alpha * input`."""
    return sub(other, input, alpha=alpha)


def addcmul(input: Any, tensor1: Any, tensor2: Any, *, value: float = 1) -> Any:
    """`input + value * tensor1 * tensor2`."""
    return add(input, _mul(tensor1, tensor2), alpha=value)


def addcdiv(input: Any, tensor1: Any, tensor2: Any, *, value: float = 1) -> Any:
    """`input + value * tensor1 / tensor2`."""
    return add(input, _div(tensor1, tensor2), alpha=value)


@operation
def lerp(b: Builder, input: Value, end: Value, weight: Any) -> Value:
    """The point at `weight` on the way from `input` to `end`."""
    found: Value = b.add(input, b.mul(b.sub(end, input), float(weight)))
    return found


def addmm(input: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """`beta * input + alpha * mat1 @ mat2`."""
    product = reduction.matmul_op(mat1, mat2)
    product = product if alpha == 1 else _mul(product, alpha)
    return _add(input if beta == 1 else _mul(input, beta), product)


def where(condition: Any, input: Any = None, other: Any = None) -> Any:
    """`input` where the condition holds, `other` elsewhere; without them, the places where the condition holds."""
    if input is None and other is None:
        return indexing.nonzero(condition, as_tuple=True)
    return reduction.where_op(condition, input, other)


def dot(input: Any, tensor: Any) -> Any:
    """The inner product of two vectors."""
    for x in (input, tensor):
        if len(x._type.shape) != 1:
            raise ArgumentError(f"1D tensors expected, but got {len(input._type.shape)}D and {len(tensor._type.shape)}D tensors")
    return reduction.matmul_op(input, tensor)


def outer(input: Any, vec2: Any) -> Any:
    """The products of all pairs of elements of two vectors."""
    return _mul(movement.unsqueeze(input, 1), vec2)


def clone(input: Any) -> Any:
    """A copy, through which gradients flow."""
    return same(input)


def numel(input: Any) -> builtins.int:
    """The number of elements."""
    return builtins.int(input.numel())


def is_tensor(obj: Any) -> builtins.bool:
    """Whether an object is a tensor."""
    return isinstance(obj, TensorBase)


def is_floating_point(input: Any) -> builtins.bool:
    """Whether the elements are floating-point numbers."""
    return bool(input._type.dtype.kind == "float")


def allclose(input: Any, other: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: builtins.bool = False) -> builtins.bool:
    """Whether all elements are within `atol + rtol * |other|` of each other. Looks at the elements."""
    return bool(reduction.all(isclose(input, other, rtol, atol, equal_nan)))


@operation
def isclose(
    b: Builder, input: Value, other: Value, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: builtins.bool = False
) -> Value:
    """Whether elements are within `atol + rtol * |other|` of each other."""
    x, y = together(b, input, other)
    near = b.le(b.abs(b.sub(x, y)), b.add(b.mul(b.abs(y), rtol), atol))
    finite = b.lt(b.abs(y), float("inf"))
    found = b.or_(b.eq(x, y), b.and_(near, finite))
    return b.or_(found, b.and_(b.ne(x, x), b.ne(y, y))) if equal_nan else found  # type: ignore[no-any-return]


def equal(input: Any, other: Any) -> builtins.bool:
    """Whether two tensors have one shape and equal elements. Looks at the elements."""
    return input._type.shape == other._type.shape and bool(reduction.all(elementwise.functions["eq"](input, other)))


@operation
def isnan(b: Builder, input: Value) -> Value:
    """Whether elements are NaN."""
    found: Value = b.ne(input, input)
    return found


@operation
def isinf(b: Builder, input: Value) -> Value:
    """Whether elements are infinite."""
    found: Value = b.eq(b.abs(input), float("inf"))
    return found


@operation
def isfinite(b: Builder, input: Value) -> Value:
    """Whether elements are neither infinite nor NaN."""
    found: Value = b.lt(b.abs(input), float("inf"))
    return found


@operation
def cumsum(b: Builder, input: Value, dim: builtins.int) -> Value:
    """Sums of all elements up to each one, along a dimension: by doubling steps, so log2(n) additions."""
    rank = len(shape_of(input))
    axis = axis_of(dim, rank)
    size = shape_of(input)[axis]
    if not isinstance(size, builtins.int):
        raise ArgumentError(compose("cumsum needs a known size"))
    total, step = input, 1
    while step < size:
        zeros = (0,) * rank
        head = b.slice(
            total, starts=zeros, limits=tuple(s - step if a == axis else s for a, s in enumerate(shape_of(input))), strides=(1,) * rank
        )
        low = tuple(step if a == axis else 0 for a in range(rank))
        total = b.add(total, b.pad(head, low=low, high=zeros, value=movement.zero_of(input)))
        step *= 2
    return total


def norm(input: Any, p: Any = 2, dim: Any = None, keepdim: builtins.bool = False, dtype: DType | None = None) -> Any:
    """The p-norm of the elements, or along dimensions; at 0 its gradient is 0."""
    x = input if dtype is None else input.to(dtype)
    return norm_op(x, 2.0 if p == "fro" else builtins.float(p), dim if dim is None or isinstance(dim, int) else tuple(dim), keepdim)


@operation(name="norm")
def norm_op(b: Builder, input: Value, p: float, dim: reduction.Dims, keepdim: builtins.bool) -> Value:
    """The p-norm."""
    x = b.abs(input)
    if p == float("inf"):
        return reduce(b, "max", x, dim, keepdim)
    if p == float("-inf"):
        return reduce(b, "min", x, dim, keepdim)
    if p == 1:
        return reduce(b, "sum", x, dim, keepdim)
    if p == 0:
        return reduce(b, "sum", b.convert(b.ne(x, 0), dtype=dtype_of(x)), dim, keepdim)
    total = reduce(b, "sum", b.mul(x, x) if p == 2 else b.pow(x, p), dim, keepdim)
    positive = b.gt(total, 0)
    inner = b.select(positive, total, b.const(1, total))  # no infinite slope at 0
    root = b.sqrt(inner) if p == 2 else b.pow(inner, 1 / p)
    found: Value = b.select(positive, root, total)
    return found


matmul = mm = mv = bmm = reduction.matmul_op
concat = concatenate = cat
swapaxes = transpose
clip = clamp
subtract = sub
divide = true_divide = div

METHODS: dict[str, Any] = {
    f.__name__: f
    for f in (
        add, sub, div, trunc, addcmul, addcdiv, lerp, addmm, outer, dot, isclose, allclose, equal, isnan, isinf, isfinite, cumsum, norm,
    )
}  # fmt: skip
METHODS.update(subtract=sub, divide=div, true_divide=div)
METHODS.update(
    {
        f"{name}_": elementwise.in_place(METHODS[name])
        for name in ("add", "sub", "div", "addcmul", "addcdiv", "lerp", "addmm", "subtract", "divide", "true_divide")
    }
)
"""Methods of tensors that are written here."""

__all__ = [
    "add", "addcdiv", "addcmul", "addmm", "all", "allclose", "amax", "amin", "any", "argmax", "argmin", "bmm", "broadcast_tensors", "cat",
    "chunk", "clamp", "clip", "clone", "concat", "concatenate", "cumsum", "div", "divide", "dot", "equal", "flatten", "flip", "gather",
    "index_select", "is_floating_point", "is_tensor", "isclose", "isfinite", "isinf", "isnan", "lerp", "logsumexp", "masked_fill",
    "masked_select", "matmul", "max", "mean", "min", "mm", "mv", "narrow", "nonzero", "norm", "numel", "outer", "permute", "prod",
    "reshape", "rsub", "scatter_add", "select", "split", "squeeze", "stack", "std", "sub", "subtract", "sum", "swapaxes", "t",
    "take_along_dim", "transpose", "true_divide", "trunc", "unbind", "unflatten", "unsqueeze", "var", "where",
]  # fmt: skip
