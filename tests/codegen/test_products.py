"""Matrix products against numpy, their documented order of additions, and what their objects may contain."""

from __future__ import annotations

import ctypes
import functools
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from rustorch.codegen.assemble import assemble, assembly
from rustorch.codegen.products import gemm_symbol, gemm_text, gemm_work_bytes
from rustorch.codegen.target import LEVELS, Target, host_level
from rustorch.errors import Unsupported
from rustorch.runtime.loader import Loaded, load

Array = np.ndarray[Any, np.dtype[Any]]
DTYPES = {"f32": np.float32, "f64": np.float64, "i32": np.int32, "i64": np.int64}
RUNNABLE = list(LEVELS)[: list(LEVELS).index(host_level()) + 1]
FLOATS = [(dtype, level) for dtype in ("f32", "f64") for level in RUNNABLE]
ALL = [(dtype, level) for dtype in DTYPES for level in RUNNABLE]
CANARY = 64


@functools.cache
def compiled(dtype: str, level: str) -> tuple[Loaded, Callable[..., None]]:
    symbol, i64, pointer = gemm_symbol(dtype, LEVELS[level]), ctypes.c_int64, ctypes.c_void_p
    code = load(assemble(gemm_text(dtype, LEVELS[level]), LEVELS[level]), [symbol])
    kinds = [*[i64] * 3, pointer, i64, i64, pointer, i64, i64, pointer, i64, i64, pointer]
    return code, ctypes.CFUNCTYPE(None, *kinds)(code.address(symbol))


