"""Random graphs: native code, loops with functions and loops with their expansions all give what the references give."""

from __future__ import annotations

import numpy as np
import pytest

from rustorch.codegen.target import target
from rustorch.compiler import compile_graph
from rustorch.compiler.pipeline import imports
from rustorch.ir.builder import Builder
from rustorch.ir.dtypes import f32
from rustorch.ir.graph import Graph
from rustorch.ir.printer import to_text
from rustorch.ir.types import TensorType
from rustorch.ops import interpret
from rustorch.runtime.executable import Executable
from rustorch.runtime.loader import load
from tests.codegen.comparison import Array, assert_close, tolerance
from tests.codegen.execution import generated, run_plan, simplified
from tests.codegen.networks import mlp_gradient
from tests.codegen.random_kernels import Case, kernel_case
from tests.random_graphs import random_case

GROUPS = range(10)
"""Graphs are compiled in groups, so that a failure is found without a thousand test names."""


def inputs(graph: Graph) -> list[Array]:
    """Random arrays for a graph of known sizes."""
    rng = np.random.default_rng(0)
    types = [v.type for v in graph.inputs if isinstance(v.type, TensorType)]
    drawn = [rng.integers(0, 3, t.shape) if t.dtype.kind == "int" else rng.uniform(-1, 1, t.shape) for t in types]  # type: ignore[arg-type]
    return [np.asarray(a).astype(t.dtype.numpy) for a, t in zip(drawn, types, strict=True)]


def check(seed: int, case: Case) -> None:
    want = interpret(simplified(case.graph), case.arrays)
    got = compile_graph(case.graph).run(case.arrays)
    assert_close(got, want, tolerance(case.graph), f"kernel_case({seed})")


@pytest.mark.parametrize("group", GROUPS)
def test_compiled_is_interpreted(group: int) -> None:
    for seed in range(8 * group, 8 * group + 8):
        check(seed, kernel_case(seed, nodes=15 + seed % 26))


@pytest.mark.parametrize("group", GROUPS)
def test_compiled_is_interpreted_with_symbolic_sizes(group: int) -> None:
    for seed in range(1000 + 4 * group, 1000 + 4 * group + 4):
        check(seed, kernel_case(seed, nodes=15 + seed % 26, symbolic=True))


def test_compiled_is_interpreted_on_large_arrays() -> None:
    for seed in range(2000, 2012):
        check(seed, kernel_case(seed, nodes=20, largest=40_000))


def test_large_graphs() -> None:
    """Some hundred steps: long chains of kernels and concats, deep networks."""
    b = Builder()
    x = b.input(f32[5], "x")
    for k in range(150):
        x = b.concat(b.slice(b.mul(x, 0.9 + k / 1000), starts=(1,), limits=(5,), strides=(1,)), b.const(float(k), f32[1]), axis=0)
    chain = b.build([x], "chain")
    network = mlp_gradient(30, rows=3, inputs=4, hidden=4, classes=3)
    random = kernel_case(6000, nodes=500, largest=500)
    for graph, arrays in ((chain, inputs(chain)), (network, inputs(network)), (random.graph, random.arrays)):
        assert len(generated(graph).calls) > 50
        assert_close(compile_graph(graph).run(arrays), interpret(simplified(graph), arrays), tolerance(graph), graph.name)


def test_compiled_is_interpreted_on_special_values() -> None:
    """NaN, infinities and -0.0 go through; what `tests/random_graphs.py` makes of them has few roundings."""
    for seed in range(40):
        case = random_case(seed, nodes=20)
        got = compile_graph(case.graph).run(case.arrays)
        assert_close(got, interpret(simplified(case.graph), case.arrays), 1e-4, f"random_case({seed})")


@pytest.mark.parametrize("symbolic", [False, True])
def test_loops_are_the_references(symbolic: bool) -> None:
    """Fusion, lowering and the memory plan, without LLVM."""
    for seed in range(3000, 3025):
        case = kernel_case(seed, nodes=20, symbolic=symbolic, largest=200)
        code = generated(case.graph, "v2" if seed % 2 else "v4")
        want = interpret(code.graph, case.arrays)
        assert_close(run_plan(code, case.arrays), want, tolerance(case.graph), f"kernel_case({seed})\n{to_text(case.graph)}")


@pytest.mark.parametrize("level", ["v2", "v3"])
def test_expanded_kernels_are_the_kernels(level: str) -> None:
    """Functions written out as arithmetic, with and without fma."""
    for seed in range(4000, 4015):
        case = kernel_case(seed, nodes=20, largest=200)
        code = generated(case.graph, level)
        plain, expanded = run_plan(code, case.arrays), run_plan(code, case.arrays, expanded=True)
        assert_close(expanded, plain, tolerance(case.graph), f"kernel_case({seed})")


@pytest.mark.parametrize("level", ["v2", "v3", "v4"])
def test_every_level_gives_the_references(level: str) -> None:
    """Code for each level up to this machine's runs and is right."""
    if target(level).vector_bytes > target().vector_bytes:
        pytest.skip(f"this machine has no {level}")
    for seed in range(5000, 5008):
        case = kernel_case(seed, nodes=20)
        code = generated(case.graph, level)
        artifact = code.artifact()
        assert artifact.level == level
        run = Executable(artifact, load(artifact.object, [artifact.symbol], imports(code, target(level))))
        assert_close(run.run(case.arrays), interpret(code.graph, case.arrays), tolerance(case.graph), f"kernel_case({seed})")
