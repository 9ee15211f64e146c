"""Graphs in MLIR's generic syntax, read by MLIR's own parser and verifier where it is installed."""

from __future__ import annotations

import shutil
import subprocess
from textwrap import dedent

import numpy as np
import pytest

from rustorch.autodiff.vjp import value_and_grad
from rustorch.ir.builder import Builder
from rustorch.ir.dtypes import bool_, f32, f64
from rustorch.ir.graph import Graph
from rustorch.ir.location import Location
from rustorch.ir.mlir import to_mlir
from rustorch.ir.parser import parse
from tests.ir.test_text import LOOP
from tests.random_graphs import random_case

TOOL = next(filter(None, map(shutil.which, ("mlir-opt", "mlir-opt-16", "mlir-opt-17", "mlir-opt-18", "mlir-opt-19"))), None)


def accepted(graph: Graph) -> str:
    """What MLIR makes of a graph, printed again."""
    assert TOOL is not None
    text = to_mlir(graph, locations=True)
    done = subprocess.run([TOOL, "--allow-unregistered-dialect", "--mlir-print-op-generic"], input=text, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stderr}\n{text}"
    return done.stdout


def constants() -> Graph:
    """Every kind of type, constant and attribute."""
    b = Builder()
    x = b.input(f32["n", 3], 'x"1')
    with b.at(Location("dir/file name.py", 3, 4, "f")):
        padded = b.mul(b.pad(x, low=(1, 0), high=(0, 0), value=float("-inf")), 1e30)
    arrays = [np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros((0, 3)), np.array([[True, False]])]
    types = [f32[2, 3], f64[0, 3], bool_[1, 2]]
    values = [b.const(a, t) for a, t in zip(arrays, types, strict=True)]
    cut = b.slice(padded, starts=(1, 0), limits=(padded.type.shape[0], 3), strides=(1, 1))
    return b.build([b.convert(cut, dtype=f64), b.const(float("nan"), f32[()]), *values], 'a "graph"')


def test_the_text() -> None:
    b = Builder()
    x = b.input(f32["n"], "x")
    expected = dedent("""\
        "builtin.module"() ({
          "func.func"() ({
          ^bb0(%x: tensor<?xf32, "n">):
            %0 = "rustorch.const"() {value = 2.0 : f32} : () -> (tensor<?xf32, "n">)
            %1 = "rustorch.mul"(%x, %0) : (tensor<?xf32, "n">, tensor<?xf32, "n">) -> (tensor<?xf32, "n">)
            %2 = "rustorch.reduce_sum"(%1) {axes = [0 : i64]} : (tensor<?xf32, "n">) -> (tensor<f32>)
            "func.return"(%2) : (tensor<f32>) -> ()
          }) {function_type = (tensor<?xf32, "n">) -> (tensor<f32>), sym_name = "loss"} : () -> ()
        }) : () -> ()
        """)
    assert expected == to_mlir(b.build([b.reduce_sum(b.mul(x, 2.0), axes=(0,))], "loss"))


@pytest.mark.skipif(TOOL is None, reason="mlir-opt is not installed")
class TestMlirReads:
    def test_constants_and_attributes(self) -> None:
        assert accepted(constants()).count('"rustorch.const"') == 5

    def test_loops(self) -> None:
        assert '"rustorch.for"' in accepted(parse(LOOP))

    @pytest.mark.parametrize("seed", range(4))
    def test_random_graphs(self, seed: int) -> None:
        graph = random_case(seed, smooth=True).graph
        joint = value_and_grad(graph, range(len(graph.inputs)))
        assert accepted(joint).count('"rustorch.') == len(joint.nodes)
