"""Operations: what users call, recorded as one key a call. For authors of `functional`, `nn` and `optim`: see `emit.py`.

`@operation` turns a function over graph values into one over tensors:

    @operation
    def softplus(b: Builder, x: Operand, beta: float = 1.0) -> Value:
        (x,) = promote(b, x, to="float")
        ...

    softplus(tensor, beta=2.0)

The emitting function runs once for each new place in a program; after that a call is one look-up. So it must depend on its
arguments alone: the types of its operands, and what it was given for the other parameters.

The parameters' annotations say what they are, whatever their order:

- `Value`: a tensor (an ndarray is taken too); `Value | None`: it may be missing;
- `Operand`: a tensor or a Python number. The function gets a `Value`, the number, or a `Scalar` (a number that changes from
  call to call and so became an input): pass it through `promote`, `together` or `convert` before use;
- `Sequence[Value]`: any number of tensors;
- anything else is *static*: part of the key, so it must be hashable (lists become tuples).

Several results are returned as a tuple, or as a NamedTuple, which users then get too. Every operation takes `out=`: a tensor (a
tuple of them for several results) that the result is written into, and which is returned.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple, Protocol, overload

import numpy as np

from rustorch.errors import ArgumentError, compose
from rustorch.frontend import base
from rustorch.frontend.base import Array, TensorBase, concrete
from rustorch.frontend.segment import Building, Key, Primitive, Segment, carrier
from rustorch.frontend.state import local
from rustorch.ir.dims import Dim
from rustorch.ir.dtypes import from_numpy
from rustorch.ir.graph import Value
from rustorch.ir.types import TensorType

Emit = Callable[..., Any]


class Operation(Primitive):
    """A recorded function. `positions` are the places in the key where tensors may stand.

    `numeric` are those of them where Python numbers may stand too, `sequences` those of sequences of tensors.
    """

    def __init__(self, name: str, emit: Emit, *, blocks: bool = False, plural: bool = False) -> None:
        self.name, self.emit, self.blocks, self.plural = name, emit, blocks, plural
        self.parameters = parameters = _parameters(emit)
        kinds = [_kind(p.annotation) for p in parameters]
        self.width = len(parameters)
        self.named = tuple(p.name for p in parameters if p.keyword_only)
        self.positions = tuple(i + 1 for i, kind in enumerate(kinds) if kind != "static")
        self.numeric = tuple(i + 1 for i, kind in enumerate(kinds) if kind == "operand")
        self.sequences = tuple(i + 1 for i, kind in enumerate(kinds) if kind == "sequence")
        self.optional = tuple(i + 1 for i, p in enumerate(parameters) if p.default is None or "None" in p.annotation)
        self.tagged = tuple(i + 1 for i, p in enumerate(parameters) if kinds[i] == "static" and _may_be_float(p.annotation))
        self.defaults = tuple(p.default for p in parameters)
        self.result_class: Callable[..., Any] | None = None

    @cached_property
    def signature(self) -> inspect.Signature:
        """How users call it. Made when somebody asks: at import it would cost half of an operation's making."""
        kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        shown = [inspect.Parameter(p.name, kinds[p.keyword_only], default=p.default) for p in self.parameters]
        return inspect.Signature(shown, __validate_parameters__=False)

    @property
    def __signature__(self) -> inspect.Signature:
        return self.signature

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """All arguments in order, defaults filled in."""
        missing = self.defaults[len(args) :]
        if not kwargs and len(args) <= self.width - len(self.named) and inspect.Parameter.empty not in missing:
            return args + missing
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise ArgumentError(compose(f"{self.name}(): {error}", todo=f"it is called as {self.name}{self.signature}")) from None
        bound.apply_defaults()
        return tuple(bound.arguments.values())

    def key(self, segment: Segment, args: Sequence[Any]) -> Key:
        """The key of a call recorded in a segment, whose inputs grow by the tensors that are new to it."""
        parts = [self, *args]
        for i in self.positions:
            x = parts[i]
            if isinstance(x, TensorBase):
                parts[i] = x._number if x._segment is segment else segment.number(x)
            else:
                parts[i] = self.other(segment, x, i)
        for i in self.tagged:
            parts.append(_tag(parts[i]))
        key = tuple(parts)
        try:
            hash(key)
        except TypeError:
            key = tuple(_frozen(part) for part in parts)
            try:
                hash(key)
            except TypeError as error:
                raise ArgumentError(compose(f"{self.name}(): an argument cannot be recorded", str(error))) from None
        return key

    def other(self, segment: Segment, x: Any, position: int) -> Any:
        """The part of a key for what stands in a tensor's place and is none."""
        if x is None and position in self.optional:
            return None
        if isinstance(x, (bool, int, float)) and position in self.numeric:
            return number_key(x)
        if isinstance(x, (np.ndarray, np.generic)):
            if isinstance(x, np.generic) and position in self.numeric:
                return number_key(x.item())
            return segment.number(from_array(np.array(x)))
        if isinstance(x, (list, tuple)) and position in self.sequences:
            return tuple(segment.number_of(each if isinstance(each, TensorBase) else self.refuse(each, position)) for each in x)
        return self.refuse(x, position)

    def refuse(self, x: Any, position: int) -> Any:
        """Say that an argument is no tensor."""
        name = list(self.signature.parameters)[position - 1]
        raise ArgumentError(
            compose(
                f"{self.name}(): argument '{name}' (position {position}) must be Tensor, not {type(x).__name__}",
                todo="make a tensor of it with rustorch.tensor(...)",
            )
        )

    def build(self, building: Building, key: Key) -> tuple[Value, ...]:
        args = list(key[1 : 1 + self.width])
        for i in self.positions:
            part = key[i]
            if type(part) is int:
                args[i - 1] = building.ir[part] if i in self.numeric else building.values((part,))[0]
            elif part is not None:
                args[i - 1] = part[1] if part and isinstance(part[0], type) else building.values(part)
        placed = self.width - len(self.named)
        results = self.emit(building.b, *args[:placed], **dict(zip(self.named, args[placed:], strict=True)))
        if not isinstance(results, (tuple, list)):
            return (results,)
        if hasattr(results, "_fields"):
            self.result_class = type(results)
        return tuple(results)

    def operands(self, key: Key) -> list[int]:
        return [n for _, numbers in self.filled(key) for n in numbers]

    def filled(self, key: Key) -> Iterator[tuple[int, tuple[int, ...]]]:
        """The positions at which tensors, or numbers that are inputs, stand in a key, and which they are: several for a sequence."""
        for i in self.positions:
            part = key[i]
            if type(part) is int:
                yield i, (part,)
            elif part and not isinstance(part[0], type):
                yield i, part

    def wrap(self, results: tuple[Any, ...]) -> Any:
        return results if self.result_class is None else self.result_class(*results)

    # --- Python numbers in a tensor's place ---------------------------------------------------------------------------

    def has_number(self, key: Key) -> bool:
        """Whether a Python number stands in the place of a tensor."""
        return any(type(key[i]) is tuple for i in self.numeric)

    def without_numbers(self, key: Key) -> Key:
        """The key with the numbers' types only."""
        return tuple(part[0] if i in self.numeric and type(part) is tuple else part for i, part in enumerate(key))

    def with_inputs(self, key: Key, take: Callable[[type, Any], int]) -> Key:
        """The key with inputs in the place of numbers."""
        return tuple(take(*part[:2]) if i in self.numeric and type(part) is tuple else part for i, part in enumerate(key))


