"""`x[…]` and `x[…] = y`: regions are views, index tensors gather, masks look at their elements (or choose, in an assignment)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rustorch.errors import ArgumentError, DimensionError, ShapeError, compose
from rustorch.frontend.base import TensorBase
from rustorch.frontend.emission import (
    Builder,
    Shape,
    Value,
    broadcast,
    broadcast_to,
    convert,
    dtype_of,
    operation,
    reshape,
    shape_of,
)
from rustorch.frontend.movement import broadcast_tensors, cut, is_plain, plain_view
from rustorch.frontend.movement import reshape as reshape_view
from rustorch.frontend.operation import from_array
from rustorch.frontend.reduction import where_op
from rustorch.frontend.sizes import plain
from rustorch.frontend.state import local
from rustorch.frontend.storage import check_writable, convert_to, over, rebind, same, take, write
from rustorch.ir.dims import Dim, Size, product
from rustorch.ir.dtypes import bool_, i64
from rustorch.ir.types import TensorType
from rustorch.ops.indexing import marked

# --- Operations -------------------------------------------------------------------------------------------------------


@operation(name="index")
def index_op(b: Builder, input: Value, indices: Sequence[Value], axes: tuple[int, ...]) -> Value:
    """numpy's advanced indexing: one index tensor for each of `axes`, broadcast together."""
    own = shape_of(input)
    rank = len(own)
    flat = flat_place(b, indices, axes, own)
    shape = shape_of(flat)
    rest = tuple(a for a in range(rank) if a not in axes)
    perm = (*axes, *rest)
    moved = input if perm == tuple(range(rank)) else b.transpose(input, perm=perm)
    rows, width = product(tuple(own[a] for a in axes)), product(tuple(own[a] for a in rest))
    many = product(shape)
    table = reshape(b, moved, (rows, width))
    index = b.broadcast_to(reshape(b, flat, (many,)), shape=(many, width), dims=(0,))
    found = reshape(b, b.gather(table, index, axis=0), (*shape, *(own[a] for a in rest)))
    first = axes[0]
    if first and axes == tuple(range(first, first + len(axes))):  # the indexed dimensions stand where they stood
        n = len(shape)
        order = (*range(n, n + first), *range(n), *range(n + first, n + len(rest)))
        found = b.transpose(found, perm=order)
    return found


def flat_place(b: Builder, indices: Sequence[Value], axes: tuple[int, ...], own: Shape) -> Value:
    """One index, broadcast, into the row-major elements of `axes`; where an index is wrong it says which (see `marked`)."""
    places = broadcast(b, *(wrapped(b, index, own[axis]) for index, axis in zip(indices, axes, strict=True)))
    flat = places[0]
    for place, axis in zip(places[1:], axes[1:], strict=True):
        flat = b.add(b.mul(flat, own[axis]), place)
    if len(axes) > 1 or axes[0]:
        for place, axis in zip(places, axes, strict=True):
            flat = marked(b, flat, place, axis, own[axis])
    return flat


def wrapped(b: Builder, index: Value, size: Any) -> Value:
    """The index with negative places counted from the end; those that are too low stay, for the message."""
    index = convert(b, index, i64)
    counted: Value = b.select(b.and_(b.lt(index, 0), b.ge(index, -size)), b.add(index, size), index)
    return counted


def added_at(b: Builder, x: Value, places: Value, updates: Value, axis: int) -> Value:
    """The tensor with updates added at places along an axis; bools are replaced."""
    if dtype_of(x) is bool_:
        return b.scatter(x, places, updates, axis=axis, combine="replace")  # type: ignore[no-any-return]
    return b.scatter_add(x, places, updates, axis=axis)  # type: ignore[no-any-return]


