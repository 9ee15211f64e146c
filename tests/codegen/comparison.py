"""How results of native code and of the loop interpreter are compared with the references."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rustorch.compiler import compile_graph
from rustorch.ir.dtypes import f32, from_numpy
from rustorch.ir.graph import Graph
from rustorch.ir.types import TensorType, element
from rustorch.ops import interpret
from tests.codegen.execution import simplified

Array = np.ndarray[Any, Any]

SINGLE, DOUBLE = 1e-4, 1e-11
"""Of the largest element: what other orders of summation and a few ulp an op grow to over some dozen ops that do not jump."""


def tolerance(graph: Graph) -> float:
    """For the outputs of a graph: that of its narrowest float."""
    values = [*graph.inputs, *(v for node in graph.nodes for v in node.results)]
    return SINGLE if any(element(v.type) is f32 for v in values) else DOUBLE


def assert_close(actual: Sequence[Array], expected: Sequence[Array], tolerance: float, what: str) -> None:
    """Equal types and shapes; integers and bools equal; floats within `tolerance` of the largest element."""
    assert len(actual) == len(expected), what
    for place, (got, want) in enumerate(zip(actual, expected, strict=True)):
        assert (got.dtype, got.shape) == (want.dtype, want.shape), f"{what}, output {place}"
        if want.dtype.kind == "f":
            scale = float(np.abs(want[np.isfinite(want)]).max(initial=0.0))
            np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * scale, err_msg=f"{what}, output {place}")
        else:
            np.testing.assert_array_equal(got, want, err_msg=f"{what}, output {place}")


def check(graph: Graph, *arrays: Array) -> list[Array]:
    """Compile a graph, compare its outputs with the references on these inputs, and give them."""
    compiled = compile_graph(graph)
    assert compiled.executable is not None, "the graph was not compiled"
    got = compiled.run(arrays)
    assert_close(got, interpret(simplified(graph), arrays), tolerance(graph), graph.name)
    return got


def type_of(array: Array) -> TensorType:
    """The static type of an array."""
    return TensorType(from_numpy(array.dtype), array.shape)


def same_bits(got: Array, want: Array) -> bool:
    """Whether two arrays hold the same bytes."""
    return (got.dtype, got.shape) == (want.dtype, want.shape) and got.tobytes() == want.tobytes()
