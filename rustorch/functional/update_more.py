"""Steps of the less usual optimisers: Adadelta, Adamax, NAdam, RAdam, Rprop, ASGD. See `update.py` for how they are called."""

from __future__ import annotations

from collections.abc import Sequence

from rustorch.frontend.emit import Builder, Value, broadcast_to, convert, dtype_of, operation, shape_of
from rustorch.functional.update import columns, counted, decay, descent, gathered, mean_square, parts, spread, times, toward
from rustorch.ir.dtypes import f64


@operation(name="adadelta", plural=True)
def adadelta(
    b: Builder,
    params: Sequence[Value],
    grads: Sequence[Value],
    moments: Sequence[Value],
    step: Value | None,
    lr: Value,
    rho: float,
    eps: float,
    weight_decay: float,
    maximize: bool,
) -> tuple[Value, ...]:
    """p ← p - lr d, d = sqrt(a + eps) / sqrt(v + eps) g, with running means v of g² and a of d²: Zeiler, 2012."""
    squares, moves = parts(moments, len(params))
    rows = []
    for i, (p, g) in enumerate(zip(params, grads, strict=True)):
        g = descent(b, p, g, weight_decay, maximize)
        v = mean_square(b, squares[i], g, rho)
        move = b.mul(b.div(b.sqrt(b.add(moves[i], eps)), b.sqrt(b.add(v, eps))), g)
        a = mean_square(b, moves[i], move, rho)
        rows.append((b.sub(p, times(b, lr, move)), v, a))
    return columns(rows)


@operation(name="adamax", plural=True)
def adamax(
    b: Builder,
    params: Sequence[Value],
    grads: Sequence[Value],
    moments: Sequence[Value],
    step: Value,
    lr: Value,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    maximize: bool,
) -> tuple[Value, ...]:
    """Adam with the largest decayed |g| in the place of the root of the mean square: Kingma and Ba, 2015, algorithm 2."""
    count, t, rate = counted(b, step, lr)
    size = b.div(rate, gathered(b, betas[0], t))
    means, largest = parts(moments, len(params))
    rows = []
    for i, (p, g) in enumerate(zip(params, grads, strict=True)):
        g = descent(b, p, g, weight_decay, maximize)
        m = toward(b, means[i], g, 1 - betas[0])
        u = b.maximum(b.mul(largest[i], betas[1]), b.add(b.abs(g), eps))
        rows.append((b.sub(p, times(b, size, b.div(m, u))), m, u))
    return (*columns(rows), count)


@operation(name="nadam", plural=True)
def nadam(
    b: Builder,
    params: Sequence[Value],
    grads: Sequence[Value],
    moments: Sequence[Value],
    step: Value,
    lr: Value,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    momentum_decay: float,
    decoupled: bool,
    maximize: bool,
) -> tuple[Value, ...]:
    """Adam with Nesterov's look ahead: Dozat, 2016. The product of all momenta so far is a moment of no dimension."""
    count, t, rate = counted(b, step, lr)

    def momentum(at: Value) -> Value:
        decayed = b.mul(b.pow(b.const(0.96, at), b.mul(at, momentum_decay)), 0.5)
        found: Value = b.mul(b.sub(1.0, decayed), betas[0])
        return found

    now, after = momentum(t), momentum(b.add(t, 1.0))
    root = b.sqrt(gathered(b, betas[1], t))
    means, squares, products = parts(moments, len(params))
    rows = []
    for i, (p, g) in enumerate(zip(params, grads, strict=True)):
        p, g = decay(b, p, g, rate, weight_decay, decoupled, maximize)
        product = b.mul(convert(b, products[i], f64), now)
        m = toward(b, means[i], g, 1 - betas[0])
        v = mean_square(b, squares[i], g, betas[1])
        below = b.add(b.div(b.sqrt(v), spread(b, root, v)), eps)
        by_gradient = b.div(b.mul(rate, b.sub(1.0, now)), b.sub(1.0, product))
        by_mean = b.div(b.mul(rate, after), b.sub(1.0, b.mul(product, after)))
        p = b.sub(p, times(b, by_gradient, b.div(g, below)))
        rows.append((b.sub(p, times(b, by_mean, b.div(m, below))), m, v, convert(b, product, dtype_of(products[i]))))
    return (*columns(rows), count)


