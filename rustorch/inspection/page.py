"""One page with all stages side by side: no server, no other file, works from `file://`.

The style is `page.css`, the behaviour `page.js`; what they show is JSON, compressed. The model is Go's `GOSSAFUNC` page.
"""

from __future__ import annotations

import base64
import html
import json
import zlib
from collections import Counter
from importlib import resources
from typing import Any

from rustorch.inspection.layout import over_text, steps_svg
from rustorch.inspection.lines import Line, Section
from rustorch.inspection.schema import cost_record, size_record
from rustorch.inspection.stages import LEVELS, TENSOR_LEVELS, Stages

_SHELL = """<!doctype html>
<html lang="en" data-theme="light">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:">
<title>{title} · rustorch</title>
<link rel="icon" href="data:,">
<style>
{style}</style>
</head>
<body>
<header>
<h1>{title}<small>rustorch inspection</small></h1>
<div class="facts"></div>
<div class="tools">
<label class="search">
<svg width="14" height="14" viewBox="0 0 16 16" fill="none" stroke="currentColor" stroke-width="2"><circle cx="7" cy="7" r="5"/><path d="M11 11l4 4"/></svg>
<input type="search" placeholder="Search all stages" spellcheck="false" aria-label="Search all stages"><output></output>
</label>
<button class="icon" id="overview" title="Overview (o)" aria-label="Overview" aria-pressed="true">
<svg width="16" height="16" viewBox="0 0 16 16" fill="none" stroke="currentColor" stroke-width="1.6"><rect x="1.5" y="2" width="13" height="12" rx="2"/>
<path d="M1.5 7h13M7 7v7"/></svg></button>
<button class="icon" id="theme" title="Dark or light (d)" aria-label="Dark or light">
<svg width="16" height="16" viewBox="0 0 16 16" fill="none" stroke="currentColor" stroke-width="1.6"><circle cx="8" cy="8" r="6"/>
<path d="M8 2v12a6 6 0 0 0 0-12z" fill="currentColor"/></svg></button>
</div>
</header>
<div class="overview">
<div class="card steps"><h2>Steps <small>what runs, left to right</small><span class="legend"><span><i class="kernel"></i>fused kernel</span>
<span><i class="product"></i>product</span><span><i class="scatter"></i>scatter</span></span></h2><div>{steps}</div></div>
<div class="card costs"><h2>Costs <small>click a row to follow it</small></h2><div></div></div>
<div class="card aside"><h2>Memory and time <small>the arena, step by step</small></h2><div></div></div>
</div>
<div class="divider" title="Drag to resize"></div>
<main></main>
<footer><span class="what"></span><div class="trail"></div></footer>
<noscript>This page needs JavaScript.</noscript>
<script>
(async () => {{
const packed = Uint8Array.from(atob("{content}"), (c) => c.charCodeAt(0));
const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
window.PAGE = JSON.parse(await new Response(stream).text());
const script = document.createElement("script");
script.textContent = document.getElementById("behaviour").textContent;
document.body.append(script);
}})();
</script>
<script type="text/plain" id="behaviour">
{behaviour}</script>
</body>
</html>
"""


def to_html(stages: Stages) -> str:
    """The text of the page."""
    content = base64.b64encode(zlib.compress(json.dumps(record(stages), separators=(",", ":")).encode(), 9)).decode()
    return _SHELL.format(
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
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


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
