"""Python functions that native code calls: numpy's LAPACK behind the steps of a plan.

A callout is a C function around a Python one. It takes the interpreter's lock itself, so a driver may run with or without it.
Memory that native code names becomes arrays without copies; what the function returns is copied into the results. BLAS runs with one
thread, so that bits do not depend on how many there are. An exception waits in `failure` for whoever called the driver; the results
are NaN then (or 0), and native code goes on to its end with them.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np

from rustorch.artifact import CalloutSpec
from rustorch.errors import CompilerBug
from rustorch.runtime import buffer
from rustorch.runtime.buffer import Array

_Native = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_size_t, ctypes.c_size_t)
_START = buffer.ALIGNMENT
_ALL: Any = (ctypes.c_uint8 * ((1 << 47) - _START)).from_address(_START)
"""This process's memory as bytes, from a place on that is not null: only ever used where native code said that there is an array."""
_kept: dict[CalloutSpec, Any] = {}
"""The C functions of the process. There are as many as combinations of op, attributes, types and ranks; they are never freed, since
loaded code holds their addresses."""
_lock = threading.Lock()


class _Failure(threading.local):
    error: BaseException | None = None


_failure = _Failure()


def failure() -> BaseException | None:
    """What the last callout of this thread that failed has raised; asked once."""
    error, _failure.error = _failure.error, None
    return error


def callout_address(spec: CalloutSpec, function: Callable[..., Any]) -> int:
    """The address of the C function around a Python one, which takes and gives arrays as `spec` says. Made once a process."""
    with _lock:
        made = _kept.get(spec)
        if made is None:
            made = _kept[spec] = _Native(_Callout(spec, function))
    return ctypes.cast(made, ctypes.c_void_p).value or 0


def alone(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with one BLAS thread: what a callout of it computes, bit for bit."""

    def call(*arrays: Array) -> Any:
        with _one_thread():
            return function(*arrays)

    return call


class _Callout:
    def __init__(self, spec: CalloutSpec, function: Callable[..., Any]) -> None:
        self.spec, self.function = spec, function
        self.kinds = [(buffer.dtype_named(dtype), rank) for dtype, rank in (*spec.operands, *spec.results)]
        self.axes = sum(rank for _, rank in self.kinds)

    def __call__(self, sizes: int, memory: int) -> int:
        try:
            arrays = self._arrays(sizes, memory)
            count = len(self.spec.operands)
            with _one_thread(), buffer.workspace_aside(), np.errstate(all="ignore"):
                self._call(arrays[:count], arrays[count:])
        except BaseException as error:  # nothing may pass through native code
            _failure.error = error
            return 1
        return 0

    def _call(self, operands: Sequence[Array], results: Sequence[Array]) -> None:
        for x in operands:
            x.flags.writeable = False
        try:
            found = self.function(*operands)
        except BaseException:
            for y in results:
                y.fill(math.nan if y.dtype.kind in "fc" else 0)
            raise
        for y, value in zip(results, found if isinstance(found, tuple) else (found,), strict=True):
            if value.shape != y.shape or value.dtype != y.dtype:
                raise CompilerBug(f"{self.spec.op} gave {value.dtype}{list(value.shape)} for {y.dtype}{list(y.shape)}")
            y[...] = value

    def _arrays(self, sizes: int, memory: int) -> list[Array]:
        lengths = iter((ctypes.c_int64 * self.axes).from_address(sizes)) if self.axes else iter(())
        places = (ctypes.c_size_t * len(self.kinds)).from_address(memory)
        found: list[Array] = []
        for (dtype, rank), place in zip(self.kinds, places, strict=True):
            shape = tuple(next(lengths) for _ in range(rank))
            found.append(np.ndarray(shape, dtype, _ALL, place - _START) if math.prod(shape) else np.empty(shape, dtype))
        return found


# --- BLAS's threads ---------------------------------------------------------------------------------------------------


class _Alone:
    """How many callouts run, and what the number of BLAS's threads was before the first of them."""

    running = 0
    before = 1


_alone_lock = threading.Lock()


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """BLAS with one thread, where it can be told; callouts of several threads share that."""
    found = _blas()
    if found is None:
        yield
        return
    get, put = found
    with _alone_lock:
        if _Alone.running == 0:
            _Alone.before = get()
            if _Alone.before != 1:
                put(1)
        _Alone.running += 1
    try:
        yield
    finally:
        with _alone_lock:
            _Alone.running -= 1
            if _Alone.running == 0 and _Alone.before != 1:
                put(_Alone.before)


@functools.cache
def _blas() -> tuple[Callable[[], int], Callable[[int], None]] | None:
    """The functions of numpy's OpenBLAS that tell and set the number of threads; None where it is another library."""
    from numpy.linalg import _umath_linalg

    library = ctypes.CDLL(_umath_linalg.__file__)
    for before, behind in product(("scipy_", ""), ("64_", "")):
        with contextlib.suppress(AttributeError):
            return tuple(library[f"{before}openblas_{verb}_num_threads{behind}"] for verb in ("get", "set"))  # type: ignore[return-value]
    return None
