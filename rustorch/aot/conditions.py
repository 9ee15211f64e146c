"""What a graph assumes about its dimensions, as checks that a compiled function makes before it touches memory.

A graph that slices `x[2:]` off `x: f64[n]` holds for `n >= 2` only. Types cannot decide that while `n` has no value, so the
condition `n - 2 >= 0` is collected here, and the exported function refuses other sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from rustorch.aot import sizes
from rustorch.ir.conditions import assumed, least
from rustorch.ir.dims import Dim
from rustorch.ir.graph import Graph
from rustorch.ir.location import UNKNOWN


@dataclass(frozen=True)
class Condition:
    """A size that must not be negative, and what to say where it is."""

    size: str
    message: str


def shape_conditions(graph: Graph, dims: Sequence[str]) -> list[Condition]:
    """The conditions of a graph that dimensions of at least 1 do not fulfil by themselves, each once."""
    found: dict[str, Condition] = {}
    for size, node in assumed(graph):
        if isinstance(size, Dim) and size.symbols() <= set(dims) and not _holds(size):
            line = f" (at {node.location.short})" if node.location is not UNKNOWN else ""
            found.setdefault(str(size), Condition(str(size), f"{size} is negative{line}"))
    return list(found.values())


def _holds(size: Dim) -> bool:
    """Whether a size is known to be at least 0 where every symbol is at least 1."""
    known = least(size, 1)
    return known is not None and known >= 0


def checked_driver(symbol: str, driver: str, dims: Sequence[str], conditions: Sequence[Condition], first: int) -> str:
    """LLVM text of a driver `@symbol` that checks the conditions, numbered from `first` on, and then calls `@driver`."""
    lines = []
    for k, dim in enumerate(dims):
        lines += [f"  %dim.{dim}.at = getelementptr i64, ptr %dims, i64 {k}", f"  %dim.{dim} = load i64, ptr %dim.{dim}.at, align 8"]
    fresh = map("t{}".format, count())
    for k, condition in enumerate(conditions):
        computed, value = sizes.as_llvm(condition.size, fresh, "%dim.{}".format)
        lines += [
            *computed,
            f"  %negative.{k} = icmp slt i64 {value}, 0",
            f"  br i1 %negative.{k}, label %refuse.{k}, label %passed.{k}",
            f"refuse.{k}:",
            f"  ret i32 {first + k + 1}",  # a driver returns k + 1 for check k
            f"passed.{k}:",
        ]
    return "\n".join(
        [
            f'define hidden i32 @{symbol}(ptr %dims, ptr %args, ptr %work, ptr %executor) nounwind "no-builtins" {{',
            "entry:",
            *lines,
            f"  %status = call i32 @{driver}(ptr %dims, ptr %args, ptr %work, ptr %executor)",
            "  ret i32 %status",
            "}",
            "",
        ]
    )
