"""Loop graphs to LLVM text: one instruction table, explicit vectors, strict floats."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from rustorch.codegen.target import Target
from rustorch.errors import CompilerBug
from rustorch.ir.dtypes import bool_
from rustorch.ir.graph import Graph, Node, Value
from rustorch.ir.types import BufferType, Type, VectorType, element

ATTRIBUTES = 'nounwind "no-builtins" "prefer-vector-width"="512"'
"""Of every function: no loop becomes a call of memcpy, and 512-bit registers are used where the level has them."""

_SCALAR = {"f32": "float", "f64": "double", "i32": "i32", "i64": "i64", "bool": "i1"}
_SUFFIX = {"f32": "f32", "f64": "f64", "i32": "i32", "i64": "i64", "bool": "i1"}


def llvm_type(type_: Type, in_memory: bool = False) -> str:
    """LLVM's spelling of a loop-level type; a bool is a byte in memory and a bit in registers."""
    if isinstance(type_, BufferType):
        return "ptr"
    scalar = "i8" if in_memory and element(type_).kind == "bool" else _SCALAR[element(type_).short]
    return f"<{type_.lanes} x {scalar}>" if isinstance(type_, VectorType) else scalar


def literal(value: int | float | bool, type_: Type) -> str:
    """A constant of a type."""
    dtype = element(type_)
    if dtype.kind == "float":
        number = float(value)
        if dtype.bits == 32 and number == number and abs(number) != float("inf"):
            number = struct.unpack("<f", struct.pack("<f", number))[0]
        text = f"0x{struct.unpack('<Q', struct.pack('<d', number))[0]:016X}"
    elif dtype.kind == "bool":
        text = "true" if value else "false"
    else:
        text = str(int(value))
    return f"splat ({_SCALAR[dtype.short]} {text})" if isinstance(type_, VectorType) else text


def suffix(type_: Type) -> str:
    """The type's part of an intrinsic's name."""
    lanes = f"v{type_.lanes}" if isinstance(type_, VectorType) else ""
    return lanes + _SUFFIX[element(type_).short]


