"""The functions on tensors that users call: `rustorch.exp(x)`, `rustorch.cat(…)`, and the table of those that are methods.

Elementwise ones come from the registry of ops (`generated.py`); the others from the files of their families. Here are those that
belong to no family, and the names that a function has besides its own.
"""

from __future__ import annotations

import builtins
from typing import Any

from rustorch.errors import ArgumentError
from rustorch.frontend import (
    arrangement,
    compositions,
    contraction,
    diagonals,
    elementwise,
    indexing,
    linalg,
    linalg_compositions,
    movement,
    ordering,
    places,
    reduction,
    statistics,
)
from rustorch.frontend.arrangement import (
    adjoint,
    as_strided,
    as_strided_scatter,
    atleast_1d,
    atleast_2d,
    atleast_3d,
    block_diag,
    cartesian_prod,
    column_stack,
    combinations,
    dsplit,
    dstack,
    fliplr,
    flipud,
    hsplit,
    hstack,
    meshgrid,
    moveaxis,
    movedim,
    ravel,
    repeat_interleave,
    roll,
    rot90,
    row_stack,
    split_with_sizes,
    swapdims,
    tensor_split,
    tile,
    unravel_index,
    vsplit,
    vstack,
)
from rustorch.frontend.base import TensorBase
from rustorch.frontend.compositions import (
    addcdiv,
    addcmul,
    deg2rad,
    float_power,
    fmax,
    fmin,
    fmod,
    frac,
    frexp,
    heaviside,
    hypot,
    isclose,
    isfinite,
    isin,
    isinf,
    isnan,
    isneginf,
    isposinf,
    isreal,
    ldexp,
    lerp,
    logaddexp2,
    logit,
    nan_to_num,
    nextafter,
    polygamma,
    positive,
    rad2deg,
    signbit,
    sinc,
    trunc,
    xlogy,
)
from rustorch.frontend.compositions import multigammaln as mvlgamma
from rustorch.frontend.compositions import rounded as round
from rustorch.frontend.contraction import (
    addbmm,
    addmm,
    addmv,
    addr,
    baddbmm,
    bilinear,
    bmm,
    cdist,
    chain_matmul,
    cross,
    dot,
    einsum,
    ger,
    inner,
    kron,
    mm,
    mv,
    outer,
    tensordot,
    vdot,
)
from rustorch.frontend.contraction import matmul_op as matmul
from rustorch.frontend.diagonals import diag, diag_embed, diagflat, diagonal, diagonal_scatter, trace, tril, triu, vander
from rustorch.frontend.indexing import masked_select, nonzero
from rustorch.frontend.linalg import (
    cholesky_inverse,
    cholesky_solve,
    det,
    inverse,
    logdet,
    lu_solve,
    lu_unpack,
    pinverse,
    slogdet,
)
from rustorch.frontend.linalg import old_cholesky as cholesky
from rustorch.frontend.linalg import old_qr as qr
from rustorch.frontend.linalg import old_svd as svd
from rustorch.frontend.linalg_compositions import matrix_exp, matrix_power, vecdot
from rustorch.frontend.movement import (
    broadcast_tensors,
    broadcast_to,
    cat,
    chunk,
    flatten,
    flip,
    narrow,
    permute,
    reshape,
    select,
    split,
    squeeze,
    stack,
    t,
    transpose,
    unbind,
    unflatten,
    unsqueeze,
)
from rustorch.frontend.ordering import (
    argsort,
    bucketize,
    cummax,
    cummin,
    cumprod,
    cumsum,
    kthvalue,
    logcumsumexp,
    median,
    mode,
    msort,
    nanmedian,
    nanquantile,
    quantile,
    searchsorted,
    sort,
    topk,
    unique,
    unique_consecutive,
)
from rustorch.frontend.places import (
    argwhere,
    gather,
    index_add,
    index_copy,
    index_fill,
    index_put,
    index_reduce,
    index_select,
    masked_fill,
    masked_scatter,
    put,
    scatter,
    scatter_add,
    scatter_reduce,
    select_scatter,
    slice_scatter,
    take,
    take_along_dim,
)
from rustorch.frontend.reduction import (
    all,
    amax,
    amin,
    any,
    argmax,
    argmin,
    clamp,
    clamp_max,
    clamp_min,
    max,
    mean,
    min,
    prod,
    sum,
)
from rustorch.frontend.statistics import (
    aminmax,
    bincount,
    corrcoef,
    count_nonzero,
    cov,
    cumulative_trapezoid,
    diff,
    dist,
    gradient,
    histc,
    histogram,
    logsumexp,
    nanmean,
    nansum,
    norm,
    renorm,
    std,
    std_mean,
    trapezoid,
    trapz,
    var,
    var_mean,
)
from rustorch.frontend.storage import into, same

