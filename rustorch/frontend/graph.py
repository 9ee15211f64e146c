"""The graph of a tensor as PyTorch shows it: `grad_fn`, nodes, edges."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

from rustorch.errors import ArgumentError, GradError, compose
from rustorch.frontend.base import TensorBase, recorded
from rustorch.frontend.course import Spot, operation_at
from rustorch.frontend.emission import Builder, Value, operation
from rustorch.frontend.flow import flow_of, kinds, recall, saved_places, slots
from rustorch.frontend.hooks import Hook, Observers, RemovableHandle, place_of
from rustorch.frontend.node_names import node_name
from rustorch.frontend.operation import Operation
from rustorch.frontend.pull import check_history
from rustorch.frontend.segment import GONE
from rustorch.frontend.state import defaults, local
from rustorch.frontend.storage import is_leaf
from rustorch.frontend.structure import changed


@operation(name="through", plural=True)
def through(b: Builder, inputs: Sequence[Value]) -> tuple[Value, ...]:
    """Tensors as results of one node, for hooks on it."""
    return tuple(inputs)


class Node:
    """What gradients pass on their way: the operation behind a tensor, or the accumulation into a leaf."""

    def name(self) -> str:
        """The name, such as `MulBackward0`."""
        raise NotImplementedError

    @property
    def next_functions(self) -> tuple[tuple[Node | None, int], ...]:
        """The nodes that gradients go on to, each with the number of the result that they come in at; None where none goes."""
        raise NotImplementedError

    def _observers(self) -> Observers:
        raise NotImplementedError

    @property
    def metadata(self) -> dict[Any, Any]:
        """A dictionary for whatever belongs to the node."""
        return self._observers().metadata

    def register_prehook(self, fn: Hook) -> RemovableHandle:
        """Call `fn(grad_outputs)` before gradients pass the node; the tuple that it returns, if not None, goes in instead."""
        defaults.hooked = True
        return RemovableHandle(self._observers().before, fn, self._changed)

    def register_hook(self, fn: Hook) -> RemovableHandle:
        """Call `fn(grad_inputs, grad_outputs)` after gradients have passed; the tuple that it returns, if not None, goes on instead.

        `grad_inputs` has an entry for each of `next_functions`, None where no gradient goes.
        """
        defaults.hooked = True
        return RemovableHandle(self._observers().after, fn, self._changed)

    def _changed(self) -> None:
        """Take notice that a hook has come or gone."""

    def __repr__(self) -> str:
        return f"<{self.name()} object at {hex(hash(self))}>"


class OperationNode(Node):
    """The operation behind a tensor."""

    def __init__(self, segment: Any, first: int) -> None:
        self._segment, self._first = segment, first

    @property
    def _spot(self) -> Spot:
        return operation_at(self._segment, self._first)

    def _observers(self) -> Observers:
        found: Observers = self._segment.nodes.setdefault(self._first, Observers())
        return found

    def name(self) -> str:
        """The name that PyTorch has for the operation, such as `MulBackward0`."""
        spot = self._spot
        known = kinds(self._segment)
        return node_name(spot.operation, spot.key, [known[n].type for n in spot.operation.operands(spot.key)])

    @property
    def next_functions(self) -> tuple[tuple[Node | None, int], ...]:
        """The nodes that gradients go on to, each with the number of the result that they come in at; None where none goes."""
        spot, known = self._spot, kinds(self._segment)
        operands = spot.operation.operands(spot.key)
        numbers = [None if i is None else operands[i] for i in slots(spot, known)]
        return tuple((None, 0) if n is None or not known[n].grad else edge_at(self._segment, n) for n in numbers)

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_saved_"):
            raise AttributeError(f"'{self.name()}' object has no attribute '{name}'")
        return saved(self._segment, self._spot, name.removeprefix("_saved_"), self)

    def __dir__(self) -> list[str]:
        spot = self._spot
        return [*super().__dir__(), *(f"_saved_{name}" for name in saved_names(self._segment, spot))]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OperationNode) and self._segment is other._segment and self._first == other._first

    def __hash__(self) -> int:
        return hash((id(self._segment), self._first))


class AccumulateGrad(Node):
    """Where gradients end: at the leaf `variable`."""

    def __init__(self, variable: TensorBase) -> None:
        self.variable = variable

    def name(self) -> str:
        """The class's name, as PyTorch's."""
        return "AccumulateGrad"

    @property
    def next_functions(self) -> tuple[tuple[Node | None, int], ...]:
        """Nothing."""
        return ()

    def _observers(self) -> Observers:
        extra = self.variable._more()
        if extra.node is None:
            extra.node = Observers()
        found: Observers = extra.node
        return found

    def _changed(self) -> None:
        changed()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AccumulateGrad) and self.variable is other.variable

    def __hash__(self) -> int:
        return id(self.variable)


class GradientEdge(NamedTuple):
    """A place in the graph where a gradient comes in: result `output_nr` of what `node` stands for."""

    node: Node
    output_nr: int
    ownership_token: Any = None


# --- From tensors to nodes --------------------------------------------------------------------------------------------


def edge_at(segment: Any, number: int) -> tuple[Node | None, int]:
    """The node of a value of a segment, and which of its results the value is; None where no gradient goes."""
    source = segment.sources.get(number)
    if source is not None:
        tensor, origin = source
        return (AccumulateGrad(tensor), 0) if origin is None else edge_at(*origin)
    spot = operation_at(segment, number)
    if spot.operation.name in ("input", "number"):
        return None, 0
    return _shown(segment, spot.first), number - spot.first


def _shown(segment: Any, first: int) -> OperationNode:
    """The node of an operation: the one that somebody holds, if any."""
    known = segment.nodes.get(first)
    node = known.shown() if known is not None and known.shown is not None else None
    if node is None:
        node = OperationNode(segment, first)
        segment.nodes.setdefault(first, Observers()).shown = weakref.ref(node)
    found: OperationNode = node
    return found


def grad_fn(input: TensorBase) -> Any:
    """The operation that computed the tensor, or None for a leaf."""
    if not input._requires_grad or is_leaf(input):
        return None
    return edge_at(*place_of(input))[0]


def output_nr(input: TensorBase) -> int:
    """Which result of its operation a tensor is."""
    return 0 if not input._requires_grad or is_leaf(input) else edge_at(*place_of(input))[1]


def get_gradient_edge(tensor: TensorBase) -> GradientEdge:
    """Where gradients of a tensor come in."""
    if not tensor._requires_grad:
        raise GradError("It is not possible to get the gradient edge for a Tensor that does not require gradients")
    if is_leaf(tensor):
        return GradientEdge(AccumulateGrad(tensor), 0)
    node, number = edge_at(*place_of(tensor))
    assert node is not None
    return GradientEdge(node, number)


def tensor_at(edge: Any) -> Any:
    """A tensor that stands for an edge, where gradients are asked for or begin; anything else is given back."""
    if not isinstance(edge, GradientEdge):
        return edge
    node = edge.node
    if isinstance(node, AccumulateGrad):
        return node.variable
    if not isinstance(node, OperationNode):
        raise ArgumentError(f"the node of a GradientEdge must be a Node, not {type(node).__name__}")
    number = node._first + edge.output_nr
    t = recorded(node._segment, number, kinds(node._segment)[number].type, True)
    t._origin = (node._segment, number)
    return t


# --- Saved values -----------------------------------------------------------------------------------------------------


def saved_names(segment: Any, spot: Spot) -> dict[str, int]:
    """The names of the values that an operation saves, and their numbers: operands by their parameters' names, `result` otherwise."""
    known = kinds(segment)
    operands = spot.operation.operands(spot.key)
    given = tuple(known[spot.first + i].is_float for i in range(spot.count))
    flow = flow_of(spot.operation, spot.key, [known[n] for n in operands], given)
    names: dict[str, int] = {}
    for (what, place), number in zip(flow.saved, saved_places(spot, flow), strict=True):
        name = _operand_name(spot, place) if what == "operand" else "result" if spot.count == 1 else f"result{place}"
        names.setdefault(name, number)
    return names


