"""What patterns match, and what rewriting leaves alone."""

from __future__ import annotations

import math
from typing import Any

import pytest

from rustorch.errors import CompilerBug, ShapeError
from rustorch.ir.builder import Builder
from rustorch.ir.dims import symbol
from rustorch.ir.dtypes import f32, f64, i32
from rustorch.ir.graph import Value
from rustorch.ir.pattern import FunctionRule, Match, Rule, constants, matches, o, rewrite, variables

x, y = variables("x y")
(c,) = constants("c")


def matched(pattern: Any, formula: Any) -> dict[str, Value] | None:
    """What the variables stand for in a formula of two inputs, or None."""
    b = Builder()
    u, v = b.input(f32[3], "u"), b.input(f32[3], "v")
    found = Match(b)
    return {p.name: value for p, value in found.items()} if matches(pattern, formula(b, u, v), found) else None


def test_a_variable_stands_for_one_value() -> None:
    assert matched(x + x, lambda b, u, v: b.add(u, u)) is not None
    assert matched(x + x, lambda b, u, v: b.add(u, v)) is None


def test_commutative_ops_match_either_way() -> None:
    for formula in (lambda b, u, v: b.add(b.exp(u), v), lambda b, u, v: b.add(v, b.exp(u))):
        found = matched(o.exp(x) + y, formula)
        assert found is not None
        assert (found["x"].hint, found["y"].hint) == ("u", "v")
    assert matched(o.exp(x) - y, lambda b, u, v: b.sub(v, b.exp(u))) is None


def test_what_a_failed_try_bound_is_forgotten() -> None:
    """`x` is first tried as `v`, where the rest does not fit."""
    found = matched(o.add(x, o.mul(x, y)), lambda b, u, v: b.add(b.mul(v, u), v))
    assert found is not None
    assert (found["x"].hint, found["y"].hint) == ("v", "u")


@pytest.mark.parametrize(
    ("pattern", "number", "fits"),
    [
        (x * 1, 1.0, True),
        (x * 1.0, 1.0, True),
        (x * 1, 2.0, False),
        (x * 0, 0.0, True),
        (x * 0, -0.0, False),
        (x * -0.0, -0.0, True),
        (x * math.nan, math.nan, True),
        (x * c, math.inf, True),
    ],
)
def test_numbers_match_to_the_bit(pattern: Any, number: float, fits: bool) -> None:
    assert (matched(pattern, lambda b, u, v: b.mul(u, number)) is not None) is fits
    assert matched(pattern, lambda b, u, v: b.mul(u, v)) is None


def test_numbers_match_over_any_shape() -> None:
    rule = Rule("mul-one", x * 1, x)
    for type_ in (f32[()], f64["n", 3], i32[0, 2]):
        b = Builder()
        u = b.input(type_, "u")
        assert rewrite(b.build([b.mul(u, 1)]), [rule]).outputs[0].hint == "u"


def test_a_rule_is_for_its_element_types_and_condition() -> None:
    b = Builder()
    u = b.input(f32[3], "u")
    graph = b.build([b.mul(u, 4.0)])
    assert rewrite(graph, [Rule("odd", x * c, x, on=(f64,))]) is graph
    assert rewrite(graph, [Rule("odd", x * c, x, when=lambda found: found.number(c) > 4)]) is graph
    assert rewrite(graph, [Rule("odd", x * c, x, when=lambda found: found.number(c) == 4)]) is not graph


def test_a_rule_that_changes_the_type_is_our_mistake() -> None:
    b = Builder()
    u = b.input(f32[3], "u")
    graph = b.build([b.gt(u, 0.0)])
    with pytest.raises(CompilerBug, match="rule odd made"):
        rewrite(graph, [FunctionRule("odd", "gt", lambda b, node: node.operands[0])])


def test_what_a_rule_makes_is_rewritten_too() -> None:
    b = Builder()
    u = b.input(f32[3], "u")
    graph = b.build([b.abs(b.neg(b.neg(u)))])
    log: list[str] = []
    new = rewrite(graph, [Rule("abs-neg", o.abs(-x), o.abs(x))], lambda rule, *_: log.append(rule))
    assert [n.operands for n in new.nodes if n.op.name == "abs"] == [new.inputs]
    assert log == ["abs-neg"] * 2


@pytest.mark.parametrize("name", ["f32", "nan", "true", "2n", ""])
def test_sizes_cannot_have_names_that_mean_something_else(name: str) -> None:
    with pytest.raises(ShapeError):
        symbol(name)
