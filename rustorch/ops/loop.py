"""The loop dialect: what a kernel is made of below the tensor level.

    %r = for %lo, %hi, %z {step = 8} (%i: i64, %a: vec<8xf32>) { ... yield %s } : vec<8xf32>
    %v = load %x, %i {offset = 0, type = vec<8xf32>} : vec<8xf32>

Indices are i64 scalars that count elements. Elementwise ops of the tensor vocabulary serve vectors and scalars under the
same names. `load` reads memory that the kernel never writes, so it is pure; `reload` reads scratch that it wrote.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rustorch.errors import CompilerBug
from rustorch.ir.dtypes import bool_, i64
from rustorch.ir.graph import Graph
from rustorch.ir.op import REGISTRY, Internal, Nest, OpDef, Trait, Undefined
from rustorch.ir.types import BufferType, DType, Type, VectorType, element

_WHY = "the loop dialect is below differentiation"


def _not_a_tensor_op(*_: Any, **__: Any) -> np.ndarray[Any, Any]:
    raise CompilerBug("loop ops are run by the loop interpreter, not through a numpy reference")


def _loop(name: str, doc: str, infer: Any, *traits: Trait, attributes: tuple[str, ...] = (), operands: int | None = None) -> OpDef:
    return REGISTRY.register(
        OpDef(
            name=name,
            doc=doc,
            public=Internal("the loop dialect is made by code generation"),
            operands=operands,
            infer=infer,
            reference=_not_a_tensor_op,
            derivative=Undefined(_WHY),
            batch=None,
            lower=Nest("loop"),
            traits=frozenset((Trait.LOOP, *traits)),
            attributes=attributes,
        )
    )


def _infer_for(lo: Type, hi: Type, *inits: Type, step: int, regions: tuple[Graph, ...]) -> tuple[Type, ...]:
    (body,) = regions
    yielded = tuple(v.type for v in body.outputs)
    if lo is not i64 or hi is not i64 or yielded != inits or step < 1:
        raise CompilerBug(f"for: bounds {lo}, {hi}, carried {inits}, yielded {yielded}, step {step}")
    return inits


def _infer_when(mask: Type, *otherwise: Type, regions: tuple[Graph, ...]) -> tuple[Type, ...]:
    (body,) = regions
    yielded = tuple(v.type for v in body.outputs)
    if element(mask) is not bool_ or yielded != otherwise:
        raise CompilerBug(f"when: mask {mask}, otherwise {otherwise}, yielded {yielded}")
    return otherwise


def _infer_load(buffer: Type, index: Type, *mask: Type, type: Type, offset: int) -> Type:
    if not isinstance(buffer, BufferType) or index is not i64 or element(type) is not buffer.dtype:
        raise CompilerBug(f"load of {type} from {buffer} at {index}")
    return type


def _infer_load_strided(buffer: Type, index: Type, stride: Type, *mask: Type, type: Type, offset: int) -> Type:
    return _infer_load(buffer, index, type=type, offset=offset)


def _infer_load_indexed(buffer: Type, index: Type, mask: Type) -> Type:
    assert isinstance(buffer, BufferType)
    if element(index) is not i64:
        raise CompilerBug(f"load_indexed from {buffer} at {index}")
    return VectorType(buffer.dtype, index.lanes) if isinstance(index, VectorType) else buffer.dtype


def _infer_store(buffer: Type, index: Type, value: Type, *mask: Type, offset: int) -> tuple[Type, ...]:
    if not isinstance(buffer, BufferType) or index is not i64 or element(value) is not buffer.dtype:
        raise CompilerBug(f"store of {value} to {buffer} at {index}")
    return ()


def _infer_store_strided(buffer: Type, index: Type, value: Type, stride: Type, *mask: Type, offset: int) -> tuple[Type, ...]:
    return _infer_store(buffer, index, value, offset=offset)


def _infer_check(mask: Type, flag: Type, number: int) -> tuple[Type, ...]:
    if element(mask) is not bool_ or not isinstance(flag, BufferType):
        raise CompilerBug(f"check of {mask} into {flag}")
    return ()


def _infer_splat(x: Type, lanes: int) -> Type:
    if not isinstance(x, DType):
        raise CompilerBug(f"splat of {x}")
    return VectorType(x, lanes)


def _infer_reduce(x: Type, combine: str) -> Type:
    return element(x)


for_ = _loop("for", "Counts from lo to hi by `step`, carrying values from turn to turn.", _infer_for, attributes=("step",))
when = _loop(
    "when",
    "What its region yields if any lane of the mask holds, else the other operands: for work that is rarely needed.",
    _infer_when,
    Trait.GUARDED,
)
load = _loop(
    "load",
    "Consecutive elements (or one) at index + offset; masked lanes are zero.",
    _infer_load,
    Trait.PURE,
    attributes=("type", "offset"),
)
reload = _loop("reload", "As load, from memory that this kernel wrote.", _infer_load, attributes=("type", "offset"))
load_strided = _loop(
    "load_strided", "Lane l from index + offset + l * stride.", _infer_load_strided, Trait.PURE, attributes=("type", "offset")
)
load_indexed = _loop(
    "load_indexed", "Lane l from its own index, where its mask holds; else zero.", _infer_load_indexed, Trait.PURE, operands=3
)
store = _loop("store", "Consecutive elements (or one) to index + offset, where the mask holds.", _infer_store, attributes=("offset",))
store_strided = _loop("store_strided", "Lane l to index + offset + l * stride.", _infer_store_strided, attributes=("offset",))
check = _loop("check", "Writes `number` into the flag if any lane of the mask holds.", _infer_check, attributes=("number",), operands=2)
splat = _loop("splat", "Every lane is x.", _infer_splat, Trait.PURE, attributes=("lanes",), operands=1)
lane_index = _loop(
    "lane_index", "0, 1, 2, … per lane.", lambda lanes: VectorType(i64, lanes), Trait.PURE, attributes=("lanes",), operands=0
)
mask_below = _loop(
    "mask_below", "Lane l holds where l < n.", lambda n, lanes: VectorType(bool_, lanes), Trait.PURE, attributes=("lanes",), operands=1
)
reduce_lanes = _loop(
    "reduce_lanes",
    "Lanes combined as a tree: lane l with lane l + half, again and again.",
    _infer_reduce,
    Trait.PURE,
    attributes=("combine",),
    operands=1,
)