_mul, _add, _sub, _div = (elementwise.functions[name] for name in ("mul", "add", "sub", "div"))


# --- Arithmetic with more arguments than the ops have -----------------------------------------------------------------


def add(input: Any, other: Any, *, alpha: float = 1, out: Any = None) -> Any:
    """`input + alpha * other`."""
    return _add(input, other, out=out) if alpha == 1 else _add(input, _mul(other, alpha), out=out)


def sub(input: Any, other: Any, *, alpha: float = 1, out: Any = None) -> Any:
    """`input - alpha * other`."""
    return _sub(input, other, out=out) if alpha == 1 else _sub(input, _mul(other, alpha), out=out)


def rsub(input: Any, other: Any, *, alpha: float = 1) -> Any:
    """`other - alpha * input`."""
    return sub(other, input, alpha=alpha)


def div(input: Any, other: Any, *, rounding_mode: str | None = None, out: Any = None) -> Any:
    """`input / other`; with `rounding_mode` "floor" or "trunc", rounded to whole numbers."""
    if rounding_mode is None:
        return _div(input, other, out=out)
    if rounding_mode == "floor":
        return elementwise.functions["floor_divide"](input, other, out=out)
    if rounding_mode == "trunc":
        return compositions.truncated_quotient(input, other, out=out)
    raise ArgumentError(
        f"div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{rounding_mode}'"
    )


def where(condition: Any, input: Any = None, other: Any = None, *, out: Any = None) -> Any:
    """`input` where the condition holds, `other` elsewhere; without them, the places where the condition holds."""
    if input is None and other is None:
        return indexing.nonzero(condition, as_tuple=True)
    return into(out, reduction.where_op(condition, input, other))


# --- Questions --------------------------------------------------------------------------------------------------------


def clone(input: Any, *, memory_format: Any = None) -> Any:
    """A copy, through which gradients flow."""
    return same(input)


def numel(input: Any) -> builtins.int:
    """The number of elements."""
    return builtins.int(input.numel())


def is_tensor(obj: Any) -> builtins.bool:
    """Whether an object is a tensor."""
    return isinstance(obj, TensorBase)


def is_floating_point(input: Any) -> builtins.bool:
    """Whether the elements are floating-point numbers."""
    return bool(input._type.dtype.kind == "float")


def is_complex(input: Any) -> builtins.bool:
    """Whether the elements are complex numbers."""
    return bool(input._type.dtype.kind == "complex")


def is_signed(input: Any) -> builtins.bool:
    """Whether the elements may be negative."""
    return bool(input._type.dtype.numpy.kind in "ifc")


def is_nonzero(input: Any) -> builtins.bool:
    """Whether the only element is not 0. Looks at it."""
    if input.numel() != 1:
        many = "no values" if input.numel() == 0 else "more than one value"
        raise ArgumentError(f"Boolean value of Tensor with {many} is ambiguous")
    return bool(input.item())


def is_same_size(input: Any, other: Any) -> builtins.bool:
    """Whether two tensors have one shape."""
    return bool(input._type.shape == other._type.shape)


def allclose(input: Any, other: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: builtins.bool = False) -> builtins.bool:
    """Whether all elements are within `atol + rtol * |other|` of each other. Looks at the elements."""
    return bool(reduction.all(isclose(input, other, rtol, atol, equal_nan)))


def equal(input: Any, other: Any) -> builtins.bool:
    """Whether two tensors have one shape and equal elements. Looks at the elements."""
    return input._type.shape == other._type.shape and bool(reduction.all(elementwise.functions["eq"](input, other)))


def broadcast_shapes(*shapes: Any) -> Any:
    """The shape that shapes broadcast to."""
    return movement.broadcast_sizes(*(tuple(s) if isinstance(s, (list, tuple)) else (s,) for s in shapes))


# --- Names ------------------------------------------------------------------------------------------------------------

concat = concatenate = cat
swapaxes = transpose
clip = clamp
subtract = sub
divide = true_divide = div
fix = trunc

