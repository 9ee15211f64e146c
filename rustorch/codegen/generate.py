"""From a simplified tensor graph to an artifact: fuse, lower, expand math, plan memory, emit, assemble."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rustorch.artifact import ArgSpec, Artifact, CalloutSpec
from rustorch.codegen.assemble import assemble, assembly
from rustorch.codegen.callout import CalloutCall, callout_declaration, callout_sizes, callout_spec
from rustorch.codegen.contraction import grouped_strides, kernel_strides, operand_axes, order_products, product_sizes
from rustorch.codegen.convolution import (
    SHARED_KINDS,
    conv_declaration,
    conv_fields,
    conv_symbol,
    conv_work,
    share_convolution,
    shared_convolution_text,
)
from rustorch.codegen.emit_driver import (
    Call,
    ConvolutionCall,
    DriverEmitter,
    KernelCall,
    MatrixOperand,
    ProductCall,
    SortCall,
    shared_convolution,
    shared_product,
)
from rustorch.codegen.emit_llvm import emit_kernel
from rustorch.codegen.emit_parallel import PRODUCT_KINDS, share_product, shared_kernel_text, shared_product_text
from rustorch.codegen.expand import expand_math
from rustorch.codegen.fuse import Plan, Step, fuse
from rustorch.codegen.loops import Lowered, Share
from rustorch.codegen.lower import lower_kernel
from rustorch.codegen.lower_memory import lower_fill, lower_scatter
from rustorch.codegen.memory_plan import MemoryPlan, Use, align, plan_memory
from rustorch.codegen.phases import split_phases
from rustorch.codegen.pieces import cut, join
from rustorch.codegen.products import gemm_declaration, gemm_symbol, gemm_work_bytes
from rustorch.codegen.scan import lower_scan
from rustorch.codegen.sorting import sort_text, sort_work_bytes
from rustorch.codegen.split import split
from rustorch.codegen.target import Target
from rustorch.codegen.views import tensor
from rustorch.ir.dims import Dim, Size, product
from rustorch.ir.graph import Graph, Node, Payload, Value
from rustorch.ir.printer import canonical_text
from rustorch.ir.types import DType, TensorType

_ROUTINES = ("product", "convolution", "sort", "callout")
"""Kinds of step that are calls of functions written as LLVM text, or of functions outside."""
UNBOUNDED = 1 << 20
"""Stands for a symbolic size where a workspace bound is asked for."""


@dataclass(frozen=True)
class _Routine:
    """What a step needs that calls a routine."""

    work: Size
    """Bytes of the workspace of one call."""
    share: Share | None = None
    """How calls share it."""
    fields: dict[str, Size] = field(default_factory=dict)
    """The table of a convolution, by name."""


@dataclass
class Generated:
    """What code generation made of a graph: text at every stage, and the call plan."""

    graph: Graph
    target: Target
    symbol: str
    plan: Plan
    memory: MemoryPlan
    kernels: list[Lowered] = field(default_factory=list)
    products: tuple[str, ...] = ()
    """Element types whose matrix product the driver calls, or its convolutions."""
    convolutions: tuple[str, ...] = ()
    """Element types whose convolution the driver calls."""
    llvm: str = ""
    calls: list[Call] = field(default_factory=list)
    dims: tuple[str, ...] = ()
    flagged: bool = False
    callouts: tuple[CalloutSpec, ...] = ()
    """Functions outside that the driver calls."""

    def artifact(self, code: bytes | None = None) -> Artifact:
        """The artifact: the assembled object (or `code`, which has it among others) and how to call it."""
        return Artifact(
            symbol=self.symbol,
            object=assemble(self.llvm, self.target) if code is None else code,
            inputs=self.inputs,
            outputs=self.outputs,
            dims=self.dims,
            work_bytes=self.work_bytes,
            level=self.target.level,
            requires=(
                *(gemm_symbol(d, self.target) for d in self.products),
                *(conv_symbol(d, self.target) for d in self.convolutions),
            ),
            kernels=len(self.kernels),
            is_parallel=any(getattr(call, "share", None) is not None for call in self.calls),
            checks=self.checks,
            callouts=self.callouts,
        )

    @property
    def inputs(self) -> tuple[ArgSpec, ...]:
        """The inputs of the native entry."""
        names = _unique_names(self.graph)
        return tuple(_spec(v, names[k]) for k, v in enumerate(self.graph.inputs))

    @property
    def outputs(self) -> tuple[ArgSpec, ...]:
        """The outputs of the native entry."""
        return tuple(_spec(v, f"out{k}") for k, v in enumerate(self.graph.outputs))

    @property
    def work_bytes(self) -> int | str:
        """Bytes of the workspace."""
        return _sized(self.memory.arena_bytes)

    @property
    def checks(self) -> tuple[str, ...]:
        """Messages of the checks inside."""
        return (*(("an index is out of range",) if self.flagged else ()), *(("a callout has failed",) if self.callouts else ()))

    def assembly(self) -> str:
        """Assembly text of the module."""
        return assembly(self.llvm, self.target)


def generate(graph: Graph, symbol: str, target: Target) -> Generated:
    """Code for a tensor graph whose composite ops are expanded."""
    return _Generator(order_products(split_phases(graph)), symbol, target).run()


class _Generator:
    def __init__(self, graph: Graph, symbol: str, target: Target) -> None:
        self.graph, self.symbol, self.target = graph, symbol, target
        self.plans = [split(fuse(piece)) for piece in cut(graph)]
        self.plan = join(graph, self.plans)
        self.kernels: list[Lowered] = []
        self.texts: dict[str, str] = {}
        """Text of the kernel of each distinct loop graph."""
        self.symbols: dict[str, str] = {}
        """Name of the kernel of each distinct text."""
        self.text: list[str] = []
        self.declarations: dict[str, str] = {}
        self.products: dict[str, None] = {}
        self.convolutions: dict[str, None] = {}
        self.callouts: dict[CalloutSpec, None] = {}
        self.constants: dict[Value, None] = {}
        self.shared: dict[str, None] = {}
        """Products that calls share."""

    def run(self) -> Generated:
        """Lower every step, then lay out memory, then emit the driver."""
        dims: list[str] = []
        for value in self.graph.inputs:
            dims += [name for name in tensor(value).symbols() if name not in dims]
        lowered = [(plan, step, self._lowered(plan, step)) for plan in self.plans for step in plan.steps]
        prepared = [(plan, step, low) for plan, step, low in lowered if low is not None]
        uses = [self._use(*one) for one in prepared]
        flagged = any(low.flagged if isinstance(low, Lowered) else step.kind == "callout" for _, step, low in prepared)
        memory, scratch = plan_memory(self.graph, self.plan.outputs, self.constants, uses)
        flag: Size | None = None
        if flagged:
            flag = memory.arena_bytes
            memory.arena_bytes = memory.arena_bytes + 64
        calls = [self._call(*one, places) for one, places in zip(prepared, scratch, strict=True)]
        driver = DriverEmitter(self.symbol, dims, memory, len(self.graph.inputs), flag).run(calls)
        for dtype in self.products:
            self.declarations[gemm_symbol(dtype, self.target)] = gemm_declaration(dtype, self.target)
        for dtype in self.convolutions:
            self.declarations[conv_symbol(dtype, self.target)] = conv_declaration(dtype, self.target)
        constants = [_constant_text(f"{self.symbol}.c{k}", self._payload(v)) for k, v in enumerate(self.constants)]
        llvm = "\n".join([*constants, *self.text, driver, *sorted(self.declarations.values()), ""])
        return Generated(
            self.graph, self.target, self.symbol, self.plan, memory, self.kernels, tuple(self.products), tuple(self.convolutions), llvm,
            calls, tuple(dims), flagged, tuple(self.callouts),
        )  # fmt: skip

    # --- steps --------------------------------------------------------------------------------------------------------------

    def _lowered(self, plan: Plan, step: Step) -> Lowered | _Routine | None:
        name = f"k{len(self.kernels)}"
        if step.kind == "kernel":
            lowered = lower_kernel(plan, step, self.target, name)
        elif step.kind == "fill":
            lowered = lower_fill(plan, step, self.target, name)
        elif step.kind == "scan":
            lowered = lower_scan(plan, step, self.target, name)
        elif step.kind == "scatter":
            lowered = lower_scatter(plan, step, name)
        elif step.kind in _ROUTINES:
            self._note_constants(plan, (plan.view(v).base for v in step.nodes[0].operands))
            return self._routine(plan, step)
        else:
            return None
        self._note_constants(plan, lowered.memory)
        self.kernels.append(lowered)
        return lowered

    def _note_constants(self, plan: Plan, values: Iterable[Value]) -> None:
        for value in values:
            root = plan.root(value)
            node = plan.producers.get(root)
            if node is not None and node.op.name == "const" and root not in plan.memory:
                self.constants[root] = None

    def _payload(self, value: Value) -> Payload:
        payload = self.plan.producers[value].attrs["value"]
        assert isinstance(payload, Payload)
        return payload

    def _use(self, plan: Plan, step: Step, lowered: Lowered | _Routine) -> Use:
        if isinstance(lowered, Lowered):
            tasks = lowered.share.most if lowered.share is not None else 1
            return Use(lowered.memory, tuple(tasks * size for size in _scratch_sizes(lowered)), lowered.reused)
        (node,) = step.nodes
        touched = [plan.root(plan.view(v).base) for v in node.operands]
        tasks = lowered.share.most if lowered.share is not None else 1
        return Use((*touched, *map(plan.root, node.results)), (tasks * lowered.work,))

    def _routine(self, plan: Plan, step: Step) -> _Routine:
        """The workspace of a routine, rounded up, and how calls share it."""
        (node,) = step.nodes
        if step.kind == "callout":
            return _Routine(0)
        if step.kind == "sort":
            (operand,) = node.operands
            return _Routine(align(sort_work_bytes(tensor(operand).shape[node.attrs["axis"]], tensor(operand).dtype)))
        dtype = tensor(node.result).dtype.short
        if step.kind == "convolution":
            fields = self._convolution_table(plan, node)
            work = conv_work(fields, bool(node.attrs["features_first"]), dtype, self.target)
            return _Routine(align(work.total), share_convolution(fields, self.target, dtype), fields)
        sizes = product_sizes(node)
        rows, columns, depth = (size if isinstance(size, int) else UNBOUNDED for size in sizes[1:])
        return _Routine(align(gemm_work_bytes(rows, columns, depth, dtype, self.target)), share_product(*sizes, dtype, self.target))

    def _call(self, plan: Plan, step: Step, lowered: Lowered | _Routine, scratch: list[Size]) -> Call:
        if isinstance(lowered, _Routine):
            (node,) = step.nodes
            if step.kind == "convolution":
                return self._convolution(plan, node, lowered, scratch[0])
            if step.kind == "callout":
                return self._callout(plan, node)
            return self._sort(plan, node, scratch[0]) if step.kind == "sort" else self._product(plan, node, lowered, scratch[0])
        text = self._kernel_text(lowered.graph)
        symbol = self.symbols.get(text)
        if symbol is None:
            symbol = self.symbols[text] = f"{self.symbol}.{lowered.graph.name}"
            self.text.append(text.replace("@@@", f"@{symbol}", 1))
            if lowered.share is not None:
                kinds = ["i64" if isinstance(v.type, DType) else "ptr" for v in lowered.graph.inputs[:-2]]
                own = range(len(lowered.memory), len(lowered.memory) + len(lowered.scratch))
                self.text.append(shared_kernel_text(symbol, kinds, own))
        apart = tuple(_scratch_sizes(lowered)) if lowered.share is not None else ()
        return KernelCall(symbol, lowered.memory, tuple(scratch), lowered.dims, lowered.flagged, lowered.share, apart)

    def _convolution_table(self, plan: Plan, node: Node) -> dict[str, Size]:
        image, kernel = (plan.view(v) for v in node.operands)
        walked = kernel_strides(kernel, node)
        assert walked is not None, "fusion put kernels of convolutions into memory that they can be read from"
        return conv_fields(node, image.strided(tensor(node.operands[0]).rank)[1], walked, self.target)

    def _convolution(self, plan: Plan, node: Node, routine: _Routine, work: Size) -> ConvolutionCall:
        features_first, dtype = bool(node.attrs["features_first"]), tensor(node.result).dtype.short
        self.products[dtype] = self.convolutions[dtype] = None
        table = (*routine.fields.values(), *conv_work(routine.fields, features_first, dtype, self.target).starts)
        seen = [(v, plan.view(v)) for v in node.operands]
        operands = [(plan.root(at.base), at.strided(tensor(v).rank)[0]) for v, at in seen]
        result = (plan.root(node.result), 0)
        symbol = conv_symbol(dtype, self.target)
        if routine.share is not None:
            self._share_convolution(symbol, dtype, features_first)
        return ConvolutionCall(symbol, features_first, table, (*operands, result), work, routine.share, routine.work)

    def _share_convolution(self, convolution: str, dtype: str, features_first: bool) -> None:
        """Emit the convolution of an element type that calls share, once."""
        symbol = shared_convolution(self.symbol, convolution, features_first)
        if symbol not in self.shared:
            self.shared[symbol] = None
            work = len(SHARED_KINDS) - 1
            text = shared_convolution_text(symbol, dtype, features_first, self.target)
            self.text += [text, shared_kernel_text(symbol, SHARED_KINDS, [work])]

    def _kernel_text(self, graph: Graph) -> str:
        """A kernel as LLVM text, its name left open. Equal loop graphs are expanded and written once."""
        key = canonical_text(graph)
        text = self.texts.get(key)
        if text is None:
            text = self.texts[key] = emit_kernel(expand_math(graph, self.target), "@@", self.target, self.declarations)
        return text

    def _sort(self, plan: Plan, node: Node, work: Size) -> SortCall:
        (operand,), attrs = node.operands, node.attrs
        type_, axis, down = tensor(operand), attrs["axis"], bool(attrs["descending"])
        symbol = f"{self.symbol}.sort_{type_.dtype.short}_{'down' if down else 'up'}"
        if symbol not in self.symbols:
            self.symbols[symbol] = symbol
            self.text.append(sort_text(symbol, type_.dtype, down))
        sizes = (product(type_.shape[:axis]), type_.shape[axis], product(type_.shape[axis + 1 :]), tensor(node.results[0]).shape[axis])
        ordered, places = map(plan.root, node.results)
        return SortCall(symbol, sizes, (plan.root(plan.view(operand).base), ordered, places), work)

    def _callout(self, plan: Plan, node: Node) -> CalloutCall:
        spec = callout_spec(node)
        self.callouts[spec] = None
        self.declarations[spec.symbol] = callout_declaration(spec.symbol)
        memory = (*(plan.root(plan.view(v).base) for v in node.operands), *map(plan.root, node.results))
        return CalloutCall(spec.symbol, callout_sizes(node), memory)

    def _product(self, plan: Plan, node: Node, routine: _Routine, work: Size) -> ProductCall:
        dtype = tensor(node.result).dtype.short
        if routine.share is not None:
            self._share_product(dtype)
        self.products[dtype] = None
        batch, m, n, depth = product_sizes(node)
        found: list[tuple[Value, Size, tuple[Size, Size, Size]]] = []
        for k in (0, 1):
            seen = plan.view(node.operands[k])
            offset, strides = seen.strided(tensor(node.operands[k]).rank)
            grouped = grouped_strides(tensor(node.operands[k]).shape, strides, operand_axes(node, k))
            assert grouped is not None, "fusion put operands of products into memory that they can be read from"
            found.append((plan.root(seen.base), offset, grouped))
        (left, left_at, (lb, lf, lc)), (right, right_at, (rb, rf, rc)) = found
        return ProductCall(
            gemm_symbol(dtype, self.target),
            batch,
            (m, n, depth),
            MatrixOperand(left, left_at, lb, lf, lc),
            MatrixOperand(right, right_at, rb, rc, rf),
            MatrixOperand(plan.root(node.result), 0, m * n, n, 1),
            work,
            routine.share,
            routine.work,
        )

    def _share_product(self, dtype: str) -> None:
        """Emit the product of an element type that calls share, once."""
        symbol = shared_product(self.symbol, gemm_symbol(dtype, self.target))
        if symbol not in self.shared:
            self.shared[symbol] = None
            work = len(PRODUCT_KINDS) - 1
            self.text += [shared_product_text(symbol, dtype, self.target), shared_kernel_text(symbol, PRODUCT_KINDS, [work])]
            for name in ("llvm.smin.i64", "llvm.smax.i64"):
                self.declarations[name] = f"declare i64 @{name}(i64, i64)"


def _scratch_sizes(lowered: Lowered) -> list[Size]:
    """Bytes of each scratch of one call of a kernel."""
    return [align(product(t.shape) * t.dtype.itemsize) for t in lowered.scratch]


def _sized(size: Size) -> int | str:
    return str(size) if isinstance(size, Dim) else size


def _spec(value: Value, name: str) -> ArgSpec:
    type_ = value.type
    assert isinstance(type_, TensorType)
    return ArgSpec(name, type_.dtype.short, tuple(_sized(s) for s in type_.shape))


def _unique_names(graph: Graph) -> list[str]:
    names: list[str] = []
    for k, value in enumerate(graph.inputs):
        name = value.hint if value.hint.isidentifier() else f"x{k}"
        names.append(name if name not in names else f"{name}_{k}")
    return names


def _constant_text(symbol: str, payload: Payload) -> str:
    """A constant array as bytes in read-only memory."""
    array: np.ndarray[Any, Any] = payload.array
    content = "".join(f"\\{byte:02x}" for byte in array.tobytes())
    return f'@{symbol} = private unnamed_addr constant [{array.nbytes} x i8] c"{content}", align 64'


def merge_modules(texts: Sequence[str]) -> str:
    """One module of several: declarations of what another part defines, and repeated declarations, are dropped."""
    defined = {line.split("@")[1].split("(")[0] for text in texts for line in text.splitlines() if line.startswith("define")}
    seen: set[str] = set()
    lines: list[str] = []
    for line in "\n".join(texts).splitlines():
        if line.startswith("declare"):
            name = line.split("@")[1].split("(")[0]
            if name in defined or name in seen:
                continue
            seen.add(name)
        lines.append(line)
    return "\n".join(lines) + "\n"
