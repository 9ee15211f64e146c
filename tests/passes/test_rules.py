"""Each rule is proved numerically from its own text: both sides on all combinations of special values and on random ones.

Algebra must give the same bits (or stay within the rule's ulp), NaN, infinities and the sign of zero included. Stability
rules must be near the exact value of their left side, computed with 60 digits.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import mpmath
import numpy as np
import pytest

from rustorch.autodiff.vjp import value_and_grad
from rustorch.errors import CompilerBug
from rustorch.ir.builder import Builder
from rustorch.ir.dtypes import FLOATS, bool_, f32, f64
from rustorch.ir.graph import Graph
from rustorch.ir.pattern import Call, Literal, Match, Pattern, Rule, Variable, constants, emit, o, rewrite, subpatterns, variables
from rustorch.ir.types import DType
from rustorch.ops import interpret
from rustorch.ops.rules import ALGEBRA, STABILITY
from rustorch.passes import simplify, stabilize

Array = np.ndarray[Any, Any]

SPECIAL = {
    "float": (0.0, -0.0, 1.0, -1.0, 0.1, -2.5, 3.0, math.inf, -math.inf, math.nan, 1e-39, 1e-300, -1e30, 1e200),
    "int": (0, 1, -1, 2, -3, 100, -(1 << 31), (1 << 31) - 1),
    "bool": (False, True),
}
NUMBERS = {
    "float": (0.0, -0.0, 1.0, -1.0, 2.0, -4.0, 0.5, 3.0, 0.1, 2.0**100, 2.0**-140, math.inf, math.nan),
    "int": (0, 1, -1, 2, -3, 1 << 30, -(1 << 31)),
    "bool": (False, True),
}


def masks(pattern: Pattern) -> set[Pattern]:
    """The variables that stand for masks."""
    found: set[Pattern] = set()
    for part in subpatterns(pattern):
        if isinstance(part, Call) and part.op == "select":
            found.update(p for p in subpatterns(part.arguments[0]) if isinstance(p, Variable))
    return found


def inputs(count: int, dtype: DType, rng: np.random.Generator) -> list[Array]:
    """All combinations of special values, and random ones."""
    with np.errstate(all="ignore"):
        special = np.array(list(itertools.product(SPECIAL[dtype.kind], repeat=count)), object).reshape(-1, count)
        drawn = rng.uniform(-9, 9, (200, count))
        return [np.concatenate([special[:, i].astype(dtype.numpy), drawn[:, i].astype(dtype.numpy)]) for i in range(count)]


def left_sides(rule: Rule) -> Iterator[tuple[Graph, list[Array]]]:
    """The left side as a graph with inputs, for each element type and choice of constants."""
    rng = np.random.default_rng(0)
    parts = list(dict.fromkeys(p for p in subpatterns(rule.lhs) if isinstance(p, Variable)))
    chosen = [p for p in parts if p.constant]
    free = [p for p in parts if not p.constant]
    bools = masks(rule.lhs)
    for dtype in rule.on:
        plain = [p for p in free if p not in bools or dtype is bool_]
        for values in itertools.product(NUMBERS[dtype.kind], repeat=len(chosen)):
            with np.errstate(all="ignore"):
                arrays = dict(zip(plain, inputs(len(plain), dtype, rng), strict=True))
                length = len(next(iter(arrays.values())))
                arrays |= {p: rng.random(length) < 0.5 for p in free if p not in plain}
                b = Builder()
                found = Match(b)
                for variable in free:
                    found[variable] = b.input((bool_ if variable in arrays and arrays[variable].dtype == bool else dtype)[length])
                for variable, number in zip(chosen, values, strict=True):
                    found[variable] = b.const(number, dtype[length])
            yield b.build([emit(b, rule.lhs, found, dtype[length])], rule.name), [arrays[p] for p in free]


def distance(actual: Array, expected: Array, ulp: float) -> float:
    """How far apart two arrays are: 0 for the same bits (any NaN is NaN), else in ulp; infinite where that makes no sense."""
    if actual.dtype.kind != "f":
        return 0 if np.array_equal(actual, expected) else math.inf
    both = np.isnan(actual) & np.isnan(expected)
    same = both | ((actual == expected) & ((np.signbit(actual) == np.signbit(expected)) | (ulp > 0)))
    if same.all() or ulp == 0:
        return 0 if same.all() else math.inf
    x, y = actual[~same].astype(np.float64), expected[~same].astype(np.float64)
    with np.errstate(all="ignore"):
        apart = abs(x - y) / np.spacing(abs(expected[~same])).astype(np.float64)
    return float(np.nan_to_num(apart, nan=math.inf).max())


@pytest.mark.parametrize("rule", ALGEBRA, ids=lambda rule: rule.name)
def test_algebra_keeps_the_bits(rule: Rule) -> None:
    fitted = 0
    for graph, arrays in left_sides(rule):
        new = rewrite(graph, [rule])
        fitted += new is not graph
        (expected,), (actual,) = interpret(graph, arrays), interpret(new, arrays)
        assert distance(actual, expected, rule.ulp) <= rule.ulp, f"{graph.outputs[0].type}"
    assert fitted >= len(rule.on), "the rule fits nothing"


@pytest.mark.parametrize("rule", ALGEBRA, ids=lambda rule: rule.name)
def test_no_rule_is_hidden_by_others(rule: Rule) -> None:
    """In the full set each rule is still the one that fires on some instance of its left side."""
    fired: set[str] = set()
    for graph, _ in left_sides(rule):
        rewrite(graph, simplify.RULES, lambda name, *_: fired.add(name))
    assert rule.name in fired


@pytest.mark.parametrize(
    ("lhs", "rhs", "expected"),
    [(o.mul(*variables("x y")), 0, False), (variables("x")[0] * 0, 0, False), (variables("x")[0] + 0.0, variables("x")[0], False)],
    ids=["x * y is not 0", "x * 0 is not 0", "x + 0.0 is not x"],
)
def test_the_proof_refuses_what_is_wrong(lhs: Pattern, rhs: Any, expected: bool) -> None:
    rule = Rule("wrong", lhs, rhs, on=FLOATS)
    apart = []
    for graph, arrays in left_sides(rule):
        (want,), (got,) = interpret(graph, arrays), interpret(rewrite(graph, [rule]), arrays)
        apart.append(distance(got, want, 0))
    assert (max(apart) == 0) is expected


@pytest.mark.parametrize("reverse", [False, True])
def test_names_are_unique(reverse: bool) -> None:
    names = [r.name for r in (*simplify.RULES, *ALGEBRA, *STABILITY)][:: -1 if reverse else 1]
    one_op = {r.name for r in simplify.RULES} - {r.name for r in ALGEBRA}
    assert [n for n in set(names) if names.count(n) > 1 and n not in one_op and n not in {r.name for r in ALGEBRA}] == []
    assert len({r.name for r in ALGEBRA}) == len(ALGEBRA)


# --- Stability --------------------------------------------------------------------------------------------------------

EXACT = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "neg": lambda x: -x,
    "div": lambda x, y: x / y,
    "exp": mpmath.exp,
    "log": mpmath.log,
    "log1p": lambda x: mpmath.log(1 + x),
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
}
POINTS = [s * p for s in (1, -1) for p in (1e-300, 1e-20, 1e-10, 1e-4, 0.3, 0.999, 1.0, 2.0, 7.0, 40.0, 300.0, 800.0, 2000.0, 1e10)]
ULP = 4
"""numpy's functions are within 1 ulp; a right side is a composition of up to three."""


