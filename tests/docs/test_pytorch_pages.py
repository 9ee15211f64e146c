"""The pages for people who know PyTorch: their snippets are sessions at the prompt, run from the top of each page to its end."""

from __future__ import annotations

import doctest
import re

import pytest

from rustorch.config import config
from tests.docs.test_aot import ROOT

PAGES = ("autograd.md", "from_pytorch.md", "differences_from_pytorch.md")


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.skipif(config.eager, reason="nothing is compiled")
def test_snippets(name: str) -> None:
    page = (ROOT / "docs" / name).read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert blocks
    assert all(block.startswith(">>> ") for block in blocks)
    session = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, name, name, 0)
    said: list[str] = []
    found = doctest.DocTestRunner(optionflags=doctest.IGNORE_EXCEPTION_DETAIL).run(session, out=said.append)
    assert found.attempted > 0
    assert found.failed == 0, "".join(said)


@pytest.mark.parametrize("name", PAGES)
def test_tables_have_whole_rows(name: str) -> None:
    page = (ROOT / "docs" / name).read_text(encoding="utf-8")
    for table in re.findall(r"(?:^\|.*\|$\n)+", page, re.MULTILINE):
        assert len({row.count("|") for row in table.strip().split("\n")}) == 1
