"""The driver: the one native entry of a graph, which runs its steps in order.

    int32_t symbol(const int64_t *dims, void *const *args, void *work, const void *executor)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rustorch.codegen.callout import FAILED, CalloutCall
from rustorch.codegen.emit_llvm import ATTRIBUTES
from rustorch.codegen.loops import Share
from rustorch.codegen.memory_plan import MemoryPlan, Place
from rustorch.codegen.schedule import TASK_CYCLES
from rustorch.ir.dims import Dim, Size
from rustorch.ir.graph import Value
from rustorch.ir.types import element

_OPAQUE = {"floordiv": "sdiv", "mod": "srem"}


@dataclass(frozen=True)
class KernelCall:
    """A call of a kernel of this module: memory, then scratch offsets, then the flag, then sizes."""

    symbol: str
    memory: tuple[Value, ...]
    scratch: tuple[Size, ...]
    dims: tuple[str, ...]
    flagged: bool
    share: Share | None = None
    """How an executor's tasks share the call (`emit_parallel.py`)."""
    apart: tuple[Size, ...] = ()
    """Bytes between the scratch of one task and of the next."""


@dataclass(frozen=True)
class MatrixOperand:
    """A matrix inside memory: offset and strides in elements, batch stride first."""

    value: Value
    offset: Size
    batch: Size
    row: Size
    column: Size


@dataclass(frozen=True)
class ProductCall:
    """A batch of matrix products through a shared microkernel."""

    symbol: str
    count: Size
    sizes: tuple[Size, Size, Size]
    left: MatrixOperand
    right: MatrixOperand
    result: MatrixOperand
    work: Size
    share: Share | None = None
    apart: Size = 0
    """Bytes between the workspace of one task and of the next."""

    @property
    def memory(self) -> tuple[Value, ...]:
        """The values whose memory is touched."""
        return self.left.value, self.right.value, self.result.value


@dataclass(frozen=True)
class ConvolutionCall:
    """A convolution through the shared one: its table of sizes (see `convolution.FIELDS`), and image, kernel and result in memory."""

    symbol: str
    features_first: bool
    table: tuple[Size, ...]
    operands: tuple[tuple[Value, Size], ...]
    """Image, kernel, result: memory, and offset in elements."""
    work: Size
    share: Share | None = None
    apart: Size = 0
    """Bytes between the workspace of one task and of the next."""

    @property
    def memory(self) -> tuple[Value, ...]:
        """The values whose memory is touched."""
        return tuple(value for value, _ in self.operands)


@dataclass(frozen=True)
class SortCall:
    """Rows of an operand [outer, n, inner] sorted along n, the first `count` kept, by a function of this module."""

    symbol: str
    sizes: tuple[Size, Size, Size, Size]
    """outer, n, inner, count."""
    memory: tuple[Value, Value, Value]
    """Operand, sorted elements, places."""
    work: Size


Call = KernelCall | ProductCall | ConvolutionCall | SortCall | CalloutCall
PART = 256
"""The most calls of one function: LLVM's register allocation takes more than linear time with the length of a function."""


def shared_product(symbol: str, product: str) -> str:
    """The name of a product that calls of the driver `symbol` share."""
    return f"{symbol}.{product}"


def shared_convolution(symbol: str, convolution: str, features_first: bool) -> str:
    """The name of a convolution that calls of the driver `symbol` share."""
    return f"{symbol}.{convolution}_{'kernels' if features_first else 'images'}"


