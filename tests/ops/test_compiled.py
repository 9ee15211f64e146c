"""Every op as native code gives its reference's numbers."""

from __future__ import annotations

import numpy as np
import pytest

import rustorch.ops  # noqa: F401  (registers the ops)
from rustorch.compiler import compile_graph
from rustorch.ir.builder import Builder
from rustorch.ir.graph import Value
from rustorch.ir.op import OpDef, Trait
from rustorch.ir.verifier import verify
from rustorch.ops import interpret
from tests.ops.checks import Array, assert_close, graph_of, ops, samples, type_of

ULPS = 4
"""Of elementwise ops, numbers below the normal range included: 1 for our functions, 1 for numpy's, 2 for compositions of them."""
ROUNDED_OFTEN = {"fma", "lgamma", "digamma", "polygamma"}
"""By the reference, so that results differ by more; `tests/codegen/test_vector_math.py` has better ones."""


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
    compiled = compile_graph(verify(b.build(outputs, op.name)))
    assert compiled.executable is not None, f"{op.name} was not compiled"
    actual = compiled.run(given)
    for label, got, want in zip(labels, actual, expected, strict=True):
        assert_close([got], [want], f"{op.name} {label}")
        if want.dtype.kind == "f" and op.has(Trait.ELEMENTWISE) and op.name not in ROUNDED_OFTEN:
            with np.errstate(invalid="ignore"):
                distance = np.where((got == want) | np.isnan(want), 0, np.abs(got - want) / np.spacing(np.abs(want)))
            assert distance.max(initial=0) <= ULPS, f"{op.name} {label}"


@pytest.mark.parametrize("op", ops(), ids=lambda op: op.name)
def test_compiled_is_the_reference(op: OpDef) -> None:
    check_compiled(op)