@operation(name="index_put")
def index_put_op(b: Builder, input: Value, indices: Sequence[Value], values: Value, axes: tuple[int, ...], accumulate: bool) -> Value:
    """The tensor with values put, or added, at places: an index tensor for each of `axes`, broadcast together.

    The result of indexing with them has the shape that `values` broadcast to.
    """
    own = shape_of(input)
    flat = flat_place(b, indices, axes, own)
    where = shape_of(flat)
    rest = tuple(a for a in range(len(own)) if a not in axes)
    perm = (*axes, *rest)
    rows, width, many = product(tuple(own[a] for a in axes)), product(tuple(own[a] for a in rest)), product(where)
    first = axes[0]
    inside = first and axes == tuple(range(first, first + len(axes)))
    kept = tuple(own[a] for a in rest)
    shown = (*kept[:first], *where, *kept[first:]) if inside else (*where, *kept)
    added = fill_like.emit(b, values, TensorType(dtype_of(input), shown))
    if inside:  # the indexed dimensions stand where they stood: bring them to the front
        n = len(where)
        order = (*range(first, first + n), *range(first), *range(first + n, len(shown)))
        added = b.transpose(added, perm=order)
    if product(shown) == 0:
        return input
    table = reshape(b, b.transpose(input, perm=perm), (rows, width))
    index = b.broadcast_to(reshape(b, flat, (many,)), shape=(many, width), dims=(0,))
    updates = reshape(b, added, (many, width))
    written = added_at(b, table, index, updates, 0) if accumulate else b.scatter(table, index, updates, axis=0, combine="replace")
    back = reshape(b, written, tuple(own[a] for a in perm))
    restored: Value = b.transpose(back, perm=tuple(perm.index(a) for a in range(len(own))))
    return restored


# --- What the brackets mean -------------------------------------------------------------------------------------------


def parse(x: TensorBase, index: Any) -> list[Any]:
    """The entries of an index with `...` written out: ints, slices, None, and index tensors; lists and arrays become tensors."""
    return parse_entries(len(x._type.shape), index)


def parse_entries(rank: int, index: Any) -> list[Any]:
    """As `parse`, for a tensor of `rank` dimensions."""
    entries = list(index) if isinstance(index, tuple) else [index]
    entries = [_tensor(e) if isinstance(e, (list, np.ndarray)) else e for e in entries]
    used = sum(_width(e) for e in entries)
    if used > rank:
        raise DimensionError(f"too many indices for tensor of dimension {rank}")
    dots = [i for i, e in enumerate(entries) if e is Ellipsis]
    if len(dots) > 1:
        raise DimensionError("an index can only have a single ellipsis ('...')")
    at = dots[0] if dots else len(entries)
    return [*entries[:at], *[slice(None)] * (rank - used), *entries[at + 1 :]]


def _width(entry: Any) -> int:
    if entry is None or entry is Ellipsis or isinstance(entry, bool):
        return 0
    if isinstance(entry, TensorBase) and entry._type.dtype is bool_:
        return len(entry._type.shape)
    return 1


def _tensor(entry: Any) -> Any:
    if isinstance(entry, list) and any(isinstance(e, TensorBase) for e in entry):
        raise ArgumentError("a list of tensors is no index: stack them first, or use a tuple for one index per dimension")
    array = np.asarray(entry)
    if array.size == 0 and array.dtype.kind == "f":
        array = array.astype(np.int64)
    if array.dtype.kind not in "iub":
        raise DimensionError("tensors used as indices must be long, int, byte or bool tensors")
    return from_array(array.astype(np.bool_ if array.dtype.kind == "b" else np.int64))


def getitem(x: Any, index: Any) -> Any:
    """`x[index]`."""
    if type(index) is int and not x._type.shape:
        raise DimensionError("invalid index of a 0-dim tensor. Use `tensor.item()` to convert a 0-dim tensor to a number")
    known = _known_region(x._type.shape, index)
    if known is not None:
        return known_region(x, *known)
    entries = parse(x, index)
    if all(e is None or (isinstance(e, (int, slice, np.integer)) and not isinstance(e, bool)) for e in entries):
        return basic(x, entries)
    view, tensors, axes = split_index(x, entries)
    return index_op(view, tuple(tensors), tuple(axes)) if tensors else view


Region = tuple[Any, Any, Any]
"""What an index of Python ints, slices and None means for a shape: the index for numpy; first places, ends and steps (None for all of
the tensor); and the shape that the view gets in the end (None where the places give it)."""

_regions: dict[Any, Region] = {}
_REGIONS = 4096
"""So many are remembered: a loop asks for the same ones again and again."""


def _known_region(shape: Any, index: Any) -> Region | None:
    """The region of an index, found by the numbers in it; None for other indices."""
    key: list[Any] = [shape]
    for e in index if type(index) is tuple else (index,):
        if type(e) is slice:
            start, stop, step = e.start, e.stop, e.step
            if not (type(start) in _PLACES and type(stop) in _PLACES and type(step) in _PLACES):
                return None
            key.append((start, stop, step))
        elif e is None or type(e) is int or e is Ellipsis:
            key.append(e)
        else:
            return None
    place = tuple(key)
    known = _regions.get(place)
    if known is None and all(type(size) is int for size in shape):
        if len(_regions) >= _REGIONS:
            _regions.clear()
        known = _regions[place] = region_of(shape, parse_entries(len(shape), index))
    return known


