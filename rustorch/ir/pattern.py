"""Rules as data: `Rule("mul-one", x * 1, x)`; the matcher; and the rewriter that a builder tries on every new node.

    x, y = variables("x y")              # match anything; the same variable twice must be the same value
    (c,) = constants("c")                # match a number repeated over any shape
    Rule("add-self", x + x, x * 2)
    Rule("log1p", o.log(x + 1), o.log1p(x))

The left side says what to look for behind a value, the right side what to emit for it; numbers stand for splat constants of
whatever shape. A rule is checked when it is made: its variables are bound, its left side is in canonical form (constants of
commutative ops on the right), and its right side costs less, or as much with fewer parts, so that rewriting ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from rustorch.errors import CompilerBug
from rustorch.ir.builder import Builder
from rustorch.ir.dtypes import DTYPES, bool_
from rustorch.ir.graph import Graph, Node, Payload, Value
from rustorch.ir.op import REGISTRY, Trait
from rustorch.ir.rewrite import replay
from rustorch.ir.types import DType, Type, element, with_element

Number = int | float | bool


# --- Patterns ---------------------------------------------------------------------------------------------------------


class Pattern:
    """An expression over pattern variables."""

    def __add__(self, other: Pattern | Number) -> Pattern:
        return o.add(self, other)

    def __sub__(self, other: Pattern | Number) -> Pattern:
        return o.sub(self, other)

    def __rsub__(self, other: Number) -> Pattern:
        return o.sub(other, self)

    def __mul__(self, other: Pattern | Number) -> Pattern:
        return o.mul(self, other)

    def __truediv__(self, other: Pattern | Number) -> Pattern:
        return o.div(self, other)

    def __rtruediv__(self, other: Number) -> Pattern:
        return o.div(other, self)

    def __pow__(self, other: Pattern | Number) -> Pattern:
        return o.pow(self, other)

    def __neg__(self) -> Pattern:
        return o.neg(self)

    def __and__(self, other: Pattern | Number) -> Pattern:
        return o.and_(self, other)

    def __or__(self, other: Pattern | Number) -> Pattern:
        return o.or_(self, other)

    def __xor__(self, other: Pattern | Number) -> Pattern:
        return o.xor(self, other)

    def __invert__(self) -> Pattern:
        return o.not_(self)


@dataclass(frozen=True)
class Variable(Pattern):
    """Matches any value; with `constant`, only a number repeated over a shape."""

    name: str
    constant: bool = False

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Literal(Pattern):
    """Matches this number repeated over any shape; 0 and -0.0 are different."""

    value: Number

    def __str__(self) -> str:
        return str(self.value)


@dataclass(frozen=True)
class Call(Pattern):
    """Matches a node of an op without attributes."""

    op: str
    arguments: tuple[Pattern, ...]

    def __str__(self) -> str:
        return f"{self.op}({', '.join(map(str, self.arguments))})"


class _Ops:
    """`o.exp(x)`: the pattern of any registered op; names that are Python keywords end in `_`."""

    def __getattr__(self, name: str) -> Callable[..., Pattern]:
        if name.startswith("__"):
            raise AttributeError(name)
        op = REGISTRY[name.removesuffix("_")]
        return lambda *arguments: Call(op.name, tuple(a if isinstance(a, Pattern) else Literal(a) for a in arguments))


o = _Ops()


def variables(names: str) -> tuple[Variable, ...]:
    """Pattern variables, by names between spaces."""
    return tuple(map(Variable, names.split()))


def constants(names: str) -> tuple[Variable, ...]:
    """Pattern variables that match splat constants only."""
    return tuple(Variable(name, constant=True) for name in names.split())


def subpatterns(pattern: Pattern) -> Iterator[Pattern]:
    """The pattern and all its parts."""
    yield pattern
    if isinstance(pattern, Call):
        for argument in pattern.arguments:
            yield from subpatterns(argument)


# --- Matching ---------------------------------------------------------------------------------------------------------


class Match(dict[Variable, Value]):
    """What the variables of a left side stand for, found through a builder."""

    def __init__(self, b: Builder) -> None:
        super().__init__()
        self.b = b

    def number(self, variable: Variable) -> Any:
        """The number that a constant variable stands for."""
        return splat(self.b, self[variable])


def splat(b: Builder, value: Value) -> Any:
    """The number that a constant repeats over its shape; None for anything else."""
    node = b.producer(value)
    if node is None or node.op.name != "const" or isinstance(node.attrs["value"], Payload):
        return None
    return node.attrs["value"]


def same_number(x: Number, y: Number) -> bool:
    """Whether two numbers are the same: 1 and 1.0 are, True and 1, or 0.0 and -0.0, are not; NaN is itself."""
    if isinstance(x, bool) is not isinstance(y, bool):
        return False
    if x != x:
        return y != y
    return x == y and math.copysign(1, x) == math.copysign(1, y)


def matches(pattern: Pattern, value: Value, found: Match) -> bool:
    """Whether a value fits; `found` gains what the variables stand for (and is spoilt where the answer is no)."""
    if isinstance(pattern, Variable):
        if pattern in found:
            return found[pattern] is value
        if pattern.constant and splat(found.b, value) is None:
            return False
        found[pattern] = value
        return True
    if isinstance(pattern, Literal):
        number = splat(found.b, value)
        return number is not None and same_number(number, pattern.value)
    assert isinstance(pattern, Call)
    node = found.b.producer(value)
    return node is not None and node.op.name == pattern.op and _operands_match(pattern, node, found)


def _operands_match(pattern: Call, node: Node, found: Match) -> bool:
    if len(pattern.arguments) != len(node.operands):
        return False
    before = dict(found)
    if all(matches(p, v, found) for p, v in zip(pattern.arguments, node.operands, strict=True)):
        return True
    if Trait.COMMUTATIVE not in node.op.traits:
        return False
    found.clear()
    found.update(before)
    return all(matches(p, v, found) for p, v in zip(pattern.arguments, reversed(node.operands), strict=True))


def emit(b: Builder, pattern: Pattern, found: Match, like: Type) -> Value:
    """The value of a pattern, emitted; a number takes the type of its neighbours (bool where it is a mask), or `like`."""
    if isinstance(pattern, Variable):
        return found[pattern]
    if isinstance(pattern, Literal):
        return b.const(pattern.value, like)
    assert isinstance(pattern, Call)
    made = [None if isinstance(p, Literal) else emit(b, p, found, like) for p in pattern.arguments]
    types = [v.type for v in made if v is not None]
    type_ = next((t for t in reversed(types) if element(t).kind != "bool"), like if pattern.op == "select" or not types else types[-1])
    operands = []
    for place, (value, part) in enumerate(zip(made, pattern.arguments, strict=True)):
        is_mask = pattern.op == "select" and place == 0
        operands.append(value if value is not None else emit(b, part, found, with_element(type_, bool_) if is_mask else type_))
    return b.emit(REGISTRY[pattern.op], operands)[0]


# --- Rules ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rule:
    """`lhs` becomes `rhs`, for element types `on`, where `when` says so."""

    name: str
    lhs: Pattern
    rhs: Pattern | Number
    on: tuple[DType, ...] = DTYPES
    """Element types of the root's last operand."""
    when: Callable[[Match], bool] | None = None
    why: str = ""
    """What is not seen at a glance."""
    ulp: float = 0
    """How far the two sides may be apart, in units in the last place of the right one; 0: the same bits."""
    costs_more: bool = False
    """Stability rules may cost more than what they replace."""
    root: str = field(init=False)
    behind: tuple[str | None, ...] = field(init=False)
    """The op that must have made each operand of the root; None where any may have."""

    def __post_init__(self) -> None:
        if not isinstance(self.lhs, Call):
            raise CompilerBug(f"rule {self.name}: the left side must be an op")
        object.__setattr__(self, "root", self.lhs.op)
        object.__setattr__(self, "behind", tuple(map(_expected_op, self.lhs.arguments)))
        if not isinstance(self.rhs, Pattern):
            object.__setattr__(self, "rhs", Literal(self.rhs))
        self._check()

    def __call__(self, b: Builder, node: Node) -> Sequence[Value] | None:
        """What the rule makes of a node; None where it does not fit."""
        if element(node.operands[-1].type) not in self.on:
            return None
        found = Match(b)
        assert isinstance(self.lhs, Call) and isinstance(self.rhs, Pattern)
        if not _operands_match(self.lhs, node, found) or (self.when is not None and not self.when(found)):
            return None
        return (emit(b, self.rhs, found, node.results[0].type),)

    def _check(self) -> None:
        assert isinstance(self.rhs, Pattern)
        left, right = list(subpatterns(self.lhs)), list(subpatterns(self.rhs))
        unbound = [str(p) for p in right if isinstance(p, Variable) and p not in left]
        if unbound:
            raise CompilerBug(f"rule {self.name}: {', '.join(unbound)} on the right is not bound on the left")
        for part in left:
            if isinstance(part, Call) and Trait.COMMUTATIVE in REGISTRY[part.op].traits and _is_constant(part.arguments[0]):
                raise CompilerBug(f"rule {self.name}: {part} is not canonical: constants stand on the right")
        if not self.costs_more and not self._weight(self.rhs) < self._weight(self.lhs):
            raise CompilerBug(f"rule {self.name}: {self.rhs} does not cost less than {self.lhs}")

    @staticmethod
    def _weight(pattern: Pattern) -> tuple[int, int, int]:
        """Cost, uses of variables, ops: what each rule lowers, in this order."""
        parts = [p for p in subpatterns(pattern) if not _is_constant(p)]
        calls = [p for p in parts if isinstance(p, Call)]
        return sum(REGISTRY[p.op].cost for p in calls), sum(isinstance(p, Variable) for p in parts), len(calls)


