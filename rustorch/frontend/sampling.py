"""Draws from distributions: classes by weight, counts, and tensors filled in place."""

from __future__ import annotations

import math
from typing import Any

from rustorch.errors import ArgumentError, DTypeError, ShapeError, compose
from rustorch.frontend.base import TensorBase
from rustorch.frontend.dtype import as_dtype
from rustorch.frontend.emission import (
    Builder,
    Operand,
    TensorType,
    Value,
    broadcast_to,
    convert,
    dtype_of,
    operation,
    reduce,
    shape_of,
)
from rustorch.frontend.ordering import argsort, topk
from rustorch.frontend.random import Generator, bernoulli_op, rand, randint, random_key, stream_count
from rustorch.frontend.statistics import running_sum
from rustorch.frontend.storage import into, rebind
from rustorch.ir.dtypes import f64, i64, title
from rustorch.ops.random import uniform as uniform_numbers

# --- Choices ----------------------------------------------------------------------------------------------------------


@operation(name="multinomial", blocks=True)
def multinomial_op(b: Builder, input: Value, key: Value, count: int) -> Value:
    """Classes by weight, independently: where a uniform number of the weights' sum falls among their running sums."""
    *lead, classes = shape_of(input)
    weights = convert(b, input, f64)
    sums = running_sum(b, weights, len(lead))
    total = reduce(b, "sum", weights, -1, keepdim=True)
    drawn = TensorType(f64, (*lead, count))
    points = b.mul(uniform_numbers(b, key, drawn), broadcast_to(b, total, drawn.shape))
    table = (*lead, count, classes)
    axes = tuple(range(len(lead)))
    sums, points = (b.broadcast_to(v, shape=table, dims=(*axes, len(lead) + k)) for v, k in ((sums, 1), (points, 0)))
    below = b.le(sums, points)
    found: Value = b.minimum(reduce(b, "sum", convert(b, below, i64), -1), classes - 1)  # rounding may leave a point at the very end
    return found


@operation(name="races", blocks=True)
def races_op(b: Builder, input: Value, key: Value) -> Value:
    """Times of exponential races, weights as rates: their order is that of drawing without replacement."""
    weights = convert(b, input, f64)
    drawn = b.sub(1.0, uniform_numbers(b, key, TensorType(f64, shape_of(input))))
    times = b.div(b.neg(b.log(drawn)), weights)
    return b.select(b.gt(weights, 0.0), times, b.const(math.inf, times))  # type: ignore[no-any-return]


def multinomial(input: Any, num_samples: int, replacement: bool = False, *, generator: Generator | None = None, out: Any = None) -> Any:
    """`num_samples` classes of each row, drawn by weight, with or without putting them back. Looks at the weights."""
    rank = len(input._type.shape)
    if rank not in (1, 2):
        raise ShapeError("prob_dist must be 1 or 2 dim")
    if input._type.dtype.kind != "float":
        raise DTypeError(f"multinomial only supports floating-point dtypes for input, got: {title(input._type.dtype)}")
    if num_samples <= 0:
        raise ArgumentError("cannot sample n_sample <= 0 samples")
    classes = input._type.shape[-1]
    weights = input._elements()
    if not (weights >= 0).all() or not (weights < math.inf).all():
        raise ShapeError("probability tensor contains either `inf`, `nan` or element < 0")
    if weights.size and (weights.sum(-1) <= 0).any():
        raise ShapeError("invalid multinomial distribution (sum of probabilities <= 0)")
    if replacement:
        lead = input._type.shape[:-1]
        key = random_key(stream_count((*lead, num_samples)), generator)
        return into(out, multinomial_op(input, key, num_samples))
    if num_samples > classes:
        raise ShapeError("cannot sample n_sample > prob_dist.size(-1) samples without replacement")
    if ((weights > 0).sum(-1) < num_samples).any():
        raise ShapeError("invalid multinomial distribution (with replacement=False, not enough non-negative category to sample)")
    times = races_op(input, random_key(stream_count(input._type.shape), generator))
    return into(out, topk(times, num_samples, -1, False)[1])


def randperm(n: int, *, generator: Generator | None = None, dtype: Any = None, device: Any = None, out: Any = None) -> Any:
    """The numbers below `n` in random order."""
    found = argsort(rand(n, dtype=f64, generator=generator))
    return into(out, found if dtype is None else found.to(as_dtype(dtype)))


def randint_like(input: Any, low: int, high: int | None = None, *, dtype: Any = None, generator: Generator | None = None) -> Any:
    """Whole numbers from `low` (0 where only one bound is given) up to, not including, `high`, of a tensor's shape and type."""
    bounds = (0, low) if high is None else (low, high)
    return randint(*bounds, input._type.shape, dtype=dtype or input._type.dtype, generator=generator)


# --- Counts -----------------------------------------------------------------------------------------------------------

