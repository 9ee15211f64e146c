"""`Function`: operations whose derivative the user writes.

`apply` runs `forward` without recording for differentiation, and records its results as one operation (`applied.py`). A backward pass
that comes there calls the Function's `backward` with the gradients so far; what that computes with rustorch operations is recorded
like anything else, so it is fused with the gradients around it, and differentiable again. Code that looks at numbers works, too: it
cuts the recorded program there. In a traced function nothing has numbers, and looking is a `TraceError`.

Where a trace ends (`jit`, `vmap`, export), `regions` runs `backward` once more, on tensors that stand for its arguments: the graph that
this gives is the derivative from then on.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rustorch.errors import ArgumentError, GradError, ShapeError, Unsupported, compose
from rustorch.frontend import reduction
from rustorch.frontend.anomaly import checked, checks
from rustorch.frontend.applied import APPLIED, Stated
from rustorch.frontend.base import TensorBase, concrete
from rustorch.frontend.batching import call_vmap_rule
from rustorch.frontend.context import FunctionCtx, Saved, snapshot
from rustorch.frontend.creation import full_op
from rustorch.frontend.dual import Level, levels_here
from rustorch.frontend.elementwise import recorded as elementwise
from rustorch.frontend.modes import enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from rustorch.frontend.movement import reshape, stack
from rustorch.frontend.rules import state_rules, traced_rule
from rustorch.frontend.segment import Segment
from rustorch.frontend.state import defaults, local
from rustorch.frontend.storage import VARIABLE, convert_to, is_leaf, take, tracked
from rustorch.frontend.trace import Trace
from rustorch.frontend.transforms import filled, pulled
from rustorch.ir.analysis import dependents
from rustorch.ir.graph import Graph
from rustorch.ir.location import user_location
from rustorch.ir.types import TensorType

_LEGACY = (
    "Legacy autograd function with non-static forward method is deprecated. Please use new-style autograd function with static forward "
    "method. (Example: https://pytorch.org/docs/stable/autograd.html#torch.autograd.Function)"
)
_NO_BACKWARD = (
    "You must implement either the backward or vjp method for your custom autograd.Function to use it with backward mode AD."
)
_TWICE = "trying to differentiate twice a function that was marked with @once_differentiable"


class Application:
    """One call of a Function whose results require gradients."""

    def __init__(self, function: type[Function], ctx: FunctionCtx, inputs: Sequence[tuple[int, TensorType]], arguments: int) -> None:
        self.function, self.ctx, self.arguments = function, ctx, arguments
        self.inputs = tuple(inputs)
        """Those that require gradients: the place of each among the arguments, and its type."""
        self.line = str(user_location())
        self.results: list[tuple[int | None, TensorType] | None] = []
        """For each result: its place among those with a gradient (None: without), and its type; None for what is no tensor."""

    @property
    def name(self) -> str:
        """The name of the node, as PyTorch's."""
        return f"{self.function.__name__}Backward"

    def free(self) -> None:
        """Let go of what was saved."""
        self.ctx._free()

    def pull(self, cotangents: Sequence[Any], create: bool) -> list[Any]:
        """The gradient, or None, of each input that requires one, given those (or None) of the results that have one."""
        given: list[Any] = []
        for result in self.results:
            place = None if result is None else result[0]
            ct = None if place is None else cotangents[place]
            if ct is None and result is not None and self.ctx.materialize_grads:
                ct = full_op(0.0, result[1])
            given.append(ct)
        with set_grad_enabled(create):
            found = self.function._backward()(self.ctx, *given)
            return self.looked_at(self.checked(found if isinstance(found, tuple) else (found,)), given)

    def checked(self, found: tuple[Any, ...]) -> list[Any]:
        """The gradients that `backward` returned, as the inputs need them; refused where they do not fit."""
        extra = found[self.arguments :]
        if len(found) < self.arguments or any(g is not None for g in extra):
            raise GradError(
                compose(
                    f"function {self.name} returned an incorrect number of gradients (expected {self.arguments}, got {len(found)})",
                    todo="backward returns a gradient, or None, for each argument of forward.",
                )
            )
        expected = dict(self.inputs)
        for i, gradient in enumerate(found):
            if gradient is not None and not isinstance(gradient, TensorBase):
                raise GradError(compose(f"expected Variable or None (got {type(gradient).__name__})", f"{self.name} returned it at {i}"))
            if gradient is not None and i not in self.function_tensors:
                raise GradError(
                    f"function {self.name} returned a gradient different than None at position {i + 1}, but the corresponding forward "
                    "input was not a Variable"
                )
        return [None if found[i] is None else self.fitted(k, found[i], expected[i]) for k, (i, _) in enumerate(self.inputs)]

    def looked_at(self, flows: list[Any], given: Sequence[Any]) -> list[Any]:
        """The gradients, with a note for anomaly mode where they have NaN."""
        if not checks():
            return flows
        seen = [x for x in given if isinstance(x, TensorBase)][:1]
        return [None if g is None else checked(g, seen, self.name, i, self.line) for (i, _), g in zip(self.inputs, flows, strict=True)]

    function_tensors: frozenset[int] = frozenset()
    """The places of tensors among the arguments."""

    def fitted(self, index: int, gradient: Any, type_: TensorType) -> Any:
        """A gradient in the type of its input: summed over the dimensions that broadcasting the input would add."""
        found, wanted = gradient._type.shape, type_.shape
        if found != wanted:
            ahead = len(found) - len(wanted)
            if ahead < 0 or any(w not in (1, f) for w, f in zip(wanted, found[ahead:], strict=True)):
                raise ShapeError(
                    compose(
                        f"Function {self.name} returned an invalid gradient at index {index} - got {list(found)} but expected shape "
                        f"compatible with {list(wanted)}",
                        todo="A gradient has the shape of its input, or one that the input broadcasts to.",
                    )
                )
            spread = tuple(range(ahead)) + tuple(ahead + i for i, w in enumerate(wanted) if w != found[ahead + i])
            gradient = reshape(reduction.sum(gradient, spread), wanted)
        return gradient if gradient._type.dtype is type_.dtype else convert_to(gradient, type_.dtype)

    def regions(self, trace: Trace, node: Any) -> Stated:
        """The derivative as graphs: `backward`, and `jvp` where there is one, traced. Called while `trace` is open."""
        rules, made = [], []
        if self.function._has_backward():
            types = [r[1] for r in self.results if r is not None and r[0] is not None]
            rules.append("vjp")
            made.append(traced_rule(self.name, types, lambda cts: self.materialized(self.pull(cts, True))))
        if self.function._has("jvp"):
            rules.append("jvp")
            made.append(traced_rule(f"{self.name}.jvp", [t for _, t in self.inputs], self.push))
        return state_rules(trace, node, rules, made)

    def materialized(self, flows: Sequence[Any]) -> list[Any]:
        """Gradients, zeros in the place of None."""
        return [full_op(0.0, t) if flow is None else flow for flow, (_, t) in zip(flows, self.inputs, strict=True)]

    def push(self, tangents: Sequence[Any]) -> list[Any]:
        """The tangent of each result with a gradient, given one (or None) for each input that derivatives are taken of."""
        if not self.function._has("jvp"):
            return self.transposed(tangents)
        places = {i: t for (i, _), t in zip(self.inputs, tangents, strict=True)}
        given = [places.get(i) for i in range(self.arguments)]
        saved = self.ctx._saved, self.ctx._to_save
        if self.ctx._for_forward is not None:
            self.ctx._saved, self.ctx._to_save = None, self.ctx._for_forward
        try:
            found = self.function.jvp(self.ctx, *given)
        finally:
            self.ctx._saved, self.ctx._to_save = saved
        moved = found if isinstance(found, tuple) else (found,)
        if len(moved) != len(self.results):
            raise GradError(
                f"{self.function.__name__}.jvp returned an incorrect number of tangents (expected {len(self.results)}, got {len(moved)})"
            )
        pairs = [(t, r[1]) for t, r in zip(moved, self.results, strict=True) if r is not None and r[0] is not None]
        return [full_op(0.0, type_) if t is None else t for t, type_ in pairs]

    def pushed(self, tangents: Sequence[Any], size: int | None) -> list[Any]:
        """As `push`, for a batch of `size` tangents, one after the other: rules are written for one."""
        if size is None:
            return self.push(tangents)
        rows = [self.push([None if t is None else t[k] for t in tangents]) for k in range(size)]
        return [stack(column) for column in zip(*rows, strict=True)]

    def transposed(self, tangents: Sequence[Any]) -> list[Any]:
        """As `push`, for a Function without a rule: `backward` is linear in its cotangents, and its own pullback is the derivative."""
        types = [r[1] for r in self.results if r is not None and r[0] is not None]
        with enable_grad():
            cotangents = [tracked(full_op(0.0, type_), VARIABLE) for type_ in types]
            flows = self.pull(cotangents, True)
            moving = [g if t is not None else None for g, t in zip(flows, tangents, strict=True)]
            return filled(pulled(moving, cotangents, tangents), cotangents)


