"""A record that leaves a meaning unsaid is refused, and the vocabulary is the one that the other rooms count on."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from typing import Any

import pytest

import rustorch.ops  # noqa: F401
from rustorch.errors import ArgumentError, CompilerBug, DTypeError, ShapeError
from rustorch.ir.builder import Builder
from rustorch.ir.dims import product
from rustorch.ir.dtypes import f32, f64, i32
from rustorch.ir.op import REGISTRY, Expanded, Internal, Never, OpDef, Public, Registry, SameName, Trait, Zero
from rustorch.ir.types import VectorType
from rustorch.ops.family import sizes_of
from tests.ops.checks import graph_of, ops, samples

VOCABULARY = {
    "arithmetic": "add sub mul div neg abs sign minimum maximum pow fma copysign remainder floor_div",
    "functions": "exp expm1 log log1p sqrt rsqrt tanh sigmoid sin cos floor ceil round_even softplus",
    "logic": "lt le gt ge eq ne select and or xor not shl shr_logical shr_arith",
    "types": "convert bitcast const iota detach",
    "reductions": "reduce_sum reduce_prod reduce_max reduce_min reduce_and reduce_or argmax argmin",
    "movement": "reshape transpose broadcast_to slice pad concat flip",
    "the rest": "dot_general gather scatter_add random_bits",
}
OPERATORS = "add sub mul truediv floordiv mod pow neg abs invert and or xor lshift rshift lt le gt ge eq ne"
NEED_AN_AXIS = {
    "sort", "cumsum", "cumprod", "cummax", "cummin", "logcumsumexp", "recurrence", "iota", "concat", "conv_general",
    "window_sum", "window_place", "window_max", "cholesky", "solve", "solve_triangular", "inv", "cofactor", "lu_factor",
    "row_order", "qr", "eigh", "svd", "pinv", "matrix_exp", "gather", "scatter", "scatter_add",
}  # fmt: skip


def record(**changes: Any) -> OpDef:
    """A complete record, but for the changes; `...` leaves a field out."""
    complete: dict[str, Any] = {
        "name": "twice",
        "doc": "2 x.",
        "public": Internal("a test"),
        "operands": 1,
        "infer": lambda x: x,
        "reference": lambda x: x + x,
        "derivative": Zero("a test"),
        "batch": None,
        "lower": SameName(),
        "traits": frozenset({Trait.PURE}),
    }
    complete.update(changes)
    return OpDef(**{key: value for key, value in complete.items() if value is not ...})


def test_a_complete_record_is_taken() -> None:
    assert record().name == "twice"


@pytest.mark.parametrize("field", ["name", "doc", "public", "operands", "infer", "reference", "derivative", "batch", "lower", "traits"])
def test_a_record_without_a_field_is_refused(field: str) -> None:
    with pytest.raises(TypeError, match=field):
        record(**{field: ...})


def test_every_field_without_default_is_in_the_test_above() -> None:
    given = [f for f in fields(OpDef) if f.init]
    required = [f.name for f in given if repr(f.default).startswith("<dataclasses._MISSING") and f.default_factory is f.default]
    assert required == ["name", "doc", "public", "operands", "infer", "reference", "derivative", "batch", "lower", "traits"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"doc": ""}, "a doc"),
        ({"name": "not a name"}, "identifier"),
        ({"derivative": Expanded()}, "no expansion"),
        ({"lower": Never("nothing to do")}, "neither lowered nor expanded"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(CompilerBug, match=words):
        record(**changes)


def test_a_name_is_defined_once() -> None:
    registry = Registry()
    registry.register(record())
    with pytest.raises(CompilerBug, match="defined twice"):
        registry.register(record())


def test_the_vocabulary() -> None:
    assert [name for names in VOCABULARY.values() for name in names.split() if name not in REGISTRY] == []


def test_importing_the_package_registers_everything() -> None:
    script = "import rustorch.ops; from rustorch.ir.op import REGISTRY; print(*REGISTRY.names())"
    names = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert {op.name for op in ops()} - {*names} == set()


@pytest.mark.parametrize("op", ops(), ids=lambda op: op.name)
def test_samples_cover_the_sizes_at_which_code_differs(op: OpDef) -> None:
    """Somewhere among operands and results of every op: nothing, one element, more than a vector register; 0-d where it can."""
    graphs = [graph_of(op, arrays, sample.attrs) for sample, arrays in samples(op)]
    shapes = {sizes_of(v.type) for graph in graphs for v in (*graph.inputs, *graph.outputs)}
    sizes = {product(shape) for shape in shapes}
    assert {0, 1} <= sizes
    assert max(size for size in sizes if isinstance(size, int)) > 16
    assert () in shapes or op.name in NEED_AN_AXIS


def test_public_names_are_given_once() -> None:
    names = [name for op in ops() if isinstance(op.public, Public) for name in op.public.names]
    operators = [op.public.operator for op in ops() if isinstance(op.public, Public) and op.public.operator]
    assert len(names) == len(set(names))
    assert len(operators) == len(set(operators))
    assert {*OPERATORS.split()} == {*operators}


def test_public_arguments_are_the_operands() -> None:
    for op in ops():
        if isinstance(op.public, Public):
            assert len(op.public.arguments) == op.operands
            assert op.public.promote in ("arithmetic", "float", "none")


@pytest.mark.parametrize("type_", [f32, VectorType(f32, 8), f32[3, "n"]])
def test_elementwise_ops_serve_elements_vectors_and_tensors(type_: Any) -> None:
    b = Builder()
    x = b.input(type_)
    y = b.select(b.lt(x, 0.0), b.convert(b.convert(x, dtype=f64), dtype=f32), b.exp(x))
    assert y.type is type_


def test_messages_say_what_was_found_and_what_to_do() -> None:
    with pytest.raises(ShapeError) as shapes:
        REGISTRY["add"].infer(f32[2, 3], f32["n"])
    assert str(shapes.value) == "add: the operands' shapes differ\n  found f32[2, 3] and f32[n]\n  broadcast_to one shape first"
    with pytest.raises(DTypeError) as types:
        REGISTRY["tanh"].infer(i32[3])
    assert str(types.value) == ("tanh does not take element type i32\n  found i32[3]\n  convert the operand to one of: f32, f64")
    with pytest.raises(ShapeError) as product:
        REGISTRY["dot_general"].infer(f32[2, 3], f32[5, 3], contract=((1,), (0,)), batch=((), ()))
    assert str(product.value) == (
        "dot_general: paired axes must have equal lengths\n"
        "  contract pairs axis 1 of f32[2, 3] (length 3) with axis 0 of f32[5, 3] (length 5)"
    )


def test_wrong_numbers_of_operands_and_names_of_attributes_are_refused() -> None:
    with pytest.raises(ArgumentError, match="takes 2 operands"):
        REGISTRY["add"].infer(f32[3])
    with pytest.raises(ArgumentError, match="takes the attributes"):
        REGISTRY["add"].infer(f32[3], f32[3], alpha=2)
    with pytest.raises(ArgumentError, match="takes the attributes"):
        REGISTRY["reduce_sum"].infer(f32[3])
