"""Golden cases: `cases/<what>/<name>.ir` has a graph, its plan (below `// fused`) and its loops (below `// loops`).

The level is v2, whose vectors are short. `pytest --bless` writes what is below the graph. Native code and loops are also run
on random inputs, so a golden that was blessed carelessly still fails if it is wrong.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rustorch.codegen.generate import Generated
from rustorch.config import config
from rustorch.inspection.stages import Stages
from rustorch.ir.dims import evaluate
from rustorch.ir.graph import Graph
from rustorch.ir.parser import parse
from rustorch.ir.printer import to_text
from rustorch.ir.types import TensorType
from rustorch.ops import interpret
from tests.codegen.comparison import Array, assert_close, check, tolerance
from tests.codegen.execution import run_plan

CASES = sorted((Path(__file__).parent / "cases").glob("*/*.ir"))
FUSED, LOOPS = "// fused\n", "// loops\n"


def inputs(graph: Graph) -> list[Array]:
    """Random arrays; integers are good as indices; every symbol is 6."""
    rng = np.random.default_rng(0)
    arrays = []
    for value in graph.inputs:
        assert isinstance(value.type, TensorType)
        shape = tuple(evaluate(size, dict.fromkeys(value.type.symbols(), 6)) for size in value.type.shape)
        drawn = rng.integers(0, 4, shape) if value.type.dtype.kind == "int" else rng.uniform(-2, 2, shape)
        arrays.append(np.asarray(drawn).astype(value.type.dtype.numpy))
    return arrays


def loops(code: Generated) -> str:
    return "".join(to_text(kernel.graph) for kernel in code.kernels)


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_case(path: Path, bless: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "isa", "v2")
    source = path.read_text(encoding="utf-8").partition(FUSED)[0]
    graph = parse(source)
    comments = "".join(line + "\n" for line in source.splitlines() if line.startswith("//"))
    stages = Stages.of_graph(graph)
    code = stages.generated
    printed = f"{comments}{to_text(graph)}{FUSED}{stages.text('fused')}{LOOPS}{loops(code)}"
    if bless:
        path.write_text(printed, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == printed, "read the difference, then run pytest --bless"
    assert len(source.splitlines()) <= 15
    arrays = inputs(graph)
    check(graph, *arrays)
    assert_close(run_plan(code, arrays), interpret(graph, arrays), tolerance(graph), path.stem)


def test_goldens_parse_back() -> None:
    """The loops of every golden are text of the language."""
    for path in CASES:
        text = path.read_text(encoding="utf-8").partition(LOOPS)[2]
        assert text
        for kernel in text.split("func ")[1:]:
            assert to_text(parse(f"func {kernel}")) == f"func {kernel}"
