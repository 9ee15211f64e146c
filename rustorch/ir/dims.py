"""Symbolic sizes: integer polynomials over named symbols, in normal form.

A size is an `int` or a `Dim`. Arithmetic on sizes gives sizes: `n * 3 + 1`, `(n + 1) // 2`. What is not a polynomial
(`//`, `%`, `min`, `max`) is an opaque atom inside one. Symbols stand for integers of at least 2: the sizes 0 and 1 always get
a graph of their own, since broadcasting treats them differently.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import total_ordering
from typing import Union

from rustorch.errors import ParseError, ShapeError

Size = Union[int, "Dim"]


@total_ordering
@dataclass(frozen=True)
class Atom:
    """A symbol (`kind` = "symbol"), or an opaque operation (`floordiv`, `mod`, `min`, `max`) on two sizes."""

    kind: str
    name: str = ""
    left: Size = 0
    right: Size = 0

    def __str__(self) -> str:
        if self.kind == "symbol":
            return self.name
        return f"{self.kind}({self.left}, {self.right})"

    def __lt__(self, other: Atom) -> bool:
        return str(self) < str(other)

    def evaluate(self, sizes: Mapping[str, int]) -> int:
        """The value for the given sizes of the symbols."""
        if self.kind == "symbol":
            return sizes[self.name]
        left, right = evaluate(self.left, sizes), evaluate(self.right, sizes)
        return _OPAQUE[self.kind](left, right)


_OPAQUE: dict[str, Callable[[int, int], int]] = {
    "floordiv": lambda a, b: a // b,
    "mod": lambda a, b: a % b,
    "min": min,
    "max": max,
}

Monomial = tuple[Atom, ...]


class Dim:
    """A size that is not known until run time. Immutable; equal exactly when the normal forms are equal."""

    __slots__ = ("terms", "_hash")
    terms: tuple[tuple[Monomial, int], ...]

    def __init__(self, terms: Mapping[Monomial, int]) -> None:
        self.terms = tuple(sorted(((m, c) for m, c in terms.items() if c), key=_term_order))
        self._hash = hash(self.terms)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dim) and self.terms == other.terms

    def __add__(self, other: Size) -> Size:
        total = dict(self.terms)
        for monomial, coefficient in _terms(other):
            total[monomial] = total.get(monomial, 0) + coefficient
        return _normal(total)

    __radd__ = __add__

    def __neg__(self) -> Size:
        return self * -1

    def __sub__(self, other: Size) -> Size:
        return self + (other * -1)

    def __rsub__(self, other: Size) -> Size:
        return (self * -1) + other

    def __mul__(self, other: Size) -> Size:
        product: dict[Monomial, int] = {}
        for left, a in self.terms:
            for right, b in _terms(other):
                monomial = tuple(sorted(left + right))
                product[monomial] = product.get(monomial, 0) + a * b
        return _normal(product)

    __rmul__ = __mul__

    def __floordiv__(self, other: Size) -> Size:
        return _divide(self, other)

    def __rfloordiv__(self, other: Size) -> Size:
        return _opaque("floordiv", other, self)

    def __mod__(self, other: Size) -> Size:
        if other == 1 or self == other:
            return 0
        quotient = _divide(self, other)
        return 0 if quotient * other == self else _opaque("mod", self, other)

    def __str__(self) -> str:
        return " + ".join(_term_text(m, c) for m, c in self.terms).replace("+ -", "- ")

    def __repr__(self) -> str:
        return f"Dim({str(self)!r})"

    def __bool__(self) -> bool:
        return True  # a symbol is at least 2; a size that might be 0 is never compared by truth

    def symbols(self) -> frozenset[str]:
        """Names of the symbols inside."""
        names: set[str] = set()
        for monomial, _ in self.terms:
            for atom in monomial:
                if atom.kind == "symbol":
                    names.add(atom.name)
                else:
                    names |= symbols(atom.left) | symbols(atom.right)
        return frozenset(names)

    def evaluate(self, sizes: Mapping[str, int]) -> int:
        """The value for the given sizes of the symbols."""
        total = 0
        for monomial, coefficient in self.terms:
            for atom in monomial:
                coefficient *= atom.evaluate(sizes)
            total += coefficient
        return total


_RESERVED = frozenset(["true", "false", "none", "nan", "inf", "buf", "bool", "i32", "i64", "f32", "f64"])
"""Words that an attribute may be, beside a size."""


def symbol(name: str) -> Dim:
    """The size named `name`."""
    if not name.isidentifier():
        raise ShapeError(f"a dimension's name must be an identifier, not {name!r}")
    if name in _RESERVED:
        raise ShapeError(f"a dimension cannot be called {name!r}: the word has a meaning in the text of graphs")
    return Dim({(Atom("symbol", name),): 1})


def symbols(size: Size) -> frozenset[str]:
    """Names of the symbols in a size; none for an int."""
    return size.symbols() if isinstance(size, Dim) else frozenset()


def rename(size: Size, names: Mapping[str, str]) -> Size:
    """The size with its symbols renamed; those not in `names` stay."""
    if not isinstance(size, Dim):
        return size
    total: Size = 0
    for monomial, coefficient in size.terms:
        term: Size = coefficient
        for atom in monomial:
            if atom.kind == "symbol":
                term = symbol(names.get(atom.name, atom.name)) * term
            else:
                term = _opaque(atom.kind, rename(atom.left, names), rename(atom.right, names)) * term
        total = total + term
    return total


def evaluate(size: Size, sizes: Mapping[str, int]) -> int:
    """The value of a size for the given sizes of the symbols."""
    return size.evaluate(sizes) if isinstance(size, Dim) else size


def product(sizes: tuple[Size, ...]) -> Size:
    """The number of elements of a shape."""
    total: Size = 1
    for size in sizes:
        total = total * size
    return total


def minimum(a: Size, b: Size) -> Size:
    """The smaller of two sizes."""
    if isinstance(a, int) and isinstance(b, int):
        return min(a, b)
    return a if a == b else _opaque("min", a, b)


def maximum(a: Size, b: Size) -> Size:
    """The larger of two sizes."""
    if isinstance(a, int) and isinstance(b, int):
        return max(a, b)
    return a if a == b else _opaque("max", a, b)


_TOKEN = re.compile(r"\s*(?:(\d+)|([A-Za-z_]\w*)|(.))")


def parse_size(text: str) -> Size:
    """A size from its text, such as `4`, `n`, `2*n + 1` or `floordiv(n, 2)`."""
    tokens = [(m[1] or "", m[2] or "", m[3] or "") for m in _TOKEN.finditer(text) if m.group(0).strip()]
    size, rest = _parse_sum(tokens, text)
    if rest:
        raise ParseError(f"not a size: {text!r}")
    return size


_Tokens = list[tuple[str, str, str]]


def _parse_sum(tokens: _Tokens, text: str) -> tuple[Size, _Tokens]:
    sign = 1
    if tokens and tokens[0][2] == "-":
        sign, tokens = -1, tokens[1:]
    total, tokens = _parse_product(tokens, text)
    total = total * sign
    while tokens and tokens[0][2] in ("+", "-"):
        sign = 1 if tokens[0][2] == "+" else -1
        term, tokens = _parse_product(tokens[1:], text)
        total = total + term * sign
    return total, tokens


def _parse_product(tokens: _Tokens, text: str) -> tuple[Size, _Tokens]:
    factor, tokens = _parse_atom(tokens, text)
    while tokens and tokens[0][2] == "*":
        other, tokens = _parse_atom(tokens[1:], text)
        factor = factor * other
    return factor, tokens


def _parse_atom(tokens: _Tokens, text: str) -> tuple[Size, _Tokens]:
    if not tokens:
        raise ParseError(f"a size ends too early: {text!r}")
    number, name, sign = tokens[0]
    if number:
        return int(number), tokens[1:]
    if name in _OPAQUE and len(tokens) > 1 and tokens[1][2] == "(":
        left, tokens = _parse_sum(tokens[2:], text)
        right, tokens = _parse_sum(_expect(tokens, ",", text), text)
        tokens = _expect(tokens, ")", text)
        if isinstance(left, int) and isinstance(right, int):
            return _OPAQUE[name](left, right), tokens
        return _opaque(name, left, right), tokens
    if name:
        return symbol(name), tokens[1:]
    raise ParseError(f"not a size: {text!r}, at {sign!r}")


def _expect(tokens: _Tokens, sign: str, text: str) -> _Tokens:
    if not tokens or tokens[0][2] != sign:
        raise ParseError(f"not a size: {text!r}, expected {sign!r}")
    return tokens[1:]


def _terms(size: Size) -> tuple[tuple[Monomial, int], ...]:
    return size.terms if isinstance(size, Dim) else (((), size),)


def _normal(terms: Mapping[Monomial, int]) -> Size:
    kept = {m: c for m, c in terms.items() if c}
    if not kept:
        return 0
    if set(kept) == {()}:
        return kept[()]
    return Dim(kept)


def _divide(left: Dim, right: Size) -> Size:
    """`left // right`, exact where every term divides."""
    if right == 1:
        return left
    if left == right:
        return 1
    divisor = _terms(right)
    if len(divisor) == 1:
        (monomial, coefficient) = divisor[0]
        quotient: dict[Monomial, int] = {}
        for m, c in left.terms:
            rest = list(m)
            for atom in monomial:
                if atom not in rest:
                    return _opaque("floordiv", left, right)
                rest.remove(atom)
            if coefficient == 0 or c % coefficient:
                return _opaque("floordiv", left, right)
            quotient[tuple(rest)] = c // coefficient
        return _normal(quotient)
    return _opaque("floordiv", left, right)


def _opaque(kind: str, left: Size, right: Size) -> Dim:
    return Dim({(Atom(kind, "", left, right),): 1})


def _term_order(term: tuple[Monomial, int]) -> tuple[int, str]:
    monomial, _ = term
    return (-len(monomial), "*".join(map(str, monomial)))


def _term_text(monomial: Monomial, coefficient: int) -> str:
    factors = [str(atom) for atom in monomial]
    if coefficient != 1 or not factors:
        factors.insert(0, str(coefficient))
    return "*".join(factors)
