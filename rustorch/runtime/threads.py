"""The worker pool behind parallel loops: how many threads, and the record that its native code works on.

The code itself is emitted (`codegen/emit_pool.py`) and installed when the first graph with a parallel loop is compiled. Importing the
library starts no thread: the first parallel loop does.
"""

from __future__ import annotations

import ctypes
import math
import os
import threading
from pathlib import Path

from rustorch.artifact import EXECUTOR, MOST_THREADS, POOL, POOL_BYTES
from rustorch.config import config
from rustorch.errors import compose
from rustorch.runtime.loader import Loaded

_CLOSED = -(1 << 30)
_FUTEX, _WAKE_PRIVATE = 202, 129

_memory = (ctypes.c_uint64 * (POOL_BYTES // 8 + 8))()
_POOL = -(-ctypes.addressof(_memory) // 64) * 64
"""Where the record lies."""
_lock = threading.Lock()
_code: Loaded | None = None
_resize_symbol = ""
_threads = 0
"""What was asked for; 0 while nobody asked."""


def get_num_threads() -> int:
    """The number of threads that parallel loops use, the calling thread among them.

    Until `set_num_threads` it is `RUSTORCH_NUM_THREADS`, else the number of processors that this process may use.
    """
    return _threads or config.num_threads or available()


def set_num_threads(n: int) -> None:
    """Use `n` threads, the calling one among them; 1 runs everything on the calling thread. Results are the same, bit for bit.

    Waits for a parallel loop that is running. Raises `TypeError` for what is no int, `RuntimeError` for less than 1.
    """
    global _threads
    if isinstance(n, bool) or not isinstance(n, int):
        raise TypeError(compose("set_num_threads expects an int", f"got {type(n).__name__}"))
    if n < 1:
        raise RuntimeError(compose("set_num_threads expects a positive integer", f"got {n}"))
    with _lock:
        _threads = min(n, MOST_THREADS)
        if _code is not None:
            _resize(_code, _threads)


def executor() -> int:
    """The address of the pool's executor; 0 until it is installed, and where this system cannot have it."""
    return _POOL if _code is not None else 0


def install(code: Loaded, parallel_for: str, resize: str) -> int:
    """Make `code` the pool of this process, unless there is one, and give its executor's address; 0 where there are no futexes."""
    global _code, _resize_symbol
    with _lock:
        if _code is None and _fill(code.address(parallel_for)):
            # Workers run this code until the process ends, whatever the interpreter has freed by then.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(code.token))
            _code, _resize_symbol = code, resize
    return executor()


def _resize(code: Loaded, n: int) -> None:
    ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int32)(code.address(_resize_symbol))(_POOL, n)


def _fill(parallel_for: int) -> bool:
    """Write the record; false where the system has no futexes or threads of the usual names."""
    try:
        library = ctypes.CDLL(None, use_errno=True)
        system = {name: _address(getattr(library, symbol)) for name, symbol in _SYSTEM.items()}
    except (OSError, AttributeError):
        return False
    word = ctypes.c_int32(0)
    if library.syscall(_FUTEX, ctypes.byref(word), _WAKE_PRIVATE, 1, None, None, 0) < 0:
        return False
    for name, address in {"parallel_for": parallel_for, "context": _POOL, **system}.items():
        _word(name).value = address
    _half("size").value = max(EXECUTOR.values()) + 8
    _half("wanted").value = get_num_threads()
    _reset()
    return True


_SYSTEM = {"create": "pthread_create", "detach": "pthread_detach", "syscall": "syscall"}


def _address(function: object) -> int:
    return int(ctypes.cast(function, ctypes.c_void_p).value or 0)  # type: ignore[arg-type]


def _word(field: str) -> ctypes.c_uint64:
    return ctypes.c_uint64.from_address(_POOL + POOL[field])


def _half(field: str) -> ctypes.c_int32:
    return ctypes.c_int32.from_address(_POOL + POOL[field])


def _reset() -> None:
    """A pool without workers, and without a loop: when it is made, and in a forked child, where only the forking thread lives on."""
    for field in ("generation", "sleepers", "busy", "alive"):
        _half(field).value = 0
    _half("members").value = _CLOSED


def _forked() -> None:
    global _lock
    _lock = threading.Lock()
    if _code is not None:
        _reset()


os.register_at_fork(after_in_child=_forked)


# --- How many ---------------------------------------------------------------------------------------------------------------


def available() -> int:
    """The number of processors that this process may use: its affinity, and no more than its control group's quota."""
    try:
        usable = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        usable = os.cpu_count() or 1
    quota = _quota()
    return max(1, min(usable, math.ceil(quota)) if quota else usable)


def _quota(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> float:
    """Processors that the control groups of this process allow, of version 2 or 1; 0 for no limit."""
    found: list[float] = []
    for group in _groups(own):
        for folder in (root / group, *(root / group).parents):
            if folder == root.parent:
                break
            found += _limit(folder / "cpu.max", None) + _limit(folder / "cpu.cfs_quota_us", folder / "cpu.cfs_period_us")
    return min(found, default=0.0)


def _groups(own: Path) -> list[str]:
    """Folders of this process's groups, relative to the root; in a container the root itself often is the group's."""
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    groups = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers or "cpu" in controllers.split(","):
            groups += [f"{folder}{path}".strip("/") for folder in ("", controllers, "cpu")]
    return groups


def _limit(quota: Path, period: Path | None) -> list[float]:
    """The limit that a file states, as `max 100000` or `150000 100000`, or as two files."""
    try:
        words = quota.read_text(encoding="utf-8").split()
        if period is not None:
            words += period.read_text(encoding="utf-8").split()
        return [int(words[0]) / int(words[1])] if int(words[0]) > 0 else []
    except (OSError, ValueError, IndexError, ZeroDivisionError):
        return []
