"""Makers of op records: each family fills what follows from being elementwise, a reduction, movement or a contraction.

A maker registers the record it returns, so one call at the top of a module is the whole of an op. Elementwise ops serve
tensors, vector registers and single elements alike: their `infer` takes `f32[4, n]`, `vec<8xf32>` and `f32`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from rustorch.errors import ArgumentError, DimensionError, DTypeError, ShapeError, compose
from rustorch.ir.builder import Builder
from rustorch.ir.dims import Size
from rustorch.ir.dtypes import DTYPES, FLOATS, bool_, f32, f64, i32, i64
from rustorch.ir.graph import Value
from rustorch.ir.op import (
    REGISTRY,
    Derivative,
    Internal,
    Lowering,
    Monoid,
    Never,
    OpDef,
    Public,
    Refusal,
    SameName,
    Sample,
    Trait,
)
from rustorch.ir.types import BufferType, DType, TensorType, Type, VectorType, element, with_element

Array = np.ndarray[Any, Any]
Shape = tuple[Size, ...]
Formula = Callable[..., Any]


# --- Elementwise ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Domain:
    """Where samples of an operand are drawn from: numbers between `low` and `high`, at a distance from points `away`."""

    low: float = -3.0
    high: float = 3.0
    away: tuple[float, ...] = ()
    fraction: bool = False
    """Keep at a distance from whole numbers (where `floor` jumps)."""

    def draw(self, rng: np.random.Generator, dtype: DType, shape: tuple[int, ...]) -> Array:
        """Random numbers of the domain."""
        if dtype is bool_:
            return np.asarray(rng.random(shape) < 0.5)
        if dtype.kind == "int":
            choices = [i for i in range(math.ceil(self.low), math.floor(self.high) + 1) if i not in self.away]
            return np.asarray(rng.choice(choices, shape)).astype(dtype.numpy)
        x = np.asarray(rng.uniform(self.low, self.high, shape))
        for point in self.away:
            x = np.where(abs(x - point) < 0.25, point + np.where(x < point, -0.25, 0.25), x)
        if self.fraction:
            x = np.floor(x) + 0.25 + (x - np.floor(x)) / 2
        return np.asarray(x).astype(dtype.numpy)

    def drawn(self, *shapes: tuple[int, ...], dtype: DType = f64) -> Formula:
        """What makes a sample: an operand of each shape, all of one element type."""
        return lambda rng: tuple(self.draw(rng, dtype, shape) for shape in shapes)


REALS = Domain()
SPECIAL = (0.0, -0.0, 1.0, -1.0, 2.5, math.inf, -math.inf, math.nan, 1e-39, -1e-39, 1e30, -1e30)
"""Values at which arithmetic tends to go wrong: zeros, infinities, NaN, numbers below the normal range of f32, large ones."""

_SHAPES: dict[DType, tuple[tuple[int, ...], ...]] = {
    f64: ((), (0,), (1,), (67,), (3, 5)),
    f32: ((), (67,), (2, 3)),
    i64: ((), (67,)),
    i32: ((67,), (2, 0)),
    bool_: ((), (67,)),
}


def elementwise(
    name: str,
    doc: str,
    *,
    operands: int,
    reference: Formula,
    derivative: Derivative,
    public: Public | Internal,
    dtypes: Sequence[DType] = FLOATS,
    masks: int = 0,
    result: DType | None = None,
    infer: Formula | None = None,
    expand: Formula | None = None,
    lower: Lowering | None = None,
    attributes: tuple[str, ...] = (),
    commutative: bool = False,
    cost: int = 1,
    domain: Domain | tuple[Domain, ...] = REALS,
    special: tuple[float, ...] = SPECIAL,
    smooth: bool = True,
    samples: tuple[Sample, ...] = (),
    errors: tuple[Refusal, ...] = (),
    kinks: str = "",
) -> OpDef:
    """An op whose result element depends on the operands' elements at the same place.

    The first `masks` operands are bool, the others have one element type out of `dtypes`; the result has `result`, or the
    same. Samples are drawn from `domain` (one, or one an operand) for every element type, and from combinations of `special`
    for floats and of the extremes for integers; `samples` adds to them. Where drawn numbers are no test of the derivative,
    `smooth` is False. With `expand` there is nothing to lower, unless `lower` says that `expand` gives None for some types.
    """
    if infer is None:
        infer = _same_types(name, masks, tuple(dtypes), result)
        errors = (*_same_type_errors(operands, masks, tuple(dtypes)), *errors)
    if not attributes:
        domains = (domain,) * operands if isinstance(domain, Domain) else domain
        samples = (*_elementwise_samples(domains, masks, tuple(dtypes), special, smooth), *samples)
    traits = {Trait.PURE, Trait.ELEMENTWISE} | ({Trait.COMMUTATIVE} if commutative else set())
    return _register(
        name,
        doc,
        public=public,
        operands=operands,
        infer=infer,
        reference=reference,
        derivative=derivative,
        batch=batch_in_front(name),
        lower=lower or (SameName() if expand is None else Never("it is expanded into other ops")),
        traits=frozenset(traits),
        attributes=attributes,
        expand=expand,
        cost=cost,
        samples=samples,
        errors=errors,
        kinks=kinks,
    )


def _same_types(name: str, masks: int, dtypes: tuple[DType, ...], result: DType | None) -> Formula:
    def infer(*types: Type) -> Type:
        type_ = types[-1]
        if any(other is not type_ for other in types[masks:]):
            raise _different(name, types[masks:])
        if element(type_) not in dtypes:
            raise DTypeError(not_taken(name, type_, dtypes))
        for mask in types[:masks]:
            if mask is not with_element(type_, bool_):
                raise _not_a_mask(name, mask, type_)
        return type_ if result is None else with_element(type_, result)

    return infer


def not_taken(name: str, type_: Type, dtypes: Sequence[DType]) -> str:
    """The message for an element type that an op does not take."""
    wanted = ", ".join(d.short for d in dtypes)
    return compose(f"{name} does not take element type {element(type_)}", f"found {type_}", todo=f"convert the operand to one of: {wanted}")


def _different(name: str, types: Sequence[Type]) -> Exception:
    listed = " and ".join(dict.fromkeys(map(str, types)))
    if len({element(t) for t in types}) > 1:
        return DTypeError(compose(f"{name}: the operands' element types differ", f"found {listed}", todo="convert them to one type first"))
    return ShapeError(compose(f"{name}: the operands' shapes differ", f"found {listed}", todo="broadcast_to one shape first"))


def _not_a_mask(name: str, mask: Type, type_: Type) -> Exception:
    found = f"found {mask} beside {type_}"
    if element(mask) is not bool_:
        return DTypeError(compose(f"{name}: the mask must be bool", found, todo="compare it with zero: ne(x, 0)"))
    return ShapeError(compose(f"{name}: mask and operands must have one shape", found, todo="broadcast_to one shape first"))


def _same_type_errors(operands: int, masks: int, dtypes: tuple[DType, ...]) -> Iterator[Refusal]:
    good = dtypes[-1]
    mask = (bool_[3],) * masks
    rest = operands - masks
    if rest > 1:
        yield Refusal((*mask, good[3], *(good[4],) * (rest - 1)), {}, ShapeError, "shapes differ")
        yield Refusal((*mask, good[3], *((f32 if good is not f32 else i32)[3],) * (rest - 1)), {}, DTypeError, "element types differ")
    if masks:
        yield Refusal((good[3],) * operands if good is not bool_ else (i32[3],) * operands, {}, DTypeError, "must be bool")
        yield Refusal((bool_[4],) * masks + (good[3],) * rest, {}, ShapeError, "one shape")
    for wrong in DTYPES:
        if wrong not in dtypes:
            yield Refusal((*mask, *(wrong[3],) * rest), {}, DTypeError, "does not take element type")
            break


def _elementwise_samples(
    domains: tuple[Domain, ...], masks: int, dtypes: tuple[DType, ...], special: tuple[float, ...], smooth: bool
) -> Iterator[Sample]:
    def drawn(dtype: DType, shape: tuple[int, ...]) -> Formula:
        kinds = [bool_] * masks + [dtype] * (len(domains) - masks)
        return lambda rng: tuple(d.draw(rng, k, shape) for d, k in zip(domains, kinds, strict=True))

    def combined(dtype: DType) -> Formula:
        return lambda rng: _combinations(dtype, masks, len(domains) - masks, special)

    for dtype in dtypes:
        for shape in _SHAPES[dtype]:
            yield Sample(drawn(dtype, shape), {}, smooth and dtype is f64, f"{dtype}{list(shape)}")
        if dtype is not bool_ and special:
            yield Sample(combined(dtype), {}, False, f"{dtype} special")


def _combinations(dtype: DType, masks: int, count: int, special: tuple[float, ...]) -> tuple[Array, ...]:
    """All combinations of special values; of many operands each walks through them at its own pace."""
    points: tuple[float, ...] = special
    if dtype.kind == "int":
        limits = np.iinfo(dtype.numpy)
        points = (int(limits.min), int(limits.max), 0, 1, -1, 7, -7)
    if masks + count < 3:
        rows = list(product(*[(False, True)] * masks, *[points] * count))
    else:
        n, paces = len(points), (1, 5, 11)
        rows = [(*[i % 2 == 0] * masks, *(points[i * pace % n] for pace in paces[:count])) for i in range(2 * n)]
    kinds = [bool_] * masks + [dtype] * count
    return tuple(np.array(column, dtype=k.numpy) for column, k in zip(zip(*rows, strict=True), kinds, strict=True))


def batch_in_front(name: str, along: bool = False) -> Formula:
    """The rule of an op for batches of operands: the new axis goes in front of all of them; `along`: the op's `axis` is one further."""

    def batch(b: Builder, operands: Sequence[Value], batched: Sequence[bool], attrs: dict[str, Any]) -> tuple[Value, ...]:
        size = batch_size(operands, batched)
        aligned = [with_batch(b, x, yes, size) for x, yes in zip(operands, batched, strict=True)]
        return b.emit(REGISTRY[name], aligned, {**attrs, "axis": attrs["axis"] + 1} if along else attrs)

    return batch


