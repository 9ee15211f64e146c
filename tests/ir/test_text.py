"""What graphs print as, and that the text reads back to the same graph."""

from __future__ import annotations

import math
import time
from textwrap import dedent

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rustorch.ops.loop  # noqa: F401  registers the loop dialect
from rustorch.errors import CompilerBug, ParseError
from rustorch.ir.analysis import digest
from rustorch.ir.builder import Builder
from rustorch.ir.dims import symbol
from rustorch.ir.dtypes import bool_, f32, f64, i32, i64
from rustorch.ir.graph import Graph, Payload, Value
from rustorch.ir.location import Location
from rustorch.ir.op import REGISTRY
from rustorch.ir.parser import parse
from rustorch.ir.printer import attribute_text, canonical_text, literal_text, node_text, payloads, to_text
from rustorch.ir.types import VectorType
from rustorch.ops import interpret
from tests.random_graphs import random_case

LOOP = dedent("""\
    func @sum(%x: buf<f32[n]>, %n: i64, %out: buf<f32[]>) -> () {
      %0 = const 0 : i64
      %acc = for %0, %n, 0.0 {step = 8} (%i: i64, %a: vec<8xf32>) {
        %1 = load %x, %i {offset = 0} : vec<8xf32>
        %s = add %1, %a : vec<8xf32>
        yield %s
      } : vec<8xf32>
      for %0, %n {step = 1} (%i_1: i64) {
        %2 = load %x, %i_1 {offset = 0} : f32
        store %out, %0, %2 {offset = 0}
      }
      return
    }
    """)


def loss() -> Graph:
    b = Builder()
    x = b.input(f32[1024], "x")
    return b.build([b.reduce_sum(b.mul(x, 2.0), axes=(0,))], "loss")


def test_a_graph_prints_as_a_function() -> None:
    expected = dedent("""\
        func @loss(%x: f32[1024]) -> f32[] {
          %0 = mul %x, 2.0 : f32[1024]
          %1 = reduce_sum %0 {axes = [0]} : f32[]
          return %1
        }
        """)
    assert expected == to_text(loss())


def test_a_literal_is_bare_only_where_its_type_is_the_results() -> None:
    b = Builder()
    x = b.input(f32["n", 3], "x")
    mask = b.gt(x, 0.0)
    expected = dedent("""\
        func @main(%x: f32[n, 3]) -> (f32[n, 3], f32[n, 3]) {
          %0 = const 0.0 : f32[n, 3]
          %1 = gt %x, %0 : bool[n, 3]
          %2 = select %1, %x, -0.0 : f32[n, 3]
          %3 = mul %x, %0 : f32[n, 3]
          return %2, %3
        }
        """)
    assert expected == to_text(b.build([b.select(mask, x, -0.0), b.mul(x, 0.0)]))


def test_the_text_of_loops_reads_back() -> None:
    assert to_text(parse(LOOP)) == LOOP


def test_hints_become_unique_names() -> None:
    b = Builder()
    values = [b.input(f32[2], hint) for hint in ("x", "x", "x_1", "x", "", "2 bad")]
    graph = b.build(values)
    assert "(%x: f32[2], %x_1: f32[2], %x_1_1: f32[2], %x_2: f32[2], %0: f32[2], %_2_bad: f32[2])" in to_text(graph)
    assert to_text(graph) == to_text(parse(to_text(graph)))


def test_large_arrays_are_written_by_digest() -> None:
    b = Builder()
    small, large = b.const(np.arange(4.0).reshape(2, 2), f64[2, 2]), b.const(np.arange(17), i64[17])
    graph = b.build([small, large])
    payload = Payload(np.arange(17))
    assert {payload.digest: payload} == payloads(graph)
    assert "const [[0.0, 1.0], [2.0, 3.0]] : f64[2, 2]" in to_text(graph)
    assert f"const payload<{payload.digest}> : i64[17]" in to_text(graph)
    again = parse(to_text(graph), payloads(graph))
    for actual, expected in zip(interpret(again, []), interpret(graph, []), strict=True):
        np.testing.assert_array_equal(actual, expected)
    with pytest.raises(ParseError, match="is not among the payloads"):
        parse(to_text(graph))


