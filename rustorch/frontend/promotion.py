"""Which sizes of a jitted function's arguments change from call to call, and what a program for all of them is told.

A function is first compiled for the sizes of its call. When it is called with other sizes, those that differ become symbols, equal
ones by one name, and one program serves them all. 0 and 1 keep programs of their own, since they broadcast. Where the function
decides by a size (`UndecidedSize`), or cannot be compiled without it, every size gets its own program after all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rustorch.ir.conditions import decisive
from rustorch.ir.dims import Dim, Size, evaluate, symbol
from rustorch.ir.graph import Graph
from rustorch.ir.types import TensorType

REMEMBERED = 4
"""So many calls with other sizes decide which sizes change."""
PROGRAMS = 4
"""So many programs for several sizes are made of one pattern of arguments."""

Sizes = tuple[int, ...]


def pattern_of(kinds: Sequence[Any]) -> tuple[tuple[Any, ...], Sizes]:
    """The kinds of arguments (see `kind_of`) without their sizes, and all sizes in a row."""
    parts: list[Any] = []
    sizes: list[int] = []
    for kind in kinds:
        if type(kind) is tuple and isinstance(kind[0], TensorType):
            parts.append((kind[0].dtype, len(kind[0].shape), *kind[1:]))
            sizes += kind[0].shape  # type: ignore[arg-type]
        else:
            parts.append(kind)
    return tuple(parts), tuple(sizes)


def with_sizes(kinds: Sequence[Any], sizes: Sequence[Size]) -> tuple[Any, ...]:
    """The kinds with other sizes."""
    rest = iter(sizes)
    found: list[Any] = []
    for kind in kinds:
        if type(kind) is tuple and isinstance(kind[0], TensorType):
            shape = tuple([next(rest) for _ in kind[0].shape])
            found.append((TensorType(kind[0].dtype, shape), *kind[1:]))
        else:
            found.append(kind)
    return tuple(found)


class Promoted:
    """A program for several sizes: `sizes` are those of the arguments, symbols where they may differ."""

    def __init__(self, sizes: Sequence[Size], entry: Any, graph: Graph) -> None:
        self.sizes, self.entry = tuple(sizes), entry
        self.conditions = decisive(graph)

    def values(self, sizes: Sizes) -> dict[str, int] | None:
        """The values of the symbols for a call with these sizes; None where the program does not hold for them."""
        found: dict[str, int] = {}
        for size, given in zip(self.sizes, sizes, strict=True):
            if isinstance(size, Dim):
                if given < 2 or found.setdefault(str(size), given) != given:
                    return None
            elif size != given:
                return None
        return found if all(evaluate(size, found) >= least for size, least in self.conditions.items()) else None


def _may_meet(first: Sizes, second: Sizes) -> bool:
    """Whether one program can serve both."""
    return all(a == b or (a > 1 and b > 1) for a, b in zip(first, second, strict=True))


class Family:
    """The calls of one pattern of arguments: the sizes they had, and the programs for several of them."""

    def __init__(self) -> None:
        self.seen: list[Sizes] = []
        self.programs: list[Promoted] = []
        self.refused = False
        """Whether every size has its own program."""

    def find(self, sizes: Sizes) -> tuple[Promoted, dict[str, int]] | None:
        """The program for a call, and the values of its symbols."""
        for program in self.programs:
            values = program.values(sizes)
            if values is not None:
                return program, values
        return None

    def proposal(self, sizes: Sizes) -> tuple[Size, ...] | None:
        """Sizes with symbols for what has changed; None where nothing is to be gained."""
        if self.refused or len(self.programs) >= PROGRAMS:
            return None
        rows = [sizes, *(seen for seen in self.seen[-REMEMBERED:] if _may_meet(sizes, seen))]
        columns = list(zip(*rows, strict=True))
        names: dict[tuple[int, ...], str] = {}
        for column in columns:
            if len(set(column)) > 1:
                names.setdefault(column, f"n{len(names)}")
        if not names:
            return None
        return tuple(symbol(names[column]) if column in names else column[0] for column in columns)
