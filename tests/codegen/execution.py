"""Generated code, run without LLVM: every call of the plan by the loop interpreter, on one real arena.

Places that the memory plan lets two values share are shared here too, and the arena is filled with rubbish first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rustorch.codegen.emit_driver import KernelCall, MatrixOperand, ProductCall
from rustorch.codegen.expand import expand_math
from rustorch.codegen.generate import Generated, generate
from rustorch.codegen.target import target
from rustorch.compiler.pipeline import lowered
from rustorch.ir.dims import Size, evaluate
from rustorch.ir.graph import Graph, Payload, Value
from rustorch.ir.types import BufferType, TensorType
from rustorch.ops.interpret import bind_sizes
from rustorch.ops.interpret_loops import run_kernel

Array = np.ndarray[Any, Any]

FAILED = "a check failed"


def simplified(graph: Graph) -> Graph:
    """What code generation is given."""
    return lowered(graph)[-1][1]


def generated(graph: Graph, level: str = "v2") -> Generated:
    """The code of a graph, after all passes."""
    return generate(simplified(graph), "test", target(level))


def run_plan(code: Generated, arrays: Sequence[Array], expanded: bool = False) -> list[Array]:
    """The outputs of generated code; with `expanded`, elementary functions are run as the arithmetic they become."""
    return _Run(code, arrays, expanded).run()


class _Run:
    def __init__(self, code: Generated, arrays: Sequence[Array], expanded: bool) -> None:
        self.code, self.expanded = code, expanded
        self.sizes = bind_sizes(code.graph, [np.asarray(a) for a in arrays])
        self.inputs = [np.array(a).reshape(-1) for a in arrays]
        self.outputs = [np.zeros(self.size(t(v).size), t(v).dtype.numpy) for v in code.plan.outputs]
        self.arena = np.full(self.size(code.memory.arena_bytes) + 64, 0xA5, np.uint8)
        self.flag = np.zeros(1, np.int32)

    def size(self, size: Size) -> int:
        return evaluate(size, self.sizes)

    def run(self) -> list[Array]:
        kernels = iter(self.code.kernels)
        before = [a.copy() for a in self.inputs]
        for call in self.code.calls:
            if isinstance(call, ProductCall):
                self.product(call)
            else:
                graph = next(kernels).graph
                graph_run = expand_math(graph, self.code.target) if self.expanded else graph
                for part in self.parts(call):
                    run_kernel(graph_run, self.buffers(graph, call), {**self.sizes, **part})
        if self.flag[0]:
            raise IndexError(FAILED)
        assert all(np.array_equal(a.view(np.uint8), b.view(np.uint8)) for a, b in zip(self.inputs, before, strict=True))
        shapes = [tuple(map(self.size, t(v).shape)) for v in self.code.plan.outputs]
        return [a.reshape(shape) for a, shape in zip(self.outputs, shapes, strict=True)]

    def parts(self, call: KernelCall) -> list[dict[str, int]]:
        """The units of a call that tasks may share, in two tasks, the second one first."""
        if call.share is None:
            return [{}]
        units = self.size(call.share.units)
        middle = units // 2
        return [{"first": middle, "limit": units}, {"first": 0, "limit": middle}]

    def memory(self, value: Value) -> Array:
        """The flat array where a value lies."""
        place = self.code.memory.places[value]
        if place.kind == "input":
            return self.inputs[place.index]
        if place.kind == "output":
            return self.outputs[place.index]
        if place.kind == "constant":
            payload = self.code.plan.producers[value].attrs["value"]
            assert isinstance(payload, Payload)
            return payload.array.reshape(-1)
        return self.part(place.offset, self.size(t(value).size), t(value).dtype.numpy)

    def part(self, offset: Size, size: int, dtype: np.dtype[Any]) -> Array:
        start = self.size(offset)
        assert start % 64 == 0 and start + size * dtype.itemsize <= self.size(self.code.memory.arena_bytes)
        return self.arena[start : start + size * dtype.itemsize].view(dtype)

    def buffers(self, graph: Graph, call: KernelCall) -> list[Array]:
        types = [v.type for v in graph.inputs if isinstance(v.type, BufferType)]
        found = [self.memory(v) for v in call.memory]
        for type_, offset in zip(types[len(found) :], call.scratch, strict=False):
            count = int(np.prod([self.size(s) for s in type_.shape]))
            found.append(self.part(offset, count, type_.dtype.numpy))
        return [*found, self.flag] if call.flagged else found

    def product(self, call: ProductCall) -> None:
        batch, (m, n, k) = self.size(call.count), map(self.size, call.sizes)
        left, right = self.matrix(call.left, (batch, m, k)), self.matrix(call.right, (batch, k, n))
        with np.errstate(all="ignore"):
            self.matrix(call.result, (batch, m, n))[...] = np.matmul(left, right)

    def matrix(self, operand: MatrixOperand, shape: tuple[int, int, int]) -> Array:
        memory = self.memory(operand.value)[self.size(operand.offset) :]
        strides = [self.size(s) * memory.itemsize for s in (operand.batch, operand.row, operand.column)]
        reach = [(n - 1) * s for n, s in zip(shape, strides, strict=True)]
        if 0 in shape:
            return np.zeros(shape, memory.dtype)
        start = self.size(operand.offset) * memory.itemsize
        assert start + sum(min(r, 0) for r in reach) >= 0
        assert sum(max(r, 0) for r in reach) < memory.nbytes
        return np.lib.stride_tricks.as_strided(memory, shape, strides)


def t(value: Value) -> TensorType:
    assert isinstance(value.type, TensorType)
    return value.type
