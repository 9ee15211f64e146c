"""Memory of large results, kept for the next ones: a result that is written again each call costs no page faults.

    lent = take(size)        # bytes; whoever keeps them keeps the block, and when nobody does it waits for the next taker

Blocks are anonymous pages of their own, in sizes of which neighbours differ by an eighth or less; where the system has huge pages, large
blocks ask for them. Blocks that wait hold no more than `KEPT_BYTES`: the oldest go first.
"""

from __future__ import annotations

import mmap
import os
import threading
from collections import OrderedDict
from contextlib import suppress
from typing import Any

import numpy as np

POOLED_BYTES = 1 << 20
"""From this size on results lie in blocks."""
HUGE_BYTES = 1 << 22
"""From this size on blocks ask for huge pages."""
KEPT_BYTES = min(2 << 30, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 8)

_waiting: OrderedDict[int, mmap.mmap] = OrderedDict()
"""Blocks that nobody uses, by a number that grows: the oldest first."""
_lock = threading.RLock()  # a block may come back from a collection inside `take`
_number = 0
_kept = 0


class _Lent(np.ndarray[Any, np.dtype[np.uint8]]):
    """The bytes of a block on loan. Views of it have no `block`, so they give nothing back."""

    block: mmap.mmap

    def __del__(self) -> None:
        block = self.__dict__.get("block")
        if block is not None and _give is not None:  # module globals go when the interpreter ends
            _give(block)


def block_bytes(size: int) -> int:
    """The size of the block for `size` bytes: whole pages, and an eighth of a power of two."""
    step = max(mmap.PAGESIZE, 1 << max(size.bit_length() - 4, 0))
    return -(-size // step) * step


def take(size: int) -> _Lent:
    """At least `size` bytes of undefined content, at the start of a page. Raises `MemoryError` where the system has none."""
    size = block_bytes(size)
    block = _find(size)
    if block is None:
        try:
            block = _new(size)
        except OSError:
            forget()
            try:
                block = _new(size)
            except OSError:
                raise MemoryError(f"no memory for a result of {size} bytes") from None
    lent = np.ndarray.__new__(_Lent, (size,), np.uint8, block)
    lent.block = block
    return lent


def forget() -> None:
    """Return the blocks that wait to the system."""
    global _kept
    with _lock:
        _waiting.clear()
        _kept = 0


def kept_bytes() -> int:
    """The bytes of all blocks that wait."""
    return _kept


def _new(size: int) -> mmap.mmap:
    block = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if size >= HUGE_BYTES:
        with suppress(OSError, AttributeError):
            block.madvise(mmap.MADV_HUGEPAGE)
    return block


def _find(size: int) -> mmap.mmap | None:
    """The youngest waiting block of a size: it is the likeliest to be in a cache."""
    global _kept
    with _lock:
        for number in reversed(_waiting):
            if len(_waiting[number]) == size:
                _kept -= size
                return _waiting.pop(number)
    return None


def _give(block: mmap.mmap) -> None:
    global _kept, _number
    with _lock:
        _number += 1
        _waiting[_number] = block
        _kept += len(block)
        while _kept > KEPT_BYTES:
            _, oldest = _waiting.popitem(last=False)
            _kept -= len(oldest)
