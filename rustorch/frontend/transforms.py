"""Transforms of functions: gradients, values with gradients, pullbacks and pushforwards.

A transform calls the function on variables that stand for its arguments, and differentiates what was recorded. So it works in
both doors alike: on recorded programs, where Python may look at numbers, and inside `jit`, where it becomes part of the graph.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rustorch.errors import ArgumentError, GradError, ShapeError, Unsupported, compose
from rustorch.frontend import tree
from rustorch.frontend.backward import grad as gradients
from rustorch.frontend.base import TensorBase
from rustorch.frontend.course import building_of
from rustorch.frontend.creation import full_op, tensor
from rustorch.frontend.dual import Level
from rustorch.frontend.elementwise import recorded
from rustorch.frontend.history import differentiable, history_of
from rustorch.frontend.hooks import place_of
from rustorch.frontend.modes import Transforming, enable_grad, is_grad_enabled
from rustorch.frontend.movement import cat
from rustorch.frontend.segment import VARIABLE, Building, Key, Origin, Primitive, alias, is_floating, value_of
from rustorch.frontend.state import defaults, local
from rustorch.frontend.storage import convert_to, tracked
from rustorch.ir.graph import Value
from rustorch.ir.types import TensorType

Function = Callable[..., Any]


class Release(Primitive):
    """A value that a transform gives: it requires gradients only if it depends on others than the transform's own variables.

    Its key: the value's number, then those of the variables.
    """

    name = "transform"

    def build(self, building: Building, key: Key) -> tuple[Value, ...]:
        (x,) = building.values(key[1:2])
        return (alias(building.b, x) if self._depends(building, key, x) else building.b.detach(x),)

    def operands(self, key: Key) -> list[int]:
        return [key[1]]

    def require(self, building: Building, key: Key, results: Sequence[Value]) -> list[bool]:
        (x,) = building.values(key[1:2])
        return [building.mode and is_floating(x) and self._depends(building, key, x)]

    def _depends(self, building: Building, key: Key, x: Value) -> bool:
        first = min(key[2:])  # later variables belong to transforms within this one, earlier ones to those around it
        made = {v for node in building.b.nodes for v in node.results}
        flagged = [value_of(v) for v, flag in zip(building.ir, building.grads, strict=True) if flag]
        sources = [v for v in flagged if v not in made] + building.values([n for n in building.tracked if n < first])
        return x in differentiable(building.b.nodes, sources)


RELEASE = Release()


def as_variable(x: Any) -> Any:
    """A tensor of its own for an argument, at which gradients are wanted."""
    if isinstance(x, float) or local.segment.is_weak(x):
        x = convert_to(x, defaults.dtype) if isinstance(x, TensorBase) else tensor(x)
    x = x if isinstance(x, TensorBase) else tensor(x)
    if x._type.dtype.kind != "float":
        if isinstance(x, TensorBase) and x._type.dtype.kind == "bool":
            raise GradError(compose("only floating-point arguments have gradients", f"found {x._type}"))
        raise GradError(
            compose(
                "grad requires real-valued inputs (input dtype that is a sub-dtype of floating)",
                f"found {x._type}",
                todo="Convert it first, for instance with x.float().",
            )
        )
    return tracked(x, VARIABLE)


def released(x: Any, variables: Sequence[Any]) -> Any:
    """The result of a transform without the transform's own variables in its history."""
    if not isinstance(x, TensorBase) or not x._requires_grad:
        return x
    segment = local.segment
    numbers = [v._number for v in variables if v._segment is segment and v._array is None]
    if len(numbers) < len(variables):  # Python looked at numbers on the way: the history lies in closed segments
        return x if _has_other_sources(x, {id(v) for v in variables}) else recorded["detach"](x)
    (result,) = segment.record_key(RELEASE, (RELEASE, segment.number_of(x), *numbers))
    return result


