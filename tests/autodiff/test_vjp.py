"""Reverse mode: what is emitted, what is reached, what hooks see, and that gradients agree with two other ways to get them."""

from __future__ import annotations

import dataclasses
import math
import time
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rustorch.autodiff.jvp import jvp, pushforward
from rustorch.autodiff.vjp import grad, pullback, value_and_grad, vjp
from rustorch.errors import CompilerBug, GradError
from rustorch.ir.builder import Builder
from rustorch.ir.dtypes import bool_, f32, f64, i64
from rustorch.ir.graph import Graph, Value
from rustorch.ir.location import Location
from rustorch.ir.op import REGISTRY, Undefined
from rustorch.ir.printer import node_text, to_text
from rustorch.ir.types import TensorType
from rustorch.ir.verifier import verify
from rustorch.ops import interpret
from rustorch.passes import inline, simplify
from tests.random_graphs import random_case

HERE = Location("/home/me/demo.py", 7, 1, "f")


def gradient_of(formula: Any, *arrays: Any) -> list[Any]:
    """Gradients of the sum of a formula, for each array."""
    b = Builder()
    inputs = [b.input(f64[np.shape(a)], f"x{i}") for i, a in enumerate(arrays)]
    y = formula(b, *inputs)
    graph = b.build([b.reduce_sum(y, axes=tuple(range(len(y.type.shape))))])
    return interpret(verify(grad(graph, range(len(arrays)))), [np.asarray(a, np.float64) for a in arrays])


# --- What is emitted --------------------------------------------------------------------------------------------------


def test_the_joint_graph_shares_forward_and_backward() -> None:
    b = Builder()
    x = b.input(f32[1024], "x")
    graph = b.build([b.reduce_sum(b.mul(x, x), axes=(0,))], "loss")
    expected = dedent("""\
        func @loss.value_and_grad(%x: f32[1024]) -> (f32[], f32[1024]) {
          %0 = mul %x, %x : f32[1024]
          %1 = reduce_sum %0 {axes = [0]} : f32[]
          %2 = mul %x, 2.0 : f32[1024]
          return %1, %2
        }
        """)
    assert to_text(simplify.run(value_and_grad(graph, [0]))) == expected


def test_vjp_takes_a_cotangent_for_each_output() -> None:
    b = Builder()
    x, y = b.input(f64[3], "x"), b.input(f64[3], "y")
    graph = b.build([b.mul(x, y), b.gt(x, y), b.exp(x)])
    joint = verify(vjp(graph, [0, 1]))
    assert [str(v.type) for v in joint.inputs] == ["f64[3]"] * 4
    assert [str(v.type) for v in joint.outputs] == ["f64[3]", "bool[3]", "f64[3]", "f64[3]", "f64[3]"]
    arrays = [np.array([1.0, 2, 3]), np.array([4.0, 5, 6]), np.array([1.0, 0, 2]), np.array([0.0, 1, 0])]
    found = interpret(joint, arrays)
    np.testing.assert_allclose(found[3], arrays[2] * arrays[1] + arrays[3] * np.exp(arrays[0]), rtol=1e-15)
    np.testing.assert_allclose(found[4], arrays[2] * arrays[0], rtol=1e-15)


def test_sizes_may_be_symbols() -> None:
    b = Builder()
    x, w = b.input(f64["n", 3], "x"), b.input(f64[3], "w")
    product = b.dot_general(x, w, contract=((1,), (0,)), batch=((), ()))
    joint = verify(value_and_grad(b.build([b.reduce_sum(b.tanh(product), axes=(0,))]), [0, 1]))
    assert [str(v.type) for v in joint.outputs] == ["f64[]", "f64[n, 3]", "f64[3]"]


def test_backward_nodes_have_the_location_of_their_forward_node() -> None:
    b = Builder()
    x = b.input(f64[3], "x")
    with b.at(HERE):
        y = b.exp(x)
    with b.at(Location("/home/me/demo.py", 8, 1, "f")):
        z = b.sin(y)
    forward = tuple(b.nodes)
    pullback(b, forward, [z], [b.const(1, z)], [x])
    assert [(n.op.name, n.location.line) for n in b.nodes if n not in forward] == [
        ("const", 0),
        ("cos", 8),
        ("mul", 8),
        ("mul", 7),
    ]


