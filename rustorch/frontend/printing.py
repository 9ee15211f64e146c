"""How tensors read: like PyTorch's."""

from __future__ import annotations

from typing import Any

import numpy as np

from rustorch.frontend.state import defaults
from rustorch.ir.dtypes import bool_, i64

THRESHOLD = 1000
"""Tensors of more elements are summarised."""
EDGE = 3
"""So many elements are shown at each end of a summarised dimension."""
WIDTH = 80
PRECISION = 4


def text(array: Any, dtype: Any, suffixes: list[str], prefix: str = "tensor(") -> str:
    """The text of a tensor with these elements."""
    extra = list(suffixes)
    if dtype not in (defaults.dtype, i64, bool_) or (array.size == 0 and dtype is not defaults.dtype):
        extra.append(f"dtype={dtype!r}")
    if array.size == 0:
        body = "[]"
        if array.ndim != 1:
            extra.insert(0, f"size={array.shape}")
    else:
        body = elements(array, len(prefix))
    joined = prefix + body
    for part in extra:
        room = len(joined.rsplit("\n", 1)[-1]) + len(part) + 2
        joined += f",\n{' ' * len(prefix)}{part}" if room > WIDTH else f", {part}"
    return joined + ")"


def elements(array: Any, indent: int) -> str:
    """The elements in brackets, in columns."""
    show = _number_format(_shown(array) if array.size > THRESHOLD else array)
    return _rows(array, indent, array.size > THRESHOLD, show)


def _shown(array: Any) -> Any:
    """The elements of a summarised array that are printed."""
    for axis, size in enumerate(array.shape):
        if size > 2 * EDGE:
            array = np.concatenate([array.take(range(EDGE), axis), array.take(range(size - EDGE, size), axis)], axis)
    return array


def _number_format(array: Any) -> Any:
    """The function that writes one element, all in one width."""
    if array.dtype.kind == "b":
        width = max(len(str(bool(x))) for x in array.flat)
        return lambda x: str(bool(x)).rjust(width if array.ndim else 0)
    if array.dtype.kind in "iu":
        width = max(len(str(int(x))) for x in array.flat)
        return lambda x: str(int(x)).rjust(width)
    values = array.astype(np.float64).reshape(-1)
    finite = values[np.isfinite(values) & (values != 0)]
    whole = bool(np.all(finite == np.floor(finite)))
    largest, smallest = (np.abs(finite).max(), np.abs(finite).min()) if finite.size else (0.0, 0.0)
    spread = bool(finite.size) and (largest / smallest > 1000 or largest > 1e8 or smallest < 1e-4)
    if whole:
        scientific = bool(finite.size) and (largest / smallest > 1000 or largest > 1e8) and largest > 1e8
        pattern = f".{PRECISION}e" if scientific else ".0f"
    else:
        scientific = spread
        pattern = f".{PRECISION}e" if scientific else f".{PRECISION}f"

    def write(x: Any) -> str:
        number = float(x)
        if not np.isfinite(number):
            return str(number)
        written = format(number, pattern)
        return f"{written}." if pattern == ".0f" else written

    width = max(len(write(x)) for x in values)
    return lambda x: write(x).rjust(width)


def _rows(array: Any, indent: int, summary: bool, show: Any) -> str:
    if array.ndim == 0:
        return str(show(array[()]))
    if array.ndim == 1:
        shown: list[str]
        if summary and array.size > 2 * EDGE:
            shown = [*map(show, array[:EDGE]), " ...", *map(show, array[-EDGE:])]
        else:
            shown = [show(x) for x in array]
        width = max(len(s) for s in shown) + 2
        per_line = max(1, (WIDTH - indent) // width)
        lines = [", ".join(shown[i : i + per_line]) for i in range(0, len(shown), per_line)]
        return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"
    if summary and len(array) > 2 * EDGE:
        parts = [_rows(row, indent + 1, summary, show) for row in array[:EDGE]]
        parts += ["..."] + [_rows(row, indent + 1, summary, show) for row in array[-EDGE:]]
    else:
        parts = [_rows(row, indent + 1, summary, show) for row in array]
    gap = "," + "\n" * int(array.ndim - 1) + " " * (indent + 1)
    return f"[{gap.join(parts)}]"
