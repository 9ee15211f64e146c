"""What emitting functions are made of: element types, shapes, reductions, products (see `emit.py` for how to use them)."""

from __future__ import annotations

from collections.abc import Sequence

from rustorch.errors import ArgumentError, DimensionError, DTypeError, ShapeError, compose
from rustorch.frontend.operation import operation
from rustorch.frontend.segment import Scalar, tensor_type, value_of
from rustorch.frontend.state import defaults
from rustorch.ir import dims
from rustorch.ir.builder import Builder
from rustorch.ir.dims import Size
from rustorch.ir.dtypes import bool_, i64, title
from rustorch.ir.dtypes import promote as meet
from rustorch.ir.graph import Value
from rustorch.ir.types import DType, TensorType

Operand = Value | Scalar | int | float | bool
"""A tensor, or a Python number in a tensor's place."""
Shape = tuple[Size, ...]


# --- Types ------------------------------------------------------------------------------------------------------------


def shape_of(x: Value) -> Shape:
    """The shape of a value."""
    return tensor_type(x).shape


def dtype_of(x: Value) -> DType:
    """The element type of a value."""
    return tensor_type(x).dtype


def default_dtype() -> DType:
    """The element type of Python floats, and of integers where an operation needs floats."""
    return defaults.dtype


_CATEGORY = {"bool": 0, "int": 1, "float": 2}


def result_type(*operands: Operand) -> DType:
    """The element type that operands meet in, as in PyTorch: tensors decide before 0-d tensors, those before Python numbers,
    except where the weaker one is of a higher category (bool, int, float)."""
    levels: list[DType | None] = [None, None, None]
    for x in operands:
        if isinstance(x, Value):
            level, dtype = (0 if shape_of(x) else 1), dtype_of(x)
        else:
            kind = x.kind if isinstance(x, Scalar) else type(x)
            level, dtype = 2, {bool: bool_, int: i64, float: defaults.dtype}[kind]
        known = levels[level]
        levels[level] = dtype if known is None else meet(known, dtype)
    found: DType | None = None
    for level_type in levels:
        if level_type is not None and (found is None or _CATEGORY[level_type.kind] > _CATEGORY[found.kind]):
            found = level_type if found is None else meet(found, level_type)
    assert found is not None
    return found


def convert(b: Builder, x: Operand, dtype: DType) -> Value:
    """The operand with elements of `dtype`; a Python number becomes a 0-d constant."""
    if isinstance(x, (bool, int, float)):
        return b.const(x, TensorType(dtype, ()))
    value = value_of(x)
    if dtype_of(value) is dtype:
        return value
    converted: Value = b.convert(value, dtype=dtype)
    return converted


def promote(b: Builder, *operands: Operand, to: str = "arithmetic") -> tuple[Value, ...]:
    """The operands in the element type that they meet in; with `to="float"` integers become the default float."""
    dtype = result_type(*operands)
    if to == "float" and dtype.kind != "float":
        dtype = defaults.dtype
    return tuple(convert(b, x, dtype) for x in operands)


def as_float(b: Builder, x: Operand) -> Value:
    """The operand as floating-point numbers."""
    return promote(b, x, to="float")[0]


# --- Shapes -----------------------------------------------------------------------------------------------------------


def broadcast_shapes(*shapes: Shape) -> Shape:
    """The shape that shapes broadcast to: aligned at the end, a size of 1 stretches."""
    rank = max(map(len, shapes))
    result: list[Size] = [1] * rank
    for which, shape in enumerate(shapes):
        for axis, size in reversed(list(enumerate(shape, rank - len(shape)))):
            if size == 1 or size == result[axis]:
                continue
            if result[axis] != 1:
                raise ShapeError(
                    compose(
                        f"The size of tensor a ({result[axis]}) must match the size of tensor b ({size}) at non-singleton dimension {axis}",
                        f"the shapes are {' and '.join(str(_listed(s)) for s in shapes)}; number {which + 1} does not fit",
                        todo="Sizes are compared from the last dimension on: they must be equal, or one of them 1.",
                    )
                )
            result[axis] = size
    return tuple(result)


def _listed(shape: Shape) -> list[Size]:
    return list(shape)