# --- Reductions, movement, contractions, the rest ---------------------------------------------------------------------


def reduction(
    name: str,
    doc: str,
    *,
    combine: str,
    identity: Callable[[DType], int | float | bool],
    reference: Formula,
    derivative: Derivative,
    dtypes: Sequence[DType],
    of_nothing: bool = True,
    cost: int = 1,
    samples: tuple[Sample, ...],
    errors: tuple[Refusal, ...] = (),
    kinks: str = "",
) -> OpDef:
    """An op that combines the elements along `axes` (ascending), which the result no longer has.

    `of_nothing`: whether combining no elements at all is meaningful (a sum is 0; a maximum is an error).
    """

    def infer(x: Type, *, axes: tuple[int, ...]) -> Type:
        type_ = tensor(name, x)
        if type_.dtype not in dtypes:
            raise DTypeError(not_taken(name, x, dtypes))
        check_axes(name, axes, type_, ascending=True)
        if not of_nothing and 0 in [type_.shape[a] for a in axes]:
            raise ShapeError(
                compose(f"{name} of no elements has no value", f"found {x} along axes {list(axes)}", todo="give a nonempty axis")
            )
        return type_.with_shape(without(type_.shape, axes))

    def batch(b: Builder, operands: Sequence[Value], batched: Sequence[bool], attrs: dict[str, Any]) -> tuple[Value, ...]:
        return b.emit(REGISTRY[name], operands, {"axes": tuple(a + 1 for a in attrs["axes"])})

    wrong = next((d for d in DTYPES if d not in dtypes), None)
    refused = [
        Refusal((dtypes[-1][3, 4],), {"axes": (2,)}, DimensionError, "axis 2 is out of range"),
        Refusal((dtypes[-1][3, 4],), {"axes": (1, 0)}, ArgumentError, "ascending"),
    ]
    if wrong is not None:
        refused.append(Refusal((wrong[3],), {"axes": (0,)}, DTypeError, "does not take element type"))
    if not of_nothing:
        refused.append(Refusal((dtypes[-1][0, 3],), {"axes": (0,)}, ShapeError, "of no elements"))
    return _register(
        name,
        doc,
        public=Internal("The front end's reductions of this name add `dim`, `keepdim` and the result's element type."),
        operands=1,
        infer=infer,
        reference=reference,
        derivative=derivative,
        batch=batch,
        lower=Monoid(combine, identity),
        traits=frozenset({Trait.PURE, Trait.REDUCTION}),
        attributes=("axes",),
        cost=cost,
        samples=samples,
        errors=(*refused, *errors),
        kinks=kinks,
    )