def _has_other_sources(x: TensorBase, variables: set[int]) -> bool:
    """Whether a tensor depends on any leaf that requires gradients, besides some variables, through segments closed or around."""
    waiting: list[Origin] = [place_of(x)]
    seen: set[tuple[int, int]] = set()
    while waiting:
        segment, number = waiting.pop()
        if segment is None or (id(segment), number) in seen:
            continue
        seen.add((id(segment), number))
        _, reached = history_of(building_of(segment), [number], list(segment.sources))
        for n in reached:
            leaf, origin = segment.sources[n]
            if origin is not None:
                waiting.append(origin)
            elif leaf._array is None and leaf._segment is not segment:  # recorded around a trace
                waiting.append((leaf._segment, leaf._number))
            elif id(leaf) not in variables:
                return True
    return False


class Call:
    """A call of the function with some of its arguments as variables."""

    def __init__(
        self, function: Function, argnums: int | Sequence[int], args: tuple[Any, ...], kwargs: dict[str, Any], run: bool = True
    ) -> None:
        places = (argnums,) if isinstance(argnums, int) else tuple(argnums)
        for i in places:
            if not -len(args) <= i < len(args):
                raise GradError(f"Got argnum={i}, but only {len(args)} positional inputs: gradients are taken of positional arguments")
        self.places = [i % len(args) for i in places]
        self.single = isinstance(argnums, int)
        new = list(args)
        self.structures: list[tree.Structure] = []
        self.variables: list[Any] = []
        for i in self.places:
            leaves, structure = tree.flatten(args[i])
            variables = [as_variable(x) for x in leaves]
            self.variables += variables
            self.structures.append(structure)
            new[i] = tree.unflatten(structure, variables)
        self._function, self._args, self._kwargs = function, new, kwargs
        if run:
            self.result = self.run()

    def run(self) -> Any:
        """The function's result."""
        with Transforming():
            return self._function(*self._args, **self._kwargs)

    def nested(self, leaves: Sequence[Any]) -> Any:
        """Values for the variables, in the containers of the arguments."""
        rest = iter(leaves)
        parts = [tree.unflatten(s, [next(rest) for _ in range(s.leaves)]) for s in self.structures]
        return parts[0] if self.single else tuple(parts)


def pulled(outputs: Sequence[Any], inputs: Sequence[Any], cotangents: Sequence[Any], create: bool = True) -> tuple[Any, ...]:
    """Gradients of those outputs that have any (None is an output without); None for inputs that none of them depends on."""
    roots = [(y, ct) for y, ct in zip(outputs, cotangents, strict=True) if y is not None and y._requires_grad]
    if not roots:
        return (None,) * len(inputs)
    return gradients([y for y, _ in roots], inputs, [ct for _, ct in roots], retain_graph=True, create_graph=create, allow_unused=True)


def filled(found: Sequence[Any], like: Sequence[Any]) -> list[Any]:
    """Derivatives, zeros in the place of None."""
    return [full_op(0.0, x._type) if g is None else g for g, x in zip(found, like, strict=True)]


