"""The tree of a reduction in numpy: Note [The tree of a reduction] of `rustorch/codegen/walk.py`, written down a second time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from rustorch.codegen.target import Target

Array = np.ndarray[Any, Any]

ROW_BLOCK, COLUMN_BLOCK = 4096, 128


def reduced(x: Array, axes: tuple[int, ...], target: Target, ufunc: np.ufunc = np.add) -> Array:
    """`ufunc.reduce(x, axes)` of floats in the order of the tree."""
    start = x.dtype.type(ufunc.identity)  # type: ignore[arg-type]
    real = [k for k, size in enumerate(x.shape) if size != 1]
    summed = [k for k in real if k in axes]
    kept = [k for k in real if k not in axes]
    result_shape = tuple(size for k, size in enumerate(x.shape) if k not in axes)
    if not summed:
        return x.reshape(result_shape)
    if x.size == 0:
        return np.full(result_shape, start, x.dtype)
    last = [k for k in summed if all(between in summed for between in real if k < between <= summed[-1])]
    outer = [k for k in summed if k not in last]
    rows, runs, length = (int(np.prod([x.shape[k] for k in some])) for some in (kept, outer, last))
    runs_of = x.transpose([*kept, *outer, *last, *(k for k in range(x.ndim) if k not in real)]).reshape(rows, runs, length)
    across = summed[-1] == real[-1]
    lanes = 4 * target.vector_bytes * 8 // max(x.itemsize * 8, 32) if across else 1
    total = np.full(rows, start, np.float64)
    with np.errstate(all="ignore"):
        for block in _blocks(runs, length, ROW_BLOCK if across else COLUMN_BLOCK):
            partial = np.full((rows, lanes), start, x.dtype)
            for run, piece in block:
                elements = runs_of[:, run, piece]
                for first in range(0, elements.shape[1], lanes):
                    vector = elements[:, first : first + lanes]
                    partial[:, : vector.shape[1]] = ufunc(partial[:, : vector.shape[1]], vector)
            while partial.shape[1] > 1:
                half = partial.shape[1] // 2
                partial = ufunc(partial[:, :half], partial[:, half:])
            total = ufunc(total, partial[:, 0].astype(np.float64))
        return total.astype(x.dtype).reshape(result_shape)


def _blocks(runs: int, length: int, size: int) -> Iterator[list[tuple[int, slice]]]:
    """The pieces of each block: number of a run, elements of it."""
    if length > size:
        for run in range(runs):
            for first in range(0, length, size):
                yield [(run, slice(first, min(first + size, length)))]
        return
    together = size // length
    for first in range(0, runs, together):
        yield [(run, slice(0, length)) for run in range(first, min(first + together, runs))]
