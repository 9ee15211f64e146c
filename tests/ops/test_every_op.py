"""A walk over the registry: every op, asked everything in `checks`. A new op needs no line here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import rustorch.ops  # noqa: F401  (registers the ops)
from rustorch.ir.op import Linear, Multilinear, OpDef
from tests.ops import checks

OPS = checks.ops()
WITH_SHAPES_IN_ATTRIBUTES = {"shape", "limits", "type"}

every_op = pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)


def over_samples(check: Callable[..., None], op: OpDef) -> None:
    for sample, arrays in checks.samples(op):
        check(op, sample, arrays)


@every_op
def test_reference_gives_the_inferred_type(op: OpDef) -> None:
    over_samples(checks.check_reference, op)


@every_op
def test_text_reads_back(op: OpDef) -> None:
    over_samples(checks.check_text, op)


@pytest.mark.parametrize(
    "op", [op for op in OPS if op.operands != 0 and not WITH_SHAPES_IN_ATTRIBUTES & {*op.attributes}], ids=lambda op: op.name
)
def test_symbolic_sizes(op: OpDef) -> None:
    over_samples(checks.check_symbolic, op)


@every_op
def test_refusals(op: OpDef) -> None:
    assert op.errors or (not op.attributes and op.operands == 1) or op.name == "detach"
    checks.check_refusals(op)


@pytest.mark.parametrize("op", [op for op in OPS if op.expand], ids=lambda op: op.name)
def test_expansion_is_the_reference(op: OpDef) -> None:
    over_samples(checks.check_expansion, op)


@every_op
def test_lowering_agrees_with_the_reference(op: OpDef) -> None:
    over_samples(checks.check_lowering, op)


@every_op
def test_batch_is_a_loop(op: OpDef) -> None:
    over_samples(checks.check_batch, op)


SMOOTH = [op for op in OPS if checks.smooth(op)]


@pytest.mark.parametrize("check", [checks.check_forward, checks.check_reverse, checks.check_second_order])
@pytest.mark.parametrize("op", SMOOTH, ids=lambda op: op.name)
def test_derivatives(op: OpDef, check: Callable[..., Any]) -> None:
    for sample, arrays in checks.smooth(op):
        check(op, sample, arrays)


@pytest.mark.parametrize("op", [op for op in SMOOTH if isinstance(op.derivative, (Linear, Multilinear))], ids=lambda op: op.name)
def test_transposes(op: OpDef) -> None:
    for sample, arrays in checks.smooth(op):
        checks.check_transposes(op, sample, arrays)
