"""Every op as native code gives its reference's numbers."""

from __future__ import annotations

import pytest

import rustorch.ops  # noqa: F401  (registers the ops)
from rustorch.compiler import compile_graph
from rustorch.ir.builder import Builder
from rustorch.ir.graph import Value
from rustorch.ir.op import OpDef
from rustorch.ir.verifier import verify
from rustorch.ops import interpret
from tests.ops.checks import Array, assert_close, graph_of, ops, samples, type_of


def check_compiled(op: OpDef) -> None:
    """All samples of an op in one compiled graph give the reference's numbers."""
    b = Builder()
    given: list[Array] = []
    outputs: list[Value] = []
    labels: list[str] = []
    expected: list[Array] = []
    for sample, arrays in samples(op):
        results = b.emit(op, [b.input(type_of(a)) for a in arrays], sample.attrs)
        given += arrays
        outputs += results
        labels += [sample.label] * len(results)
        expected += interpret(graph_of(op, arrays, sample.attrs), arrays)
    actual = compile_graph(verify(b.build(outputs, op.name))).run(given)
    for label, got, want in zip(labels, actual, expected, strict=True):
        assert_close([got], [want], f"{op.name} {label}")


@pytest.mark.parametrize("op", ops(), ids=lambda op: op.name)
def test_compiled_is_the_reference(op: OpDef) -> None:
    check_compiled(op)