# --- What users write -------------------------------------------------------------------------------------------------


class Function:
    """An operation of the user's own, with the derivative that `backward` says.

    Subclasses define static methods, and are called by `apply`:

    - `forward(ctx, *args)`, or `forward(*args)` together with `setup_context(ctx, inputs, output)`;
    - `backward(ctx, *grad_outputs)`, also under the name `vjp`: a gradient, or None, for each argument of `forward`;
    - `jvp(ctx, *grad_inputs)` for forward mode; where it is missing, the transpose of `backward` is used;
    - `vmap(info, in_dims, *args)` for batches; where it is missing, forward and backward are batched.
    """

    generate_vmap_rule = False
    _refusal = ""
    """Why there is no derivative of the derivative."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise GradError(compose(_LEGACY, todo=f"Call {type(self).__name__}.apply(...)."))

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """What the operation computes."""
        raise Unsupported("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def setup_context(ctx: FunctionCtx, inputs: tuple[Any, ...], output: Any) -> Any:
        """Save what `backward` needs: for a `forward` without ctx."""
        raise Unsupported("setup_context is not implemented.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """The gradients of the arguments, given those of the results."""
        raise Unsupported(_NO_BACKWARD)

    vjp = backward

    @staticmethod
    def jvp(ctx: Any, *grad_inputs: Any) -> Any:
        """The tangents of the results, given those of the arguments (None for arguments without one)."""
        raise Unsupported("You must implement the jvp function for custom autograd.Function to use it with forward mode AD.")

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> Any:
        """The results for arguments with batch dimensions, and the batch dimensions of the results."""
        raise Unsupported(
            "To use autograd.Function with vmap, you must either override the vmap staticmethod or set generate_vmap_rule=True."
        )

    @classmethod
    def _has(cls, method: str) -> bool:
        return getattr(cls, method) is not getattr(Function, method)

    @classmethod
    def _has_backward(cls) -> bool:
        return cls._has("backward") or cls._has("vjp")

    @classmethod
    def _backward(cls) -> Callable[..., Any]:
        if cls._has("backward") and cls._has("vjp"):
            raise GradError(
                "Implementing both 'backward' and 'vjp' for a custom Function is not allowed. You should only implement one of them."
            )
        rule: Callable[..., Any] = cls.vjp if cls._has("vjp") else cls.backward
        return rule

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """The results of `forward`, which gradients flow back from as `backward` says."""
        separate = cls._has("setup_context")
        if local.transforms and not separate:
            raise GradError(
                compose(
                    "In order to use an autograd.Function with functorch transforms (vmap, grad, jvp, jacrev, ...), it must override the "
                    "setup_context staticmethod. For more details, please see https://pytorch.org/docs/main/notes/extending.func.html",
                    f"{cls.__name__}.forward takes ctx",
                    todo=f"Let {cls.__name__}.forward take its arguments only, and save in setup_context(ctx, inputs, output).",
                )
            )
        own_rule = cls._has("vmap")
        if own_rule and cls.generate_vmap_rule:
            raise GradError(
                f"You tried to vmap over {cls.__name__}, but it has both generate_vmap_rule=True and an overridden vmap staticmethod. "
                "Please set generate_vmap_rule=False or delete the overridden vmap staticmethod to avoid ambiguity."
            )
        if separate or kwargs:
            args = _bound(cls.forward, args, kwargs, separate)
        if own_rule and _is_batched(args):
            return call_vmap_rule(cls, args)
        ctx = FunctionCtx()
        ctx.needs_input_grad = tuple(isinstance(x, TensorBase) and x._requires_grad for x in args)
        moved = {level: level.tangents_of(args) for level in levels_here()}
        followed = {i for i, needs in enumerate(ctx.needs_input_grad) if needs and is_grad_enabled()}
        followed.update(i for tangents in moved.values() for i, t in enumerate(tangents) if t is not None)
        before = _Before(args, sorted(followed)) if followed else None
        with no_grad():
            if separate:
                output = cls.forward(*args)
                cls.setup_context(ctx, args, output)
            else:
                output = cls.forward(ctx, *args)
        results = output if isinstance(output, tuple) else (output,)
        _check_dirty(ctx, args, results)
        if before is None:
            ctx._saved = []
            given = {id(x) for x in args if isinstance(x, TensorBase)} - {id(x) for x in ctx._dirty}
            shown = tuple(elementwise["detach"](y) if id(y) in given else y for y in results)
        else:
            shown = _record(cls, ctx, args, results, before, moved)
        return type(output)(*shown) if hasattr(output, "_fields") else shown if isinstance(output, tuple) else shown[0]


def _bound(forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], separate: bool) -> tuple[Any, ...]:
    """All arguments by their position, defaults filled in."""
    try:
        bound = inspect.signature(forward).bind(*(() if separate else (None,)), *args, **kwargs)
    except TypeError as error:
        raise ArgumentError(compose(f"forward(): {error}")) from None
    bound.apply_defaults()
    return bound.args if separate else bound.args[1:]


def _is_batched(args: Sequence[Any]) -> bool:
    """Whether a Function is applied to examples of a batch, and no derivative is being taken inside of the function that `vmap` traces."""
    trace = local.segment
    if getattr(trace, "batch", None) is None:
        return False
    b = trace.building
    variables = dependents(Graph("", (), tuple(b.b.nodes), ()), b.values(b.tracked))
    return not any(isinstance(x, TensorBase) and x._segment is trace and b.values((x._number,))[0] in variables for x in args)


def _check_dirty(ctx: FunctionCtx, args: Sequence[Any], results: Sequence[Any]) -> None:
    for x in ctx._dirty:
        if not any(x is y for y in results):
            raise GradError(
                compose(
                    "Some elements marked as dirty during the forward method were not returned as output. The inputs that are modified "
                    "inplace must all be outputs of the Function."
                )
            )


class _Before:
    """Where the arguments are that derivatives are taken of, before `forward` changes or computes anything."""

    def __init__(self, args: Sequence[Any], places: Sequence[int]) -> None:
        self.segment: Segment = local.segment
        self.numbers: dict[int, int] = {i: self.segment.number_of(args[i]) for i in places}
        self.origins = {i: args[i]._origin or (self.segment, n) for i, n in self.numbers.items()}
        self.leaves = {i for i in self.numbers if is_leaf(args[i])}
        self.types = {i: args[i]._type for i in self.numbers}

    def number(self, i: int, x: Any) -> int:
        """The number of argument `i`, as it was before, in the segment that is open now."""
        now: Segment = local.segment
        if now is self.segment:
            return self.numbers[i]
        if i in self.leaves or x._origin == self.origins[i]:
            return now.number_of(x)
        old = concrete(x._elements(), self.types[i], True)  # written since: only its place counts
        old._origin = self.origins[i]
        return now.number_of(old)


def _record(
    function: type[Function],
    ctx: FunctionCtx,
    args: Sequence[Any],
    results: Sequence[Any],
    before: _Before,
    moved: Mapping[Level, Sequence[Any]],
) -> tuple[Any, ...]:
    """The results with the Function behind them."""
    for x in ctx._dirty:
        if isinstance(x, TensorBase) and any(args[i] is x for i in before.leaves):
            raise GradError(
                compose(
                    "a leaf Variable that requires grad has been used in an in-place operation.", todo="Apply it to a clone of the leaf."
                )
            )
    application = Application(function, ctx, [(i, before.types[i]) for i in before.numbers], len(args))
    application.function_tensors = frozenset(i for i, x in enumerate(args) if isinstance(x, TensorBase))
    constant = {id(x) for x in ctx._constant}
    made: dict[int, int] = {}
    values: list[Any] = []
    for y in results:
        if not isinstance(y, TensorBase):
            application.results.append(None)
        elif id(y) in constant or y._type.dtype.kind != "float":
            application.results.append((None, y._type))
        else:
            if id(y) not in made:
                made[id(y)] = len(values)
                values.append(y)
            application.results.append((made[id(y)], y._type))
    with no_grad():
        snapshots = [None if x is None else snapshot(x) for x in ctx._to_save]
    segment = local.segment
    inputs = tuple(before.number(i, args[i]) for i in before.numbers)
    numbers = tuple(segment.number_of(y) for y in values)
    kept = [None if x is None else _kept(x, value, args, before, inputs, made) for x, value in zip(ctx._to_save, snapshots, strict=True)]
    shown = list(results)
    found: list[Any] = []
    if values:
        first = segment.count
        refusal = function._refusal if function._has_backward() or function._has("jvp") else _NO_BACKWARD
        segment.packed[first] = application
        defaults.hooked = True
        try:
            key = (APPLIED, application.name, inputs, numbers, bool(ctx._to_save), refusal)
            found = segment.record_key(APPLIED, key)
        except BaseException:
            del segment.packed[first]
            raise
        dirty = {id(x) for x in ctx._dirty}
        for y, z in zip(values, found, strict=True):
            if id(y) in dirty:
                take(y, z)
                y._more().version += 1
                found[made[id(y)]] = y
        for saved in kept:
            if isinstance(saved, _SavedResult):
                saved.number += first
        shown = [y if r is None or r[0] is None else found[r[0]] for y, r in zip(results, application.results, strict=True)]
    ctx._saved, ctx._to_save = kept, ()
    for level, tangents in moved.items():
        given = [tangents[i] for i in before.numbers]
        if values and any(t is not None for t in given):
            for z, tangent in zip(found, application.pushed(given, level.size), strict=True):
                level.add(z, tangent)
    return tuple(shown)


class _SavedResult(Saved):
    """A saved result: its number is at first the place among the results."""


def _kept(x: Any, value: Any, args: Sequence[Any], before: _Before, inputs: Sequence[int], made: dict[int, int]) -> Saved:
    """A tensor, and the value that it has now, on its way to `backward`."""
    segment = local.segment
    if id(x) in made:
        return _SavedResult(value, segment, made[id(x)])
    for number, i in zip(inputs, before.numbers, strict=True):
        if args[i] is x:
            return Saved(value, segment, number)
    return Saved(value, segment, segment.number_of(x)) if x._requires_grad else Saved(value)


# --- once_differentiable ----------------------------------------------------------------------------------------------


class _Once(Function):
    """The first of its arguments, whose derivative is refused; the others say when it is asked for."""

    _refusal = _TWICE

    @staticmethod
    def forward(ctx: Any, gradient: Any, *others: Any) -> Any:
        return gradient

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        raise GradError(compose(_TWICE, todo="Leave the decorator away if backward is made of differentiable operations."))


def once_differentiable(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Decorates a `backward` that cannot be differentiated: its operations are not recorded, and asking for more raises."""

    @functools.wraps(fn)
    def wrapper(ctx: Any, *args: Any) -> Any:
        with no_grad():
            found = fn(ctx, *args)
        asked = [x for x in args if isinstance(x, TensorBase) and x._requires_grad]
        if not (is_grad_enabled() and asked):
            return found
        gradients = found if isinstance(found, tuple) else (found,)
        marked = tuple(_Once.apply(g, *asked) if isinstance(g, TensorBase) else g for g in gradients)
        return marked if isinstance(found, tuple) else marked[0]

    return wrapper


__all__ = ["Application", "Function", "FunctionCtx", "once_differentiable"]
