"""Random numbers: a generator is a seed and an offset, which are inputs of every program that draws from it.

Number k of a stream is a function of (seed, offset + k) alone (`ops/random.py`), so what is drawn does not depend on what is
compiled together, on threads, or on whether it runs under `jit`.
"""

from __future__ import annotations

import functools
import os
from typing import Any

import numpy as np

from rustorch.compiler import Compiled, compile_graph
from rustorch.config import config
from rustorch.errors import ArgumentError, DTypeError, Unsupported, compose
from rustorch.frontend.base import TensorBase, concrete
from rustorch.frontend.creation import check_can_require, float_dtype, full_op, leaf
from rustorch.frontend.emission import Builder, Operand, Shape, Value, broadcast_shapes, convert, dtype_of, operation, shape_of
from rustorch.frontend.movement import sizes_from
from rustorch.frontend.state import defaults, local
from rustorch.frontend.storage import become_leaf, convert_to, into, rebind
from rustorch.ir.dims import product, symbol
from rustorch.ir.dtypes import f64, i64, title
from rustorch.ir.types import DType, TensorType
from rustorch.ops.random import normal as normal_numbers
from rustorch.ops.random import uniform as uniform_numbers

DEFAULT_SEED = 67280421310721


class Generator:
    """A stream of random numbers: `seed`, and how many were drawn (`offset`)."""

    def __init__(self, device: Any = "cpu") -> None:
        self.seed_number, self.offset = DEFAULT_SEED, 0

    def manual_seed(self, seed: int) -> Generator:
        """Begin the stream of a seed; gives the generator."""
        self.seed_number, self.offset = _int64(int(seed)), 0
        return self

    def seed(self) -> int:
        """Begin the stream of a seed that the system's randomness gives; gives the seed."""
        self.manual_seed(int.from_bytes(os.urandom(7), "little"))
        return self.seed_number

    def initial_seed(self) -> int:
        """The seed."""
        return self.seed_number

    def get_state(self) -> Any:
        """Seed and offset as a tensor."""
        return leaf(np.array([self.seed_number, self.offset], np.int64))

    def set_state(self, new_state: Any) -> Generator:
        """Go on from what `get_state` gave; gives the generator."""
        self.seed_number, self.offset = (int(v) for v in new_state._elements())
        return self

    def key(self, count: int) -> Any:
        """A key for the next `count` numbers: an int64 tensor of seed and offset."""
        return local.segment.draw(self, count)


def _int64(seed: int) -> int:
    if not -(2**63) <= seed < 2**64:
        raise ArgumentError(f"Overflow when unpacking long: the seed {seed} does not fit 64 bits")
    return seed - 2**64 if seed >= 2**63 else seed


default_generator = Generator()


def manual_seed(seed: int) -> Generator:
    """Begin the default generator's stream of a seed; gives the generator."""
    return default_generator.manual_seed(seed)


def seed() -> int:
    """Begin a stream of the default generator that nobody knows beforehand; gives its seed."""
    return default_generator.seed()


def initial_seed() -> int:
    """The default generator's seed."""
    return default_generator.initial_seed()


def get_rng_state() -> Any:
    """The default generator's state."""
    return default_generator.get_state()


def set_rng_state(new_state: Any) -> None:
    """Go on from a state of the default generator."""
    default_generator.set_state(new_state)


def random_key(count: int, generator: Generator | None = None) -> Any:
    """A key for the next `count` numbers of a generator (the default one)."""
    return (generator or default_generator).key(count)


# --- Emission ---------------------------------------------------------------------------------------------------------


def uniform(b: Builder, key: Value, type_: TensorType) -> Value:
    """Uniform numbers in [0, 1)."""
    return uniform_numbers(b, key, type_)


def bernoulli_mask(b: Builder, key: Value, shape: Shape, p: float) -> Value:
    """True with probability `p`, independently."""
    drawn: Value = b.lt(uniform_numbers(b, key, TensorType(defaults.dtype, shape)), p)
    return drawn


@operation(name="offset_key")
def offset_key(b: Builder, key: Value, by: int) -> Value:
    """The key of numbers further on in the stream."""
    step = b.const(np.array([0, by], np.int64), key)
    moved: Value = b.add(key, step)
    return moved


