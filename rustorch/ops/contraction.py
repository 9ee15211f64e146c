"""Contractions: sums of products over shared axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rustorch.errors import ArgumentError, DimensionError, DTypeError, ShapeError, compose
from rustorch.ir.builder import Builder
from rustorch.ir.dtypes import NUMBERS, bool_, f32, f64, i64
from rustorch.ir.graph import Value
from rustorch.ir.op import Multilinear, Nest, Refusal, Sample
from rustorch.ir.types import TensorType, Type
from rustorch.ops.family import Array, Domain, check_axes, contraction, not_taken, others, shape_of, tensor
from rustorch.ops.movement import inverse

Axes = tuple[int, ...]
Pair = tuple[Axes, Axes]
"""Axes of the left and of the right operand that belong together, in order."""


def _product_type(lhs: Type, rhs: Type, *, contract: Pair, batch: Pair) -> TensorType:
    left, right = tensor("dot_general", lhs), tensor("dot_general", rhs)
    if left.dtype is not right.dtype:
        raise DTypeError(
            compose("dot_general: the operands' element types differ", f"found {lhs} and {rhs}", todo="convert them to one type first")
        )
    if left.dtype not in NUMBERS:
        raise DTypeError(not_taken("dot_general", lhs, NUMBERS))
    for axes, type_ in ((batch[0] + contract[0], left), (batch[1] + contract[1], right)):
        check_axes("dot_general", axes, type_)
    for name, (mine, theirs) in (("contract", contract), ("batch", batch)):
        if len(mine) != len(theirs):
            raise ArgumentError(compose(f"dot_general: `{name}` pairs axes of both operands", f"found {list(mine)} and {list(theirs)}"))
        for i, j in zip(mine, theirs, strict=True):
            if left.shape[i] != right.shape[j]:
                found = f"{name} pairs axis {i} of {lhs} (length {left.shape[i]}) with axis {j} of {rhs} (length {right.shape[j]})"
                raise ShapeError(compose("dot_general: paired axes must have equal lengths", found))
    kept = [*batch[0], *free(left.rank, contract[0], batch[0])]
    return left.with_shape((*(left.shape[a] for a in kept), *(right.shape[a] for a in free(right.rank, contract[1], batch[1]))))


def free(rank: int, contract: Axes, batch: Axes) -> Axes:
    """The axes of an operand that are neither contracted nor batched, ascending."""
    return others(rank, contract + batch)


def _product(lhs: Array, rhs: Array, contract: Pair, batch: Pair) -> Array:
    left, right = free(lhs.ndim, contract[0], batch[0]), free(rhs.ndim, contract[1], batch[1])
    wide = np.dtype(np.float64) if lhs.dtype.kind == "f" else lhs.dtype
    groups = [lhs.shape[a] for a in batch[0]]
    rows, columns = [lhs.shape[a] for a in left], [rhs.shape[a] for a in right]
    shared = [int(np.prod([lhs.shape[a] for a in contract[0]]))]
    x = lhs.transpose(batch[0] + left + contract[0]).reshape(groups + [int(np.prod(rows))] + shared).astype(wide)
    y = rhs.transpose(batch[1] + contract[1] + right).reshape(groups + shared + [int(np.prod(columns))]).astype(wide)
    return np.asarray(np.matmul(x, y)).reshape(groups + rows + columns).astype(lhs.dtype)


def _left_cotangent(b: Builder, ct: Value, lhs: Value, rhs: Value, contract: Pair, batch: Pair) -> Value:
    """ct · rhs over rhs's free axes; the result's axes are then put in lhs's order."""
    groups = tuple(range(len(batch[0])))
    lefts = free(len(shape_of(lhs)), contract[0], batch[0])
    rights = free(len(shape_of(rhs)), contract[1], batch[1])
    in_ct = tuple(range(len(groups) + len(lefts), len(groups) + len(lefts) + len(rights)))
    found = b.dot_general(ct, rhs, contract=(in_ct, rights), batch=(groups, batch[1]))
    # found's axes: batch, lhs's free ones, then the contracted ones in the order of rhs's axes
    contracted = tuple(contract[0][contract[1].index(axis)] for axis in sorted(contract[1]))
    restored: Value = b.transpose(found, perm=inverse(batch[0] + lefts + contracted))
    return restored