_PLACES = frozenset({int, type(None)})


def basic(x: Any, entries: list[Any]) -> Any:
    """The view of an index of ints, slices and None."""
    return known_region(x, *region_of(x._type.shape, entries))


def known_region(x: Any, index: Any, places: Any, shape: Any) -> Any:
    """The view of a region."""
    if is_plain(x):
        return plain_view(x, x._array[index])
    view = x if places is None else cut(x, places)
    return view if shape is None else reshape_view(view, shape)


def region_of(own: Any, entries: list[Any]) -> Region:
    """What an index of ints, slices and None means for a shape."""
    slices: list[slice] = []
    shape: list[Size] = []
    axis = 0
    for e in entries:
        if e is None:
            shape.append(1)
            continue
        size = own[axis]
        if isinstance(e, slice):
            start, stop, step = _bounds(e, size)
            slices.append(slice(start, stop, step))
            shape.append((stop - start + (step - 1)) // step)
        elif isinstance(size, Dim):
            place = _counted(e, size)
            slices.append(slice(place, place + 1, 1))
        else:
            place = int(e)
            if not -size <= place < size:
                raise DimensionError(f"index {place} is out of bounds for dimension {axis} with size {size}")
            slices.append(slice(place % size, place % size + 1, 1))
        axis += 1
    index = (*(e if e is None or isinstance(e, slice) else int(e) for e in entries), ...)  # with `...` numpy gives arrays, not numbers
    if all(s.start == 0 and s.stop == size and s.step == 1 for s, size in zip(slices, own, strict=True)):
        return index, None, tuple(shape)
    places = (tuple(s.start for s in slices), tuple(s.stop for s in slices), tuple(s.step for s in slices))
    found = tuple((s.stop - s.start + (s.step - 1)) // s.step for s in slices)
    return index, places, None if found == tuple(shape) else tuple(shape)


def _bounds(e: slice, size: Size) -> tuple[Any, Any, int]:
    """First place, end and step of a slice. Along a dimension without a value it is not clamped: sizes where it fits are assumed."""
    step = 1 if e.step is None else int(e.step)
    if step <= 0:
        raise ArgumentError("step must be greater than zero")
    if isinstance(size, Dim) or isinstance(e.start, Dim) or isinstance(e.stop, Dim):
        return _counted(e.start or 0, size), size if e.stop is None else _counted(e.stop, size), step
    first, last = (v if v is None else int(v) for v in (e.start, e.stop))
    start, stop, step = slice(first, last, step).indices(int(size))
    return start, max(start, stop), step


def _counted(place: Any, size: Size) -> Size:
    """A place, counted from the end where it is negative."""
    if isinstance(place, Dim):
        return plain(place)  # type: ignore[no-any-return]
    return int(place) + size if place < 0 else int(place)


def split_index(x: Any, entries: list[Any]) -> tuple[Any, list[Any], list[int]]:
    """The view that the plain entries give, and the index tensors with the dimensions of the view that they index."""
    plain: list[Any] = []
    tensors: list[Any] = []
    axes: list[int] = []
    place = 0
    mixed = [e for e in entries if isinstance(e, TensorBase) or (isinstance(e, (int, np.integer)) and not isinstance(e, bool))]
    for e in entries:
        if isinstance(e, (bool, np.bool_)):
            plain.append(None)
            tensors.append(from_array(np.zeros(1 if e else 0, np.int64)))
            axes.append(place)
            place += 1
        elif isinstance(e, TensorBase) and e._type.dtype is bool_:
            for axis, found in enumerate(nonzero_arrays(e)):
                if e._type.shape[axis] != x._type.shape[place + axis - sum(p is None for p in plain)]:
                    raise DimensionError(
                        f"The shape of the mask {list(e._type.shape)} at index {axis} does not match the shape of the indexed "
                        f"tensor {list(x._type.shape)} at index {axis}"
                    )
                plain.append(slice(None))
                tensors.append(from_array(found))
                axes.append(place + axis)
            place += len(e._type.shape)
        elif isinstance(e, TensorBase):
            if e._type.dtype.kind != "int":
                raise DimensionError("tensors used as indices must be long, int, byte or bool tensors")
            plain.append(slice(None))
            tensors.append(e)
            axes.append(place)
            place += 1
        elif isinstance(e, (int, np.integer)):
            if len(mixed) > 1 and any(isinstance(m, TensorBase) for m in mixed):  # an int beside index tensors is one of them
                plain.append(slice(None))
                tensors.append(from_array(np.asarray(int(e), np.int64)))
                axes.append(place)
                place += 1
            else:
                plain.append(e)
        else:
            plain.append(e)
            place += 1
    return basic(x, plain), tensors, axes


def nonzero_arrays(mask: Any) -> tuple[Any, ...]:
    """Where elements are nonzero: an array of places per dimension. Looks at the elements."""
    if not local.segment.writes_memory:
        local.segment.settle(mask)  # refuses: what is seen now would stay in the program for ever
    return tuple(found.astype(np.int64) for found in np.nonzero(mask._elements()))


def setitem(x: Any, index: Any, value: Any) -> None:
    """`x[index] = value`."""
    if isinstance(index, TensorBase) and index._type.dtype is bool_ and not (isinstance(value, TensorBase) and value._type.shape):
        mask = reshape_view(index, index._type.shape + (1,) * (len(x._type.shape) - len(index._type.shape)))
        rebind(x, where_op(mask, convert_to(value, x._type.dtype) if isinstance(value, TensorBase) else _number(x, value), x))
        return
    entries = parse(x, index)
    if any(isinstance(e, (TensorBase, bool, np.bool_)) for e in entries):
        _put(x, entries, _as_tensor(x, value))
        return
    view = basic(x, entries)
    check_writable(view)
    write(view, over(view, fill_like(_as_tensor(x, value), view._type)))


def _number(x: Any, value: Any) -> Any:
    kind = {"bool": bool, "int": int, "float": float}[x._type.dtype.kind]
    return kind(value)


def _as_tensor(x: Any, value: Any) -> Any:
    if isinstance(value, TensorBase):
        return value
    return from_array(np.asarray(value).astype(x._type.dtype.numpy))


def copy_(x: Any, value: Any) -> Any:
    """Write a tensor or a number over the elements of `x`; gives `x`."""
    check_writable(x)
    source = _as_tensor(x, value)
    own, shape = x._type.shape, source._type.shape
    for axis, (s, t) in enumerate(zip(own[::-1], shape[::-1], strict=False)):
        if t not in (1, s):
            raise ShapeError(
                compose(
                    f"The size of tensor a ({s}) must match the size of tensor b ({t}) at non-singleton dimension {len(own) - 1 - axis}",
                    f"elements of shape {list(shape)} were to be written over {list(own)}",
                )
            )
    write(x, over(x, fill_like(source, x._type)))
    return x


@operation(name="copy")
def fill_like(b: Builder, input: Value, type: TensorType) -> Value:
    """The tensor in another element type, repeated to a shape."""
    x = convert(b, input, type.dtype)
    lead = len(shape_of(x)) - len(type.shape)
    if lead > 0 and all(s == 1 for s in shape_of(x)[:lead]):
        x = reshape(b, x, shape_of(x)[lead:])
    return broadcast_to(b, x, type.shape)


def _put(x: Any, entries: list[Any], value: Any) -> None:
    """Write at index tensors; of equal places the last is kept."""
    check_writable(x)
    view, tensors, axes = split_index(x, entries)
    write(view, index_put_op(view, tuple(tensors), value, tuple(axes), False))


def turned_in_place(view: Any) -> Any:
    """The method that gives the tensor itself the shape that a view of it has, with all its elements."""

    def turn(self: Any, *args: Any) -> Any:
        check_writable(self)
        take(self, same(view(self, *args)))
        return self

    return turn


def nonzero(input: Any, *, as_tuple: bool = False) -> Any:
    """Where elements are nonzero, a row of places each. Looks at the elements."""
    found = nonzero_arrays(input)
    if as_tuple:
        return tuple(map(from_array, found))
    return from_array(np.stack(found, 1) if found else np.zeros((int(bool(input._elements())), 0), np.int64))


def masked_select(input: Any, mask: Any) -> Any:
    """The elements where a mask holds. Looks at the mask."""
    if mask._type.dtype is not bool_:
        raise ArgumentError("masked_select: expected BoolTensor for mask")
    return getitem(*broadcast_tensors(input, mask))


__all__ = ["getitem", "nonzero", "setitem"]