@operation
def stream_keys(b: Builder, key: Value, size: int, count: int) -> Value:
    """A key for each of `size` streams, `count` numbers apart."""
    type_ = TensorType(i64, (size, 2))
    steps = b.mul(b.iota(type=type_, axis=0), count)
    only_offsets = b.mul(steps, b.iota(type=type_, axis=1))
    moved: Value = b.add(b.broadcast_to(key, shape=(size, 2), dims=(1,)), only_offsets)
    return moved


@operation(name="rand", blocks=True)
def rand_op(b: Builder, key: Value, type: TensorType) -> Value:
    """Uniform numbers in [0, 1)."""
    return uniform_numbers(b, key, type)


@operation(name="randn", blocks=True)
def randn_op(b: Builder, key: Value, type: TensorType) -> Value:
    """Standard normal numbers."""
    return normal_numbers(b, key, type)


@operation(name="randint", blocks=True)
def randint_op(b: Builder, key: Value, type: TensorType, low: int, high: int) -> Value:
    """Whole numbers from `low` up to, not including, `high`."""
    scaled = b.floor(b.mul(uniform_numbers(b, key, type.with_dtype(f64)), float(high - low)))
    return convert(b, b.add(convert(b, scaled, i64), low), type.dtype)


@operation(name="uniform", blocks=True)
def uniform_op(b: Builder, key: Value, low: Operand, high: Operand, type: TensorType) -> Value:
    """Uniform numbers from `low` up to `high`."""
    x, y = (_whole(b, v, type) for v in (low, high))
    drawn: Value = b.add(b.mul(uniform_numbers(b, key, type), b.sub(y, x)), x)
    return drawn


@operation(name="normal")
def normal_op(b: Builder, key: Value, mean: Operand, std: Operand, type: TensorType) -> Value:
    """Normal numbers."""
    drawn: Value = b.add(b.mul(normal_numbers(b, key, type), _whole(b, std, type)), _whole(b, mean, type))
    return drawn


def _whole(b: Builder, x: Operand, type: TensorType) -> Value:
    value = convert(b, x, type.dtype)
    rank = len(shape_of(value))
    spread: Value = b.broadcast_to(value, shape=type.shape, dims=tuple(range(type.rank - rank, type.rank)))
    return spread


@operation(name="bernoulli", blocks=True)
def bernoulli_op(b: Builder, key: Value, probability: Value) -> Value:
    """Ones with the probability that stands at their place, else zeros."""
    drawn = uniform_numbers(b, key, TensorType(dtype_of(probability), shape_of(probability)))
    return convert(b, b.lt(drawn, probability), dtype_of(probability))


# --- Functions --------------------------------------------------------------------------------------------------------


def _type(size: tuple[Any, ...], dtype: Any) -> tuple[TensorType, int]:
    shape = sizes_from(size)
    kind = float_dtype(dtype)
    return TensorType(kind, shape), stream_count(shape)


def stream_count(shape: Shape) -> int:
    """How many numbers a shape takes of a stream."""
    count = product(shape)
    if not isinstance(count, int):
        raise Unsupported(compose("random numbers need known sizes", f"found {list(shape)}"))
    return count


def _leaf(drawn: Any, requires_grad: bool) -> Any:
    if requires_grad:
        check_can_require(drawn._type.dtype, True)
        become_leaf(drawn)
    return drawn


def rand(
    *size: Any, generator: Generator | None = None, dtype: Any = None, device: Any = None, requires_grad: bool = False, out: Any = None
) -> Any:
    """Uniform numbers in [0, 1)."""
    type_, count = _type(size, dtype)
    return into(out, _leaf(rand_op(random_key(count, generator), type_), requires_grad))


def randn(
    *size: Any, generator: Generator | None = None, dtype: Any = None, device: Any = None, requires_grad: bool = False, out: Any = None
) -> Any:
    """Standard normal numbers."""
    type_, count = _type(size, dtype)
    return into(out, _leaf(randn_op(random_key(count, generator), type_), requires_grad))


