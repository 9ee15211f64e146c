"""The vocabulary against PyTorch: values, element types, shapes and gradients, over shapes and layouts of the arguments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import rustorch
from tests.vocabulary_cases import CASES, Array, Case

pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore")]
torch = pytest.importorskip("torch")

_EQUAL_PLACES = "of updates of one place the last is kept, and has the gradient; PyTorch gives it to all"
NOT_TORCH = {
    "polygamma": "PyTorch's is good to nine digits",
    "as_strided": "the tensor is taken as it lies row by row; PyTorch's sees the memory of a view",
    "sinc near 0": "PyTorch's derivative loses digits near 0",
}
"""Where numpy's answer is not PyTorch's, and why."""
OTHER_GRADIENT = {
    "special.digamma": "PyTorch's trigamma is good to nine digits",
    "as_strided_scatter": "PyTorch 2.13 gives the gradient of other places",
    "ldexp": "PyTorch 2.13 rounds 2 ** -4 to the integer 0 in the gradient",
    "index_put": _EQUAL_PLACES,
    "x[list] = tensor": _EQUAL_PLACES,
    "x[array between slices] = tensor": _EQUAL_PLACES,
}
"""Where only values are compared."""


def flat(results: Any) -> list[Any]:
    return list(results) if isinstance(results, (tuple, list)) else [results]


def variants(case: Case) -> Iterator[tuple[str, tuple[Array, ...]]]:
    """The arguments as they are, in float32, not contiguous; of elementwise functions also 0-d, empty and of size 1."""
    yield "plain", case.arrays
    yield "f32", tuple(a.astype(np.float32) if a.dtype == np.float64 else a for a in case.arrays)
    yield "strided", tuple(np.repeat(a, 2, -1)[..., ::2] if a.ndim else a for a in case.arrays)
    if case.elementwise:
        yield "0-d", tuple(a.reshape(-1)[0] for a in case.arrays)
        yield "empty", tuple(np.zeros((0, 3), a.dtype) for a in case.arrays)
        yield "size 1", tuple(a.reshape(-1)[:1].reshape(1, 1) for a in case.arrays)
        yield "0-d and more", (case.arrays[0].reshape(-1)[0], *case.arrays[1:])


def computed(t: Any, case: Case, arrays: tuple[Array, ...], first_only: bool = False) -> tuple[list[Any], list[Any]]:
    """Results, and the gradients of their weighted sum."""
    given = []
    for k, a in enumerate(arrays):
        x = t.as_tensor(np.array(a)) if a.ndim == 0 else t.from_numpy(a)
        given.append(x.requires_grad_() if a.dtype.kind == "f" and case.smooth and (k == 0 or not first_only) else x)
    results = flat(case.call(t, *given))
    total: Any = None
    for k, y in enumerate(results):
        if y.requires_grad:
            weight = t.as_tensor(np.cos(np.arange(y.numel()) + k).reshape(tuple(y.shape))).to(y.dtype)
            part = (y * weight).sum()
            total = part if total is None else total + part
    if total is None or case.name in OTHER_GRADIENT:
        return results, [None] * len(given)
    try:
        total.backward()
    except RuntimeError:  # some derivatives PyTorch does not have
        if t is torch:
            return results, [None] * len(given)
        raise
    return results, [x.grad for x in given]


@pytest.mark.parametrize("case", [c for c in CASES if c.name not in NOT_TORCH], ids=str)
def test_against_torch(case: Case) -> None:
    for label, arrays in variants(case):
        first_only = False
        try:
            try:
                expected, slopes = computed(torch, case, arrays)
            except RuntimeError as error:
                first_only = "not differentiable with respect to" in str(error)  # a target or a weight
                if not first_only:
                    raise
                expected, slopes = computed(torch, case, arrays, first_only)
        except (RuntimeError, TypeError, IndexError, ValueError, AttributeError) as error:
            if label == "plain":
                raise
            del error
            continue  # PyTorch does not take these; what we make of them is our matter
        found, own = computed(rustorch, case, arrays, first_only)
        single = any(a.dtype == np.float32 for a in arrays)
        close = {"rtol": 1e-4 if single else 1e-11, "atol": 1e-5 if single else 1e-12}
        assert len(found) == len(expected), label
        for x, y in zip(found, expected, strict=True):
            assert x.dtype.name == str(y.dtype).partition(".")[2], label
            assert tuple(x.shape) == tuple(y.shape), label
            np.testing.assert_allclose(x.detach().numpy(), y.detach().numpy(), err_msg=label, **close)
        for x, y in zip(own, slopes, strict=True):
            if y is not None:
                np.testing.assert_allclose(np.zeros(y.shape) if x is None else x.numpy(), y.numpy(), err_msg=label, **close)
