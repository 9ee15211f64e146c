"""The source stage: the user's lines behind the nodes, with a little of what stands around them."""

from __future__ import annotations

import linecache
from collections.abc import Iterable

from rustorch.inspection.lines import Line, Section, Stage
from rustorch.inspection.origins import Origin

AROUND = 2
"""Lines shown before and after one that made a node."""


def source_stage(origins: Iterable[Origin]) -> Stage:
    """The lines that made nodes, file by file, each with its number and a mark where it made one."""
    made: dict[str, dict[int, list[int]]] = {}
    for origin in origins:
        if origin.location.line:
            made.setdefault(origin.location.file, {}).setdefault(origin.location.line, []).append(origin.number)
    return Stage("source", tuple(_section(file, lines) for file, lines in made.items()))


def _section(file: str, made: dict[int, list[int]]) -> Section:
    texts = linecache.getlines(file)
    shown = {n for line in made for n in range(line - AROUND, line + AROUND + 1) if 1 <= n <= len(texts)} | set(made)
    lines: list[Line] = []
    before = 0
    for number in sorted(shown):
        if before and number > before + 1:
            lines.append(Line(f"{'⋮':>7}"))
        before = number
        text = texts[number - 1].rstrip("\n") if number <= len(texts) else ""
        lines.append(Line(f"{'>' if number in made else ' '} {number:>4} | {text}".rstrip(), tuple(made.get(number, ()))))
    return Section(file, tuple(lines))