def _operand_name(spot: Spot, place: int) -> str:
    """The name of the parameter that an operand was given for."""
    operation, key = spot.operation, spot.key
    if not isinstance(operation, Operation):
        return f"operand{place}"
    at = 0
    for i, numbers in operation.filled(key):
        if place < at + len(numbers):
            name = list(operation.signature.parameters)[i - 1]
            return {"input": "self"}.get(name, name) if type(key[i]) is int else f"{name}{place - at}"
        at += len(numbers)
    return f"operand{place}"


def saved(segment: Any, spot: Spot, name: str, node: OperationNode) -> Any:
    """A value that an operation saves for its derivative, by its name; refused once a backward pass has given it up."""
    names = saved_names(segment, spot)
    number = names.get(name)
    if number is None:
        listed = ", ".join(f"_saved_{n}" for n in names) or "nothing"
        raise AttributeError(compose(f"'{node.name()}' object has no attribute '_saved_{name}'", f"it saves {listed}"))
    check_history(segment, 1 << spot.first)
    source = segment.sources.get(number)
    if source is not None and source[1] is None:
        return source[0]
    now = local.segment
    (number,) = recall(segment, (number,), False)
    value = now.values[number]
    if value is GONE:  # the tensor has moved on to another value
        value = now.values[number] = recorded(now, number, kinds(now)[number].type, False)
    return value
