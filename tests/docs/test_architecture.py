"""docs/architecture.md says what is: its rooms, its pipeline, its files, and the texts that the compiler prints."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from rustorch.compiler import pipeline as compiler
from rustorch.config import config
from tests import test_layers
from tests.docs.test_aot import ROOT, run

PATH = ROOT / "docs" / "architecture.md"
PAGE = PATH.read_text(encoding="utf-8")
BLOCK = r"<!-- {} -->\n```\w+\n(.*?)```"
STAGES = ("differentiated", "simplified", "fused", "loop", "driver")

LOOK = """
import json, numpy as np
program = open("demo.py").read()
exec(compile(program, "demo.py", "exec"))
from rustorch.inspection import inspect
line = program.splitlines().index("value, gradient = f(np.ones(24, np.float32))")
exec(compile("\\n" * line + "seen = inspect(f)(np.ones(24, np.float32))", "demo.py", "exec"))
texts = {level: seen.text(level) for level in ("differentiated", "simplified", "fused", "loop", "llvm")}
llvm = texts.pop("llvm")
texts["driver"] = llvm[llvm.index("define i32"):].strip() + "\\n"
print(json.dumps(texts))
"""


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the compiler prints for the page's program, for x86-64-v3."""
    place = tmp_path_factory.mktemp("architecture")
    (program,) = re.findall(BLOCK.format("program"), PAGE, re.DOTALL)
    (place / "demo.py").write_text(program, encoding="utf-8")
    printed: dict[str, str] = json.loads(run(place, sys.executable, "-c", LOOK, RUSTORCH_ISA="v3"))
    return {name: text.rstrip("\n") + "\n" for name, text in printed.items()}


def test_texts_are_those_that_are_printed(texts: dict[str, str], bless: bool) -> None:
    page = PAGE
    for name, text in texts.items() if bless else ():
        before, after = page.split(f"<!-- stage: {name} -->\n", 1)
        first, rest = after.split("\n", 1)
        page = f"{before}<!-- stage: {name} -->\n{first}\n{text}```{rest.split('```', 1)[1]}"
    if bless:
        PATH.write_text(page, encoding="utf-8")
    shown = {name: "".join(re.findall(BLOCK.format(f"stage: {name}"), page, re.DOTALL)) for name in STAGES}
    assert shown == texts, "run pytest --bless, and read what changed"


def test_rooms_are_those_of_the_layer_test() -> None:
    rows = re.findall(r"^\| (`[^|]*) \| [^|]* \| ([^|]*)\| ([^|]*)\|$", PAGE.partition("## What passes")[0], re.MULTILINE)
    assert rows
    shown = {
        room: (frozenset(re.findall(r"`([^`]+)`", rooms)), frozenset(packages.split()))
        for names, rooms, packages in rows
        for room in re.findall(r"`([^`]+)`", names)
    }
    exist = {name for name in test_layers.ROOMS if (test_layers.ROOT / name).is_dir() or (test_layers.ROOT / f"{name}.py").exists()}
    assert shown == {name: (test_layers.ROOMS[name].rooms, test_layers.ROOMS[name].packages) for name in exist}


def test_the_pipeline_is_the_compiler_s() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `passes/\w+\.py` \| (.*?) \|$", PAGE, re.MULTILINE)
    assert [name for name, _ in rows] == [name for name, _, _ in compiler.PIPELINE]
    for (_, shown), (_, _, contract) in zip(rows, compiler.PIPELINE, strict=True):
        assert shown.startswith(contract)


def test_every_file_that_is_named_exists() -> None:
    named = re.findall(r"`((?:\w+/)*\w+\.(?:py|md))`", PAGE)
    assert len(named) > 50
    places = [ROOT, ROOT / "rustorch", ROOT / "docs", *(ROOT / "rustorch" / room for room in ("codegen", "frontend", "ir"))]
    made_up = {"demo.py"}
    assert sorted({name for name in named if not any((place / name).exists() for place in places)} - made_up) == []
    folders = re.findall(r"`(\w+/)`", PAGE)
    assert sorted({name for name in folders if not (ROOT / "rustorch" / name).is_dir()} - {"rustorch/"}) == []


TWO_DOORS = """
import rustorch
from rustorch.compiler import statistics

w = rustorch.ones(24, requires_grad=True)

def step():
    w.grad = None
    loss = (w * w).sum()
    loss.backward()
    return loss

float(step())
compiled = statistics.compiles
float(rustorch.jit(step)())
print(compiled, statistics.compiles - compiled)
"""


@pytest.mark.skipif(config.eager, reason="nothing is compiled")
def test_a_step_is_compiled_once_for_both_doors(tmp_path: Path) -> None:
    assert run(tmp_path, sys.executable, "-c", TWO_DOORS) == "1 0\n"


def test_it_stays_short() -> None:
    assert len(PAGE.splitlines()) <= 350


def test_every_page_is_listed() -> None:
    listed = re.findall(r"^\| `(\w+\.md)` \|", (ROOT / "docs" / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(path.name for path in (ROOT / "docs").glob("*.md") if path.name != "README.md")