@pytest.mark.parametrize(
    ("number", "dtype", "text"),
    [
        (0.1, f64, "0.1"),
        (float(np.float32(0.1)), f32, "0.1"),
        (0.1, f32, "0x1.999999999999ap-4"),  # not a number of f32: no decimal of f32 would read back
        (1e30, f64, "1e+30"),
        (math.nan, f32, "nan"),
        (-math.inf, f64, "-inf"),
        (-0.0, f32, "-0.0"),
        (5e-324, f64, "5e-324"),
        (2, f32, "2.0"),
        (-(1 << 63), i64, "-9223372036854775808"),
        (True, bool_, "true"),
    ],
)
def test_numbers(number: float, dtype: object, text: str) -> None:
    assert text == literal_text(number, dtype)  # type: ignore[arg-type]


def same_bits(x: float, y: float, dtype: object) -> bool:
    arrays = [np.asarray(v, dtype.numpy) for v in (x, y)]  # type: ignore[attr-defined]
    return arrays[0].tobytes() == arrays[1].tobytes()


@given(st.floats(width=32, allow_nan=False))
def test_f32_constants_read_back_to_the_bit(number: float) -> None:
    b = Builder()
    graph = b.build([b.const(number, f32[()])])
    (value,) = (node.attrs["value"] for node in parse(to_text(graph)).nodes)
    assert same_bits(number, value, f32)


@given(st.floats(allow_nan=False))
def test_f64_constants_read_back_to_the_bit(number: float) -> None:
    b = Builder()
    graph = b.build([b.const(number, f64[()])])
    (value,) = (node.attrs["value"] for node in parse(to_text(graph)).nodes)
    assert same_bits(number, value, f64)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ((0, -1), "[0, -1]"),
        (((1,), ()), "[[1], []]"),
        (1.0, "1.0"),
        (-math.inf, "-inf"),
        ('a "b"\n', '"a \\"b\\"\\n"'),
        (None, "none"),
        (False, "false"),
        (symbol("n") * 2 - 1, "2*n - 1"),
        ((symbol("n") // 3) * symbol("m"), "floordiv(n, 3)*m"),
        (f32["n", 3], "f32[n, 3]"),
        (i32, "i32"),
        (VectorType(f32, 8), "vec<8xf32>"),
        (Payload(np.array([True, False])), "[true, false] : bool"),
        (Payload(np.array([1.5, -math.inf], np.float32)), "[1.5, -inf] : float32"),
    ],
)
def test_attributes(value: object, text: str) -> None:
    assert text == attribute_text(value)
    op = "slice"  # any op: the text is read before its meaning is checked
    with pytest.raises(ParseError) as error:
        parse(f"func @f(%x: f32[3]) -> f32[3] {{\n  %0 = {op} %x {{odd = {text}}} : f32[3]\n  return %0\n}}")
    assert "odd" in str(error.value)


@given(st.integers(0, 2**32 - 1))
def test_random_graphs_read_back(seed: int) -> None:
    graph = random_case(seed).graph
    text = to_text(graph)
    again = parse(text, payloads(graph))
    assert text == to_text(again)
    assert digest(graph) == digest(again)


def test_the_digest_leaves_names_and_places_out() -> None:
    def graph(name: str, size: str, place: Location) -> Graph:
        b = Builder()
        x = b.input(f32[size, 3], name)
        with b.at(place):
            y = b.exp(x)
        return b.build([y], name)

    first, second = graph("x", "n", Location("a.py", 1, 1, "f")), graph("y", "batch", Location("b.py", 2, 2, "g"))
    assert canonical_text(first) == canonical_text(second)
    assert "func @_(%0: f32[d0, 3])" in canonical_text(first)
    assert digest(first) != digest(loss())


def test_the_digest_tells_numbers_apart() -> None:
    def graph(number: float) -> Graph:
        b = Builder()
        x = b.input(f32[3], "x")
        return b.build([b.mul(x, number)])

    assert len({digest(graph(n)) for n in (0.0, -0.0, 1.0, math.nan, 2.0)}) == 5


def test_locations_are_comments() -> None:
    b = Builder()
    x = b.input(f32[3], "x")
    with b.at(Location("/home/me/demo.py", 3, 1, "f")):
        y = b.exp(x)
    text = to_text(b.build([y]), locations=True)
    assert text.splitlines()[1].split("//")[1] == " demo.py:3"
    assert to_text(parse(text)) == to_text(b.build([y]))


