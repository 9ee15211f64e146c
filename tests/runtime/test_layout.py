"""Offsets of live objects' fields."""

from __future__ import annotations

import ctypes
import sysconfig
from typing import Any

import numpy as np
import pytest

from rustorch.runtime import buffer, layout

pytestmark = pytest.mark.skipif(layout.probe() is None, reason="no known object layout here")


def word(each: object, offset: int, kind: Any = ctypes.c_uint64) -> Any:
    return kind.from_address(id(each) + offset).value


def test_the_probe_reads_live_objects() -> None:
    at = layout.probe()
    assert at is not None
    x = np.zeros((4, 3), np.float64).T
    assert word(x, at.type) == id(np.ndarray)
    assert word(x, at.array_data) == x.ctypes.data
    assert word(x, at.array_rank, ctypes.c_int32) == 2
    assert word(x, at.array_flags, ctypes.c_int32) == x.flags.num
    assert word(x, at.array_dtype) == id(x.dtype)
    assert tuple((ctypes.c_int64 * 2).from_address(word(x, at.array_sizes))) == x.shape
    assert tuple((ctypes.c_int64 * 2).from_address(word(x, at.array_strides))) == x.strides
    assert word(2.5, at.float_value, ctypes.c_double) == 2.5
    pair = (x, at)
    assert [word(pair, at.tuple_items + 8 * k) for k in range(2)] == [id(x), id(at)]


def test_slots_of_a_class_and_its_bases() -> None:
    class Base:
        __slots__ = ("first", "__weakref__")

    class Derived(Base):
        __slots__ = "second"

    offsets = layout.slot_offsets(Derived)
    assert offsets.keys() == {"first", "second"}
    each = Derived()
    each.first, each.second = object(), object()  # type: ignore[attr-defined]
    assert word(each, offsets["first"]) == id(each.first)  # type: ignore[attr-defined]
    assert word(each, offsets["second"]) == id(each.second)  # type: ignore[attr-defined]
    assert layout.slot_offsets(int) == {}


@pytest.fixture
def afresh() -> Any:
    layout.probe.cache_clear()
    layout.addresses.cache_clear()
    yield
    layout.probe.cache_clear()
    layout.addresses.cache_clear()


@pytest.mark.usefixtures("afresh")
def test_a_free_threaded_interpreter_is_not_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysconfig, "get_config_var", lambda name: 1 if name == "Py_GIL_DISABLED" else None)
    assert layout.probe() is None


@pytest.mark.usefixtures("afresh")
def test_a_missing_function_or_another_table_gives_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "API", (*layout.API, "PyNo_Such"))
    assert layout.addresses() is None and layout.probe() is None
    monkeypatch.undo()
    layout.probe.cache_clear()
    layout.addresses.cache_clear()
    assert layout.probe() is not None


@pytest.mark.usefixtures("afresh")
def test_a_field_that_is_not_found_gives_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "_words", lambda each, kind: [0] * 12)
    assert layout.probe() is None
    x = np.zeros(3)
    assert buffer.address(x) == x.ctypes.data