def exact(pattern: Pattern, x: Any) -> Any:
    if isinstance(pattern, Literal):
        return mpmath.mpf(pattern.value)
    if isinstance(pattern, Call):
        return EXACT[pattern.op](*(exact(p, x) for p in pattern.arguments))
    return x


FORMULAS = [rule for rule in STABILITY if isinstance(rule, Rule) and rule.when is None]


@pytest.mark.parametrize("rule", FORMULAS, ids=lambda rule: rule.name)
def test_stability_rules_are_near_the_exact_value(rule: Rule) -> None:
    b = Builder()
    (x,) = (p for p in set(subpatterns(rule.lhs)) if isinstance(p, Variable))
    found = Match(b)
    found[x] = b.input(f64[1], "x")
    graph = b.build([emit(b, rule.lhs, found, f64[1])])
    new = rewrite(graph, [rule])
    assert new is not graph
    checked = 0
    with mpmath.workdps(60):
        for point in POINTS:
            try:
                want = exact(rule.lhs, mpmath.mpf(point))
            except (ValueError, ZeroDivisionError):
                continue  # outside the domain, at a pole
            if isinstance(want, mpmath.mpc) or abs(want) > 1e300 or abs(want) < 1e-300:
                continue
            (got,) = interpret(new, [np.array([point])])
            apart = abs(mpmath.mpf(float(got[0])) - want) / np.spacing(abs(float(want)))
            assert apart <= ULP, f"at {point}: {float(got[0])}, exactly {float(want)}"
            checked += 1
        assert checked >= 10
    assert np.isnan(interpret(new, [np.array([math.nan])])[0][0])


def graph_of(formula: Any, shape: tuple[int, ...], dtype: DType = f64) -> Graph:
    b = Builder()
    x = b.input(dtype[shape], "x")
    return b.build([formula(b, x)])


