"""The stub of elementwise functions says what the registry says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import rustorch
from rustorch.frontend import generated
from rustorch.frontend.stub import stub_text


def test_the_stub_is_up_to_date(golden: Callable[[Path, str], None]) -> None:
    golden(Path(generated.__file__).with_suffix(".pyi"), stub_text())


def test_public_names_exist() -> None:
    assert [name for name in rustorch.__all__ if not hasattr(rustorch, name)] == []
