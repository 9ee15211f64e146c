"""Exported packages as Python functions, through ctypes and numpy alone: no compiler and no llvmlite.

    library = load("rosen")                      # the folder, or rosen.rta
    value, gradient = library.value_and_grad(x)

A function takes numpy arrays (and Python numbers where an argument has rank 0) and returns new arrays; a result of rank 0 is a
numpy scalar, and several results are a tuple. Sizes that the package leaves open are solved from the shapes of the arguments.
Functions hold nothing between calls, so threads may call them at the same time.
"""

from __future__ import annotations

import ctypes
import inspect
import math
import os
from collections.abc import Mapping, Sequence
from keyword import iskeyword
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from rustorch.aot.package import (
    RT_E_CHECK,
    RT_E_ISA,
    RT_E_NONFINITE,
    RT_E_SHAPE,
    RT_E_WORKSPACE,
    WORK_ALIGN,
    ExportedFunction,
    Manifest,
    Package,
    PackageError,
    read,
)
from rustorch.aot.sizes import evaluate, solve, symbols
from rustorch.artifact import ArgSpec
from rustorch.errors import ArgumentError, CompilerBug, DTypeError, ShapeError, Unsupported, UserError, compose

Array = np.ndarray[Any, np.dtype[Any]]

DTYPES = {
    "bool": np.dtype("bool"),
    "i32": np.dtype("int32"),
    "i64": np.dtype("int64"),
    "f32": np.dtype("float32"),
    "f64": np.dtype("float64"),
}
_CTYPES: dict[str, Any] = {
    "bool": ctypes.c_uint8,
    "i32": ctypes.c_int32,
    "i64": ctypes.c_int64,
    "f32": ctypes.c_float,
    "f64": ctypes.c_double,
}
_BYTE = np.dtype("uint8")

# What each x86-64 level adds, in the kernel's words (psABI 1.0, table 3.1; `abm` is its LZCNT, `pni` its SSE3).
LEVEL_FLAGS = {
    "v1": {"cmov", "cx8", "fpu", "fxsr", "mmx", "sse", "sse2"},
    "v2": {"cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"},
    "v3": {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"},
    "v4": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
}


def load(path: str | os.PathLike[str]) -> Library:
    """The functions of a package: a folder, an `.rta` file, or a `manifest.json`.

    Raises `PackageError` where files are missing or damaged, and `Unsupported` where the package was written for another ABI
    or for a higher instruction set level than this machine's.
    """
    package = read(path)
    _check_level(package)
    return Library(package)


class Library:
    """A loaded package: its functions are attributes, and `functions` lists them by name."""

    manifest: Manifest
    functions: Mapping[str, Function]

    def __init__(self, package: Package) -> None:
        self._package = package
        self.manifest = package.manifest
        native = _open(package.manifest.library, package.content(package.manifest.library))
        self.functions = MappingProxyType({one.name: Function(one, native) for one in package.manifest.functions})

    @property
    def name(self) -> str:
        """The package's name."""
        return self.manifest.name

    @property
    def header(self) -> str:
        """The text of the C header."""
        return self._package.content(f"{self.name}.h").decode()

    @property
    def graph(self) -> str:
        """The text of the graph that was compiled."""
        return self._package.content(f"{self.name}.ir").decode()

    def __getattr__(self, name: str) -> Function:
        functions: Mapping[str, Function] | None = self.__dict__.get("functions")
        if functions is None:  # not yet constructed, as while it is being copied
            raise AttributeError(name)
        if name not in functions:
            raise AttributeError(f"package {self.name} has no function {name!r}: it has {', '.join(functions)}")
        return functions[name]

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.functions]

    def __repr__(self) -> str:
        return "\n".join([f"Library {self.name} (x86-64-{self.manifest.level})", *(f"  {one}" for one in self.functions.values())])