def rand_like(input: Any, *, dtype: Any = None, requires_grad: bool = False, generator: Generator | None = None) -> Any:
    """Uniform numbers in [0, 1), of the shape and element type of a tensor."""
    return rand(input._type.shape, dtype=dtype or input._type.dtype, requires_grad=requires_grad, generator=generator)


def randn_like(input: Any, *, dtype: Any = None, requires_grad: bool = False, generator: Generator | None = None) -> Any:
    """Standard normal numbers, of the shape and element type of a tensor."""
    return randn(input._type.shape, dtype=dtype or input._type.dtype, requires_grad=requires_grad, generator=generator)


def randint(
    low: int,
    high: Any = None,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    out: Any = None,
) -> Any:
    """Whole numbers from `low` (0 where only one bound is given) up to, not including, `high`."""
    if size is None:
        low, high, size = 0, low, high
    if low >= high:
        raise ArgumentError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
    type_, count = _type((size,), i64 if dtype is None else dtype)
    return into(out, _leaf(randint_op(random_key(count, generator), type_, int(low), int(high)), requires_grad))


def normal(
    mean: Any = 0.0, std: Any = 1.0, size: Any = None, *, generator: Generator | None = None, dtype: Any = None, out: Any = None
) -> Any:
    """Normal numbers of a mean and a standard deviation, which may be tensors."""
    shapes = [x._type.shape for x in (mean, std) if isinstance(x, TensorBase)]
    shape = broadcast_shapes(*shapes) if size is None else sizes_from((size,))
    dtype = dtype or next((x._type.dtype for x in (mean, std) if isinstance(x, TensorBase)), None)
    type_, count = _type((shape,), dtype)
    return into(out, normal_op(random_key(count, generator), mean, std, type_))


def bernoulli(input: Any, p: float | None = None, *, generator: Generator | None = None, out: Any = None) -> Any:
    """Ones with the probability that stands at their place (or `p` everywhere), else zeros."""
    key = random_key(stream_count(input._type.shape), generator)
    if p is None:
        if input._type.dtype.kind != "float":
            raise DTypeError(f'"bernoulli_tensor_cpu_p_" not implemented for \'{title(input._type.dtype)}\'')
        return into(out, bernoulli_op(key, input))
    chances = full_op(float(p), TensorType(f64, input._type.shape))
    return into(out, convert_to(bernoulli_op(key, chances), input._type.dtype))


def uniform_(input: Any, a: float = 0.0, b: float = 1.0, *, generator: Generator | None = None) -> Any:
    """Write uniform numbers from `a` up to `b`; gives the tensor."""
    return _filled(input, uniform_op, float(a), float(b), generator)


def normal_(input: Any, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Any:
    """Write normal numbers; gives the tensor."""
    return _filled(input, normal_op, float(mean), float(std), generator)


def _filled(input: Any, draw: Any, first: float, second: float, generator: Generator | None) -> Any:
    """Write what `draw` draws over a tensor. A model's parameters begin like this, each of another shape: so, outside traced
    functions, one program serves all sizes."""
    type_: TensorType = input._type
    count = stream_count(type_.shape)
    key = random_key(count, generator)
    if count < LEAST_FREE or config.eager or type_.dtype.kind != "float" or not local.segment.writes_memory:
        return rebind(input, draw(key, first, second, type_))
    kind = type_.dtype.numpy
    given = [np.empty(count, kind), key._elements(), np.array(first, kind), np.array(second, kind)]
    (array,) = _drawing(draw, type_.dtype).run(given)
    return rebind(input, concrete(array.reshape(type_.shape), type_))


LEAST_FREE = 2
"""The smallest value of a symbolic dimension."""


@functools.cache
def _drawing(draw: Any, dtype: DType) -> Compiled:
    """The program that draws as many numbers as its first input has."""
    b = Builder()
    wanted, scalar = TensorType(dtype, (symbol("n"),)), TensorType(dtype, ())
    b.input(wanted)
    return compile_graph(b.build((draw.emit(b, b.input(i64[2]), b.input(scalar), b.input(scalar), wanted),), draw.operation.name))
