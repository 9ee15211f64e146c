"""Elements in other arrangements: repeated, rolled, joined in rows and columns, windows."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from rustorch.errors import ArgumentError, ShapeError, compose
from rustorch.frontend.base import TensorBase
from rustorch.frontend.emission import (
    Builder,
    TensorType,
    Value,
    axis_of,
    convert,
    dtype_of,
    operation,
    reduce,
    reshape,
    result_type,
    shape_of,
)
from rustorch.frontend.emission import broadcast_to as repeated
from rustorch.frontend.movement import (
    cat,
    is_plain,
    listed,
    narrow,
    part,
    permute,
    place,
    plain_view,
    sizes_from,
    split,
    stack_op,
    transpose,
    viewed,
    zero_of,
)
from rustorch.frontend.movement import reshape as reshape_view
from rustorch.frontend.operation import from_array
from rustorch.ir.dims import product
from rustorch.ir.dtypes import i64

# --- Orders of dimensions ---------------------------------------------------------------------------------------------


def movedim(input: Any, source: int | Sequence[int], destination: int | Sequence[int]) -> Any:
    """Dimensions moved to other places; the others keep their order."""
    rank = len(input._type.shape)
    from_, to = (
        [axis_of(d, rank) for d in ([dims] if isinstance(dims, int) else dims)] for dims in (source, destination)
    )
    if len(from_) != len(to):
        raise ShapeError(
            f"movedim: Invalid source or destination dims: source ({list(from_)} dims) should contain the same number of dims as "
            f"destination ({list(to)} dims)"
        )
    for name, dims in (("source", from_), ("destination", to)):
        if len(set(dims)) != len(dims):
            raise ShapeError(f"movedim: repeated dim in `{name}` ({dims})")
    order = [a for a in range(rank) if a not in from_]
    for place_, axis in sorted(zip(to, from_, strict=True)):
        order.insert(place_, axis)
    return permute(input, tuple(order))


def adjoint(input: Any) -> Any:
    """Matrices transposed (and conjugated, were they complex)."""
    return transpose(input, -2, -1)


def ravel(input: Any) -> Any:
    """All elements along one dimension."""
    return reshape_view(input, (-1,)) if input._type.shape else reshape_view(input, (1,))


# --- Repetition -------------------------------------------------------------------------------------------------------


@operation(name="repeat")
def repeat_op(b: Builder, input: Value, counts: tuple[int, ...]) -> Value:
    """The tensor so many times along each dimension."""
    own = shape_of(input)
    lead = len(counts) - len(own)
    if lead < 0:
        raise ShapeError("Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor")
    if any(c < 0 for c in counts):
        raise ShapeError(f"Trying to create tensor with negative dimension: {list(counts)}")
    sizes = (*(1,) * lead, *own)
    apart = tuple(s for size in sizes for s in (1, size))
    wide = tuple(s for c, size in zip(counts, sizes, strict=True) for s in (c, size))
    spread = repeated(b, reshape(b, input, apart), wide)
    return reshape(b, spread, tuple(size * c for size, c in zip(sizes, counts, strict=True)))


def repeat(input: Any, *repeats: Any) -> Any:
    """A copy of the tensor, so many times along each dimension; more dimensions than it has are put in front."""
    return repeat_op(input, sizes_from(repeats))


def tile(input: Any, *dims: Any) -> Any:
    """As `repeat`, but fewer numbers than dimensions speak of the last ones."""
    counts = sizes_from(dims)
    return repeat_op(input, (*(1,) * (len(input._type.shape) - len(counts)), *counts))


@operation(name="repeat_interleave")
def repeat_interleave_op(b: Builder, input: Value, count: int, axis: int) -> Value:
    """Each slice `count` times in a row."""
    own = shape_of(input)
    apart = reshape(b, input, (*own[: axis + 1], 1, *own[axis + 1 :]))
    spread = repeated(b, apart, (*own[: axis + 1], count, *own[axis + 1 :]))
    return reshape(b, spread, (*own[:axis], own[axis] * count, *own[axis + 1 :]))


def along(b: Builder, x: Value, places: Value, axis: int) -> Value:
    """A vector of places along an axis, for whole slices."""
    shape = tuple(shape_of(places)[0] if a == axis else size for a, size in enumerate(shape_of(x)))
    index: Value = b.broadcast_to(convert(b, places, i64), shape=shape, dims=(axis,))
    return index


@operation(name="slices")
def slices_op(b: Builder, input: Value, places: Value, axis: int) -> Value:
    """The slices at places along an axis."""
    found: Value = b.gather(input, along(b, input, places, axis), axis=axis)
    return found


def repeat_interleave(input: Any, repeats: Any = None, dim: int | None = None, *, output_size: int | None = None) -> Any:
    """Each slice along a dimension (each element, without one) several times in a row: one number, or one for each.

    With numbers only, the places that are so repeated. Looks at a tensor of numbers.
    """
    if repeats is None:
        return from_array(np.repeat(np.arange(input.numel()), input._elements()))
    x = input if dim is not None else ravel(input)
    axis = 0 if dim is None else axis_of(dim, len(x._type.shape))
    x = x if x._type.shape else reshape_view(x, (1,))
    size = x._type.shape[axis]
    counts = repeats._elements() if isinstance(repeats, TensorBase) else np.asarray(repeats)
    if counts.size == 1:
        count = int(counts.reshape(()))
        if count < 0:
            raise ShapeError("Repeats must be non-negative")
        return repeat_interleave_op(x, count, axis)
    if counts.shape != (size,):
        raise ShapeError("repeats must have the same size as input along dim")
    if (counts < 0).any():
        raise ShapeError("repeats can not be negative")
    return slices_op(x, from_array(np.repeat(np.arange(size), counts)), axis)


# --- Joins ------------------------------------------------------------------------------------------------------------


def _at_least(function: Any) -> Any:
    """The function of one tensor for several, too."""

    def each(*tensors: Any) -> Any:
        if len(tensors) == 1 and isinstance(tensors[0], TensorBase):
            return function(tensors[0])
        return tuple(function(x) for x in listed(tensors))

    each.__name__ = each.__qualname__ = function.__name__
    each.__doc__ = function.__doc__
    return each


@_at_least
def atleast_1d(x: Any) -> Any:
    """The tensor, with a dimension if it has none; several give a tuple."""
    return x if x._type.shape else reshape_view(x, (1,))


@_at_least
def atleast_2d(x: Any) -> Any:
    """The tensor with at least two dimensions, new ones in front; several give a tuple."""
    own = x._type.shape
    return x if len(own) >= 2 else reshape_view(x, (*(1,) * (2 - len(own)), *own))


@_at_least
def atleast_3d(x: Any) -> Any:
    """The tensor with at least three dimensions: vectors in the middle, matrices in front; several give a tuple."""
    own = x._type.shape
    shapes: dict[int, Any] = {0: (1, 1, 1), 1: (1, *own, 1), 2: (*own, 1)}
    return x if len(own) >= 3 else reshape_view(x, shapes[len(own)])


def hstack(tensors: Sequence[Any], *, out: Any = None) -> Any:
    """Tensors side by side: along the second dimension, vectors along the first."""
    rows = [atleast_1d(x) for x in tensors]
    return cat(rows, 0 if rows and len(rows[0]._type.shape) == 1 else 1, out=out)


def vstack(tensors: Sequence[Any], *, out: Any = None) -> Any:
    """Tensors one below the other: along the first dimension, vectors as rows."""
    return cat([atleast_2d(x) for x in tensors], 0, out=out)


def dstack(tensors: Sequence[Any], *, out: Any = None) -> Any:
    """Tensors one behind the other: along the third dimension."""
    return cat([atleast_3d(x) for x in tensors], 2, out=out)


def column_stack(tensors: Sequence[Any], *, out: Any = None) -> Any:
    """Tensors side by side, vectors as columns."""
    return hstack([x if len(x._type.shape) > 1 else reshape_view(x, (x.numel(), 1)) for x in tensors], out=out)


def block_diag(*tensors: Any) -> Any:
    """A matrix with matrices along its diagonal, zeros elsewhere."""
    return block_diag_op(tuple(listed(tensors)))


@operation(name="block_diag")
def block_diag_op(b: Builder, tensors: Sequence[Value]) -> Value:
    """See `block_diag`."""
    dtype = result_type(*tensors)
    blocks = []
    for x in tensors:
        if len(shape_of(x)) > 2:
            raise ShapeError("torch.block_diag: Input tensors must have 2 or fewer dimensions.")
        blocks.append(reshape(b, convert(b, x, dtype), (*(1,) * (2 - len(shape_of(x))), *shape_of(x))))
    if not blocks:
        raise ArgumentError("block_diag expects at least one tensor")
    widths = [shape_of(x)[1] for x in blocks]
    rows = []
    for i, x in enumerate(blocks):
        before, behind = sum(widths[:i], start=0), sum(widths[i + 1 :], start=0)
        rows.append(b.pad(x, low=(0, before), high=(0, behind), value=zero_of(x)))
    joined: Value = b.concat(*rows, axis=0)
    return joined


@operation(name="cartesian_prod")
def cartesian_prod_op(b: Builder, tensors: Sequence[Value]) -> Value:
    """See `cartesian_prod`."""
    sizes = tuple(shape_of(x)[0] for x in tensors)
    columns = [b.broadcast_to(x, shape=sizes, dims=(axis,)) for axis, x in enumerate(tensors)]
    return stack_op.emit(b, [reshape(b, x, (product(sizes),)) for x in columns], 1)  # type: ignore[no-any-return]


def cartesian_prod(*tensors: Any) -> Any:
    """All rows with an element of each vector."""
    given = listed(tensors)
    return given[0] if len(given) == 1 else cartesian_prod_op(tuple(given))


def combinations(input: Any, r: int = 2, with_replacement: bool = False) -> Any:
    """All subsets of `r` elements of a vector, as rows."""
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    places = np.array(list(choose(range(input._type.shape[0]), r)), np.int64).reshape(-1, r)
    return reshape_view(slices_op(input, from_array(places.reshape(-1)), 0), places.shape)


@operation(name="meshgrid", plural=True)
def meshgrid_op(b: Builder, tensors: Sequence[Value], indexing: str) -> tuple[Value, ...]:
    """See `meshgrid`."""
    vectors = [reshape(b, x, (product(shape_of(x)),)) for x in tensors]
    sizes = tuple(shape_of(x)[0] for x in vectors)
    grids = [b.broadcast_to(x, shape=sizes, dims=(axis,)) for axis, x in enumerate(vectors)]
    if indexing == "xy" and len(vectors) > 1:
        order = (1, 0, *range(2, len(vectors)))
        grids = [b.transpose(x, perm=order) for x in grids]
    return tuple(grids)


def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Any, ...]:
    """The coordinates of a grid: one tensor for each vector, which varies along a dimension of its own."""
    if indexing not in ("ij", "xy"):
        raise ArgumentError(f'torch.meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}')
    found: tuple[Any, ...] = meshgrid_op(tuple(listed(tensors)), indexing)
    return found


# --- Parts ------------------------------------------------------------------------------------------------------------


def tensor_split(input: Any, indices_or_sections: Any, dim: int = 0) -> tuple[Any, ...]:
    """So many parts, the first ones larger by one where they must; or the parts between places."""
    own = input._type.shape
    axis = axis_of(dim, len(own))
    if not own:
        raise ShapeError("tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims")
    total = own[axis]
    given = indices_or_sections._elements().tolist() if isinstance(indices_or_sections, TensorBase) else indices_or_sections
    if isinstance(given, int):
        if given <= 0:
            raise ShapeError(f"number of sections must be larger than 0, got {given}")
        size, more = divmod(total, given)
        return split(input, [size + 1] * more + [size] * (given - more), axis)
    places = [min(max(i + total if i < 0 else i, 0), total) for i in given]
    return tuple(
        narrow(input, axis, start, max(stop - start, 0)) for start, stop in zip([0, *places], [*places, total], strict=True)
    )


def hsplit(input: Any, indices_or_sections: Any) -> tuple[Any, ...]:
    """Parts along the second dimension, of vectors along the first."""
    return _split_along("hsplit", input, indices_or_sections, 0 if len(input._type.shape) == 1 else 1, 1)


def vsplit(input: Any, indices_or_sections: Any) -> tuple[Any, ...]:
    """Parts along the first dimension of at least two."""
    return _split_along("vsplit", input, indices_or_sections, 0, 2)


def dsplit(input: Any, indices_or_sections: Any) -> tuple[Any, ...]:
    """Parts along the third dimension."""
    return _split_along("dsplit", input, indices_or_sections, 2, 3)


def _split_along(name: str, input: Any, given: Any, axis: int, rank: int) -> tuple[Any, ...]:
    own = input._type.shape
    if len(own) < rank:
        raise ShapeError(
            f"torch.{name} requires a tensor with at least {rank} dimension{'s' * (rank > 1)}, but got a tensor with {len(own)} dimensions!"
        )
    if isinstance(given, int) and own[axis] % given:
        raise ShapeError(
            f"torch.{name} attempted to split along dimension {axis}, but the size of the dimension {own[axis]} is not divisible by "
            f"the split_size {given}!"
        )
    return tensor_split(input, given, axis)


def split_with_sizes(input: Any, split_sizes: Sequence[int], dim: int = 0) -> tuple[Any, ...]:
    """Parts of given sizes along a dimension."""
    return split(input, tuple(split_sizes), dim)


# --- Turns ------------------------------------------------------------------------------------------------------------


@operation(name="roll")
def roll_op(b: Builder, input: Value, shifts: tuple[int, ...], dims: tuple[int, ...]) -> Value:
    """The elements moved along dimensions; those that leave at one end come in at the other."""
    x = input
    for shift, dim in zip(shifts, dims, strict=True):
        axis = axis_of(dim, len(shape_of(x)))
        size = shape_of(x)[axis] if shape_of(x) else 1
        if not isinstance(size, int):
            raise ShapeError(compose("roll needs a known size", f"found {size}"))
        cut = -shift % size if size else 0
        if cut:
            x = b.concat(part(b, x, axis, cut, size), part(b, x, axis, 0, cut), axis=axis)
    return x


def roll(input: Any, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None) -> Any:
    """The elements moved along dimensions (of the flattened tensor, without any), around the end."""
    moves = (shifts,) if isinstance(shifts, int) else tuple(shifts)
    if dims is None or (not isinstance(dims, int) and len(dims) == 0):
        if len(moves) != 1:
            raise ShapeError(f"shifts and dimensions must align. shifts: {len(moves)}, dims:0")
        return reshape_view(roll_op(ravel(input), moves, (0,)), input._type.shape)
    along = (dims,) if isinstance(dims, int) else tuple(dims)
    if len(moves) != len(along):
        raise ShapeError(f"shifts and dimensions must align. shifts: {len(moves)}, dims:{len(along)}")
    return roll_op(input, moves, along)


@operation(name="rot90")
def rot90_op(b: Builder, input: Value, k: int, dims: tuple[int, ...]) -> Value:
    """Quarter turns in the plane of two dimensions, from the first toward the second."""
    rank = len(shape_of(input))
    if len(dims) != 2:
        raise ShapeError(f"expected total rotation dims == 2, but got dims = {len(dims)}")
    first, second = (axis_of(d, rank) for d in dims)
    if rank < 2 or first == second:
        raise ShapeError(f"expected rotation dims to be different, but got dim0 = {dims[0]} and dim1 = {dims[1]}")
    order = list(range(rank))
    order[first], order[second] = second, first
    turns: dict[int, Any] = {
        0: lambda: input,
        1: lambda: b.transpose(b.flip(input, axes=(second,)), perm=tuple(order)),
        2: lambda: b.flip(input, axes=tuple(sorted((first, second)))),
        3: lambda: b.transpose(b.flip(input, axes=(first,)), perm=tuple(order)),
    }
    found: Value = turns[k % 4]()
    return found


def rot90(input: Any, k: int = 1, dims: Sequence[int] = (0, 1)) -> Any:
    """`k` quarter turns in the plane of two dimensions, from the first toward the second."""
    return rot90_op(input, k, tuple(dims))


@operation
def fliplr(b: Builder, input: Value) -> Value:
    """The columns in reverse order."""
    if len(shape_of(input)) < 2:
        raise ShapeError("Input must be >= 2-d.")
    found: Value = b.flip(input, axes=(1,))
    return found


@operation
def flipud(b: Builder, input: Value) -> Value:
    """The rows in reverse order."""
    if not shape_of(input):
        raise ShapeError("Input must be >= 1-d.")
    found: Value = b.flip(input, axes=(0,))
    return found


# --- Places in memory -------------------------------------------------------------------------------------------------


def _strided_places(sizes: Sequence[int], strides: Sequence[int], offset: int) -> Any:
    """The flat places of a strided view."""
    places = np.full(tuple(sizes), offset, np.int64)
    for axis, (size, step) in enumerate(zip(sizes, strides, strict=True)):
        places += (np.arange(size) * step).reshape([-1 if a == axis else 1 for a in range(len(sizes))])
    return places


def _check_strided(input: Any, sizes: Sequence[int], strides: Sequence[int], offset: int) -> None:
    if len(sizes) != len(strides):
        raise ShapeError("mismatch in length of strides and shape")
    if any(step < 0 for step in strides):
        raise ShapeError(
            f"as_strided: Negative strides are not supported at the moment, got strides: {list(strides)}"
        )
    end = offset + sum((size - 1) * step for size, step in zip(sizes, strides, strict=True)) + 1
    if 0 not in sizes and end > input.numel():
        raise ShapeError(
            f"setStorage: sizes {list(sizes)}, strides {list(strides)}, storage offset {offset}, and itemsize {input.itemsize} requiring a "
            f"storage size of {end * input.itemsize} are out of bounds for storage of size {input.nbytes}"
        )


@operation(name="as_strided")
def as_strided_op(b: Builder, input: Value, sizes: tuple[int, ...], strides: tuple[int, ...], offset: int) -> Value:
    """The elements at places of the flattened tensor that sizes and strides give."""
    total = product(shape_of(input))
    flat = reshape(b, input, (total,))
    places = _strided_places(sizes, strides, offset).reshape(-1)
    index = b.const(places, TensorType(i64, places.shape))
    return reshape(b, b.gather(flat, index, axis=0), tuple(sizes))


@operation(name="as_strided_scatter")
def as_strided_scatter_op(
    b: Builder, input: Value, src: Value, sizes: tuple[int, ...], strides: tuple[int, ...], offset: int
) -> Value:
    """The tensor with those elements replaced."""
    if shape_of(src) != tuple(sizes):
        raise ShapeError(f"expected src to have a size equal to the slice of self. src size = {list(shape_of(src))}, size = {list(sizes)}")
    return place(b, input, convert(b, src, dtype_of(input)), _strided_places(sizes, strides, offset))


def as_strided(input: Any, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None) -> Any:
    """The view with given sizes and strides, in elements, of the tensor as it lies row by row."""
    sizes, strides, offset = tuple(size), tuple(stride), storage_offset or 0
    _check_strided(input, sizes, strides, offset)
    if is_plain(input) and input._array.flags.c_contiguous:
        flat = input._array.reshape(-1)[offset:]
        steps = tuple(step * flat.itemsize for step in strides)
        return plain_view(input, np.ndarray(sizes, flat.dtype, flat, 0, steps))
    args = (sizes, strides, offset)
    return viewed(input, as_strided_op, args, lambda base, value: as_strided_scatter_op(base, value, *args))


def as_strided_scatter(input: Any, src: Any, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None) -> Any:
    """The tensor with the elements that `as_strided` would show replaced."""
    sizes, strides, offset = tuple(size), tuple(stride), storage_offset or 0
    _check_strided(input, sizes, strides, offset)
    return as_strided_scatter_op(input, src, sizes, strides, offset)


def unfold(input: Any, dimension: int, size: int, step: int) -> Any:
    """Windows of a size, `step` apart, along a dimension: their number takes its place, their elements are a new last dimension."""
    own = input._type.shape
    axis = axis_of(dimension, len(own))
    total = own[axis] if own else 1
    if size > total:
        raise ShapeError(f"maximum size for tensor at dimension {axis} is {total} but size is {size}")
    if step <= 0:
        raise ShapeError(f"step is {step} but must be > 0")
    if not own:
        return reshape_view(input, (size,))
    if is_plain(input):
        return plain_view(input, _windows(input._array, axis, size, step))
    return viewed(input, unfold_op, (axis, size, step), lambda base, value: unfold_scatter_op(base, value, axis, size, step))


def _windows(array: Any, axis: int, size: int, step: int) -> Any:
    """numpy's view of the windows."""
    shape, strides = list(array.shape), list(array.strides)
    shape[axis], strides[axis] = (shape[axis] - size) // step + 1, strides[axis] * step
    view: Any = np.lib.stride_tricks.as_strided
    return view(array, (*shape, size), (*strides, array.strides[axis]))


