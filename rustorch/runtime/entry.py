"""An emitted entry as a Python builtin: a call costs about 0.1 µs."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from rustorch.artifact import EntryPlan
from rustorch.errors import CompilerBug, Unsupported
from rustorch.runtime import blocks, buffer, layout
from rustorch.runtime.loader import Loaded

_NO_OBJECTS: Mapping[str, object] = MappingProxyType({})

METH_FASTCALL = 0x80
METH_KEYWORDS = 0x02


@dataclass(frozen=True)
class Epoch:
    """A counter, kept in an int64 array of one element; an entry that was made at another count takes the fallback."""

    counter: buffer.Array

    def __post_init__(self) -> None:
        if self.counter.dtype != np.int64 or self.counter.size != 1:
            raise CompilerBug(f"an epoch is one int64, not {self.counter.dtype}{list(self.counter.shape)}")


class _Method(ctypes.Structure):
    """CPython's PyMethodDef."""

    _fields_ = (("name", ctypes.c_char_p), ("function", ctypes.c_void_p), ("flags", ctypes.c_int), ("doc", ctypes.c_char_p))


def make_entry(
    plan: EntryPlan,
    code: Loaded,
    driver: Loaded,
    symbol: str,
    fallback: Callable[..., Any],
    *,
    name: str = "compiled",
    work_bytes: int = 0,
    tensor_type: type | None = None,
    captured: Sequence[object] = (),
    objects: Mapping[str, object] = _NO_OBJECTS,
    epoch: Epoch | None = None,
    executor: int = 0,
) -> Callable[..., Any]:
    """The builtin function that runs `plan`, whose `code` is loaded, around the native entry `symbol` of `driver`.

    Calls that it does not take go to `fallback` with the same arguments. `objects` gives the objects that the signature names,
    `captured` its captured tensors. The builtin owns all of this, and the code; it needs no other keeper.
    """
    functions = layout.addresses()
    if functions is None or layout.probe() is None:
        raise Unsupported("entries need an interpreter whose objects can be read: call the Executable instead")
    if len(captured) != plan.captured or not all(tensor_type and isinstance(one, tensor_type) for one in captured):
        raise CompilerBug(f"{name}: {plan.captured} captured tensors are needed, got {[type(one).__name__ for one in captured]}")
    words = {
        "driver": driver.address(symbol),
        "executor": executor,
        "work_bytes": work_bytes,
        "arena": ctypes.addressof(buffer.ARENA),
    }
    if epoch is not None:
        words |= {"epoch": buffer.address(epoch.counter), "epoch_now": int(epoch.counter.item())}
    known: dict[str, object] = {"fallback": fallback, "none": None, "one": 1, "take": blocks.take}
    known |= {"type.ndarray": np.ndarray, "type.float": float, "type.int": int}
    known |= {f"dtype.{short}": dtype for short, dtype in buffer.DTYPES.items()}
    known |= {f"captured.{place}": tensor for place, tensor in enumerate(captured)}
    known |= {f"object.{key}": value for key, value in objects.items()}
    if tensor_type is not None:
        known["type.tensor"] = tensor_type
    words |= functions
    missing = [key for key in plan.objects if key not in known] + [key for key in plan.addresses if key not in words]
    if missing:
        raise CompilerBug(f"{name}: the entry needs {', '.join(missing)}")

    table = np.array([words[key] for key in plan.addresses], np.uint64)
    method = _Method(name.encode(), code.address(plan.symbol), METH_FASTCALL | (METH_KEYWORDS if plan.keywords else 0), None)
    keep = (code.token, driver.token, method, epoch)
    owner = (table, *(known[key] for key in plan.objects), keep)
    return _new_builtin()(ctypes.addressof(method), owner, None)  # type: ignore[no-any-return]


@functools.cache
def _new_builtin() -> Any:
    """PyCFunction_NewEx(method, self, module). The builtin lets go of `self` last, so `self` may own its method."""
    prototype = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)
    return prototype(("PyCFunction_NewEx", ctypes.pythonapi))
