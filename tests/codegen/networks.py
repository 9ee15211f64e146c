"""Programs that people run, as graphs: what counts of kernels, arenas and goldens are about."""

from __future__ import annotations

from itertools import pairwise

from rustorch.autodiff.vjp import value_and_grad
from rustorch.ir.builder import Builder
from rustorch.ir.dtypes import f32, i64
from rustorch.ir.graph import Graph, Value

DOT = {"contract": ((1,), (0,)), "batch": ((), ())}


def bias(b: Builder, x: Value, v: Value) -> Value:
    """A row added to every row."""
    return b.add(x, b.broadcast_to(v, shape=x.type.shape, dims=(1,)))  # type: ignore[no-any-return, union-attr]


def mlp(depth: int = 2, rows: int = 64, inputs: int = 20, hidden: int = 32, classes: int = 10) -> Graph:
    """The cross-entropy of a multi-layer perceptron: parameters first, then rows, then one-hot labels as class numbers."""
    b = Builder()
    widths = [inputs, *([hidden] * (depth - 1)), classes]
    parameters = [(b.input(f32[m, n], f"w{k}"), b.input(f32[n], f"b{k}")) for k, (m, n) in enumerate(pairwise(widths))]
    x, labels = b.input(f32[rows, inputs], "x"), b.input(i64[rows], "labels")
    for k, (w, v) in enumerate(parameters):
        x = bias(b, b.dot_general(x, w, **DOT), v)
        x = b.tanh(x) if k < depth - 1 else x
    shape = (rows, classes)
    shifted = b.sub(x, b.broadcast_to(b.reduce_max(x, axes=(1,)), shape=shape, dims=(0,)))
    log_sums = b.broadcast_to(b.log(b.reduce_sum(b.exp(shifted), axes=(1,))), shape=shape, dims=(0,))
    mine = b.eq(b.iota(type=i64[shape], axis=1), b.broadcast_to(labels, shape=shape, dims=(0,)))
    chosen = b.select(mine, b.sub(shifted, log_sums), 0.0)
    return b.build([b.mul(b.reduce_sum(chosen, axes=(0, 1)), -1.0 / rows)], "mlp")


def mlp_gradient(depth: int = 2, **sizes: int) -> Graph:
    """Loss and gradients of all parameters."""
    return value_and_grad(mlp(depth, **sizes), range(2 * depth))


def softmax(rows: int = 4, columns: int = 10) -> Graph:
    """Softmax of rows."""
    b = Builder()
    x = b.input(f32[rows, columns], "x")
    shape = (rows, columns)
    weights = b.exp(b.sub(x, b.broadcast_to(b.reduce_max(x, axes=(1,)), shape=shape, dims=(0,))))
    return b.build([b.div(weights, b.broadcast_to(b.reduce_sum(weights, axes=(1,)), shape=shape, dims=(0,)))], "softmax")


def updates(*sizes: int) -> Graph:
    """Momentum updates of several parameters: w and v from w, v and a gradient."""
    b = Builder()
    outputs = []
    for k, size in enumerate(sizes):
        w, v, g = (b.input(f32[size], f"{name}{k}") for name in "wvg")
        faster = b.add(b.mul(v, 0.9), g)
        outputs += [b.sub(w, b.mul(faster, 0.1)), faster]
    return b.build(outputs, "updates")