def norm(b: Builder, x: Any) -> Any:
    return b.sqrt(b.reduce_sum(b.mul(x, x), axes=(0,)))


def logsumexp(b: Builder, x: Any) -> Any:
    return b.log(b.reduce_sum(b.exp(x), axes=(0,)))


@pytest.mark.parametrize("square", ["mul", "pow", "square"])
def test_the_norm_has_gradient_zero_at_zero(square: str) -> None:
    def formula(b: Builder, x: Any) -> Any:
        squares = {"mul": lambda: b.mul(x, x), "pow": lambda: b.pow(x, b.const(2, x)), "square": lambda: b.square(x)}
        return b.sqrt(b.reduce_sum(squares[square](), axes=(0,)))

    graph = graph_of(formula, (2,))
    zero, other = np.zeros(2), np.array([3.0, 4.0])
    assert np.isnan(interpret(value_and_grad(graph, [0]), [zero])[1]).all(), "without the rule there is nothing to repair"
    safe = value_and_grad(stabilize.run(graph), [0])
    for x, value, gradient in ((zero, 0.0, zero), (other, 5.0, other / 5)):
        found = interpret(safe, [x])
        np.testing.assert_allclose(found[0], value, rtol=1e-15)
        np.testing.assert_allclose(found[1], gradient, rtol=1e-15)
    assert np.isnan(interpret(safe, [np.array([1.0, math.nan])])[0])
    assert interpret(safe, [np.array([1.0, -math.inf])])[0] == math.inf


def test_only_norms_are_taken_for_norms() -> None:
    graph = graph_of(lambda b, x: b.sqrt(b.reduce_sum(x, axes=(0,))), (2,))
    assert stabilize.run(graph) is graph


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_logsumexp_neither_overflows_nor_vanishes(dtype: DType) -> None:
    safe = value_and_grad(stabilize.run(graph_of(logsumexp, (2,), dtype)), [0])
    for x, value, gradient in (
        ([1000.0, 1000.0], 1000 + math.log(2), [0.5, 0.5]),
        ([-1000.0, -1000.0], -1000 + math.log(2), [0.5, 0.5]),
        ([-math.inf, 2.0], 2.0, [0.0, 1.0]),
        ([0.0, math.log(3)], math.log(4), [0.25, 0.75]),
    ):
        found = interpret(safe, [np.array(x, dtype.numpy)])
        tolerance = 4 * float(np.finfo(dtype.numpy).eps)
        np.testing.assert_allclose(found[0], value, rtol=tolerance)
        np.testing.assert_allclose(found[1], gradient, rtol=tolerance)
    assert interpret(safe, [np.array([math.inf, 1.0], dtype.numpy)])[0] == math.inf
    assert interpret(safe, [np.array([-math.inf, -math.inf], dtype.numpy)])[0] == -math.inf
    assert np.isnan(interpret(safe, [np.array([math.nan, 1.0], dtype.numpy)])[0])


def test_logsumexp_is_left_alone_where_the_maximum_is_subtracted_already() -> None:
    def formula(b: Builder, x: Any) -> Any:
        top = b.broadcast_to(b.reduce_max(x, axes=(0,)), shape=(3,), dims=())
        return logsumexp(b, b.sub(x, top))

    graph = graph_of(formula, (3,))
    assert stabilize.run(graph) is graph


@pytest.mark.parametrize("formula", [norm, logsumexp])
def test_stabilizing_twice_changes_nothing(formula: Any) -> None:
    once = stabilize.run(graph_of(formula, (3,), f32))
    assert stabilize.run(once) is once


# --- Rules that are refused -------------------------------------------------------------------------------------------

x, y = variables("x y")
(c,) = constants("c")


@pytest.mark.parametrize(
    ("lhs", "rhs", "words"),
    [
        (x * 1, y, "y on the right is not bound"),
        (o.mul(1, x), x, "is not canonical"),
        (o.add(c, x), x, "is not canonical"),
        (x * 2, x + x, "does not cost less"),
        (x + y, y + x, "does not cost less"),
        (x / 2, o.exp(x), "does not cost less"),
        (x, x, "must be an op"),
    ],
)
def test_rules_are_checked_when_they_are_made(lhs: Pattern, rhs: Any, words: str) -> None:
    with pytest.raises(CompilerBug, match=words):
        Rule("odd", lhs, rhs)


def test_the_log_names_what_was_applied() -> None:
    b = Builder()
    v = b.input(f32[3], "x")
    graph = b.build([b.mul(b.add(v, v), 1.0)])
    log: list[str] = []
    simplify.run(graph, lambda rule, node, values: log.append(f"{rule}: {node.op.name}"))
    assert log == ["add-self: add", "mul-one: mul"]
