"""Random bits are Threefry's, a function of (seed, offset, index) alone; the numbers made of them have their distributions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rustorch.errors import Unsupported
from rustorch.ir.builder import Builder
from rustorch.ir.dtypes import f32, f64, i32, i64
from rustorch.ir.types import DType, TensorType
from rustorch.ops import interpret
from rustorch.ops.family import Array
from rustorch.ops.random import normal, threefry, uniform

KEY = np.array([1234, 0], np.int64)


@pytest.mark.parametrize(
    ("key", "counter", "expected"),
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_known_answers(key: tuple[int, int], counter: tuple[int, int], expected: tuple[int, int]) -> None:
    """The vectors for threefry2x32 with 20 rounds that accompany the paper (Random123, kat_vectors)."""
    found = threefry(tuple(np.uint32(k) for k in key), tuple(np.uint32(c) for c in counter))  # type: ignore[arg-type]
    assert tuple(map(int, found)) == expected


def bits(key: Array, shape: tuple[int, ...], word: int = 0) -> Array:
    b = Builder()
    return interpret(b.build([b.random_bits(b.input(i64[key.shape]), shape=shape, word=word)]), [key])[0]


def test_bits_of_seed_zero_begin_with_the_known_answer() -> None:
    zero = np.zeros(2, np.int64)
    assert [int(bits(zero, (), word).view(np.uint32)) for word in (0, 1)] == [0x6B200159, 0x99BA4EFE]


def test_an_element_depends_on_its_index_alone() -> None:
    long = bits(KEY, (100,))
    np.testing.assert_array_equal(bits(KEY + [0, 40], (60,)), long[40:])
    np.testing.assert_array_equal(bits(KEY, (10, 10)), long.reshape(10, 10))


def test_words_and_seeds_differ() -> None:
    streams = [bits(KEY, (50,), word) for word in range(4)] + [bits(KEY + [1, 0], (50,))]
    assert len(np.unique(np.concatenate(streams))) == 250


def drawn(kind: str, type_: TensorType) -> Array:
    b = Builder()
    key = b.input(i64[2])
    result = uniform(b, key, type_) if kind == "uniform" else normal(b, key, type_)
    assert result.type is type_
    return interpret(b.build([result]), [KEY])[0]


@pytest.mark.parametrize("dtype", [f32, f64])
def test_uniform(dtype: DType) -> None:
    x = drawn("uniform", dtype[200, 500])
    n = x.size
    assert x.min() >= 0
    assert x.max() < 1
    steps = 2.0 ** (24 if dtype is f32 else 53)
    assert np.all(x.astype(np.float64) * steps % 1 == 0)
    # mean and variance within 5 standard errors of 1/2 and 1/12 (the variance's is sqrt(1/180 n))
    assert abs(x.mean(dtype=np.float64) - 0.5) < 5 / math.sqrt(12 * n)
    assert abs(x.var(dtype=np.float64) - 1 / 12) < 5 / math.sqrt(180 * n)


@pytest.mark.parametrize("dtype", [f32, f64])
def test_normal(dtype: DType) -> None:
    x = drawn("normal", dtype[100000]).astype(np.float64)
    n = x.size
    assert np.isfinite(x).all()
    assert abs(x.mean()) < 5 / math.sqrt(n)
    assert abs(x.var() - 1) < 5 * math.sqrt(2 / n)
    # the distribution function at a few points, within 5 standard errors of a count
    for point in (-2.0, -1.0, 0.0, 0.5, 1.5, 3.0):
        p = 0.5 * (1 + math.erf(point / math.sqrt(2)))
        assert abs((x < point).mean() - p) < 5 * math.sqrt(p * (1 - p) / n)


def test_uniform_of_integers_is_not_built() -> None:
    b = Builder()
    with pytest.raises(Unsupported, match="f32 or f64"):
        uniform(b, b.input(i64[2]), i32[3])


def test_symbolic_shapes() -> None:
    b = Builder()
    key, x = b.input(i64[2]), b.input(f32["n", 3])
    y = b.add(x, uniform(b, key, f32["n", 3]))
    found = interpret(b.build([y]), [KEY, np.zeros((5, 3), np.float32)])[0]
    np.testing.assert_array_equal(found.ravel(), drawn("uniform", f32[15]))
