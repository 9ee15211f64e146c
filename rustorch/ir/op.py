"""What an operation is: one frozen record with nothing unsaid, and the registry of all of them.

A record that leaves a meaning out is refused when it is made. Families of ops (elementwise, reductions, movement …) fill
what follows from the family; see `rustorch/ops/family.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from rustorch.errors import CompilerBug
from rustorch.ir.types import Type

Rule_ = Callable[..., Any]


class Trait(Enum):
    """Facts that passes ask for without knowing an op by name."""

    PURE = auto()
    """No effect but its results: may be shared, moved or dropped."""
    ELEMENTWISE = auto()
    """Result element i depends on element i of each operand only; the same name serves tensors, vectors and scalars."""
    COMMUTATIVE = auto()
    """The operands of a two-operand op may be exchanged."""
    MOVEMENT = auto()
    """Moves elements, computes nothing."""
    REDUCTION = auto()
    """Combines elements along `axes`."""
    CONSTANT = auto()
    """The result is in the attributes."""
    GUARDED = auto()
    """Its region runs only sometimes, so nothing moves out of it."""
    ISOLATED = auto()
    """Its regions read nothing from around them: operands reach them as their inputs."""
    LOOP = auto()
    """Belongs to the loop dialect; never in a tensor graph."""


# --- Derivatives: forms of which one must be chosen -------------------------------------------------------------------


@dataclass(frozen=True)
class Partials:
    """Elementwise: `partials(b, y, *operands, **attrs)` lists dy/d(operand i); None for an operand without derivative."""

    partials: Rule_


@dataclass(frozen=True)
class Linear:
    """Jointly linear in its differentiable operands: `op(x + t, …) = op(x, …) + op(t, …)`.

    `transposes[i](b, ct, *operands, **attrs)` is the cotangent of operand i, or a `NotDifferentiable`. Ops with any number
    of operands give `each(b, i, ct, *operands, **attrs)` instead. The jvp is the op itself on the tangents.
    """

    transposes: tuple[Rule_ | NotDifferentiable, ...] = ()
    each: Rule_ | None = None


@dataclass(frozen=True)
class Multilinear:
    """Linear in each differentiable operand separately (products, contractions): one transpose per operand as in `Linear`.

    The jvp is the sum over i of the op with operand i replaced by its tangent.
    """

    transposes: tuple[Rule_ | NotDifferentiable, ...]


@dataclass(frozen=True)
class Rules:
    """Both directions stated: for ops that neither form fits; an inner-product test ties them.

    `jvp(b, operands, tangents, results, attrs)` gives a tangent (or None for zero) per result; `tangents[i]` may be None.
    `vjp(b, cotangents, operands, results, attrs)` gives a cotangent (or None for zero) per operand; `cotangents[i]` may be None.
    """

    jvp: Rule_
    vjp: Rule_


@dataclass(frozen=True)
class Zero:
    """The derivative is zero everywhere that it exists; `why` says so in a sentence."""

    why: str


@dataclass(frozen=True)
class Undefined:
    """There is no derivative, and asking for one is an error that says `why`."""

    why: str


@dataclass(frozen=True)
class Expanded:
    """The derivative is that of the `expand` definition."""


@dataclass(frozen=True)
class Stated:
    """The regions of the node state the derivative: see `rustorch/ops/custom.py`."""


@dataclass(frozen=True)
class NotDifferentiable:
    """An operand (an index, a mask) that no derivative flows to; `why` says so."""

    why: str


Derivative = Partials | Linear | Multilinear | Rules | Zero | Undefined | Expanded | Stated


# --- Lowering: what code generation needs to know ---------------------------------------------------------------------


@dataclass(frozen=True)
class SameName:
    """Elementwise: the op of the same name on vectors; only the type changes."""


@dataclass(frozen=True)
class Monoid:
    """A reduction: `combine` names an elementwise op, `identity(dtype)` is its neutral element."""

    combine: str
    identity: Callable[[Any], int | float | bool]


@dataclass(frozen=True)
class IndexMap:
    """Movement: `access(result_type, operand_types, attrs)` says where result element (i0, i1, …) is read.

    It gives, per operand and operand axis, `(result axis or None, stride, offset)`: operand index = stride * i[axis] + offset
    (None: the index is `offset`). Only for movement of a single operand where this is affine.
    """

    access: Rule_


@dataclass(frozen=True)
class Nest:
    """The op has a loop nest of its own, known to code generation by `kind`."""

    kind: str


@dataclass(frozen=True)
class Callout:
    """The reference itself does the work, called from native code (LAPACK, through numpy). Operands and results lie row by row."""


@dataclass(frozen=True)
class Never:
    """Never reaches code generation (expanded or folded before); `why` says how."""

    why: str


Lowering = SameName | Monoid | IndexMap | Nest | Callout | Never


# --- Names users know, samples and refusals ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Public:
    """How users find the op: function names, method, operators, argument names; front-end functions derive from it."""

    names: tuple[str, ...]
    arguments: tuple[str, ...]
    method: bool = True
    operator: str = ""
    """Dunder name without underscores (`add` for `__add__`)."""
    in_place: bool = True
    """Whether the method with a trailing underscore exists."""
    promote: str = "arithmetic"
    """`arithmetic`: operands meet in one dtype; `float`: integers become the default float; `none`: as they are."""


@dataclass(frozen=True)
class Internal:
    """Users reach the op only through compositions; `why` names them."""

    why: str


@dataclass(frozen=True)
class Sample:
    """One test input: operand specs (arrays or a callable of a random generator), attributes, and where derivatives exist."""

    make: Callable[..., tuple[Any, ...]]
    attrs: dict[str, Any] = field(default_factory=dict)
    differentiable: bool = True
    label: str = ""


@dataclass(frozen=True)
class Refusal:
    """Operand types and attributes that must be refused: the exception class and words of its message."""

    operands: tuple[Type, ...]
    attrs: dict[str, Any]
    error: type[Exception]
    words: str


@dataclass(frozen=True, eq=False)
class OpDef:
    """An operation. Fields are explained in `docs/adding_an_op.md`; every one must be given a meaning."""

    name: str
    doc: str
    public: Public | Internal
    operands: int | None
    """Number of operands; None for any number."""
    infer: Callable[..., Type | tuple[Type, ...]]
    """`infer(*operand_types, **attrs)` gives the result type(s), or raises the user's error."""
    reference: Callable[..., Any]
    """`reference(*arrays, **attrs)` with numpy: the definition of truth."""
    derivative: Derivative
    batch: Callable[..., Any] | None
    """`batch(b, operands, batched, attrs)`: the op with operands where `batched[i]` has a new leading axis."""
    lower: Lowering
    traits: frozenset[Trait]
    attributes: tuple[str, ...] = ()
    expand: Callable[..., Any] | None = None
    """`expand(b, *operands, **attrs)`: definition by other ops, used instead of lowering."""
    cost: int = 1
    """Relative cost per element, for rules and recomputation: 0 free, 1 an instruction, 4 a division, 10 a transcendental."""
    samples: tuple[Sample, ...] = ()
    errors: tuple[Refusal, ...] = ()
    kinks: str = ""
    """What the derivative is where the function has none."""
    pure: bool = field(init=False)
    """`has(Trait.PURE)`, which every emission asks for."""
    commutative: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "pure", Trait.PURE in self.traits)
        object.__setattr__(self, "commutative", Trait.COMMUTATIVE in self.traits)
        if not self.doc or not self.name.isidentifier():
            raise CompilerBug(f"op {self.name!r} needs an identifier as name, and a doc")
        if isinstance(self.derivative, Expanded) and self.expand is None:
            raise CompilerBug(f"op {self.name} has no derivative of its own and no expansion")
        if isinstance(self.lower, Never) and self.expand is None and Trait.CONSTANT not in self.traits:
            raise CompilerBug(f"op {self.name} can be neither lowered nor expanded: {self.lower.why}")

    def has(self, trait: Trait) -> bool:
        """Whether the op has a trait."""
        return trait in self.traits

    def __repr__(self) -> str:
        return f"<op {self.name}>"


class Registry:
    """All ops by name."""

    def __init__(self) -> None:
        self._ops: dict[str, OpDef] = {}

    def register(self, op: OpDef) -> OpDef:
        """Add an op; its name must be new."""
        if op.name in self._ops:
            raise CompilerBug(f"op {op.name} is defined twice")
        self._ops[op.name] = op
        return op

    def __getitem__(self, name: str) -> OpDef:
        op = self._ops.get(name)
        if op is None:
            raise CompilerBug(f"no op named {name!r}")
        return op

    def __contains__(self, name: str) -> bool:
        return name in self._ops

    def __iter__(self) -> Iterator[OpDef]:
        return iter(self._ops.values())

    def names(self) -> Sequence[str]:
        """Names of all ops."""
        return list(self._ops)


REGISTRY = Registry()
