"""What traced programs depend on besides tensors: attributes of objects, such as a module's `training`.

Who keeps such an attribute calls `watch` where a program reads it, and `changed` where it is set. A call of a compiled function
then sees by one number that nothing has changed, and looks at the attributes only where it has.
"""

from __future__ import annotations

from typing import Any

from rustorch.frontend.state import defaults, local


def watch(owner: Any, *names: str) -> None:
    """Let a function that is being traced depend on attributes: where one has another value, the function is traced anew."""
    segment = local.segment
    if not segment.writes_memory:
        for name in names:
            segment.watch(owner, name)


def changed() -> None:
    """Say that a watched attribute may have changed."""
    defaults.epoch += 1
