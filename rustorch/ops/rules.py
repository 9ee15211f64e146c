"""Algebra and numerical stability, as data.

`ALGEBRA` keeps every bit (powers: to the ulp that the rule states) on all inputs, NaN, infinities and -0.0 included, and never
costs more: so `x * 0 → 0` and `x + 0.0 → x` stand here for integers only. `STABILITY` is applied before differentiation, so
that gradients are safe too; its right sides are the same functions of real numbers, and nearer to them in floating point.
Each rule is proved numerically by the tests from its own text.
"""

from __future__ import annotations

import math

from rustorch.ir.builder import Builder
from rustorch.ir.dtypes import FLOATS, INTS, NUMBERS, bool_
from rustorch.ir.graph import Node, Value
from rustorch.ir.pattern import FunctionRule, Match, Rule, constants, o, splat, variables
from rustorch.ir.types import TensorType, element
from rustorch.ops.family import others

x, y, z, m = variables("x y z m")
c, d = constants("c d")

BOOL = (bool_,)
BITS = (bool_, *INTS)


def _is_power_of_two(number: float) -> bool:
    return math.isfinite(number) and math.frexp(abs(number))[0] == 0.5


def _doublings(found: Match) -> bool:
    """Both numbers are powers of two of at least 1, and their product is finite: then both orders round alike."""
    first, second = found.number(c), found.number(d)
    if not all(_is_power_of_two(n) and abs(n) >= 1 for n in (first, second)):
        return False
    return math.log2(abs(first)) + math.log2(abs(second)) < _largest_exponent(found)


def _has_exact_inverse(found: Match) -> bool:
    """The number is a power of two whose inverse is neither infinite nor below the normal range."""
    number = found.number(c)
    return _is_power_of_two(number) and abs(math.log2(abs(number))) < _largest_exponent(found) - 2


def _largest_exponent(found: Match) -> int:
    return 128 if element(found[c].type).bits == 32 else 1024


