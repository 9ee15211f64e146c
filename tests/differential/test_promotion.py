"""Type promotion against PyTorch, over all pairs of element types, of tensors, 0-d tensors and Python numbers."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

import rustorch
from rustorch.ir.dtypes import DTYPES

pytestmark = [pytest.mark.oracle]
torch = pytest.importorskip("torch")

NAMES = [d.name for d in DTYPES]
KINDS = ("tensor", "0-d", "number")


def operand(t: Any, name: str, kind: str) -> Any:
    """An operand of an element type: of one dimension, of none, or the Python number of that category."""
    dtype = getattr(t, name)
    if kind == "number":
        return {"b": True, "i": 3, "u": 3, "f": 1.5, "c": 1.5 + 2j}[name[0]]
    return t.ones((2,) if kind == "tensor" else (), dtype=dtype)


def name_of(x: Any) -> str:
    return str(x.dtype).partition(".")[2] if x.dtype.__class__.__module__ == "torch" else str(x.dtype.name)


def short(dtype: Any) -> str:
    return getattr(dtype, "name", None) or str(dtype).partition(".")[2]


@pytest.mark.parametrize(("left", "right"), list(itertools.product(NAMES, NAMES)))
def test_promote_types(left: str, right: str) -> None:
    ours = rustorch.promote_types(getattr(rustorch, left), getattr(rustorch, right))
    assert short(ours) == short(torch.promote_types(getattr(torch, left), getattr(torch, right)))
    theirs = torch.can_cast(getattr(torch, left), getattr(torch, right))
    assert rustorch.can_cast(getattr(rustorch, left), getattr(rustorch, right)) == theirs


@pytest.mark.parametrize("default", ["float32", "float64"])
@pytest.mark.parametrize(("left", "right"), list(itertools.product(KINDS, KINDS)))
def test_result_type(left: str, right: str, default: str) -> None:
    torch.set_default_dtype(getattr(torch, default))
    rustorch.set_default_dtype(getattr(rustorch, default))
    try:
        for one, other in itertools.product(NAMES, NAMES):
            theirs = torch.result_type(operand(torch, one, left), operand(torch, other, right))
            assert short(rustorch.result_type(operand(rustorch, one, left), operand(rustorch, other, right))) == short(theirs), (one, other)
    finally:
        torch.set_default_dtype(torch.float32)
        rustorch.set_default_dtype(rustorch.float32)


FUNCTIONS = ("add", "mul", "div", "floor_divide", "remainder", "pow", "eq", "lt", "maximum", "xlogy", "fmod", "logical_and", "bitwise_or",
             "hypot", "logaddexp", "copysign", "true_divide", "isin")  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_results_of_functions(name: str) -> None:
    for (one, other), (left, right) in itertools.product(itertools.product(NAMES, NAMES), itertools.product(KINDS[:2], KINDS)):
        try:
            theirs = getattr(torch, name)(operand(torch, one, left), operand(torch, other, right))
        except (RuntimeError, TypeError):
            continue
        if name == "pow" and one == other == "bool":
            continue  # PyTorch takes a Python bool, but no tensor
        ours = getattr(rustorch, name)(operand(rustorch, one, left), operand(rustorch, other, right))
        assert name_of(ours) == name_of(theirs), (one, other, left, right)


UNARY = ("exp", "sqrt", "sigmoid", "neg", "abs", "sign", "floor", "trunc", "round", "square", "sum", "prod", "mean", "amax", "cumsum",
         "var", "logsumexp", "any", "argmax", "isnan", "nansum", "count_nonzero", "reciprocal", "deg2rad", "positive", "frac", "norm",
         "softmax", "diff", "trace", "nan_to_num", "signbit", "sinc", "logit", "relu", "expm1", "rsqrt",
         "erf", "logical_not", "bitwise_not")  # fmt: skip


@pytest.mark.parametrize("name", UNARY)
def test_results_of_unary_functions(name: str) -> None:
    more = {"cumsum": (0,), "logsumexp": (0,), "softmax": (0,)}.get(name, ())
    for dtype in NAMES:
        shape = (2, 2) if name == "trace" else (2,)
        try:
            theirs = getattr(torch, name)(torch.ones(shape, dtype=getattr(torch, dtype)), *more)
        except (RuntimeError, TypeError):
            continue
        ours = getattr(rustorch, name)(rustorch.ones(shape, dtype=getattr(rustorch, dtype)), *more)
        assert name_of(ours) == name_of(theirs), dtype


def test_limits() -> None:
    for name in NAMES:
        if name.startswith(("float", "bfloat")):
            ours, theirs = rustorch.finfo(getattr(rustorch, name)), torch.finfo(getattr(torch, name))
            fields = ("bits", "eps", "max", "min", "tiny", "smallest_normal", "resolution", "dtype")
        elif "int" in name:
            ours, theirs = rustorch.iinfo(getattr(rustorch, name)), torch.iinfo(getattr(torch, name))
            fields = ("bits", "max", "min", "dtype")
        else:
            continue
        for field in fields:
            assert getattr(ours, field) == getattr(theirs, field), (name, field)
