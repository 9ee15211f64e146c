"""Sizes in a package: text over the symbolic dimensions, as a number, as C, as LLVM.

The text is what the graph prints, such as `4`, `n`, `64*n + 128` or `floordiv(n, 2)`; operations are `+`, `-`, `*`,
`floordiv`, `mod`, `min` and `max`. Division rounds down, as in Python.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import TypeVar

from rustorch.errors import ParseError

Size = int | str
"""An int, or the text of a size."""

T = TypeVar("T")
_Evaluation = Callable[[Mapping[str, int]], int]

_OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.FloorDiv: "floordiv",
    ast.Mod: "mod",
}
_EVALUATE: dict[str, Callable[[int, int], int]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "floordiv": operator.floordiv,
    "mod": operator.mod,
    "min": min,
    "max": max,
}
_C = {
    "add": "({} + {})",
    "sub": "({} - {})",
    "mul": "({} * {})",
    "floordiv": "RT_FLOORDIV({}, {})",
    "mod": "RT_MOD({}, {})",
    "min": "RT_MIN({}, {})",
    "max": "RT_MAX({}, {})",
}
C_MACROS = """\
#define RT_FLOORDIV(a, b) ((a) / (b) - ((a) % (b) != 0 && ((a) % (b) < 0) != ((b) < 0)))
#define RT_MOD(a, b) ((a) - RT_FLOORDIV(a, b) * (b))
#define RT_MIN(a, b) ((a) < (b) ? (a) : (b))
#define RT_MAX(a, b) ((a) > (b) ? (a) : (b))
"""
"""What the text of `as_c` refers to."""


def fold(size: Size, number: Callable[[int], T], name: Callable[[str], T], combine: Callable[[str, T, T], T]) -> T:
    """A value for the size, built bottom-up from its numbers, its names and its operations."""

    def visit(node: ast.expr) -> T:
        match node:
            case ast.Constant(value=int(value)) if not isinstance(value, bool):
                return number(value)
            case ast.Name(id=symbol):
                return name(symbol)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return combine("sub", number(0), visit(operand))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return combine(_OPERATORS[type(op)], visit(left), visit(right))
            case ast.Call(func=ast.Name(id=function), args=[left, right], keywords=[]) if function in _EVALUATE:
                return combine(function, visit(left), visit(right))
        raise ParseError(f"not a size: {size!r}, at {ast.unparse(node)!r}")

    try:
        tree = ast.parse(str(size).strip(), mode="eval")
    except (SyntaxError, ValueError) as error:
        raise ParseError(f"not a size: {size!r}") from error
    return visit(tree.body)


def evaluate(size: Size, sizes: Mapping[str, int]) -> int:
    """The value of a size for the given sizes of the symbols."""
    return size if isinstance(size, int) else _function(size)(sizes)


@lru_cache(maxsize=1024)
def _function(text: str) -> _Evaluation:
    """A size as a function of its symbols: the walk over the text is done once."""

    def number(value: int) -> _Evaluation:
        return lambda _: value

    def name(symbol: str) -> _Evaluation:
        return lambda sizes: sizes[symbol]

    def combine(op: str, left: _Evaluation, right: _Evaluation) -> _Evaluation:
        function = _EVALUATE[op]
        return lambda sizes: function(left(sizes), right(sizes))

    return fold(text, number, name, combine)


@lru_cache(maxsize=1024)
def symbols(size: Size) -> frozenset[str]:
    """Names of the symbols in a size."""
    return fold(size, lambda _: frozenset[str](), lambda name: frozenset((name,)), lambda _, a, b: a | b)


def solve(size: Size, symbol: str, value: int, sizes: Mapping[str, int]) -> int | None:
    """The `symbol` for which the size has this value, the other symbols being known: by the line through the size at 0 and 1.

    None where no such integer solves it.
    """
    if size == symbol:
        return value
    try:
        at = [evaluate(size, {**sizes, symbol: k}) for k in (0, 1)]
        slope = at[1] - at[0]
        found = (value - at[0]) // slope
        return found if evaluate(size, {**sizes, symbol: found}) == value else None
    except ZeroDivisionError:  # the size does not depend on the symbol near 0, or divides by it
        return None


def as_c(size: Size, name: Callable[[str], str] = str) -> str:
    """A C expression of type `int64_t`, for operands that are such; refers to `C_MACROS`."""
    return fold(size, str, name, lambda op, a, b: _C[op].format(a, b))


def as_llvm(size: Size, fresh: Iterator[str], name: Callable[[str], str] = "%{}".format) -> tuple[list[str], str]:
    """Instructions that compute the size as an `i64` from the values of its symbols, and the value that holds it.

    `fresh` gives names that are free. A symbolic divisor of 0 is taken as 1, so that no size traps.
    """
    lines: list[str] = []

    def emit(instruction: str) -> str:
        result = f"%{next(fresh)}"
        lines.append(f"  {result} = {instruction}")
        return result

    def select(predicate: str, left: str, right: str, then: str, otherwise: str) -> str:
        chosen = emit(f"icmp {predicate} i64 {left}, {right}")
        return emit(f"select i1 {chosen}, i64 {then}, i64 {otherwise}")

    def combine(op: str, left: str, right: str) -> str:
        if op in ("add", "sub", "mul"):
            return emit(f"{op} i64 {left}, {right}")
        if op in ("min", "max"):
            return select("slt" if op == "min" else "sgt", left, right, left, right)
        if right.startswith("%"):
            right = select("eq", right, "0", "1", right)
        # The remainder takes the divisor's sign: r = rem(a, b); add b where r and b differ in sign.
        rest = emit(f"srem i64 {left}, {right}")
        sign = emit(f"xor i64 {rest}, {right}")
        moved = emit(f"add i64 {rest}, {right}")
        opposite = select("slt", sign, "0", moved, rest)
        modulo = select("eq", rest, "0", rest, opposite)
        if op == "mod":
            return modulo
        exact = emit(f"sub i64 {left}, {modulo}")
        return emit(f"sdiv i64 {exact}, {right}")

    value = fold(size, str, name, combine)
    return lines, value
