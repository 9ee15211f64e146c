"""`gradcheck`: derivatives against central differences.

A Jacobian here has a row for each element of an input and a column for each element of an output, as PyTorch's messages show it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from rustorch.errors import ArgumentError, compose
from rustorch.frontend.backward import grad
from rustorch.frontend.base import Array, TensorBase
from rustorch.frontend.creation import from_numpy, tensor
from rustorch.frontend.dual import Level
from rustorch.frontend.function import Function
from rustorch.frontend.modes import no_grad
from rustorch.frontend.random import Generator, randn
from rustorch.frontend.segment import LEAF
from rustorch.frontend.storage import tracked

Inputs = Any
"""A tensor, or a sequence of arguments of which some are tensors."""


class GradcheckError(RuntimeError):
    """A derivative that differs from its central difference, or is not what it should be in another way."""


@dataclass(frozen=True)
class Options:
    """What is checked, and how exactly."""

    eps: float
    atol: float
    rtol: float
    nondet_tol: float
    undefined: bool
    dtypes: bool
    batched: bool
    batched_forward: bool
    forward: bool
    backward: bool
    fast: bool

    def are_close(self, found: Any, expected: Any) -> bool:
        """Whether derivatives agree: to `atol + rtol * |expected|`."""
        return bool(np.allclose(found, expected, self.rtol, self.atol, equal_nan=True))


def gradcheck(
    func: Callable[..., Any],
    inputs: Inputs,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """Compare the derivatives of `func` at `inputs` (float64, requiring gradients) with central differences of step `eps`.

    Every element of every output is differentiated by every element of every input; with `fast_mode`, along one random direction
    each. A difference above `atol + rtol * |numerical|` raises `GradcheckError` with both Jacobians, or gives False where
    `raise_exception` is false. Two runs of the backward pass may differ by `nondet_tol`. The other checks: a gradient that is not there
    counts as zero; gradients have their inputs' element types; batches of cotangents (of tangents) give what single ones do; forward
    mode. `masked` is taken for PyTorch's sake: there are no sparse tensors.
    """
    assert check_forward_ad or check_backward_ad, "Expected at least one of check_forward_ad or check_backward_ad to be True"
    assert not (check_batched_grad and not check_backward_ad), "Setting check_batched_grad=True requires check_backward_ad to be True"
    assert not (check_batched_forward_grad and not check_forward_ad), (
        "Setting check_batched_forward_grad=True requires check_forward_ad to be True"
    )
    options = Options(
        eps, atol, rtol, nondet_tol, check_undefined_grad, check_grad_dtypes, check_batched_grad, check_batched_forward_grad,
        check_forward_ad, check_backward_ad, fast_mode,
    )  # fmt: skip
    given = (inputs,) if isinstance(inputs, TensorBase) else tuple(inputs)
    wanted = _wanted(given)
    try:
        _check(_Case(func, given, wanted, options))
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def _wanted(given: Sequence[Any]) -> list[int]:
    """The places of the inputs that require gradients."""
    wanted = [i for i, x in enumerate(given) if isinstance(x, TensorBase) and x._requires_grad]
    if not wanted:
        raise ArgumentError("gradcheck expects at least one input tensor to require gradient, but none of them have requires_grad=True.")
    for i in wanted:
        if given[i]._type.dtype.bits < 64:
            warnings.warn(
                f"Input #{i} requires gradient and is not a double precision floating point or complex. This check will likely fail if all "
                "the inputs are not of double precision floating point or complex. ",
                stacklevel=3,
            )
    return wanted


def _outputs(func: Callable[..., Any], args: Iterable[Any]) -> list[Any]:
    """The tensors that a function gives."""
    result = func(*args)
    return [y for y in (result if isinstance(result, (tuple, list)) else [result]) if isinstance(y, TensorBase)]


@dataclass(frozen=True)
class _Case:
    """A function at its inputs."""

    func: Callable[..., Any]
    given: tuple[Any, ...]
    wanted: list[int]
    options: Options

    @property
    def inputs(self) -> list[Any]:
        """The inputs that are differentiated."""
        return [self.given[i] for i in self.wanted]

    def outputs(self, changed: dict[int, Any] | None = None) -> list[Any]:
        """The tensors that the function gives, at other inputs where `changed` says so."""
        return _outputs(self.func, ((changed or {}).get(i, x) for i, x in enumerate(self.given)))

    def difference(self, place: int, i: int, direction: Array) -> Array:
        """The central difference of an output along a direction of input `i`, flat."""
        base = np.array(self.given[i]._elements())
        values = []
        for sign in (1, -1):
            with no_grad():
                moved = tensor((base + sign * self.options.eps * direction).astype(base.dtype))
            moved._requires_grad = True  # as the original: the function may ask
            values.append(np.array(self.outputs({i: moved})[place]._elements(), np.float64).reshape(-1))
        found: Array = (values[0] - values[1]) / (2 * self.options.eps)
        return found

    def numerical(self, place: int, i: int) -> Array:
        """The Jacobian by differences."""
        x = self.given[i]
        rows = [self.difference(place, i, unit.reshape(x._type.shape)) for unit in np.eye(x.numel())]
        return np.stack(rows) if rows else np.zeros((0, self.outputs()[place].numel()))


def _check(case: _Case) -> None:
    outputs = case.outputs()
    differentiable = [place for place, y in enumerate(outputs) if y._requires_grad]
    if not differentiable:
        for place, y in enumerate(outputs):
            if y._type.dtype.kind == "float" and any(np.any(case.numerical(place, i)) for i in case.wanted):
                raise GradcheckError("Numerical gradient for function expected to be zero")
        return
    for place in differentiable:
        if case.options.fast:
            _check_fast(case, outputs, place)
        else:
            _check_slow(case, outputs, place)
        if case.options.backward:
            _check_backward(case, outputs[place])
    if case.options.batched_forward:
        _check_batched_forward(case, len(outputs))
    if case.options.undefined and case.options.backward:
        _check_undefined(case)


# --- Jacobians against differences ------------------------------------------------------------------------------------


def _check_slow(case: _Case, outputs: Sequence[Any], place: int) -> None:
    numerical = [case.numerical(place, i) for i in case.wanted]
    if case.options.forward:
        for i, found, expected in zip(case.wanted, _forward(case, place), numerical, strict=True):
            if not case.options.are_close(found, expected):
                raise GradcheckError(_mismatch(place, i, expected, found, "computed with forward mode "))
    if case.options.backward:
        analytical = _analytical(outputs[place], case.inputs)
        for i, found, expected in zip(case.wanted, analytical, numerical, strict=True):
            if not case.options.are_close(found, expected):
                raise GradcheckError(_mismatch(place, i, expected, found))
        # a program's first run, node by node, and its later ones, compiled, round differently: only what goes on differing counts
        passes = [analytical, *(_analytical(outputs[place], case.inputs) for _ in range(2))]
        if all(_farthest(first, second) > case.options.nondet_tol for first, second in pairwise(passes)):
            raise GradcheckError(
                "Backward is not reentrant, i.e., running backward with same input and grad_output multiple times gives different "
                "values, although analytical gradient matches numerical gradient.The tolerance for nondeterminism was "
                f"{case.options.nondet_tol}."
            )


def _farthest(left: Sequence[Array], right: Sequence[Array]) -> float:
    """The largest difference between elements of two rows of arrays."""
    return max(float(np.abs(x - y).max(initial=0.0)) for x, y in zip(left, right, strict=True))


def _mismatch(place: int, i: int, numerical: Any, analytical: Any, how: str = "") -> str:
    return (
        f"Jacobian {how}mismatch for output {place} with respect to input {i},\nnumerical:{_shown(numerical)}\n"
        f"analytical:{_shown(analytical)}\n"
    )


def _shown(x: Any) -> str:
    return repr(from_numpy(np.ascontiguousarray(x))) if isinstance(x, np.ndarray) else repr(float(x))


def _check_fast(case: _Case, outputs: Sequence[Any], place: int) -> None:
    """Both Jacobians between two random unit vectors: one pass each, instead of one for each element."""
    rng = np.random.default_rng(0)
    y = outputs[place]
    u = _unit(rng, y)
    for i in case.wanted:
        x = case.given[i]
        v = _unit(rng, x)
        numerical = float(case.difference(place, i, v.reshape(x._type.shape)) @ u)
        kinds = []
        if case.options.forward:
            (column,) = _tangents(case, place, i, v[None])
            kinds.append(("computed with forward mode ", float(column @ u)))
        if case.options.backward:
            seed = tensor(u.reshape(y._type.shape).astype(y._type.dtype.numpy))
            (gradient,) = grad(y, [x], seed, retain_graph=True, allow_unused=True, materialize_grads=True)
            kinds.append(("", float(gradient._elements().reshape(-1) @ v)))
        for how, found in kinds:
            if not case.options.are_close(found, numerical):
                slow = case.numerical(place, i)
                k = case.wanted.index(i)
                exact = _forward(case, place)[k] if how else _analytical(y, case.inputs)[k]
                raise GradcheckError(
                    _mismatch(place, i, numerical, found, how)
                    + "\nThe above quantities relating the numerical and analytical jacobians are computed \nin fast mode. "
                    f"Below, we recompute numerical and analytical jacobians in slow mode:\n\nNumerical:\n {_shown(slow)}\nAnalytical:\n"
                    f"{_shown(exact)}\n\nThe max per-element difference (slow mode) is: {np.abs(slow - exact).max(initial=0.0)}.\n"
                )


def _unit(rng: np.random.Generator, x: Any) -> Array:
    direction = rng.random(x.numel())
    unit: Array = direction / max(float(np.linalg.norm(direction)), 1e-300)
    return unit


def _analytical(y: Any, inputs: Sequence[Any]) -> list[Array]:
    """The Jacobian of one output for each input, by backward passes."""
    columns = [
        [g._elements().reshape(-1) for g in grad(y, inputs, seed, retain_graph=True, allow_unused=True, materialize_grads=True)]
        for seed in _seeds(y)
    ]
    if not columns:
        return [np.zeros((x.numel(), 0)) for x in inputs]
    return [np.stack([c[k] for c in columns], 1) for k in range(len(inputs))]


def _seeds(y: Any) -> Iterator[Any]:
    """A cotangent for each element."""
    for unit in np.eye(y.numel(), dtype=y._type.dtype.numpy):
        yield tensor(unit.reshape(y._type.shape))


def _forward(case: _Case, place: int) -> list[Array]:
    """The Jacobian of one output for each input, by forward mode along each element."""
    return [np.stack(_tangents(case, place, i, np.eye(case.given[i].numel()))) for i in case.wanted]


def _tangents(case: _Case, place: int, i: int, rows: Array, batch: bool = False) -> list[Array]:
    """The tangents of an output, flat, for each of some directions of input `i` (a row of elements each); as a batch, or one by one."""
    x = case.given[i]
    shaped = rows.reshape(len(rows), *x._type.shape).astype(x._type.dtype.numpy)
    found: list[Array] = []
    for part in [shaped] if batch else shaped:
        with Level(len(rows) if batch else None) as level:
            dual = tracked(x, LEAF)
            level.add(dual, tensor(part))
            y = case.outputs({i: dual})[place]
            (tangent,) = level.tangents([y])
        if tangent is None:
            moved = np.zeros((len(rows), y.numel()) if batch else y.numel())
        else:
            moved = np.array(tangent._elements()).reshape(len(rows) if batch else 1, y.numel())
        found += list(moved.reshape(-1, y.numel()))
    return found


# --- What else a derivative must do -----------------------------------------------------------------------------------


def _check_backward(case: _Case, y: Any) -> None:
    """Batches of cotangents, and element types."""
    if case.options.dtypes:
        for x, g in zip(case.inputs, grad(y, case.inputs, next(_seeds(y)), retain_graph=True, allow_unused=True), strict=True):
            if g is not None and g._type.dtype is not x._type.dtype:
                raise GradcheckError("grad is not of the same dtype as its input")
    if case.options.batched and y.numel():
        seeds = randn(3, *y._type.shape, dtype=y._type.dtype, generator=Generator().manual_seed(0))
        batch = grad(y, case.inputs, seeds, retain_graph=True, allow_unused=True, is_grads_batched=True)
        singles = [grad(y, case.inputs, seed, retain_graph=True, allow_unused=True) for seed in seeds]
        for k, (i, together) in enumerate(zip(case.wanted, batch, strict=True)):
            each = [row[k] for row in singles]
            if (together is None) != (each[0] is None):
                raise GradcheckError(f"For input {i}, gradients of a batch and single ones are not defined alike")
            if together is not None and not case.options.are_close(together._elements(), np.stack([g._elements() for g in each])):
                raise GradcheckError(
                    compose(
                        f"For output and input {i}, the gradients that were computed as a batch differ from single ones",
                        f"as a batch: {_shown(together._elements())}",
                        f"one by one: {_shown(np.stack([g._elements() for g in each]))}",
                    )
                )


def _check_batched_forward(case: _Case, count: int) -> None:
    """Tangents of each of the outputs, `count` of them."""
    rng = np.random.default_rng(0)
    for i in case.wanted:
        rows = rng.standard_normal((3, case.given[i].numel()))
        for place in range(count):
            together, singly = (_tangents(case, place, i, rows, batch) for batch in (True, False))
            if not case.options.are_close(together, singly):
                raise GradcheckError(f"For output {place} and input {i}, the tangents of a batch differ from single ones")


class _Undefined(Function):
    """The tensor; its gradient is not defined."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        return None