@operation(name="radam", plural=True)
def radam(
    b: Builder,
    params: Sequence[Value],
    grads: Sequence[Value],
    moments: Sequence[Value],
    step: Value,
    lr: Value,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    decoupled: bool,
    maximize: bool,
) -> tuple[Value, ...]:
    """Adam, rectified by the variance of its step, and without the root of v where that has none: Liu and others, 2020."""
    count, t, rate = counted(b, step, lr)
    power = b.pow(b.const(betas[1], t), t)
    rest = b.sub(1.0, power)
    limit = 2 / (1 - betas[1]) - 1
    rho = b.sub(limit, b.div(b.mul(b.mul(t, 2.0), power), rest))
    known = b.gt(rho, 5.0)
    safe = b.select(known, rho, b.const(6.0, rho))
    above = b.mul(b.mul(b.sub(safe, 4.0), b.sub(safe, 2.0)), limit)
    rectified = b.mul(b.sqrt(b.div(above, b.mul(safe, (limit - 4) * (limit - 2)))), b.sqrt(rest))
    size = b.div(rate, gathered(b, betas[0], t))
    means, squares = parts(moments, len(params))
    rows = []
    for i, (p, g) in enumerate(zip(params, grads, strict=True)):
        p, g = decay(b, p, g, rate, weight_decay, decoupled, maximize)
        m = toward(b, means[i], g, 1 - betas[0])
        v = mean_square(b, squares[i], g, betas[1])
        adaptive = b.div(spread(b, rectified, v), b.add(b.sqrt(v), eps))
        factor = b.select(broadcast_to(b, known, shape_of(v)), adaptive, b.const(1.0, v))
        rows.append((b.sub(p, times(b, size, b.mul(m, factor))), m, v))
    return (*columns(rows), count)


@operation(name="rprop", plural=True)
def rprop(
    b: Builder,
    params: Sequence[Value],
    grads: Sequence[Value],
    moments: Sequence[Value],
    step: Value | None,
    lr: Value | None,
    etas: tuple[float, float],
    step_sizes: tuple[float, float],
    maximize: bool,
) -> tuple[Value, ...]:
    """Steps by the gradient's sign alone, longer where it stays and shorter where it changes: Riedmiller and Braun, 1993."""
    before, sizes = parts(moments, len(params))
    rows = []
    for i, (p, g) in enumerate(zip(params, grads, strict=True)):
        g = b.neg(g) if maximize else g
        turn = b.mul(g, before[i])
        changed, same = b.lt(turn, 0.0), b.gt(turn, 0.0)
        factor = b.select(same, b.const(etas[1], g), b.select(changed, b.const(etas[0], g), b.const(1.0, g)))
        size = b.minimum(b.maximum(b.mul(sizes[i], factor), step_sizes[0]), step_sizes[1])
        g = b.select(changed, b.const(0.0, g), g)
        rows.append((b.sub(p, b.mul(b.sign(g), size)), g, size))
    return columns(rows)


@operation(name="asgd", plural=True)
def asgd(
    b: Builder,
    params: Sequence[Value],
    grads: Sequence[Value],
    moments: Sequence[Value],
    step: Value,
    lr: Value,
    lambd: float,
    alpha: float,
    t0: float,
    weight_decay: float,
    maximize: bool,
) -> tuple[Value, ...]:
    """Descent with a falling rate, and the mean of the places from step t0 on: Polyak and Juditsky, 1992.

    The rate eta and the mean's share mu are moments of no dimension.
    """
    count, t, rate = counted(b, step, lr)
    eta_next = b.div(rate, b.pow(b.add(b.mul(b.mul(rate, lambd), t), 1.0), b.const(alpha, t)))
    mu_next = b.div(1.0, b.maximum(b.sub(t, t0), 1.0))
    averages, etas, mus = parts(moments, len(params))
    rows = []
    for i, (p, g) in enumerate(zip(params, grads, strict=True)):
        g = descent(b, p, g, weight_decay, maximize)
        eta = convert(b, etas[i], f64)
        p = b.sub(times(b, b.sub(1.0, b.mul(eta, lambd)), p), times(b, eta, g))
        mean = b.add(averages[i], times(b, convert(b, mus[i], f64), b.sub(p, averages[i])))
        rows.append((p, mean, convert(b, eta_next, dtype_of(etas[i])), convert(b, mu_next, dtype_of(mus[i]))))
    return (*columns(rows), count)