def _expected_op(pattern: Pattern) -> str | None:
    if isinstance(pattern, Call):
        return pattern.op
    return "const" if _is_constant(pattern) else None


def _is_constant(pattern: Pattern) -> bool:
    """Whether a pattern has constants only, so that its value is folded."""
    return all(isinstance(p, Literal) or (isinstance(p, Variable) and p.constant) for p in subpatterns(pattern) if not isinstance(p, Call))


@dataclass(frozen=True)
class FunctionRule:
    """A rule that computes attributes, such as the permutation of two transposes: `function(b, node)`, or None to decline."""

    name: str
    root: str | None
    """The op it speaks of; None for every op."""
    function: Callable[[Builder, Node], Value | None]

    def __call__(self, b: Builder, node: Node) -> Sequence[Value] | None:
        """What the rule makes of a node; None where it does not fit."""
        value = self.function(b, node)
        return None if value is None else (value,)


AnyRule = Rule | FunctionRule
Log = Callable[[str, Node, Sequence[Value]], None]


class RuleRewriter:
    """What a builder tries on every new node: the rules of its op, in order; the first that fits is applied."""

    def __init__(self, rules: Sequence[AnyRule], log: Log | None = None) -> None:
        self.applied = 0
        self.log = log
        self._rules = rules
        self._by_op: dict[str, list[AnyRule]] = {}
        """Filled as ops are met: a small graph has few."""

    def __call__(self, b: Builder, node: Node) -> Sequence[Value] | None:
        """Replacements for the results of a node, or None."""
        makers = [b.producer(v) for v in node.operands]
        made = [maker.op.name if maker is not None else "" for maker in makers]
        op = node.op.name
        rules = self._by_op.get(op)
        if rules is None:
            rules = self._by_op[op] = [r for r in self._rules if r.root in (op, None)]
        for rule in rules:
            if isinstance(rule, Rule) and not _may_fit(rule.behind, made, node):
                continue
            values = rule(b, node)
            if values is None:
                continue
            if [v.type for v in values] != [v.type for v in node.results]:
                raise CompilerBug(f"rule {rule.name} made {[v.type for v in values]} of {node}")
            self.applied += 1
            if self.log is not None:
                self.log(rule.name, node, values)
            return values
        return None


def _may_fit(behind: tuple[str | None, ...], made: list[str], node: Node) -> bool:
    """A quick look before the match: whether the right ops stand behind the operands."""
    if all(expected is None or expected == op for expected, op in zip(behind, made, strict=False)):
        return True
    return Trait.COMMUTATIVE in node.op.traits and all(e is None or e == op for e, op in zip(behind, reversed(made), strict=False))


def rewrite(graph: Graph, rules: Sequence[AnyRule], log: Log | None = None) -> Graph:
    """The graph after all rules have been applied wherever they fit; the same object where none does.

    What lost its readers is still there: `dead_code` takes it away. `log(rule, node, values)` is called for each application.
    """
    rewriter = RuleRewriter(rules, log)
    new = replay(graph, rewriter=rewriter)
    return new if rewriter.applied or len(new.nodes) != len(graph.nodes) else graph
