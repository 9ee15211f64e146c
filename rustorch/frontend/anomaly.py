"""Anomaly mode: a backward pass that makes NaN says where, with the line of the forward operation, the element and its operands.

While it is on, every step of a backward pass is followed by a node `checked`, in recorded programs and traced ones. Programs with such
nodes are run by the numpy references, which look at every value; when the pass is over, what they found first is raised.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

from rustorch.errors import GradError
from rustorch.frontend.applied import APPLIED
from rustorch.frontend.node_names import node_name
from rustorch.frontend.operation import Operation, operation
from rustorch.frontend.segment import Building, tensor_type
from rustorch.frontend.state import defaults
from rustorch.ir.builder import Builder
from rustorch.ir.graph import Node, Value
from rustorch.ops.checked import take_anomaly

OnFlow = Callable[[Node, int, Value, str, Sequence[Value]], Value]


def set_mode(on: bool, check_nan: bool) -> None:
    """Switch the mode, for all threads."""
    defaults.anomaly, defaults.checks_nan = on, check_nan
    defaults.epoch += 1  # native entries ask again


class set_detect_anomaly:
    """Switch anomaly mode at once; as a context, switch it back at the end."""

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self.before = defaults.anomaly, defaults.checks_nan
        set_mode(mode, check_nan)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: object) -> None:
        set_mode(*self.before)


class detect_anomaly:
    """Anomaly mode inside: `with detect_anomaly():`. Programs with backward passes run slowly there.

    A NaN that a backward pass makes raises, with the name of the function that made it, the line of its forward operation, the element
    and what the operands are there. With `check_nan=False` nothing is looked at.
    """

    def __init__(self, check_nan: bool = True) -> None:
        self.check_nan = check_nan
        warnings.warn(
            "Anomaly Detection has been enabled. This mode will increase the runtime and should only be enabled for debugging.",
            stacklevel=2,
        )

    def __enter__(self) -> None:
        self.before = defaults.anomaly, defaults.checks_nan
        set_mode(True, self.check_nan)

    def __exit__(self, *exception: object) -> None:
        set_mode(*self.before)


def is_anomaly_enabled() -> bool:
    """Whether anomaly mode is on."""
    return defaults.anomaly


def is_anomaly_check_nan_enabled() -> bool:
    """Whether it looks for NaN."""
    return defaults.checks_nan


def checks() -> bool:
    """Whether backward passes are to be checked now."""
    return defaults.anomaly and defaults.checks_nan


def raise_anomaly() -> None:
    """Raise what was found since the last call."""
    message = take_anomaly()
    if message is not None:
        raise GradError(message)


@operation
def checked(b: Builder, x: Value, others: Sequence[Value], function: str, output: int, line: str) -> Value:
    """The tensor, with a note where it has NaN."""
    found: Value = b.checked(x, *others, function=function, output=output, line=line, mask="")
    return found


def checker(building: Building) -> OnFlow | None:
    """What a backward pass through a segment calls with each gradient that flows on; None where the mode is off."""
    if not checks():
        return None
    b = building.b
    place = {id(node): i for i, node in enumerate(b.nodes)}

    def check(node: Node, index: int, flow: Value, mask: str, others: Sequence[Value]) -> Value:
        function, output = _named(building, place.get(id(node)), node, index)
        line = str(node.location) if node.location.line else ""
        checked: Value = b.checked(flow, *others, function=function, output=output, line=line, mask=mask)
        return checked

    return check


def _named(building: Building, place: int | None, node: Node, index: int) -> tuple[str, int]:
    """The name of the function that a gradient comes from, and which of its results it is: the user's operation, where the operand is
    the operation's, else a part of it by the name of its op."""
    if place is not None:
        number = building.first_of(place)
        operation, key = building.made[number] if number < len(building.made) else (None, ())
        if operation is not None and (isinstance(operation, Operation) or operation is APPLIED):
            operands = building.values(operation.operands(key))
            if node.operands[index] in operands:
                return node_name(operation, key, [tensor_type(v) for v in operands]), operands.index(node.operands[index])
    words = node.op.name.split("_")
    return "".join(w[:1].upper() + w[1:] for w in words) + "Backward0", index


__all__ = ["detect_anomaly", "is_anomaly_check_nan_enabled", "is_anomaly_enabled", "set_detect_anomaly"]
