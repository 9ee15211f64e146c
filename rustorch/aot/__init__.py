"""Ahead of time: a function and its derivatives as a C library, and such libraries as Python functions.

`export` compiles and needs the compiler's packages; `load` needs numpy and ctypes only. The functions stand in front of the
modules of the same names.
"""

from rustorch.aot.export import Exported, export
from rustorch.aot.load import Function, Library, load
from rustorch.aot.package import PackageError

__all__ = ["Exported", "Function", "Library", "PackageError", "export", "load"]
