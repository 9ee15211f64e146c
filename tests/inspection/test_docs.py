"""The programs in docs/inspection.md run, one after the other as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rustorch.inspection.stages import LEVELS

PAGE = Path(__file__).parents[2] / "docs" / "inspection.md"


def test_the_programs_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    programs = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(programs) == 5
    names: dict[str, object] = {"__name__": "docs"}
    for program in programs:
        exec(compile(program, str(PAGE), "exec"), names)
    assert (tmp_path / "energy.html").stat().st_size > 10_000
    printed = capsys.readouterr().out
    for word in ("energy for x86-64", "kernel @k0 over (1000) reduced (0)", "flowchart TD", " = fma %"):
        assert word in printed


def test_the_levels_are_listed_in_order() -> None:
    assert tuple(re.findall(r"^\| `(\w+)` \| ", PAGE.read_text(encoding="utf-8"), re.MULTILINE))[: len(LEVELS)] == LEVELS