# Elementwise ops that are one instruction, by kind of element.
_BINARY = {
    "float": {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv"},
    "int": {
        "add": "add", "sub": "sub", "mul": "mul", "and": "and", "or": "or", "xor": "xor",
        "shl": "shl", "shr_logical": "lshr", "shr_arith": "ashr",
    },
    "bool": {"and": "and", "or": "or", "xor": "xor"},
}  # fmt: skip
_INTRINSIC = {
    "float": {
        "abs": "fabs", "sqrt": "sqrt", "floor": "floor", "ceil": "ceil", "round_even": "rint",
        "copysign": "copysign", "fma": "fma", "minimum": "minimum", "maximum": "maximum",
    },
    "int": {"minimum": "smin", "maximum": "smax"},
}  # fmt: skip
_COMPARE = {
    "float": {"lt": "fcmp olt", "le": "fcmp ole", "gt": "fcmp ogt", "ge": "fcmp oge", "eq": "fcmp oeq", "ne": "fcmp une"},
    "int": {"lt": "icmp slt", "le": "icmp sle", "gt": "icmp sgt", "ge": "icmp sge", "eq": "icmp eq", "ne": "icmp ne"},
    "bool": {"lt": "icmp ult", "le": "icmp ule", "gt": "icmp ugt", "ge": "icmp uge", "eq": "icmp eq", "ne": "icmp ne"},
}

INSTRUCTIONS = frozenset(
    [name for table in (_BINARY, _INTRINSIC, _COMPARE) for names in table.values() for name in names]
    + ["neg", "not", "select", "convert", "bitcast", "abs", "div"]
)
"""Elementwise ops with an ending here; all others need an expansion before they get here."""


class FunctionEmitter:
    """Emits one loop graph as one LLVM function. `declarations` collects the intrinsics it needs."""

    def __init__(self, graph: Graph, symbol: str, target: Target, declarations: dict[str, str]) -> None:
        self.graph, self.symbol, self.target, self.declarations = graph, symbol, target, declarations
        self.lines: list[str] = []
        self.names: dict[Value, str] = {}
        self.count = 0
        self.block = "entry"

    def run(self) -> str:
        """The function's text."""
        parameters: list[str] = []
        for k, value in enumerate(self.graph.inputs):
            self.names[value] = f"%p{k}"
            qualifiers = " noalias" if isinstance(value.type, BufferType) else ""
            parameters.append(f"{llvm_type(value.type)}{qualifiers} %p{k}")
        self._nodes(self.graph.nodes)
        body = "\n".join(self.lines)
        return f"define internal void @{self.symbol}({', '.join(parameters)}) noinline {ATTRIBUTES} {{\nentry:\n{body}\n  ret void\n}}\n"

    # --- text -------------------------------------------------------------------------------------------------------------

    def fresh(self) -> str:
        """A new register name."""
        self.count += 1
        return f"%v{self.count}"

    def emit(self, text: str) -> str:
        """An instruction; gives the register it defines."""
        name = self.fresh()
        self.lines.append(f"  {name} = {text}")
        return name

    def call(self, intrinsic: str, result: str, *arguments: tuple[str, str]) -> str:
        """A call of an intrinsic."""
        self._declare(intrinsic, result, arguments)
        return self.emit(f"call {result} @{intrinsic}({', '.join(f'{t} {v}' for t, v in arguments)})")

    def _declare(self, intrinsic: str, result: str, arguments: tuple[tuple[str, str], ...]) -> None:
        self.declarations[intrinsic] = f"declare {result} @{intrinsic}({', '.join(t for t, _ in arguments)})"

    def _label(self, name: str) -> None:
        self.lines.append(f"{name}:")
        self.block = name

    # --- nodes ------------------------------------------------------------------------------------------------------------

    def _nodes(self, nodes: tuple[Node, ...]) -> None:
        for node in nodes:
            emit = _LOOP.get(node.op.name)
            name = emit(self, node) if emit is not None else self._elementwise(node)
            if name is not None:
                self.names[node.results[0]] = name

    def name(self, value: Value) -> str:
        """The register or constant of a value."""
        return self.names[value]

    def typed(self, value: Value) -> str:
        """Type and register of a value."""
        return f"{llvm_type(value.type)} {self.names[value]}"

    def _elementwise(self, node: Node) -> str:
        name = node.op.name
        x = node.operands[0]
        kind = element(x.type).kind
        t = llvm_type(x.type)
        if name in _BINARY.get(kind, ()):
            return self.emit(f"{_BINARY[kind][name]} {t} {self.name(x)}, {self.name(node.operands[1])}")
        if name in _COMPARE[kind]:
            return self.emit(f"{_COMPARE[kind][name]} {t} {self.name(x)}, {self.name(node.operands[1])}")
        if name in _INTRINSIC.get(kind, ()):
            if name == "fma" and not self.target.has_fma:
                return self._mul_add(node)
            return self.call(f"llvm.{_INTRINSIC[kind][name]}.{suffix(x.type)}", t, *((t, self.name(v)) for v in node.operands))
        special = _SPECIAL.get(name)
        if special is None:
            raise CompilerBug(f"codegen/emit_llvm: no instruction for {name} on {x.type}\n  at {node.location}")
        return special(self, node)

    def _mul_add(self, node: Node) -> str:
        t = llvm_type(node.operands[0].type)
        x, y, z = (self.name(v) for v in node.operands)
        return self.emit(f"fadd {t} {self.emit(f'fmul {t} {x}, {y}')}, {z}")

    def _neg(self, node: Node) -> str:
        (x,) = node.operands
        t = llvm_type(x.type)
        if element(x.type).kind == "float":
            return self.emit(f"fneg {t} {self.name(x)}")
        return self.emit(f"sub {t} {literal(0, x.type)}, {self.name(x)}")

    def _abs(self, node: Node) -> str:
        (x,) = node.operands
        t = llvm_type(x.type)
        return self.call(f"llvm.abs.{suffix(x.type)}", t, (t, self.name(x)), ("i1", "false"))

    def _not(self, node: Node) -> str:
        (x,) = node.operands
        ones = True if element(x.type).kind == "bool" else -1
        return self.emit(f"xor {llvm_type(x.type)} {self.name(x)}, {literal(ones, x.type)}")

    def _div(self, node: Node) -> str:
        """Integer division toward zero that cannot trap: by 0 gives 0, the smallest by -1 itself."""
        x, y = node.operands
        t, bits = llvm_type(x.type), llvm_type(_mask_type(x.type))
        zero = self.emit(f"icmp eq {t} {self.name(y)}, {literal(0, y.type)}")
        minus = self.emit(f"icmp eq {t} {self.name(y)}, {literal(-1, y.type)}")
        odd = self.emit(f"or {bits} {zero}, {minus}")
        safe = self.emit(f"select {bits} {odd}, {t} {literal(1, y.type)}, {t} {self.name(y)}")
        quotient = self.emit(f"sdiv {t} {self.name(x)}, {safe}")
        negated = self.emit(f"sub {t} {literal(0, x.type)}, {self.name(x)}")
        signed = self.emit(f"select {bits} {minus}, {t} {negated}, {t} {quotient}")
        return self.emit(f"select {bits} {zero}, {t} {literal(0, x.type)}, {t} {signed}")

    def _select(self, node: Node) -> str:
        mask, x, y = node.operands
        return self.emit(f"select {self.typed(mask)}, {self.typed(x)}, {self.typed(y)}")

    def _bitcast(self, node: Node) -> str:
        (x,) = node.operands
        return self.emit(f"bitcast {self.typed(x)} to {llvm_type(node.result.type)}")

    def _convert(self, node: Node) -> str:
        (x,) = node.operands
        source, goal = element(x.type), element(node.result.type)
        t, r = llvm_type(x.type), llvm_type(node.result.type)
        if source is goal:
            return self.name(x)
        if goal.kind == "bool":
            test = "fcmp une" if source.kind == "float" else "icmp ne"
            return self.emit(f"{test} {t} {self.name(x)}, {literal(0, x.type)}")
        if source.kind == "float" and goal.kind == "int":
            return self.call(f"llvm.fptosi.sat.{suffix(node.result.type)}.{suffix(x.type)}", r, (t, self.name(x)))
        wider = goal.bits > source.bits
        conversion = {
            ("float", "float"): "fpext" if wider else "fptrunc",
            ("int", "int"): "sext" if wider else "trunc",
            ("int", "float"): "sitofp",
            ("bool", "int"): "zext",
            ("bool", "float"): "uitofp",
        }[source.kind, goal.kind]
        return self.emit(f"{conversion} {t} {self.name(x)} to {r}")

    # --- the loop dialect ---------------------------------------------------------------------------------------------------

    def _const(self, node: Node) -> str:
        value: Any = node.attrs["value"]
        return literal(value, node.result.type)

    def _for(self, node: Node) -> None:
        lo, hi, *inits = node.operands
        (body,) = node.regions
        self.count += 1
        k = self.count
        before, head, done = self.block, f"loop{k}", f"done{k}"
        known = all(text.lstrip("-").isdigit() for text in (self.name(lo), self.name(hi)))
        if known:
            self.lines.append(f"  br label %{head}")
        else:
            enter = self.emit(f"icmp slt i64 {self.name(lo)}, {self.name(hi)}")
            self.lines.append(f"  br i1 {enter}, label %{head}, label %{done}")
        self._label(head)
        phis_at = len(self.lines)
        index, *carried = body.inputs
        self.names[index] = f"%i{k}"
        for j, value in enumerate(carried):
            self.names[value] = f"%c{k}.{j}"
        self._nodes(body.nodes)
        following = self.emit(f"add nuw nsw i64 %i{k}, {node.attrs['step']}")
        again = self.emit(f"icmp slt i64 {following}, {self.name(hi)}")
        end = self.block
        self.lines.append(f"  br i1 {again}, label %{head}, label %{done}")
        phis = [f"  %i{k} = phi i64 [{self.name(lo)}, %{before}], [{following}, %{end}]"]
        for j, (value, init, out) in enumerate(zip(carried, inits, body.outputs, strict=True)):
            phis.append(f"  %c{k}.{j} = phi {llvm_type(value.type)} [{self.name(init)}, %{before}], [{self.name(out)}, %{end}]")
        self.lines[phis_at:phis_at] = phis
        self._label(done)
        for init, out, result in zip(inits, body.outputs, node.results, strict=True):
            if known:
                self.names[result] = self.name(out)
            else:
                t = llvm_type(result.type)
                self.names[result] = self.emit(f"phi {t} [{self.name(init)}, %{before}], [{self.name(out)}, %{end}]")

    def _when(self, node: Node) -> None:
        mask, *otherwise = node.operands
        (body,) = node.regions
        any_lane = self._any_lane(mask)
        self.count += 1
        k = self.count
        before, inside, done = self.block, f"when{k}", f"join{k}"
        self.lines.append(f"  br i1 {any_lane}, label %{inside}, label %{done}")
        self._label(inside)
        self._nodes(body.nodes)
        end = self.block
        self.lines.append(f"  br label %{done}")
        self._label(done)
        for result, other, out in zip(node.results, otherwise, body.outputs, strict=True):
            self.names[result] = self.emit(f"phi {llvm_type(result.type)} [{self.name(other)}, %{before}], [{self.name(out)}, %{end}]")

    def _any_lane(self, mask: Value) -> str:
        """Whether any lane of a mask holds."""
        if not isinstance(mask.type, VectorType):
            return self.name(mask)
        return self.call(f"llvm.vector.reduce.or.{suffix(mask.type)}", "i1", (llvm_type(mask.type), self.name(mask)))

    def _address(self, buffer: Value, index: str, offset: int, inbounds: str = " inbounds") -> str:
        """Where an element lies. What a mask guards may lie outside: then `inbounds` is empty."""
        dtype = element(buffer.type)
        memory = llvm_type(dtype, in_memory=True)
        base = self.name(buffer)
        if index.lstrip("-").isdigit():
            where = int(index) + offset
            return base if where == 0 else self.emit(f"getelementptr{inbounds} {memory}, ptr {base}, i64 {where}")
        pointer = self.emit(f"getelementptr{inbounds} {memory}, ptr {base}, i64 {index}")
        return pointer if offset == 0 else self.emit(f"getelementptr{inbounds} {memory}, ptr {pointer}, i64 {offset}")

    def _load(self, node: Node) -> str:
        buffer, index, *mask = node.operands
        type_ = node.result.type
        dtype, memory = element(type_), llvm_type(type_, in_memory=True)
        pointer = self._address(buffer, self.name(index), node.attrs["offset"], "" if mask else " inbounds")
        if mask:
            self._declare_masked("load", type_)
            loaded = self.emit(
                f"call {memory} @llvm.masked.load.{_memory_suffix(type_)}.p0(ptr align {dtype.itemsize} {pointer}, "
                f"{self.typed(mask[0])}, {memory} zeroinitializer)"
            )
        else:
            loaded = self.emit(f"load {memory}, ptr {pointer}, align {dtype.itemsize}")
        return self._from_memory(loaded, type_)

    def _from_memory(self, loaded: str, type_: Type) -> str:
        if element(type_).kind != "bool":
            return loaded
        memory = llvm_type(type_, in_memory=True)
        zero = "zeroinitializer" if isinstance(type_, VectorType) else "0"
        return self.emit(f"icmp ne {memory} {loaded}, {zero}")

    def _to_memory(self, value: Value) -> str:
        if element(value.type).kind != "bool":
            return self.name(value)
        return self.emit(f"zext {self.typed(value)} to {llvm_type(value.type, in_memory=True)}")

    def _declare_masked(self, what: str, type_: Type) -> None:
        memory, mask = llvm_type(type_, in_memory=True), llvm_type(_mask_type(type_))
        s = _memory_suffix(type_)
        pointers = f"<{type_.lanes} x ptr>" if isinstance(type_, VectorType) else "ptr"
        lanes = f"v{type_.lanes}p0" if isinstance(type_, VectorType) else "p0"
        signature = {
            "load": (f"llvm.masked.load.{s}.p0", memory, f"ptr, {mask}, {memory}"),
            "store": (f"llvm.masked.store.{s}.p0", "void", f"{memory}, ptr, {mask}"),
            "gather": (f"llvm.masked.gather.{s}.{lanes}", memory, f"{pointers}, {mask}, {memory}"),
            "scatter": (f"llvm.masked.scatter.{s}.{lanes}", "void", f"{memory}, {pointers}, {mask}"),
        }[what]
        self.declarations[signature[0]] = f"declare {signature[1]} @{signature[0]}({signature[2]})"

    def _lanes_at(self, buffer: Value, index: str, stride: Value, offset: int, lanes: int) -> str:
        """Pointers to index + offset + lane * stride."""
        steps = "<" + ", ".join(f"i64 {lane}" for lane in range(lanes)) + ">"
        first = self.emit(f"insertelement <{lanes} x i64> poison, i64 {self.name(stride)}, i64 0")
        splat = self.emit(f"shufflevector <{lanes} x i64> {first}, <{lanes} x i64> poison, <{lanes} x i32> zeroinitializer")
        offsets = self.emit(f"mul <{lanes} x i64> {splat}, {steps}")
        base = self._address(buffer, index, offset)
        memory = llvm_type(element(buffer.type), in_memory=True)
        return self.emit(f"getelementptr {memory}, ptr {base}, <{lanes} x i64> {offsets}")

    def _load_strided(self, node: Node) -> str:
        buffer, index, stride, *mask = node.operands
        type_ = node.result.type
        assert isinstance(type_, VectorType)
        pointers = self._lanes_at(buffer, self.name(index), stride, node.attrs["offset"], type_.lanes)
        return self._gather(pointers, self.typed(mask[0]) if mask else f"{llvm_type(_mask_type(type_))} splat (i1 true)", type_)

    def _gather(self, pointers: str, mask: str, type_: VectorType) -> str:
        self._declare_masked("gather", type_)
        memory, s = llvm_type(type_, in_memory=True), _memory_suffix(type_)
        loaded = self.emit(
            f"call {memory} @llvm.masked.gather.{s}.v{type_.lanes}p0(<{type_.lanes} x ptr> align {type_.dtype.itemsize} {pointers}, "
            f"{mask}, {memory} zeroinitializer)"
        )
        return self._from_memory(loaded, type_)

    def _load_indexed(self, node: Node) -> str:
        buffer, index, mask = node.operands
        type_ = node.result.type
        memory = llvm_type(element(type_), in_memory=True)
        if isinstance(type_, VectorType):
            pointers = self.emit(f"getelementptr {memory}, ptr {self.name(buffer)}, {self.typed(index)}")
            return self._gather(pointers, self.typed(mask), type_)
        safe = self.emit(f"select {self.typed(mask)}, {self.typed(index)}, i64 0")
        pointer = self.emit(f"getelementptr {memory}, ptr {self.name(buffer)}, i64 {safe}")
        loaded = self._from_memory(self.emit(f"load {memory}, ptr {pointer}, align {element(type_).itemsize}"), type_)
        t = llvm_type(type_)
        return self.emit(f"select {self.typed(mask)}, {t} {loaded}, {t} {literal(0, type_)}")

    def _store(self, node: Node) -> None:
        buffer, index, value, *mask = node.operands
        dtype, memory = element(value.type), llvm_type(value.type, in_memory=True)
        stored = self._to_memory(value)
        pointer = self._address(buffer, self.name(index), node.attrs["offset"])
        if mask:
            self._declare_masked("store", value.type)
            self.lines.append(
                f"  call void @llvm.masked.store.{_memory_suffix(value.type)}.p0({memory} {stored}, "
                f"ptr align {dtype.itemsize} {pointer}, {self.typed(mask[0])})"
            )
        else:
            self.lines.append(f"  store {memory} {stored}, ptr {pointer}, align {dtype.itemsize}")

    def _store_strided(self, node: Node) -> None:
        buffer, index, value, stride, *mask = node.operands
        type_ = value.type
        assert isinstance(type_, VectorType)
        pointers = self._lanes_at(buffer, self.name(index), stride, node.attrs["offset"], type_.lanes)
        self._declare_masked("scatter", type_)
        where = self.typed(mask[0]) if mask else f"{llvm_type(_mask_type(type_))} splat (i1 true)"
        self.lines.append(
            f"  call void @llvm.masked.scatter.{_memory_suffix(type_)}.v{type_.lanes}p0({llvm_type(type_, True)} {self._to_memory(value)}, "
            f"<{type_.lanes} x ptr> align {type_.dtype.itemsize} {pointers}, {where})"
        )

    def _check(self, node: Node) -> None:
        mask, flag = node.operands
        failed = self._any_lane(mask)
        before = self.emit(f"load i32, ptr {self.name(flag)}, align 4")
        after = self.emit(f"select i1 {failed}, i32 {node.attrs['number']}, i32 {before}")
        self.lines.append(f"  store i32 {after}, ptr {self.name(flag)}, align 4")

    def _splat(self, node: Node) -> str:
        (x,) = node.operands
        scalar, lanes = llvm_type(x.type), node.attrs["lanes"]
        if not self.name(x).startswith("%"):
            return f"splat ({scalar} {self.name(x)})"
        first = self.emit(f"insertelement <{lanes} x {scalar}> poison, {scalar} {self.name(x)}, i64 0")
        return self.emit(f"shufflevector <{lanes} x {scalar}> {first}, <{lanes} x {scalar}> poison, <{lanes} x i32> zeroinitializer")

    def _lane_index(self, node: Node) -> str:
        return "<" + ", ".join(f"i64 {lane}" for lane in range(node.attrs["lanes"])) + ">"

    def _mask_below(self, node: Node) -> str:
        (n,) = node.operands
        lanes = node.attrs["lanes"]
        if not self.name(n).startswith("%"):
            return "<" + ", ".join(f"i1 {'true' if lane < int(self.name(n)) else 'false'}" for lane in range(lanes)) + ">"
        first = self.emit(f"insertelement <{lanes} x i64> poison, i64 {self.name(n)}, i64 0")
        limit = self.emit(f"shufflevector <{lanes} x i64> {first}, <{lanes} x i64> poison, <{lanes} x i32> zeroinitializer")
        steps = "<" + ", ".join(f"i64 {lane}" for lane in range(lanes)) + ">"
        return self.emit(f"icmp slt <{lanes} x i64> {steps}, {limit}")

    def _reduce_lanes(self, node: Node) -> str:
        (x,) = node.operands
        assert isinstance(x.type, VectorType)
        dtype, lanes, current = x.type.dtype, x.type.lanes, self.name(x)
        while lanes > 1:
            t, half = llvm_type(VectorType(dtype, lanes)), lanes // 2
            low = "<" + ", ".join(f"i32 {k}" for k in range(half)) + ">"
            high = "<" + ", ".join(f"i32 {k}" for k in range(half, lanes)) + ">"
            left = self.emit(f"shufflevector {t} {current}, {t} poison, <{half} x i32> {low}")
            right = self.emit(f"shufflevector {t} {current}, {t} poison, <{half} x i32> {high}")
            current = self._combine(node.attrs["combine"], VectorType(dtype, half), left, right)
            lanes = half
        return self.emit(f"extractelement <1 x {_SCALAR[dtype.short]}> {current}, i64 0")

    def _combine(self, op: str, type_: VectorType, left: str, right: str) -> str:
        kind, t = type_.dtype.kind, llvm_type(type_)
        if op in _BINARY.get(kind, ()):
            return self.emit(f"{_BINARY[kind][op]} {t} {left}, {right}")
        return self.call(f"llvm.{_INTRINSIC[kind][op]}.{suffix(type_)}", t, (t, left), (t, right))


def _mask_type(type_: Type) -> Type:
    return VectorType(bool_, type_.lanes) if isinstance(type_, VectorType) else bool_


def _memory_suffix(type_: Type) -> str:
    lanes = f"v{type_.lanes}" if isinstance(type_, VectorType) else ""
    return lanes + ("i8" if element(type_).kind == "bool" else _SUFFIX[element(type_).short])


_SPECIAL: dict[str, Callable[[FunctionEmitter, Node], str]] = {
    "neg": FunctionEmitter._neg,
    "abs": FunctionEmitter._abs,
    "not": FunctionEmitter._not,
    "div": FunctionEmitter._div,
    "select": FunctionEmitter._select,
    "bitcast": FunctionEmitter._bitcast,
    "convert": FunctionEmitter._convert,
}
_LOOP: dict[str, Callable[[FunctionEmitter, Node], str | None]] = {
    "const": FunctionEmitter._const,
    "for": FunctionEmitter._for,
    "when": FunctionEmitter._when,
    "load": FunctionEmitter._load,
    "reload": FunctionEmitter._load,
    "load_strided": FunctionEmitter._load_strided,
    "load_indexed": FunctionEmitter._load_indexed,
    "store": FunctionEmitter._store,
    "store_strided": FunctionEmitter._store_strided,
    "check": FunctionEmitter._check,
    "splat": FunctionEmitter._splat,
    "lane_index": FunctionEmitter._lane_index,
    "mask_below": FunctionEmitter._mask_below,
    "reduce_lanes": FunctionEmitter._reduce_lanes,
}


def emit_kernel(graph: Graph, symbol: str, target: Target, declarations: dict[str, str]) -> str:
    """LLVM text of one kernel's loop graph as an internal function `symbol`."""
    return FunctionEmitter(graph, symbol, target, declarations).run()