class _Parameter(NamedTuple):
    """A parameter after the builder."""

    name: str
    default: Any
    annotation: str
    keyword_only: bool


def _parameters(emit: Emit) -> list[_Parameter]:
    """The parameters after the builder. Read off the code: `inspect.signature` takes a tenth of a millisecond each, at import."""
    code = getattr(emit, "__code__", None)
    if code is None or code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS) or "__signature__" in emit.__dict__:
        found = list(inspect.signature(emit).parameters.values())[1:]
        return [_Parameter(p.name, p.default, str(p.annotation), p.kind is p.KEYWORD_ONLY) for p in found]
    count = code.co_argcount
    names = code.co_varnames[: count + code.co_kwonlyargcount]
    defaults = emit.__defaults__ or ()
    given = dict(zip(names[count - len(defaults) : count], defaults, strict=True)) | (emit.__kwdefaults__ or {})
    annotations, empty = emit.__annotations__, inspect.Parameter.empty
    return [_Parameter(name, given.get(name, empty), str(annotations.get(name, "")), i > count) for i, name in enumerate(names[1:], 2)]


def _kind(annotation: str) -> str:
    if "Operand" in annotation or "Scalar" in annotation:
        return "operand"
    if "Value" not in annotation:
        return "static"
    return "sequence" if "Sequence" in annotation else "value"


