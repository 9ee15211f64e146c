"""Padding in all of PyTorch's modes: numbers, reflection, the edge repeated, the other end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rustorch.errors import ArgumentError, ShapeError, Unsupported, compose
from rustorch.frontend.emit import Builder, Value, broadcast_to, dtype_of, operation, part, shape_of, zero_of
from rustorch.functional.words import known


def _pairs(pad: Sequence[int], rank: int) -> list[tuple[int, int, int]]:
    """Axis, before and behind: `pad` speaks of the last axis first."""
    if len(pad) % 2:
        raise ArgumentError("Padding length must be divisible by 2")
    if len(pad) // 2 > rank:
        raise ShapeError(f"Padding length should be less than or equal to two times the input dimension but got padding length {len(pad)} "
                         f"and input of dimension {rank}")  # fmt: skip
    return [(rank - 1 - k, pad[2 * k], pad[2 * k + 1]) for k in range(len(pad) // 2)]


def _cut(b: Builder, x: Value, axis: int, before: int, behind: int) -> Value:
    """Negative padding takes elements away."""
    size = shape_of(x)[axis]
    low, high = max(-before, 0), max(-behind, 0)
    if isinstance(size, int) and low + high > size:
        raise ShapeError(f"The input size {size}, plus negative padding {before} and {behind}, resulted in a negative output size")
    return part(b, x, axis, low, size - high)


@operation(name="pad")
def _constant(b: Builder, input: Value, pad: tuple[int, ...], value: float) -> Value:
    """Numbers around."""
    rank = len(shape_of(input))
    x, low, high = input, [0] * rank, [0] * rank
    for axis, before, behind in _pairs(pad, rank):
        x = _cut(b, x, axis, before, behind)
        low[axis], high[axis] = max(before, 0), max(behind, 0)
    kind = dtype_of(x).kind
    number = type(zero_of(x))(value)
    if kind == "int" and number != value:
        raise ArgumentError(f"value cannot be converted to type {dtype_of(x).name} without overflow")
    padded: Value = b.pad(x, low=tuple(low), high=tuple(high), value=number)
    return padded


def _reflected(b: Builder, x: Value, axis: int, before: int, behind: int) -> tuple[Value, Value]:
    size = int(known(shape_of(x)[axis]))
    if before >= size or behind >= size:
        raise ShapeError(
            f"Argument #4: Padding size should be less than the corresponding input dimension, but got: padding ({before}, {behind}) at "
            f"dimension {axis} of input {list(shape_of(x))}"
        )
    left, right = part(b, x, axis, 1, before + 1), part(b, x, axis, size - 1 - behind, size - 1)
    return b.flip(left, axes=(axis,)), b.flip(right, axes=(axis,))


def _repeated(b: Builder, x: Value, axis: int, before: int, behind: int) -> tuple[Value, Value]:
    own = shape_of(x)
    size = own[axis]
    ends = part(b, x, axis, 0, 1), part(b, x, axis, size - 1, size)
    left, right = (
        broadcast_to(b, end, tuple(count if a == axis else s for a, s in enumerate(own)))
        for end, count in zip(ends, (before, behind), strict=True)
    )
    return left, right


def _around(b: Builder, x: Value, axis: int, before: int, behind: int) -> tuple[Value, Value]:
    size = shape_of(x)[axis]
    if isinstance(size, int) and (before > size or behind > size):
        raise ShapeError("Padding value causes wrapping around more than once.")
    return part(b, x, axis, size - before, size), part(b, x, axis, 0, behind)


_SIDES = {"reflect": _reflected, "replicate": _repeated, "circular": _around}


@operation(name="pad")
def _mirrored(b: Builder, input: Value, pad: tuple[int, ...], mode: str) -> Value:
    """Elements of the tensor around it."""
    x = input
    for axis, before, behind in _pairs(pad, len(shape_of(input))):
        whole = x
        if mode == "circular":
            whole = _cut(b, x, axis, before, behind)
        left, right = _SIDES[mode](b, whole, axis, max(before, 0), max(behind, 0))
        middle = _cut(b, x, axis, before, behind)
        sides = ([left] if before > 0 else []), ([right] if behind > 0 else [])
        x = b.concat(*sides[0], middle, *sides[1], axis=axis) if sides[0] or sides[1] else middle
    return x


def pad(input: Any, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Any:
    """Elements set around a tensor: `pad` gives how many before and behind, the last dimension first; negative ones cut.

    `mode`: "constant" (`value`, 0), "reflect" (without the edge), "replicate" (the edge) or "circular" (the other end).
    """
    sizes = tuple(int(n) for n in pad)
    if mode == "constant":
        return _constant(input, sizes, 0.0 if value is None else value)
    if mode not in _SIDES:
        raise Unsupported(compose(f"Unrecognised padding mode {mode}"))
    if value is not None and value != 0:
        raise ArgumentError(f'Padding mode "{mode}" doesn\'t take in value argument')
    rank = len(input.shape)
    if not (len(sizes) // 2 < rank <= len(sizes) // 2 + 2):
        raise Unsupported(
            compose(
                f"Padding size {len(sizes)} is not supported for {rank}D input tensor.",
                "Supported combinations for non-constant padding: 2D or 3D input: padding size = 2 (pads last dimension); 3D or 4D input: "
                "padding size = 4 (pads last 2 dimensions); 4D or 5D input: padding size = 6 (pads last 3 dimensions)",
            )
        )
    return _mirrored(input, sizes, mode)
