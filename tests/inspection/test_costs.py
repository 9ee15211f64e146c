"""Costs against counts by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import rustorch.ops  # noqa: F401  registers the ops
from rustorch.inspection import Inspection
from rustorch.inspection.costs import Cost, node_cost
from rustorch.ir.builder import Builder
from rustorch.ir.dtypes import bool_, f32, f64, i64
from rustorch.ir.op import REGISTRY, SameName, Trait
from rustorch.ir.types import TensorType

F, D, I, B = f32[3, 4], f64[3, 4], i64[3, 4], bool_[3, 4]

UNARY = [(name, Cost(12, 0, 0, 48, 48)) for name in ("neg", "abs", "sqrt", "floor", "ceil", "round_even", "square", "relu", "reciprocal")]
ELEMENTARY = [(name, Cost(0, 12, 0, 48, 48)) for name in ("exp", "expm1", "log", "log1p", "sin", "cos", "tanh", "sigmoid")]
BINARY = [(name, Cost(12, 0, 0, 96, 48)) for name in ("add", "sub", "mul", "div", "minimum", "maximum")]
COMPARISONS = [(name, Cost(12, 0, 0, 96, 12)) for name in ("lt", "le", "gt", "ge", "eq", "ne")]


def cost_of(make: Callable[[Builder, list[Any]], Any], *types: TensorType) -> Cost:
    b = Builder()
    result = make(b, [b.input(t) for t in types])
    node = b.producer(result)
    assert node is not None
    return node_cost(node)


@pytest.mark.parametrize(("name", "expected"), UNARY + ELEMENTARY)
def test_elementwise_of_one(name: str, expected: Cost) -> None:
    assert cost_of(lambda b, v: getattr(b, name)(v[0]), F) == expected


@pytest.mark.parametrize(("name", "expected"), [*BINARY, *COMPARISONS])
def test_elementwise_of_two(name: str, expected: Cost) -> None:
    assert cost_of(lambda b, v: getattr(b, name)(v[0], v[1]), F, F) == expected


CASES: dict[str, tuple[Callable[[Builder, list[Any]], Any], tuple[TensorType, ...], Cost]] = {
    "fma is two": (lambda b, v: b.fma(*v), (F, F, F), Cost(24, 0, 0, 144, 48)),
    "an operand that comes twice is read once": (lambda b, v: b.mul(v[0], v[0]), (F,), Cost(12, 0, 0, 48, 48)),
    "pow": (lambda b, v: b.pow(*v), (F, F), Cost(0, 12, 0, 96, 48)),
    "float64": (lambda b, v: b.add(*v), (D, D), Cost(12, 0, 0, 192, 96)),
    "integers": (lambda b, v: b.add(*v), (I, I), Cost(0, 0, 12, 192, 96)),
    "bools": (lambda b, v: b.and_(*v), (B, B), Cost(0, 0, 12, 24, 12)),
    "select moves bits": (lambda b, v: b.select(*v), (B, F, F), Cost(0, 0, 0, 108, 48)),
    "convert moves bits": (lambda b, v: b.convert(v[0], dtype=f64), (F,), Cost(0, 0, 0, 48, 96)),
    "logaddexp costs its definition": (
        # seven operations, comparing included, and two functions
        lambda b, v: b.logaddexp(v[0], v[0]), (F,), Cost(84, 24, 0, 48, 48),
    ),
    "sum of all": (lambda b, v: b.reduce_sum(v[0], axes=(0, 1)), (F,), Cost(11, 0, 0, 48, 4)),
    "sum of rows": (lambda b, v: b.reduce_sum(v[0], axes=(1,)), (F,), Cost(9, 0, 0, 48, 12)),
    "maximum of columns": (lambda b, v: b.reduce_max(v[0], axes=(0,)), (F,), Cost(8, 0, 0, 48, 16)),
    "sum of integers": (lambda b, v: b.reduce_sum(v[0], axes=(0,)), (I,), Cost(0, 0, 8, 96, 32)),
    "transpose": (lambda b, v: b.transpose(v[0], perm=(1, 0)), (F,), Cost(0, 0, 0, 48, 48)),
    "broadcast": (lambda b, v: b.broadcast_to(v[0], shape=(5, 3, 4), dims=(1, 2)), (F,), Cost(0, 0, 0, 48, 240)),
    "matrix product": (
        lambda b, v: b.dot_general(*v, contract=((1,), (0,)), batch=((), ())), (f32[5, 6], f32[6, 7]), Cost(420, 0, 0, 288, 140),
    ),
    "batch of products": (
        lambda b, v: b.dot_general(*v, contract=((2,), (1,)), batch=((0,), (0,))), (f32[2, 5, 6], f32[2, 6, 7]), Cost(840, 0, 0, 576, 280),
    ),
    "gather reads what is chosen": (lambda b, v: b.gather(*v, axis=0), (f32[100, 4], i64[3, 4]), Cost(0, 0, 0, 48 + 96, 48)),
    "scatter_add": (lambda b, v: b.scatter_add(*v, axis=0), (f32[100, 4], i64[3, 4], F), Cost(12, 0, 0, 1600 + 96 + 48, 1600)),
    "iota": (lambda b, v: b.iota(type=F, axis=0), (), Cost(0, 0, 0, 0, 48)),
    "a symbolic size": (
        lambda b, v: b.mul(v[0], v[0]), (f32["n"],), Cost(f32["n"].size, 0, 0, f32["n"].size * 4, f32["n"].size * 4),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_counts_by_hand(case: str) -> None:
    make, types, expected = CASES[case]
    assert cost_of(make, *types) == expected


def test_every_elementwise_op_of_floats_has_a_count() -> None:
    """An op that computes on floats is not free by mistake."""
    counted = 0
    free = {"convert", "bitcast", "select", "copysign", "detach", "logical_not", "logical_and", "logical_or", "logical_xor"}
    for op in REGISTRY:
        if not op.has(Trait.ELEMENTWISE) or not isinstance(op.lower, SameName) or op.name in free:
            continue
        for type_ in (F, B if op.name in ("and", "or", "xor", "not") else I):
            try:
                cost = cost_of(lambda b, v: getattr(b, op.name)(*v), *[type_] * (op.operands or 1))  # noqa: B023
            except TypeError:
                continue  # not for this element type
            assert cost.flops + cost.transcendental + cost.integer > 0, op.name
            counted += 1
    assert counted > 30


# --- Kernels ------------------------------------------------------------------------------------------------------------


def kernel_of(make: Callable[[Builder, list[Any]], list[Any]], *types: TensorType) -> Cost:
    """The cost of the only step of a graph."""
    b = Builder()
    inputs = [b.input(t) for t in types]
    (kernel,) = Inspection.of_graph(b.build(make(b, inputs), "f")).kernels
    return kernel.cost


def test_values_in_registers_cost_no_bytes() -> None:
    assert kernel_of(lambda b, v: [b.exp(b.mul(v[0], v[1]))], F, F) == Cost(12, 12, 0, 96, 48)


def test_a_broadcast_operand_is_read_once() -> None:
    cost = kernel_of(lambda b, v: [b.add(v[0], b.broadcast_to(v[1], shape=(3, 4), dims=(1,)))], F, f32[4])
    assert cost == Cost(12, 0, 0, 48 + 16, 48)


def test_of_a_slice_only_the_part_is_read() -> None:
    def tail(b: Builder, v: list[Any]) -> list[Any]:
        return [b.exp(b.slice(v[0], starts=(90,), limits=(100,), strides=(1,)))]

    assert kernel_of(tail, f32[100]) == Cost(0, 10, 0, 40, 40)


def test_overlapping_slices_are_read_once() -> None:
    def differences(b: Builder, v: list[Any]) -> list[Any]:
        ahead = b.slice(v[0], starts=(1,), limits=(100,), strides=(1,))
        behind = b.slice(v[0], starts=(0,), limits=(99,), strides=(1,))
        return [b.sub(ahead, behind)]

    assert kernel_of(differences, f32[100]) == Cost(99, 0, 0, 400, 396)


def test_fusion_is_what_saves_bytes() -> None:
    b = Builder()
    x = b.input(F)
    seen = Inspection.of_graph(b.build([b.exp(b.sin(b.exp(x)))], "f"))
    assert seen.cost == Cost(0, 36, 0, 48, 48)
    assert seen.unfused_cost == Cost(0, 36, 0, 144, 144)
