"""docs/pipeline.md says what the compiler does: its tables are those of the compiler, its texts what the stages print."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from rustorch.codegen.schedule import COLUMN_BLOCK, ROW_BLOCK
from rustorch.compiler.pipeline import ORDER, PIPELINE
from rustorch.config import config
from rustorch.inspection.stages import Stages
from rustorch.ir.builder import Builder
from rustorch.ir.dtypes import f32
from rustorch.ir.graph import Graph
from rustorch.ir.printer import to_text
from tests.codegen.comparison import check

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "pipeline.md"


def example() -> Graph:
    b = Builder()
    x, y, w = b.input(f32[8, 4], "x"), b.input(f32[8, 4], "y"), b.input(f32[4], "w")
    error = b.sub(b.mul(x, b.broadcast_to(w, shape=(8, 4), dims=(1,))), y)
    return b.build([b.reduce_sum(b.square(error), axes=(1,))], "errors")


def texts() -> dict[str, str]:
    """What the blocks of the page must be."""
    stages = Stages.of_graph(example())
    return {
        "traced": to_text(example()),
        "simplified": to_text(stages.generated.graph),
        "fused": stages.text("fused"),
        "loops": "".join(to_text(kernel.graph) for kernel in stages.generated.kernels),
        "llvm": stages.generated.llvm.partition("loop2:\n")[2].partition("done2:\n")[0],
    }


def block(name: str) -> re.Pattern[str]:
    return re.compile(rf"<!-- {name} -->\n```\n(.*?)```\n", re.S)


def rows(header: str) -> list[list[str]]:
    """The rows of the table with a header, without the quotes of code."""
    lines = PAGE.read_text(encoding="utf-8").partition(header + "\n")[2].splitlines()[1:]
    table = lines[: next(k for k, line in enumerate(lines) if not line.startswith("|"))]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in table]


def test_texts(bless: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "isa", "v2")
    expected = texts()
    if bless:
        page = PAGE.read_text(encoding="utf-8")
        for name, text in expected.items():
            filled = f"<!-- {name} -->\n```\n{text.strip()}\n```\n"
            page = block(name).sub(lambda _, filled=filled: filled, page)  # type: ignore[misc]
        PAGE.write_text(page, encoding="utf-8")
    page = PAGE.read_text(encoding="utf-8")
    for name, text in expected.items():
        (found,) = block(name).findall(page)
        assert found == text.strip() + "\n", name


def test_the_example_is_right() -> None:
    rng = np.random.default_rng(0)
    check(example(), *(rng.standard_normal(shape).astype(np.float32) for shape in ((8, 4), (8, 4), (4,))))


def test_passes() -> None:
    assert rows("| pass | what holds after it |") == [[name, what] for name, _, what in PIPELINE]
    assert rows("| before | after | why |") == [list(row) for row in ORDER]


def test_stages_name_files() -> None:
    table = rows("| stage | file | takes → gives | contract |")
    assert len(table) == 10
    for _, files, _, _ in table:
        for name in re.findall(r"\w+\*?\.py", files):
            assert list((ROOT / "rustorch" / "codegen").glob(name)), name


def test_numbers() -> None:
    page = PAGE.read_text(encoding="utf-8")
    sentences = " ".join(page.split())
    assert f"in blocks of {ROW_BLOCK} elements on at least 16 accumulators, column sums in blocks of {COLUMN_BLOCK}" in sentences
    assert len(page.splitlines()) <= 170