def movement(
    name: str,
    doc: str,
    *,
    operands: int | None = 1,
    infer: Formula,
    reference: Formula,
    derivative: Derivative,
    batch: Formula,
    lower: Lowering,
    attributes: tuple[str, ...],
    samples: tuple[Sample, ...],
    errors: tuple[Refusal, ...],
) -> OpDef:
    """An op that moves elements of any type and computes nothing."""
    return _register(
        name,
        doc,
        public=Internal("The front end's views and joins are compositions of movement ops."),
        operands=operands,
        infer=infer,
        reference=reference,
        derivative=derivative,
        batch=batch,
        lower=lower,
        traits=frozenset({Trait.PURE, Trait.MOVEMENT}),
        attributes=attributes,
        cost=0,
        samples=samples,
        errors=errors,
    )


def contraction(
    name: str,
    doc: str,
    *,
    infer: Formula,
    reference: Formula,
    derivative: Derivative,
    batch: Formula,
    lower: Lowering,
    expand: Formula | None = None,
    attributes: tuple[str, ...],
    samples: tuple[Sample, ...],
    errors: tuple[Refusal, ...],
    why: str,
) -> OpDef:
    """An op of two operands that sums products over shared axes; `why` names the compositions that users know."""
    return _register(
        name,
        doc,
        public=Internal(why),
        operands=2,
        infer=infer,
        reference=reference,
        derivative=derivative,
        batch=batch,
        lower=lower,
        traits=frozenset({Trait.PURE}),
        attributes=attributes,
        expand=expand,
        cost=2,
        samples=samples,
        errors=errors,
    )


