"""Losses of margins, pairs, several labels and distributions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from rustorch.errors import ArgumentError, ShapeError, compose
from rustorch.frontend.emit import (
    Builder,
    TensorType,
    Value,
    average,
    broadcast_to,
    convert,
    dtype_of,
    operation,
    reduce,
    reshape,
    shape_of,
    together,
)
from rustorch.functional.layer import at_least, length, pairwise_distance
from rustorch.functional.loss import check_range, loss_reduction, reduced
from rustorch.functional.words import known
from rustorch.ir.dtypes import i64

# --- Distributions ----------------------------------------------------------------------------------------------------


@operation(name="poisson_nll_loss")
def _poisson(b: Builder, input: Value, target: Value, log_input: bool, full: bool, eps: float, reduction: str) -> Value:
    """e^x - t x, or x - t log(x + eps); `full` adds Stirling's formula of log(t!)."""
    x, t = together(b, input, target)
    loss = b.sub(b.exp(x), b.mul(t, x)) if log_input else b.sub(x, b.mul(t, b.log(b.add(x, eps))))
    if full:
        large = b.gt(t, 1.0)
        safe = b.select(large, t, b.const(1.0, t))
        more = b.add(b.sub(b.mul(safe, b.log(safe)), safe), b.mul(b.log(b.mul(safe, 2 * math.pi)), 0.5))
        loss = b.add(loss, b.select(large, more, b.const(0.0, t)))
    return reduced(b, loss, reduction)


