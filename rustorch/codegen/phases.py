"""Convolutions of images with zeros between their elements, as dense ones: no product with those zeros is left.

With `spread` p, stride 1 and dilation d along an axis, place i of the result meets tap k only where p divides i + d · k - low. Of the
places i = p · u + r with one remainder r (a *phase*) every p-th tap is met, from the first k0 with p | r + d · k0 - low on:

    s = u + (r + d · k0 - low) / p + d · j,    k = k0 + p · j

So each phase is a convolution with stride and spread 1, by every p-th tap. Phases are then put between each other. This is what
the gradient of a convolution with a stride is, and a transposed convolution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product as every
from typing import Any

from rustorch.codegen.views import tensor
from rustorch.ir.builder import Builder
from rustorch.ir.graph import Graph, Node, Value
from rustorch.ir.rewrite import replay

_LEADING = 3
"""Axes before the space."""


@dataclass(frozen=True)
class _Phase:
    """One remainder along one axis: the first tap, how many there are, and the padding of the dense convolution."""

    first: int
    taps: int
    low: int
    high: int


def split_phases(graph: Graph) -> Graph:
    """The graph with dense convolutions in place of those with zeros between the elements, where all sizes are known."""
    if not any(node.op.name == "conv_general" and max(_steps(node, "spread")) > 1 for node in graph.nodes):
        return graph
    return replay(graph, _visit)


def _steps(node: Node, name: str) -> tuple[int, ...]:
    values: Any = node.attrs[name]
    return tuple(values)


def _visit(b: Builder, node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
    if node.op.name != "conv_general" or node.attrs["features_first"]:
        return None
    image, kernel = operands
    spread = _steps(node, "spread")
    axes = [a for a, step in enumerate(spread) if step > 1]
    sizes = (*tensor(image).shape, *tensor(kernel).shape, *_steps(node, "low"))
    if not axes or not all(isinstance(size, int) for size in sizes) or not all(_splits(node, a) for a in axes):
        return None
    rank = len(spread)
    found = [_phases(node, a) if a in axes else [_whole(node, a)] for a in range(rank)]
    parts = {at: _part(b, node, image, kernel, [found[a][r] for a, r in enumerate(at)]) for at in every(*(range(len(f)) for f in found))}
    for axis in reversed(axes):
        parts = _interleaved(b, parts, axis, spread[axis])
    (result,) = parts.values()
    shape = tensor(node.result).shape
    return (b.slice(result, starts=(0,) * len(shape), limits=shape, strides=(1,) * len(shape)),)


def _splits(node: Node, axis: int) -> bool:
    """Whether every p-th tap belongs to a phase."""
    return _steps(node, "stride")[axis] == 1 and math.gcd(_steps(node, "dilation")[axis], _steps(node, "spread")[axis]) == 1


def _phases(node: Node, axis: int) -> list[_Phase]:
    p, d, low = (_steps(node, name)[axis] for name in ("spread", "dilation", "low"))
    size, taps, places = (int(tensor(v).shape[_LEADING + axis]) for v in (*node.operands, node.result))  # type: ignore[arg-type]
    count = -(-places // p)
    found = []
    for r in range(p):
        first = next(k for k in range(p) if (r + d * k - low) % p == 0)
        many = max(-(-(taps - first) // p), 0)
        before = -(r + d * first - low) // p
        found.append(_Phase(first, many, before, count - size + (many - 1) * d - before))
    return found


def _whole(node: Node, axis: int) -> _Phase:
    """An axis that stays as it is."""
    taps = int(tensor(node.operands[1]).shape[_LEADING + axis])  # type: ignore[arg-type]
    return _Phase(0, taps, _steps(node, "low")[axis], _steps(node, "high")[axis])


def _part(b: Builder, node: Node, image: Value, kernel: Value, phases: Sequence[_Phase]) -> Value:
    """The places of one combination of phases."""
    spread = _steps(node, "spread")
    shape = tensor(node.result).shape
    counts = [-(-int(n) // step) for n, step in zip(shape[_LEADING:], spread, strict=True)]  # type: ignore[arg-type]
    if any(phase.taps == 0 for phase in phases):
        whole = tensor(node.result).with_shape((*shape[:_LEADING], *counts))
        return b.const(0, whole)
    own = tensor(kernel).shape
    starts = (0,) * _LEADING + tuple(phase.first for phase in phases)
    taps: Value = b.slice(kernel, starts=starts, limits=own, strides=(1,) * _LEADING + spread)
    attrs = {**node.attrs, "low": tuple(p.low for p in phases), "high": tuple(p.high for p in phases), "spread": (1,) * len(spread)}
    return b.emit(node.op, (image, taps), attrs)[0]


def _interleaved(b: Builder, parts: dict[tuple[int, ...], Value], axis: int, step: int) -> dict[tuple[int, ...], Value]:
    """The phases of one axis put between each other, for each combination of the others'."""
    place = _LEADING + axis
    joined: dict[tuple[int, ...], Value] = {}
    for at in parts:
        if at[axis] != 0:
            continue
        rows = []
        for r in range(step):
            part = parts[(*at[:axis], r, *at[axis + 1 :])]
            shape = tensor(part).shape
            rows.append(b.reshape(part, shape=(*shape[: place + 1], 1, *shape[place + 1 :])))
        whole = b.concat(*rows, axis=place + 1)
        joined[at] = b.reshape(whole, shape=(*shape[:place], shape[place] * step, *shape[place + 1 :]))
    return joined