def broadcast_to(b: Builder, x: Value, shape: Shape) -> Value:
    """The value repeated to a shape that it broadcasts to."""
    own = shape_of(x)
    if own == shape:
        return x
    lead = len(shape) - len(own)
    if lead < 0:
        raise ShapeError(
            compose(
                f"expand: the number of sizes provided ({len(shape)}) must be greater or equal to the number of dimensions in the tensor "
                f"({len(own)})",
                f"{_listed(own)} was to become {_listed(shape)}",
            )
        )
    wrong = next((i for i, (s, t) in enumerate(zip(own, shape[lead:], strict=True)) if s not in (1, t)), None)
    if wrong is not None:
        raise ShapeError(
            compose(
                f"The expanded size of the tensor ({shape[lead + wrong]}) must match the existing size ({own[wrong]}) at non-singleton "
                f"dimension {lead + wrong}.  Target sizes: {_listed(shape)}.  Tensor sizes: {_listed(own)}",
                todo="Sizes are compared from the last dimension on: they must be equal, or the existing one 1.",
            )
        )
    repeated: Value = b.broadcast_to(x, shape=shape, dims=tuple(range(len(shape) - len(own), len(shape))))
    return repeated


def broadcast(b: Builder, *values: Value) -> tuple[Value, ...]:
    """The values repeated to one shape."""
    shape = broadcast_shapes(*map(shape_of, values))
    return tuple(broadcast_to(b, x, shape) for x in values)


def together(b: Builder, *operands: Operand, to: str = "arithmetic") -> tuple[Value, ...]:
    """The operands with one element type and one shape: what elementwise ops ask for."""
    return broadcast(b, *promote(b, *operands, to=to))


def reshape(b: Builder, x: Value, shape: Shape) -> Value:
    """The same elements in another shape of as many."""
    if shape_of(x) == shape:
        return x
    changed: Value = b.reshape(x, shape=shape)
    return changed


def axis_of(dim: int, rank: int) -> int:
    """The axis that `dim` means, counted from the end where negative."""
    bound = max(rank, 1)
    if not isinstance(dim, int) or isinstance(dim, bool):
        raise ArgumentError(compose(f"a dimension must be an int, not {type(dim).__name__}"))
    if not -bound <= dim < bound:
        raise DimensionError(f"Dimension out of range (expected to be in range of [{-bound}, {bound - 1}], but got {dim})")
    return dim % bound


def axes_of(dim: int | Sequence[int] | None, rank: int) -> tuple[int, ...]:
    """The axes that `dim` means, ascending: all of them for None or an empty sequence."""
    if dim is None or (not isinstance(dim, int) and len(dim) == 0):
        return tuple(range(rank))
    axes = [axis_of(d, rank) for d in ([dim] if isinstance(dim, int) else dim)]
    for axis in axes:
        if axes.count(axis) > 1:
            raise ArgumentError(f"dim {axis} appears multiple times in the list of dims")
    return tuple(sorted(axes)) if rank else ()


# --- Reductions -------------------------------------------------------------------------------------------------------


def keep(b: Builder, y: Value, like: Value, axes: Sequence[int]) -> Value:
    """A reduction's result with the lost `axes` of `like` put back as sizes of 1."""
    return reshape(b, y, tuple(1 if axis in axes else size for axis, size in enumerate(shape_of(like))))


