"""Values that are looked at for NaN: what anomaly mode puts behind every step of a backward pass.

    func @f(%x: f64[2], %ct: f64[2]) -> f64[2] {
      %0 = sqrt %x : f64[2]
      %1 = div %ct, %0 : f64[2]
      %2 = checked %1, %ct, %x {function = "SqrtBackward0", line = "", mask = "", output = 0} : f64[2]
      return %2
    }

The result is the first operand. With `mask` "on" or "off" the second says which elements count. The others are told of when there is
a NaN: the gradient that came in, and the operands of the operation of the forward pass. Compiled, nothing is left of it; graphs with
it are run by the references, which note what they find for `take_anomaly`.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from rustorch.errors import CompilerBug, compose
from rustorch.ir.dtypes import f64
from rustorch.ir.op import REGISTRY, Internal, Linear, Never, OpDef, Refusal, Sample, Trait
from rustorch.ir.types import Type
from rustorch.ops.family import Array, Domain, batch_size, with_batch


class _Found(threading.local):
    message: str | None = None


_found = _Found()


def take_anomaly() -> str | None:
    """What was found first in this thread since the last call, as the text of an error."""
    message, _found.message = _found.message, None
    return message


def _infer(x: Type, *others: Type, function: str, output: int, line: str, mask: str) -> Type:
    if mask not in ("", "on", "off") or (mask and not others):
        raise CompilerBug(f"checked: mask {mask!r} with {len(others)} further operands")
    return x


def _reference(x: Array, *others: Array, function: str, output: int, line: str, mask: str) -> Array:
    bad = np.isnan(x)
    if mask:
        counts, *others = others  # type: ignore[assignment]
        bad = bad & (counts if mask == "on" else ~counts)
    if _found.message is None and bad.any():
        index = tuple(int(i) for i in np.argwhere(bad)[0])
        names = ["the gradient that came in", *(f"operand {i}" for i in range(len(others) - 1))]
        shown = [f"{name} is {_element(value, x, index)}" for name, value in zip(names, others, strict=False)]
        _found.message = compose(
            f"Function '{function}' returned nan values in its {output}th output.",
            f"at element {list(index)}: {', '.join(shown)}",
            at=line,
            todo="The line is that of the forward operation. rustorch.where keeps a branch that is not taken out of the gradient.",
        )
    return x


def _element(value: Array, x: Array, index: tuple[int, ...]) -> str:
    """What an operand has where the NaN is; its type, where its elements are others."""
    if value.shape == x.shape:
        return repr(value[index].item())
    return repr(value.item()) if value.size == 1 else f"{value.dtype}{list(value.shape)}"


def _batch(b: Any, operands: Any, batched: Any, attrs: dict[str, Any]) -> Any:
    operands = [with_batch(b, operands[0], batched[0], batch_size(operands, batched)), *operands[1:]]
    attrs = {**attrs, "mask": attrs["mask"] if len(set(batched[:2])) == 1 else ""}
    return b.emit(checked, operands, attrs)[0]


_draw = Domain(-9, 9).drawn
_SAID = {"function": "SqrtBackward0", "output": 0, "line": "", "mask": ""}

checked = REGISTRY.register(
    OpDef(
        name="checked",
        doc="x, and a note for anomaly mode where it has NaN.",
        public=Internal("anomaly mode makes it"),
        operands=None,
        infer=_infer,
        reference=_reference,
        derivative=Linear(each=lambda b, i, ct, *operands, **_: ct if i == 0 else None),
        batch=_batch,
        lower=Never("it stands for its operand"),
        traits=frozenset((Trait.PURE,)),
        attributes=("function", "output", "line", "mask"),
        expand=lambda b, x, *others, **_: x,
        cost=0,
        samples=tuple(Sample(_draw(shape, shape), _SAID, False, f"no NaN {list(shape)}") for shape in ((2, 3), (), (0, 2), (17,))),
        errors=(Refusal((f64[3],), {**_SAID, "mask": "sideways"}, CompilerBug, "mask 'sideways'"),),
    )
)