@operation(name="unfold")
def unfold_op(b: Builder, input: Value, axis: int, size: int, step: int) -> Value:
    """See `unfold`."""
    own = shape_of(input)
    rank, count = len(own), (own[axis] - size) // step + 1
    grid = TensorType(i64, (count, size))
    places = b.add(b.mul(b.iota(type=grid, axis=0), step), b.iota(type=grid, axis=1))
    slices = slices_op.emit(b, input, reshape(b, places, (count * size,)), axis)
    apart = reshape(b, slices, (*own[:axis], count, size, *own[axis + 1 :]))
    found: Value = b.transpose(apart, perm=(*range(axis + 1), *range(axis + 2, rank + 1), axis + 1))
    return found


@operation(name="unfold_scatter")
def unfold_scatter_op(b: Builder, input: Value, src: Value, axis: int, size: int, step: int) -> Value:
    """The tensor with the elements of windows replaced; of equal ones the last stays."""
    own = sizes_from((shape_of(input),))
    numbers = np.arange(int(np.prod(own))).reshape(own)
    windows = _windows(numbers, axis, size, step)
    return place(b, input, convert(b, src, dtype_of(input)), np.ascontiguousarray(windows))


# --- Sums to a shape --------------------------------------------------------------------------------------------------


@operation(name="sum_to_size")
def sum_to_size_op(b: Builder, input: Value, sizes: tuple[int, ...]) -> Value:
    """The sum over what broadcasting to the tensor's shape would repeat."""
    own = shape_of(input)
    lead = len(own) - len(sizes)
    if lead < 0 or any(s not in (1, t) for s, t in zip(sizes, own[lead:], strict=True)):
        raise ShapeError(f"size {{{list(sizes)}}} is not expandable to size {{{list(own)}}}.")
    axes = (*range(lead), *(lead + a for a, s in enumerate(sizes) if s == 1 and own[lead + a] != 1))
    return reshape(b, reduce(b, "sum", input, axes), tuple(sizes)) if axes else input


