"""`assert_close`: are two results the same, up to rounding?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rustorch import Tensor

TOLERANCES = {"float32": (1.3e-6, 1e-5), "float64": (1e-7, 1e-7)}
"""Relative and absolute, by element type; others must be equal."""


def assert_close(
    actual: Any,
    expected: Any,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_dtype: bool = True,
    msg: str | None = None,
) -> None:
    """Raise `AssertionError` unless `actual` and `expected` agree: `|actual - expected| <= atol + rtol * |expected|`.

    Tensors, arrays, numbers, and sequences and mappings of them. Without tolerances those of the element type hold.
    """
    if (rtol is None) != (atol is None):
        raise ValueError("rtol and atol must both be specified or both be unspecified")
    tolerances = None if rtol is None or atol is None else (rtol, atol)
    _compare(actual, expected, "", tolerances, equal_nan, check_dtype, msg)


def _compare(
    actual: Any, expected: Any, path: str, tolerances: tuple[float, float] | None, equal_nan: bool, check_dtype: bool, msg: str | None
) -> None:
    if isinstance(expected, Mapping):
        if not isinstance(actual, Mapping) or actual.keys() != expected.keys():
            _fail(f"The keys of the mappings do not match{path}", msg)
        for key in expected:
            _compare(actual[key], expected[key], f"{path}[{key!r}]", tolerances, equal_nan, check_dtype, msg)
        return
    if isinstance(expected, Sequence) and not isinstance(expected, str):
        if len(actual) != len(expected):
            _fail(f"The length of the sequences mismatch{path}: {len(actual)} != {len(expected)}", msg)
        for i, (a, e) in enumerate(zip(actual, expected, strict=True)):
            _compare(a, e, f"{path}[{i}]", tolerances, equal_nan, check_dtype, msg)
        return
    a, e = _array(actual), _array(expected)
    if a.shape != e.shape:
        _fail(f"The values for attribute 'shape' do not match{path}: {a.shape} != {e.shape}.", msg)
    if check_dtype and a.dtype != e.dtype and not (np.isscalar(actual) or np.isscalar(expected)):
        _fail(f"The values for attribute 'dtype' do not match{path}: {a.dtype} != {e.dtype}.", msg)
    rtol, atol = tolerances or max(TOLERANCES.get(str(x.dtype), (0.0, 0.0)) for x in (a, e))
    with np.errstate(all="ignore"):
        close = np.isclose(a, e, rtol, atol, equal_nan)
        if close.all():
            return
        distance = np.abs(np.subtract(a, e, dtype=np.float64))
    wrong = int((~close).sum())
    worst = np.unravel_index(int(np.argmax(np.where(close, -1, np.nan_to_num(distance, nan=np.inf)))), distance.shape)
    place = tuple(map(int, worst))
    kind = "Scalars are not close!" if a.ndim == 0 else "Tensor-likes are not close!"
    _fail(
        f"{kind}\n\nMismatched elements: {wrong} / {a.size} ({100 * wrong / a.size:.1f}%)\n"
        f"Greatest absolute difference: {distance[worst]} at index {place} (up to {atol} allowed)\n"
        f"  expected {e[worst]}, found {a[worst]} (up to {rtol} relative allowed){' in ' + path if path else ''}",
        msg,
    )


def _array(x: Any) -> Any:
    return x.detach().numpy() if isinstance(x, Tensor) else np.asarray(x)


def _fail(text: str, msg: str | None) -> None:
    raise AssertionError(msg or text)