def _may_be_float(annotation: str) -> bool:
    return any(word in annotation for word in ("float", "Any", "object"))


def _tag(x: Any) -> Any:
    """What tells apart arguments that are equal to Python: 1, 1.0 and True; 0.0 and -0.0."""
    return (type(x), math.copysign(1, x)) if isinstance(x, float) and x == 0 else type(x)


def _frozen(x: Any) -> Any:
    return tuple(map(_frozen, x)) if isinstance(x, (list, tuple)) else x


def number_key(x: float) -> Key:
    """The part of a key for a Python number: its type and itself, with zeros and NaN told apart."""
    kind = bool if isinstance(x, bool) else int if isinstance(x, int) else float
    number = kind(x)
    if number == 0:
        return (kind, number, math.copysign(1, number))
    return (kind, number if number == number else math.nan)


def from_array(array: Array, requires_grad: bool = False) -> Any:
    """A concrete tensor around an array of a supported element type."""
    return concrete(array, TensorType(from_numpy(array.dtype), array.shape), requires_grad)


class Recorded(Protocol):
    """A function over tensors that records an operation."""

    operation: Operation
    emit: Emit
    """The emitting function, for use by others."""
    __name__: str
    __doc__: str | None

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...


@overload
def operation(emit: Emit) -> Recorded: ...


@overload
def operation(*, name: str = "", blocks: bool = False, plural: bool = False) -> Callable[[Emit], Recorded]: ...


def operation(
    emit: Emit | None = None, *, name: str = "", blocks: bool = False, plural: bool = False
) -> Recorded | Callable[[Emit], Recorded]:
    """The recorded function of an emitting one. See the module's text.

    `blocks`: results never require gradients. `plural`: the result is a tuple even where there is only one. The attribute
    `operation` of what comes out is the `Operation`, `emit` the emitting function.
    """
    if emit is None:
        return lambda function: _recorded(function, name, blocks, plural)
    return _recorded(emit, name, blocks, plural)


def _recorded(emit: Emit, name: str, blocks: bool, plural: bool) -> Recorded:
    made = Operation(name or emit.__name__.strip("_"), emit, blocks=blocks, plural=plural)
    call: Any = _caller(made)
    call.__name__ = call.__qualname__ = made.name
    call.__doc__, call.__module__ = emit.__doc__, emit.__module__
    call.__wrapped__ = made  # `inspect.signature` asks it
    call.operation, call.emit = made, emit
    found: Recorded = call
    return found


def _caller(op: Operation) -> Callable[..., Any]:
    """The function that users call: on a known program it makes the key, looks it up and makes the result, and nothing else."""
    if op.width == 1 and op.positions == (1,) and op.defaults == (inspect.Parameter.empty,):
        return unary_caller(op)
    if op.width == 2 and op.positions == (1, 2) and op.defaults == (inspect.Parameter.empty,) * 2:
        return binary_caller(op)
    return general_caller(op)


_new = object.__new__


class _Unknown:
    """In the place of a step that must be made, or that has several results."""

    type = None


_UNKNOWN: Any = _Unknown()


def _nowhere(out: Any, result: Any) -> Any:
    raise NotImplementedError


