"""Random bits from a counter, and uniform and normal numbers made of them.

Element i of a stream is a function of (seed, offset, i) alone: no state, no order, equal on every target and under every
fusion. The function is Threefry-2x32 with 20 rounds (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as
1, 2, 3", SC 2011): the seed is its key, offset + i its counter. A generator advances its offset by the number of elements.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rustorch.errors import ArgumentError, DTypeError, ShapeError, Unsupported, compose
from rustorch.ir.builder import Builder
from rustorch.ir.dims import product
from rustorch.ir.dtypes import f32, f64, i32, i64
from rustorch.ir.graph import Value
from rustorch.ir.op import Internal, Never, Refusal, Sample, Zero
from rustorch.ir.types import TensorType, Type
from rustorch.ops.family import Array, Shape, batch_size, general, shape_of, tensor

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA
_WORDS = 4
"""Words an element may ask for: two blocks of two, apart in a high bit of the counter."""
_BLOCK_BIT = 30


def threefry(key: tuple[Array, Array], counter: tuple[Array, Array]) -> tuple[Array, Array]:
    """Threefry-2x32-20 on arrays of uint32."""
    k0, k1 = (np.asarray(k, np.uint32) for k in key)
    keys = (k0, k1, k0 ^ k1 ^ np.uint32(_PARITY))
    x0, x1 = (np.asarray(c, np.uint32) for c in counter)
    with np.errstate(over="ignore"):
        x0, x1 = x0 + keys[0], x1 + keys[1]
        for group in range(5):
            for r in _ROTATIONS[group % 2]:
                x0 = x0 + x1
                x1 = (x1 << np.uint32(r)) | (x1 >> np.uint32(32 - r))
                x1 = x1 ^ x0
            x0 = x0 + keys[(group + 1) % 3]
            x1 = x1 + keys[(group + 2) % 3] + np.uint32(group + 1)
    return x0, x1


def _bits_type(key: Type, *, shape: Shape, word: int) -> TensorType:
    type_ = tensor("random_bits", key)
    if type_.dtype is not i64:
        raise DTypeError(compose("random_bits: the key is i64", f"found {key}"))
    if type_.rank < 1 or type_.shape[-1] != 2:
        raise ShapeError(compose("random_bits: the key's last axis holds seed and offset", f"found {key}"))
    streams = type_.shape[:-1]
    if tuple(shape[: len(streams)]) != streams:
        found = f"found {[*map(str, shape)]} for keys {key}"
        raise ShapeError(compose("random_bits: the shape begins with the keys' leading axes, one stream each", found))
    if word not in range(_WORDS):
        raise ArgumentError(compose(f"random_bits: an element has the words 0 to {_WORDS - 1}", f"found {word}"))
    return TensorType(i32, shape)


def _bits(key: Array, shape: Any, word: int) -> Array:
    streams = key.shape[:-1]
    count = int(np.prod(shape[len(streams) :]))
    seed: Array = key[..., 0, None].view(np.uint64)
    offset: Array = key[..., 1, None].view(np.uint64)
    with np.errstate(over="ignore"):
        counter: Array = offset + np.arange(count, dtype=np.uint64)
    block = np.uint32((word // 2) << _BLOCK_BIT)
    bits = threefry((_low(seed), _high(seed)), (_low(counter), _high(counter) ^ block))[word % 2]
    return bits.view(np.int32).reshape(shape)


def _low(x: Array) -> Array:
    return x.astype(np.uint32)


def _high(x: Array) -> Array:
    return (x >> np.uint64(32)).astype(np.uint32)


def _expand_bits(b: Builder, key: Value, *, shape: Shape, word: int) -> Value:
    """The same in wrapping i32 arithmetic, flat; the shape is put on at the end."""
    streams = shape_of(key)[:-1]
    count = product(shape[len(streams) :])
    flat: Shape = (*streams, count)
    rank = len(streams)

    def halves(x: Value) -> tuple[Value, Value]:
        return b.convert(x, dtype=i32), b.convert(b.shr_logical(x, 32), dtype=i32)

    def part(k: int) -> Value:
        one = b.slice(key, starts=(*(0,) * rank, k), limits=(*streams, k + 1), strides=(1,) * (rank + 1))
        repeated: Value = b.broadcast_to(b.reshape(one, shape=streams), shape=flat, dims=tuple(range(rank)))
        return repeated

    def rotated(x: Value, r: int) -> Value:
        turned: Value = b.or_(b.shl(x, r), b.shr_logical(x, 32 - r))
        return turned

    k0, k1 = halves(part(0))
    keys = (k0, k1, b.xor(b.xor(k0, k1), _PARITY))
    x0, x1 = halves(b.add(part(1), b.iota(type=TensorType(i64, flat), axis=rank)))
    if word // 2:
        x1 = b.xor(x1, (word // 2) << _BLOCK_BIT)
    x0, x1 = b.add(x0, k0), b.add(x1, k1)
    for group in range(5):
        for r in _ROTATIONS[group % 2]:
            x0 = b.add(x0, x1)
            x1 = b.xor(rotated(x1, r), x0)
        x0 = b.add(x0, keys[(group + 1) % 3])
        x1 = b.add(b.add(x1, keys[(group + 2) % 3]), group + 1)
    result: Value = b.reshape((x0, x1)[word % 2], shape=shape)
    return result


def _batch_bits(b: Builder, operands: Sequence[Value], batched: Sequence[bool], attrs: dict[str, Any]) -> Value:
    result: Value = b.random_bits(operands[0], shape=(batch_size(operands, batched), *attrs["shape"]), word=attrs["word"])
    return result


def _keys(*rows: tuple[int, int]) -> Any:
    return lambda rng: (np.array(rows[0] if len(rows) == 1 else rows, np.int64),)


random_bits = general(
    "random_bits",
    "32 random bits an element, a function of the key (seed, offset), the element's row-major index and `word` (0 to 3) alone. "
    "Leading axes of the key are streams of their own.",
    public=Internal("rand, randn, dropout and every other random function"),
    operands=1,
    infer=_bits_type,
    reference=_bits,
    derivative=Zero("random bits do not depend on numbers"),
    batch=_batch_bits,
    lower=Never("it is expanded into integer arithmetic"),
    attributes=("shape", "word"),
    expand=_expand_bits,
    cost=80,
    samples=(
        Sample(_keys((0, 0)), {"shape": (), "word": 0}, False, "0-d"),
        Sample(_keys((0, 0)), {"shape": (67,), "word": 1}, False, "67"),
        Sample(_keys((-5, (1 << 32) - 3)), {"shape": (3, 5), "word": 2}, False, "carry into the high half"),
        Sample(_keys((1 << 62, -2)), {"shape": (2, 3), "word": 3}, False, "wrapping counter"),
        Sample(_keys((7, 1)), {"shape": (0, 3), "word": 0}, False, "empty"),
        Sample(_keys((7, 1), (8, 2)), {"shape": (2, 5), "word": 0}, False, "two streams"),
    ),
    errors=(
        Refusal((i32[2],), {"shape": (3,), "word": 0}, DTypeError, "key is i64"),
        Refusal((i64[3],), {"shape": (3,), "word": 0}, ShapeError, "seed and offset"),
        Refusal((i64[4, 2],), {"shape": (3,), "word": 0}, ShapeError, "one stream each"),
        Refusal((i64[2],), {"shape": (3,), "word": 4}, ArgumentError, "words 0 to 3"),
    ),
)


def uniform(b: Builder, key: Value, type_: TensorType, block: int = 0) -> Value:
    """Uniform numbers in [0, 1): multiples of 2^-24 in f32, of 2^-53 in f64. `block` 0 and 1 give independent numbers."""
    bits = [b.random_bits(key, shape=type_.shape, word=2 * block + k) for k in (0, 1)]
    if type_.dtype is f32:
        whole = b.convert(b.shr_logical(bits[0], 8), dtype=f32)
        small: Value = b.mul(whole, 2.0**-24)
        return small
    if type_.dtype is f64:
        high, low = b.convert(b.shr_logical(bits[0], 5), dtype=f64), b.convert(b.shr_logical(bits[1], 6), dtype=f64)
        fine: Value = b.mul(b.add(b.mul(high, 2.0**26), low), 2.0**-53)
        return fine
    raise Unsupported(compose("uniform numbers are f32 or f64", f"found {type_}", todo="convert f32 numbers"))


def normal(b: Builder, key: Value, type_: TensorType) -> Value:
    """Standard normal numbers (Box and Muller 1958): sqrt(-2 log(1 - u)) cos(2 pi v) of two uniform numbers u, v."""
    radius = b.sqrt(b.mul(b.log(b.sub(1, uniform(b, key, type_, 0))), -2.0))
    answer: Value = b.mul(radius, b.cos(b.mul(uniform(b, key, type_, 1), 2 * np.pi)))
    return answer