def test_only_paths_from_wrt_to_outputs_are_followed() -> None:
    b = Builder()
    x, y = b.input(f64[3], "x"), b.input(f64[3], "y")
    u, v = b.sin(x), b.sin(y)
    b.exp(x)  # leads to no output
    out = b.add(u, v)
    forward = tuple(b.nodes)
    (ct,) = pullback(b, forward, [out], [b.const(1, out)], [y])
    assert ct is not None
    assert [n.op.name for n in b.nodes if n not in forward] == ["const", "cos", "mul"]


def test_a_definition_is_differentiated_through() -> None:
    b = Builder()
    x = b.input(f64[3], "x")
    y = b.square(x)
    (ct,) = pullback(b, tuple(b.nodes), [y], [b.const(1, y)], [x])
    graph = simplify.run(inline.run(b.build([y, ct])))
    assert [node_text(n, graph) for n in graph.nodes if n.op.name != "const"] == [
        "%0 = mul %x, %x : f64[3]",
        "%1 = mul %x, 2.0 : f64[3]",
    ]


# --- What is reached --------------------------------------------------------------------------------------------------


def reached(formula: Any) -> Value | None:
    b = Builder()
    x = b.input(f64[3], "x")
    y = formula(b, x)
    return pullback(b, tuple(b.nodes), [y], [b.const(1, y)], [x])[0]


def test_what_no_path_leads_to_is_none() -> None:
    assert reached(lambda b, x: b.input(f64[3], "y")) is None
    assert reached(lambda b, x: b.convert(b.convert(x, dtype=i64), dtype=f64)) is None
    assert reached(lambda b, x: b.exp(b.detach(x))) is None


def test_a_derivative_that_is_zero_everywhere_gives_zeros() -> None:
    assert reached(lambda b, x: b.exp(b.floor(x))) is not None
    np.testing.assert_array_equal(gradient_of(lambda b, x: b.exp(b.floor(b.sin(x))), [0.3, 0.7])[0], [0.0, 0.0])


def test_detach_cuts_one_path_only() -> None:
    np.testing.assert_array_equal(gradient_of(lambda b, x: b.mul(x, b.detach(x)), [3.0])[0], [3.0])


def test_outputs_may_be_inputs_and_wrt_may_be_inner_values() -> None:
    b = Builder()
    x = b.input(f64[3], "x")
    y = b.sin(x)
    z = b.exp(y)
    seed = b.const(1, z)
    ct_x, ct_y, ct_z = pullback(b, tuple(b.nodes), [z, x], [seed, seed], [x, y, z])
    assert ct_z is seed
    assert ct_y is b.mul(seed, z)
    assert ct_x is b.add(seed, b.mul(ct_y, b.cos(x)))


def test_an_op_without_derivative_is_named_with_the_users_line() -> None:
    odd = dataclasses.replace(REGISTRY["exp"], name="odd", derivative=Undefined("it is odd"))
    b = Builder()
    x = b.input(f64[3], "x")
    with b.at(HERE):
        (y,) = b.emit(odd, [x])
    nodes = tuple(b.nodes)
    for run in (lambda: pullback(b, nodes, [y], [b.const(1, y)], [x]), lambda: pushforward(b, nodes, {x: b.const(1, x)})):
        with pytest.raises(GradError) as error:
            run()
        assert str(error.value).splitlines()[:3] == ["odd has no derivative", "  it is odd", "  at /home/me/demo.py:7"]
    z = b.detach(x)
    (y,) = b.emit(odd, [z])
    assert pullback(b, tuple(b.nodes), [y], [b.const(1, y)], [x]) == [None]


def test_only_scalars_have_gradients() -> None:
    b = Builder()
    x = b.input(f64[3], "x")
    with pytest.raises(GradError, match="grad can be implicitly created only for scalar outputs"):
        value_and_grad(b.build([x]), [0])
    with pytest.raises(GradError, match="grad can be implicitly created only for scalar outputs"):
        value_and_grad(b.build([]), [0])


def test_only_floats_have_gradients() -> None:
    b = Builder()
    x, i = b.input(f64[()], "x"), b.input(i64[3], "i")
    with pytest.raises(GradError, match="only floating-point inputs have gradients; input %i"):
        value_and_grad(b.build([x]), [1])
    assert interpret(value_and_grad(b.build([x, i]), [0]), [np.asarray(2.0), np.arange(3)])[2] == 1.0


def test_cotangents_have_the_type_of_their_value() -> None:
    b = Builder()
    x = b.input(f64[3], "x")
    with pytest.raises(CompilerBug, match="cotangent of a value of type"):
        pullback(b, (), [x], [b.const(1, f32[3])], [x])


# --- Hooks ------------------------------------------------------------------------------------------------------------