def sum_to_size(input: Any, *size: Any) -> Any:
    """The sum over what broadcasting a shape to the tensor's would repeat."""
    return sum_to_size_op(input, sizes_from(size))


# --- Grids of indices -------------------------------------------------------------------------------------------------


@operation(name="unravel_index", plural=True)
def unravel_index_op(b: Builder, indices: Value, shape: tuple[int, ...]) -> tuple[Value, ...]:
    """See `unravel_index`."""
    rest, found = indices, []
    for size in reversed(shape):
        found.append(b.remainder(rest, size))
        rest = b.floor_div(rest, size)
    return tuple(reversed(found))


def unravel_index(indices: Any, shape: int | Sequence[int]) -> tuple[Any, ...]:
    """The index along each dimension of places in the flattened tensor of a shape."""
    found: tuple[Any, ...] = unravel_index_op(indices, (shape,) if isinstance(shape, int) else tuple(shape))
    return found


moveaxis, swapdims, row_stack = movedim, transpose, vstack

FUNCTIONS = (
    movedim, adjoint, ravel, repeat_interleave, tile, tensor_split, hsplit, vsplit, dsplit, split_with_sizes, roll, rot90, fliplr,
    flipud, as_strided, as_strided_scatter,
)  # fmt: skip
"""Functions that are methods, too."""
METHODS = {
    **{f.__name__: f for f in (*FUNCTIONS, repeat, unfold, sum_to_size)},
    "moveaxis": movedim,
    "swapdims": transpose,
}
"""Methods of tensors."""
