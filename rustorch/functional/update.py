"""The steps of optimisers, each one operation for all parameters of a group.

The operations take parameters, gradients and moments (all first moments, then all second ones, …) and give the new parameters,
the new moments and, where there is one, the new count of steps. The learning rate and the count are 0-d tensors: another value
of them is no other program. They are float64, and so is what is computed of them alone.

`rustorch.optim` calls them through an `Advance`, which runs an operation at once and writes its results over tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rustorch.frontend.emit import Advance, Builder, Value, broadcast_to, convert, dtype_of, operation, rebind, shape_of
from rustorch.functional.layer import length
from rustorch.ir.dtypes import f64


def spread(b: Builder, scalar: Value, like: Value) -> Value:
    """A 0-d value in the element type and shape of another."""
    return broadcast_to(b, convert(b, scalar, dtype_of(like)), shape_of(like))


def times(b: Builder, scalar: Value, x: Value) -> Value:
    """A tensor times a 0-d value."""
    found: Value = b.mul(spread(b, scalar, x), x)
    return found


def descent(b: Builder, p: Value, g: Value, weight_decay: float, maximize: bool) -> Value:
    """The gradient to go against: with the sign of what is sought, and with the slope of weight_decay / 2 p²."""
    if maximize:
        g = b.neg(g)
    return b.add(g, b.mul(p, weight_decay)) if weight_decay else g


def decay(
    b: Builder, p: Value, g: Value, rate: Value, weight_decay: float, decoupled: bool, maximize: bool
) -> tuple[Value, Value]:
    """The parameter and the gradient to go against; `decoupled`: the weight decays by itself, not through the gradient."""
    g = descent(b, p, g, 0.0 if decoupled else weight_decay, maximize)
    if decoupled and weight_decay:
        p = times(b, b.sub(1.0, b.mul(rate, weight_decay)), p)
    return p, g


def counted(b: Builder, step: Value, lr: Value) -> tuple[Value, Value, Value]:
    """The count of this step, the same as a float64, and the learning rate as one."""
    count = b.add(step, 1)
    return count, convert(b, count, f64), convert(b, lr, f64)


def gathered(b: Builder, beta: float, t: Value) -> Value:
    """1 - beta^t: the weight of all values together in a running mean of t values, which began with 0."""
    found: Value = b.sub(1.0, b.pow(b.const(beta, t), t))
    return found


def parts(moments: Sequence[Value], count: int) -> list[Sequence[Value]]:
    """The first moments of `count` parameters, the second ones, …"""
    return [moments[i : i + count] for i in range(0, len(moments), count)] if count else []


def columns(rows: Sequence[tuple[Value, ...]]) -> tuple[Value, ...]:
    """All first entries of the rows, then all second ones, …"""
    return tuple(x for column in zip(*rows, strict=True) for x in column)


def toward(b: Builder, x: Value, y: Value, share: float) -> Value:
    """x + share (y - x)."""
    found: Value = b.add(x, b.mul(b.sub(y, x), share))
    return found


def mean_square(b: Builder, v: Value, x: Value, beta: float) -> Value:
    """The running mean of squares v, with x² in it."""
    found: Value = b.add(b.mul(v, beta), b.mul(b.mul(x, x), 1 - beta))
    return found


@operation(name="sgd", plural=True)
def sgd(
    b: Builder,
    params: Sequence[Value],
    grads: Sequence[Value],
    moments: Sequence[Value],
    step: Value | None,
    lr: Value,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    maximize: bool,
) -> tuple[Value, ...]:
    """v ← momentum v + (1 - dampening) g, where the first v is g; p ← p - lr v (Nesterov: lr (g + momentum v)).

    There are moments unless `momentum` is 0, and a count of steps only with a dampening, whose first step is another.
    """
    new, velocities = [], []
    for i, (p, g) in enumerate(zip(params, grads, strict=True)):
        g = descent(b, p, g, weight_decay, maximize)
        if momentum:
            pushed = g
            if step is not None:
                pushed = times(b, b.select(b.eq(step, 0), b.const(1.0, step), b.const(1 - dampening, step)), g)
            v = b.add(b.mul(moments[i], momentum), pushed)
            velocities.append(v)
            g = b.add(g, b.mul(v, momentum)) if nesterov else v
        new.append(b.sub(p, times(b, lr, g)))
    return (*new, *velocities, *(() if step is None else (b.add(step, 1),)))


@operation(name="adam", plural=True)
def adam(
    b: Builder,
    params: Sequence[Value],
    grads: Sequence[Value],
    moments: Sequence[Value],
    step: Value,
    lr: Value,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    amsgrad: bool,
    maximize: bool,
    decoupled: bool,
) -> tuple[Value, ...]:
    """m and v, the running means of g and g², divided by 1 - beta^t; p ← p - lr m / (sqrt(v) + eps).

    Kingma and Ba, 2015. `decoupled`: the weights decay by themselves, not through the gradient (Loshchilov and Hutter, 2019).
    `amsgrad`: in the place of v, the largest v so far (Reddi, Kale, Kumar, 2018).
    """
    beta1, beta2 = betas
    count, t, rate = counted(b, step, lr)
    size = b.div(rate, gathered(b, beta1, t))
    root = b.sqrt(gathered(b, beta2, t))
    means, squares, *largest = parts(moments, len(params))
    rows = []
    for i, (p, g) in enumerate(zip(params, grads, strict=True)):
        p, g = decay(b, p, g, rate, weight_decay, decoupled, maximize)
        m = toward(b, means[i], g, 1 - beta1)
        v = mean_square(b, squares[i], g, beta2)
        scale = b.maximum(largest[0][i], v) if amsgrad else v
        below = b.add(b.div(b.sqrt(scale), spread(b, root, v)), eps)
        rows.append((b.sub(p, times(b, size, b.div(m, below))), m, v, *((scale,) if amsgrad else ())))
    return (*columns(rows), count)


@operation(name="rmsprop", plural=True)
def rmsprop(
    b: Builder,
    params: Sequence[Value],
    grads: Sequence[Value],
    moments: Sequence[Value],
    step: Value | None,
    lr: Value,
    alpha: float,
    eps: float,
    weight_decay: float,
    momentum: float,
    centered: bool,
    maximize: bool,
) -> tuple[Value, ...]:
    """p ← p - lr g / (sqrt(v) + eps), where v is the running mean of g² (`centered`: less the square of that of g).

    Tieleman and Hinton, 2012. With `momentum`, the quotients are added up as in `sgd`. The moments are v, then the velocities
    and the running means of g, as far as they are in use.
    """
    squares, *others = parts(moments, len(params))
    rows = []
    for i, (p, g) in enumerate(zip(params, grads, strict=True)):
        g = descent(b, p, g, weight_decay, maximize)
        v = mean_square(b, squares[i], g, alpha)
        variance, state = v, [v]
        if centered:
            mean = toward(b, others[-1][i], g, 1 - alpha)
            variance = b.sub(v, b.mul(mean, mean))
        move = b.div(g, b.add(b.sqrt(variance), eps))
        if momentum:
            move = b.add(b.mul(others[0][i], momentum), move)
            state.append(move)
        if centered:
            state.append(mean)
        rows.append((b.sub(p, times(b, lr, move)), *state))
    return (*columns(rows), *(() if step is None else (b.add(step, 1),)))


@operation(name="adagrad", plural=True)
def adagrad(
    b: Builder,
    params: Sequence[Value],
    grads: Sequence[Value],
    moments: Sequence[Value],
    step: Value,
    lr: Value,
    lr_decay: float,
    eps: float,
    weight_decay: float,
    maximize: bool,
) -> tuple[Value, ...]:
    """p ← p - lr g / (sqrt(s) + eps), where s is the sum of all g²: Duchi, Hazan, Singer, 2011."""
    rate = convert(b, lr, f64)
    if lr_decay:
        rate = b.div(rate, b.add(b.mul(convert(b, step, f64), lr_decay), 1.0))
    rows = []
    for p, g, s in zip(params, grads, moments, strict=True):
        g = descent(b, p, g, weight_decay, maximize)
        s = b.add(s, b.mul(g, g))
        rows.append((b.sub(p, times(b, rate, b.div(g, b.add(b.sqrt(s), eps)))), s))
    return (*columns(rows), b.add(step, 1))


# --- Gradients --------------------------------------------------------------------------------------------------------


@operation(name="total_norm")
def total_norm(b: Builder, tensors: Sequence[Value], p: float) -> Value:
    """The p-norm of all elements together: that of the tensors' norms."""
    norms = [b.reshape(length(b, x, p, None), shape=(1,)) for x in tensors]
    return length(b, b.concat(*norms, axis=0) if len(norms) > 1 else norms[0], p, None)


@operation(name="scaled_to_norm", plural=True)
def scaled_to_norm(b: Builder, tensors: Sequence[Value], total: Value, max_norm: float) -> tuple[Value, ...]:
    """The tensors, times max_norm / total where that is below 1."""
    factor = b.minimum(b.div(b.const(max_norm, total), b.add(total, 1e-6)), 1.0)
    return tuple(times(b, factor, x) for x in tensors)


@operation(name="clamped", plural=True)
def clamped(b: Builder, tensors: Sequence[Value], bound: float) -> tuple[Value, ...]:
    """The tensors, moved into the range from -bound to bound."""
    return tuple(b.minimum(b.maximum(x, -bound), bound) for x in tensors)


def write(tensors: Sequence[Any], values: Sequence[Any]) -> None:
    """Write each value over its tensor."""
    for x, value in zip(tensors, values, strict=True):
        rebind(x, value)


__all__ = ["Advance", "adagrad", "adam", "clamped", "rmsprop", "scaled_to_norm", "sgd", "total_norm", "write"]