def test_hooks_see_complete_cotangents_once_in_order() -> None:
    b = Builder()
    x, w = b.input(f64[()], "x"), b.input(f64[()], "w")
    h = b.mul(x, w)
    y, z = b.sin(h), b.cos(h)
    out = b.add(y, z)
    names = {x: "x", w: "w", h: "h", y: "y", z: "z", out: "out"}
    seen: list[str] = []

    def hook(value: Value, cotangent: Value) -> Value:
        seen.append(names[value])
        return b.mul(cotangent, 10.0) if value is h else cotangent

    found = pullback(b, tuple(b.nodes), [out], [b.const(1, out)], [x, w], hook)
    assert seen == ["out", "z", "y", "h", "x", "w"]
    got = interpret(b.build([v for v in found if v is not None]), [np.asarray(0.5), np.asarray(2.0)])
    slope = 10 * (math.cos(1) - math.sin(1))
    np.testing.assert_allclose([float(g) for g in got], [2 * slope, 0.5 * slope], rtol=1e-14)


def test_only_watched_values_are_shown() -> None:
    b = Builder()
    x = b.input(f64[()], "x")
    y = b.sin(x)
    z = b.cos(y)
    seen: list[Value] = []

    def hook(value: Value, cotangent: Value) -> Value:
        seen.append(value)
        return cotangent

    pullback(b, tuple(b.nodes), [z], [b.const(1, z)], [x], hook, watched={y})
    assert seen == [y]


def test_a_hook_may_revive_a_cotangent_that_was_zero() -> None:
    b = Builder()
    x = b.input(f64[()], "x")
    y = b.sin(x)
    z = b.floor(y)
    shown: list[Any] = []

    def hook(value: Value, cotangent: Value) -> Value:
        if value is not y:
            return cotangent
        shown.append(b.producer(cotangent))
        return b.const(1, y)

    (ct,) = pullback(b, tuple(b.nodes), [z], [b.const(1, z)], [x], hook)
    assert shown[0].attrs["value"] == 0.0
    assert ct is not None
    assert interpret(b.build([ct]), [np.asarray(0.0)])[0] == 1.0


def test_leaves_are_shown_before_what_comes_earlier() -> None:
    """A leaf's cotangent is complete, and shown, as soon as its first reader has been walked."""
    b = Builder()
    x, w = b.input(f64[()], "x"), b.input(f64[()], "w")
    h = b.sin(x)
    out = b.mul(h, w)
    seen: list[str] = []

    def hook(value: Value, cotangent: Value) -> Value:
        seen.append(value.hint)
        return cotangent

    h.hint, out.hint = "h", "out"
    pullback(b, tuple(b.nodes), [out], [b.const(1, out)], [x, w], hook)
    assert seen == ["out", "w", "h", "x"]


# --- Safe where -------------------------------------------------------------------------------------------------------


def positive(b: Builder, x: Value) -> Value:
    mask: Value = b.gt(x, 0.0)
    return mask


@pytest.mark.parametrize(
    ("formula", "point", "slope"),
    [
        (lambda b, x: b.select(positive(b, x), b.sqrt(x), 0.0), 0.0, 0.0),
        (lambda b, x: b.select(positive(b, x), b.neg(b.sqrt(x)), 0.0), 0.0, 0.0),
        (lambda b, x: b.select(b.le(x, 0.0), 0.0, b.log(x)), 0.0, 0.0),
        (lambda b, x: b.select(positive(b, x), b.sqrt(b.sqrt(x)), x), 0.0, 1.0),
        (lambda b, x: b.select(positive(b, x), b.mul(x, b.log(x)), 0.0), 0.0, 0.0),
        (lambda b, x: b.select(positive(b, x), b.select(b.gt(x, 1.0), b.log(b.sub(x, 1.0)), b.sqrt(x)), 0.0), 0.0, 0.0),
        (lambda b, x: b.select(positive(b, x), b.select(b.gt(x, 1.0), b.log(b.sub(x, 1.0)), b.sqrt(x)), 0.0), 1.0, 0.5),
        (lambda b, x: b.select(positive(b, x), b.square(b.sqrt(x)), 0.0), 0.0, 0.0),
        (lambda b, x: b.select(positive(b, x), b.sqrt(x), b.mul(x, 3.0)), -1.0, 3.0),
        (lambda b, x: b.select(positive(b, x), b.convert(b.sqrt(b.convert(x, dtype=f32)), dtype=f64), 0.0), 0.0, 0.0),
        (lambda b, x: b.select(positive(b, x), b.sqrt(x), 0.0), 4.0, 0.25),
    ],
)
def test_a_branch_not_taken_has_gradient_zero(formula: Any, point: float, slope: float) -> None:
    assert gradient_of(formula, [point])[0] == [slope]