_into: Callable[[Any, Any], Any] = _nowhere
"""Writes a result into `out`."""


def set_writer(into: Callable[[Any, Any], Any]) -> None:
    """Say how results are written into tensors (done once, by `storage.py`)."""
    global _into
    _into = into


# The three callers end alike, with `add_results` for one result written out: a call of it would cost a third of a recorded operation.


def unary_caller(op: Operation) -> Callable[..., Any]:
    """The caller of an operation on one tensor."""

    def call(input: Any, *, out: Any = None) -> Any:
        if out is not None:
            return _into(out, call(input))
        s = local.segment
        try:
            step = s.at.next[op, input._number if input._segment is s else s.number(input)]
        except (KeyError, AttributeError):
            step = _UNKNOWN
        if step.type is None:
            return s.record(op, (input,))
        s.at = step
        t = _new(base._class)
        t._array = None
        t._segment = s
        s.count = (n := s.count) + 1
        t._number = n
        t._type = step.type
        t._requires_grad = step.grad
        t._grad = t._origin = t._extra = None
        s.values.append(t)
        return t

    return call


def _slowly(segment: Segment, op: Operation, args: tuple[Any, ...]) -> Any:
    return segment.record(op, args)


def as_operator(segment: Segment, op: Operation, args: tuple[Any, ...]) -> Any:
    """Record an operator; operands of a foreign kind are left to their own class."""
    for x in args:
        if not isinstance(x, (TensorBase, bool, int, float, Dim)) and not hasattr(x, "__array__"):
            return NotImplemented
    return segment.record(op, args)


def binary_caller(op: Operation, slowly: Callable[[Segment, Operation, tuple[Any, ...]], Any] = _slowly) -> Callable[..., Any]:
    """The caller of an operation on two tensors, or a tensor and a number."""

    def call(input: Any, other: Any, *, out: Any = None) -> Any:
        if out is not None:
            return _into(out, call(input, other))
        s = local.segment
        try:
            a = input._number if input._segment is s else s.number(input)
            if type(other) is float or type(other) is int:
                step = s.at.next[op, a, (type(other), other)]
            else:
                step = s.at.next[op, a, other._number if other._segment is s else s.number(other)]
        except (KeyError, AttributeError):
            step = _UNKNOWN
        if step.type is None:
            return slowly(s, op, (input, other))
        s.at = step
        t = _new(base._class)
        t._array = None
        t._segment = s
        s.count = (n := s.count) + 1
        t._number = n
        t._type = step.type
        t._requires_grad = step.grad
        t._grad = t._origin = t._extra = None
        s.values.append(t)
        return t

    return call


def general_caller(op: Operation) -> Callable[..., Any]:
    """The caller of any operation."""
    width, positions, tagged = op.width, op.positions, op.tagged

    def call(*args: Any, **kwargs: Any) -> Any:
        if kwargs or len(args) != width:
            out = kwargs.pop("out", None)
            if out is not None:
                return _into(out, call(*args, **kwargs))
            args = op.bind(args, kwargs)
        s = local.segment
        parts = [op, *args]
        try:
            for i in positions:
                x = parts[i]
                if type(x) is tuple:
                    parts[i] = tuple([each._number if each._segment is s else s.number(each) for each in x])
                elif type(x) is float or type(x) is int:
                    parts[i] = (type(x), x)
                elif x is not None:
                    parts[i] = x._number if x._segment is s else s.number(x)
            if tagged:
                parts += [_tag(parts[i]) for i in tagged]
            step = s.at.next[tuple(parts)]
        except (KeyError, AttributeError, TypeError):
            step = _UNKNOWN
        if step.type is None:
            return s.record(op, args)
        s.at = step
        t = _new(base._class)
        t._array = None
        t._segment = s
        s.count = (n := s.count) + 1
        t._number = n
        t._type = step.type
        t._requires_grad = step.grad
        t._grad = t._origin = t._extra = None
        s.values.append(t)
        return t

    return call


__all__ = ["Operation", "carrier", "from_array", "general_caller", "number_key", "operation"]
