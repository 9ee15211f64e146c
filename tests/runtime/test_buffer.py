"""Aligned memory."""

from __future__ import annotations

import ctypes
import os
import threading

import numpy as np
import pytest

from rustorch.errors import DTypeError
from rustorch.runtime import buffer

F32 = np.dtype(np.float32)


@pytest.mark.parametrize("shape", [(), (0,), (3,), (0, 5), (1024,), (7, 1000), (3, 0, 10**6)])
@pytest.mark.parametrize("dtype", ["bool", "i32", "f64", "c128"])
def test_empty(shape: tuple[int, ...], dtype: str) -> None:
    x = buffer.empty(shape, buffer.dtype_named(dtype))
    assert (type(x), x.shape, x.dtype) == (np.ndarray, shape, buffer.DTYPES[dtype])
    assert x.flags.c_contiguous and x.flags.aligned and x.flags.writeable
    assert x.nbytes < buffer.PLAIN_BYTES or x.ctypes.data % 64 == 0
    x[...] = 1
    assert x.all()


def test_large_arrays_do_not_overlap() -> None:
    x, y = buffer.empty((5000,), F32), buffer.empty((5000,), F32)
    x[:], y[:] = 1, 2
    assert (x == 1).all() and (y == 2).all()


def test_contiguous_copies_only_what_needs_it() -> None:
    x = np.arange(12, dtype=F32)
    assert buffer.contiguous(x, F32) is x
    odd = np.zeros(13, np.uint8)[1:].view(F32)
    for other in (x[::2], x.reshape(3, 4).T, x[::-1], odd, x.astype(">f4"), np.arange(4)):
        copy = buffer.contiguous(other, F32)
        assert copy is not other and copy.dtype == F32 and copy.flags.c_contiguous and copy.flags.aligned
        assert (copy == other).all()


def test_addresses() -> None:
    x = np.zeros((4, 4))
    assert buffer.addresses([x, x[1:], x.T]) == [x.ctypes.data, x.ctypes.data + 32, x.ctypes.data]


def test_unknown_element_types() -> None:
    with pytest.raises(DTypeError, match="no element type 'f31'"):
        buffer.dtype_named("f31")


def test_a_workspace_is_aligned_reused_and_grows() -> None:
    assert buffer.workspace(0) == 0
    first = buffer.workspace(1000)
    assert first % 64 == 0 and buffer.workspace(10) == first == buffer.workspace(1000)
    large = buffer.workspace(1_000_000)
    assert large % 64 == 0
    ctypes.memset(large, 7, 1_000_000)
    assert buffer.workspace(1000) == large


def test_threads_have_workspaces_of_their_own() -> None:
    barrier = threading.Barrier(4)
    kept: list[bool] = []

    def work(value: int) -> None:
        for _ in range(20):
            place = buffer.workspace(10_000)
            ctypes.memset(place, value, 10_000)
            barrier.wait()
            kept.append(ctypes.string_at(place, 10_000) == bytes([value]) * 10_000)
            barrier.wait()

    threads = [threading.Thread(target=work, args=(value,)) for value in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kept == [True] * 80


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_finds_the_arena_free() -> None:
    buffer.ARENA.busy = 1
    try:
        child = os.fork()
        if child == 0:
            os._exit(int(buffer.ARENA.busy))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert buffer.ARENA.busy == 1
    finally:
        buffer.ARENA.busy = 0
