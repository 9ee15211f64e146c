"""What every test runs under: each graph verified after each pass, and goldens that are rewritten only with `--bless`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

os.environ["RUSTORCH_VERIFY"] = "1"  # read once, when rustorch is imported: so before any test module imports it
os.environ["RUSTORCH_CACHE"] = "0"  # so that what tests count is compiled
os.environ.setdefault("RUSTORCH_SIGHT", "1")  # so that what tests look at once is our code

import pytest
from hypothesis import settings

# Compiling inside an example takes as long as it takes; a failing example prints the line that reproduces it.
settings.register_profile("rustorch", deadline=None, print_blob=True)
settings.load_profile("rustorch")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bless", action="store_true", help="rewrite golden texts with what the compiler prints now")


@pytest.fixture
def bless(request: pytest.FixtureRequest) -> bool:
    """Whether golden texts are to be rewritten."""
    return bool(request.config.getoption("--bless"))


@pytest.fixture
def golden(bless: bool) -> Callable[[Path, str], None]:
    """A function that compares a text with the golden file at a path, or rewrites the file under `--bless`."""

    def compare(path: Path, text: str) -> None:
        if bless:
            path.write_text(text, encoding="utf-8")
        expected = path.read_text(encoding="utf-8") if path.exists() else ""
        assert expected == text, f"{path.name} differs from what is printed now; read the difference, then run pytest --bless"

    return compare
