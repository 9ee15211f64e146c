"""Comparisons, choice, truth and bits, elementwise."""

from __future__ import annotations

from typing import Any

import numpy as np

from rustorch.ir.dtypes import DTYPES, INTS, bool_
from rustorch.ir.op import Internal, Linear, NotDifferentiable, Public, Undefined, Zero
from rustorch.ops.elementwise import binary, unary, zero
from rustorch.ops.family import Array, Domain, elementwise

LOGIC = (bool_, *INTS)

# --- Comparison, choice -----------------------------------------------------------------------------------------------

_TRUTH = Zero("a truth value is constant between jumps")

lt = elementwise(
    "lt",
    "x < y; false for NaN.",
    operands=2,
    dtypes=DTYPES,
    result=bool_,
    reference=np.less,
    derivative=_TRUTH,
    public=binary("lt", "less", operator="lt"),
)

le = elementwise(
    "le",
    "x <= y; false for NaN.",
    operands=2,
    dtypes=DTYPES,
    result=bool_,
    reference=np.less_equal,
    derivative=_TRUTH,
    public=binary("le", "less_equal", operator="le"),
)

gt = elementwise(
    "gt",
    "x > y; false for NaN.",
    operands=2,
    dtypes=DTYPES,
    result=bool_,
    reference=np.greater,
    derivative=_TRUTH,
    public=binary("gt", "greater", operator="gt"),
)

ge = elementwise(
    "ge",
    "x >= y; false for NaN.",
    operands=2,
    dtypes=DTYPES,
    result=bool_,
    reference=np.greater_equal,
    derivative=_TRUTH,
    public=binary("ge", "greater_equal", operator="ge"),
)

eq = elementwise(
    "eq",
    "x == y; false for NaN.",
    operands=2,
    dtypes=DTYPES,
    result=bool_,
    reference=np.equal,
    derivative=_TRUTH,
    public=binary("eq", operator="eq"),
    commutative=True,
)

ne = elementwise(
    "ne",
    "x != y; true for NaN.",
    operands=2,
    dtypes=DTYPES,
    result=bool_,
    reference=np.not_equal,
    derivative=_TRUTH,
    public=binary("ne", "not_equal", operator="ne"),
    commutative=True,
)

select = elementwise(
    "select",
    "x where the mask is true, y elsewhere.",
    operands=3,
    masks=1,
    dtypes=DTYPES,
    reference=np.where,
    derivative=Linear(
        (
            NotDifferentiable("a mask is a truth value"),
            lambda b, ct, mask, x, y: b.select(mask, ct, zero(b, ct)),
            lambda b, ct, mask, x, y: b.select(mask, zero(b, ct), ct),
        )
    ),
    public=Public(("where",), ("condition", "input", "other"), in_place=False),
)

# --- Truth and bits ---------------------------------------------------------------------------------------------------

_BITS = Undefined("it works on bits and truth values, not on numbers")

and_ = elementwise(
    "and",
    "Bitwise and; of bools, logical and.",
    operands=2,
    dtypes=LOGIC,
    reference=np.bitwise_and,
    derivative=_BITS,
    public=binary("bitwise_and", operator="and"),
    commutative=True,
)

or_ = elementwise(
    "or",
    "Bitwise or; of bools, logical or.",
    operands=2,
    dtypes=LOGIC,
    reference=np.bitwise_or,
    derivative=_BITS,
    public=binary("bitwise_or", operator="or"),
    commutative=True,
)

xor = elementwise(
    "xor",
    "Bitwise exclusive or; of bools, whether they differ.",
    operands=2,
    dtypes=LOGIC,
    reference=np.bitwise_xor,
    derivative=_BITS,
    public=binary("bitwise_xor", operator="xor"),
    commutative=True,
)

not_ = elementwise(
    "not",
    "Bitwise complement; of bools, logical not.",
    operands=1,
    dtypes=LOGIC,
    reference=np.invert,
    derivative=_BITS,
    public=unary("bitwise_not", operator="invert", promote="none"),
)

logical_and = elementwise(
    "logical_and",
    "Whether both are nonzero.",
    operands=2,
    dtypes=DTYPES,
    result=bool_,
    reference=np.logical_and,
    derivative=_TRUTH,
    public=binary("logical_and"),
    expand=lambda b, x, y: b.and_(b.ne(x, zero(b, x)), b.ne(y, zero(b, y))),
    commutative=True,
    cost=3,
)

logical_or = elementwise(
    "logical_or",
    "Whether either is nonzero.",
    operands=2,
    dtypes=DTYPES,
    result=bool_,
    reference=np.logical_or,
    derivative=_TRUTH,
    public=binary("logical_or"),
    expand=lambda b, x, y: b.or_(b.ne(x, zero(b, x)), b.ne(y, zero(b, y))),
    commutative=True,
    cost=3,
)

logical_xor = elementwise(
    "logical_xor",
    "Whether exactly one is nonzero.",
    operands=2,
    dtypes=DTYPES,
    result=bool_,
    reference=np.logical_xor,
    derivative=_TRUTH,
    public=binary("logical_xor"),
    expand=lambda b, x, y: b.xor(b.ne(x, zero(b, x)), b.ne(y, zero(b, y))),
    commutative=True,
    cost=3,
)

logical_not = elementwise(
    "logical_not",
    "Whether x is zero.",
    operands=1,
    dtypes=DTYPES,
    result=bool_,
    reference=np.logical_not,
    derivative=_TRUTH,
    public=unary("logical_not", promote="none"),
    expand=lambda b, x: b.eq(x, zero(b, x)),
)


def _shift(left: bool, signed: bool) -> Any:
    def reference(x: Array, amount: Array) -> Array:
        bits = 8 * x.dtype.itemsize
        inside = (amount >= 0) & (amount < bits)
        by = np.where(inside, amount, 0).astype(x.dtype)
        if left:
            return np.asarray(np.where(inside, x << by, 0)).astype(x.dtype)
        if signed:
            return np.asarray(np.where(inside, x >> by, x >> x.dtype.type(bits - 1))).astype(x.dtype)
        unsigned = x.astype(f"u{x.dtype.itemsize}")
        return np.asarray(np.where(inside, unsigned >> by.astype(unsigned.dtype), 0)).astype(x.dtype)

    return reference


_AMOUNTS = (Domain(-9, 9), Domain(0, 31))

shl = elementwise(
    "shl",
    "Bits moved up by y places; 0 where y is negative or all places.",
    operands=2,
    dtypes=INTS,
    reference=_shift(left=True, signed=False),
    derivative=_BITS,
    public=binary("bitwise_left_shift", operator="lshift"),
    domain=_AMOUNTS,
)

shr_logical = elementwise(
    "shr_logical",
    "Bits moved down by y places, zeros filled in; 0 where y is negative or all places.",
    operands=2,
    dtypes=INTS,
    reference=_shift(left=False, signed=False),
    derivative=_BITS,
    public=Internal("random bits are made with it; users shift with the sign"),
    domain=_AMOUNTS,
)

shr_arith = elementwise(
    "shr_arith",
    "Bits moved down by y places, the sign filled in; only the sign is left where y is negative or all places.",
    operands=2,
    dtypes=INTS,
    reference=_shift(left=False, signed=True),
    derivative=_BITS,
    public=binary("bitwise_right_shift", operator="rshift"),
    domain=_AMOUNTS,
)