METHODS: dict[str, Any] = {
    f.__name__: f
    for f in (
        *movement.FUNCTIONS, *reduction.FUNCTIONS, *statistics.FUNCTIONS, *ordering.FUNCTIONS, *compositions.FUNCTIONS, *places.FUNCTIONS,
        *diagonals.FUNCTIONS,
        add, sub, div, allclose, equal, is_complex, is_signed, is_nonzero, is_same_size, masked_select, nonzero,
    )
}  # fmt: skip
METHODS |= arrangement.METHODS | contraction.METHODS | linalg.METHODS | linalg_compositions.METHODS
METHODS |= {
    "polygamma": compositions.polygamma_op,
    "narrow_copy": lambda self, dim, start, length: same(narrow(self, dim, start, length)),
    "subtract": sub,
    "divide": div,
    "true_divide": div,
    "swapaxes": transpose,
    "clip": clamp,
    "fix": trunc,
    "where": lambda self, condition, other: reduction.where_op(condition, self, other),
}
METHODS |= {
    f"{name}_": indexing.turned_in_place(METHODS[name])
    for name in ("squeeze", "unsqueeze", "t", "transpose", "swapaxes", "swapdims")
}
METHODS |= {
    f"{name}_": elementwise.in_place(METHODS[name])
    for name in (
        *(f.__name__ for f in (*compositions.IN_PLACE, *places.IN_PLACE, *contraction.IN_PLACE)),
        "add", "sub", "div", "subtract", "divide", "true_divide", "clamp", "clip", "clamp_min", "clamp_max", "fix", "cumsum", "cumprod",
        "tril", "triu", "renorm",
    )
}  # fmt: skip
"""Methods of tensors besides those that the registry gives."""

__all__ = [
    "add", "addbmm", "addcdiv", "addcmul", "addmm", "addmv", "addr", "adjoint", "all", "allclose", "amax", "amin", "aminmax", "any",
    "argmax", "argmin", "argsort", "argwhere", "as_strided", "as_strided_scatter", "atleast_1d", "atleast_2d", "atleast_3d", "baddbmm",
    "bilinear", "bincount", "block_diag", "bmm", "broadcast_shapes", "broadcast_tensors", "broadcast_to", "bucketize", "cartesian_prod",
    "cat", "cdist", "chain_matmul", "chunk", "clamp", "clamp_max", "clamp_min", "clip", "clone", "column_stack", "combinations", "concat",
    "concatenate", "corrcoef", "count_nonzero", "cov", "cross", "cummax", "cummin", "cumprod", "cumsum", "cumulative_trapezoid", "deg2rad",
    "diag", "diag_embed", "diagflat", "diagonal", "diagonal_scatter", "diff", "dist", "div", "divide", "dot", "dsplit", "dstack", "einsum",
    "equal", "fix", "flatten", "flip", "fliplr", "flipud", "float_power", "fmax", "fmin", "fmod", "frac", "frexp", "gather", "ger",
    "gradient", "heaviside", "histc", "histogram", "hsplit", "hstack", "hypot", "index_add", "index_copy", "index_fill", "index_put",
    "index_reduce", "index_select", "inner", "is_complex", "is_floating_point", "is_nonzero", "is_same_size", "is_signed", "is_tensor",
    "isclose", "isfinite", "isin", "isinf", "isnan", "isneginf", "isposinf", "isreal", "kron", "kthvalue", "ldexp", "lerp", "logaddexp2",
    "logcumsumexp", "logit", "logsumexp", "masked_fill", "masked_scatter", "masked_select", "matmul", "max", "mean", "median", "meshgrid",
    "min", "mm", "mode", "moveaxis", "movedim", "msort", "mv", "mvlgamma", "nan_to_num", "nanmean", "nanmedian", "nanquantile", "nansum",
    "narrow", "nextafter", "nonzero", "norm", "numel", "outer", "permute", "polygamma", "positive", "prod", "put", "quantile", "rad2deg",
    "ravel", "renorm", "repeat_interleave", "reshape", "roll", "rot90", "round", "row_stack", "rsub", "scatter", "scatter_add",
    "scatter_reduce", "searchsorted", "select", "select_scatter", "signbit", "sinc", "slice_scatter", "sort", "split", "split_with_sizes",
    "squeeze", "stack", "std", "std_mean", "sub", "subtract", "sum", "swapaxes", "swapdims", "t", "take", "take_along_dim", "tensor_split",
    "tensordot", "tile", "topk", "trace", "transpose", "trapezoid", "trapz", "tril", "triu", "true_divide", "trunc", "unbind", "unflatten",
    "unique", "unique_consecutive", "unravel_index", "unsqueeze", "vander", "var", "var_mean", "vdot", "vsplit", "vstack", "where",
    "xlogy",
    "cholesky", "cholesky_inverse", "cholesky_solve", "det", "inverse", "logdet", "lu_solve", "lu_unpack", "matrix_exp", "matrix_power",
    "pinverse", "qr", "slogdet", "svd", "vecdot",
]  # fmt: skip
