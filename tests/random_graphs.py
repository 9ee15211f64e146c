"""Random graphs with inputs for them, the same for the same seed: what every property of a pass is tried on.

    case = random_case(seed=7, nodes=20)
    interpret(case.graph, case.arrays)

`smooth` graphs are of f64, have derivatives everywhere and keep values near 1, so that central differences mean something.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import rustorch.ops  # noqa: F401  registers the ops
from rustorch.ir.builder import Builder
from rustorch.ir.dtypes import DTYPES, FLOATS, INTS, bool_, f32, f64
from rustorch.ir.graph import Graph, Value
from rustorch.ir.types import DType, TensorType, element

Array = np.ndarray[Any, Any]

SPECIAL = (0.0, -0.0, 1.0, -1.0, 0.5, 2.0, np.inf, -np.inf, np.nan)


@dataclass(frozen=True)
class Case:
    """A graph, arrays for its inputs, and the seed that makes both again."""

    seed: int
    graph: Graph
    arrays: list[Array]


def random_case(seed: int, nodes: int = 12, smooth: bool = False, special: bool = True) -> Case:
    """A graph of about `nodes` nodes that returns its last values; `special` puts NaN, infinities and -0.0 into the inputs."""
    return _Growth(seed, smooth, special and not smooth).case(nodes)


class _Growth:
    """One graph being grown: a step picks a way to grow and the values that it fits."""

    def __init__(self, seed: int, smooth: bool, special: bool) -> None:
        self.seed, self.smooth, self.special = seed, smooth, special
        self.rng = np.random.default_rng(seed)
        self.b = Builder()
        self.values: list[Value] = []
        self.arrays: list[Array] = []

    def case(self, nodes: int) -> Case:
        for _ in range(int(self.rng.integers(1, 4))):
            self.add_input()
        steps = SMOOTH_STEPS if self.smooth else STEPS
        while len(self.b.nodes) < nodes:
            value = self.pick(steps)(self, self.pick(self.values[-8:]))
            if value is not None and size(value) <= 400:
                self.values.append(value)
        unread = self.values[-int(self.rng.integers(1, 4)) :]
        if self.smooth:
            total = self.b.const(0, f64[()])
            for value in unread:
                total = self.b.add(total, self.b.reduce_sum(self.b.tanh(value), axes=tuple(range(rank(value)))))
            unread = [total]
        return Case(self.seed, self.b.build(unread, f"random_{self.seed}"), self.arrays)

    def pick(self, choices: Sequence[Any]) -> Any:
        return choices[int(self.rng.integers(len(choices)))]

    def add_input(self) -> None:
        shape = tuple(int(n) for n in self.rng.integers(1, 5, self.rng.integers(0, 4)))
        dtype = f64 if self.smooth else self.pick((*DTYPES, f32, f64))
        self.arrays.append(self.draw(dtype, shape))
        self.values.append(self.b.input(dtype[shape], f"x{len(self.arrays)}"))

    def draw(self, dtype: DType, shape: tuple[int, ...]) -> Array:
        if dtype is bool_:
            return np.asarray(self.rng.random(shape) < 0.5)
        if dtype in INTS:
            return np.asarray(self.rng.integers(-5, 6, shape)).astype(dtype.numpy)
        numbers = np.asarray(self.rng.uniform(-2, 2, shape))
        if self.special:
            numbers = np.where(self.rng.random(shape) < 0.2, self.rng.choice(SPECIAL, shape), numbers)
        return numbers.astype(dtype.numpy)

    def partner(self, x: Value) -> Value:
        """A value of the type of x: another one, a constant, or itself."""
        others = [v for v in self.values if v.type is x.type]
        if self.rng.random() < 0.4:
            number = self.pick((0, 1, -1, 2, 0.5, -0.0)) if element(x.type) in FLOATS else self.pick((0, 1, -1, 2))
            return self.b.const(bool(number) if element(x.type) is bool_ else number, x)
        return self.pick(others)  # type: ignore[no-any-return]

    def mask(self, x: Value) -> Value:
        b = self.b
        if element(x.type) is bool_:
            return x
        mask: Value = self.pick((b.lt, b.le, b.gt, b.ge, b.eq, b.ne))(x, self.partner(x))
        return mask


def size(value: Value) -> int:
    return int(np.prod(shape_of(value)))


def shape_of(value: Value) -> tuple[int, ...]:
    assert isinstance(value.type, TensorType)
    return value.type.shape  # type: ignore[return-value]


def rank(value: Value) -> int:
    return len(shape_of(value))


# --- Ways to grow -----------------------------------------------------------------------------------------------------

Step = Callable[[_Growth, Value], Value | None]


def unary(g: _Growth, x: Value) -> Value | None:
    dtype = element(x.type)
    if dtype is bool_:
        return g.b.not_(x)  # type: ignore[no-any-return]
    names = ["neg", "abs", "square"]
    if dtype in FLOATS:
        names += ["sign", "exp", "log", "sqrt", "tanh", "sigmoid", "sin", "cos", "floor", "ceil", "round_even", "softplus", "relu", "log1p"]
    return getattr(g.b, g.pick(names))(x)  # type: ignore[no-any-return]


def smooth_unary(g: _Growth, x: Value) -> Value | None:
    b = g.b
    above_one = b.add(b.mul(x, x), 1.0)
    return g.pick(  # type: ignore[no-any-return]
        (
            lambda: getattr(b, g.pick(("tanh", "sigmoid", "sin", "cos", "neg", "softplus")))(x),
            lambda: getattr(b, g.pick(("sqrt", "log", "rsqrt", "reciprocal")))(above_one),
            lambda: b.exp(b.tanh(x)),
            lambda: b.pow(above_one, b.const(g.pick((0.5, 1.0, 2.0, 1.5, -1.0)), x)),
        )
    )()


def binary(g: _Growth, x: Value) -> Value | None:
    dtype, y = element(x.type), g.partner(x)
    if dtype is bool_:
        names = ["and_", "or_", "xor"]
    elif dtype in INTS:
        names = ["add", "sub", "mul", "minimum", "maximum", "and_", "or_", "xor"]
    else:
        names = ["add", "sub", "mul", "div", "pow"] + ["minimum", "maximum"] * (not g.special)  # which of 0.0 and -0.0 is open
    x, y = (x, y) if g.rng.random() < 0.5 else (y, x)
    return getattr(g.b, g.pick(names))(x, y)  # type: ignore[no-any-return]


def smooth_binary(g: _Growth, x: Value) -> Value | None:
    b, y = g.b, g.partner(x)
    if g.rng.random() < 0.3:
        return b.div(x, b.add(b.mul(y, y), 1.0))  # type: ignore[no-any-return]
    bounded = b.tanh(x)  # products of many factors would leave the range in which differences are exact
    return getattr(b, g.pick(("add", "sub", "mul")))(bounded, y)  # type: ignore[no-any-return]


def choose(g: _Growth, x: Value) -> Value | None:
    return g.b.select(g.mask(x), x, g.partner(x)) if element(x.type) is not bool_ else None


def smooth_choose(g: _Growth, x: Value) -> Value | None:
    """A choice by a fixed mask: by a value of the graph it would have jumps."""
    mask = g.b.const(np.asarray(g.rng.random(shape_of(x)) < 0.5), x.type.with_dtype(bool_))  # type: ignore[union-attr]
    return g.b.select(mask, x, g.partner(x))  # type: ignore[no-any-return]


def compare(g: _Growth, x: Value) -> Value | None:
    return g.mask(x)


def convert(g: _Growth, x: Value) -> Value | None:
    """Between types that hold the values: from floats to integers it is only defined for finite ones."""
    targets = [t for t in DTYPES if t in FLOATS or element(x.type) not in FLOATS]
    return g.b.convert(x, dtype=g.pick(targets))  # type: ignore[no-any-return]


def reduce(g: _Growth, x: Value) -> Value | None:
    axes = tuple(a for a in range(rank(x)) if g.rng.random() < 0.5)
    if element(x.type) is bool_:
        return getattr(g.b, g.pick(("reduce_and", "reduce_or")))(x, axes=axes)  # type: ignore[no-any-return]
    names = ["reduce_sum"] + ["reduce_max", "reduce_min"] * (not g.special)
    return getattr(g.b, g.pick(names))(x, axes=axes)  # type: ignore[no-any-return]


def smooth_reduce(g: _Growth, x: Value) -> Value | None:
    axes = tuple(a for a in range(rank(x)) if g.rng.random() < 0.5)
    return g.b.tanh(g.b.reduce_sum(x, axes=axes))  # type: ignore[no-any-return]


def transpose(g: _Growth, x: Value) -> Value | None:
    return g.b.transpose(x, perm=tuple(int(p) for p in g.rng.permutation(rank(x))))  # type: ignore[no-any-return]


def reshape(g: _Growth, x: Value) -> Value | None:
    shape = list(shape_of(x))
    if len(shape) > 1 and g.rng.random() < 0.5:
        at = int(g.rng.integers(len(shape) - 1))
        shape[at : at + 2] = [shape[at] * shape[at + 1]]
    elif len(shape) < 4:
        shape.insert(int(g.rng.integers(len(shape) + 1)), 1)
    return g.b.reshape(x, shape=tuple(shape))  # type: ignore[no-any-return]


def broadcast(g: _Growth, x: Value) -> Value | None:
    if rank(x) > 3:
        return None
    shape = [n if n > 1 else int(g.pick((1, 3))) for n in shape_of(x)]
    at = int(g.rng.integers(len(shape) + 1))
    dims = tuple(a + (a >= at) for a in range(len(shape)))
    shape.insert(at, int(g.pick((1, 2, 3))))
    return g.b.broadcast_to(x, shape=tuple(shape), dims=dims)  # type: ignore[no-any-return]


def cut(g: _Growth, x: Value) -> Value | None:
    starts = tuple(int(g.rng.integers(n)) for n in shape_of(x))
    limits = tuple(int(g.rng.integers(s + 1, n + 1)) for s, n in zip(starts, shape_of(x), strict=True))
    return g.b.slice(x, starts=starts, limits=limits, strides=tuple(int(g.pick((1, 1, 2))) for _ in starts))  # type: ignore[no-any-return]


def pad(g: _Growth, x: Value) -> Value | None:
    value = {"bool": True, "int": 2}.get(element(x.type).kind, 0.5)
    low, high = (tuple(int(g.pick((0, 0, 1))) for _ in shape_of(x)) for _ in range(2))
    return g.b.pad(x, low=low, high=high, value=value)  # type: ignore[no-any-return]


def flip(g: _Growth, x: Value) -> Value | None:
    return g.b.flip(x, axes=tuple(a for a in range(rank(x)) if g.rng.random() < 0.5))  # type: ignore[no-any-return]


def concat(g: _Growth, x: Value) -> Value | None:
    return g.b.concat(x, g.partner(x), axis=int(g.rng.integers(rank(x)))) if rank(x) else None


def product(g: _Growth, x: Value) -> Value | None:
    """A product with a transposed value, or with itself."""
    if element(x.type) is bool_ or not 1 <= rank(x) <= 2:
        return None
    axis = int(g.rng.integers(rank(x)))
    y = g.pick([v for v in g.values if element(v.type) is element(x.type) and 1 <= rank(v) <= 2 and shape_of(x)[axis] in shape_of(v)])
    other = shape_of(y).index(shape_of(x)[axis])
    found: Value = g.b.dot_general(x, y, contract=((axis,), (other,)), batch=((), ()))
    return g.b.tanh(found) if g.smooth else found  # type: ignore[no-any-return]


MOVES: tuple[Step, ...] = (transpose, reshape, broadcast, cut, pad, flip, concat)
STEPS: tuple[Step, ...] = (unary, unary, binary, binary, binary, choose, compare, convert, reduce, product, *MOVES)
SMOOTH_STEPS: tuple[Step, ...] = (
    smooth_unary,
    smooth_unary,
    smooth_binary,
    smooth_binary,
    smooth_choose,
    smooth_reduce,
    product,
    *MOVES,
)
