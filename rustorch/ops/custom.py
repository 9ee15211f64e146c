"""Values with a derivative of their own: what a `Function` with a `backward` becomes in a graph.

    func @f(%x: f32[]) -> f32[] {
      %y = mul %x, %x : f32[]
      %0 = custom %x, %y {inputs = 1, name = "Square", results = 1, rules = ["vjp"]} (%x_1: f32[], %y_1: f32[], %z: f32[], %ct: f32[]) {
        %1 = mul %x_1, 2.0 : f32[]
        %2 = mul %1, %ct : f32[]
        yield %2
      } : f32[]
      return %0
    }

The operands are the inputs that the derivative is for (`inputs` says how many), as many values as there are results, and
whatever else the regions read. The results are those values; nothing is computed. The regions named by `rules` say what the
derivative is. Each gets the operands and the results, then

- `vjp`: a cotangent for each result, and yields one for each input;
- `jvp`: a tangent for each input, and yields one for each result. Where it is missing, it is the transpose of the `vjp`.

Without regions there is no way through: while a function is recorded or traced, the front end leads gradients around the node.
`saves` tells whether its derivative reads values that are given up with the history; `refusal` is why it has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rustorch.errors import CompilerBug
from rustorch.ir.builder import Builder
from rustorch.ir.dtypes import f64
from rustorch.ir.graph import Graph, Value
from rustorch.ir.op import REGISTRY, Internal, Never, OpDef, Refusal, Sample, Stated, Trait
from rustorch.ir.types import Type
from rustorch.ops.family import Domain, batch_size, with_batch


def results_of(operands: tuple[Any, ...], inputs: int, results: int) -> tuple[Any, ...]:
    """The operands that the results are."""
    return operands[inputs : inputs + results]


def _infer(
    *operands: Type,
    name: str,
    inputs: int,
    results: int,
    rules: tuple[str, ...] = (),
    saves: bool = True,
    refusal: str = "",
    regions: tuple[Graph, ...] = (),
) -> tuple[Type, ...]:
    if len(operands) < inputs + results or len(rules) != len(regions):
        raise CompilerBug(f"custom {name}: {len(operands)} operands for {inputs} inputs, {results} results; rules {rules}")
    given, made = operands[:inputs], results_of(operands, inputs, results)
    for rule, region in zip(rules, regions, strict=True):
        moved, wanted = (made, given) if rule == "vjp" else (given, made)
        if tuple(v.type for v in region.inputs) != (*operands, *made, *moved) or tuple(v.type for v in region.outputs) != wanted:
            raise CompilerBug(f"custom {name}: the region {rule} does not fit the operands {operands}")
    return made


def _expand(b: Builder, *operands: Value, inputs: int, results: int, **_: Any) -> Any:
    found = results_of(operands, inputs, results)
    return found[0] if results == 1 else found


def _batch(b: Builder, operands: Sequence[Value], batched: Sequence[bool], attrs: dict[str, Any]) -> tuple[Value, ...]:
    """Without regions; those are batched by who batches graphs."""
    size = batch_size(operands, batched)
    inputs, results = attrs["inputs"], attrs["results"]
    spread = list(operands)
    for k in range(inputs, inputs + results):
        spread[k] = with_batch(b, operands[k], batched[k], size)
    return b.emit(custom, spread, attrs)


_draw = Domain(-9, 9).drawn

custom = REGISTRY.register(
    OpDef(
        name="custom",
        doc="Some of its operands, with the derivative that its regions state.",
        public=Internal("autograd.Function makes it"),
        operands=None,
        infer=_infer,
        reference=lambda *operands, inputs, results, **_: results_of(operands, inputs, results),
        derivative=Stated(),
        batch=_batch,
        lower=Never("it stands for its operands"),
        traits=frozenset((Trait.PURE, Trait.ISOLATED)),
        attributes=("name", "inputs", "results", "rules", "saves", "refusal"),
        expand=_expand,
        cost=0,
        samples=tuple(
            Sample(_draw(shape, shape), {"name": "Square", "inputs": 1, "results": 1}, False, f"no way through {list(shape)}")
            for shape in ((2, 3), (), (0, 2), (17,))
        ),
        errors=(Refusal((f64[3],), {"name": "Square", "inputs": 1, "results": 1}, CompilerBug, "1 operands for 1 inputs"),),
    )
)