def test_the_text_of_one_node() -> None:
    graph = loss()
    assert node_text(graph.nodes[-1], graph) == "%1 = reduce_sum %0 {axes = [0]} : f32[]"


def test_an_attribute_without_text_is_our_mistake() -> None:
    with pytest.raises(CompilerBug, match="has no text"):
        attribute_text(object())


@pytest.mark.parametrize("read", [False, True])
def test_long_graphs_cost_linear_time(read: bool) -> None:
    def seconds(count: int) -> float:
        b = Builder()
        value: Value = b.input(f32["n", 3], "x")
        for _ in range(count):
            value = b.emit(REGISTRY["exp"], [value])[0]
            value.hint = "h"
        graph = b.build([value])
        text = to_text(graph)
        best = math.inf
        for _ in range(3):
            start = time.perf_counter()
            parse(text) if read else to_text(graph)
            best = min(best, time.perf_counter() - start)
        return best

    assert seconds(8000) < 30 * seconds(1000)  # 8 times as long; quadratic time would be 64 times


# --- Errors -----------------------------------------------------------------------------------------------------------

ERRORS = {
    "func @f(%x: f32[3]) -> f32[3] {\n  %0 = mul %x, %y : f32[3]\n  return %0\n}": """\
line 2, column 16: %y is not defined before this use
    %0 = mul %x, %y : f32[3]
                 ^""",
    "func @f(%x: f33[3]) -> f32[3] {": """\
line 1, column 13: no element type 'f33': the element types are bool, i32, i64, f32, f64
  func @f(%x: f33[3]) -> f32[3] {
              ^""",
    "func @f(%x: f32[3]) -> f32[4] {\n  %0 = exp %x : f32[4]\n  return %0\n}": """\
line 2, column 8: exp gives f32[3], not f32[4]
    %0 = exp %x : f32[4]
         ^""",
    "func @f(%x: f32[3]) -> f32[3] {\n  %x = exp %x : f32[3]\n  return %x\n}": """\
line 2, column 3: %x is defined twice
    %x = exp %x : f32[3]
    ^""",
    "func @f(%x: f32[3]) -> f32[4] {\n  return %x\n}": """\
line 1, column 24: f returns (f32[3]), not (f32[4])
  func @f(%x: f32[3]) -> f32[4] {
                         ^""",
    "func @f(%x: f32[3]) -> f32[3] {\n  %0 = mul %x, true : f32[3]\n  return %0\n}": """\
line 2, column 16: not a number of type f32
    %0 = mul %x, true : f32[3]
                 ^""",
    "func @f(%x: f32[3]) -> f32[3] {\n  %0 = mul %x : f32[3]\n  return %0\n}": """\
line 2, column 8: mul takes 2 operands, not 1
    %0 = mul %x : f32[3]
         ^""",
    "func @f(%x: f32[3]) -> f32[3] {\n  %0 = exq %x : f32[3]\n  return %0\n}": """\
line 2, column 8: no op named 'exq'
    %0 = exq %x : f32[3]
         ^""",
    "func @f(%x: f32[3]) -> bool[3] {\n  %0 = gt %x, 0.0 : bool[3]\n  return %0\n}": """\
line 2, column 15: not a number of type bool
    %0 = gt %x, 0.0 : bool[3]
                ^""",
    "func @f() -> f32[2] {\n  %0 = const [1.0] : f32[2]\n  return %0\n}": """\
line 2, column 14: the array's shape is [1], not that of f32[2]
    %0 = const [1.0] : f32[2]
               ^""",
    "func @f() -> () {\n  return\n} func": """\
line 3, column 3: the function has ended, but the text goes on
  } func
    ^""",
    "func @f() -> () {\n  ?": """\
line 2, column 3: unexpected character '?'
    ?
    ^""",
    "func @f() -> () {": """\
line 1, column 18: expected a node or 'return', found 'end of text'
  func @f() -> () {
                   ^""",
}


@pytest.mark.parametrize("text", ERRORS, ids=range(len(ERRORS)))
def test_errors_point_at_the_character(text: str) -> None:
    with pytest.raises(ParseError) as error:
        parse(text)
    assert ERRORS[text] == str(error.value)
