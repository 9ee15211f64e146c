"""`backward` and `grad`: gradients as recorded operations.

Differentiation is one more operation of the segment (`Pull` in `pull.py`): its key names the roots, the tensors that stand for their
cotangents, and where gradients are wanted; emitting it appends the backward nodes to the graph. So on a known program it is a
look-up like any other, inside a traced function it is traced, and with `create_graph` it is differentiable.

Gradients that reach a value of a segment that has closed go on there: the closed program's own backward graph, made once, is
recorded as one operation (`Call`) on the tensors that the closed program read. It computes anew what it needs of the forward.

Hooks are called while gradients are being recorded. A hooked value ends one stage: its cotangent is pulled there, the hook is
called with it, and what it answers replaces the cotangent in the later stages. Stages have no state but recorded operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rustorch.errors import ArgumentError, GradError, ShapeError, compose
from rustorch.frontend.base import TensorBase, concrete
from rustorch.frontend.creation import full_op
from rustorch.frontend.elementwise import functions
from rustorch.frontend.modes import set_mode
from rustorch.frontend.movement import stack
from rustorch.frontend.pull import pull_segment
from rustorch.frontend.recorder import Recorder
from rustorch.frontend.segment import Origin
from rustorch.frontend.state import local
from rustorch.frontend.storage import is_leaf, rebind, same
from rustorch.ir.types import TensorType

# --- The walk over segments -------------------------------------------------------------------------------------------


class Wanted:
    """What a backward pass is asked for, and what it found."""

    def __init__(self, tensors: Sequence[TensorBase] | None, create: bool, retain: bool) -> None:
        self.tensors, self.create, self.retain = tensors, create, retain
        self.leaves: dict[int, tuple[TensorBase, Any]] = {}
        """By `id`: leaves that gradients reached, with their gradients."""
        self.inner: dict[int, Any] = {}
        """By `id`: gradients of the tensors that were asked for and are no leaves."""
        self.pending: dict[int, tuple[Any, dict[int, Any]]] = {}
        """By `id`: segments that gradients must go on in, and the cotangents there."""

    def seed(self, segment: Any, number: int, ct: Any) -> None:
        """Note a cotangent at a value of a segment."""
        _, seeds = self.pending.setdefault(id(segment), (segment, {}))
        if number in seeds:
            ct = _plus(seeds[number], ct)
        seeds[number] = ct

    def reach(self, x: TensorBase, gradient: Any) -> None:
        """Note a gradient at a leaf."""
        known = self.leaves.get(id(x))
        self.leaves[id(x)] = (x, gradient if known is None else _plus(known[1], gradient))

    def run(self) -> None:
        """Pull through all segments, the last one first."""
        while self.pending:
            key = max(self.pending, key=lambda k: _order(self.pending[k][0]))
            segment, seeds = self.pending.pop(key)
            self.through(segment, seeds)

    def through(self, segment: Any, seeds: dict[int, Any]) -> None:
        """Pull through one segment, in stages where values are hooked."""
        asked = {n: x for x in self.tensors or () if (n := number_in(segment, x)) is not None}
        top = max(seeds)
        replaced: dict[int, Any] = {}
        for number in sorted((n for n in segment.hooks if n <= top and segment.hooks[n]), reverse=True):
            at = pull_segment(segment, seeds, [number], replaced, self.create, True)
            if number in at:
                replaced[number] = run_hooks(segment.hooks[number].values(), at[number], self.create)
        retained = {n: x for n, x in segment.retained.items() if n <= top} if self.tensors is None else {}
        sources = {n: s for n, s in segment.sources.items() if self.tensors is None or s[1] is not None}
        places = [*sources, *asked, *retained]
        at = pull_segment(segment, seeds, places, replaced, self.create, self.retain)
        for number, gradient in at.items():
            if number in retained:
                set_gradient(retained[number], gradient)
            source = sources.get(number)
            if source is not None and source[1] is not None:
                origin: Origin = source[1]
                self.seed(origin[0], origin[1], gradient)
            elif number in asked:
                self.inner[id(asked[number])] = gradient
            elif source is not None:
                self.reach(source[0], gradient)


def number_in(segment: Any, x: TensorBase) -> int | None:
    """The number that a tensor has in a segment, where gradients of it are to be found; None where it has none."""
    if x._origin is not None:
        return x._origin[1] if x._origin[0] is segment else None
    if x._segment is segment:
        return x._number
    known: int | None = segment.known.get(id(x))
    if known is None:
        known = next((n for n, (t, origin) in segment.sources.items() if t is x and origin is None), None)
    return known


def _order(segment: Any) -> float:
    return segment.serial if getattr(segment, "closed", False) else float("inf")


def _plus(x: Any, y: Any) -> Any:
    return functions["add"](x, y)


def run_hooks(hooks: Any, gradient: Any, create: bool) -> Any:
    """The gradient after all hooks: each may answer with another one."""
    before = local.grad
    set_mode(create)
    try:
        for hook in list(hooks):
            answer = hook(gradient)
            if answer is None:
                continue
            name = getattr(hook, "__name__", "hook")
            if not isinstance(answer, TensorBase):
                raise ArgumentError(f"expected Variable, but hook returned '{type(answer).__name__}'")
            if answer._type.shape != gradient._type.shape:
                raise ShapeError(f"hook '{name}' has changed the size of value")
            if answer._type.dtype is not gradient._type.dtype:
                was, got = gradient._type.dtype.name, answer._type.dtype.name
                raise ShapeError(f"hook '{name}' has changed the type of value (was {was} got {got})")
            gradient = answer
    finally:
        set_mode(before)
    return gradient


def set_gradient(x: TensorBase, gradient: Any) -> None:
    """Put a gradient into `.grad`."""
    local.segment.about_to_set_grad(x)
    x._grad = gradient


def accumulate(x: TensorBase, gradient: Any, create: bool) -> None:
    """Add a gradient to `.grad`: to the same tensor, unless the sum is to be differentiable."""
    local.segment.about_to_read_grad(x)
    if x._grad is None:
        set_gradient(x, gradient)
    elif create:
        set_gradient(x, _plus(x._grad, gradient))
    else:
        before = local.grad
        set_mode(False)
        try:
            rebind(x._grad, _plus(x._grad, gradient))
        finally:
            set_mode(before)


# --- What users call --------------------------------------------------------------------------------------------------


def _listed(x: Any) -> list[Any]:
    return [x] if isinstance(x, TensorBase) or x is None else list(x)


def _seeded(wanted: Wanted, roots: Sequence[Any], given: Sequence[Any]) -> None:
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
            wanted.reach(root, _copy(ct, root))
            continue
        segment, number = root._origin or (root._segment, root._number)
        if ct is None and (len(roots) > 1 or root._origin is not None):  # another cotangent may be added to it
            ct = _one(root)
        wanted.seed(segment, number, ct)


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
    roots = _listed(tensors)
    given = [None] * len(roots) if grad_tensors is None else _listed(grad_tensors)
    asked = None if inputs is None else _listed(inputs)
    if asked is not None and not asked:
        raise GradError("`inputs` argument to `backward()` cannot be empty.")
    for x in asked or ():
        if not x._requires_grad:
            raise GradError("One of the differentiated Tensors does not require grad")
    retain = create_graph if retain_graph is None else retain_graph
    wanted = Wanted(asked, create_graph, retain)
    _pass(wanted, roots, given, "backward")
    chosen = None if asked is None else {id(x) for x in asked}
    for x, gradient in list(wanted.leaves.values()):
        if chosen is None or id(x) in chosen:
            _accumulate_leaf(x, gradient, create_graph)
    for x in asked or ():
        if id(x) in wanted.inner:
            if is_leaf(x):
                _accumulate_leaf(x, wanted.inner[id(x)], create_graph)
            else:
                accumulate(x, wanted.inner[id(x)], create_graph)
    if not create_graph:
        observe("backward")


def _accumulate_leaf(x: TensorBase, gradient: Any, create: bool) -> None:
    extra = x._extra
    if extra is not None and extra.hooks:
        gradient = run_hooks(extra.hooks.values(), gradient, create)
    accumulate(x, gradient, create)
    if extra is not None:
        for hook in list(extra.after.values()):
            answer = hook(x)
            if answer is not None:
                raise ArgumentError(f"post accumulate grad hooks should return None, but hook returned '{type(answer).__name__}'")


def _pass(wanted: Wanted, roots: Sequence[Any], given: Sequence[Any], why: str) -> None:
    before = local.grad
    set_mode(wanted.create)
    try:
        _seeded(wanted, roots, given)
        wanted.run()
    finally:
        set_mode(before)


def observe(why: str) -> None:
    """Close a recorder's segment; a trace has nothing to compute."""
    segment = local.segment
    if isinstance(segment, Recorder):
        segment.close(why)


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
    roots, places = _listed(outputs), _listed(inputs)
    if not places:
        raise GradError("`inputs` argument to `grad()` cannot be empty.")
    given = [None] * len(roots) if grad_outputs is None else _listed(grad_outputs)
    if is_grads_batched:
        return _batched(roots, places, given, retain_graph, create_graph, allow_unused, materialize_grads)
    for x in places:
        if not isinstance(x, TensorBase):
            raise ArgumentError(f"inputs must be Tensors, not {type(x).__name__}")
        if not x._requires_grad:
            raise GradError("One of the differentiated Tensors does not require grad")
    retain = create_graph if retain_graph is None else retain_graph
    wanted = Wanted(places, create_graph, retain)
    _pass(wanted, roots, given, "grad")
    gradients: list[Any] = []
    for i, x in enumerate(places):
        gradient = wanted.inner.get(id(x))
        if gradient is None and id(x) in wanted.leaves:
            gradient = wanted.leaves[id(x)][1]
        if gradient is not None and is_leaf(x) and x._extra is not None and x._extra.hooks:
            gradient = run_hooks(x._extra.hooks.values(), gradient, create_graph)
        if gradient is None and not allow_unused:
            raise GradError(
                f"The differentiated Tensor at index {i} appears to not have been used in the graph. Set allow_unused=True if this is the "
                "desired behavior."
            )
        if gradient is None and materialize_grads:
            gradient = _zeros(x._type)
        gradients.append(gradient)
    if not create_graph:
        observe("grad")
    return tuple(gradients)


def _zeros(type_: TensorType) -> Any:
    return full_op(0.0, type_)


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
    rows = []
    for k in range(count):
        last = k == count - 1
        row = [None if ct is None else ct[k] for ct in given]
        rows.append(grad(roots, places, row, True if not last else retain, create, allow_unused, False, materialize))
    return tuple(None if column[0] is None else stack(column) for column in zip(*rows, strict=True))
