"""What a graph assumes about its dimensions, as checks that a compiled function makes before it touches memory.

A graph that slices `x[2:]` off `x: f64[n]` holds for `n >= 2` only. Types cannot decide that while `n` has no value, so the
condition `n - 2 >= 0` is collected here, and the exported function refuses other sizes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from rustorch.aot import sizes
from rustorch.ir.dims import Atom, Dim, Size
from rustorch.ir.graph import Graph
from rustorch.ir.location import UNKNOWN
from rustorch.ir.types import TensorType


@dataclass(frozen=True)
class Condition:
    """A size that must not be negative, and what to say where it is."""

    size: str
    message: str


def shape_conditions(graph: Graph, dims: Sequence[str]) -> list[Condition]:
    """The conditions of a graph that dimensions of at least 1 do not fulfil by themselves, each once."""
    found: dict[str, Condition] = {}
    for size, line in _assumed(graph):
        if isinstance(size, Dim) and size.symbols() <= set(dims) and not _holds(size):
            found.setdefault(str(size), Condition(str(size), f"{size} is negative{line}"))
    return list(found.values())


def _assumed(graph: Graph) -> Iterator[tuple[Size, str]]:
    """Sizes that a graph takes as not negative: those of every result, and how far slices stay inside their operands."""
    for node in graph.nodes:
        line = f" (at {node.location.short})" if node.location is not UNKNOWN else ""
        for value in node.results:
            if isinstance(value.type, TensorType):
                yield from ((size, line) for size in value.type.shape)
        if node.op.name == "slice":
            (x,) = node.operands
            assert isinstance(x.type, TensorType)
            for size, start, limit in zip(x.type.shape, node.attrs["starts"], node.attrs["limits"], strict=True):
                yield from ((margin, line) for margin in (start, limit - start, size - limit))
        if node.op.name == "pad":
            yield from ((width, line) for width in (*node.attrs["low"], *node.attrs["high"]))


def _holds(size: Size) -> bool:
    """Whether a size is known to be at least 0 where every symbol is at least 1."""
    least = _least(size)
    return least is not None and least >= 0


def _least(size: Size) -> int | None:
    """A number that the size is never below where every symbol is at least 1; None where none is known."""
    if isinstance(size, int):
        return size
    total = 0
    for monomial, coefficient in size.terms:
        smallest = [_least_atom(atom) for atom in monomial]
        if any(one is None or one < 0 for one in smallest) or (monomial and coefficient < 0):
            return None
        total += coefficient * math.prod(one for one in smallest if one is not None)
    return total


def _least_atom(atom: Atom) -> int | None:
    if atom.kind == "symbol":
        return 1
    left = _least(atom.left)
    if atom.kind == "floordiv" and left is not None and isinstance(atom.right, int) and atom.right > 0:
        return left // atom.right
    return None


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
