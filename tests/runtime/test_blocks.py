"""Blocks of large results: used again when nobody keeps them, never before."""

from __future__ import annotations

import gc
import resource
import threading
from collections.abc import Iterator

import numpy as np
import pytest

import rustorch
from rustorch.codegen import emit_entry
from rustorch.runtime import blocks, buffer

SIZE = 3 << 20


@pytest.fixture(autouse=True)
def _no_blocks_wait() -> Iterator[None]:
    blocks.forget()
    yield
    blocks.forget()


def address(array: np.ndarray) -> int:  # type: ignore[type-arg]
    return int(array.ctypes.data)


def test_a_block_is_used_again() -> None:
    first = blocks.take(SIZE)
    place = address(first)
    assert place % 4096 == 0
    del first
    assert blocks.kept_bytes() == blocks.block_bytes(SIZE)
    assert address(blocks.take(SIZE)) == place


def test_a_block_stays_while_a_view_is_kept() -> None:
    array = buffer.empty((SIZE // 4,), np.dtype(np.float32))
    array[:] = 1.0
    part = array[5:9]
    whole = np.asarray(array.base)[:16]
    place = address(array)
    del array
    gc.collect()
    other = buffer.empty((SIZE // 4,), np.dtype(np.float32))
    assert address(other) != place
    other[:] = 2.0
    assert (part == 1.0).all()
    del part
    gc.collect()
    assert blocks.kept_bytes() == 0, "a view of the bytes keeps the block, too"
    del whole
    assert blocks.kept_bytes() == blocks.block_bytes(SIZE)


def test_sizes_are_near() -> None:
    for size in (blocks.POOLED_BYTES, 1234567, 10**7, 131_072_000, 10**10 + 1):
        assert size <= blocks.block_bytes(size) <= size * 9 / 8 + 4096
        assert blocks.block_bytes(size) % 4096 == 0
        assert blocks.block_bytes(blocks.block_bytes(size)) == blocks.block_bytes(size)


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "KEPT_BYTES", 3 * blocks.block_bytes(SIZE))
    lent = [blocks.take(SIZE) for _ in range(6)]
    places = [address(one) for one in lent]
    while lent:
        lent.pop(0)
    assert blocks.kept_bytes() == 3 * blocks.block_bytes(SIZE)
    again = [blocks.take(SIZE) for _ in range(3)]
    assert [address(one) for one in again] == places[:2:-1], "the youngest first"
    assert blocks.kept_bytes() == 0


def test_no_memory() -> None:
    kept = blocks.take(SIZE)
    del kept
    with pytest.raises(MemoryError, match="no memory for a result"):
        blocks.take(1 << 60)
    assert blocks.kept_bytes() == 0, "what waited was given up for it"


def test_the_entry_and_the_slow_path_agree_on_sizes() -> None:
    assert emit_entry.POOLED_BYTES == blocks.POOLED_BYTES
    assert emit_entry.PLAIN_BYTES == buffer.PLAIN_BYTES


def test_calls_without_page_faults() -> None:
    """Ten calls that return 16 MB each fault fewer pages than one result has."""
    f = rustorch.jit(lambda x: x * 2.0 + 1.0)
    x = rustorch.tensor(np.arange(4_000_000, dtype=np.float32))
    for _ in range(4):
        y = f(x)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        y = f(x)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 2000
    assert y.numpy()[-1] == np.float32(3_999_999) * 2 + 1


def test_results_that_are_kept_are_apart() -> None:
    f = rustorch.jit(lambda x, k: x * 0.0 + k)
    x = rustorch.tensor(np.ones(500_000, np.float32))
    results = [f(x, rustorch.tensor(np.float32(k))) for k in range(8)]
    for k, result in enumerate(results):
        assert (result.numpy() == k).all()
    assert len({address(result.numpy()) for result in results}) == 8


def test_inputs_that_are_rebound_meanwhile() -> None:
    """Asking for a block may let another thread run, which replaces what the call was given: the call keeps it."""
    f = rustorch.jit(lambda x: x + 1.0)
    x = rustorch.tensor(np.zeros(300_000, np.float32))
    stop = False

    def rebind() -> None:
        while not stop:
            x._array = np.zeros(300_000, np.float32)  # what a write does in the end; the array before it is freed

    f(x)
    f(x)
    thread = threading.Thread(target=rebind)
    thread.start()
    try:
        for _ in range(300):
            assert (f(x).numpy() == 1.0).all()
    finally:
        stop = True
        thread.join()
