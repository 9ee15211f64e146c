"""Where CPython and numpy keep the fields that compiled entries read: found in live objects, never assumed.

Every offset is searched for: it is the only place where a set of unlike objects all hold what their public attributes say.
Where one is not found, or the interpreter is not one whose objects may be read like this, `probe` gives None and every
call goes through ctypes.
"""

from __future__ import annotations

import ctypes
import functools
import platform
import sys
import sysconfig
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from rustorch.artifact import Layout

Word = TypeVar("Word", ctypes.c_uint64, ctypes.c_uint32, ctypes.c_double)

API = (
    "Py_IncRef",
    "Py_DecRef",
    "PyBytes_FromStringAndSize",
    "PyDict_GetItem",
    "PyErr_Clear",
    "PyEval_SaveThread",
    "PyEval_RestoreThread",
    "PyLong_AsLongLongAndOverflow",
    "PyLong_FromLongLong",
    "PyMem_RawFree",
    "PyMem_RawMalloc",
    "PyNumber_Add",
    "PyObject_Vectorcall",
    "PyTuple_New",
    "PyType_GenericAlloc",
)
"""Functions of CPython that entries call. Numpy's are in `_NUMPY_API`."""

_NUMPY_API = {"PyArray_NewFromDescr": 94, "PyArray_SetBaseObject": 282}
"""Places in numpy's table of functions, which is a stable interface; place 2 is the type of arrays."""


@functools.cache
def probe() -> Layout | None:
    """The layout of this process, or None where it cannot be relied on."""
    try:
        return _probe() if _is_readable() and addresses() is not None else None
    except (LookupError, OSError, ValueError, AttributeError):
        return None


def _is_readable() -> bool:
    """Whether objects here are what CPython's headers say: no moving, no per-thread counts, 64-bit words."""
    return (
        sys.implementation.name == "cpython"
        and sys.platform == "linux"
        and platform.machine() == "x86_64"
        and sys.maxsize == 2**63 - 1
        and not sysconfig.get_config_var("Py_GIL_DISABLED")
    )


def _probe() -> Layout:
    shapes = ((3, 5), (2, 7, 4), (6, 2, 3, 9))
    arrays: list[Any] = [np.zeros(shape, dtype) for shape, dtype in zip(shapes, ("f4", "i8", "?"), strict=True)]
    arrays += [np.zeros((4, 6), "f8").T, np.zeros((8, 3), "f4")[::2, ::2]]
    arrays[1].flags.writeable = False
    sizes, strides = _sizes_and_strides(arrays)
    return Layout(
        type=_offset(arrays, ctypes.c_uint64, lambda array: id(type(array))),
        tuple_items=_offset([(object(), object())], ctypes.c_uint64, lambda items: id(items[0])),
        float_value=_offset([1.5, -2.25e300, 3.0e-200], ctypes.c_double, lambda number: number),
        array_data=_offset(arrays, ctypes.c_uint64, lambda array: array.ctypes.data),
        array_rank=_offset(arrays, ctypes.c_uint32, lambda array: array.ndim),
        array_sizes=sizes,
        array_strides=strides,
        array_dtype=_offset(arrays, ctypes.c_uint64, lambda array: id(array.dtype)),
        array_flags=_offset(arrays, ctypes.c_uint32, lambda array: array.flags.num),
    )


def _sizes_and_strides(arrays: Sequence[Any]) -> tuple[int, int]:
    """Offsets of the two pointers, found without following any: numpy keeps the strides right behind the sizes."""
    words = [_words(array, ctypes.c_uint64) for array in arrays]
    places = range(len(words[0]))
    pairs = [
        (i, j)
        for i in places
        for j in places
        if all(row[i] and row[j] - row[i] == 8 * array.ndim for row, array in zip(words, arrays, strict=True))
    ]
    if len(pairs) != 1:
        raise LookupError("sizes and strides")
    i, j = pairs[0]
    for row, array in zip(words, arrays, strict=True):
        found = tuple((ctypes.c_int64 * (2 * array.ndim)).from_address(row[i]))
        if found != array.shape + array.strides:
            raise LookupError("sizes and strides")
    return 8 * i, 8 * j


