"""Object bytes to addresses. With codegen/assemble.py the only user of llvmlite's binding, which it imports on first use."""

from __future__ import annotations

import _ctypes
import functools
import itertools
import os
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Any

import numpy as np

from rustorch.errors import CompilerBug, compose

_lock = threading.Lock()
_jit: Any = None
_numbers = itertools.count()
_NOTHING: Mapping[str, int] = MappingProxyType({})


class Loaded:
    """Code in memory. It stays there until `token` is gone: whoever keeps an address keeps `token` or this object.

    See Note [When code may be freed].
    """

    __slots__ = ("token", "_addresses")

    def __init__(self, addresses: Mapping[str, int], unload: Callable[[], Any]) -> None:
        self._addresses = dict(addresses)
        self.token = np.empty(0, np.uint8)
        weakref.finalize(self.token, unload).atexit = False

    def address(self, symbol: str) -> int:
        """The address of one of the symbols that were asked for."""
        return self._addresses[symbol]


def load(artifact_object: bytes, symbols: Sequence[str], imports: Mapping[str, int] = _NOTHING) -> Loaded:
    """The object, linked at any distance to the addresses of `imports`; `CompilerBug` where a symbol is missing."""
    import llvmlite.binding as llvm

    builder = llvm.JITLibraryBuilder().add_object_img(artifact_object)
    for symbol in symbols:
        builder.export_symbol(symbol)
    for symbol, address in imports.items():
        builder.import_symbol(symbol, address)
    jit = _shared_jit()
    try:
        tracker = builder.link(jit, f"rustorch.{next(_numbers)}")
    except RuntimeError as error:
        asked, given = ", ".join(symbols) or "no symbol", ", ".join(imports) or "no import"
        raise CompilerBug(compose("an object cannot be loaded", *str(error).splitlines(), f"asked for {asked}; given {given}")) from None
    return Loaded({symbol: int(tracker[symbol]) for symbol in symbols}, tracker.close)


def open_library(path: str, symbols: Sequence[str]) -> Loaded | None:
    """A shared library that needs no other; None where the system does not open it, or a symbol is missing. LLVM is not needed."""
    try:
        handle = _ctypes.dlopen(path, os.RTLD_NOW | os.RTLD_LOCAL)
    except OSError:
        return None
    try:
        addresses = {symbol: _ctypes.dlsym(handle, symbol) for symbol in symbols}
    except OSError:
        _ctypes.dlclose(handle)
        return None
    return Loaded(addresses, functools.partial(_ctypes.dlclose, handle))


def linked(objects: Sequence[bytes], exports: Sequence[str], soname: str) -> bytes:
    """What `elf.shared_library` makes; the linker is imported when there is something to link."""
    from rustorch.runtime.elf import shared_library

    return shared_library(objects, exports, soname)


def _shared_jit() -> Any:
    """The one linker of this process, never disposed of: loaded code outlives every module's globals."""
    global _jit
    with _lock:
        if _jit is None:
            import llvmlite.binding as llvm

            with suppress(RuntimeError):  # newer versions need no initialisation of the core, and say so
                llvm.initialize()
            llvm.initialize_native_target()
            llvm.initialize_native_asmprinter()
            # JITLink: it reaches imports at any distance, and gives memory back when code is unloaded (RuntimeDyld keeps 10 kB).
            _jit = llvm.create_lljit_compiler(use_jit_link=True, suppress_errors=True)
        return _jit


# Note [When code may be freed]
#
# A Python builtin points into the code. The collector may find builtin and `Loaded` in one piece of garbage, and it calls all
# finalizers of that garbage, in any order and before it frees anything; one of them may call the builtin, or even make it
# reachable again. So the code must not go when an object's `__del__` or the callback of a weak reference says so, but only
# when the memory of its last user is really given back. An ndarray is invisible to the collector: its weak references are
# cleared exactly when its reference count reaches zero. The builtin's `self` holds `token`, such an array, and CPython lets
# go of `self` last. The linker has its own lock, so unloading from whichever thread is safe.