def poisson_nll_loss(
    input: Any,
    target: Any,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """Minus the log-likelihood of counts `target` from a Poisson distribution with mean e^x (x, unless `log_input`)."""
    return _poisson(input, target, log_input, full, float(eps), loss_reduction(reduction, size_average, reduce))


@operation(name="gaussian_nll_loss")
def _gaussian(b: Builder, input: Value, target: Value, var: Value, full: bool, eps: float, reduction: str) -> Value:
    """(log v + (x - t)² / v) / 2, v at least eps, which the derivative does not see."""
    x, t = together(b, input, target)
    v = convert(b, var, dtype_of(x))
    lift = b.detach(b.sub(at_least(b, v, eps), v))
    v = broadcast_to(b, b.add(v, lift), shape_of(x))
    distance = b.sub(x, t)
    loss = b.mul(b.add(b.log(v), b.div(b.mul(distance, distance), v)), 0.5)
    return reduced(b, b.add(loss, 0.5 * math.log(2 * math.pi)) if full else loss, reduction)


def gaussian_nll_loss(input: Any, target: Any, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> Any:
    """Minus the log-likelihood of `target` from normal distributions with means `input` and variances `var` (of at least `eps`)."""
    reduction = loss_reduction(reduction, None, None)
    if not hasattr(var, "shape"):
        var = input.new_full((), float(var))
    elif tuple(var.shape) != tuple(input.shape):
        if tuple(var.shape) == tuple(input.shape[:-1]):
            var = var.unsqueeze(-1)
        elif tuple(var.shape[:-1]) != tuple(input.shape[:-1]) or var.shape[-1] != 1:
            raise ShapeError("var is of incorrect size")
    return _gaussian(input, target, var, full, float(eps), reduction)


# --- Pairs ------------------------------------------------------------------------------------------------------------


@operation(name="cosine_embedding_loss")
def _cosine_embedding(b: Builder, input1: Value, input2: Value, target: Value, margin: float, reduction: str) -> Value:
    """1 - cos where the target is 1, max(0, cos - margin) where it is -1."""
    x, y = together(b, input1, input2)
    if len(shape_of(target)) != len(shape_of(x)) - 1:
        raise ShapeError(f"{len(shape_of(x)) - 1}D target tensor expected, but got {len(shape_of(target))}D")
    products, left, right = (reduce(b, "sum", b.mul(u, v), -1) for u, v in ((x, y), (x, x), (y, y)))
    cosine = b.div(products, b.sqrt(b.mul(b.add(left, 1e-12), b.add(right, 1e-12))))
    t = broadcast_to(b, target, shape_of(cosine))
    zero = b.const(0.0, cosine)
    apart = b.select(b.eq(t, -1), at_least(b, b.sub(cosine, margin), 0.0), zero)
    return reduced(b, b.select(b.eq(t, 1), b.sub(1.0, cosine), apart), reduction)


def cosine_embedding_loss(
    input1: Any,
    input2: Any,
    target: Any,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """1 - cos of two vectors that belong together (target 1), max(0, cos - margin) of others (-1)."""
    return _cosine_embedding(input1, input2, target, float(margin), loss_reduction(reduction, size_average, reduce))


@operation(name="margin_ranking_loss")
def _margin_ranking(b: Builder, input1: Value, input2: Value, target: Value, margin: float, reduction: str) -> Value:
    """max(0, -t (x1 - x2) + margin)."""
    x, y, t = together(b, input1, input2, target)
    return reduced(b, at_least(b, b.add(b.neg(b.mul(t, b.sub(x, y))), margin), 0.0), reduction)


def margin_ranking_loss(
    input1: Any,
    input2: Any,
    target: Any,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """max(0, -t (x1 - x2) + margin): the first is to be larger where the target is 1, the second where it is -1."""
    return _margin_ranking(input1, input2, target, float(margin), loss_reduction(reduction, size_average, reduce))


@operation(name="hinge_embedding_loss")
def _hinge_embedding(b: Builder, input: Value, target: Value, margin: float, reduction: str) -> Value:
    """x where the target is 1, max(0, margin - x) where it is -1."""
    x, t = together(b, input, target)
    zero = b.const(0.0, x)
    apart = b.select(b.ne(t, 1.0), at_least(b, b.sub(margin, x), 0.0), zero)
    return reduced(b, b.add(apart, b.select(b.ne(t, -1.0), x, zero)), reduction)


def hinge_embedding_loss(
    input: Any,
    target: Any,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """Distances x of pairs that belong together (target 1), max(0, margin - x) of others (-1)."""
    return _hinge_embedding(input, target, float(margin), loss_reduction(reduction, size_average, reduce))


@operation(name="triplet_margin_loss")
def _triplet(b: Builder, near: Value, far: Value, swapped: Value | None, margin: float, reduction: str) -> Value:
    """max(0, near - far + margin) of distances."""
    if swapped is not None:
        far = b.minimum(far, swapped)
    return reduced(b, at_least(b, b.add(b.sub(near, far), margin), 0.0), reduction)


def triplet_margin_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """max(0, |a - p| - |a - n| + margin); with `swap`, the nearer of anchor and positive is taken for the negative's distance."""
    reduction = loss_reduction(reduction, size_average, reduce)
    return triplet_margin_with_distance_loss(
        anchor, positive, negative, distance_function=lambda x, y: pairwise_distance(x, y, float(p), float(eps)), margin=margin, swap=swap,
        reduction=reduction,
    )  # fmt: skip


def triplet_margin_with_distance_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    *,
    distance_function: Callable[[Any, Any], Any] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Any:
    """As `triplet_margin_loss`, with a distance of one's own."""
    if margin <= 0:
        raise ArgumentError(f"margin must be greater than 0, got {margin}")
    distance = pairwise_distance if distance_function is None else distance_function
    near, far = distance(anchor, positive), distance(anchor, negative)
    return _triplet(near, far, distance(positive, negative) if swap else None, float(margin), loss_reduction(reduction, None, None))


# --- Labels -----------------------------------------------------------------------------------------------------------


@operation(name="soft_margin_loss")
def _soft_margin(b: Builder, input: Value, target: Value, reduction: str) -> Value:
    """log(1 + e^(-t x))."""
    x, t = together(b, input, target)
    return reduced(b, b.softplus(b.neg(b.mul(t, x))), reduction)


def soft_margin_loss(
    input: Any, target: Any, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
) -> Any:
    """log(1 + e^(-t x)) of targets 1 and -1."""
    return _soft_margin(input, target, loss_reduction(reduction, size_average, reduce))


@operation(name="multilabel_soft_margin_loss")
def _multilabel_soft_margin(b: Builder, input: Value, target: Value, weight: Value | None, reduction: str) -> Value:
    """The mean over the classes of -(t log s(x) + (1 - t) log s(-x))."""
    x, t = together(b, input, target)
    loss = b.add(b.mul(t, b.softplus(b.neg(x))), b.mul(b.sub(1.0, t), b.softplus(x)))
    if weight is not None:
        loss = b.mul(loss, broadcast_to(b, convert(b, weight, dtype_of(loss)), shape_of(loss)))
    return reduced(b, average(b, loss, -1), reduction)


def multilabel_soft_margin_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """The mean over the classes (last dimension) of the binary cross entropies of logits."""
    return _multilabel_soft_margin(input, target, weight, loss_reduction(reduction, size_average, reduce))


def _rows(b: Builder, input: Value, target: Value, rank: int) -> tuple[Value, Value]:
    """Input and target of one sample as a batch of one."""
    if len(shape_of(input)) > 2:
        raise ShapeError(compose("Expected non-empty vector or matrix with optional 0-dim batch size", f"got {list(shape_of(input))}"))
    if len(shape_of(input)) == 2:
        return input, target
    return reshape(b, input, (1, *shape_of(input))), reshape(b, target, (1, *shape_of(input)) if rank == 2 else (1,))


@operation(name="multi_margin_loss")
def _multi_margin(b: Builder, input: Value, target: Value, weight: Value | None, p: int, margin: float, reduction: str) -> Value:
    """The sum over the other classes j of max(0, margin - x[y] + x[j])^p, divided by the number of classes."""
    x, y = _rows(b, input, target, 1)
    batch, classes = shape_of(x)
    places = b.broadcast_to(convert(b, y, i64), shape=(batch, 1), dims=(0,))
    here = b.broadcast_to(b.gather(x, places, axis=1), shape=shape_of(x), dims=(0, 1))
    hinge = at_least(b, b.add(b.sub(x, here), margin), 0.0)
    hinge = b.mul(hinge, hinge) if p == 2 else hinge
    if weight is not None:
        each = b.gather(convert(b, weight, dtype_of(x)), convert(b, y, i64), axis=0)
        hinge = b.mul(hinge, b.broadcast_to(each, shape=shape_of(x), dims=(0,)))
    own = b.eq(b.iota(type=TensorType(i64, (batch, classes)), axis=1), broadcast_to(b, places, (batch, classes)))
    loss = b.div(reduce(b, "sum", b.select(own, b.const(0.0, x), hinge), 1), known(classes))
    return reduced(b, reshape(b, loss, shape_of(input)[:-1]), reduction)


def multi_margin_loss(
    input: Any,
    target: Any,
    p: int = 1,
    margin: float = 1.0,
    weight: Any = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """How far other classes come within a margin of the target's: max(0, margin - x[y] + x[j])^p, averaged over all classes j."""
    reduction = loss_reduction(reduction, size_average, reduce)
    if p not in (1, 2):
        raise ArgumentError("only p == 1 and p == 2 supported")
    check_range(target, input, -(2**63))
    return _multi_margin(input, target, weight, p, float(margin), reduction)


@operation(name="multilabel_margin_loss")
def _multilabel_margin(b: Builder, input: Value, target: Value, reduction: str) -> Value:
    """The sum over labels y and other classes i of max(0, 1 - x[y] + x[i]), divided by the number of classes.

    A row's labels end at the first -1.
    """
    x, y = _rows(b, input, target, 2)
    batch, classes = shape_of(x)
    y = convert(b, y, i64)
    type_ = TensorType(i64, (batch, classes))
    counted = b.iota(type=type_, axis=1)
    end = b.reduce_min(b.select(b.lt(y, 0), counted, b.const(int(known(classes)), counted)), axes=(1,))
    there = b.lt(counted, b.broadcast_to(end, shape=type_.shape, dims=(0,)))
    label = b.select(there, y, b.const(0, y))
    cube = (batch, classes, classes)  # sample, label, class
    labels, valid = (b.broadcast_to(v, shape=cube, dims=(0, 1)) for v in (label, there))
    named = b.and_(valid, b.eq(labels, b.iota(type=TensorType(i64, cube), axis=2)))
    own = b.broadcast_to(b.reduce_or(named, axes=(1,)), shape=cube, dims=(0, 2))
    at_label = b.broadcast_to(b.gather(x, label, axis=1), shape=cube, dims=(0, 1))
    hinge = at_least(b, b.add(b.sub(b.broadcast_to(x, shape=cube, dims=(0, 2)), at_label), 1.0), 0.0)
    counts = b.and_(valid, b.not_(own))
    loss = b.div(reduce(b, "sum", b.select(counts, hinge, b.const(0.0, hinge)), (1, 2)), known(classes))
    return reduced(b, reshape(b, loss, shape_of(input)[:-1]), reduction)


def multilabel_margin_loss(
    input: Any, target: Any, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
) -> Any:
    """How far other classes come within 1 of a sample's labels, which are listed in its row of `target` up to the first -1."""
    if tuple(input.shape) != tuple(target.shape):
        raise ShapeError(f"inconsistent target size: {list(target.shape)} for input of size: {list(input.shape)}")
    return _multilabel_margin(input, target, loss_reduction(reduction, size_average, reduce))


# --- Distances --------------------------------------------------------------------------------------------------------


@operation(name="pdist")
def _pdist(b: Builder, input: Value, p: float) -> Value:
    """The p-norms of the differences of all pairs of rows, the first before the second."""
    rows = int(known(shape_of(input)[0]))
    x, y = (_rows_at(b, input, places) for places in np.triu_indices(rows, 1))
    return length(b, b.sub(x, y), p, -1)


def _rows_at(b: Builder, x: Value, places: Any) -> Value:
    """The rows at known places."""
    shape = (len(places), *shape_of(x)[1:])
    index = b.const(places.astype(np.int64), TensorType(i64, (len(places),)))
    found: Value = b.gather(x, b.broadcast_to(index, shape=shape, dims=(0,)), axis=0)
    return found


def pdist(input: Any, p: float = 2.0) -> Any:
    """The distances of all pairs of rows of a matrix, in the p-norm."""
    if len(input.shape) != 2:
        raise ShapeError(f"pdist only supports 2D tensors, got: {len(input.shape)}D")
    return _pdist(input, float(p))
