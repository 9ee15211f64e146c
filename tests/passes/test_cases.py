"""Golden cases: `cases/<pass>/<name>.ir` has a graph and, below a line `// becomes`, what the pass makes of it.

`pytest --bless` writes the lower half. Both halves are also run on random inputs and must agree, so a golden that was
blessed carelessly still fails. `// stays` instead says that the pass gives the same object.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rustorch.ir.dims import evaluate
from rustorch.ir.dtypes import FLOATS, bool_
from rustorch.ir.graph import Graph
from rustorch.ir.parser import parse
from rustorch.ir.printer import to_text
from rustorch.ir.types import TensorType
from rustorch.ir.verifier import verify
from rustorch.ops import interpret
from rustorch.passes import canonicalize, contract, dead_code, fold, inline, simplify, stabilize

PASSES: dict[str, Callable[[Graph], Graph]] = {
    "canonicalize": canonicalize.run,
    "contract": contract.run,
    "dead_code": dead_code.run,
    "fold": fold.run,
    "inline": inline.run,
    "simplify": simplify.run,
    "stabilize": stabilize.run,
}
FOLDER = Path(__file__).parent / "cases"
CASES = sorted(FOLDER.glob("*/*.ir"))
BECOMES, STAYS = "// becomes\n", "// stays\n"


def random_inputs(graph: Graph) -> list[np.ndarray[Any, Any]]:
    """Arrays for the inputs; every symbol is 3."""
    rng = np.random.default_rng(0)
    arrays = []
    for value in graph.inputs:
        assert isinstance(value.type, TensorType)
        shape = tuple(evaluate(size, dict.fromkeys(value.type.symbols(), 3)) for size in value.type.shape)
        if value.type.dtype in FLOATS:
            arrays.append(np.asarray(rng.uniform(0.1, 2, shape)).astype(value.type.dtype.numpy))
        elif value.type.dtype is bool_:
            arrays.append(np.asarray(rng.random(shape) < 0.5))
        else:
            arrays.append(np.asarray(rng.integers(-5, 6, shape)).astype(value.type.dtype.numpy))
    return arrays


def test_every_pass_has_its_cases() -> None:
    """The point, the boundary, and what is to be left alone."""
    counts = {name: sum(path.parent.name == name for path in CASES) for name in PASSES}
    assert [name for name, count in counts.items() if count < 3] == []
    assert {path.parent.name for path in CASES} == set(PASSES)


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_case(path: Path, bless: bool) -> None:
    text = path.read_text(encoding="utf-8")
    before, separator, expected = text.partition(STAYS if STAYS in text else BECOMES)
    comments = "".join(line + "\n" for line in before.splitlines() if line.startswith("//"))
    graph = parse(before)
    after = verify(PASSES[path.parent.name](graph), path.stem)
    if bless:
        written = STAYS if after is graph else BECOMES + to_text(after)
        path.write_text(f"{comments}{to_text(graph)}{written}", encoding="utf-8")
        text = path.read_text(encoding="utf-8")
        before, separator, expected = text.partition(STAYS if STAYS in text else BECOMES)
    assert comments + to_text(graph) == before
    assert (after is graph) is (separator == STAYS)
    assert expected == ("" if after is graph else to_text(after))
    inputs = random_inputs(graph)
    for got, want in zip(interpret(after, inputs), interpret(graph, inputs), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6 if want.dtype == np.float32 else 1e-14)
