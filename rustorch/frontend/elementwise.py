"""Functions and methods on tensors, element by element: made from the registry's public names.

A new elementwise op appears here by itself: as functions by all its names, as methods, as operators (reflected, too), and in
place with a trailing underscore.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from rustorch import ops  # noqa: F401 - registers the ops
from rustorch.frontend.emission import Builder, Operand, Value, broadcast, convert, promote, together
from rustorch.frontend.operation import Operation, as_operator, binary_caller, general_caller, number_key, unary_caller
from rustorch.frontend.state import local
from rustorch.frontend.storage import rebind
from rustorch.ir.dtypes import bool_, i64
from rustorch.ir.op import REGISTRY, OpDef, Public, Trait
from rustorch.ir.types import element

Function = Callable[..., Any]


def _emission(op: OpDef, public: Public) -> Function:
    """The function that emits an op with promotion and broadcasting."""
    def unary(b: Builder, input: Value) -> Value:
        if op.name in _WHOLE and element(input.type).kind == "int":
            return input
        if element(input.type) is bool_ and op.name in ("sign", "square"):  # as PyTorch has it
            return input if op.name == "sign" else b.emit(op, (convert(b, input, i64),))[0]
        x = input if public.promote == "none" else promote(b, input, to=public.promote)[0]
        return b.emit(op, (x,))[0]

    def binary(b: Builder, input: Operand, other: Operand) -> Value:
        operands = together(b, input, other, to=public.promote)
        if element(operands[0].type) is not bool_:
            return b.emit(op, operands)[0]
        return b.emit(_OF_BOOLS.get(op.name, op), operands)[0]

    def masked(b: Builder, condition: Value, input: Operand, other: Operand) -> Value:
        x, y = promote(b, input, other, to=public.promote)
        return b.emit(op, broadcast(b, condition, x, y))[0]

    emissions: dict[int, Function] = {1: unary, 2: binary, 3: masked}
    function = emissions[op.operands or 0]
    return _renamed(function, public.arguments)


def _renamed(function: Function, names: tuple[str, ...]) -> Function:
    """The function under the parameter names that users see."""
    parameters = list(inspect.signature(function).parameters.values())
    renamed = [parameters[0], *(p.replace(name=n) for p, n in zip(parameters[1:], names, strict=True))]
    function.__signature__ = inspect.Signature(renamed)  # type: ignore[attr-defined]
    return function


def reflected_caller(op: Operation) -> Function:
    """The operator whose left side is no tensor."""

    def call(self: Any, other: Any) -> Any:
        s = local.segment
        try:
            step = s.at.next[op, number_key(other), self._number if self._segment is s else s.number(self)]
        except (KeyError, AttributeError, TypeError, ValueError):
            step = None
        if step is None or step.type is None:
            return as_operator(s, op, (other, self))
        s.at = step
        (t,) = s.add_results(step.types, step.flags)
        return t

    return call


def in_place(function: Function) -> Function:
    """The method that writes the function's result into the tensor."""

    def write(self: Any, *args: Any, **kwargs: Any) -> Any:
        return rebind(self, function(self, *args, **kwargs))

    return write


def _named(function: Function, name: str, doc: str) -> Function:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    function.__module__ = "rustorch"
    return function


_OF_BOOLS = {"add": REGISTRY["or"], "mul": REGISTRY["and"], "maximum": REGISTRY["or"], "minimum": REGISTRY["and"]}
"""What arithmetic on bools is."""
_WHOLE = {"floor", "ceil"}
"""Ops on floats whose results are whole numbers: integers are their own."""
_REFLECTED = {"add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor", "lshift", "rshift"}
EXTENDED = frozenset({"add", "sub", "subtract", "div", "divide", "true_divide", "where", "round"})
"""Functions that `functions.py` writes anew, with more arguments."""
functions: dict[str, Function] = {}
"""Public functions by name."""
methods: dict[str, Function] = {}
"""Attributes of `Tensor` by name."""
recorded: dict[str, Function] = {}
"""The recorded function of each op, by the op's name."""


def _define(op: OpDef, public: Public) -> None:
    made = Operation(public.names[0], _emission(op, public), blocks=op.name == "detach")
    caller = {1: unary_caller, 2: binary_caller}.get(made.width, general_caller)(made)
    doc = f"{op.doc}\n\nElement by element; see the op `{op.name}`."
    function = _named(caller, public.names[0], doc)
    function.__wrapped__ = made  # type: ignore[attr-defined]
    function.operation, function.emit = made, made.emit  # type: ignore[attr-defined]
    recorded[op.name] = function
    for name in public.names:
        functions[name] = function
        if public.method:
            methods[name] = function
            if public.in_place and op.name != "detach":
                methods[f"{name}_"] = _named(in_place(function), f"{name}_", f"In place: {doc}")
    if public.operator:
        name = public.operator
        methods[f"__{name}__"] = function if made.width == 1 else binary_caller(made, as_operator)
        if name in _REFLECTED:
            commutes = op.has(Trait.COMMUTATIVE)
            methods[f"__r{name}__"] = methods[f"__{name}__"] if commutes else reflected_caller(made)
            methods[f"__i{name}__"] = in_place(function)


def elementwise_ops() -> Iterator[tuple[OpDef, Public]]:
    """The ops that have public names and follow from their record alone."""
    for op in REGISTRY:
        if isinstance(op.public, Public) and op.has(Trait.ELEMENTWISE) and not op.attributes:
            yield op, op.public


for _op, _public in elementwise_ops():
    _define(_op, _public)

__all__ = ["convert", "elementwise_ops", "functions", "in_place", "methods", "recorded"]