@operation(name="binomial", blocks=True)
def binomial_op(b: Builder, count: Value, prob: Value, key: Value, most: int) -> Value:
    """How many of `count` uniform numbers are below the probability."""
    shape = shape_of(prob)
    tries = (*shape, most)
    axes = tuple(range(len(shape)))
    drawn = uniform_numbers(b, key, TensorType(f64, tries))
    hit = b.lt(drawn, b.broadcast_to(convert(b, prob, f64), shape=tries, dims=axes))
    taken = b.lt(b.iota(type=TensorType(f64, tries), axis=len(shape)), b.broadcast_to(convert(b, count, f64), shape=tries, dims=axes))
    return convert(b, reduce(b, "sum", convert(b, b.and_(hit, taken), i64), -1), dtype_of(prob))


def binomial(count: Any, prob: Any, generator: Generator | None = None) -> Any:
    """How often something of probability `prob` happens in `count` tries. Looks at the largest count."""
    if tuple(count._type.shape) != tuple(prob._type.shape):
        raise ShapeError(compose("binomial: count and prob must have one shape", f"found {list(count.shape)} and {list(prob.shape)}"))
    if not prob.numel():
        return prob.clone()
    most = max(int(count._elements().max()), 1)
    return binomial_op(count, prob, random_key(stream_count((*prob._type.shape, most)), generator), most)


# --- In place ---------------------------------------------------------------------------------------------------------


@operation(name="drawn", blocks=True)
def drawn_op(b: Builder, key: Value, kind: str, first: Operand, second: Operand, type: TensorType) -> Value:
    """Numbers of a distribution, made of uniform ones: the inverse of its cumulative function."""
    u = uniform_numbers(b, key, TensorType(f64, type.shape))
    above = b.sub(1.0, u)  # in (0, 1]
    x, y = (broadcast_to(b, convert(b, v, f64), type.shape) for v in (first, second))
    if kind == "exponential":
        found = b.div(b.neg(b.log(above)), x)
    elif kind == "geometric":
        found = b.maximum(b.ceil(b.div(b.log(above), b.log1p(b.neg(x)))), 1.0)
    elif kind == "cauchy":
        angle = b.mul(b.sub(u, 0.5), math.pi)
        found = b.add(x, b.mul(y, b.div(b.sin(angle), b.cos(angle))))
    else:  # whole numbers
        found = b.add(b.floor(b.mul(u, b.sub(y, x))), x)
    return convert(b, found, type.dtype)


def _filled(input: Any, kind: str, first: float, second: float, generator: Generator | None) -> Any:
    type_: TensorType = input._type
    return rebind(input, drawn_op(random_key(stream_count(type_.shape), generator), kind, float(first), float(second), type_))


def exponential_(input: Any, lambd: float = 1.0, *, generator: Generator | None = None) -> Any:
    """Write numbers of the exponential distribution with rate `lambd`; gives the tensor."""
    if lambd <= 0:
        raise ArgumentError(f"exponential_ expects lambda > 0.0, but found lambda={lambd}")
    return _filled(input, "exponential", lambd, 0.0, generator)


def geometric_(input: Any, p: float, *, generator: Generator | None = None) -> Any:
    """Write how many tries of probability `p` it takes; gives the tensor."""
    if not 0 < p < 1:
        raise ArgumentError(f"geometric_ expects p to be in (0, 1), but got p={p}")
    return _filled(input, "geometric", p, 0.0, generator)


def cauchy_(input: Any, median: float = 0.0, sigma: float = 1.0, *, generator: Generator | None = None) -> Any:
    """Write numbers of the Cauchy distribution; gives the tensor."""
    if sigma <= 0:
        raise ArgumentError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma}")
    return _filled(input, "cauchy", median, sigma, generator)


def log_normal_(input: Any, mean: float = 1.0, std: float = 2.0, *, generator: Generator | None = None) -> Any:
    """Write e to the power of normal numbers; gives the tensor."""
    if std <= 0:
        raise ArgumentError(f"log_normal_ expects std > 0.0, but found std={std}")
    return input.normal_(mean, std, generator=generator).exp_()


def random_(input: Any, from_: int = 0, to: int | None = None, *, generator: Generator | None = None) -> Any:
    """Write whole numbers from `from_` up to, not including, `to` (as far as the element type counts); gives the tensor."""
    if to is None:
        dtype = input._type.dtype
        limits = {"bool": 2, "float": 2 ** (24 if dtype.bits == 32 else 53), "int": 2 ** min(dtype.bits - 1, 53)}
        from_, to = (0, limits[dtype.kind]) if from_ == 0 else (0, from_)
    if from_ >= to:
        raise ArgumentError(f"random_ expects 'from' to be less than 'to', but got from={from_} >= to={to}")
    return _filled(input, "whole", from_, to, generator)


def bernoulli_(input: Any, p: Any = 0.5, *, generator: Generator | None = None) -> Any:
    """Write ones with probability `p` (a number, or a tensor of them), else zeros; gives the tensor."""
    shape = input._type.shape
    chances = p.expand(shape) if isinstance(p, TensorBase) else input.new_full(shape, float(p), dtype=f64)  # type: ignore[attr-defined]
    return rebind(input, bernoulli_op(random_key(stream_count(shape), generator), chances).to(input._type.dtype))


METHODS: dict[str, Any] = {
    "multinomial": multinomial,
    **{f.__name__: f for f in (exponential_, geometric_, cauchy_, log_normal_, random_, bernoulli_)},
}
"""Methods of tensors."""
