"""`Inspection`: the stages of a compiled function, a summary of them, and their other forms, each imported when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rustorch.inspection.fused import Kernel, count
from rustorch.inspection.stages import TENSOR_LEVELS, Stages

ROWS = 24
"""Steps in the summary."""


class Inspection(Stages):
    """What the compiler makes of a function. `print` it for a summary on one screen; `text(level)` is one stage in full.

    Levels: source, traced, differentiated, simplified, fused, loop, llvm, asm.
    """

    def to_json(self, indent: int | None = None) -> str:
        """All of it as JSON; `docs/inspection.md` describes the schema."""
        from rustorch.inspection import schema

        return schema.to_json(self, indent)

    def to_networkx(self, level: str = "simplified") -> Any:
        """A `networkx.MultiDiGraph` of a level: inputs and nodes with their attributes, an edge per operand.

        For the level `fused`: the steps, and an edge for each that reads what another wrote.
        """
        from rustorch.inspection import graphs

        return graphs.to_networkx(self, level)

    def to_dot(self, level: str = "simplified") -> str:
        """The level as text for Graphviz; in `simplified`, the nodes of a kernel stand in a box."""
        from rustorch.inspection import dot

        return dot.to_dot(self, level)

    def to_mermaid(self, level: str = "simplified") -> str:
        """The level as a Mermaid flowchart, which GitHub and many editors draw."""
        from rustorch.inspection import dot

        return dot.to_mermaid(self, level)

    def to_html(self, path: str | Path | None = None) -> str:
        """One self-contained page: the stages side by side, linked; also written to `path` if one is given."""
        from rustorch.inspection import page

        text = page.to_html(self)
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text

    def _repr_html_(self) -> str:
        """In a notebook: the page in a frame."""
        from rustorch.inspection import page

        return page.in_frame(self)

    def __str__(self) -> str:
        cost, alone, fusion = self.cost, self.unfused_cost, self.fusion
        sizes = ", ".join(f"{len(getattr(self, level).graph.nodes)} {level}" for level in TENSOR_LEVELS)
        kinds: dict[str, int] = {}
        for kernel in self.kernels:
            kinds[kernel.kind] = kinds.get(kernel.kind, 0) + 1
        lines = [
            f"{self.name} for x86-64-{self.generated.target.level}",
            f"  nodes    {sizes}",
            f"  steps    {', '.join(f'{n} {kind}' for kind, n in kinds.items()) or 'none'}",
            f"  flops    {count(cost.flops)}, and {count(cost.transcendental)} elementary functions",
            f"  bytes    {count(cost.read)} read, {count(cost.written)} written; {count(alone.bytes)} if every node ran alone",
            f"  arena    {count(fusion.arena_bytes)} bytes, {count(fusion.live_bytes)} alive at once",
            f"  compile  {', '.join(f'{name} {seconds * 1e3:.1f}' for name, seconds in self.times.items())} ms",
            "",
            *table(self.kernels),
        ]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<inspection of {self.name}: {len(self.simplified.graph.nodes)} nodes, {len(self.kernels)} steps>"


def table(kernels: Sequence[Kernel]) -> list[str]:
    """The steps as lines of a table, the first `ROWS` of them; an arrow marks a reduced axis."""
    if not kernels:
        return []
    rows = [("step", "kind", "over", "nodes", "flops", "read", "written")]
    for kernel in kernels[:ROWS]:
        over = " x ".join(f"{size}{'↓' if axis in kernel.reduced else ''}" for axis, size in enumerate(kernel.shape))
        numbers = (len(kernel.nodes), kernel.cost.flops + kernel.cost.transcendental, kernel.cost.read, kernel.cost.written)
        rows.append((f"@{kernel.name}", kernel.kind, over or "-", *map(count, numbers)))  # type: ignore[arg-type]
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [c.ljust(w) if k < 3 else c.rjust(w) for k, (c, w) in enumerate(zip(row, widths, strict=True))]
        lines.append("  " + "  ".join(cells))
    more = len(kernels) - ROWS
    return [*lines, f"  … {more} more"] if more > 0 else lines
