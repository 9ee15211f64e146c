"""docs/adding_an_op.md, followed literally: its op passes everything that an op is asked."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from rustorch.ir.op import REGISTRY, OpDef
from tests.ops import checks
from tests.ops.test_compiled import check_compiled

PAGE = Path(__file__).parents[2] / "docs" / "adding_an_op.md"


@pytest.fixture
def softsign(tmp_path: Path) -> Iterator[OpDef]:
    """The op of the page, for as long as a test runs."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    file = tmp_path / "softsign.py"
    file.write_text(code, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("softsign", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        yield module.softsign
    finally:
        REGISTRY._ops.pop("softsign", None)


def test_the_op_is_registered(softsign: OpDef) -> None:
    assert REGISTRY["softsign"] is softsign
    assert softsign in checks.ops()


@pytest.mark.parametrize(
    "check",
    [
        checks.check_reference,
        checks.check_text,
        checks.check_symbolic,
        checks.check_expansion,
        checks.check_lowering,
        checks.check_batch,
    ],
)
def test_it_passes_every_check_of_the_walk(softsign: OpDef, check: object) -> None:
    assert callable(check)
    for sample, arrays in checks.samples(softsign):
        check(softsign, sample, arrays)


@pytest.mark.parametrize("check", [checks.check_forward, checks.check_reverse, checks.check_second_order])
def test_its_derivatives_pass(softsign: OpDef, check: object) -> None:
    assert callable(check)
    smooth = checks.smooth(softsign)
    assert len(smooth) == 5
    for sample, arrays in smooth:
        check(softsign, sample, arrays)


def test_its_refusals_and_native_code_pass(softsign: OpDef) -> None:
    assert softsign.errors
    checks.check_refusals(softsign)
    check_compiled(softsign)