def general(
    name: str,
    doc: str,
    *,
    public: Public | Internal,
    operands: int | None,
    infer: Formula,
    reference: Formula,
    derivative: Derivative,
    batch: Formula | None,
    lower: Lowering,
    attributes: tuple[str, ...] = (),
    traits: frozenset[Trait] = frozenset({Trait.PURE}),
    expand: Formula | None = None,
    cost: int = 1,
    samples: tuple[Sample, ...],
    errors: tuple[Refusal, ...],
    kinks: str = "",
) -> OpDef:
    """An op that belongs to no family: everything is said."""
    return _register(
        name,
        doc,
        public=public,
        operands=operands,
        infer=infer,
        reference=reference,
        derivative=derivative,
        batch=batch,
        lower=lower,
        traits=traits,
        attributes=attributes,
        expand=expand,
        cost=cost,
        samples=samples,
        errors=errors,
        kinks=kinks,
    )


def _register(name: str, doc: str, *, operands: int | None, infer: Formula, attributes: tuple[str, ...], **rest: Any) -> OpDef:
    """Make and register the record; its `infer` first checks the number of operands and the names of attributes."""
    wanted = frozenset(attributes)

    def checked(*types: Type, **attrs: Any) -> Type | tuple[Type, ...]:
        if operands is not None and len(types) != operands:
            raise ArgumentError(compose(f"{name} takes {operands} operands", f"found {len(types)}: {', '.join(map(str, types))}"))
        if attrs.keys() != wanted:
            raise ArgumentError(compose(f"{name} takes the attributes {sorted(wanted)}", f"found {sorted(attrs)}"))
        inferred: Type | tuple[Type, ...] = infer(*types, **attrs)
        return inferred

    return REGISTRY.register(OpDef(name, doc, operands=operands, infer=checked, attributes=attributes, **rest))


# --- What the families' rules share -----------------------------------------------------------------------------------


def tensor(name: str, type_: Type) -> TensorType:
    """The type as a tensor type; ops that look at axes take nothing else."""
    if not isinstance(type_, TensorType):
        raise DTypeError(compose(f"{name} takes tensors", f"found {type_}"))
    return type_


def shape_of(x: Value) -> Shape:
    """The shape of a tensor value."""
    return tensor("shape", x.type).shape


def sizes_of(type_: Type) -> Shape:
    """The shape of the array behind a value of a type: lanes of a vector, nothing for a single element."""
    if isinstance(type_, (TensorType, BufferType)):
        return type_.shape
    return (type_.lanes,) if isinstance(type_, VectorType) else ()


def check_axes(name: str, axes: tuple[int, ...], type_: TensorType, ascending: bool = False) -> None:
    """Refuse axes that are out of range, repeated, or (where it matters) not ascending."""
    for axis in axes:
        if not 0 <= axis < type_.rank:
            raise DimensionError(compose(f"{name}: axis {axis} is out of range", f"found {type_}, whose axes are 0 to {type_.rank - 1}"))
    if len(set(axes)) != len(axes) or (ascending and list(axes) != sorted(axes)):
        raise ArgumentError(compose(f"{name}: axes must be distinct{' and ascending' if ascending else ''}", f"found {list(axes)}"))


def without(shape: Shape, axes: Sequence[int]) -> Shape:
    """The shape with some axes left out."""
    return tuple(size for axis, size in enumerate(shape) if axis not in axes)


def others(rank: int, axes: Sequence[int]) -> tuple[int, ...]:
    """The axes below `rank` that are not in `axes`."""
    return tuple(axis for axis in range(rank) if axis not in axes)


def spread(b: Builder, y: Value, x: Value, axes: Sequence[int]) -> Value:
    """A reduction's result `y`, repeated along the `axes` of `x` that it lost."""
    repeated: Value = b.broadcast_to(y, shape=shape_of(x), dims=others(len(shape_of(x)), axes))
    return repeated


def batch_size(operands: Sequence[Value], batched: Sequence[bool]) -> Size:
    """The size of the new leading axis."""
    return next(shape_of(x)[0] for x, yes in zip(operands, batched, strict=True) if yes)


def with_batch(b: Builder, x: Value, batched: bool, size: Size) -> Value:
    """The value with a leading axis: as it is, or repeated."""
    if batched:
        return x
    shape = shape_of(x)
    repeated: Value = b.broadcast_to(x, shape=(size, *shape), dims=tuple(range(1, len(shape) + 1)))
    return repeated
