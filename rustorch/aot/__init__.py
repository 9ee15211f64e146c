"""Ahead of time: a function and its derivatives as a C library, and such libraries as Python functions.

`export` compiles and needs the compiler's packages; `load` needs numpy and ctypes only. The exporter is imported when it is
first asked for: `import rustorch` need not wait for it. Its types are in `__init__.pyi`.
"""

from typing import Any

from rustorch.aot.load import Function, Library, load
from rustorch.aot.package import PackageError

__all__ = ["Exported", "Function", "Library", "PackageError", "export", "load"]


def __getattr__(name: str) -> Any:
    if name in ("Exported", "export"):
        from rustorch.aot import exporter

        return getattr(exporter, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
