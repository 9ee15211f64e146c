"""Transforms of functions: gradients, values with gradients, pullbacks and pushforwards.

A transform calls the function on variables that stand for its arguments, and differentiates what was recorded. So it works in
both doors alike: on recorded programs, where Python may look at numbers, and inside `jit`, where it becomes part of the graph.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from rustorch.errors import ArgumentError, GradError, compose
from rustorch.frontend import tree
from rustorch.frontend.backward import grad as gradients
from rustorch.frontend.base import TensorBase
from rustorch.frontend.creation import full_op, tensor
from rustorch.frontend.dual import Level
from rustorch.frontend.elementwise import recorded
from rustorch.frontend.modes import Transforming, enable_grad, is_grad_enabled
from rustorch.frontend.movement import stack
from rustorch.frontend.segment import VARIABLE, Building, Key, Primitive, alias, is_floating, value_of
from rustorch.frontend.state import defaults, local
from rustorch.frontend.storage import convert_to, tracked
from rustorch.ir.analysis import dependents
from rustorch.ir.graph import Graph, Value

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
        return x in dependents(Graph("", (), tuple(building.b.nodes), ()), sources)


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
    """Whether the segments behind a tensor read any leaf that requires gradients, besides some variables."""
    waiting = [x._origin[0] if x._origin is not None else x._segment]
    seen: set[int] = set()
    while waiting:
        segment = waiting.pop()
        if segment is None or id(segment) in seen:
            continue
        seen.add(id(segment))
        for leaf, origin in segment.sources.values():
            if origin is not None:
                waiting.append(origin[0])
            elif id(leaf) not in variables:
                return True
    return False


class Call:
    """A call of the function with some of its arguments as variables."""

    def __init__(self, function: Function, argnums: int | Sequence[int], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        places = (argnums,) if isinstance(argnums, int) else tuple(argnums)
        for i in places:
            if not -len(args) <= i < len(args):
                raise ArgumentError(
                    f"Got argnum={i}, but only {len(args)} positional inputs: gradients are taken of positional arguments"
                )
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
        with Transforming():
            self.result = function(*new, **kwargs)

    def nested(self, leaves: Sequence[Any]) -> Any:
        """Values for the variables, in the containers of the arguments."""
        rest = iter(leaves)
        parts = [tree.unflatten(s, [next(rest) for _ in range(s.leaves)]) for s in self.structures]
        return parts[0] if self.single else tuple(parts)


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
            if value._requires_grad:
                found = gradients(value, call.variables, create_graph=True, materialize_grads=True)
            else:
                found = tuple(full_op(0.0, v._type) for v in call.variables)
            if outer:
                found = tuple(released(g, call.variables) for g in found)
                value = released(value, call.variables)
                aux = tree.map_leaves(lambda x: released(x, call.variables), aux)
        if not outer:
            found = tuple(g.detach() for g in found)
            value = value.detach()
            aux = tree.map_leaves(lambda x: recorded["detach"](x) if isinstance(x, TensorBase) else x, aux)
        gradient = call.nested(found)
        return ((value, aux), gradient) if has_aux else (value, gradient)

    return both


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
        roots = [(x, ct) for x, ct in zip(leaves, given, strict=True) if x._requires_grad]
        with enable_grad():
            if roots:
                found = gradients(
                    [x for x, _ in roots], call.variables, [ct for _, ct in roots], retain_graph=True, create_graph=True,
                    materialize_grads=True,
                )  # fmt: skip
            else:
                found = tuple(full_op(0.0, v._type) for v in call.variables)
            found = tuple(released(g, call.variables) for g in found)
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
        moved = level.tangents(results)
        pushed = [released(full_op(0.0, x._type) if t is None else t, variables) for x, t in zip(results, moved, strict=True)]
        shown = [released(x, variables) for x in results]
    if not outer:
        shown, pushed = [x.detach() for x in shown], [x.detach() for x in pushed]
    pair = (tree.unflatten(form, shown), tree.unflatten(form, pushed))
    return (*pair, aux) if has_aux else pair


def jacrev(function: Function, argnums: int | Sequence[int] = 0) -> Function:
    """The function that gives the Jacobian: the derivative of every element of the result, row by row in reverse mode."""

    @functools.wraps(function)
    def jacobian(*args: Any, **kwargs: Any) -> Any:
        outer = is_grad_enabled()
        with enable_grad():
            call = Call(function, argnums, args, kwargs)
            leaves, structure = tree.flatten(call.result)
            rows = [call.nested([released(g, call.variables) for g in _rows(y, call.variables)]) for y in leaves]
        result = tree.unflatten(structure, rows)
        return result if outer else tree.map_leaves(lambda x: x.detach(), result)

    return jacobian


def _rows(y: Any, variables: Sequence[Any]) -> list[Any]:
    """For each variable, the derivative of every element of `y`: shape of `y`, then of the variable."""
    flat = y.reshape(-1)
    rows = [
        gradients(flat[i], variables, retain_graph=True, create_graph=True, materialize_grads=True) for i in range(flat._type.shape[0])
    ]
    return [stack(column).reshape(*y._type.shape, *v._type.shape) for column, v in zip(zip(*rows, strict=True), variables, strict=True)]


def jacfwd(function: Function, argnums: int = 0) -> Function:
    """The function that gives the Jacobian, column by column in forward mode."""

    @functools.wraps(function)
    def jacobian(*args: Any, **kwargs: Any) -> Any:
        place = argnums % len(args)
        x = args[place] if isinstance(args[place], TensorBase) else tensor(args[place])
        size = _count(x)

        def along(v: Any) -> Any:
            return function(*args[:place], v, *args[place + 1 :], **kwargs)

        columns = []
        for i in range(size):
            unit = [0.0] * size
            unit[i] = 1.0
            direction = tensor(unit, dtype=x._type.dtype).reshape(x._type.shape)
            columns.append(tree.flatten(jvp(along, (x,), (direction,))[1]))
        structure = columns[0][1]
        joined = []
        for parts in zip(*(leaves for leaves, _ in columns), strict=True):
            rank = len(parts[0]._type.shape)
            joined.append(stack(parts, rank).reshape(*parts[0]._type.shape, *x._type.shape))
        return tree.unflatten(structure, joined)

    return jacobian


def _count(x: Any) -> int:
    return int(x.numel())


def hessian(function: Function, argnums: int = 0) -> Function:
    """The function that gives the matrix of second derivatives of a scalar function."""
    return jacfwd(jacrev(function, argnums), argnums)
