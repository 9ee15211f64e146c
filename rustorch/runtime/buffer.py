"""Memory for arrays and workspaces, aligned to 64 bytes: a cache line, and the widest vector."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from rustorch.errors import DTypeError
from rustorch.runtime import blocks, layout

Array = np.ndarray[Any, np.dtype[Any]]

ALIGNMENT = 64
PLAIN_BYTES = 4096
"""Below this an array is numpy's own: aligning it costs more than an unaligned vector does."""

DTYPES: dict[str, np.dtype[Any]] = {
    "bool": np.dtype(np.bool_),
    "i8": np.dtype(np.int8),
    "i16": np.dtype(np.int16),
    "i32": np.dtype(np.int32),
    "i64": np.dtype(np.int64),
    "u8": np.dtype(np.uint8),
    "u16": np.dtype(np.uint16),
    "u32": np.dtype(np.uint32),
    "u64": np.dtype(np.uint64),
    "f16": np.dtype(np.float16),
    "f32": np.dtype(np.float32),
    "f64": np.dtype(np.float64),
    "c64": np.dtype(np.complex64),
    "c128": np.dtype(np.complex128),
}
"""Numpy's element type of each name in an artifact."""

SHORT_NAMES = {dtype: name for name, dtype in DTYPES.items()}

READABLE = 0x0101
"""Flags of an array that native code reads in place: C-contiguous, elements aligned."""
WRITEABLE = 0x0400


def dtype_named(name: str) -> np.dtype[Any]:
    """Numpy's element type of an artifact's name for it."""
    if name not in DTYPES:
        raise DTypeError(f"no element type {name!r}: the element types are {', '.join(DTYPES)}")
    return DTYPES[name]


def empty(shape: Sequence[int], dtype: np.dtype[Any]) -> Array:
    """A C-contiguous array of undefined content; from `PLAIN_BYTES` on it starts at a multiple of 64 bytes."""
    size = math.prod(shape) * dtype.itemsize
    if size < PLAIN_BYTES:
        return np.empty(shape, dtype)
    if size >= blocks.POOLED_BYTES:
        return np.ndarray(shape, dtype, blocks.take(size))
    block = np.empty(size + ALIGNMENT, np.uint8)
    start = -address(block) % ALIGNMENT
    return np.ndarray(shape, dtype, block, start)


def contiguous(x: Array, dtype: np.dtype[Any]) -> Array:
    """`x` itself where native code can read it in place as `dtype`, else an aligned copy in C order."""
    if type(x) is np.ndarray and x.dtype == dtype and x.flags.num & READABLE == READABLE:
        return x
    copy = empty(x.shape, dtype)
    copy[...] = x
    return copy


def address(array: Array) -> int:
    """Where the first element lies."""
    return addresses((array,))[0]


def addresses(arrays: Sequence[Array]) -> list[int]:
    """Where the first element of each array lies."""
    found = layout.probe()
    if found is None:
        return [array.ctypes.data for array in arrays]
    field = found.array_data // 8
    return [_MEMORY[id(array) // 8 + field] for array in arrays]  # 0.1 µs each; `ctypes.data` takes 1 µs


_MEMORY = (ctypes.c_size_t * (1 << 44)).from_address(0)
"""This process's memory as words: only ever indexed at a field of a live array."""


class _Workspace(threading.local):
    """One block a thread."""

    block: Array = np.empty(0, np.uint8)
    start: int = 0
    size: int = 0


_workspace = _Workspace()


def workspace(size: int) -> int:
    """The address of `size` bytes, at a multiple of 64, that are this thread's until its next call; 0 for none.

    The block grows to the largest size asked for and is kept for reuse. A caller that is done does nothing.
    """
    if size <= _workspace.size:
        return _workspace.start if size else 0
    _workspace.size = 0  # should the allocation fail, the next call starts afresh
    _workspace.block = np.empty(0, np.uint8)
    _workspace.block = np.empty(size + ALIGNMENT, np.uint8)
    _workspace.start = -(-address(_workspace.block) // ALIGNMENT) * ALIGNMENT
    _workspace.size = size
    return _workspace.start


@contextlib.contextmanager
def workspace_aside() -> Iterator[None]:
    """Inside, this thread's workspace is another one: for Python code that runs while native code uses it."""
    kept = _workspace.block, _workspace.start, _workspace.size
    _workspace.block, _workspace.start, _workspace.size = np.empty(0, np.uint8), 0, 0
    try:
        yield
    finally:
        _workspace.block, _workspace.start, _workspace.size = kept


class Arena(ctypes.Structure):
    """The workspace that all compiled entries share, one call at a time; who finds it busy takes another way.

    The entries read and write it, growing it where a call needs more: malloc's block, its usable bytes, 0 or 1.
    """

    _fields_ = (("block", ctypes.c_void_p), ("capacity", ctypes.c_int64), ("busy", ctypes.c_int64))


ARENA = Arena(None, 0, 0)


def _forget_other_threads() -> None:
    """In a forked child nobody else is inside a kernel, whatever the flag says. The block itself was copied whole."""
    ARENA.busy = 0


os.register_at_fork(after_in_child=_forget_other_threads)
