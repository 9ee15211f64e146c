"""Gradients against central differences."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rustorch.errors import ArgumentError
from rustorch.frontend.backward import grad
from rustorch.frontend.base import Array, TensorBase
from rustorch.frontend.creation import tensor
from rustorch.frontend.modes import no_grad
from rustorch.frontend.random import Generator, randn


class GradcheckError(RuntimeError):
    """A gradient that differs from its central difference."""


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_batched_grad: bool = False,
    check_forward_ad: bool = False,
    fast_mode: bool = False,
) -> bool:
    """Compare the gradients of `func` at `inputs` (float64, requiring gradients) with central differences of step `eps`.

    Every element of every output is differentiated by every element of every input; with `fast_mode`, along one random direction
    each. Two runs of the backward pass may differ by `nondet_tol`. A difference above `atol + rtol * |numerical|` raises
    `GradcheckError` with both Jacobians, or gives False where `raise_exception` is false.
    """
    given = (inputs,) if isinstance(inputs, TensorBase) else tuple(inputs)
    wanted = [i for i, x in enumerate(given) if isinstance(x, TensorBase) and x._requires_grad]
    if not wanted:
        raise ArgumentError(
            "gradcheck expects at least one input tensor to require gradient, but none of the them have requires_grad=True."
        )
    for i in wanted:
        if given[i]._type.dtype.bits < 64:
            warnings.warn(
                f"Input #{i} requires gradient and is not a double precision floating point. This check will likely fail if all the inputs "
                "are not of double precision floating point.",
                stacklevel=2,
            )
    try:
        _check(func, given, wanted, eps, atol, rtol, nondet_tol, fast_mode)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def _check(
    func: Callable[..., Any], given: tuple[Any, ...], wanted: Sequence[int], eps: float, atol: float, rtol: float, nondet: float, fast: bool
) -> None:
    outputs = _outputs(func, given)
    for place, y in enumerate(outputs):
        if not y._requires_grad:
            continue
        analytical = [_analytical(func, given, wanted, place) for _ in range(2)]
        for k, i in enumerate(wanted):
            first, again = analytical[0][k], analytical[1][k]
            if np.abs(first - again).max(initial=0.0) > nondet:
                raise GradcheckError(
                    "Backward is not reentrant, i.e., running backward with same input and grad_output multiple times gives "
                    "different values"
                )
            numerical = _numerical(func, given, i, place, eps)
            left, right = first, numerical
            if fast:
                u, v = (np.random.default_rng(0).standard_normal(n) for n in numerical.shape)
                left, right = u @ first @ v, u @ numerical @ v
            if not np.allclose(left, right, rtol, atol, equal_nan=True):
                raise GradcheckError(
                    f"Jacobian mismatch for output {place} with respect to input {i},\nnumerical:{numerical}\nanalytical:{first}\n"
                )


def _outputs(func: Callable[..., Any], given: Sequence[Any]) -> list[Any]:
    result = func(*given)
    return [y for y in (result if isinstance(result, (tuple, list)) else [result]) if isinstance(y, TensorBase)]


def _analytical(func: Callable[..., Any], given: Sequence[Any], wanted: Sequence[int], place: int) -> list[Array]:
    """The Jacobian of one output for each input, a row per input element."""
    y = _outputs(func, given)[place]
    inputs = [given[i] for i in wanted]
    columns = []
    for j in range(y.numel()):
        unit = np.zeros(y.numel(), y._type.dtype.numpy)
        unit[j] = 1
        seed = tensor(unit.reshape(y._type.shape))
        found = grad(y, inputs, seed, retain_graph=True, allow_unused=True, materialize_grads=True)
        columns.append([g._elements().reshape(-1) for g in found])
    if not columns:
        return [np.zeros((x.numel(), 0)) for x in inputs]
    return [np.stack([c[k] for c in columns], 1) for k in range(len(inputs))]


def _numerical(func: Callable[..., Any], given: Sequence[Any], i: int, place: int, eps: float) -> Array:
    x = given[i]
    base = np.array(x._elements())
    rows = []
    for j in range(base.size):
        values = []
        for sign in (1, -1):
            moved = base.copy()
            moved.reshape(-1)[j] += sign * eps
            with no_grad():
                shifted = tensor(moved)
            shifted._requires_grad = True  # as the original: the function may ask
            y = _outputs(func, [*given[:i], shifted, *given[i + 1 :]])[place]
            values.append(np.array(y._elements(), np.float64).reshape(-1))
        rows.append((values[0] - values[1]) / (2 * eps))
    return np.stack(rows) if rows else np.zeros((0, 0))


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    fast_mode: bool = False,
) -> bool:
    """Compare second derivatives: `gradcheck` of the function that gives the gradients of `func`, at random cotangents if none
    are given."""
    given = (inputs,) if isinstance(inputs, TensorBase) else tuple(inputs)
    outputs = _outputs(func, given)
    if grad_outputs is None:
        generator = Generator().manual_seed(0)
        cotangents = [randn(y._type.shape, dtype=y._type.dtype, generator=generator) for y in outputs]
        for ct in cotangents:
            ct.requires_grad_()
    else:
        cotangents = [grad_outputs] if isinstance(grad_outputs, TensorBase) else list(grad_outputs)
    count = len(given)

    def gradients(*args: Any) -> tuple[Any, ...]:
        xs, seeds = args[:count], args[count:]
        ys = _outputs(func, xs)
        wanted = [x for x in xs if isinstance(x, TensorBase) and x._requires_grad]
        pairs = [(y, s) for y, s in zip(ys, seeds, strict=True) if y._requires_grad]
        return grad([y for y, _ in pairs], wanted, [s for _, s in pairs], create_graph=True, allow_unused=True, materialize_grads=True)

    return gradcheck(
        gradients, (*given, *cotangents), eps=eps, atol=atol, rtol=rtol, raise_exception=raise_exception, nondet_tol=nondet_tol,
        fast_mode=fast_mode,
    )  # fmt: skip


__all__ = ["GradcheckError", "gradcheck", "gradgradcheck"]
