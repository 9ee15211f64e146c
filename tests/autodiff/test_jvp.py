"""Forward mode: what is emitted, and what has a tangent."""

from __future__ import annotations

from textwrap import dedent

import numpy as np
import pytest

from rustorch.autodiff.jvp import jvp, pushforward
from rustorch.errors import CompilerBug
from rustorch.ir.builder import Builder
from rustorch.ir.dtypes import bool_, f32, f64, i64
from rustorch.ir.location import Location
from rustorch.ir.printer import to_text
from rustorch.ir.verifier import verify
from rustorch.ops import interpret


def test_tangents_ride_along() -> None:
    b = Builder()
    x, y = b.input(f64[3], "x"), b.input(f64[3], "y")
    expected = dedent("""\
        func @f.jvp(%x: f64[3], %y: f64[3], %t_x: f64[3]) -> (f64[3], f64[3]) {
          %0 = sin %x : f64[3]
          %1 = mul %0, %y : f64[3]
          %2 = cos %x : f64[3]
          %3 = mul %t_x, %2 : f64[3]
          %4 = mul %3, %y : f64[3]
          return %1, %4
        }
        """)
    assert to_text(verify(jvp(b.build([b.mul(b.sin(x), y)], "f"), [0]))) == expected


def test_a_sum_with_a_constant_adds_no_zeros() -> None:
    b = Builder()
    x, y, m = b.input(f64[3], "x"), b.input(f64[3], "y"), b.input(bool_[3], "m")
    values = [b.add(x, y), b.sub(y, x), b.select(m, y, x)]
    found = pushforward(b, tuple(b.nodes), {x: x})
    assert [found[v] for v in values] == [x, b.neg(x), b.select(m, 0.0, x)]


def test_a_linear_op_moves_its_tangents() -> None:
    b = Builder()
    x, y = b.input(f64[2], "x"), b.input(f64[3], "y")
    joint = jvp(b.build([b.concat(x, y, axis=0)]), [0])
    tangent = interpret(verify(joint), [np.zeros(2), np.ones(3), np.array([5.0, 6.0])])[1]
    np.testing.assert_array_equal(tangent, [5.0, 6.0, 0.0, 0.0, 0.0])


def test_the_tangent_of_a_padding_is_padded_with_zeros() -> None:
    b = Builder()
    x = b.input(f64[1], "x")
    joint = jvp(b.build([b.pad(x, low=(1,), high=(0,), value=7.0)]), [0])
    value, tangent = interpret(verify(joint), [np.array([1.0]), np.array([2.0])])
    assert (value.tolist(), tangent.tolist()) == ([7.0, 1.0], [0.0, 2.0])


def test_only_what_depends_on_the_inputs_has_a_tangent() -> None:
    b = Builder()
    x, y = b.input(f64[3], "x"), b.input(f64[3], "y")
    u, v, w, z = b.sin(x), b.sin(y), b.floor(x), b.exp(b.detach(x))
    with b.at(Location("demo.py", 4, 1, "f")):
        count = b.convert(x, dtype=i64)
    found = pushforward(b, tuple(b.nodes), {x: b.const(1, x)})
    assert [value in found for value in (x, u, v, w, z, count)] == [True, True, False, False, False, False]


def test_outputs_without_tangent_get_zeros() -> None:
    b = Builder()
    x, y = b.input(f64[3], "x"), b.input(f64[3], "y")
    joint = verify(jvp(b.build([b.exp(y), b.gt(x, y)]), [0]))
    assert [str(v.type) for v in joint.outputs] == ["f64[3]", "bool[3]", "f64[3]"]
    np.testing.assert_array_equal(interpret(joint, [np.ones(3)] * 3)[2], np.zeros(3))


def test_tangents_have_the_type_of_their_value() -> None:
    b = Builder()
    x = b.input(f64[3], "x")
    with pytest.raises(CompilerBug, match="tangent of a value of type"):
        pushforward(b, (), {x: b.const(1, f32[3])})
