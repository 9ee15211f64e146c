"""docs/ops.md is what the registry prints now."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from rustorch.ops.document import page
from tests.ops.checks import ops

PAGE = Path(__file__).parents[2] / "docs" / "ops.md"


def test_the_page_is_up_to_date(golden: Callable[[Path, str], None]) -> None:
    golden(PAGE, page())


def test_the_command_of_the_page_prints_it() -> None:
    printed = subprocess.run([sys.executable, "-m", "rustorch.ops.document"], capture_output=True, text=True, check=True).stdout
    assert printed == page()


def test_every_op_is_on_the_page_once() -> None:
    text = page()
    assert [op.name for op in ops() if text.count(f"### `{op.name}`\n") != 1] == []
