"""The expansions, compiled as LLVM vectors and run over arrays, against numpy and mpmath."""

from __future__ import annotations

import ctypes
import functools
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from rustorch.codegen.target import LEVELS, Target, host_level

SCALARS = {"f32": "float", "f64": "double", "i32": "i32", "i64": "i64", "i1": "i1"}


@dataclass(frozen=True)
class Lanes:
    name: str
    dtype: str


@dataclass
class TextBuilder:
    """The loop-level builder's vector operations as LLVM text, `lanes` wide."""

    lanes: int
    has_fma: bool
    lines: list[str] = field(default_factory=list)
    declared: set[str] = field(default_factory=set)
    count: int = 0
    block: str = "body"

    def __getattr__(self, name: str) -> Callable[..., Lanes]:
        raise AttributeError(name)

    def vector(self, dtype: str) -> str:
        return f"<{self.lanes} x {SCALARS[dtype]}>"

    def let(self, dtype: str, text: str) -> Lanes:
        self.count += 1
        self.lines.append(f"  %v{self.count} = {text}")
        return Lanes(f"%v{self.count}", dtype)

    def const(self, value: Any, like: Lanes) -> Lanes:
        if like.dtype in ("f32", "f64"):
            number = struct.unpack("f", struct.pack("f", value))[0] if like.dtype == "f32" else float(value)
            text = f"0x{struct.unpack('<Q', struct.pack('<d', number))[0]:016X}"
        else:
            assert isinstance(value, int)
            width = int(like.dtype[1:])
            assert -(1 << (width - 1)) <= value < 1 << (width - 1)
            text = str(value)
        return Lanes(f"splat ({SCALARS[like.dtype]} {text})", like.dtype)

    def operands(self, *xs: Any) -> list[Lanes]:
        like = next(x for x in xs if isinstance(x, Lanes))
        values = [x if isinstance(x, Lanes) else self.const(x, like) for x in xs]
        assert len({x.dtype for x in values}) == 1, values
        return values

    def element(self, x: Lanes) -> str:
        return x.dtype

    def call(self, name: str, *xs: Any) -> Lanes:
        values = self.operands(*xs)
        dtype = values[0].dtype
        v = self.vector(dtype)
        function = f"@llvm.{name}.v{self.lanes}{dtype}"
        self.declared.add(f"declare {v} {function}({', '.join([v] * len(values))})")
        return self.let(dtype, f"call {v} {function}({', '.join(f'{v} {x.name}' for x in values)})")

    def binary(self, float_op: str | None, int_op: str | None, x: Any, y: Any) -> Lanes:
        x, y = self.operands(x, y)
        op = float_op if x.dtype[0] == "f" else int_op
        assert op is not None
        return self.let(x.dtype, f"{op} {self.vector(x.dtype)} {x.name}, {y.name}")

    def compare(self, float_op: str, int_op: str, x: Any, y: Any) -> Lanes:
        x, y = self.operands(x, y)
        op = f"fcmp {float_op}" if x.dtype[0] == "f" else f"icmp {int_op}"
        return self.let("i1", f"{op} {self.vector(x.dtype)} {x.name}, {y.name}")

    def select(self, mask: Lanes, x: Any, y: Any) -> Lanes:
        x, y = self.operands(x, y)
        v = self.vector(x.dtype)
        return self.let(x.dtype, f"select {self.vector('i1')} {mask.name}, {v} {x.name}, {v} {y.name}")

    def fma(self, x: Any, y: Any, z: Any) -> Lanes:
        assert self.has_fma
        return self.call("fma", x, y, z)

    def bitcast(self, x: Lanes, dtype: str) -> Lanes:
        return self.let(dtype, f"bitcast {self.vector(x.dtype)} {x.name} to {self.vector(dtype)}")

    def convert(self, x: Lanes, dtype: str) -> Lanes:
        op = {"f32f64": "fpext", "f64f32": "fptrunc", "f32i32": "fptosi", "i32f32": "sitofp", "i32i64": "sext", "i64i32": "trunc"}
        return self.let(dtype, f"{op[x.dtype + dtype]} {self.vector(x.dtype)} {x.name} to {self.vector(dtype)}")

    def neg(self, x: Lanes) -> Lanes:
        return self.let(x.dtype, f"fneg {self.vector(x.dtype)} {x.name}")


