"""`autograd.functional`: derivatives of functions of tensors, in PyTorch's older manner: several inputs as a tuple, several outputs too.

Without `create_graph` what comes out has no history. With `strict`, an output that does not depend on an input is an error instead of
a derivative of zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rustorch.errors import ArgumentError, GradError, ShapeError, Unsupported, compose
from rustorch.frontend.base import TensorBase
from rustorch.frontend.creation import full_op
from rustorch.frontend.dtype import Size
from rustorch.frontend.dual import Level
from rustorch.frontend.elementwise import recorded
from rustorch.frontend.modes import enable_grad
from rustorch.frontend.movement import stack
from rustorch.frontend.segment import LEAF, VARIABLE
from rustorch.frontend.storage import tracked
from rustorch.frontend.transforms import blocks_of, filled, pulled, rows_of, tangents_of, unit_directions

Function = Callable[..., Any]
Tensors = Any
"""A tensor, or a tuple of tensors."""


# --- Arguments and results --------------------------------------------------------------------------------------------


class _Derivative:
    """One call of a function whose derivative is taken: its inputs as variables, its outputs, and how results are shown."""

    def __init__(self, what: str, function: Function, inputs: Tensors, create: bool, strict: bool) -> None:
        self.what, self.create, self.strict = what, create, strict
        self.several = isinstance(inputs, tuple)
        given = _tuple(inputs, "inputs", what)
        # with create_graph gradients go on to the inputs that were given
        self.inputs = tuple(tracked(x, VARIABLE if create and x._requires_grad else LEAF) for x in given)
        found = function(*self.inputs)
        self.several_outputs = isinstance(found, tuple)
        self.outputs = _tuple(found, "outputs of the user-provided function", what)
        if strict:
            _check_required(self.outputs)

    def scalar(self) -> Any:
        """The only output, a single number."""
        return _scalar(self.outputs, self.several_outputs, self.what)

    def shown(self, tensors: Sequence[Any], several: bool) -> Tensors:
        """Results as the caller gets them."""
        found = tuple(tensors) if self.create else tuple(map(detached, tensors))
        return found if several else found[0]


_OF_OUTPUT = "The vector v can only be None if the user-provided function returns a single Tensor with a single element."
_OF_INPUT = "The vector v can only be None if the input to the user-provided function is a single Tensor with a single element."


def detached(x: Any) -> Any:
    """The tensor without history."""
    return recorded["detach"](x) if x._requires_grad else x


def _tuple(x: Any, what: str, of: str) -> tuple[Any, ...]:
    """The tensors as a tuple; refused where something else is among them."""
    parts = x if isinstance(x, tuple) else (x,)
    for i, part in enumerate(parts):
        if not isinstance(part, TensorBase):
            where = f"the value at index {i}" if isinstance(x, tuple) else f"the given {what}"
            raise ArgumentError(
                f"The {what} given to {of} must be either a Tensor or a tuple of Tensors but {where} has type {type(part)}."
            )
    return parts


def _check_required(outputs: Sequence[Any]) -> None:
    """What `strict` asks of outputs: that they depend on something that requires gradients."""
    for i, y in enumerate(outputs):
        if not y._requires_grad:
            raise GradError(
                f"Output {i} of the user-provided function does not require gradients. The outputs must be computed in a "
                "differentiable manner from the input when running in strict mode."
            )


def _scalar(outputs: Sequence[Any], several: bool, of: str) -> Any:
    """The only output, a single number."""
    if several:
        raise GradError(f"The function given to {of} should return a single Tensor")
    (y,) = outputs
    if y.numel() != 1:
        raise GradError(
            compose(
                f"The Tensor returned by the function given to {of} should contain a single element",
                f"it has shape {list(y._type.shape)}",
            )
        )
    return y if y._type.shape == () else y.reshape(())


def _vector(v: Tensors, of: Sequence[Any], what: str, message: str) -> tuple[Any, ...]:
    """The vector that is multiplied with, checked: one, where there is a single number."""
    if v is None:
        if len(of) != 1 or of[0].numel() != 1:
            raise GradError(message)
        return (full_op(1.0, of[0]._type),)
    vectors = _tuple(v, "v", what)
    if len(vectors) != len(of):
        raise GradError(f"v is a tuple of invalid length: should be {len(of)} but got {len(vectors)}.")
    for i, (given, like) in enumerate(zip(vectors, of, strict=True)):
        if given._type.shape != like._type.shape:
            entry = f"Entry {i} in v" if len(of) > 1 else "v"
            expected, found = Size(like._type.shape), Size(given._type.shape)
            raise ShapeError(f"{entry} has invalid size: should be rustorch.{expected!r} but got rustorch.{found!r}.")
    return vectors


def _moving(func: Function, level: Level, tangents: Sequence[Any]) -> Function:
    """The function, whose arguments get these tangents as it is called."""

    def along(*variables: Any) -> Any:
        for x, t in zip(variables, tangents, strict=True):
            level.add(x, t)
        return func(*variables)

    return along


def _filled(found: Sequence[Any], like: Sequence[Any], strict: bool, message: str, create: bool, after: str = "") -> list[Any]:
    """Derivatives, zeros in the place of None; with `strict`, None is an error, and with `create` a derivative without history, too."""
    if strict:
        for i, g in enumerate(found):
            if g is None:
                raise GradError(message.format(i=i))
            if create and after and not g._requires_grad:
                raise GradError(after.format(i=i))
    return filled(found, like)


# --- Products ---------------------------------------------------------------------------------------------------------


def vjp(func: Function, inputs: Tensors, v: Tensors = None, create_graph: bool = False, strict: bool = False) -> tuple[Tensors, Tensors]:
    """The outputs of `func`, and the product of `v` (in the form of the outputs) with its Jacobian: one backward pass."""
    with enable_grad():
        call = _Derivative("vjp", func, inputs, create_graph, strict)
        vectors = _vector(v, call.outputs, "vjp", _OF_OUTPUT)
        found = pulled(call.outputs, call.inputs, vectors, create_graph)
        products = _filled(
            found, call.inputs, strict, "The output of the user-provided function is independent of input {i}. This is not allowed in "
            "strict mode.", create_graph, "The jacobian of the user-provided function is independent of input {i}. This is not allowed "
            "in strict mode when create_graph=True.",
        )  # fmt: skip
        return call.shown(call.outputs, call.several_outputs), call.shown(products, call.several)


def jvp(func: Function, inputs: Tensors, v: Tensors = None, create_graph: bool = False, strict: bool = False) -> tuple[Tensors, Tensors]:
    """The outputs of `func`, and the product of its Jacobian with `v` (in the form of the inputs): one forward derivative."""
    with enable_grad(), Level() as level:
        vectors = _vector(v, _tuple(inputs, "inputs", "jvp"), "jvp", _OF_INPUT)
        derivative = _Derivative("jvp", _moving(func, level, vectors), inputs, create_graph, strict)
        moved = level.tangents(derivative.outputs)
        products = _filled(
            moved, derivative.outputs, strict, "Output {i} of the user-provided function is independent of the input. This is not allowed "
            "in strict mode.", create_graph, "The jacobian of the user-provided function is independent of the input. This is not allowed "
            "in strict mode when create_graph=True.",
        )  # fmt: skip
        several = derivative.several_outputs
        return derivative.shown(derivative.outputs, several), derivative.shown(products, several)


def vhp(func: Function, inputs: Tensors, v: Tensors = None, create_graph: bool = False, strict: bool = False) -> tuple[Tensors, Tensors]:
    """The value of `func`, a single number, and the product of `v` (in the form of the inputs) with its Hessian: two backward passes."""
    with enable_grad():
        call = _Derivative("vhp", func, inputs, create_graph, strict)
        vectors = _vector(v, call.inputs, "vhp", _OF_INPUT)
        gradients = _gradient(call)
        found = pulled(gradients, call.inputs, vectors, create_graph)
        products = _filled(
            found, call.inputs, strict, "The output of the user-provided function is independent of input {i}. This is not allowed in "
            "strict mode.", create_graph, "The hessian of the user-provided function is independent of input {i}. This is not allowed in "
            "strict mode when create_graph=True.",
        )  # fmt: skip
        return call.shown(call.outputs, False), call.shown(products, call.several)


def hvp(func: Function, inputs: Tensors, v: Tensors = None, create_graph: bool = False, strict: bool = False) -> tuple[Tensors, Tensors]:
    """The value of `func`, a single number, and the product of its Hessian with `v`: forward mode over one backward pass."""
    with enable_grad(), Level() as level:
        vectors = _vector(v, _tuple(inputs, "inputs", "hvp"), "hvp", _OF_INPUT)
        call = _Derivative("hvp", _moving(func, level, vectors), inputs, create_graph, strict)
        gradients = _gradient(call)
        products = _filled(
            level.tangents(gradients), call.inputs, strict, "The output of the user-provided function is independent of input {i}. This "
            "is not allowed in strict mode.", create_graph, "The hessian of the user-provided function is independent of input {i}. This "
            "is not allowed in strict mode when create_graph=True.",
        )  # fmt: skip
        return call.shown(call.outputs, False), call.shown(products, call.several)


def _gradient(call: _Derivative) -> list[Any]:
    """The gradient of a scalar function, differentiable."""
    found = pulled([call.scalar()], call.inputs, [None], True)
    return _filled(
        found, call.inputs, call.strict, "The output of the user-provided function is independent of input {i}. This is not allowed in "
        "strict mode.", True, "While computing the hessian, found that the jacobian of the user-provided function with respect to input "
        "{i} is independent of the input. This is not allowed in strict mode. You should ensure that your function is twice "
        "differentiable and that the jacobian depends on the inputs (this would be violated by a linear function for example).",
    )  # fmt: skip


# --- Matrices ---------------------------------------------------------------------------------------------------------


def jacobian(
    func: Function,
    inputs: Tensors,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """The Jacobian of `func`: for each output and each input a block of the shape of the output, then of the input.

    A tuple of outputs gives a tuple, a tuple of inputs a tuple inside. `vectorize` takes all rows in one pass over a batch, or, by the
    `strategy` "forward-mode", all columns.
    """
    _check_strategy(strategy)
    if strategy == "forward-mode":
        if create_graph:
            raise Unsupported(
                'rustorch.autograd.functional.jacobian: `create_graph=True` and `strategy="forward-mode"` are not supported together '
                '(yet). Please either set `create_graph=False` or `strategy="reverse-mode"`.'
            )
        if strict:
            raise GradError(
                'rustorch.autograd.functional.jacobian: `strict=True` and `strategy="forward-mode"` are not supported together (yet). '
                'Please either set `strict=False` or `strategy="reverse-mode"`.'
            )
        if not vectorize:
            raise Unsupported(
                "Computing Jacobian using forward-AD or forward-over-reverse Hessian isonly implemented for `vectorize=True`."
            )
        return _forward_jacobian(func, inputs)
    if strict and vectorize:
        raise GradError(
            "rustorch.autograd.functional.jacobian: `strict=True` and `vectorized=True` are not supported together. Please either set "
            "`strict=False` or `vectorize=False`."
        )
    with enable_grad():
        call = _Derivative("jacobian", func, inputs, create_graph, strict)
        blocks = []
        for place, y in enumerate(call.outputs):
            row = rows_of(y, call.inputs, create=call.create) if vectorize else _row_by_row(y, place, call)
            blocks.append(call.shown(row, call.several))
        return tuple(blocks) if call.several_outputs else blocks[0]


def _check_strategy(strategy: str) -> None:
    if strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError(
            'Expected strategy to be either "forward-mode" or "reverse-mode". Hint: If your function has more outputs than inputs, '
            '"forward-mode" tends to be more performant. Otherwise, prefer to use "reverse-mode".'
        )


def _row_by_row(y: Any, place: int, call: _Derivative) -> list[Any]:
    """The blocks of one output, a backward pass for each of its elements."""
    columns: list[list[Any]] = [[] for _ in call.inputs]
    flat = y.reshape(-1)
    for k in range(flat._type.shape[0]):
        found = pulled([flat[k]], call.inputs, [None], call.create)
        message = f"Output {place} of the user-provided function is independent of input {{i}}. This is not allowed in strict mode."
        after = (
            "The jacobian of the user-provided function is independent of input {i}. This is not allowed in strict mode when "
            "create_graph=True."
        )
        for column, g in zip(columns, _filled(found, call.inputs, call.strict, message, call.create, after), strict=True):
            column.append(g)
    shapes = [(*y._type.shape, *x._type.shape) for x in call.inputs]
    return [
        stack(column).reshape(*shape) if column else full_op(0.0, x._type.with_shape(shape))
        for column, x, shape in zip(columns, call.inputs, shapes, strict=True)
    ]


def _forward_jacobian(func: Function, inputs: Tensors) -> Any:
    """The Jacobian by one forward derivative along a batch of directions."""
    directions = unit_directions([x._type for x in _tuple(inputs, "inputs", "jacobian")])
    total = directions[0]._type.shape[0]
    with enable_grad(), Level(total) as level:
        call = _Derivative("jacobian", _moving(func, level, directions), inputs, False, False)
        blocks = []
        for y, tangents in zip(call.outputs, level.tangents(call.outputs), strict=True):
            blocks.append(call.shown(blocks_of(tangents_of(y, tangents, total), y, call.inputs), call.several))
        return tuple(blocks) if call.several_outputs else blocks[0]


def hessian(
    func: Function,
    inputs: Tensors,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """The Hessian of `func`, which gives a single number: for each pair of inputs a block of the shape of the first, then of the second."""
    _check_strategy(outer_jacobian_strategy)
    several = isinstance(inputs, tuple)
    _tuple(inputs, "inputs", "hessian")

    def gradient(*variables: Any) -> Any:
        found = func(*variables)
        y = _scalar(_tuple(found, "outputs of the user-provided function", "hessian"), isinstance(found, tuple), "hessian")
        if strict:
            _check_required((y,))
        pulls = pulled([y], variables, [None], True)
        products = _filled(
            pulls, variables, strict, "Output 0 of the user-provided function is independent of input {i}. This is not allowed in strict "
            "mode.", True, "The jacobian of the user-provided function is independent of input {i}. This is not allowed in strict mode "
            "when create_graph=True.",
        )  # fmt: skip
        return tuple(products) if several else products[0]

    return jacobian(gradient, inputs, create_graph, strict, vectorize, outer_jacobian_strategy)


__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]
