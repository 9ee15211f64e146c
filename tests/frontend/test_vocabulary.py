"""Every function of the vocabulary against numpy or SciPy, through both doors, and its gradient against difference quotients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import rustorch
from rustorch.autograd import gradcheck
from tests.vocabulary_cases import CASES, Array, Case

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*a new program was compiled"),  # each case is one, on the same line
    pytest.mark.filterwarnings("ignore:reduction. 'mean' divides"),
]


def flat(results: Any) -> list[Any]:
    return list(results) if isinstance(results, (tuple, list)) else [results]


def arrays(results: Any) -> list[Array]:
    return [x.detach().numpy() for x in flat(results)]


@pytest.mark.parametrize("case", [c for c in CASES if c.expected is not None], ids=str)
def test_against_numpy(case: Case) -> None:
    assert case.expected is not None
    given = [rustorch.tensor(a) for a in case.arrays]
    recorded = arrays(case.call(rustorch, *given))
    with np.errstate(all="ignore"):
        expected = flat(case.expected(*case.arrays))
    assert len(recorded) == len(expected)
    for found, wanted in zip(recorded, expected, strict=True):
        assert found.shape == np.shape(wanted)
        single = found.dtype == np.float32
        # sums of a dozen roundings of numbers near 1
        np.testing.assert_allclose(found, wanted, rtol=2e-6 if single else 4e-14, atol=1e-6 if single else 1e-14)


LOOKS = {"nan_to_num"}
"""Calls that a traced function cannot make: they look at elements."""


def traceable(case: Case) -> bool:
    words = ("mask", "counts", "histc", "histogram", "bincount", "nonzero", "repeat_interleave")
    return not any(word in case.name for word in words) or case.name in ("masked_fill", "masked_scatter")


@pytest.mark.parametrize("case", [c for c in CASES if traceable(c)], ids=str)
def test_traced_is_recorded(case: Case) -> None:
    given = [rustorch.tensor(a) for a in case.arrays]
    recorded = arrays(case.call(rustorch, *given))
    traced = arrays(rustorch.jit(lambda *x: tuple(flat(case.call(rustorch, *x))))(*given))
    for one, other in zip(traced, recorded, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("case", [c for c in CASES if c.smooth], ids=str)
def test_gradients(case: Case) -> None:
    given = [rustorch.tensor(a, requires_grad=a.dtype.kind == "f") for a in case.arrays]

    def call(*x: Any) -> Any:
        return tuple(y for y in flat(case.call(rustorch, *x)) if y.dtype.kind == "float" and y.requires_grad)

    assert gradcheck(call, given)
