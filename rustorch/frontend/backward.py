"""`backward` and `grad`: gradients as recorded operations.

Differentiation is one more operation of the segment (`Pull` in `pull.py`): its key names the roots, the tensors that stand for their
cotangents, and where gradients are wanted; emitting it appends the backward nodes to the graph. So on a known program it is a
look-up like any other, inside a traced function it is traced, and with `create_graph` it is differentiable.

Gradients that reach a value of a segment that has closed go on there: the closed program's own backward graph, made once, is
recorded as one operation (`Call`) on the tensors that the closed program read. It computes anew what it needs of the forward.

Hooks are called while gradients are being recorded: `walk.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from rustorch.errors import ArgumentError, GradError, ShapeError, Unsupported, compose
from rustorch.frontend.anomaly import raise_anomaly
from rustorch.frontend.base import TensorBase, concrete
from rustorch.frontend.batched import BatchedWalk
from rustorch.frontend.creation import full_op
from rustorch.frontend.graph import GradientEdge, tensor_at
from rustorch.frontend.hooks import place_of, retain_grad
from rustorch.frontend.modes import set_grad_enabled
from rustorch.frontend.movement import stack
from rustorch.frontend.recorder import Recorder
from rustorch.frontend.state import defaults, local
from rustorch.frontend.storage import is_leaf, same
from rustorch.frontend.walk import Walk

# --- What users call --------------------------------------------------------------------------------------------------


def _listed(x: Any) -> list[Any]:
    return [x] if isinstance(x, (TensorBase, GradientEdge)) or x is None else list(x)


def _check_wanted(tensors: Sequence[Any]) -> None:
    """Refuse to look for gradients where there are none."""
    for x in tensors:
        if not isinstance(x, TensorBase):
            raise ArgumentError(f"inputs must be Tensors, not {type(x).__name__}")
        if not x._requires_grad:
            raise GradError("One of the differentiated Tensors does not require grad")


def _seeded(walk: Walk, roots: Sequence[Any], given: Sequence[Any]) -> None:
    """Note the roots with their cotangents, checked."""
    if len(given) != len(roots):
        raise GradError(f"got {len(roots)} tensors and {len(given)} gradients")
    for i, (root, ct) in enumerate(zip(roots, given, strict=True)):
        if not isinstance(root, TensorBase):
            raise ArgumentError(f"element {i} of tensors must be a Tensor, not {type(root).__name__}")
        if not root._requires_grad:
            raise GradError(
                compose(
                    f"element {i} of tensors does not require grad and does not have a grad_fn",
                    todo="Set requires_grad=True on a leaf that it is computed from, outside of no_grad().",
                )
            )
        if ct is None:
            if root._type.shape != () and root._type.size != 1:
                raise GradError(
                    compose(
                        "grad can be implicitly created only for scalar outputs",
                        f"output {i} has shape {list(root._type.shape)}",
                        todo="Reduce it to one number, for instance with .sum(), or give its gradient.",
                    )
                )
        else:
            check_cotangent(i, root, ct)
        if is_leaf(root):
            walk.reach(root, _copy(ct, root))
            continue
        if ct is None and (len(roots) > 1 or root._origin is not None):  # another cotangent may be added to it
            ct = _one(root)
        walk.seed(*place_of(root), ct)


def check_cotangent(i: int, root: TensorBase, ct: Any) -> None:
    """Refuse a cotangent that does not fit its root."""
    if not isinstance(ct, TensorBase):
        raise ArgumentError(f"gradients can be either Tensors or None, but got {type(ct).__name__}")
    if ct._type.shape != root._type.shape:
        raise ShapeError(
            f"Mismatch in shape: grad_output[{i}] has a shape of {list(ct._type.shape)} and output[{i}] has a shape of "
            f"{list(root._type.shape)}."
        )
    if ct._type.dtype is not root._type.dtype:
        raise ShapeError(
            f"Mismatch in dtype: grad_output[{i}] has a dtype of {ct._type.dtype.name} and output[{i}] has {root._type.dtype.name}."
        )


def _one(root: TensorBase) -> Any:
    return concrete(np.ones([1] * len(root._type.shape), root._type.dtype.numpy), root._type)


def _copy(ct: Any, root: TensorBase) -> Any:
    return _one(root) if ct is None else same(ct)


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Add the gradients of `tensors`, each times its entry of `grad_tensors`, to the `.grad` of the leaves they depend on.

    With `inputs`, only these get gradients. `create_graph` makes the gradients differentiable. `retain_graph` (as `create_graph`,
    if not given) allows another pass.
    """
    roots = [tensor_at(x) for x in _listed(tensors)]
    given = [None] * len(roots) if grad_tensors is None else _listed(grad_tensors)
    listed = None if inputs is None else _listed(inputs)
    asked = None if listed is None else [tensor_at(x) for x in listed]
    if asked is not None and not asked:
        raise GradError("`inputs` argument to `backward()` cannot be empty.")
    _check_wanted(asked or ())
    retain = create_graph if retain_graph is None else retain_graph
    for x in listed or ():
        if isinstance(x, TensorBase):
            retain_grad(x)
    _pass(Walk(asked, True, create_graph, retain), roots, given)
    if not create_graph or defaults.anomaly:
        observe("backward")


