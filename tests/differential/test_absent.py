"""The list of PyTorch's names that are not here is what PyTorch and rustorch say now."""

from __future__ import annotations

from pathlib import Path

import pytest

import rustorch

pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore")]
pytest.importorskip("torch")


def test_the_list_is_up_to_date() -> None:
    from tests.differential.absent import text

    assert (Path(rustorch.__file__).parent / "ops" / "absent.md").read_text(encoding="utf-8") == text()
