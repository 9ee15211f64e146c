"""Automatic differentiation as PyTorch spells it: `backward`, `grad`, modes of recording, what hooks and nodes are."""

from __future__ import annotations

from typing import Any

from rustorch.autograd import forward_ad, functional
from rustorch.autograd.anomaly import detect_anomaly, set_detect_anomaly
from rustorch.autograd.function import Function
from rustorch.frontend import backward as _backward
from rustorch.frontend import transforms as _transforms
from rustorch.frontend.backward import backward
from rustorch.frontend.gradcheck import GradcheckError, gradcheck, gradgradcheck
from rustorch.frontend.graph import AccumulateGrad, Node
from rustorch.frontend.hooks import RemovableHandle
from rustorch.frontend.modes import enable_grad, inference_mode, is_grad_enabled, no_grad, set_grad_enabled
from rustorch.frontend.structure import watch
from rustorch.frontend.tensor import Tensor, Variable


def grad(
    outputs: Any,
    inputs: Any = None,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
    *,
    argnums: Any = 0,
    has_aux: bool = False,
) -> Any:
    """The gradients of `outputs` for each of `inputs`, a tuple; `.grad` is left as it is.

    Each output counts times its entry of `grad_outputs` (one, for scalars). `create_graph` makes the gradients differentiable;
    `retain_graph` (as `create_graph`, if not given) allows another pass. An input that no output depends on is an error, unless
    `allow_unused` (its gradient is None) or `materialize_grads` (zeros).

    With a function as its first argument it is the transform `rustorch.func.grad`: `grad(f, argnums=0, has_aux=False)`.
    """
    if callable(outputs) and not isinstance(outputs, Tensor):
        places = argnums if inputs is None else inputs
        return _transforms.grad(outputs, places, has_aux)
    return _backward.grad(
        outputs, inputs, grad_outputs, retain_graph, create_graph, allow_unused, is_grads_batched, materialize_grads
    )


__all__ = [
    "AccumulateGrad",
    "Function",
    "GradcheckError",
    "Node",
    "RemovableHandle",
    "Variable",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "forward_ad",
    "functional",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "inference_mode",
    "is_grad_enabled",
    "no_grad",
    "set_detect_anomaly",
    "set_grad_enabled",
    "watch",
]
