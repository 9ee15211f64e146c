"""JSON, networkx, Graphviz, Mermaid: the same graph in other forms."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import Any

import pytest

from rustorch.inspection import Inspection
from rustorch.inspection.schema import VERSION
from rustorch.inspection.stages import LEVELS, TENSOR_LEVELS
from tests.inspection.programs import seen_training
from tests.random_graphs import random_case


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(seen_training().to_json())
    return found


def test_the_document_has_what_the_schema_promises(document: dict[str, Any]) -> None:
    assert document["schema"] == "rustorch.inspection"
    assert document["version"] == VERSION
    assert list(document) == [
        "schema", "version", "name", "target", "cost", "unfused_cost", "origins", "graphs", "kernels", "memory", "rules", "stages",
        "milliseconds",
    ]  # fmt: skip
    costs = {"flops", "transcendental", "integer", "read", "written"}
    for graph in document["graphs"].values():
        for node in graph["nodes"]:
            assert {"id", "number", "op", "attrs", "type", "location", "kernel"} | costs == set(node)
    for kernel in document["kernels"]:
        assert set(kernel) == costs | {
            "name", "kind", "shape", "reduced", "nodes", "numbers", "reads", "writes", "needs", "schedule", "reason",
        }  # fmt: skip
    assert document["stages"] == {level: seen_training().text(level) for level in LEVELS}


def test_ids_in_the_document_are_defined(document: dict[str, Any]) -> None:
    numbers = {origin["number"] for origin in document["origins"]}
    for graph in document["graphs"].values():
        ids = {entry["id"] for entry in (*graph["inputs"], *graph["nodes"])}
        assert len(ids) == len(graph["inputs"]) + len(graph["nodes"])
        assert {edge["from"] for edge in graph["edges"]} | {edge["to"] for edge in graph["edges"]} | set(graph["outputs"]) <= ids
        assert {node["number"] for node in graph["nodes"]} <= numbers
    steps = {kernel["name"] for kernel in document["kernels"]}
    assert {node["kernel"] for node in document["graphs"]["simplified"]["nodes"]} <= steps | {None}
    assert {need for kernel in document["kernels"] for need in kernel["needs"]} <= steps
    assert all(parent < origin["number"] for origin in document["origins"] for parent in origin["parents"])


def test_totals_are_sums(document: dict[str, Any]) -> None:
    for key, value in document["cost"].items():
        assert value == sum(kernel[key] for kernel in document["kernels"])
    for key, value in document["unfused_cost"].items():
        assert value == sum(node[key] for node in document["graphs"]["simplified"]["nodes"])


def test_values_alive_together_do_not_overlap(document: dict[str, Any]) -> None:
    lying = [v for v in document["memory"]["values"] if v["offset"] is not None]
    assert lying
    for i, a in enumerate(lying):
        assert a["offset"] + a["bytes"] <= document["memory"]["arena_bytes"]
        for b in lying[i + 1 :]:
            together = a["first"] <= b["last"] and b["first"] <= a["last"]
            overlap = a["offset"] < b["offset"] + b["bytes"] and b["offset"] < a["offset"] + a["bytes"]
            assert not (together and overlap), (a, b)


@pytest.mark.parametrize("level", TENSOR_LEVELS)
def test_networkx_has_the_nodes_and_edges(level: str) -> None:
    import networkx

    seen = seen_training()
    graph = seen.to_networkx(level)
    nodes = getattr(seen, level).graph.nodes
    assert graph.number_of_nodes() == len(nodes) + len(getattr(seen, level).graph.inputs)
    assert graph.number_of_edges() == sum(len(node.operands) for node in nodes)
    assert networkx.is_directed_acyclic_graph(graph)
    (product,) = [n for n, entry in graph.nodes(data=True) if entry["op"] == "gather"]
    assert [entry["operand"] for _, _, entry in sorted(graph.in_edges(product, data=True), key=lambda e: e[2]["operand"])] == [0, 1]
    assert graph.nodes[product]["file"].endswith("programs.py")
    assert set(graph.graph["outputs"]) <= set(graph)


def test_networkx_of_the_steps() -> None:
    import networkx

    seen = seen_training()
    graph = seen.to_networkx("fused")
    assert list(graph) == [f"@{kernel.name}" for kernel in seen.kernels]
    order = list(graph)
    assert all(order.index(a) < order.index(b) for a, b in graph.edges())
    assert networkx.is_directed_acyclic_graph(graph)


def test_inspection_is_imported_without_networkx() -> None:
    code = "import sys, rustorch.inspection; sys.exit('networkx' in sys.modules or 'llvmlite' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("level", [*TENSOR_LEVELS, "fused"])
def test_dot(level: str) -> None:
    seen = seen_training()
    text = seen.to_dot(level)
    assert text.count("{") == text.count("}")
    if level == "fused":
        assert text.count("label=") == len(seen.kernels)
    else:
        drawn = [n for n in seen.nodes_of(level) if n.op != "const"]
        graph = getattr(seen, level).graph
        clusters = text.count("subgraph")
        assert text.count("label=") == len(drawn) + len(graph.inputs) + len(graph.outputs) + clusters
    if shutil.which("dot"):
        subprocess.run(["dot", "-Tsvg"], input=text.encode(), check=True, capture_output=True)


def test_mermaid() -> None:
    seen = seen_training()
    lines = seen.to_mermaid().splitlines()
    assert lines[0] == "flowchart TD"
    assert sum(line.startswith("  subgraph") for line in lines) == sum(line == "  end" for line in lines)
    arrows = [line for line in lines if "-->" in line]
    boxes = {line.split("[")[0].split("(")[0].strip() for line in lines if line.startswith("    n")}
    assert {part.strip() for line in arrows for part in line.split("-->")} <= boxes


@pytest.mark.parametrize("seed", range(3))
def test_random_graphs_have_every_form(seed: int) -> None:
    seen = Inspection.of_graph(random_case(seed, nodes=25).graph)
    json.loads(seen.to_json())
    assert seen.to_networkx().number_of_nodes()
    assert seen.to_dot() and seen.to_mermaid("fused") and seen.to_html()
