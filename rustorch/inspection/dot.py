"""Levels as text for Graphviz and for Mermaid."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

from rustorch.inspection.stages import Stages


class Drawn(NamedTuple):
    """A box of the drawing: what stands in it, the group that it belongs to, and whether it is round (an input)."""

    id: str
    label: str
    group: str = ""
    round: bool = False


def drawn(stages: Stages, level: str) -> tuple[list[Drawn], list[tuple[str, str]]]:
    """Boxes and arrows of a tensor level, constants left out, or of the steps (level `fused`)."""
    if level == "fused":
        boxes = [Drawn(f"@{k.name}", f"{k.kind} @{k.name}\n{len(k.nodes)} nodes") for k in stages.kernels]
        return boxes, [(f"@{other}", f"@{k.name}") for k in stages.kernels for other in k.needs]
    views = [node for node in stages.nodes_of(level) if node.op != "const"]
    tensor, ids = getattr(stages, level), stages.ids(level)
    boxes = [Drawn(ids[v], f"{ids[v]}\n{v.type}", round=True) for v in tensor.graph.inputs]
    boxes += [Drawn(node.id, f"{node.id} = {node.op}\n{node.type}", node.kernel) for node in views]
    known = {box.id for box in boxes}
    arrows = [(operand, node.id) for node in views for operand in node.operands if operand in known]
    for position, value in enumerate(tensor.graph.outputs):
        boxes.append(Drawn(f"output {position}", f"output {position}", round=True))
        arrows += [(ids[value], f"output {position}")] if ids[value] in known else []
    return boxes, arrows


def to_dot(stages: Stages, level: str = "simplified") -> str:
    """A digraph; nodes of one kernel stand in a cluster."""
    boxes, arrows = drawn(stages, level)
    lines = [f"digraph {_quoted(stages.name)} {{", '  node [shape=box, style=rounded, fontname="monospace", fontsize=10];']
    for group, members in _groups(boxes):
        indent = "  "
        if group:
            lines.append(f"  subgraph {_quoted(f'cluster_{group}')} {{")
            lines.append(f"    label={_quoted(f'@{group}')};")
            indent = "    "
        for box in members:
            shape = ", shape=ellipse" if box.round else ""
            lines.append(f"{indent}{_quoted(box.id)} [label={_quoted(box.label)}{shape}];")
        lines += ["  }"] if group else []
    lines += [f"  {_quoted(a)} -> {_quoted(b)};" for a, b in arrows]
    return "\n".join([*lines, "}", ""])


def to_mermaid(stages: Stages, level: str = "simplified") -> str:
    """A flowchart; nodes of one kernel stand in a subgraph."""
    boxes, arrows = drawn(stages, level)
    number = {box.id: f"n{k}" for k, box in enumerate(boxes)}
    lines = ["flowchart TD"]
    for group, members in _groups(boxes):
        lines += [f'  subgraph {group} ["@{group}"]'] if group else []
        for box in members:
            label = box.label.replace('"', "'").replace("\n", "<br>")
            lines.append(f'    {number[box.id]}(["{label}"])' if box.round else f'    {number[box.id]}["{label}"]')
        lines += ["  end"] if group else []
    lines += [f"  {number[a]} --> {number[b]}" for a, b in arrows]
    return "\n".join([*lines, ""])


def _groups(boxes: list[Drawn]) -> Iterator[tuple[str, list[Drawn]]]:
    groups: dict[str, list[Drawn]] = {}
    for box in boxes:
        groups.setdefault(box.group, []).append(box)
    yield from groups.items()


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
