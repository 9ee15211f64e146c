"""What PyTorch calls the node of an operation: `AddmmBackward0` for a linear layer, `SumBackward1` for a sum over dimensions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rustorch.frontend.applied import APPLIED
from rustorch.frontend.operation import Operation
from rustorch.frontend.segment import Key, Primitive
from rustorch.ir.types import TensorType

Types = Sequence[TensorType]
Choice = Callable[[dict[str, Any], Types], str]


def _over_dimensions(whole: str, part: str) -> Choice:
    return lambda given, _: whole if given.get("dim") is None else part


def _product(_: dict[str, Any], types: Types) -> str:
    ranks: tuple[int, ...] = tuple(len(t.shape) for t in types)
    names: dict[tuple[int, ...], str] = {(1, 1): "Dot", (2, 1): "Mv", (2, 2): "Mm"}
    return names.get(ranks, "UnsafeView") + "Backward0"


def _power(given: dict[str, Any], _: Types) -> str:
    if _is_number(given["exponent"]):
        return "PowBackward0"
    return "PowBackward2" if _is_number(given["input"]) else "PowBackward1"


def _is_number(part: Any) -> bool:
    return isinstance(part, tuple)


_NAMES: dict[str, str | Choice] = {
    "matmul": _product,
    "linear": lambda given, _: "MmBackward0" if given.get("bias") is None else "AddmmBackward0",
    "sum": _over_dimensions("SumBackward0", "SumBackward1"),
    "mean": _over_dimensions("MeanBackward0", "MeanBackward1"),
    "prod": _over_dimensions("ProdBackward0", "ProdBackward1"),
    "max": _over_dimensions("MaxBackward1", "MaxBackward0"),
    "min": _over_dimensions("MinBackward1", "MinBackward0"),
    "pow": _power,
    "square": "PowBackward0",
    "sub": lambda given, _: "RsubBackward1" if _is_number(given.get("input")) else "SubBackward0",
    "log1p": "Log1PBackward0",
    "norm": "LinalgVectorNormBackward0",
    "reshape": "ViewBackward0",
    "convert": "ToCopyBackward0",
    "clamp": "ClampBackward1",
    "put": "CopySlices",
    "put_slice": "CopySlices",
    "softmax": "SoftmaxBackward0",
    "layer_norm": "NativeLayerNormBackward0",
    "batch_norm": "NativeBatchNormBackward0",
    "cross_entropy": "NllLossBackward0",
    "l1_loss": "MeanBackward0",
    "kl_div": "MeanBackward0",
    "logsigmoid": "LogSigmoidBackward0",
    "smooth_l1_loss": "SmoothL1LossBackward0",
    "prelu": "PreluKernelBackward0",
    "dropout": "MulBackward0",
    "normalize": "DivBackward0",
    "through": "BackwardHookFunctionBackward",
    "backward": "GradBackward0",
}
"""By the operation's name: PyTorch's, or how to choose it by the arguments and the operands' types. All others follow the rule."""


def node_name(operation: Primitive, key: Key, types: Types) -> str:
    """The name of an operation's node. The rule: words joined in capitals, then `Backward0`."""
    if operation is APPLIED:
        return str(key[1])
    found = _NAMES.get(operation.name)
    if found is None:
        words = operation.name.replace(".", "_").split("_")
        return "".join(w[:1].upper() + w[1:] for w in words) + "Backward0"
    if isinstance(found, str):
        return found
    names = list(operation.signature.parameters) if isinstance(operation, Operation) else []
    return found(dict(zip(names, key[1:], strict=False)), types)
