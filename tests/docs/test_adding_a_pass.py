"""docs/adding_a_pass.md, followed literally: its pass runs its cases, keeps the bits of random graphs, and takes its row."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from rustorch.compiler import pipeline as compiler
from rustorch.compiler.pipeline import lowered
from rustorch.errors import CompilerBug
from rustorch.ir.graph import Graph
from rustorch.ir.parser import parse
from rustorch.ir.printer import to_text
from rustorch.ir.verifier import verify
from rustorch.ops.interpret import interpret
from rustorch.passes import contract, dead_code, inline, simplify
from tests import test_layers
from tests.passes import test_cases
from tests.passes.test_properties import same_bits
from tests.random_graphs import random_case

PAGE = (Path(__file__).parents[2] / "docs" / "adding_a_pass.md").read_text(encoding="utf-8")
SOURCE, TABLE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
CASES = dict(re.findall(r"`(\w+\.ir)`:\n\n```mlir\n(.*?)```", PAGE, re.DOTALL))


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The page's module."""
    file = tmp_path_factory.mktemp("passes") / "narrow.py"
    file.write_text(SOURCE, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("narrow", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def table(narrow: ModuleType) -> dict[str, tuple[tuple[str, Callable[..., Graph], str], ...]]:
    """The page's `PIPELINE` and `ORDER`."""
    passes = {one.__name__.rpartition(".")[2]: one for one in (contract, dead_code, inline, simplify, narrow)}
    names: dict[str, tuple[tuple[str, Callable[..., Graph], str], ...]] = {}
    exec(TABLE, dict(passes), names)
    return names


def test_the_page_shows_three_cases() -> None:
    assert list(CASES) == ["inside.ir", "whole_part.ir", "across_stays.ir"]


@pytest.mark.parametrize("name", CASES)
def test_its_cases_pass(name: str, narrow: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(test_cases.PASSES, "narrow", narrow.run)
    path = tmp_path / "narrow" / name
    path.parent.mkdir()
    path.write_text(CASES[name], encoding="utf-8")
    test_cases.test_case(path, bless=False)


def test_it_keeps_the_bits_of_random_graphs(narrow: ModuleType) -> None:
    changed = 0
    for seed in range(150):
        case = random_case(seed, nodes=20)
        after = verify(narrow.run(case.graph), "narrow")
        for got, want in zip(interpret(after, case.arrays), interpret(case.graph, case.arrays), strict=True):
            assert same_bits(got, want), f"seed {seed}\n{to_text(case.graph)}{to_text(after)}"
        assert narrow.run(after) is after
        changed += after is not case.graph
    assert changed  # nodes without a reader, at least, are dropped


def test_it_stays_in_its_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: SOURCE)
    found = list(test_layers.imports(test_layers.ROOT / "passes" / "narrow.py"))
    assert [one.module for one in found if not one.allowed()] == []
    assert len(found) > 5


def test_the_page_s_table_is_the_compiler_s_with_one_more_row(table: dict[str, tuple[tuple[str, ...], ...]]) -> None:
    assert tuple(row for row in table["PIPELINE"] if row[0] != "narrow") == compiler.PIPELINE
    assert tuple(row for row in table["ORDER"] if "narrow" not in row) == compiler.ORDER


def test_it_takes_its_row(table: dict[str, tuple[tuple[str, Callable[..., Graph], str], ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "PIPELINE", table["PIPELINE"])
    monkeypatch.setattr(compiler, "ORDER", table["ORDER"])
    compiler._check_order()
    graph = parse(CASES["inside.ir"].partition("// becomes")[0])
    rules: list[tuple[str, str]] = []
    stages = lowered(graph, log=lambda name, rule, node, values: rules.append((name, rule)))
    assert [name for name, _ in stages] == [row[0] for row in table["PIPELINE"]]
    assert ("narrow", "slice-of-concat") in rules
    arrays = [np.arange(6, dtype=np.float32).reshape(3, 2), np.arange(8, dtype=np.float32).reshape(4, 2)]
    np.testing.assert_array_equal(interpret(stages[-1][1], arrays)[0], [[2, 3], [4, 5]])
    monkeypatch.setattr(compiler, "PIPELINE", table["PIPELINE"][::-1])
    with pytest.raises(CompilerBug, match="pass inline must come before simplify"):
        compiler._check_order()
