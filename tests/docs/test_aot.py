"""docs/aot.md: its snippets, run in their order."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rustorch.aot.exporter import DERIVATIVES
from rustorch.aot.load import host_level

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "aot.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^```(\S+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def run(folder: Path, *command: str, **environment: str) -> str:
    """What a command prints; it must succeed, and complain of nothing."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    around = {**os.environ, "PYTHONPATH": path, **environment}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=around)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


def snippet(language: str, number: int = 0) -> str:
    return [text for kind, text in SNIPPETS if kind == language][number]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the page's first snippet has exported its function."""
    place = tmp_path_factory.mktemp("aot")
    run(place, sys.executable, "-W", "error", "-c", snippet("python"))
    return place


def test_the_page_has_these_snippets() -> None:
    assert [kind for kind, _ in SNIPPETS] == ["python", "python", "text", "c", "sh", "c", "c++"]


def test_files_are_those_named(folder: Path) -> None:
    named = re.search(r"# a folder: (.*)", snippet("python"))
    assert named is not None
    assert sorted(path.name for path in (folder / "rosenbrock").iterdir()) == sorted(named[1].split())


def test_python(folder: Path) -> None:
    blocked = "import sys\nsys.modules['llvmlite'] = None\n"
    printed = run(folder, sys.executable, "-W", "error", "-c", blocked + snippet("python", 1))
    assert printed == snippet("text").replace("x86-64-v4", f"x86-64-{host_level()}")


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here")
def test_c(folder: Path) -> None:
    (folder / "main.c").write_text(snippet("c"), encoding="utf-8")
    for line in snippet("sh").splitlines():
        assert run(folder, "sh", "-c", line) == "4 -2 0\n"


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here")
def test_c_without_allocation(folder: Path) -> None:
    (folder / "product.c").write_text(snippet("c", 1), encoding="utf-8")
    run(folder, "cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-Irosenbrock", "-c", "product.c")


@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler here")
def test_cpp(folder: Path) -> None:
    (folder / "main.cpp").write_text(snippet("c++"), encoding="utf-8")
    objects = ("main.cpp", "rosenbrock/rosenbrock.o", "-pthread", "-o", "main_cpp")
    run(folder, "c++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-Irosenbrock", *objects)
    assert run(folder, "./main_cpp") == "-2 0\n"


def test_the_table_lists_every_kind() -> None:
    assert re.findall(r"^\| `(\w+)` \|", PAGE.partition("## From Python")[0], re.MULTILINE) == list(DERIVATIVES)
