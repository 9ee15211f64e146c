"""A value that stands for itself, where algebra must not see through: a barrier in time.

    func @f(%x: f32[4], %y: f32[4]) -> f32[4] {
      %0 = barrier %x, %y : f32[4]
      return %0
    }
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rustorch.errors import ArgumentError
from rustorch.ir.builder import Builder
from rustorch.ir.dtypes import DTYPES, f64
from rustorch.ir.graph import Value
from rustorch.ir.op import REGISTRY, Internal, Nest, OpDef, Refusal, Rules, Sample, Trait
from rustorch.ir.types import TensorType, Type
from rustorch.ops.family import Domain, batch_size, with_batch

_draw = Domain(-9, 9).drawn


def _barrier_type(*operands: Type) -> Type:
    if not operands or not isinstance(operands[0], TensorType):
        raise ArgumentError("barrier takes a tensor, and what it waits for")
    return operands[0]


def _barrier_batch(b: Builder, operands: Sequence[Value], batched: Sequence[bool], attrs: dict[str, Any]) -> Value:
    x = with_batch(b, operands[0], batched[0], batch_size(operands, batched))
    result: Value = b.barrier(x, *operands[1:])
    return result


barrier = REGISTRY.register(
    OpDef(
        name="barrier",
        doc="x itself, once the other operands are there: what is computed from it is neither shared with what is computed from x, nor "
        "computed before. It keeps recomputation from being undone, and costs nothing: it shares the memory of x.",
        public=Internal("checkpoint passes through it what is computed again"),
        operands=None,
        infer=_barrier_type,
        reference=lambda x, *after: x,
        derivative=Rules(
            lambda b, operands, tangents, results, attrs: [tangents[0]],
            lambda b, cotangents, operands, results, attrs: [cotangents[0], *[None] * (len(operands) - 1)],
        ),
        batch=_barrier_batch,
        lower=Nest("barrier"),
        traits=frozenset({Trait.PURE}),
        cost=0,
        samples=(
            *(Sample(_draw((3, 5), (3, 5), dtype=d), differentiable=d is f64, label=f"{d}[3, 5]") for d in DTYPES),
            Sample(_draw((67,), (2, 3)), label="another shape to wait for"),
            Sample(_draw((4,)), label="nothing to wait for"),
            Sample(_draw((), ()), label="0-d"),
            Sample(_draw((0,), (3,)), label="empty"),
        ),
        errors=(Refusal((), {}, ArgumentError, "takes a tensor"),),
    )
)
