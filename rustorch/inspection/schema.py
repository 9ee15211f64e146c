"""An inspection as JSON, in a schema with a version. `docs/inspection.md` describes it."""

from __future__ import annotations

import json
from typing import Any

from rustorch.inspection.costs import Cost
from rustorch.inspection.origins import Origin
from rustorch.inspection.stages import LEVELS, TENSOR_LEVELS, Stages
from rustorch.ir.dims import Dim, Size
from rustorch.ir.location import Location

VERSION = 1
"""Raised when a key changes its meaning or goes; new keys do not raise it."""


def to_json(stages: Stages, indent: int | None = None) -> str:
    """The text of the JSON document."""
    return json.dumps(document(stages), indent=indent, ensure_ascii=False)


def document(stages: Stages) -> dict[str, Any]:
    """The JSON document as dicts and lists. Symbolic counts are strings."""
    fusion = stages.fusion
    return {
        "schema": "rustorch.inspection",
        "version": VERSION,
        "name": stages.name,
        "target": stages.generated.target.level,
        "cost": cost_record(stages.cost),
        "unfused_cost": cost_record(stages.unfused_cost),
        "origins": [_origin(origin) for origin in stages.origins.all],
        "graphs": {level: _graph(stages, level) for level in TENSOR_LEVELS},
        "kernels": [
            {
                "name": kernel.name,
                "kind": kernel.kind,
                "shape": _sizes(kernel.shape),
                "reduced": list(kernel.reduced),
                "nodes": list(kernel.nodes),
                "numbers": list(kernel.links),
                "reads": list(kernel.reads),
                "writes": list(kernel.writes),
                "needs": list(kernel.needs),
                "schedule": kernel.schedule,
                "reason": kernel.reason,
                **cost_record(kernel.cost),
            }
            for kernel in fusion.kernels
        ],
        "memory": {
            "arena_bytes": size_record(fusion.arena_bytes),
            "live_bytes": size_record(fusion.live_bytes),
            "values": [
                {
                    "value": entry.value,
                    "place": entry.place,
                    "bytes": size_record(entry.bytes),
                    "offset": None if entry.offset is None else size_record(entry.offset),
                    "first": entry.first,
                    "last": entry.last,
                    "number": entry.number,
                }
                for entry in fusion.memory
            ],
        },
        "rules": [
            {"pass": each.in_pass, "rule": each.rule, "node": each.node, "number": each.number} for each in stages.applied
        ],
        "stages": {level: stages.text(level) for level in LEVELS},
        "milliseconds": {name: round(seconds * 1e3, 3) for name, seconds in stages.times.items()},
    }


def _graph(stages: Stages, level: str) -> dict[str, Any]:
    tensor, ids = getattr(stages, level), stages.ids(level)
    nodes = stages.nodes_of(level)
    return {
        "name": tensor.graph.name,
        "inputs": [{"id": ids[v], "type": str(v.type), "number": tensor.numbers[v]} for v in tensor.graph.inputs],
        "nodes": [
            {
                "id": node.id,
                "number": node.number,
                "op": node.op,
                "attrs": node.attrs,
                "type": node.type,
                "location": _location(node.location),
                "kernel": node.kernel or None,
                **cost_record(node.cost),
            }
            for node in nodes
        ],
        "edges": [
            {"from": operand, "to": node.id, "operand": position} for node in nodes for position, operand in enumerate(node.operands)
        ],
        "outputs": [ids[v] for v in tensor.graph.outputs],
    }


def _origin(origin: Origin) -> dict[str, Any]:
    return {
        "number": origin.number,
        "op": origin.op,
        "type": origin.type,
        "stage": origin.stage,
        "location": _location(origin.location),
        "parents": list(origin.parents),
    }


def _location(at: Location) -> dict[str, Any] | None:
    return {"file": at.file, "line": at.line, "column": at.column, "function": at.function} if at.line else None


def cost_record(cost: Cost) -> dict[str, int | str]:
    """A cost as JSON."""
    return {
        "flops": size_record(cost.flops),
        "transcendental": size_record(cost.transcendental),
        "integer": size_record(cost.integer),
        "read": size_record(cost.read),
        "written": size_record(cost.written),
    }


def size_record(size: Size) -> int | str:
    """A size as JSON: a symbolic one as its text."""
    return str(size) if isinstance(size, Dim) else size


def _sizes(sizes: tuple[Size, ...]) -> list[int | str]:
    return [size_record(size) for size in sizes]