class Function:
    """One compiled function. Calling it checks the arguments, allocates the results and makes one native call."""

    def __init__(self, record: ExportedFunction, native: ctypes.CDLL) -> None:
        self.record = record
        self._inputs = [(one, DTYPES[one.dtype], f"{record.name}: {one.name}") for one in record.inputs]
        self._call = _symbol(native, record.symbol)
        self._call.restype = ctypes.c_int
        by_value = [ctypes.c_void_p if one.shape else _CTYPES[one.dtype] for one in record.inputs]
        self._call.argtypes = [*[ctypes.c_int64] * len(record.dims), *by_value, *[ctypes.c_void_p] * (len(record.outputs) + 1)]
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        names = [one.name for one in record.inputs]
        if all(name.isidentifier() and not iskeyword(name) for name in names):
            self.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in names])
        self.__name__ = self.__qualname__ = record.name
        self.__doc__ = _docstring(record)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        given = self._order(arguments, named)
        arrays = [_array(argument, dtype, one, place) for argument, (one, dtype, place) in zip(given, self._inputs, strict=True)]
        dims = _solve_dims(self.record, arrays) if self.record.dims else _check_shapes(self.record, arrays)
        results = [_aligned([evaluate(size, dims) for size in one.shape], DTYPES[one.dtype]) for one in self.record.outputs]
        work_bytes = evaluate(self.record.work_bytes, dims)
        work = _aligned([work_bytes], _BYTE) if work_bytes > 0 else (None, None)
        native = [_address(array) if one.shape else array.item() for one, array in zip(self.record.inputs, arrays, strict=True)]
        status = self._call(*dims.values(), *native, *(address for _, address in results), work[1])
        if status:
            raise _failure(self.record, status, dims)
        values = tuple(array if array.ndim else array[()] for array, _ in results)
        return values[0] if len(values) == 1 else values

    def __repr__(self) -> str:
        return _signature_text(self.record)

    def _order(self, arguments: Sequence[Any], named: Mapping[str, Any]) -> list[Any]:
        """The arguments in the order of the signature."""
        names = [one.name for one in self.record.inputs]
        if len(arguments) > len(names):
            raise ArgumentError(f"{self.record.name} takes {_count(len(names))} ({', '.join(names)}), not {len(arguments)}")
        given = dict(zip(names, arguments, strict=False))
        for name, argument in named.items():
            if name not in names or name in given:
                problem = "given twice" if name in given else f"unknown: the arguments are {', '.join(names)}"
                raise ArgumentError(f"{self.record.name}: argument {name} is {problem}")
            given[name] = argument
        if missing := [name for name in names if name not in given]:
            raise ArgumentError(f"{self.record.name} takes {_count(len(names))} ({', '.join(names)}); missing: {', '.join(missing)}")
        return [given[name] for name in names]


# Opening


def host_level(cpuinfo: str | None = None) -> str:
    """The highest x86-64 level of this machine, from the kernel's list of CPU flags; empty where there is none."""
    if cpuinfo is None:
        path = Path("/proc/cpuinfo")
        cpuinfo = path.read_text() if path.exists() else ""
    line = next((line for line in cpuinfo.splitlines() if line.startswith("flags")), "")
    flags, highest = set(line.split()), ""
    for level, needed in LEVEL_FLAGS.items():
        if not needed <= flags:
            break
        highest = level
    return highest


def _check_level(package: Package) -> None:
    level, host, levels = package.manifest.level, host_level(), list(LEVEL_FLAGS)
    if level not in levels:
        raise Unsupported(f"package {package.path}: compiled for an unknown instruction set level {level!r}")
    if host not in levels[levels.index(level) :]:
        raise Unsupported(
            compose(
                f"package {package.path}: compiled for x86-64-{level}",
                f"this machine reaches x86-64-{host}" if host else "this machine's /proc/cpuinfo shows no x86-64 level",
                todo="Export it for a lower level (v2 runs on every x86-64 processor since 2009).",
            )
        )