def _offset(objects: Sequence[Any], word: type[Word], expected: Callable[[Any], float]) -> int:
    """The only offset at which every object holds what is expected of it."""
    rows = [_words(each, word) for each in objects]
    values = [expected(each) for each in objects]
    matches = [k for k in range(len(rows[0])) if [row[k] for row in rows] == values]
    if len(matches) != 1:
        raise LookupError(f"{len(matches)} places hold {values}")
    return matches[0] * ctypes.sizeof(word)


def _words(each: object, word: type[Word]) -> list[Any]:
    """The memory of an object, no further than its own size."""
    cls = type(each)
    size = cls.__basicsize__ + (cls.__itemsize__ * len(each) if isinstance(each, tuple) else 0)
    return list((word * (size // ctypes.sizeof(word))).from_address(id(each)))


def slot_offsets(cls: type) -> dict[str, int]:
    """Offset of each of the `__slots__` of a class and its bases, found by filling the slots of a blank instance."""
    offsets = {}
    for base in cls.__mro__:
        slots = base.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if not name.startswith("__"):
                offsets[name] = _slot_offset(cls, name)
    return offsets


def _slot_offset(cls: type, name: str) -> int:
    blank: object = object.__new__(cls)
    mark = object()
    before = _words(blank, ctypes.c_uint64)
    object.__setattr__(blank, name, mark)
    after = _words(blank, ctypes.c_uint64)
    places = [k for k, (old, new) in enumerate(zip(before, after, strict=True)) if old == 0 and new == id(mark)]
    if len(places) != 1:
        raise LookupError(f"slot {name} of {cls.__name__}")
    return 8 * places[0]


@functools.cache
def addresses() -> dict[str, int] | None:
    """Address of each API function that entries call, by its C name; None where one is missing or does not do its work."""
    try:
        found = {name: _address(getattr(ctypes.pythonapi, name)) for name in API}
        found |= _numpy_addresses()
    except (AttributeError, ImportError, LookupError, TypeError, ValueError):
        return None
    return found


def _address(function: Any) -> int:
    return int(ctypes.cast(function, ctypes.c_void_p).value or 0)


def _numpy_addresses() -> dict[str, int]:
    """The functions from numpy's table, each called once to see that it is the one that is meant."""
    from numpy._core import _multiarray_umath as core  # type: ignore[attr-defined]  # numpy's stubs leave it out

    get = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_GetPointer", ctypes.pythonapi))
    table = (ctypes.c_uint64 * (max(_NUMPY_API.values()) + 1)).from_address(get(core._ARRAY_API, None))
    if table[2] != id(np.ndarray):
        raise LookupError("numpy's table of functions")
    found = {name: int(table[place]) for name, place in _NUMPY_API.items()}

    dtype, owner = np.dtype(np.float32), np.zeros(12, np.float32)
    sizes = (ctypes.c_int64 * 2)(3, 4)
    count, word, thing = ctypes.c_int, ctypes.c_void_p, ctypes.py_object
    new = ctypes.PYFUNCTYPE(thing, thing, thing, count, word, word, word, count, word)(found["PyArray_NewFromDescr"])
    set_base = ctypes.PYFUNCTYPE(count, thing, thing)(found["PyArray_SetBaseObject"])
    keep = ctypes.PYFUNCTYPE(None, thing)(("Py_IncRef", ctypes.pythonapi))
    keep(dtype)  # both functions take over a reference
    array = new(np.ndarray, dtype, 2, ctypes.addressof(sizes), None, owner.ctypes.data, 0, None)
    keep(owner)
    set_base(array, owner)
    if array.shape != (3, 4) or array.dtype is not dtype or array.base is not owner or array.ctypes.data != owner.ctypes.data:
        raise LookupError("numpy's functions")
    return found