def _check_undefined(case: _Case) -> None:
    """Gradients of outputs that are not there count as zeros: each alone, and all."""
    why = 'Please look at "Notes about undefined output gradients": a backward gets None, or zeros, for results that no gradient comes to.'

    def check(silent: set[int]) -> None:
        outputs = [y for y in case.outputs() if y._requires_grad]
        roots = [_Undefined.apply(y) if k in silent else y for k, y in enumerate(outputs)]
        seeds = [tensor(np.zeros(y._type.shape, y._type.dtype.numpy)) for y in outputs]
        try:
            found = grad(roots, case.inputs, seeds, allow_unused=True)
        except RuntimeError as error:
            raise GradcheckError(f"Expected backward function to handle undefined output grads. {why}") from error
        if any(g is not None and np.any(g._elements()) for g in found):
            raise GradcheckError(
                f"Expected all input grads to be undefined or zero when all output grads are undefined or zero. {why}"
            )

    count = sum(y._requires_grad for y in case.outputs())
    check(set(range(count)))
    if count > 1:
        for k in range(count):
            check({k})
            check(set(range(count)) - {k})


# --- Second derivatives -----------------------------------------------------------------------------------------------


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Inputs,
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
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool = False,
) -> bool:
    """Compare second derivatives: `gradcheck` of the function that gives the gradients of `func`.

    The cotangents are `grad_outputs`, or random ones (whose elements always lie row by row: `gen_non_contig_grad_outputs` changes
    nothing). `check_rev_over_rev` differentiates the gradient in reverse mode, `check_fwd_over_rev` in forward mode.
    """
    assert check_fwd_over_rev or check_rev_over_rev, "Expected at least one of check_fwd_over_rev or check_rev_over_rev to be True"
    assert not (check_undefined_grad and not check_rev_over_rev), "Setting check_undefined_grad=True requires check_rev_over_rev to be True"
    assert not (check_batched_grad and not check_rev_over_rev), "Setting check_batched_grad=True requires check_rev_over_rev to be True"
    given = (inputs,) if isinstance(inputs, TensorBase) else tuple(inputs)
    wanted = _wanted(given)
    outputs = [y for y in _outputs(func, given) if y._requires_grad]
    if grad_outputs is None:
        generator = Generator().manual_seed(0)
        cotangents = [randn(y._type.shape, dtype=y._type.dtype, generator=generator) for y in outputs]
        for ct in cotangents:
            ct.requires_grad_()
    else:
        cotangents = [grad_outputs] if isinstance(grad_outputs, TensorBase) else list(grad_outputs)
    count = len(given)

    def gradients(*args: Any) -> tuple[Any, ...]:
        inputs = [args[i] for i in wanted]
        roots = [y for y in _outputs(func, args[:count]) if y._requires_grad]
        found = grad(roots, inputs, list(args[count:]), create_graph=True, allow_unused=True)
        return tuple(g for g in found if g is not None)

    return gradcheck(
        gradients, (*given, *cotangents), eps=eps, atol=atol, rtol=rtol, raise_exception=raise_exception, nondet_tol=nondet_tol,
        check_undefined_grad=check_undefined_grad, check_grad_dtypes=check_grad_dtypes, check_batched_grad=check_batched_grad,
        check_forward_ad=check_fwd_over_rev, check_backward_ad=check_rev_over_rev, fast_mode=fast_mode, masked=masked,
    )  # fmt: skip


__all__ = ["GradcheckError", "gradcheck", "gradgradcheck"]