class DriverEmitter:
    """Emits the driver's text."""

    def __init__(self, symbol: str, dims: Sequence[str], plan: MemoryPlan, inputs: int, flag: Size | None) -> None:
        self.symbol, self.dims, self.plan, self.inputs, self.flag = symbol, dims, plan, inputs, flag
        self.lines: list[str] = []
        self.count = 0
        self._pointers: dict[Place, str] = {}
        self._dims: dict[str, str] = {}
        self._order = {value: k for k, value in enumerate(plan.places)}

    def run(self, calls: Sequence[Call]) -> str:
        """The driver that makes `calls`; a long one is cut into functions that it calls."""
        parts = [calls] if len(calls) <= PART else [calls[start : start + PART] for start in range(0, len(calls), PART)]
        functions: list[str] = []
        if len(parts) > 1:
            for number, part in enumerate(parts):
                self._begin()
                self._calls(part)
                functions.append(self._function(f"internal void @{self.symbol}.part{number}", "void"))
        self._begin()
        if self.flag is not None:
            self.lines.append(f"  store i32 0, ptr {self._arena(self.flag)}, align 4")
        if len(parts) == 1:
            self._calls(calls)
        for number in range(len(functions)):
            self.lines.append(f"  call void @{self.symbol}.part{number}(ptr %dims, ptr %args, ptr %work, ptr %executor)")
        code = "0"
        if self.flag is not None:
            code = self._emit(f"load i32, ptr {self._arena(self.flag)}, align 4")
        return "".join([*functions, self._function(f"i32 @{self.symbol}", f"i32 {code}")])

    def _begin(self) -> None:
        """Start a function."""
        self.lines, self.count, self._pointers = [], 0, {}
        for k, name in enumerate(self.dims):
            self._dims[name] = self._emit(f"load i64, ptr {self._emit(f'getelementptr i64, ptr %dims, i64 {k}')}")

    def _function(self, head: str, returned: str) -> str:
        body = "\n".join([*self.lines, f"  ret {returned}"])
        return f"define {head}(ptr %dims, ptr %args, ptr %work, ptr %executor) {ATTRIBUTES} {{\nentry:\n{body}\n}}\n"

    def _calls(self, calls: Sequence[Call]) -> None:
        longest = max((len(call.table) for call in calls if isinstance(call, ConvolutionCall)), default=0)
        if longest:
            self.lines.append(f"  %table = alloca [{longest} x i64], align 8")
        outside = [call for call in calls if isinstance(call, CalloutCall)]
        if outside:
            self.lines.append(f"  %sizes = alloca [{max(len(call.sizes) for call in outside)} x i64], align 8")
            self.lines.append(f"  %memory = alloca [{max(len(call.memory) for call in outside)} x ptr], align 8")
        used = {v for call in calls for v in call.memory}
        for value in sorted(used, key=self._order.__getitem__):  # pointers first: they dominate every block
            self._pointer(value)
        for call in calls:
            if isinstance(call, KernelCall):
                self._kernel(call)
            elif isinstance(call, ConvolutionCall):
                self._convolution(call)
            elif isinstance(call, SortCall):
                self._sort(call)
            elif isinstance(call, CalloutCall):
                self._callout(call)
            else:
                self._product(call)

    def _emit(self, text: str) -> str:
        self.count += 1
        self.lines.append(f"  %r{self.count} = {text}")
        return f"%r{self.count}"

    def size(self, size: Size) -> str:
        """A size as an operand."""
        if not isinstance(size, Dim):
            return str(size)
        total = "0"
        for monomial, coefficient in size.terms:
            term = str(coefficient)
            for atom in monomial:
                if atom.kind == "symbol":
                    factor = self._dims[atom.name]
                elif atom.kind in _OPAQUE:
                    factor = self._emit(f"{_OPAQUE[atom.kind]} i64 {self.size(atom.left)}, {self.size(atom.right)}")
                else:
                    left, right = self.size(atom.left), self.size(atom.right)
                    less = self._emit(f"icmp {'slt' if atom.kind == 'min' else 'sgt'} i64 {left}, {right}")
                    factor = self._emit(f"select i1 {less}, i64 {left}, i64 {right}")
                term = self._emit(f"mul i64 {term}, {factor}")
            total = self._emit(f"add i64 {total}, {term}")
        return total

    def _arena(self, offset: Size) -> str:
        return "%work" if offset == 0 else self._emit(f"getelementptr i8, ptr %work, i64 {self.size(offset)}")

    def _pointer(self, value: Value) -> str:
        place = self.plan.places[value]
        if place not in self._pointers:
            if place.kind == "arena":
                pointer = self._arena(place.offset)
            elif place.kind == "constant":
                pointer = f"@{self.symbol}.c{place.index}"
            else:
                slot = place.index + (self.inputs if place.kind == "output" else 0)
                pointer = self._emit(f"load ptr, ptr {self._emit(f'getelementptr ptr, ptr %args, i64 {slot}')}")
            self._pointers[place] = pointer
        return self._pointers[place]

    def _kernel(self, call: KernelCall) -> None:
        arguments = [f"ptr {self._pointer(v)}" for v in call.memory]
        arguments += [f"ptr {self._arena(offset)}" for offset in call.scratch]
        if call.flagged:
            assert self.flag is not None
            arguments.append(f"ptr {self._arena(self.flag)}")
        arguments += [f"i64 {self._dims[name]}" for name in call.dims]
        if call.share is None:
            self.lines.append(f"  call void @{call.symbol}({', '.join(arguments)})")
        else:
            self._shared(call.symbol, call.share, arguments, call.apart)

    def _shared(self, symbol: str, share: Share, arguments: Sequence[str], apart: Sequence[Size]) -> None:
        """A call that the executor may cut into tasks."""
        units = self.size(share.units)
        tasks = str(share.most)  # no more than the bounds that are known (`Share.bounded`)
        for bound in (share.units, share.cycles // TASK_CYCLES):
            if isinstance(bound, Dim):
                limit = self.size(bound)
                less = self._emit(f"icmp slt i64 {limit}, {tasks}")
                tasks = self._emit(f"select i1 {less}, i64 {limit}, i64 {tasks}")
        every = [f"i64 {tasks}", f"i64 {units}", *arguments, *(f"i64 {self.size(distance)}" for distance in apart)]
        self.lines.append(f"  call void @{symbol}.run(ptr %executor, {', '.join(every)})")

    def _sort(self, call: SortCall) -> None:
        arguments = [f"i64 {self.size(size)}" for size in call.sizes] + [f"ptr {self._pointer(value)}" for value in call.memory]
        self.lines.append(f"  call void @{call.symbol}({', '.join(arguments)}, ptr {self._arena(call.work)})")

    def _callout(self, call: CalloutCall) -> None:
        """A call of a function outside; the first failure stays in the flag."""
        assert self.flag is not None
        for k, size in enumerate(call.sizes):
            self.lines.append(f"  store i64 {self.size(size)}, ptr {self._emit(f'getelementptr i64, ptr %sizes, i64 {k}')}")
        for k, value in enumerate(call.memory):
            self.lines.append(f"  store ptr {self._pointer(value)}, ptr {self._emit(f'getelementptr ptr, ptr %memory, i64 {k}')}")
        status = self._emit(f'call i32 @"{call.symbol}"(ptr %sizes, ptr %memory)')
        flag = self._arena(self.flag)
        before = self._emit(f"load i32, ptr {flag}, align 4")
        new = self._emit(f"select i1 {self._emit(f'icmp ne i32 {status}, 0')}, i32 {FAILED}, i32 0")
        first = self._emit(f"icmp eq i32 {before}, 0")
        self.lines.append(f"  store i32 {self._emit(f'select i1 {first}, i32 {new}, i32 {before}')}, ptr {flag}, align 4")

    def _convolution(self, call: ConvolutionCall) -> None:
        for k, size in enumerate(call.table):
            self.lines.append(f"  store i64 {self.size(size)}, ptr {self._emit(f'getelementptr i64, ptr %table, i64 {k}')}")
        places = [f"ptr {self._element(value, self.size(offset))}" for value, offset in call.operands]
        arguments = ["ptr %table", *places, f"ptr {self._arena(call.work)}"]
        if call.share is not None:
            self._shared(shared_convolution(self.symbol, call.symbol, call.features_first), call.share, arguments, [call.apart])
        else:
            self.lines.append(f"  call void @{call.symbol}(i64 {int(call.features_first)}, {', '.join(arguments)})")

    def _product(self, call: ProductCall) -> None:
        if call.share is not None:
            arguments = [f"i64 {self.size(s)}" for s in call.sizes]
            for matrix in (call.left, call.right, call.result):
                strides = (matrix.batch, matrix.row, matrix.column)[: 2 if matrix is call.result else 3]
                arguments += [f"ptr {self._matrix(matrix, '0')}", *(f"i64 {self.size(stride)}" for stride in strides)]
            self._shared(shared_product(self.symbol, call.symbol), call.share, [*arguments, f"ptr {self._arena(call.work)}"], [call.apart])
            return
        if call.count == 1:
            self._one_product(call, "0")
            return
        self.count += 1
        k = self.count
        count = self.size(call.count)
        enter = self._emit(f"icmp sgt i64 {count}, 0")
        self.lines += [f"  br label %before{k}", f"before{k}:", f"  br i1 {enter}, label %batch{k}, label %after{k}", f"batch{k}:"]
        at = len(self.lines)
        self._one_product(call, f"%i{k}")
        following = self._emit(f"add i64 %i{k}, 1")
        again = self._emit(f"icmp slt i64 {following}, {count}")
        self.lines.insert(at, f"  %i{k} = phi i64 [0, %before{k}], [{following}, %batch{k}]")
        self.lines += [f"  br i1 {again}, label %batch{k}, label %after{k}", f"after{k}:"]

    def _one_product(self, call: ProductCall, batch: str) -> None:
        m, n, k = (self.size(s) for s in call.sizes)
        a, b, c = (self._matrix(x, batch) for x in (call.left, call.right, call.result))
        strides = [self.size(s) for s in (call.left.row, call.left.column, call.right.row, call.right.column)]
        self.lines.append(
            f"  call void @{call.symbol}(i64 {m}, i64 {n}, i64 {k}, ptr {a}, i64 {strides[0]}, i64 {strides[1]}, "
            f"ptr {b}, i64 {strides[2]}, i64 {strides[3]}, ptr {c}, i64 {self.size(call.result.row)}, i64 0, ptr {self._arena(call.work)})"
        )

    def _matrix(self, matrix: MatrixOperand, batch: str) -> str:
        where = self.size(matrix.offset)
        if batch != "0" and matrix.batch != 0:
            where = self._emit(f"add i64 {where}, {self._emit(f'mul i64 {batch}, {self.size(matrix.batch)}')}")
        return self._element(matrix.value, where)

    def _element(self, value: Value, where: str) -> str:
        pointer = self._pointer(value)
        if where == "0":
            return pointer
        size = element(value.type).itemsize
        return self._emit(f"getelementptr i8, ptr {pointer}, i64 {self._emit(f'mul i64 {where}, {size}')}")
