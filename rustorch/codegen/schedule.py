"""How a kernel's loops are laid out: vector axis, lanes, unrolling, virtual lanes of reductions."""

from __future__ import annotations

from dataclasses import dataclass

from rustorch.codegen.target import Target
from rustorch.ir.dims import Size
from rustorch.ir.types import DType

ROW_BLOCK, COLUMN_BLOCK = 4096, 128
"""Sums are made in blocks of this many elements: along the lanes, on several accumulators; along another axis, on one."""

TASK_CYCLES = 12_000
"""The least work, in estimated cycles, that is worth another thread: several times what waking one costs that still spins."""


@dataclass(frozen=True)
class Schedule:
    """`lanes` elements of axis `vector_axis` (None: scalar code) at a time, `unroll` vectors a turn.

    Virtual lanes: element j of a run of a reduction goes to lane j mod V, where V = lanes * accumulators(dtype) depends on the
    level and the element type only. So a sum has the same bits whatever it is fused with.
    """

    vector_axis: int | None
    lanes: int
    unroll: int
    virtual_bytes: int

    def accumulators(self, dtype: DType) -> int:
        """Vector accumulators of a reduction over elements of `dtype`."""
        virtual = self.virtual_bytes * 8 // max(dtype.bits, 32)
        return max(1, virtual // self.lanes)

    @property
    def virtual_lanes(self) -> int:
        """The most lanes that a reduction may have."""
        return self.virtual_bytes // 4

    def __str__(self) -> str:
        axis = "none" if self.vector_axis is None else f"{self.vector_axis} x {self.lanes}"
        return f"{{vector = {axis}, unroll = {self.unroll}}}"


def schedule(shape: tuple[Size, ...], dtypes: list[DType], cost: int, accumulates: bool, target: Target) -> Schedule:
    """The schedule of a kernel over `shape` whose values have `dtypes` and cost `cost` per element.

    Bodies that add up along the lanes are unrolled further: their accumulators are chains that copies take turns at.
    """
    virtual = 4 * target.vector_bytes
    if not shape:
        return Schedule(None, 1, 1, virtual)
    axis = len(shape) - 1
    size = shape[axis]
    floats = [d.bits for d in dtypes if d.kind == "float"]
    bits = min(floats or [d.bits for d in dtypes if d.kind == "int"] or [32])
    lanes = target.lanes(bits)
    if isinstance(size, int):
        while lanes > 1 and lanes // 2 >= size:
            lanes //= 2
    few, many = (40, 80) if accumulates else (8, 24)
    unroll = 4 if cost <= few else 2 if cost <= many else 1
    if isinstance(size, int):
        unroll = max(1, min(unroll, -(-size // lanes)))
    return Schedule(axis, lanes, unroll, virtual)