def _pass(walk: Walk, roots: Sequence[Any], given: Sequence[Any]) -> None:
    with set_grad_enabled(walk.create):
        _seeded(walk, roots, given)
        walk.run()


def observe(why: str) -> None:
    """Close a recorder's segment; a trace has nothing to compute."""
    segment = local.segment
    if isinstance(segment, Recorder):
        segment.close(why)
        if defaults.anomaly:
            raise_anomaly()


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Any, ...]:
    """The gradients of `outputs`, each times its entry of `grad_outputs`, for each of `inputs`. `.grad` is left as it is.

    An input that no output depends on is an error, unless `allow_unused` (its gradient is None) or `materialize_grads` (zeros).
    """
    if allow_unused is None:
        allow_unused = materialize_grads
    if materialize_grads and not allow_unused:
        raise ArgumentError("Expected allow_unused to be True or not passed when materialize_grads=True, but got: allow_unused=False.")
    if isinstance(inputs, dict):
        listed = list(inputs.values())
        found = grad(outputs, listed, grad_outputs, retain_graph, create_graph, allow_unused, is_grads_batched, materialize_grads)
        return dict(zip(inputs, found, strict=True))  # type: ignore[return-value]
    roots, places = [tensor_at(x) for x in _listed(outputs)], [tensor_at(x) for x in _listed(inputs)]
    if not places:
        raise GradError("`inputs` argument to `grad()` cannot be empty.")
    given = [None] * len(roots) if grad_outputs is None else _listed(grad_outputs)
    if is_grads_batched:
        return _batched(roots, places, given, retain_graph, create_graph, allow_unused, materialize_grads)
    _check_wanted(places)
    retain = create_graph if retain_graph is None else retain_graph
    walk = Walk(places, False, create_graph, retain)
    _pass(walk, roots, given)
    return _gradients(walk, places, allow_unused, materialize_grads, ())


def _gradients(walk: Walk, places: Sequence[Any], allow_unused: bool, materialize: bool, batch: tuple[int, ...]) -> tuple[Any, ...]:
    """What a pass found for the inputs of `grad`."""
    gradients: list[Any] = []
    for i, x in enumerate(places):
        gradient = walk.found.get(id(x))
        if gradient is None and not allow_unused:
            raise GradError(
                f"The differentiated Tensor at index {i} appears to not have been used in the graph. Set allow_unused=True if this is the "
                "desired behavior."
            )
        if gradient is None and materialize:
            gradient = full_op(0.0, x._type.with_shape((*batch, *x._type.shape)))
        gradients.append(gradient)
    if not walk.create or defaults.anomaly:
        observe("grad")
    return tuple(gradients)


def _batched(
    roots: list[Any], places: list[Any], given: list[Any], retain: bool | None, create: bool, allow_unused: bool, materialize: bool
) -> tuple[Any, ...]:
    """Gradients for each entry of the cotangents' leading dimension, stacked."""
    if all(ct is None for ct in given):  # nothing to take a batch from: refused, or one number as it is
        return grad(roots, places, given, retain, create, allow_unused, False, materialize)
    count = next(ct._type.shape[0] for ct in given if ct is not None)
    for i, (root, ct) in enumerate(zip(roots, given, strict=True)):
        if ct is not None and ct._type.shape[1:] != root._type.shape:
            raise ShapeError(
                "If `is_grads_batched=True`, we interpret the first dimension of each grad_output as the batch dimension. The sizes of the "
                f"remaining dimensions are expected to match the shape of corresponding output, but a mismatch was detected: "
                f"grad_output[{i}] has a shape of {list(ct._type.shape)} and output[{i}] has a shape of {list(root._type.shape)}."
            )
    _check_wanted(places)
    walk = BatchedWalk(places, create, create if retain is None else retain, count)
    for root, ct in zip(roots, given, strict=True):
        batch = full_op(1.0, root._type.with_shape((count, *root._type.shape))) if ct is None else ct
        if is_leaf(root):
            walk.reach(root, same(batch))
        else:
            walk.seed(*place_of(root), batch)
    if not count:
        return tuple(full_op(0.0, x._type.with_shape((0, *x._type.shape))) for x in places)
    if not walk.has_stops():
        with suppress(Unsupported), set_grad_enabled(create):  # where an operation has no rule for batches
            walk.run()
            return _gradients(walk, places, allow_unused, materialize, (count,))
    rows = []
    for k in range(count):
        last = k == count - 1
        row = [None if ct is None else ct[k] for ct in given]
        rows.append(grad(roots, places, row, True if not last else retain, create, allow_unused, False, materialize))
    return tuple(None if column[0] is None else stack(column) for column in zip(*rows, strict=True))