def _methods() -> Iterator[tuple[str, Callable[..., Lanes]]]:
    for name, f, i in (("add", "fadd", "add"), ("sub", "fsub", "sub"), ("mul", "fmul", "mul"), ("div", "fdiv", None),
                       ("and_", None, "and"), ("or_", None, "or"), ("xor", None, "xor"), ("shl", None, "shl"),
                       ("shr_logical", None, "lshr"), ("shr_arith", None, "ashr")):
        yield name, functools.partialmethod(TextBuilder.binary, f, i)  # type: ignore[misc]
    for name in ("lt", "le", "gt", "ge"):
        yield name, functools.partialmethod(TextBuilder.compare, f"o{name}", f"s{name}")  # type: ignore[misc]
    yield "eq", functools.partialmethod(TextBuilder.compare, "oeq", "eq")  # type: ignore[misc]
    yield "ne", functools.partialmethod(TextBuilder.compare, "une", "ne")  # type: ignore[misc]
    for name, intrinsic in (("abs", "fabs"), ("sqrt", "sqrt"), ("floor", "floor"), ("round_even", "rint"), ("copysign", "copysign")):
        yield name, functools.partialmethod(TextBuilder.call, intrinsic)  # type: ignore[misc]


for _name, _method in _methods():
    setattr(TextBuilder, _name, _method)
del TextBuilder.__getattr__


class BranchingBuilder(TextBuilder):
    """The same, with the branch that `when_any` of the expansions may use."""

    def when_any(self, mask: Lanes, costly: Callable[[TextBuilder], tuple[Lanes, ...]], cheap: tuple[Lanes, ...]) -> tuple[Lanes, ...]:
        self.count += 1
        then, end, before = f"then{self.count}", f"end{self.count}", self.block
        bits = self.let("i1", f"bitcast {self.vector('i1')} {mask.name} to i{self.lanes}")
        any_ = self.let("i1", f"icmp ne i{self.lanes} {bits.name}, 0")
        self.lines += [f"  br i1 {any_.name}, label %{then}, label %{end}", f"{then}:"]
        self.block = then
        values = costly(self)
        self.lines += [f"  br label %{end}", f"{end}:"]
        after, self.block = self.block, end
        return tuple(self.let(x.dtype, f"phi {self.vector(x.dtype)} [{x.name}, %{after}], [{y.name}, %{before}]")
                     for x, y in zip(values, cheap, strict=True))


_ALIVE: list[Any] = []


@functools.cache
def _machine(level: str) -> Any:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = LEVELS[level]
    return llvm.Target.from_default_triple().create_target_machine(cpu=target.cpu, features=target.features, opt=2, reloc="pic", jit=True)


@functools.cache
def compiled(expand: Callable[..., Any], operands: int, dtype: str, level: str, branching: bool = True) -> Callable[..., np.ndarray]:
    """The expansion as a numpy function of arrays whose length is a multiple of the lanes."""
    import llvmlite.binding as llvm

    target: Target = LEVELS[level]
    lanes = target.vector_bytes // (4 if dtype == "f32" else 8)
    b = (BranchingBuilder if branching else TextBuilder)(lanes, target.has_fma)
    v, align = b.vector(dtype), 4 if dtype == "f32" else 8
    arguments = [b.let(dtype, f"load {v}, ptr %p{i}, align {align}") for i in range(operands)]
    y = expand(b, *arguments)
    assert y.dtype == dtype
    nl = "\n"
    pointers = "".join(f"  %p{i} = getelementptr {SCALARS[dtype]}, ptr %x{i}, i64 %i\n" for i in range(operands))
    text = f"""
define void @f(i64 %n, ptr noalias %y, {', '.join(f'ptr noalias %x{i}' for i in range(operands))}) nounwind "no-builtins" "prefer-vector-width"="512" {{
entry:
  br label %body
body:
  %i = phi i64 [0, %entry], [%next, %{b.block}]
{pointers}{nl.join(b.lines)}
  %q = getelementptr {SCALARS[dtype]}, ptr %y, i64 %i
  store {v} {y.name}, ptr %q, align {align}
  %next = add i64 %i, {lanes}
  %more = icmp slt i64 %next, %n
  br i1 %more, label %body, label %exit
exit:
  ret void
}}
{nl.join(sorted(b.declared))}
"""
    module = llvm.parse_assembly(text)
    module.verify()
    engine = llvm.create_mcjit_compiler(module, _machine(level))
    engine.finalize_object()
    address = engine.get_function_address("f")
    _ALIVE.append(engine)
    native = ctypes.CFUNCTYPE(None, ctypes.c_int64, *[ctypes.c_void_p] * (operands + 1))(address)

    def run(*xs: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        n = xs[0].size
        y = np.empty_like(xs[0]) if out is None else out
        assert n % lanes == 0 and all(x.flags.c_contiguous and x.dtype == y.dtype for x in xs)
        native(n, y.ctypes.data, *[x.ctypes.data for x in xs])
        return y

    run.text = text  # type: ignore[attr-defined]
    run.native = native  # type: ignore[attr-defined]
    return run
