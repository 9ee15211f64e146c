"""What can go wrong, as three kinds: the user's mistake, our bug, and what is not built yet.

Every message has one form: what was asked, what was found, the user's line, what to do. The classes inherit from the
exception that PyTorch users expect, so `except RuntimeError` keeps working after porting.
"""

from __future__ import annotations


class UserError(Exception):
    """A mistake in the user's program, raised on the user's line."""


class ShapeError(UserError, RuntimeError, ValueError):
    """Shapes, ranks or sizes that do not fit together."""


class DTypeError(UserError, RuntimeError, TypeError):
    """An element type that the operation does not take."""


class ArgumentError(UserError, TypeError, ValueError):
    """An argument of the wrong kind, or a value outside its range."""


class DimensionError(UserError, IndexError, ValueError):
    """A dimension or an index out of range."""


class LinAlgError(UserError, RuntimeError):
    """A matrix for which a decomposition or a solution does not exist, or was not found."""


class TraceError(UserError, RuntimeError):
    """Python control flow or a side effect that a traced function cannot have."""


class GradError(UserError, RuntimeError):
    """A derivative that was asked for and does not exist."""


class ParseError(UserError, ValueError):
    """Text that is not a graph; the message points at the character."""


class Unsupported(UserError, NotImplementedError):
    """Not built yet; the message names the nearest thing that works."""


class CompilerBug(Exception):
    """A mistake of ours. The message names the pass, the node and the user's line, and where the graph was dumped."""


class SideEffectWarning(UserWarning):
    """A traced function did something that will not happen in every call."""


def compose(asked: str, *found: str, at: str = "", todo: str = "") -> str:
    """The four parts of a message as text: what was asked, what was found, the user's line, what to do."""
    lines = [asked, *(f"  {line}" for line in found)]
    if at:
        lines.append(f"  at {at}")
    if todo:
        lines.append(f"  {todo}")
    return "\n".join(lines)
