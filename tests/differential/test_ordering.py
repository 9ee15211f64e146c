"""Scans, sorting and searching beside PyTorch's: values, places and gradients. Run with -m oracle."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import rustorch
from tests.differential.beside import refusals, results

torch: Any = pytest.importorskip("torch")

pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore")]
Function = Callable[..., Any]
RNG = np.random.default_rng(12)
SHAPES: list[tuple[tuple[int, ...], int]] = [
    ((70,), 0), ((4, 5), 0), ((4, 5), -1), ((2, 33, 3), 1), ((0,), 0), ((3, 0), 0), ((), 0), ((1, 6), 0),
]  # fmt: skip
SPECIAL = np.array([1.0, np.nan, -0.0, 0.0, np.inf, 1.0, -np.inf, np.nan, 2.0, 2.0, -3.0])
DTYPES = ["float32", "float64", "int32", "int64", "bool"]


def same(function: Function, *arrays: Any, gradients: bool = True) -> None:
    found, expected = (results(library, partial(function, library), arrays) for library in (rustorch, torch))
    assert len(found) == len(expected)
    for mine, other in zip(found, expected, strict=True):
        assert (mine.dtype, mine.shape) == (other.dtype, other.shape)
        tolerance = {"float32": 2e-5, "float64": 1e-10}.get(mine.dtype.name, 0)
        if gradients or mine is not found[-1]:
            np.testing.assert_allclose(mine, other, rtol=tolerance, atol=tolerance)


def numbers(shape: tuple[int, ...], dtype: str = "float64") -> Any:
    """Numbers with ties among them."""
    return np.asarray(RNG.integers(-4, 5, shape) / (2 if "float" in dtype else 1)).astype(dtype)


@pytest.mark.parametrize(("shape", "dim"), SHAPES)
@pytest.mark.parametrize("name", ["cumsum", "cumprod", "cummax", "cummin", "logcumsumexp"])
def test_scans(name: str, shape: tuple[int, ...], dim: int) -> None:
    for dtype in DTYPES if name != "logcumsumexp" else DTYPES[:2]:
        same(lambda lib, x: getattr(lib, name)(x, dim), numbers(shape, dtype))
        same(lambda lib, x: getattr(x, name)(dim), numbers(shape, dtype))
    if name in ("cumsum", "cumprod"):
        same(lambda lib, x: getattr(lib, name)(x, dim, dtype=lib.float64), numbers(shape, "int32"))


@pytest.mark.parametrize("name", ["cumsum", "cumprod", "cummax", "cummin", "logcumsumexp"])
def test_scans_of_special_numbers(name: str) -> None:
    same(lambda lib, x: getattr(lib, name)(x.detach(), 0), SPECIAL)
    same(lambda lib, x: getattr(lib, name)(x.detach(), 0), SPECIAL[2:7])


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize(("shape", "dim"), SHAPES)
def test_sort(shape: tuple[int, ...], dim: int, descending: bool) -> None:
    for dtype in DTYPES:
        x = numbers(shape, dtype)
        same(lambda lib, x: lib.sort(x, dim=dim, descending=descending, stable=True), x)
        same(lambda lib, x: lib.argsort(x, dim=dim, descending=descending, stable=True), x)
    same(lambda lib, x: x.detach().sort(dim=0, descending=descending, stable=True), SPECIAL)
    if shape and 0 not in shape:
        same(lambda lib, x: lib.msort(x), numbers(shape))


@pytest.mark.parametrize("size", [47, 48, 49, 300, 5000])
def test_sort_of_many(size: int) -> None:
    for drawn in (RNG.standard_normal(size).astype(np.float32), RNG.standard_normal(size), RNG.integers(-(2**62), 2**62, size)):
        same(lambda lib, x: lib.sort(x, stable=True), drawn)
        same(lambda lib, x: lib.sort(x, stable=True, descending=True), drawn)


@pytest.mark.parametrize(("shape", "dim"), [(s, d) for s, d in SHAPES if s and 0 not in s])
def test_choices(shape: tuple[int, ...], dim: int) -> None:
    x = RNG.permutation(int(np.prod(shape))).reshape(shape) / 3.0  # no ties: PyTorch's choice among them is its own
    size = shape[dim]
    for k in {1, size // 2 + 1, size}:
        same(lambda lib, x, k=k: lib.topk(x, k, dim), x)
        same(lambda lib, x, k=k: lib.topk(x, k, dim, largest=False), x)
        same(lambda lib, x, k=k: lib.kthvalue(x, k, dim), x)
        same(lambda lib, x, k=k: lib.kthvalue(x, k, dim, keepdim=True), x)
    for name in ("median", "nanmedian", "mode"):
        same(lambda lib, x, name=name: getattr(lib, name)(x, dim), x)
        same(lambda lib, x, name=name: getattr(lib, name)(x, dim, keepdim=True), x)
    same(lambda lib, x: lib.median(x), x)
    same(lambda lib, x: lib.mode(x.detach(), dim)[0], numbers(shape))  # where it stands is PyTorch's choice
    same(lambda lib, x: lib.mode(x, dim)[0], numbers(shape, "int64"))


def test_middles_of_special_numbers() -> None:
    for x in (SPECIAL, SPECIAL[:1], np.array([np.nan, np.nan]), np.array([3.0, np.nan, 1.0])):
        for name in ("median", "nanmedian"):
            same(lambda lib, x, name=name: getattr(lib, name)(x.detach()), x)
            same(lambda lib, x, name=name: getattr(lib, name)(x.detach(), 0), x)


@pytest.mark.parametrize("interpolation", ["linear", "lower", "higher", "midpoint", "nearest"])
def test_quantile(interpolation: str) -> None:
    x, q = RNG.standard_normal((4, 7)), np.array([0.0, 0.3, 0.5, 1.0])
    for name in ("quantile", "nanquantile"):

        def call(lib: Any, x: Any, q: Any, name: str = name, **given: Any) -> Any:
            return getattr(lib, name)(x, q, interpolation=interpolation, **given)

        for given in ({}, {"dim": 0}, {"dim": 1, "keepdim": True}, {"keepdim": True}):
            same(lambda lib, x, given=given, call=call: call(lib, x, 0.37, **given), x)
            same(lambda lib, x, given=given, call=call: call(lib, x, lib.tensor(q), **given), x)
    holes = np.where(RNG.random((4, 7)) < 0.3, np.nan, x)
    holes[0] = np.nan
    same(lambda lib, x: lib.quantile(x.detach(), 0.4, dim=1, interpolation=interpolation), holes)
    same(lambda lib, x: lib.nanquantile(x.detach(), 0.4, dim=1, interpolation=interpolation), holes)


@pytest.mark.parametrize("right", [False, True])
def test_searchsorted(right: bool) -> None:
    for size in (0, 1, 2, 7, 8, 33):
        row, values = np.sort(numbers((size,))), numbers((3, 4))
        same(lambda lib, s, v: lib.searchsorted(s, v, right=right), row, values)
        same(lambda lib, s, v: lib.bucketize(v, s, right=right), row, values)
        same(lambda lib, s, v: lib.searchsorted(s, v, right=right, out_int32=True), row.astype(np.int64), values.astype(np.int64))
    rows, values = np.sort(numbers((3, 9))), numbers((3, 4))
    same(lambda lib, s, v: lib.searchsorted(s, v, side="right" if right else "left"), rows, values)
    order = np.argsort(RNG.random((3, 9)))
    same(lambda lib, s, v, o: lib.searchsorted(s, v, sorter=o, right=right), np.take_along_axis(rows, np.argsort(order), 1), values, order)
    same(lambda lib, s: lib.searchsorted(s, 0.25, right=right), np.sort(numbers((9,))))
    same(lambda lib, s, v: lib.searchsorted(s, v, right=right), np.arange(5), SPECIAL[:6])


def test_unique() -> None:
    for x in (numbers((30,), "int64"), numbers((5, 6)), SPECIAL, numbers((0,)), numbers((40,), "bool")):
        same(lambda lib, x: lib.unique(x.detach()), x)
        same(lambda lib, x: lib.unique(x.detach(), return_inverse=True, return_counts=True), np.nan_to_num(x))
        same(lambda lib, x: lib.unique_consecutive(x.detach(), return_inverse=True, return_counts=True), x)
    rows = RNG.integers(0, 2, (9, 2, 2))
    for dim in (0, 1):
        same(lambda lib, x, d=dim: lib.unique(x, dim=d, return_inverse=True, return_counts=True), rows)
        same(lambda lib, x, d=dim: lib.unique_consecutive(x, dim=d, return_inverse=True, return_counts=True), rows)


@pytest.mark.parametrize(
    "call",
    [
        lambda lib, x: lib.topk(x, 9), lambda lib, x: lib.kthvalue(x, 9), lambda lib, x: lib.kthvalue(x, 0), lambda lib, x: x.cumsum(3),
        lambda lib, x: lib.logcumsumexp(lib.arange(3), 0), lambda lib, x: lib.median(lib.ones(2, 0), 1), lambda lib, x: lib.sort(x, 4),
        lambda lib, x: lib.searchsorted(x[0], x, side="left", right=True), lambda lib, x: lib.searchsorted(x, x[0]),
        lambda lib, x: lib.quantile(x, 1.5), lambda lib, x: lib.quantile(x, 0.5, interpolation="foo"), lambda lib, x: lib.bucketize(x, x),
    ],
)  # fmt: skip
def test_refuses_as_pytorch_does(call: Function) -> None:
    """The same exception (a subclass of it) and first sentence."""
    ours, theirs = refusals(lambda lib: call(lib, lib.ones(2, 5)))
    assert ours.startswith(theirs)
