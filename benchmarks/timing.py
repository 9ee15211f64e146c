"""How the benchmarks time: blocks of calls that alternate between the sides, so that all meet the same machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Sides = Mapping[str, Callable[[], float]]
"""By name: what times one block and gives seconds a call."""


def block(call: Callable[[], Any], count: int) -> float:
    """Seconds a call, over `count` calls in a row."""
    begin = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - begin) / count


def interleaved(sides: Sides, blocks: int) -> dict[str, list[float]]:
    """Seconds a call of each side, in each block."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(blocks):
        for name, timed in sides.items():
            times[name].append(timed())
    return times


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of the ratios of neighbouring blocks."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