def value_and_grad(function: Function, argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Function:
    """The function that gives the value of `function`, a scalar, and its gradient for the arguments `argnums`.

    Arguments may be nested containers; the gradient then has their form. With `has_aux` the function gives (value, more), and
    the result is ((value, more), gradient).
    """

    @functools.wraps(function)
    def both(*args: Any, **kwargs: Any) -> Any:
        outer = is_grad_enabled()
        with enable_grad():
            call = Call(function, argnums, args, kwargs)
            value, aux = _with_aux(call.result, has_aux)
            _check_scalar(value)
            found = filled(pulled([value], call.variables, [None]), call.variables)
            if outer:
                found = [released(g, call.variables) for g in found]
                value = released(value, call.variables)
                aux = tree.map_leaves(lambda x: released(x, call.variables), aux)
        if not outer:
            found = [g.detach() for g in found]
            value = value.detach()
            aux = tree.map_leaves(_detached, aux)
        gradient = call.nested(found)
        return ((value, aux), gradient) if has_aux else (value, gradient)

    return both


def _detached(x: Any) -> Any:
    return recorded["detach"](x) if isinstance(x, TensorBase) else x


def _with_aux(result: Any, has_aux: bool) -> tuple[Any, Any]:
    if not has_aux:
        return result, None
    if not (isinstance(result, tuple) and len(result) == 2):
        raise ArgumentError("with has_aux the function must return a pair: the value, and anything else")
    return result


def _check_scalar(value: Any) -> None:
    if not isinstance(value, TensorBase):
        raise ArgumentError(f"Expected the function to return a tensor to differentiate, got {type(value).__name__}")
    if value._type.shape != ():
        raise GradError(
            compose(
                "Expected the function to return a scalar tensor",
                f"found {value._type}",
                todo="Reduce it to one number, for instance with .sum(), or use jacrev for the derivative of every element.",
            )
        )
    if value._type.dtype.kind != "float":
        raise GradError(compose("Expected the function to return a floating-point tensor", f"found {value._type}"))


def grad(function: Function, argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Function:
    """The function that gives the gradient of `function`, a scalar, for the arguments `argnums`; with `has_aux`, (gradient, more)."""
    both = value_and_grad(function, argnums, has_aux)

    @functools.wraps(function)
    def only(*args: Any, **kwargs: Any) -> Any:
        value, gradient = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return only


def grad_and_value(function: Function, argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Function:
    """As `value_and_grad`, in the other order: (gradient, value)."""
    both = value_and_grad(function, argnums, has_aux)

    @functools.wraps(function)
    def turned(*args: Any, **kwargs: Any) -> Any:
        value, gradient = both(*args, **kwargs)
        return gradient, value

    return turned


def vjp(function: Function, *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """The value of `function` at `primals`, and its pullback: a function from a cotangent of the value to those of the primals."""
    outer = is_grad_enabled()
    with enable_grad():
        call = Call(function, tuple(range(len(primals))), primals, {})
        value, aux = _with_aux(call.result, has_aux)
        leaves, structure = tree.flatten(value)

    def pullback(*cotangents: Any) -> Any:
        given, other = tree.flatten(cotangents[0] if len(cotangents) == 1 else cotangents)
        tree.same_structure(structure, other, "the cotangent and the value")
        with enable_grad():
            found = [released(g, call.variables) for g in filled(pulled(leaves, call.variables, given), call.variables)]
        return call.nested(found if outer else [g.detach() for g in found])

    with enable_grad():
        shown = tree.unflatten(structure, [released(x, call.variables) if outer else x.detach() for x in leaves])
    return (shown, pullback, aux) if has_aux else (shown, pullback)


def jvp(function: Function, primals: Sequence[Any], tangents: Sequence[Any], has_aux: bool = False) -> tuple[Any, ...]:
    """The value of `function` at `primals`, and its derivative along `tangents`: forward mode, in one pass."""
    outer = is_grad_enabled()
    leaves, structure = tree.flatten(tuple(primals))
    directions, other = tree.flatten(tuple(tangents))
    tree.same_structure(structure, other, "primals and tangents")
    with enable_grad(), Transforming(), Level() as level:
        variables = [as_variable(x) for x in leaves]
        for v, x in zip(variables, directions, strict=True):
            level.add(v, convert_to(x if isinstance(x, TensorBase) else tensor(x), v._type.dtype))
        value, aux = _with_aux(function(*tree.unflatten(structure, variables)), has_aux)
        results, form = tree.flatten(value)
        pushed = [released(t, variables) for t in filled(level.tangents(results), results)]
        shown = [released(x, variables) for x in results]
    if not outer:
        shown, pushed = [x.detach() for x in shown], [x.detach() for x in pushed]
    pair = (tree.unflatten(form, shown), tree.unflatten(form, pushed))
    return (*pair, aux) if has_aux else pair


def linearize(function: Function, *primals: Any) -> tuple[Any, Function]:
    """The value of `function` at `primals`, and the linear function from tangents of the primals to that of the value.

    The function runs once. Its pullback is linear in the cotangent, and the pullback of that is the derivative.
    """
    outer = is_grad_enabled()
    with enable_grad():
        call = Call(function, tuple(range(len(primals))), primals, {})
        results, form = tree.flatten(call.result)
        cotangents = [as_variable(full_op(0.0, y._type)) for y in results]
        flows = pulled(results, call.variables, cotangents)
        shown = tree.unflatten(form, [released(y, call.variables) if outer else y.detach() for y in results])

    def pushforward(*tangents: Any) -> Any:
        given, structure = tree.flatten(tangents)
        tree.same_structure(tree.flatten(primals)[1], structure, "primals and tangents")
        for t, v in zip(given, call.variables, strict=True):
            if t._type is not v._type:
                raise ShapeError(compose("a tangent has the type of its primal", f"found {t._type} for {v._type}"))
        with enable_grad():
            moved = [released(t, [*call.variables, *cotangents]) for t in filled(pulled(flows, cotangents, given), results)]
        return tree.unflatten(form, moved if outer else [t.detach() for t in moved])

    return shown, pushforward


# --- Jacobians --------------------------------------------------------------------------------------------------------


def unit_directions(types: Sequence[TensorType]) -> list[Any]:
    """For each type a batch of directions (shape: batch, then the type's), such that direction k moves element k of all of them."""
    sizes = [_count(t) for t in types]
    total, ahead, found = sum(sizes), 0, []
    for type_, size in zip(types, sizes, strict=True):
        block = np.zeros((total, size), type_.dtype.numpy)
        block[ahead : ahead + size] = np.eye(size)
        found.append(tensor(block.reshape(total, *type_.shape)))
        ahead += size
    return found


def _count(type_: TensorType) -> int:
    """How many elements a tensor of a type has."""
    if not type_.is_static:
        raise Unsupported(compose("a Jacobian needs to know how many elements there are", f"found {type_}", todo="Give sizes as numbers."))
    count: int = math.prod(type_.shape)  # type: ignore[arg-type]
    return count


def jacrev(
    function: Function, argnums: int | Sequence[int] = 0, *, has_aux: bool = False, chunk_size: int | None = None
) -> Function:
    """The function that gives the Jacobian: the derivative of every element of the result, in reverse mode.

    All rows are one backward pass over a batch of cotangents; with `chunk_size`, passes over that many at a time. The result has the
    containers of the function's result, at each leaf those of the arguments; a block has the shape of the result, then of the argument.
    """
    if chunk_size is not None and chunk_size <= 0:
        raise ArgumentError("jacrev: `chunk_size` should be greater than 0.")

    @functools.wraps(function)
    def jacobian(*args: Any, **kwargs: Any) -> Any:
        outer = is_grad_enabled()
        with enable_grad():
            call = Call(function, argnums, args, kwargs)
            value, aux = _with_aux(call.result, has_aux)
            leaves, structure = tree.flatten(value)
            rows = [call.nested([released(g, call.variables) for g in rows_of(y, call.variables, chunk_size)]) for y in leaves]
            aux = tree.map_leaves(lambda x: released(x, call.variables), aux)
        result = (tree.unflatten(structure, rows), aux) if has_aux else tree.unflatten(structure, rows)
        return result if outer else tree.map_leaves(_detached, result)

    return jacobian


def rows_of(y: Any, variables: Sequence[Any], chunk_size: int | None = None, create: bool = True) -> list[Any]:
    """For each variable, the derivative of every element of `y`: shape of `y`, then of the variable."""
    if not isinstance(y, TensorBase):
        raise ArgumentError(f"jacrev: Expected all outputs of the function to be Tensors, got {type(y).__name__}")
    if not y._requires_grad:
        return [full_op(0.0, v._type.with_shape((*y._type.shape, *v._type.shape))) for v in variables]
    (directions,) = unit_directions([y._type])
    total = directions._type.shape[0]
    step = total if chunk_size is None or not total else chunk_size
    parts = [
        gradients(
            y, variables, directions[k : k + step], retain_graph=True, create_graph=create, is_grads_batched=True, materialize_grads=True
        )
        for k in range(0, max(total, 1), max(step, 1))
    ]
    joined = [column[0] if len(column) == 1 else cat(list(column)) for column in zip(*parts, strict=True)]
    return [g.reshape(*y._type.shape, *v._type.shape) for g, v in zip(joined, variables, strict=True)]


def jacfwd(
    function: Function,
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    *,
    chunk_size: int | None = None,
    randomness: str = "error",
) -> Function:
    """The function that gives the Jacobian in forward mode. Its form is that of `jacrev`.

    The function runs once, with a batch of tangents (with `chunk_size`, once for that many of them); so `randomness` makes no
    difference: there is nothing to draw anew.
    """
    if randomness not in ("error", "same", "different"):
        raise ArgumentError(f"Only allowed values for randomness are 'error', 'different', or 'same'. Got {randomness}")
    if chunk_size is not None and chunk_size <= 0:
        raise ArgumentError("jacfwd: `chunk_size` should be greater than 0.")

    @functools.wraps(function)
    def jacobian(*args: Any, **kwargs: Any) -> Any:
        outer = is_grad_enabled()
        with enable_grad(), Transforming():
            call = Call(function, argnums, args, kwargs, run=False)
            directions = unit_directions([v._type for v in call.variables])
            total = directions[0]._type.shape[0] if directions else 0
            step = total if chunk_size is None or not total else chunk_size
            parts: list[list[Any]] = []
            for k in range(0, max(total, 1), max(step, 1)):
                count = min(step, total - k)
                with Level(count) as level:
                    for v, ds in zip(call.variables, directions, strict=True):
                        level.add(v, ds if count == total else ds[k : k + count])
                    value, aux = _with_aux(call.run(), has_aux)
                    leaves, structure = tree.flatten(value)
                    moved = level.tangents(leaves)
                    parts.append([tangents_of(y, t, count) for y, t in zip(leaves, moved, strict=True)])
            joined = [column[0] if len(column) == 1 else cat(list(column)) for column in zip(*parts, strict=True)]
            parted = [blocks_of(t, y, call.variables) for t, y in zip(joined, leaves, strict=True)]
            blocks = [call.nested([released(g, call.variables) for g in part]) for part in parted]
            aux = tree.map_leaves(lambda x: released(x, call.variables), aux)
        result = (tree.unflatten(structure, blocks), aux) if has_aux else tree.unflatten(structure, blocks)
        return result if outer else tree.map_leaves(_detached, result)

    return jacobian


def tangents_of(y: Any, tangents: Any, count: int) -> Any:
    """The batch of tangents of a result; zeros where it depends on no variable."""
    if not isinstance(y, TensorBase):
        raise ArgumentError(f"jacfwd: Expected all outputs of the function to be Tensors, got {type(y).__name__}")
    return full_op(0.0, y._type.with_shape((count, *y._type.shape))) if tangents is None else tangents


def blocks_of(tangents: Any, y: Any, variables: Sequence[Any]) -> list[Any]:
    """Tangents along all directions (batch, then the shape of `y`) as a block for each variable: shape of `y`, then of the variable."""
    last = tangents.permute(*range(1, len(y._type.shape) + 1), 0)
    found, ahead = [], 0
    for v in variables:
        size = _count(v._type)
        found.append(last[..., ahead : ahead + size].reshape(*y._type.shape, *v._type.shape))
        ahead += size
    return found


def hessian(function: Function, argnums: int | Sequence[int] = 0) -> Function:
    """The function that gives the matrix of second derivatives of a scalar function."""
    return jacfwd(jacrev(function, argnums), argnums)
