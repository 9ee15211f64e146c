"""Random graphs that code generation finds hard: real sizes around vector widths, axes of size 1, several reductions over
different axes, products in all layouts, gathers, scatters, chains of concats, and symbolic sizes.

`tests/random_graphs.py` grows many small graphs for passes; here the arrays are large enough for main loops and tails.
Jumps (comparisons, floor, argmax, conversions to integers) are only taken of *exact* values, which no order of summation and
no rounding changes, so that results can be compared with a tolerance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import rustorch.ops  # noqa: F401  registers the ops
from rustorch.ir.builder import Builder
from rustorch.ir.dims import Size, evaluate, symbol
from rustorch.ir.dtypes import bool_, f32, f64, i32, i64
from rustorch.ir.graph import Graph, Value
from rustorch.ir.types import DType, TensorType

Array = np.ndarray[Any, Any]

SIZES = (1, 2, 3, 5, 8, 15, 16, 17, 31, 33, 63, 64, 65, 100, 129, 255, 257)
"""Around multiples of 16 and 64: one vector, and one turn of an unrolled loop."""


@dataclass(frozen=True)
class Case:
    """A graph, arrays for its inputs, and the seed that makes both again."""

    seed: int
    graph: Graph
    arrays: list[Array]


def kernel_case(seed: int, nodes: int = 25, symbolic: bool = False, largest: int = 4000) -> Case:
    """A graph of about `nodes` nodes over values of at most `largest` elements; `symbolic` gives most axes no known size."""
    return _Growth(seed, symbolic, largest).case(nodes)


class _Growth:
    def __init__(self, seed: int, symbolic: bool, largest: int) -> None:
        self.seed, self.largest = seed, largest
        self.rng = np.random.default_rng(seed)
        self.b = Builder()
        self.values: list[Value] = []
        self.exact: set[Value] = set()
        self.arrays: list[Array] = []
        self.sizes: dict[str, int] = {}
        self.axes: list[Size] = [self._axis(name, symbolic) for name in "mnk"[: int(self.rng.integers(2, 4))]]

    def _axis(self, name: str, symbolic: bool) -> Size:
        room = self.largest // int(np.prod([1, *self.sizes.values()]))
        size = int(self.pick([s for s in SIZES if s <= room]))
        self.sizes[name] = size
        return symbol(name) if symbolic and size >= 3 and self.chance(0.7) else size

    def case(self, nodes: int) -> Case:
        for _ in range(int(self.rng.integers(2, 5))):
            shape = [axis for axis in self.axes if self.chance(0.75)]
            if self.chance(0.2):
                shape.insert(int(self.rng.integers(len(shape) + 1)), 1)
            dtype = self.pick((f32, f32, f32, f64, i32, i64, bool_))
            self.add(self.input(dtype, tuple(shape), self.draw(dtype, tuple(shape))), exact=True)
        for _ in range(10 * nodes):
            if len(self.b.nodes) >= nodes:
                break
            x = self.pick(self.values[-6:] if self.chance(0.7) else self.values)
            step, weight = STEPS[int(self.rng.integers(len(STEPS)))]
            if self.chance(weight):
                step(self, x)
        read = {v for node in self.b.nodes for v in node.operands}
        last = self.values[-int(self.rng.integers(1, 6)) :]
        outputs = [v for v in self.values if v not in read and v not in last and self.chance(0.6)] + last
        if self.chance(0.3):
            outputs.append(self.pick(self.values))
        if self.chance(0.1):
            outputs.append(outputs[0])
        return Case(self.seed, self.b.build(outputs, f"kernel_{self.seed}"), self.arrays)

    # --- choices ----------------------------------------------------------------------------------------------------------

    def pick(self, choices: Sequence[Any]) -> Any:
        return choices[int(self.rng.integers(len(choices)))]

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def concrete(self, shape: Sequence[Size]) -> tuple[int, ...]:
        return tuple(evaluate(size, self.sizes) for size in shape)

    def draw(self, dtype: DType, shape: tuple[Size, ...]) -> Array:
        where = self.concrete(shape)
        if dtype is bool_:
            return np.asarray(self.rng.random(where) < 0.5)
        drawn = self.rng.integers(-5, 6, where) if dtype.kind == "int" else self.rng.uniform(-2, 2, where)
        return np.asarray(drawn).astype(dtype.numpy)

    def input(self, dtype: DType, shape: tuple[Size, ...], array: Array) -> Value:
        self.arrays.append(array)
        return self.b.input(TensorType(dtype, shape), f"x{len(self.arrays)}")

    def add(self, value: Value, *operands: Value, exact: bool = True) -> None:
        """Keep a value if it is not too large; it is exact if it keeps exactness and its operands are exact."""
        if np.prod(self.concrete(shape_of(value))) <= self.largest and len(shape_of(value)) <= 5:
            self.values.append(value)
            if exact and self.exact.issuperset(operands):
                self.exact.add(value)

    def alike(self, x: Value) -> Value:
        """A value of the type of x."""
        return self.pick([v for v in self.values if v.type is x.type])  # type: ignore[no-any-return]

    def axis(self, x: Value) -> int:
        return int(self.rng.integers(len(shape_of(x))))

    def broadcast(self, x: Value, shape: tuple[Size, ...]) -> Value | None:
        """x over `shape`, its axes in order; None where they do not fit."""
        if shape_of(x) == shape:
            return x
        dims: list[int] = []
        for size in shape_of(x):
            start = dims[-1] + 1 if dims else 0
            place = next((k for k in range(start, len(shape)) if size in (1, shape[k])), None)
            if place is None:
                return None
            dims.append(place)
        return self.b.broadcast_to(x, shape=shape, dims=tuple(dims))  # type: ignore[no-any-return]


def shape_of(value: Value) -> tuple[Size, ...]:
    assert isinstance(value.type, TensorType)
    return value.type.shape


def dtype_of(value: Value) -> DType:
    assert isinstance(value.type, TensorType)
    return value.type.dtype


# --- Ways to grow -----------------------------------------------------------------------------------------------------


def unary(g: _Growth, x: Value) -> None:
    dtype = dtype_of(x)
    if dtype is bool_:
        return g.add(g.b.not_(x), x)
    exact = g.pick(("neg", "abs"))
    smooth = g.pick(("tanh", "sin", "cos", "sigmoid", "square", "softplus"))
    if dtype.kind == "int" or g.chance(0.3):
        return g.add(getattr(g.b, exact)(x), x)
    return g.add(getattr(g.b, smooth)(x), x, exact=False)


def binary(g: _Growth, x: Value) -> None:
    y = g.pick([v for v in g.values if dtype_of(v) is dtype_of(x)])
    wide = g.broadcast(y, shape_of(x))
    x, other = (x, wide) if wide is not None else (y, g.broadcast(x, shape_of(y)))
    if other is None:
        return
    if dtype_of(x) is bool_:
        g.add(getattr(g.b, g.pick(("and_", "or_", "xor")))(x, other), x, y)
    elif dtype_of(x).kind == "int":
        g.add(getattr(g.b, g.pick(("add", "sub", "mul", "minimum", "maximum", "and_", "floor_div", "remainder")))(x, other), x, y)
    elif g.chance(0.3):
        g.add(getattr(g.b, g.pick(("minimum", "maximum")))(x, other), x, y)
    else:
        g.add(g.b.tanh(getattr(g.b, g.pick(("add", "sub", "mul")))(x, other)), x, exact=False)


def reduce(g: _Growth, x: Value) -> None:
    axes = tuple(a for a in range(len(shape_of(x))) if g.chance(0.5))
    if dtype_of(x) is bool_:
        return g.add(getattr(g.b, g.pick(("reduce_and", "reduce_or")))(x, axes=axes), x)
    if g.chance(0.4) and 0 not in g.concrete(shape_of(x)):
        return g.add(getattr(g.b, g.pick(("reduce_max", "reduce_min")))(x, axes=axes), x)
    total = g.b.reduce_sum(x, axes=axes)
    if dtype_of(x).kind == "int":
        return g.add(total, x)
    return g.add(g.b.tanh(g.b.mul(total, 0.25)) if g.chance(0.7) else total, exact=False)


def place(g: _Growth, x: Value) -> None:
    if shape_of(x) and dtype_of(x) is not bool_ and x in g.exact and 0 not in g.concrete(shape_of(x)):
        g.add(getattr(g.b, g.pick(("argmax", "argmin")))(x, axis=g.axis(x)), x)


def normalise(g: _Growth, x: Value) -> None:
    """Softmax or layer norm over some axis: several passes over a row."""
    if not shape_of(x) or dtype_of(x).kind != "float" or 0 in g.concrete(shape_of(x)):
        return None
    axis, shape = g.axis(x), shape_of(x)
    dims = tuple(a for a in range(len(shape)) if a != axis)

    def back(value: Value) -> Value:
        return g.b.broadcast_to(value, shape=shape, dims=dims)  # type: ignore[no-any-return]

    if g.chance(0.5):
        weights = g.b.exp(g.b.sub(x, back(g.b.reduce_max(x, axes=(axis,)))))
        return g.add(g.b.div(weights, back(g.b.reduce_sum(weights, axes=(axis,)))), exact=False)
    centred = g.b.sub(x, back(g.b.reduce_sum(g.b.mul(x, 0.1), axes=(axis,))))
    spread = g.b.reduce_sum(g.b.mul(centred, centred), axes=(axis,))
    return g.add(g.b.mul(centred, back(g.b.rsqrt(g.b.add(spread, 1.0)))), exact=False)


def transpose(g: _Growth, x: Value) -> None:
    g.add(g.b.transpose(x, perm=tuple(int(p) for p in g.rng.permutation(len(shape_of(x))))), x)


def cut(g: _Growth, x: Value) -> None:
    parts: list[tuple[Size, Size, int]] = []
    from_first = g.chance(0.4)
    for size in shape_of(x):
        if from_first and isinstance(size, int):
            parts.append((0, size - int(g.rng.integers(0, min(3, max(size, 1)))), 1))
        elif isinstance(size, int):
            start = int(g.rng.integers(0, min(3, max(size, 1))))
            parts.append((start, size - int(g.rng.integers(0, min(3, max(size - start, 1)))), g.pick((1, 1, 1, 2))))
        else:
            parts.append(g.pick(((0, size, 1), (1, size, 1), (0, size - 1, 1))))
    if parts and all(evaluate(limit, g.sizes) > start for start, limit, _ in parts):  # type: ignore[operator]
        starts, limits, strides = zip(*parts, strict=True)
        g.add(g.b.slice(x, starts=starts, limits=limits, strides=strides), x)


def pad(g: _Growth, x: Value) -> None:
    low, high = (tuple(int(g.rng.integers(0, 2)) for _ in shape_of(x)) for _ in range(2))
    g.add(g.b.pad(x, low=low, high=high, value={"bool": True, "int": 3}.get(dtype_of(x).kind, 0.5)), x)


def flip(g: _Growth, x: Value) -> None:
    g.add(g.b.flip(x, axes=tuple(a for a in range(len(shape_of(x))) if g.chance(0.5))), x)


def concat(g: _Growth, x: Value) -> None:
    if not shape_of(x):
        return
    axis = g.axis(x)

    def rest(value: Value) -> tuple[Size, ...]:
        return tuple(s for k, s in enumerate(shape_of(value)) if k != axis)

    same_rank = [v for v in g.values if dtype_of(v) is dtype_of(x) and len(shape_of(v)) == len(shape_of(x))]
    parts = [g.pick([v for v in same_rank if rest(v) == rest(x)]) for _ in range(int(g.rng.integers(1, 4)))]
    g.add(g.b.concat(*parts, x, axis=axis), *parts, x)


def reshape(g: _Growth, x: Value) -> None:
    shape = shape_of(x)
    at = int(g.rng.integers(len(shape) + 1))
    if len(shape) >= 2 and g.chance(0.5):
        at = min(at, len(shape) - 2)
        return g.add(g.b.reshape(x, shape=(*shape[:at], shape[at] * shape[at + 1], *shape[at + 2 :])), x)
    thin = g.b.reshape(x, shape=(*shape[:at], 1, *shape[at:]))
    wide = (*shape[:at], int(g.pick((1, 2, 3, 16))), *shape[at:])
    return g.add(g.b.broadcast_to(thin, shape=wide, dims=tuple(range(len(wide)))), x)


def gather(g: _Growth, x: Value) -> None:
    if not shape_of(x) or 0 in g.concrete(shape_of(x)):
        return
    axis = g.axis(x)
    shape = tuple(g.pick((1, 3, 17)) if k == axis else s for k, s in enumerate(shape_of(x)))
    length = evaluate(shape_of(x)[axis], g.sizes)
    if g.chance(0.5) and isinstance(shape_of(x)[axis], int):
        counted = g.b.iota(type=TensorType(i64, shape), axis=int(g.rng.integers(len(shape))))
        chosen = g.b.remainder(g.b.mul(counted, int(g.rng.integers(1, 9))), length)
    else:
        dtype = g.pick((i32, i64))
        chosen = g.input(dtype, shape, np.asarray(g.rng.integers(0, length, g.concrete(shape))).astype(dtype.numpy))
    g.add(g.b.gather(x, chosen, axis=axis), x)


def scatter(g: _Growth, x: Value) -> None:
    if not shape_of(x) or dtype_of(x) is bool_ or 0 in g.concrete(shape_of(x)):
        return
    axis = g.axis(x)
    length = evaluate(shape_of(x)[axis], g.sizes)
    chosen = g.input(i64, shape_of(x), np.asarray(g.rng.integers(0, length, g.concrete(shape_of(x)))))
    into = g.alike(x) if g.chance(0.6) else g.b.const(0, x)
    g.add(g.b.scatter_add(into, chosen, x, axis=axis), into, x, exact=dtype_of(x).kind == "int")


def product(g: _Growth, x: Value) -> None:
    if dtype_of(x) is bool_:
        return
    y = g.pick([v for v in g.values if dtype_of(v) is dtype_of(x)])
    pairs = [(p, q) for p, n in enumerate(shape_of(x)) for q, m in enumerate(shape_of(y)) if n == m]
    if not pairs:
        return
    chosen = g.pick(pairs)
    free = [(p, q) for p, q in pairs if p != chosen[0] and q != chosen[1]]
    batch = g.pick(free) if free and g.chance(0.5) else None
    found = g.b.dot_general(
        x, y, contract=((chosen[0],), (chosen[1],)), batch=((batch[0],), (batch[1],)) if batch is not None else ((), ())
    )
    g.add(g.b.tanh(g.b.mul(found, 0.1)) if dtype_of(x).kind == "float" else found, x, y, exact=dtype_of(x).kind == "int")


def convert(g: _Growth, x: Value) -> None:
    dtype = g.pick((f32, f64, i32, i64, bool_))
    if dtype_of(x).kind == "float" and dtype.kind != "float" and x not in g.exact:
        return
    fits = dtype_of(x).kind != "int" or dtype.kind != "float" or dtype is f64  # large i64 are no f32
    g.add(g.b.convert(x, dtype=dtype), x, exact=fits and not (dtype_of(x) is f64 and dtype is f32))


def choose(g: _Growth, x: Value) -> None:
    y, z = g.alike(x), g.alike(x)
    if dtype_of(x) is bool_:
        return g.add(g.b.xor(x, y), x, y)
    if x not in g.exact or z not in g.exact:
        return None
    mask = getattr(g.b, g.pick(("lt", "le", "gt", "ge", "eq", "ne")))(x, z)
    return g.add(g.b.select(mask, x, y) if g.chance(0.7) else mask, x, y, z)


STEPS: tuple[tuple[Callable[[_Growth, Value], None], float], ...] = (
    (unary, 1.0), (binary, 1.0), (binary, 1.0), (reduce, 1.0), (place, 0.5), (normalise, 0.5), (transpose, 0.6), (cut, 0.6),
    (pad, 0.5), (flip, 0.4), (concat, 0.6), (reshape, 0.7), (gather, 0.6), (scatter, 0.4), (product, 0.7), (convert, 0.5), (choose, 0.8),
)  # fmt: skip
"""Each way to grow, and how often it is taken when it is drawn."""
