"""Ill-formed graphs, as no builder would make them, are refused with the node and the user's line."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

import rustorch.ops.loop  # noqa: F401  registers the loop dialect
from rustorch.errors import CompilerBug
from rustorch.ir.builder import Builder
from rustorch.ir.dtypes import f32, i64
from rustorch.ir.graph import Graph, Node, Value
from rustorch.ir.location import Location
from rustorch.ir.op import REGISTRY
from rustorch.ir.parser import parse
from rustorch.ir.verifier import verify
from tests.ir.test_text import LOOP

HERE = Location("/home/me/demo.py", 3, 1, "f")


def node(op: str, operands: tuple[Value, ...], *results: Value) -> Node:
    return Node(REGISTRY[op], operands, {}, results, (), HERE)


def unordered() -> Graph:
    x, y, z = Value(f32[3], "x"), Value(f32[3], "y"), Value(f32[3], "z")
    return Graph("f", (x,), (node("exp", (y,), z), node("neg", (x,), y)), (z,))


def defined_twice() -> Graph:
    x, y = Value(f32[3], "x"), Value(f32[3], "y")
    return Graph("f", (x,), (node("exp", (x,), y), node("neg", (x,), y)), (y,))


def wrong_type() -> Graph:
    x, y = Value(f32[3], "x"), Value(f32[4], "y")
    return Graph("f", (x,), (node("exp", (x,), y),), (y,))


def refused_operands() -> Graph:
    x, y, z = Value(f32[3], "x"), Value(f32[4], "y"), Value(f32[3], "z")
    return Graph("f", (x, y), (node("add", (x, y), z),), (z,))


def missing_operand() -> Graph:
    x, y = Value(f32[3], "x"), Value(f32[3], "y")
    return Graph("f", (x,), (node("add", (x,), y),), (y,))


def unregistered() -> Graph:
    x, y = Value(f32[3], "x"), Value(f32[3], "y")
    return Graph("f", (x,), (Node(dataclasses.replace(REGISTRY["exp"]), (x,), {}, (y,), (), HERE),), (y,))


def undefined_output() -> Graph:
    return Graph("f", (), (), (Value(f32[3], "y"),))


def loop_op_among_tensors() -> Graph:
    x, i, y = Value(f32[3], "x"), Value(i64, "i"), Value(VECTOR, "y")
    return Graph("f", (x, i), (Node(REGISTRY["splat"], (i,), {"lanes": 8}, (y,), (), HERE),), (x,))


VECTOR = parse("func @f(%x: vec<8xi64>) -> () {\n  return\n}").inputs[0].type


@pytest.mark.parametrize(
    ("make", "words", "has_node"),
    [
        (unordered, "an operand is not defined before its use", True),
        (defined_twice, "a value is defined twice", True),
        (wrong_type, "its results should be f32[3], not f32[4]", True),
        (refused_operands, "shapes differ", True),
        (missing_operand, "add takes 2 operands, not 1", True),
        (unregistered, "is not the registered one", True),
        (undefined_output, "an output is not defined", False),
        (loop_op_among_tensors, "belongs to the loop dialect", True),
    ],
)
def test_ill_formed_graphs_are_refused(make: Callable[[], Graph], words: str, has_node: bool) -> None:
    with pytest.raises(CompilerBug) as error:
        verify(make(), "fuse")
    message = str(error.value)
    assert message.startswith("fuse made an ill-formed graph @f")
    assert words in message
    assert ("/home/me/demo.py:3" in message) is has_node


def test_well_formed_graphs_come_back() -> None:
    b = Builder()
    x = b.input(f32["n"], "x")
    graph = b.build([b.exp(x)])
    assert verify(graph) is graph
    loop = parse(LOOP)
    assert verify(loop) is loop
