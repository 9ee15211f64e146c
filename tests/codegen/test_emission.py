"""Native code as text: vectors on every main loop, nothing called, no symbol left open."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pytest

from rustorch.codegen.emit_llvm import _LOOP, ATTRIBUTES, INSTRUCTIONS, literal
from rustorch.codegen.generate import Generated, merge_modules
from rustorch.ir.builder import Builder
from rustorch.ir.dims import symbol
from rustorch.ir.dtypes import bool_, f32, f64, i32, i64
from rustorch.ir.graph import Graph, Payload
from rustorch.ir.op import REGISTRY, Trait
from rustorch.ir.types import DType, VectorType
from rustorch.runtime.elf import defined_symbols, undefined_symbols
from tests.codegen.execution import generated
from tests.codegen.networks import mlp_gradient, softmax
from tests.codegen.random_kernels import kernel_case

LEVELS = ("v2", "v3", "v4")
REGISTER = {"v2": "xmm", "v3": "ymm", "v4": "zmm"}
WIDTH = {"v2": 4, "v3": 8, "v4": 16}


def functions(code: Generated) -> Iterator[str]:
    """LLVM text of each kernel."""
    yield from re.findall(r"^define internal void @test\.k\d+\(.*?^}", code.llvm, re.S | re.M)


def inner_loops(assembly: str) -> list[str]:
    """Bodies of loops without a label inside: from a label to the jump back to it."""
    return [body for _, body in re.findall(r"^(\.LBB\w+):\n((?:(?!\.LBB)[^\n]*\n)*?)\tj\w+\t\1$", assembly, re.M)]


def line_graph(dtype: DType = f32, size: int = 1000) -> Graph:
    """x * 2 + 1."""
    b = Builder()
    x = b.input(dtype[size], "x")
    return b.build([b.add(b.mul(x, 2), 1)], "line")


# --- Vectors ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", LEVELS)
def test_main_loops_work_on_vectors(level: str) -> None:
    """Every kernel with a contiguous inner axis of some length loads and stores whole vectors without a mask."""
    lanes = WIDTH[level]
    b = Builder()
    x, v = b.input(f32[50, 1000], "x"), b.input(f32[1000], "v")
    row_peak = b.reduce_max(x, axes=(1,))
    y = b.mul(b.add(x, b.broadcast_to(v, shape=(50, 1000), dims=(1,))), b.broadcast_to(row_peak, shape=(50, 1000), dims=(0,)))
    code = generated(b.build([y, b.reduce_sum(x, axes=(0,)), b.exp(v), b.reduce_sum(v, axes=(0,))]), level)
    found = list(functions(code))
    assert len(found) >= 3
    for text in found:
        assert re.search(rf"load <{lanes} x float>, ptr", text), text
        assert re.search(r"loop\d+:", text)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("dtype", "name"), [(f32, "float"), (f64, "double"), (i32, "i32"), (i64, "i64")], ids=str)
def test_vectors_fill_a_register(level: str, dtype: DType, name: str) -> None:
    lanes = WIDTH[level] * 32 // dtype.bits
    (text,) = functions(generated(line_graph(dtype), level))
    assert re.search(rf"load <{lanes} x {name}>", text)
    assert re.search(rf"store <{lanes} x {name}>", text)


@pytest.mark.parametrize("level", LEVELS)
def test_symbolic_sizes_have_vector_loops_and_masked_tails(level: str) -> None:
    b = Builder()
    x = b.input(f32[symbol("n")], "x")
    (text,) = functions(generated(b.build([b.mul(x, 2.0)]), level))
    assert f"load <{WIDTH[level]} x float>, ptr" in text
    assert f"@llvm.masked.store.v{WIDTH[level]}f32" in text


def test_small_axes_use_small_vectors() -> None:
    (text,) = functions(generated(line_graph(size=3), "v4"))
    assert "<4 x float>" in text
    assert "<8 x float>" not in text


# --- Assembly -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", LEVELS)
def test_the_loop_of_a_line_is_tight(level: str) -> None:
    """4 vectors a turn; besides the count, its comparison and the jump nothing but packed instructions on full registers."""
    (body,) = inner_loops(generated(line_graph(), level).assembly())
    lines = [line.strip() for line in body.strip().splitlines() if not line.strip().startswith(".")]
    packed = [line for line in lines if REGISTER[level] in line]
    assert len(packed) == (4 * 3 if level != "v2" else 4 * 4), body
    assert all(re.match(r"v?(movups|movaps|addps|mulps|fmadd\d+ps)\b", line) for line in packed), body
    rest = [line.split()[0] for line in lines if line not in packed]
    assert rest == ["addq", "cmpq"], body


def test_the_loop_of_a_sum_has_four_accumulators() -> None:
    b = Builder()
    x = b.input(f32[4096], "x")
    (body,) = inner_loops(generated(b.build([b.reduce_sum(x, axes=(0,))]), "v3").assembly())
    adds = re.findall(r"vaddps\t\S+, (%ymm\d+), (%ymm\d+)", body)
    assert len(adds) == 4
    assert len({target for _, target in adds}) == 4


@pytest.mark.parametrize("level", LEVELS)
def test_nothing_is_called_but_kernels_and_products(level: str) -> None:
    for graph in (softmax(8, 100), mlp_gradient(2), kernel_case(3, nodes=40).graph, kernel_case(4, nodes=40, symbolic=True).graph):
        for name in re.findall(r"\tcallq\t(\S+)", generated(graph, level).assembly()):
            assert re.match(r"test\.k\d+(\.run)?$|test\.rt_gemm_f\d+_v\d(\.run)?$|rt_gemm|\*", name), name


def test_levels_without_fma_have_none() -> None:
    b = Builder()
    x, y = b.input(f32[100], "x"), b.input(f32[100], "y")
    graph = b.build([b.exp(b.add(b.mul(x, y), x))])
    assert "llvm.fma" not in generated(graph, "v2").llvm
    assert "llvm.fma" in generated(graph, "v3").llvm


def test_a_single_index_is_made_safe_before_it_is_used() -> None:
    """A lone load has no mask: it reads element 0 where the index is outside, and its result is dropped."""
    b = Builder()
    x, i = b.input(f32[5], "x"), b.input(i64[1], "i")
    (text,) = functions(generated(b.build([b.gather(x, i, axis=0)])))
    safe = re.search(r"(%\w+) = select i1 (%\w+), i64 %\w+, i64 0\n", text)
    assert safe is not None
    assert re.search(rf"(%\w+) = getelementptr float, ptr %p\d, i64 {safe[1]}\n", text)
    assert re.search(rf"select i1 {safe[2]}, float %\w+, float 0x0000000000000000\n", text)


# --- Objects --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", LEVELS)
def test_objects_need_nothing_but_products(level: str) -> None:
    """No libm, no memcpy, no stack probes: whatever random graphs contain."""
    for seed in range(12):
        code = generated(kernel_case(seed, nodes=40, symbolic=seed % 2 == 1).graph, level)
        artifact = code.artifact()
        assert sorted(undefined_symbols(artifact.object)) == sorted(artifact.requires)
        assert defined_symbols(artifact.object) == ["test"]


def test_every_function_carries_the_attributes() -> None:
    for line in generated(mlp_gradient(2)).llvm.splitlines():
        if line.startswith("define"):
            assert ATTRIBUTES in line


def test_equal_kernels_are_emitted_once() -> None:
    b = Builder()
    outputs = [b.tanh(b.input(f32[100], f"x{k}")) for k in range(5)]
    code = generated(b.build(outputs))
    assert len(list(functions(code))) == 1
    assert len(code.calls) == 5


def test_constant_arrays_are_read_only_memory() -> None:
    b = Builder()
    x = b.input(f32[3], "x")
    code = generated(b.build([b.add(x, b.const(np.array([1, 2, 3], np.float32), x))]))
    assert '= private unnamed_addr constant [12 x i8] c"\\00\\00\\80\\3f\\00\\00\\00\\40\\00\\00\\40\\40", align 64' in code.llvm


def test_merged_modules_declare_once() -> None:
    first = "declare float @f(float)\ndefine void @g() {\n}\n"
    second = "declare float @f(float)\ndeclare void @g()\ndefine void @h() {\n}\n"
    assert merge_modules([first, second]) == "declare float @f(float)\ndefine void @g() {\n}\n\ndefine void @h() {\n}\n"


# --- Instructions ---------------------------------------------------------------------------------------------------------------


def test_loop_ops_have_an_emission_each() -> None:
    assert {op.name for op in REGISTRY if op.has(Trait.LOOP)} | {"const"} == set(_LOOP)
    assert not set(_LOOP) & INSTRUCTIONS


@pytest.mark.parametrize(
    ("value", "type_", "text"),
    [
        (1.0, f32, "0x3FF0000000000000"),
        (0.1, f32, "0x3FB99999A0000000"),
        (0.1, f64, "0x3FB999999999999A"),
        (float("nan"), f32, "0x7FF8000000000000"),
        (float("-inf"), f64, "0xFFF0000000000000"),
        (-0.0, f32, "0x8000000000000000"),
        (-3, i64, "-3"),
        (True, bool_, "true"),
        (2.0, VectorType(f32, 8), "splat (float 0x4000000000000000)"),
    ],
)
def test_literals(value: float, type_: DType, text: str) -> None:
    assert literal(value, type_) == text


def test_payloads_are_frozen() -> None:
    array = np.arange(3)
    with pytest.raises(ValueError, match="read-only"):
        Payload(array).array[0] = 1
