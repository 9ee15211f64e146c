"""The examples, run as they stand."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.test_aot import ROOT, run

EXAMPLES = ROOT / "examples"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    return tmp_path / "examples"


def test_every_example_is_listed() -> None:
    listed = re.findall(r"^\| `([\w.]+)/?` \|", (EXAMPLES / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(path.name for path in EXAMPLES.iterdir() if path.name not in ("README.md", "__pycache__"))


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here")
def test_rosenbrock_in_c(folder: Path) -> None:
    place = folder / "rosenbrock_c"
    run(place, sys.executable, "-W", "error", "export.py")
    assert "cc -O2 -Irosenbrock main.c rosenbrock/rosenbrock.o" in (place / "export.py").read_text(encoding="utf-8")
    run(place, "cc", "-O2", "-std=c11", "-Wall", "-Wextra", "-Irosenbrock", "main.c", "rosenbrock/rosenbrock.o", "-lm", "-o", "main")
    last = run(place, "./main", "10").splitlines()[-1]
    value = re.search(r"value (\S+)", last)
    assert value is not None
    assert float(value[1]) < 1e-18


def test_minimize_with_scipy(folder: Path) -> None:
    pytest.importorskip("scipy")
    assert "CONVERGENCE" in run(folder, sys.executable, "-W", "error", "minimize_with_scipy.py")


@pytest.mark.slow
def test_digits_cnn(folder: Path) -> None:
    pytest.importorskip("sklearn")
    command = [sys.executable, "-W", "error", "digits_cnn.py"]  # on a busy machine it also says how long a compilation took
    around = {**os.environ, "PYTHONPATH": str(ROOT)}
    last = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, env=around).stdout.splitlines()[-1]
    share = re.search(r"([\d.]+)% of 449 right", last)
    assert share is not None
    assert float(share[1]) >= 98.5
