"""Changes of element type, and the identity that stops derivatives, elementwise."""

from __future__ import annotations

import numpy as np

from rustorch.errors import ArgumentError, DTypeError, compose
from rustorch.ir.dtypes import DTYPES, bool_, f32, f64, i32, i64
from rustorch.ir.op import Internal, Linear, Public, Refusal, Sample, Undefined, Zero
from rustorch.ir.types import DType, Type, element, with_element
from rustorch.ops.family import Domain, elementwise


def _target(name: str, dtype: object) -> DType:
    if not isinstance(dtype, DType):
        raise ArgumentError(compose(f"{name}: `dtype` must be an element type", f"found {dtype!r}"))
    return dtype


def _convert_type(x: Type, *, dtype: DType) -> Type:
    return with_element(x, _target("convert", dtype))


def _bitcast_type(x: Type, *, dtype: DType) -> Type:
    source, target = element(x), _target("bitcast", dtype)
    if source.bits != target.bits or bool_ in (source, target):
        found = f"found {x}, of {source.bits} bits an element, and {target}, of {target.bits}"
        raise DTypeError(compose("bitcast keeps the bits, so both element types have as many", found))
    return with_element(x, target)


def _convert_samples() -> list[Sample]:
    found = []
    for source in DTYPES:
        for target in DTYPES:
            smooth = source is f64 and target is f64
            for shape in ((), (67,), (0, 2)):
                draw = (lambda s, n: lambda rng: (Domain(-100, 100).draw(rng, s, n),))(source, shape)
                found.append(Sample(draw, {"dtype": target}, smooth, f"{source}{list(shape)} to {target}"))
    found.append(
        Sample(lambda rng: (np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1e300, 1e-300]),), {"dtype": f32}, False, "f64 special to f32")
    )
    found.append(Sample(lambda rng: (np.array([0.0, -0.0, np.nan, np.inf, 0.25]),), {"dtype": bool_}, False, "f64 special to bool"))
    found.append(Sample(lambda rng: (np.array([1 << 40, -(1 << 33) - 5, (1 << 31)]),), {"dtype": i32}, False, "i64 wraps to i32"))
    return found


convert = elementwise(
    "convert",
    "The value as element type `dtype`: floats round to nearest, and truncate to integers (unspecified where the number is "
    "outside the range); integers wrap; bool is whether nonzero.",
    operands=1,
    infer=_convert_type,
    reference=lambda x, dtype: x.astype(dtype.numpy),
    derivative=Linear((lambda b, ct, x, dtype: b.convert(ct, dtype=element(x.type)),)),
    public=Internal("Tensor.to, Tensor.float and promotion at the door"),
    attributes=("dtype",),
    samples=tuple(_convert_samples()),
    errors=(Refusal((f32[3],), {"dtype": "f64"}, ArgumentError, "must be an element type"),),
)

bitcast = elementwise(
    "bitcast",
    "The same bits read as another element type of as many bits.",
    operands=1,
    infer=_bitcast_type,
    reference=lambda x, dtype: x.view(dtype.numpy),
    derivative=Undefined("the bits of a number are not numbers"),
    public=Internal("expansions look at the bits of floats with it"),
    attributes=("dtype",),
    cost=0,
    samples=tuple(
        Sample(
            (lambda s, n: lambda rng: (Domain(-9, 9).draw(rng, s, n),))(source, shape), {"dtype": target}, False, f"{source} to {target}"
        )
        for source, target in ((f32, i32), (i32, f32), (f64, i64), (i64, f64))
        for shape in ((), (67,), (2, 0))
    ),
    errors=(
        Refusal((f32[3],), {"dtype": i64}, DTypeError, "as many"),
        Refusal((f32[3],), {"dtype": 3}, ArgumentError, "must be an element type"),
    ),
)

detach = elementwise(
    "detach",
    "x itself, as a constant of differentiation.",
    operands=1,
    dtypes=DTYPES,
    reference=lambda x: x,
    derivative=Zero("detach asks for it"),
    public=Public(("detach",), ("input",), promote="none"),
    expand=lambda b, x: x,
    cost=0,
    smooth=False,
)
