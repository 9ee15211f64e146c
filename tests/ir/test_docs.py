"""The examples of docs/ir.md and of the passes' docstrings are graphs, and what they say becomes of them is true."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

import rustorch.ops.loop  # noqa: F401  registers the loop dialect
from rustorch.autodiff import jvp, vjp
from rustorch.ir.graph import Graph
from rustorch.ir.parser import parse
from rustorch.ir.printer import to_text
from rustorch.ir.verifier import verify
from rustorch.passes import canonicalize, dead_code, fold, inline, simplify, stabilize

PAGE = (Path(__file__).parents[2] / "docs" / "ir.md").read_text(encoding="utf-8")
EXAMPLES = [text for text in re.findall(r"```\n(.*?)```", PAGE, re.DOTALL) if text.startswith("func")]


def test_the_page_has_examples() -> None:
    assert len(EXAMPLES) == PAGE.count("```") // 2 >= 7


@pytest.mark.parametrize("text", EXAMPLES, ids=lambda text: text.split("(")[0])
def test_examples_of_the_page(text: str) -> None:
    assert to_text(verify(parse(text))) == text


RUN: dict[str, Callable[[Graph], Graph]] = {
    str(module.__doc__): run
    for module, run in (
        (canonicalize, canonicalize.run),
        (dead_code, dead_code.run),
        (fold, fold.run),
        (inline, inline.run),
        (simplify, simplify.run),
        (stabilize, stabilize.run),
        (vjp, lambda graph: vjp.value_and_grad(graph, [0])),
        (jvp, lambda graph: jvp.jvp(graph, [0])),
    )
}


@pytest.mark.parametrize("doc", RUN, ids=lambda doc: doc.split(":")[0].split(",")[0])
def test_examples_of_docstrings(doc: str) -> None:
    example = dedent("\n".join(line for line in doc.splitlines() if line.startswith("    ")) + "\n")
    before, _, after = example.partition("// becomes\n")
    assert to_text(RUN[doc](parse(before))) == after
