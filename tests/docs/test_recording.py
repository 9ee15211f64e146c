"""docs/recording.md: its snippet runs, and the limits that it names are those of the code."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from rustorch.frontend.recorder import LIMIT, WHOLE
from rustorch.frontend.sight import OFTEN
from rustorch.frontend.trie import EDGES, PROGRAMS

PAGE = (Path(__file__).parents[2] / "docs" / "recording.md").read_text(encoding="utf-8")


def test_the_snippet_runs() -> None:
    (code,) = re.findall(r"<!-- run -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    subprocess.run([sys.executable, "-c", code], check=True)  # in a process where nobody has multiplied by a number yet


def test_the_limits_are_those_of_the_code() -> None:
    text = " ".join(PAGE.split())
    assert f"at {LIMIT:,} values, or from {WHOLE:,} on" in text
    assert f"{EDGES:,} edges and {PROGRAMS:,} programs" in text
    assert OFTEN == 6
    assert "After six runs of compiled code" in text