def reduce(b: Builder, kind: str, x: Value, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Value:
    """`kind` (sum, prod, max, min, and, or) over dimensions."""
    axes = axes_of(dim, len(shape_of(x)))
    reduced: Value = getattr(b, f"reduce_{kind}")(x, axes=axes) if axes else x
    return keep(b, reduced, x, axes) if keepdim else reduced


def scaled(b: Builder, x: Value, factor: Operand) -> Value:
    """The value times a number; as it is, times 1."""
    if factor == 1:
        return x
    found: Value = b.mul(x, broadcast_to(b, convert(b, factor, dtype_of(x)), shape_of(x)))
    return found


def count(x: Value, dim: int | Sequence[int] | None = None) -> int:
    """How many elements a reduction over dimensions combines."""
    shape = shape_of(x)
    size = dims.product(tuple(shape[a] for a in axes_of(dim, len(shape))))
    if not isinstance(size, int):
        raise ShapeError(compose("the number of elements must be known here", f"found {size}"))
    return size


def average(b: Builder, x: Value, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Value:
    """The mean over dimensions; NaN of nothing."""
    if dtype_of(x).kind != "float":
        raise DTypeError(
            compose(
                "mean(): could not infer output dtype. Input dtype must be either a floating point or complex dtype. "
                f"Got: {title(dtype_of(x))}",
                todo="Convert it first: x.float().mean()",
            )
        )
    total = reduce(b, "sum", x, dim, keepdim)
    sizes = tuple(shape_of(x)[a] for a in axes_of(dim, len(shape_of(x))))
    if isinstance(dims.product(sizes), dims.Dim):  # known at run time: the sum of as many ones
        ones = broadcast_to(b, b.const(1, TensorType(dtype_of(x), ())), sizes)
        quotient: Value = b.div(total, broadcast_to(b, reduce(b, "sum", ones), shape_of(total)))
        return quotient
    size = count(x, dim)
    mean: Value = b.div(total, float(size)) if size else b.mul(total, float("nan"))
    return mean


def matmul(b: Builder, x: Value, y: Value) -> Value:
    """The matrix product with PyTorch's manners: 1-d operands are vectors, leading dimensions broadcast."""
    left, right = shape_of(x), shape_of(y)
    if not left or not right:
        which = 1 if not left else 2
        raise ShapeError(compose("both arguments to matmul need to be at least 1D", f"argument {which} is 0D"))
    if dtype_of(x) is not dtype_of(y):
        raise DTypeError(
            compose(
                f"expected m1 and m2 to have the same dtype, but got: {dtype_of(x).name} != {dtype_of(y).name}",
                todo="Convert one of them first.",
            )
        )
    inner = len(right) - 2 if len(right) > 1 else 0
    if left[-1] != right[inner]:
        raise ShapeError(_unequal(left, right, inner))
    if len(right) <= 2:  # rows of x, wherever they are, times one matrix or vector
        product: Value = b.dot_general(x, y, contract=((len(left) - 1,), (inner,)), batch=((), ()))
        return product
    if len(left) == 1:
        lead = len(right) - 2
        vectors = b.dot_general(broadcast_to(b, x, (*right[:lead], left[0])), y, contract=((lead,), (lead,)), batch=(_upto(lead),) * 2)
        found: Value = vectors
        return found
    shape = broadcast_shapes(left[:-2], right[:-2])
    x, y = broadcast_to(b, x, (*shape, *left[-2:])), broadcast_to(b, y, (*shape, *right[-2:]))
    lead = len(shape)
    batched: Value = b.dot_general(x, y, contract=((lead + 1,), (lead,)), batch=(_upto(lead),) * 2)
    return batched


def _upto(n: int) -> tuple[int, ...]:
    return tuple(range(n))


def _unequal(left: Shape, right: Shape, inner: int) -> str:
    if len(left) <= 2 and len(right) <= 2 and len(left) + len(right) > 2:
        two = [s if len(s) == 2 else ((1, *s) if i == 0 else (*s, 1)) for i, s in enumerate((left, right))]
        first = f"mat1 and mat2 shapes cannot be multiplied ({two[0][0]}x{two[0][1]} and {two[1][0]}x{two[1][1]})"
    else:
        first = f"Expected size for first two dimensions of batch2 tensor to match: {_listed(left)} and {_listed(right)}"
    todo = "The contracted lengths must be equal."
    if len(left) == len(right) == 2 and left[1] == right[1]:
        todo = f"The contracted lengths must be equal; x @ y.T would have shape {[left[0], right[0]]}."
    return compose(
        first,
        f"matmul contracts axis {len(left) - 1} of x (length {left[-1]}) with axis {inner} of y (length {right[inner]})",
        f"x: {_listed(left)}   y: {_listed(right)}",
        todo=todo,
    )


__all__ = [
    "Builder", "DType", "Operand", "Scalar", "Shape", "Size", "TensorType", "Value",
    "as_float", "average", "axes_of", "axis_of", "broadcast", "broadcast_shapes", "broadcast_to", "convert", "count", "default_dtype",
    "dtype_of", "keep", "matmul", "operation", "promote", "reduce", "reshape", "result_type", "shape_of", "together",
]  # fmt: skip
