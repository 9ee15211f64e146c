"""The README does what it says: each example runs as it stands, and each command stands there once."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("source", EXAMPLES, ids=["loop", "functions", "ahead of time", "inspection"])
def test_example_runs(source: str, tmp_path: Path) -> None:
    (tmp_path / "example.py").write_text(source, encoding="utf-8")
    ran = subprocess.run([sys.executable, "-W", "error", "example.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("name", ["demo", "test"])
def test_command_stands_once(name: str) -> None:
    (line,) = re.findall(rf"^<!-- command: {name} -->\n```sh\n(.+)\n```$", README, re.MULTILINE)
    assert README.count(line) == 1


def test_examples_show_every_door() -> None:
    text = "\n".join(EXAMPLES)
    assert [word for word in ("backward()", "rustorch.jit(", "aot.export(", "rustorch.inspect(") if word not in text] == []