def product(level: str, a: Array, b: Array, c: Array, accumulate: bool = False) -> None:
    """`c (+)= a @ b` by the compiled product, in a workspace of exactly the stated size."""
    dtype = next(name for name, kind in DTYPES.items() if kind == a.dtype)
    (m, k), n, size = a.shape, b.shape[1], a.itemsize
    needed = gemm_work_bytes(m, n, k, dtype, LEVELS[level])
    room = np.full(needed + 2 * CANARY + 64, 0xAB, np.uint8)
    start = CANARY + -(room.ctypes.data + CANARY) % 64
    room[start : start + needed] = 0xFF  # NaNs: what is read must have been written
    strides = [stride // size for matrix in (a, b, c) for stride in matrix.strides]
    _, function = compiled(dtype, level)
    operands = (a.ctypes.data, *strides[:2], b.ctypes.data, *strides[2:4], c.ctypes.data, strides[4])
    function(m, n, k, *operands, accumulate, room[start:].ctypes.data)
    assert (room[:start] == 0xAB).all()
    assert (room[start + needed :] == 0xAB).all()


def matrices(rng: np.random.Generator, rows: int, columns: int, dtype: str) -> Iterator[Array]:
    """Random matrices in every layout; what lies between and around their elements is NaN."""
    kind = DTYPES[dtype]
    outside = np.nan if dtype[0] == "f" else 77

    def draw(shape: tuple[int, ...]) -> Array:
        return np.asarray(rng.normal(0, 8, shape)).astype(kind)

    def embed(shape: tuple[int, int], view: Callable[[Array], Array]) -> Array:
        room: Array = np.full(shape, outside, kind)
        found = view(room)
        found[...] = draw(found.shape)
        return found

    yield embed((rows, columns), lambda x: x)
    yield embed((columns, rows), lambda x: x.T)
    yield embed((rows + 1, columns + 3), lambda x: x[:rows, :columns])
    yield embed((columns + 1, rows + 3), lambda x: x.T[:rows, :columns])
    yield embed((2 * rows + 1, 3 * columns + 1), lambda x: x[: 2 * rows : 2, : 3 * columns : 3])
    yield embed((rows, columns), lambda x: x[::-1, ::-1])
    yield np.broadcast_to(draw((1, columns)), (rows, columns))
    yield np.broadcast_to(draw((rows, 1)), (rows, columns))


def check(level: str, a: Array, b: Array, accumulate: bool, rng: np.random.Generator) -> None:
    """Compares with numpy's product in twice the precision; columns of C beyond the product keep their bits."""
    (m, k), n = a.shape, b.shape[1]
    room = rng.normal(0, 8, (m, n + 3)).astype(a.dtype)
    before = room.copy()
    product(level, a, b, room[:, :n], accumulate)
    assert np.array_equal(room[:, n:], before[:, n:])
    old = before[:, :n] if accumulate else np.zeros_like(before[:, :n])
    if a.dtype.kind == "i":
        assert np.array_equal(room[:, :n], old + a @ b)
        return
    wide = np.float64 if a.dtype == np.float32 else np.longdouble
    exact = old.astype(wide) + a.astype(wide) @ b.astype(wide)
    # Chains of at most 384 products and a sum of blocks: each rounding moves an element by at most u times the magnitudes summed.
    roundings = 2 * min(k, 384) + -(-k // 384) + 1
    magnitude = np.abs(old).astype(wide) + np.abs(a).astype(wide) @ np.abs(b).astype(wide)
    assert (np.abs(room[:, :n] - exact) <= roundings * np.finfo(room.dtype).eps / 2 * magnitude).all()


@pytest.mark.parametrize(("dtype", "level"), ALL)
def test_every_layout(dtype: str, level: str) -> None:
    rng = np.random.default_rng(1)
    for m, n, k in ((13, 37, 9), (1, 45, 23), (45, 1, 23), (1, 1, 50), (70, 5, 8), (3, 2, 1)):
        rights = list(matrices(rng, k, n, dtype))
        for a in matrices(rng, m, k, dtype):
            for b in rights:
                check(level, a, b, bool(rng.integers(2)), rng)


@pytest.mark.parametrize(("dtype", "level"), ALL)
def test_sizes_around_the_tiles(dtype: str, level: str) -> None:
    rng = np.random.default_rng(2)
    sizes = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 15, 16, 17, 23, 24, 25, 31, 32, 33, 64, 65, 130)
    for _ in range(150):
        m, n, k = (int(size) for size in rng.choice(sizes, 3))
        a, b = (next(islice(matrices(rng, *shape, dtype), int(rng.integers(2)), None)) for shape in ((m, k), (k, n)))
        check(level, a, b, bool(rng.integers(2)), rng)


@pytest.mark.parametrize(("dtype", "level"), FLOATS)
@pytest.mark.parametrize("order", ["C", "F"])
def test_sizes_beyond_the_blocks(dtype: str, level: str, order: Literal["C", "F"]) -> None:
    rng = np.random.default_rng(3)
    for m, n, k in ((300, 1100, 400), (30, 140, 800), (1, 1100, 800), (1100, 1, 800), (1, 1, 500_000), (600, 7, 800)):
        # Small whole numbers: every sum is exact, in any order.
        a, b = (np.asarray(rng.integers(-3, 4, shape), DTYPES[dtype], order=order) for shape in ((m, k), (k, n)))
        c = np.full((m, n), np.nan, DTYPES[dtype])
        product(level, a, b, c)
        assert np.array_equal(c, a.astype(np.float64) @ b.astype(np.float64))


@pytest.mark.parametrize(("dtype", "level"), ALL)
def test_nothing_to_sum(dtype: str, level: str) -> None:
    empty = np.zeros((3, 0), DTYPES[dtype])
    c = np.full((3, 5), 7, DTYPES[dtype])
    product(level, empty, np.zeros((0, 5), DTYPES[dtype]), c, accumulate=True)
    assert (c == 7).all()
    product(level, empty, np.zeros((0, 5), DTYPES[dtype]), c)
    assert (c == 0).all()


@pytest.mark.parametrize(("dtype", "level"), FLOATS)
@pytest.mark.parametrize("accumulate", [False, True])
def test_bits_do_not_depend_on_the_rest_of_the_product(dtype: str, level: str, accumulate: bool) -> None:
    rng = np.random.default_rng(4)
    m, n, k = 61, 83, 805
    a, b, old = (rng.normal(size=shape).astype(DTYPES[dtype]) for shape in ((m, k), (k, n), (m, n)))
    whole = old.copy()
    product(level, a, b, whole, accumulate)
    lefts, rights = (a, np.asfortranarray(a), np.repeat(a, 2, 1)[:, ::2]), (b, np.asfortranarray(b), np.repeat(b, 2, 1)[:, ::2])
    cuts = [(0, 61), (5, 6), (60, 61), (3, 5), (7, 20), (24, 61)]
    for rows in cuts:
        for columns in [*cuts, (0, 83), (16, 80), (1, 65)]:
            i, j = slice(*rows), slice(*columns)
            for x, y in zip(lefts, rights, strict=True):
                for left, right in ((x, b), (a, y), (x, y)):
                    part = old[i, j].copy()
                    product(level, left[i], right[:, j], part, accumulate)
                    assert part.tobytes() == whole[i, j].tobytes(), (rows, columns, left.strides, right.strides)


def blocks(k: int) -> Iterator[slice]:
    """The documented cut of k."""
    count = -(-k // 384)
    depth = -(-k // count)
    return (slice(first, min(first + depth, k)) for first in range(0, k, depth))


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("k", [1, 384, 385, 1000, 3073])
def test_order_of_additions_without_fma(dtype: str, k: int) -> None:
    rng = np.random.default_rng(5)
    a, b, old = (rng.normal(size=shape).astype(DTYPES[dtype]) for shape in ((7, k), (k, 9), (7, 9)))
    total = old.copy()
    for block in blocks(k):
        chain = np.zeros_like(old)
        for p in range(block.start, block.stop):
            chain = chain + a[:, p : p + 1] * b[p]
        total = total + chain
    product("v2", a, b, old, accumulate=True)
    assert old.tobytes() == total.tobytes()


@pytest.mark.parametrize("level", [level for level in RUNNABLE if LEVELS[level].has_fma])
@pytest.mark.parametrize("k", [1, 384, 800])
def test_order_of_additions_with_fma(level: str, k: int) -> None:
    rng = np.random.default_rng(6)
    a, b, c = rng.normal(size=(1, k)), rng.normal(size=(k, 1)), np.zeros((1, 1))
    sums = []
    for block in blocks(k):
        chain = 0.0
        for p in range(block.start, block.stop):
            chain = float(Fraction(a[0, p]) * Fraction(b[p, 0]) + Fraction(chain))  # rounded once
        sums.append(chain)
    product(level, a, b, c)
    assert c[0, 0] == sum(sums[1:], sums[0])


@pytest.mark.parametrize(("dtype", "level"), FLOATS)
def test_underflow_to_minus_zero_survives(dtype: str, level: str) -> None:
    tiny = 2.0**-126 if dtype == "f32" else 2.0**-1022
    for m, n in ((3, 40), (1, 40), (40, 1), (1, 1), (40, 3)):
        a, b = np.full((m, 1), -tiny).astype(DTYPES[dtype]), np.full((1, n), tiny).astype(DTYPES[dtype])
        c = np.ones((m, n), DTYPES[dtype])
        product(level, a, b, c)
        assert (c == 0).all()
        # At level v2 the product rounds to -0 and is then added to +0; fused, the sum is rounded, to -0.
        assert (np.signbit(c) == LEVELS[level].has_fma).all()


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_no_undefined_symbols(dtype: str, level: str, tmp_path: Path) -> None:
    text = gemm_text(dtype, LEVELS[level])
    assert all(name.startswith("llvm.") for name in re.findall(r"^declare .*@([\w.]+)\(", text, re.M))
    called = re.findall(r"\b(?:call|jmp)q?\s+([A-Za-z_][\w.]*)", assembly(text, LEVELS[level]))
    assert set(called) <= set(re.findall(r"^define .*@([\w.]+)\(", text, re.M))
    nm = shutil.which("nm")
    if nm:
        path = tmp_path / "product.o"
        path.write_bytes(assemble(text, LEVELS[level]))
        assert subprocess.run([nm, "-u", path], check=True, capture_output=True, text=True).stdout == ""


@pytest.mark.parametrize(("dtype", "level", "vector"), [
    ("f32", "v2", "xmm"), ("f32", "v3", "ymm"), ("f32", "v4", "zmm"), ("f64", "v2", "xmm"), ("f64", "v3", "ymm"), ("f64", "v4", "zmm"),
])
def test_inner_loops_keep_everything_in_registers(dtype: str, level: str, vector: str) -> None:
    text = assembly(gemm_text(dtype, LEVELS[level]), LEVELS[level])
    loops = re.findall(r"^rt_gemm_\w+\.tile\d+x2:.*?^(\.L\w+):$(.*?)\bj\w+\s+\1$", text, re.M | re.S)
    assert len(loops) == len(re.findall(r"^rt_gemm_\w+\.tile\d+x2:", text, re.M))
    for _, body in loops:
        assert re.search(rf"(?:vfmadd\w+|add)p[sd]\s+.*%{vector}", body)
        assert "(%rsp)" not in body


@pytest.mark.parametrize("target", LEVELS.values(), ids=LEVELS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_workspace_is_bounded_and_grows_with_the_sizes(dtype: str, target: Target) -> None:
    sizes = (0, 1, 2, 16, 17, 255, 256, 257, 1024, 5000)
    needed = {(m, n, k): gemm_work_bytes(m, n, k, dtype, target) for m in sizes for n in sizes for k in sizes}
    assert max(needed.values()) < 2 << 20
    for low, high in pairwise(sizes):
        for x in sizes:
            for y in sizes:
                assert needed[low, x, y] <= needed[high, x, y]
                assert needed[x, low, y] <= needed[x, high, y]
                assert needed[x, y, low] <= needed[x, y, high]


def test_other_element_types_are_refused() -> None:
    with pytest.raises(Unsupported, match="matrix products of f16"):
        gemm_text("f16", LEVELS["v4"])
