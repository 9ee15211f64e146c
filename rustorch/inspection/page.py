"""One page with all stages side by side: no server, no other file, works from `file://`.

The frame is `page.html`, the style `page.css`, the behaviour `page.js`; what they show is compressed JSON. The model is Go's
`GOSSAFUNC` page.
"""

from __future__ import annotations

import base64
import html
import json
import zlib
from collections import Counter
from pathlib import Path
from string import Template
from typing import Any

from rustorch.inspection.layout import over_text, steps_svg
from rustorch.inspection.lines import Line, Section
from rustorch.inspection.schema import cost_record, size_record
from rustorch.inspection.stages import LEVELS, TENSOR_LEVELS, Stages


def to_html(stages: Stages) -> str:
    """The text of the page."""
    content = base64.b64encode(zlib.compress(json.dumps(record(stages), separators=(",", ":")).encode(), 9)).decode()
    return Template(_file("page.html")).substitute(
        title=html.escape(stages.name),
        style=_file("page.css"),
        steps=steps_svg(stages.kernels),
        content=content,
        behaviour=_file("page.js"),
    )


def in_frame(stages: Stages, height: int = 760) -> str:
    """The page in a frame, for notebooks."""
    return (
        f'<iframe srcdoc="{html.escape(to_html(stages), quote=True)}" style="width:100%;height:{height}px;border:1px solid #ccc;'
        f'border-radius:8px" title="{html.escape(stages.name)}"></iframe>'
    )


def _file(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def record(stages: Stages) -> dict[str, Any]:
    """What the page shows, as JSON."""
    fusion = stages.fusion
    shown = {level: stages.stage(level) for level in LEVELS}
    return {
        "name": stages.name,
        "target": stages.generated.target.level,
        "cost": cost_record(stages.cost),
        "unfused": cost_record(stages.unfused_cost),
        "arena": size_record(fusion.arena_bytes),
        "live": size_record(fusion.live_bytes),
        "nodes": [len(getattr(stages, level).graph.nodes) for level in TENSOR_LEVELS],
        "times": {name: round(seconds * 1e3, 3) for name, seconds in stages.times.items()},
        "rules": Counter(each.rule for each in stages.applied).most_common(),
        "folded": ["differentiated"] if shown["traced"].text == shown["differentiated"].text else [],
        "origins": [
            [o.op, o.type, [o.location.file, o.location.line] if o.location.line else None, list(o.parents)] for o in stages.origins.all
        ],
        "kernels": [
            {
                "name": kernel.name,
                "kind": kernel.kind,
                "over": over_text(kernel),
                "nodes": len(kernel.nodes),
                "numbers": list(kernel.links),
                "reads": list(kernel.reads),
                "writes": list(kernel.writes),
                "schedule": kernel.schedule,
                "reason": kernel.reason,
                **cost_record(kernel.cost),
            }
            for kernel in fusion.kernels
        ],
        "memory": [
            {
                "value": entry.value,
                "bytes": size_record(entry.bytes),
                "offset": None if entry.offset is None else size_record(entry.offset),
                "first": entry.first,
                "last": entry.last,
                "number": entry.number,
            }
            for entry in fusion.memory
        ],
        "stages": [{"name": level, "sections": [_section(section) for section in stage.sections]} for level, stage in shown.items()],
    }


def _section(section: Section) -> dict[str, Any]:
    return {"title": section.title, "lines": [_line(line) for line in section.lines]}


def _line(line: Line) -> list[Any]:
    """Text, links, and the names that it defines where the text itself does not show it (`%0 = …`)."""
    if line.names and " = " not in line.text:
        return [line.text, list(line.links), [list(pair) for pair in line.names]]
    return [line.text, list(line.links)] if line.links else [line.text]
