"""A layered drawing of the steps, as SVG: each step to the right of all that it needs (Sugiyama, Tagawa and Toda 1981)."""

from __future__ import annotations

import html
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from rustorch.inspection.fused import Kernel, count

BOX = (118, 40)
GAP = (46, 14)
SWEEPS = 6
"""Passes over the layers that bring neighbours closer together."""
DRAWN_STEPS = 400
"""Beyond, a drawing says nothing."""

Point = tuple[float, float]


class Drawing(NamedTuple):
    """Centre of each box, the points that each arrow passes through, and the size of it all."""

    boxes: Mapping[str, Point]
    arrows: Mapping[tuple[str, str], Sequence[Point]]
    width: float
    height: float


def layered(names: Sequence[str], arrows: Sequence[tuple[str, str]]) -> Drawing:
    """Places for boxes in layers from left to right; `names` are in an order in which arrows go forward."""
    layer: dict[str, int] = dict.fromkeys(names, 0)
    for name in names:
        layer[name] = max((layer[a] + 1 for a, b in arrows if b == name), default=0)
    first_use = {a: min(layer[b] for x, b in arrows if x == a) for a, _ in arrows}
    for name in reversed(names):  # a step that needs nothing stands next to its first reader
        if name in first_use and not any(b == name for _, b in arrows):
            layer[name] = first_use[name] - 1
    chains = {(a, b): [a, *(f"{a}>{b}:{k}" for k in range(layer[a] + 1, layer[b])), b] for a, b in arrows}
    layers: list[list[str]] = [[] for _ in range(max(layer.values(), default=-1) + 1)]
    for name in names:
        layers[layer[name]].append(name)
    for (a, _), chain in chains.items():
        for k, point in enumerate(chain[1:-1], layer[a] + 1):
            layers[k].append(point)
    neighbours = _order(layers, list(chains.values()))
    places = _places(layers, neighbours)
    width = len(layers) * (BOX[0] + GAP[0]) - GAP[0] + 40 if layers else 40
    height = max((y for _, y in places.values()), default=0) + BOX[1] / 2 + 16
    return Drawing({n: places[n] for n in names}, {ab: [places[p] for p in chain] for ab, chain in chains.items()}, width, height)


def _order(layers: list[list[str]], chains: Sequence[Sequence[str]]) -> dict[str, dict[int, list[str]]]:
    """Sort each layer by the mean place of its neighbours, forth and back; gives the neighbours before (-1) and after (1)."""
    near: dict[str, dict[int, list[str]]] = defaultdict(lambda: {-1: [], 1: []})
    for chain in chains:
        for a, b in pairwise(chain):
            near[a][1].append(b)
            near[b][-1].append(a)
    for sweep in range(SWEEPS):
        side = -1 if sweep % 2 == 0 else 1
        for members in layers if side < 0 else reversed(layers):
            place = {name: k for row in layers for k, name in enumerate(row)}
            members.sort(key=lambda name: _mean([place[n] for n in near[name][side]], place[name]))
    return near


def _places(layers: list[list[str]], near: dict[str, dict[int, list[str]]]) -> dict[str, Point]:
    """Coordinates: each layer as close to its neighbours' mean as the order and the gaps allow."""
    pitch = BOX[1] + GAP[1]
    y: dict[str, float] = {name: k * pitch for row in layers for k, name in enumerate(row)}
    for sweep in range(SWEEPS):
        side = -1 if sweep % 2 == 0 else 1
        for row in layers if side < 0 else layers[::-1]:
            wished = [_mean([y[n] for n in near[name][side]], y[name]) for name in row]
            _spread(row, wished, pitch, y)
    top = min(y.values(), default=0)
    return {n: (20 + BOX[0] / 2 + k * (BOX[0] + GAP[0]), y[n] - top + BOX[1] / 2 + 16) for k, row in enumerate(layers) for n in row}


def _spread(row: list[str], wished: list[float], pitch: float, y: dict[str, float]) -> None:
    """Places at least `pitch` apart, in order, whose distance from the wishes is least: blocks that touch share their mean."""
    blocks: list[tuple[float, int]] = []
    for k, wish in enumerate(wished):
        blocks.append((wish - k * pitch, 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (a, n), (b, m) = blocks[-2:]
            blocks[-2:] = [((a * n + b * m) / (n + m), n + m)]
    k = 0
    for base, size in blocks:
        for _ in range(size):
            y[row[k]] = base + k * pitch
            k += 1


def _mean(values: Sequence[float], default: float) -> float:
    return sum(values) / len(values) if values else default


def steps_svg(kernels: Sequence[Kernel]) -> str:
    """The steps as boxes with an arrow from each that writes to each that reads."""
    if len(kernels) > DRAWN_STEPS:
        return f"<p>{len(kernels)} steps: too many to draw</p>"
    drawing = layered([k.name for k in kernels], [(other, k.name) for k in kernels for other in k.needs])
    parts = [f'<svg width="{drawing.width:.0f}" height="{drawing.height:.0f}" xmlns="http://www.w3.org/2000/svg">']
    parts += [f'<path class="edge" d="{_path(points)}"/>' for points in drawing.arrows.values()]
    parts += [_box(kernel, drawing.boxes[kernel.name]) for kernel in kernels]
    return "".join([*parts, "</svg>"])


def _path(points: Sequence[Point]) -> str:
    """A curve that leaves a box on its right side, passes through the points and arrives at the next box's left side."""
    (x, y), half = points[0], BOX[0] / 2
    x += half
    words = [f"M{x:.0f} {y:.1f}"]
    for number, (to_x, to_y) in enumerate(points[1:], 1):
        last = number == len(points) - 1
        enter = to_x - half
        middle = (x + enter) / 2
        words.append(f"C{middle:.0f} {y:.1f} {middle:.0f} {to_y:.1f} {enter:.0f} {to_y:.1f}")
        if not last:
            words.append(f"L{to_x + half:.0f} {to_y:.1f}")
        x, y = to_x + half, to_y
    return "".join(words)


def _box(kernel: Kernel, centre: Point) -> str:
    x, y = centre[0] - BOX[0] / 2, centre[1] - BOX[1] / 2
    kind = kernel.kind if kernel.kind in ("kernel", "product", "scatter") else "other"
    over = html.escape(over_text(kernel))
    title = html.escape(f"{kernel.kind} @{kernel.name}: {len(kernel.nodes)} nodes, {count(kernel.cost.bytes)} bytes")
    numbers = html.escape(str(list(kernel.links)))
    return (
        f'<g class="box {kind}" data-name="{kernel.name}" data-numbers="{numbers}" transform="translate({x:.1f} {y:.1f})">'
        f'<rect width="{BOX[0]}" height="{BOX[1]}" rx="8"/><rect class="bar" x="7" y="9" width="3" height="{BOX[1] - 18}" rx="1.5"/>'
        f'<text x="18" y="17">@{kernel.name}</text><text class="sub" x="18" y="31">{over}</text><title>{title}</title></g>'
    )


def over_text(kernel: Kernel) -> str:
    """The iteration space: `64 × 10↓`; the arrow marks a reduced axis."""
    return " × ".join(f"{size}{'↓' if axis in kernel.reduced else ''}" for axis, size in enumerate(kernel.shape)) or kernel.kind