def _open(name: str, content: bytes) -> ctypes.CDLL:
    """The library with this content, from an anonymous file in memory.

    What was compared with the manifest is what runs, from an archive as from a folder; and the loader of the system, which
    knows libraries by their path, cannot hand out an older one that lay at the same place. The descriptor stays open: its
    number is the path, and libraries are never unloaded.
    """
    descriptor = os.memfd_create(name)
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(content)
        return ctypes.CDLL(f"/proc/self/fd/{descriptor}")
    except OSError as error:
        os.close(descriptor)
        raise PackageError(f"{name} cannot be opened as a shared library ({error})") from error


def _symbol(native: ctypes.CDLL, symbol: str) -> Any:
    try:
        return native[symbol]
    except AttributeError as error:
        raise PackageError(f"the library has no function {symbol}, which its manifest lists") from error


# Arguments


def _array(argument: Any, dtype: np.dtype[Any], record: ArgSpec, place: str) -> Array:
    """The argument as a C-contiguous, aligned array of this element type; copied only where its layout asks for it."""
    if type(argument) in (bool, int, float):
        return _scalar(argument, dtype, record, place)
    if not hasattr(argument, "__array__"):
        raise ArgumentError(f"{place} must be a numpy array{_or_number(record)}, not {type(argument).__name__}; numpy.asarray makes one")
    array = np.asarray(argument)
    if array.dtype != dtype:
        raise DTypeError(
            compose(
                f"{place} has element type {array.dtype}; the function was compiled for {dtype}",
                f"{record.name}: {_type_text(record)}",
                todo=f"Convert it: {record.name}.astype({str(dtype)!r}).",
            )
        )
    if array.flags.c_contiguous and array.flags.aligned:
        return array
    return np.array(array, order="C", copy=True)


def _scalar(number: bool | int | float, dtype: np.dtype[Any], record: ArgSpec, place: str) -> Array:
    """A Python number as a 0-d array: numbers have no element type of their own, but an int has no fraction."""
    if record.shape:
        raise ShapeError(f"{place} must be an array of shape {_shape_text(record.shape)}, not the number {number!r}")
    fits = {"b": (bool,), "i": (int,), "f": (int, float)}[dtype.kind]
    if type(number) not in fits:
        raise DTypeError(f"{place} must be a {dtype} number, not {number!r}")
    try:
        with np.errstate(over="raise"):
            return np.array(number, dtype)
    except (OverflowError, FloatingPointError) as error:
        raise ArgumentError(f"{place}: {number!r} is out of the range of {dtype}") from error


def _solve_dims(function: ExportedFunction, arrays: Sequence[Array]) -> dict[str, int]:
    """The sizes that the shapes give to the symbolic dimensions, in their order.

    Each symbol is read off the first size that is the symbol alone, or else off one that is linear in it; every other size is
    then compared.
    """
    found: dict[str, int] = {}
    origin: dict[str, str] = {}
    places = [
        (size, array.shape[axis], one.name, axis)
        for one, array in zip(function.inputs, arrays, strict=True)
        if len(one.shape) == array.ndim
        for axis, size in enumerate(one.shape)
        if isinstance(size, str)
    ]
    open_places = sorted(places, key=lambda entry: entry[0] not in function.dims)  # bare symbols first; the sort is stable
    progress = True
    while progress and len(found) < len(function.dims):
        progress = False
        for size, length, name, axis in open_places:
            unknown = symbols(size) - found.keys()
            if len(unknown) != 1:
                continue
            symbol = min(unknown)
            solution = solve(size, symbol, length, found)
            if solution is not None and solution >= 0:
                found[symbol], origin[symbol], progress = solution, f"{name} axis {axis}", True
    _check_shapes(function, arrays, found, origin)
    if missing := [dim for dim in function.dims if dim not in found]:
        raise ShapeError(
            compose(
                f"{function.name}: the shapes of the arguments do not fix {', '.join(missing)}",
                *(f"{one.name}: {_type_text(one)}, given {_shape_text(array.shape)}" for one, array in _pairs(function, arrays)),
            )
        )
    return {dim: found[dim] for dim in function.dims}