def _right_cotangent(b: Builder, ct: Value, lhs: Value, rhs: Value, contract: Pair, batch: Pair) -> Value:
    """lhs · ct over lhs's free axes; the result's axes are then put in rhs's order."""
    groups = tuple(range(len(batch[0])))
    lefts = free(len(shape_of(lhs)), contract[0], batch[0])
    rights = free(len(shape_of(rhs)), contract[1], batch[1])
    in_ct = tuple(range(len(groups), len(groups) + len(lefts)))
    found = b.dot_general(lhs, ct, contract=(lefts, in_ct), batch=(batch[0], groups))
    # found's axes: batch, the contracted ones in the order of lhs's axes, then rhs's free ones
    contracted = tuple(contract[1][contract[0].index(axis)] for axis in sorted(contract[0]))
    restored: Value = b.transpose(found, perm=inverse(batch[1] + contracted + rights))
    return restored


def _batch_product(b: Builder, operands: Sequence[Value], batched: Sequence[bool], attrs: dict[str, Any]) -> Value:
    contract, batch = attrs["contract"], attrs["batch"]
    shifted = [(tuple(a + yes for a in contract[side]), tuple(a + yes for a in batch[side])) for side, yes in enumerate(batched)]
    (lc, lb), (rc, rb) = shifted
    if all(batched):
        result: Value = b.dot_general(*operands, contract=(lc, rc), batch=((0, *lb), (0, *rb)))
        return result
    product = b.dot_general(*operands, contract=(lc, rc), batch=(lb, rb))
    # the new axis is the first free one of its operand; it belongs in front
    place = len(lb) if batched[0] else len(shape_of(operands[0])) - len(lc)
    front: Value = b.transpose(product, perm=(place, *others(len(shape_of(product)), (place,))))
    return front


_draw = Domain(-2, 2).drawn
_MATRICES = {"contract": ((1,), (0,)), "batch": ((), ())}

dot_general = contraction(
    "dot_general",
    "Sum of products over the axes that `contract` pairs, for each index of the axes that `batch` pairs. The result's axes: "
    "batch, lhs's others, rhs's others.",
    infer=_product_type,
    reference=_product,
    derivative=Multilinear((_left_cotangent, _right_cotangent)),
    batch=_batch_product,
    lower=Nest("dot_general"),
    attributes=("contract", "batch"),
    samples=(
        *(Sample(_draw((3, 5), (5, 4), dtype=d), _MATRICES, d is f64, f"{d} matrices") for d in NUMBERS),
        Sample(_draw((67,), (67,)), {"contract": ((0,), (0,)), "batch": ((), ())}, label="vectors"),
        Sample(_draw((3, 67), (67,)), _MATRICES, label="matrix by vector"),
        Sample(_draw((67,), (67, 3)), {"contract": ((0,), (0,)), "batch": ((), ())}, label="vector by matrix"),
        Sample(_draw((2, 3), (2, 4)), {"contract": ((0,), (0,)), "batch": ((), ())}, label="both transposed"),
        Sample(_draw((2, 3, 5), (2, 5, 4)), {"contract": ((2,), (1,)), "batch": ((0,), (0,))}, label="a batch"),
        Sample(_draw((5, 2, 3, 6), (6, 4, 5, 2)), {"contract": ((0, 3), (2, 0)), "batch": ((1,), (3,))}, label="two axes, batch last"),
        Sample(_draw((3,), (4,)), {"contract": ((), ()), "batch": ((), ())}, label="outer product"),
        Sample(_draw((), ()), {"contract": ((), ()), "batch": ((), ())}, label="0-d"),
        Sample(_draw((2, 3), (2, 3)), {"contract": ((), ()), "batch": ((0, 1), (0, 1))}, label="elementwise"),
        Sample(_draw((1, 1), (1, 1)), _MATRICES, label="size 1"),
        Sample(_draw((3, 0), (0, 4)), _MATRICES, label="sum of nothing"),
        Sample(_draw((0, 3), (3, 4)), _MATRICES, label="empty"),
        Sample(_draw((37, 41), (41, 67), dtype=f32), _MATRICES, False, "larger than a tile"),
    ),
    errors=(
        Refusal((f32[2, 3], f32[5, 3]), _MATRICES, ShapeError, "equal lengths"),
        Refusal((f32["n", 3], f32["n", 3]), _MATRICES, ShapeError, "equal lengths"),
        Refusal((f32[2, 3], f64[3, 3]), _MATRICES, DTypeError, "element types differ"),
        Refusal((bool_[2, 3], bool_[3, 3]), _MATRICES, DTypeError, "does not take element type"),
        Refusal((i64[2], i64[3, 3]), _MATRICES, DimensionError, "out of range"),
        Refusal((f32[2, 3], f32[3, 3]), {"contract": ((1,), ()), "batch": ((), ())}, ArgumentError, "pairs axes"),
        Refusal((f32[2, 3], f32[3, 3]), {"contract": ((1,), (0,)), "batch": ((1,), (1,))}, ArgumentError, "distinct"),
    ),
    why="matmul, `@`, linear, einsum and tensordot are compositions of it",
)
