"""A compiled graph as Python sees it: checked arrays in, arrays out, through ctypes.

The emitted entry (runtime/entry.py) is the fast way in; this one needs no knowledge of anybody's memory layout, takes every
array that has the right type, and says precisely what is wrong with the others.
"""

from __future__ import annotations

import ast
import ctypes
import functools
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rustorch.artifact import ArgSpec, Artifact
from rustorch.errors import ArgumentError, CompilerBug, DimensionError, DTypeError, ShapeError, compose
from rustorch.runtime import buffer, callouts
from rustorch.runtime.buffer import READABLE, WRITEABLE, Array
from rustorch.runtime.loader import Loaded

_Native = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
_Sizes = Mapping[str, int]


class Executable:
    """A loaded artifact. `run` may be called from several threads at once."""

    def __init__(self, artifact: Artifact, loaded: Loaded, executor: int = 0) -> None:
        self.artifact = artifact
        self.loaded = loaded
        self.executor = executor
        self._native = _Native(loaded.address(artifact.symbol))
        self._inputs = [_Buffer(spec) for spec in artifact.inputs]
        self._outputs = [_Buffer(spec) for spec in artifact.outputs]
        self._dtypes = [one.dtype for one in self._inputs]
        self._solvers = _solvers(artifact)
        self._work = size_function(artifact.work_bytes)
        self._pack = struct.Struct(f"{len(self._inputs) + len(self._outputs)}P").pack
        self._calls: dict[tuple[tuple[int, ...], ...], _Call] = {}

    def run(self, arrays: Sequence[Array], outputs: Sequence[Array] | None = None) -> list[Array]:
        """The outputs for these inputs, in new arrays or in `outputs`.

        Inputs that are strided or misaligned are copied. Raises `ArgumentError`, `DTypeError` or `ShapeError` naming the input
        or output that does not fit; `DimensionError` (an `IndexError`) where an index inside the graph is out of range, and what a
        callout raises (then `outputs` hold no result).
        """
        if len(arrays) != len(self._dtypes):
            raise ArgumentError(self._asked(f"takes {len(self._inputs)} inputs", f"got {len(arrays)}", _listed(self._inputs)))
        ready = list(arrays)
        for place, (x, dtype) in enumerate(zip(ready, self._dtypes, strict=True)):
            if type(x) is not np.ndarray or x.dtype is not dtype or x.flags.num & READABLE != READABLE:
                ready[place] = self._accept(place, x)
        shapes = tuple([x.shape for x in ready])
        call = self._calls.get(shapes) or self._first_call(shapes, ready)
        results = [new() for new in call.new] if outputs is None else self._given(outputs, call.sizes, ready)
        args = self._pack(*buffer.addresses(ready + results))
        code = self._native(call.dims, args, buffer.workspace(call.work) if call.work else None, self.executor)
        if code:
            raise self._failure(code)
        return results

    __call__ = run

    def _accept(self, place: int, x: object) -> Array:
        """An input that is not read in place: a copy, or the error that says why not."""
        expected = self._inputs[place]
        if not isinstance(x, np.ndarray):
            raise ArgumentError(self._asked(f"input {expected} must be a numpy array", f"got {type(x).__name__}"))
        if x.dtype != expected.dtype:
            raise DTypeError(self._asked(f"input {expected} has the wrong element type", f"got {_described(x)}"))
        return buffer.contiguous(x, expected.dtype)

    def _first_call(self, shapes: tuple[tuple[int, ...], ...], ready: Sequence[Array]) -> _Call:
        """What calls with these input shapes need; kept for the next one."""
        sizes = self._solve(ready)
        new = [one.maker(sizes) for one in self._outputs]
        dims = struct.pack(f"{len(sizes)}q", *sizes.values()) if sizes else None
        call = _Call(sizes, dims, self._work(sizes), new)
        if len(self._calls) >= _REMEMBERED:
            self._calls.clear()
        self._calls[shapes] = call
        return call

    def _solve(self, ready: Sequence[Array]) -> _Sizes:
        """The values of the symbolic dimensions, in the artifact's order; every shape is checked."""
        for x, expected in zip(ready, self._inputs, strict=True):
            if x.ndim != len(expected.sizes):
                raise ShapeError(self._asked(f"input {expected} has the wrong number of dimensions", f"got {_described(x)}"))
        sizes = {name: ready[place].shape[axis] for name, place, axis in self._solvers}
        for x, expected in zip(ready, self._inputs, strict=True):
            if x.shape != expected.shape(sizes):
                raise ShapeError(self._conflict(x, expected, sizes, ready))
        return sizes

    def _conflict(self, x: Array, expected: _Buffer, sizes: _Sizes, ready: Sequence[Array]) -> str:
        """The message for a shape that does not agree with the sizes that other inputs gave."""
        axis = next(k for k, (found, size) in enumerate(zip(x.shape, expected.shape(sizes), strict=True)) if found != size)
        taken = [
            f"{name} = {sizes[name]} is the size of axis {where} of {self._inputs[place].spec.name}, {_described(ready[place])}"
            for name, place, where in self._solvers
        ]
        return self._asked(f"input {expected} has the wrong size in axis {axis}", f"got {_described(x)}", *taken)

    def _given(self, outputs: Sequence[Array], sizes: _Sizes, ready: Sequence[Array]) -> list[Array]:
        """The caller's output arrays, checked."""
        if len(outputs) != len(self._outputs):
            raise ArgumentError(self._asked(f"gives {len(self._outputs)} outputs", f"got room for {len(outputs)}", _listed(self._outputs)))
        writeable = READABLE | WRITEABLE
        for place, (out, expected) in enumerate(zip(outputs, self._outputs, strict=True)):
            if not isinstance(out, np.ndarray):
                raise ArgumentError(self._asked(f"output {expected} must be a numpy array", f"got {type(out).__name__}"))
            if out.dtype != expected.dtype:
                raise DTypeError(self._asked(f"output {expected} has the wrong element type", f"got {_described(out)}"))
            if out.shape != expected.shape(sizes):
                raise ShapeError(self._asked(f"output {expected} has the wrong shape", f"got {_described(out)}", _values(sizes)))
            if out.flags.num & writeable != writeable:
                raise ArgumentError(self._asked(f"output {expected} must be writeable, aligned and in C order", f"got {_described(out)}"))
            if any(np.may_share_memory(out, other) for other in [*ready, *outputs[:place]]):
                raise ArgumentError(self._asked(f"output {expected} overlaps an input or another output"))
        return list(outputs)

    def _failure(self, code: int) -> BaseException:
        checks = self.artifact.checks
        error = callouts.failure() if code == len(checks) and self.artifact.callouts else None
        if error is not None:
            return error
        if 0 < code <= len(checks):
            return DimensionError(checks[code - 1])
        return CompilerBug(self._asked(f"returned {code}", f"it has {len(checks)} checks"))

    def _asked(self, what: str, *found: str) -> str:
        return compose(f"{self.artifact.symbol}: {what}", *filter(None, found))