def _check_shapes(
    function: ExportedFunction, arrays: Sequence[Array], dims: Mapping[str, int] | None = None, origin: Mapping[str, str] | None = None
) -> dict[str, int]:
    """Compare every shape with the signature, as far as the dimensions are known; those dimensions again."""
    dims, origin = dims or {}, origin or {}
    for one, array in _pairs(function, arrays):
        if array.ndim != len(one.shape):
            raise ShapeError(
                compose(
                    f"{function.name}: {one.name} has rank {array.ndim} (shape {_shape_text(array.shape)}), not {len(one.shape)}",
                    f"{one.name}: {_type_text(one)}",
                )
            )
        for axis, (size, length) in enumerate(zip(one.shape, array.shape, strict=True)):
            if symbols(size) <= dims.keys() and length != evaluate(size, dims):
                raise ShapeError(
                    compose(
                        f"{function.name}: {one.name} has length {length} on axis {axis}, not {evaluate(size, dims)} "
                        f"(shape {_shape_text(array.shape)})",
                        f"{one.name}: {_type_text(one)}",
                        *(f"{symbol} = {dims[symbol]} by {origin[symbol]}" for symbol in sorted(symbols(size))),
                    )
                )
    return dict(dims)


def _pairs(function: ExportedFunction, arrays: Sequence[Array]) -> list[tuple[ArgSpec, Array]]:
    return list(zip(function.inputs, arrays, strict=True))


def _aligned(shape: Sequence[int], dtype: np.dtype[Any]) -> tuple[Array, int]:
    """A new array whose elements start at a multiple of 64 bytes, and its address."""
    memory = np.empty(math.prod(shape) * dtype.itemsize + WORK_ALIGN, np.uint8)
    address = _address(memory)
    start = -address % WORK_ALIGN
    return np.ndarray(tuple(shape), dtype, memory, start), address + start


def _address(array: Array) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


# Texts


def _failure(function: ExportedFunction, status: int, dims: Mapping[str, int]) -> Exception:
    """The exception for a nonzero status."""
    at = f" for {', '.join(f'{name} = {size}' for name, size in dims.items())}" if dims else ""
    if status >= RT_E_CHECK:
        number = status - RT_E_CHECK
        message = function.checks[number] if number < len(function.checks) else "no message is recorded"
        return ArgumentError(f"{function.name}{at}: check {number} failed: {message}")
    if status == RT_E_SHAPE:
        return ShapeError(f"{function.name}{at}: the compiled function refuses these sizes")
    if status == RT_E_WORKSPACE:
        return CompilerBug(f"{function.name}{at}: the workspace of {evaluate(function.work_bytes, dims)} bytes was refused")
    if status == RT_E_ISA:
        return Unsupported(f"{function.name}: this processor lacks the instruction set level of the compiled code")
    if status == RT_E_NONFINITE:
        return UserError(f"{function.name}{at}: a result is infinite or not a number")
    return CompilerBug(f"{function.name}{at}: status {status} has no meaning")


def _docstring(function: ExportedFunction) -> str:
    arguments = [f"    {one.name}: {_type_text(one)}" for one in function.inputs]
    results = [f"    {one.name}: {_type_text(one)}" for one in function.outputs]
    parts = [_signature_text(function), function.doc, "\n".join(["Arguments:", *arguments]), "\n".join(["Results:", *results])]
    return "\n\n".join(part for part in parts if part)


def _signature_text(function: ExportedFunction) -> str:
    results = [_type_text(one) for one in function.outputs]
    left = ", ".join(f"{one.name}: {_type_text(one)}" for one in function.inputs)
    return f"{function.name}({left}) -> {results[0] if len(results) == 1 else '(' + ', '.join(results) + ')'}"


def _type_text(record: ArgSpec) -> str:
    return f"{record.dtype}[{', '.join(map(str, record.shape))}]"


def _shape_text(shape: Sequence[int | str]) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def _or_number(record: ArgSpec) -> str:
    return "" if record.shape else " or a number"


def _count(arguments: int) -> str:
    return f"{arguments} argument{'' if arguments == 1 else 's'}"