ALGEBRA: tuple[Rule, ...] = (
    # --- Neutral elements
    Rule("add-zero", x + 0, x, on=INTS),
    Rule("add-minus-zero", x + -0.0, x, on=FLOATS, why="-0.0 + 0.0 is 0.0, so +0.0 is not neutral; -0.0 is"),
    Rule("mul-one", x * 1, x, on=NUMBERS),
    Rule("div-one", x / 1, x, on=NUMBERS),
    Rule("mul-zero", x * 0, 0, on=INTS, why="for floats inf * 0 is NaN, and -1 * 0 is -0.0"),
    Rule("sub-self", x - x, 0, on=INTS, why="for floats inf - inf is NaN"),
    # --- Signs
    Rule("neg-neg", -o.neg(x), x, on=NUMBERS),
    Rule("abs-neg", o.abs(-x), o.abs(x), on=NUMBERS),
    Rule("abs-abs", o.abs(o.abs(x)), o.abs(x), on=NUMBERS),
    Rule("add-neg", x + -y, x - y, on=NUMBERS),
    Rule("sub-neg", x - -y, x + y, on=NUMBERS),
    Rule("neg-sub", -(x - y), y - x, on=INTS, why="for floats -(x - x) is -0.0"),
    Rule("mul-neg-neg", -x * -y, x * y, on=NUMBERS),
    Rule("div-neg-neg", -x / -y, x / y, on=FLOATS),
    Rule("neg-mul", -(x * c), x * -c, on=NUMBERS),
    Rule("mul-neg", -x * c, x * -c, on=NUMBERS),
    Rule("neg-div", -(x / c), x / -c, on=FLOATS),
    Rule("div-neg", -x / c, x / -c, on=FLOATS),
    # --- Constants that meet
    Rule("add-self", x + x, x * 2, on=NUMBERS),
    Rule("add-add", x + c + d, x + (c + d), on=INTS),
    Rule("mul-mul", x * c * d, x * (c * d), on=INTS),
    Rule("mul-mul-doublings", x * c * d, x * (c * d), on=FLOATS, when=_doublings),
    Rule("div-power-of-two", x / c, x * (1 / c), on=FLOATS, when=_has_exact_inverse),
    # --- Powers
    Rule("pow-zero", o.pow(x, 0), 1, on=NUMBERS, why="NaN ** 0 is 1, as in C"),
    Rule("pow-one", o.pow(x, 1), x, on=NUMBERS),
    Rule("pow-two", o.pow(x, 2), x * x, on=NUMBERS, ulp=1, why="the product is rounded correctly, a power need not be"),
    Rule("pow-three", o.pow(x, 3), x * x * x, on=FLOATS, ulp=2, why="two roundings of half an ulp, the first scaled by x"),
    Rule("pow-four", o.pow(x, 4), x * x * (x * x), on=FLOATS, ulp=2, why="the square's half ulp doubles, and one more rounding"),
    Rule("pow-minus-one", o.pow(x, -1), 1 / x, on=FLOATS, ulp=1, why="the quotient is rounded correctly, a power need not be"),
    Rule(
        "pow-half",
        o.pow(x, 0.5),
        o.select(o.eq(x, -math.inf), math.inf, o.sqrt(x + 0.0)),
        on=FLOATS,
        ulp=1,
        why="pow takes -inf to inf and -0.0 to 0.0, where sqrt gives NaN and -0.0",
    ),
    # --- Extremes and rounding
    Rule("maximum-self", o.maximum(x, x), x, on=NUMBERS),
    Rule("minimum-self", o.minimum(x, x), x, on=NUMBERS),
    Rule("floor-floor", o.floor(o.floor(x)), o.floor(x), on=FLOATS),
    Rule("ceil-ceil", o.ceil(o.ceil(x)), o.ceil(x), on=FLOATS),
    Rule("round-round", o.round_even(o.round_even(x)), o.round_even(x), on=FLOATS),
    # --- Choices
    Rule("select-true", o.select(True, x, y), x),
    Rule("select-false", o.select(False, x, y), y),
    Rule("select-same", o.select(m, x, x), x),
    Rule("select-not", o.select(~m, x, y), o.select(m, y, x)),
    Rule("select-mask", o.select(m, True, False), m, on=BOOL),
    Rule("select-select", o.select(m, o.select(m, x, y), z), o.select(m, x, z)),
    Rule("select-select-else", o.select(m, x, o.select(m, y, z)), o.select(m, x, z)),
    # --- Bits
    Rule("not-not", ~(~x), x, on=BITS),
    Rule("and-self", x & x, x, on=BITS),
    Rule("or-self", x | x, x, on=BITS),
    Rule("xor-self", x ^ x, False, on=BOOL),
    Rule("xor-self-int", x ^ x, 0, on=INTS),
    Rule("and-true", x & True, x, on=BOOL),
    Rule("and-false", x & False, False, on=BOOL),
    Rule("or-true", x | True, True, on=BOOL),
    Rule("or-false", x | False, x, on=BOOL),
    Rule("and-ones", x & -1, x, on=INTS),
    Rule("and-zero", x & 0, 0, on=INTS),
    Rule("or-zero", x | 0, x, on=INTS),
    Rule("xor-zero", x ^ 0, x, on=INTS),
    Rule("shl-zero", o.shl(x, 0), x, on=INTS),
    # --- Comparisons
    Rule("eq-self", o.eq(x, x), True, on=BITS, why="for floats NaN is not equal to itself"),
    Rule("ne-self", o.ne(x, x), False, on=BITS),
    Rule("lt-self", o.lt(x, x), False, on=NUMBERS),
    Rule("gt-self", o.gt(x, x), False, on=NUMBERS),
    Rule("le-self", o.le(x, x), True, on=INTS),
    Rule("ge-self", o.ge(x, x), True, on=INTS),
)


# --- Stability --------------------------------------------------------------------------------------------------------