@dataclass(frozen=True, slots=True)
class _Call:
    """What follows from the shapes of the inputs."""

    sizes: _Sizes
    dims: bytes | None
    work: int
    new: list[Callable[[], Array]]
    """Makers of the outputs."""


_REMEMBERED = 64
"""Shapes of inputs that an executable remembers."""


class _Buffer:
    """One input or output as `run` needs it."""

    def __init__(self, spec: ArgSpec) -> None:
        self.spec = spec
        self.dtype = buffer.dtype_named(spec.dtype)
        self.sizes = [size_function(size) for size in spec.shape]

    def shape(self, sizes: _Sizes) -> tuple[int, ...]:
        return tuple([size(sizes) for size in self.sizes])

    def maker(self, sizes: _Sizes) -> Callable[[], Array]:
        """A function that makes a new array."""
        shape = self.shape(sizes)
        plain = math.prod(shape) * self.dtype.itemsize < buffer.PLAIN_BYTES
        return functools.partial(np.empty if plain else buffer.empty, shape, self.dtype)

    def __str__(self) -> str:
        return f"{self.spec.name}: {self.spec.dtype}[{', '.join(map(str, self.spec.shape))}]"


def _solvers(artifact: Artifact) -> list[tuple[str, int, int]]:
    """For each dimension an input and an axis of exactly that size."""
    found: dict[str, tuple[int, int]] = {}
    for place, spec in enumerate(artifact.inputs):
        for axis, size in enumerate(spec.shape):
            if isinstance(size, str) and size in artifact.dims:
                found.setdefault(size, (place, axis))
    missing = [name for name in artifact.dims if name not in found]
    if missing:
        raise CompilerBug(f"{artifact.symbol}: no input has a dimension of size {missing[0]}, so it cannot be known")
    return [(name, *found[name]) for name in artifact.dims]


def size_function(size: int | str) -> Callable[[_Sizes], int]:
    """A size expression, such as `2*n + 1` or `floordiv(n, 2)`, as a function of the dimensions' values."""
    if isinstance(size, int):
        return lambda sizes: size
    if size.isidentifier():
        return lambda sizes: sizes[size]
    tree = ast.parse(size, mode="eval")
    for node in ast.walk(tree):
        if not isinstance(node, _ALLOWED) or (isinstance(node, ast.Call) and ast.unparse(node.func) not in _FUNCTIONS):
            raise CompilerBug(f"not a size: {size!r}")
    code = compile(tree, f"<size {size}>", "eval")
    return lambda sizes: int(eval(code, _FUNCTIONS, sizes))


_ALLOWED = (ast.Expression, ast.BinOp, ast.UnaryOp, ast.operator, ast.USub, ast.Constant, ast.Name, ast.Load, ast.Call)
_FUNCTIONS: dict[str, Any] = {
    "__builtins__": {},
    "floordiv": lambda a, b: a // b,
    "mod": lambda a, b: a % b,
    "min": min,
    "max": max,
}


def _described(x: Array) -> str:
    """Type and shape of an array, and what is unusual about it."""
    name = buffer.SHORT_NAMES.get(x.dtype) if x.dtype.isnative else None
    text = f"{name or x.dtype}[{', '.join(map(str, x.shape))}]"
    if x.flags.num & READABLE != READABLE:
        text += " (strided)" if x.flags.aligned else " (misaligned)"
    return text if x.flags.writeable else f"{text} (read only)"


def _listed(buffers: Sequence[_Buffer]) -> str:
    return ", ".join(map(str, buffers))


def _values(sizes: _Sizes) -> str:
    return ", ".join(f"{name} = {value}" for name, value in sizes.items())
