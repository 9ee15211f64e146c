from rustorch.aot.exporter import Exported, export
from rustorch.aot.load import Function, Library, load
from rustorch.aot.package import PackageError

__all__ = ["Exported", "Function", "Library", "PackageError", "export", "load"]