def _is_sum_of_squares(found: Match) -> bool:
    """Whether x is a sum of squares."""
    total = found.b.producer(found[x])
    if total is None or total.op.name != "reduce_sum":
        return False
    squares = found.b.producer(total.operands[0])
    if squares is None:
        return False
    if squares.op.name == "pow":
        return bool(splat(found.b, squares.operands[1]) == 2)
    return squares.op.name == "square" or (squares.op.name == "mul" and squares.operands[0] is squares.operands[1])


def _logsumexp(b: Builder, node: Node) -> Value | None:
    """log(sum(exp(x))) = m + log(sum(exp(x - m))) with m the maximum, so that the largest summand is 1.

    Where the maximum is infinite 0 stands for it: inf - inf would be NaN. The maximum is a constant of differentiation: the
    identity holds for every m.
    """
    total = b.producer(node.operands[0])
    if total is None or total.op.name != "reduce_sum":
        return None
    power = b.producer(total.operands[0])
    if power is None or power.op.name != "exp":
        return None
    exponent, axes = power.operands[0], total.attrs["axes"]
    type_ = exponent.type
    assert isinstance(type_, TensorType)
    if any(not isinstance(type_.shape[a], int) or type_.shape[a] == 0 for a in axes):
        return None
    inner = b.producer(exponent)
    if inner is not None and inner.op.name == "sub" and _is_shift(b, inner.operands[1]):
        return None
    top = b.detach(b.reduce_max(exponent, axes=axes))
    top = b.select(b.eq(b.abs(top), math.inf), b.const(0, top), top)
    shift = b.broadcast_to(top, shape=type_.shape, dims=others(len(type_.shape), axes))
    shifted = b.sub(exponent, shift)
    sum_ = b.reduce_sum(b.exp(shifted), axes=axes)
    result: Value = b.add(b.log(sum_), top)
    return result


def _is_shift(b: Builder, value: Value) -> bool:
    """Whether a value is a maximum repeated along the axes that it was taken over: what is subtracted is then stable already."""
    node = b.producer(value)
    while node is not None and node.op.name in ("broadcast_to", "reshape", "detach", "select"):
        node = b.producer(node.operands[-1])
    return node is not None and node.op.name == "reduce_max"


STABILITY: tuple[Rule | FunctionRule, ...] = (
    Rule("log1p", o.log(x + 1), o.log1p(x), on=FLOATS, costs_more=True),
    Rule("log1p-neg", o.log(1 - x), o.log1p(-x), on=FLOATS, costs_more=True),
    Rule("expm1", o.exp(x) - 1, o.expm1(x), on=FLOATS),
    Rule("expm1-add", o.exp(x) + -1, o.expm1(x), on=FLOATS),
    Rule("log-exp", o.log(o.exp(x)), x, on=FLOATS, why="exp overflows long before its logarithm does"),
    Rule("softplus", o.log1p(o.exp(x)), o.softplus(x), on=FLOATS, costs_more=True),
    Rule("sigmoid", 1 / (o.exp(x) + 1), o.sigmoid(-x), on=FLOATS),
    Rule("sigmoid-quotient", o.exp(x) / (o.exp(x) + 1), o.sigmoid(x), on=FLOATS),
    Rule("one-minus-sigmoid", 1 - o.sigmoid(x), o.sigmoid(-x), on=FLOATS, costs_more=True),
    Rule("log-sigmoid", o.log(o.sigmoid(x)), -o.softplus(-x), on=FLOATS, costs_more=True),
    Rule(
        "norm-at-zero",
        o.sqrt(x),
        o.select(o.gt(x, 0), o.sqrt(o.select(o.gt(x, 0), x, 1)), x),
        on=FLOATS,
        when=_is_sum_of_squares,
        costs_more=True,
        why="the norm's gradient at 0 is then 0, a subgradient, and not 0 * inf = NaN",
    ),
    FunctionRule("logsumexp", "log", _logsumexp),
)
