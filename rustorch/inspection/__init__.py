"""Looking at what the compiler makes of a function: every stage as text, as records, as a graph, as a page.

`Inspection` is imported when it is first asked for: `import rustorch` need not wait for it. Its type is in `__init__.pyi`.
"""

from typing import Any

from rustorch.inspection.function import inspect

__all__ = ["Inspection", "inspect"]


def __getattr__(name: str) -> Any:
    if name == "Inspection":
        from rustorch.inspection.inspection import Inspection

        return Inspection
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