def test_a_branch_that_is_taken_keeps_its_infinity() -> None:
    assert gradient_of(lambda b, x: b.select(b.ge(x, 0.0), b.sqrt(x), 0.0), [0.0])[0] == [math.inf]


def test_both_branches_on_one_mask_need_one_select() -> None:
    b = Builder()
    x, m = b.input(f64[3], "x"), b.input(bool_[3], "m")
    y = b.select(m, b.sin(x), b.exp(x))
    forward = tuple(b.nodes)
    pullback(b, forward, [y], [b.const(1, y)], [x])
    assert [n.op.name for n in b.nodes if n not in forward].count("select") == 1


# --- Properties -------------------------------------------------------------------------------------------------------

STEP = 1e-6
"""Of central differences: their error is about STEP**2 f''' / 6 + 1e-16 f / STEP, some 1e-9 for values near 1."""


def direction(graph: Graph, rng: np.random.Generator) -> list[Any]:
    return [rng.standard_normal(v.type.shape) for v in graph.inputs if isinstance(v.type, TensorType)]


@given(seed=st.integers(0, 2**32 - 1))
def test_gradients_agree_with_tangents_and_differences(seed: int) -> None:
    """⟨∇f, t⟩ = Jf t = (f(x + ht) - f(x - ht)) / 2h on smooth random graphs."""
    case = random_case(seed, smooth=True)
    graph, arrays = case.graph, case.arrays
    wrt = range(len(graph.inputs))
    t = direction(graph, np.random.default_rng(seed))
    _, *gradients = interpret(verify(value_and_grad(graph, wrt)), arrays)
    _, tangent = interpret(verify(jvp(graph, wrt)), arrays + t)
    inner = sum(float((g * d).sum()) for g, d in zip(gradients, t, strict=True))
    ahead, behind = (interpret(graph, [a + s * STEP * d for a, d in zip(arrays, t, strict=True)])[0] for s in (1, -1))
    scale = 1 + sum(float(abs(g * d).sum()) for g, d in zip(gradients, t, strict=True))
    assert abs(inner - float(tangent)) <= 1e-12 * scale, to_text(graph)
    assert abs(inner - float(ahead - behind) / (2 * STEP)) <= 1e-6 * scale, to_text(graph)


@given(seed=st.integers(0, 2**32 - 1))
def test_second_derivatives_agree_forward_over_reverse_and_reverse_over_reverse(seed: int) -> None:
    """Hv as the tangent of the gradient, and as the gradient of ⟨gradient, v⟩."""
    case = random_case(seed, nodes=8, smooth=True)
    graph, arrays = case.graph, case.arrays
    wrt = range(len(graph.inputs))
    v = direction(graph, np.random.default_rng(seed))
    gradient = grad(graph, wrt)
    forward = interpret(verify(jvp(gradient, wrt)), arrays + v)[len(arrays) :]
    _, *reverse = interpret(verify(vjp(gradient, wrt)), arrays + v)[len(arrays) - 1 :]
    for f, r in zip(forward, reverse, strict=True):
        np.testing.assert_allclose(f, r, rtol=1e-9, atol=1e-9 * (1 + float(abs(f).max())), err_msg=to_text(graph))


@given(seed=st.integers(0, 2**32 - 1))
def test_simplified_gradients_are_the_same(seed: int) -> None:
    case = random_case(seed, smooth=True)
    joint = value_and_grad(case.graph, range(len(case.graph.inputs)))
    for got, want in zip(interpret(simplify.run(inline.run(joint)), case.arrays), interpret(joint, case.arrays), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12 * (1 + float(abs(want).max(initial=0))))


def test_long_chains_need_neither_stack_nor_more_than_linear_time() -> None:
    def seconds(count: int) -> float:
        b = Builder()
        x = value = b.input(f64[()], "x")
        for _ in range(count):
            value = b.sin(value)
        forward = tuple(b.nodes)
        start = time.perf_counter()
        (ct,) = pullback(b, forward, [value], [b.const(1, value)], [x])
        assert ct is not None
        return time.perf_counter() - start

    short = min(seconds(2000) for _ in range(3))
    assert seconds(40000) < 60 * short  # 20 times as long; quadratic time would be 400 times
