"""`dot_general` as matrix products: its axes in groups, each group walked with one stride."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from rustorch.codegen.views import View, tensor
from rustorch.ir.builder import Builder
from rustorch.ir.dims import Size, product
from rustorch.ir.graph import Graph, Node, Value
from rustorch.ir.rewrite import replay
from rustorch.ir.types import contiguous_strides


@dataclass(frozen=True)
class Groups:
    """Axes of one operand: batch axes, axes of its own (rows of the left, columns of the right), contracted axes."""

    batch: tuple[int, ...]
    free: tuple[int, ...]
    contract: tuple[int, ...]

    @property
    def all(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """The three groups in order."""
        return self.batch, self.free, self.contract


def operand_axes(node: Node, k: int) -> Groups:
    """The axis groups of operand `k` (0 left, 1 right) of a `dot_general`."""
    contract: Any = node.attrs["contract"]
    batch: Any = node.attrs["batch"]
    taken = set(contract[k]) | set(batch[k])
    free = tuple(a for a in range(tensor(node.operands[k]).rank) if a not in taken)
    return Groups(tuple(batch[k]), free, tuple(contract[k]))


def group_stride(shape: tuple[Size, ...], strides: tuple[Size, ...], axes: tuple[int, ...]) -> Size | None:
    """The one stride that walks `axes` (outermost first) as a single axis, or None where there is none."""
    real = [a for a in axes if shape[a] != 1]
    if not real:
        return 0
    for outer, inner in pairwise(real):
        if strides[outer] != strides[inner] * shape[inner]:
            return None
    return strides[real[-1]]


def grouped_strides(shape: tuple[Size, ...], strides: tuple[Size, ...], groups: Groups) -> tuple[Size, Size, Size] | None:
    """Strides of the batch, free and contracted groups, or None where a group has no single stride."""
    found = [group_stride(shape, strides, axes) for axes in groups.all]
    if any(stride is None for stride in found):
        return None
    batch, free, contract = found
    assert batch is not None and free is not None and contract is not None
    return batch, free, contract


def kernel_strides(seen: View, node: Node) -> tuple[Size, Size, Size, Size] | None:
    """Strides of a convolution's kernel over groups, features, channels and taps, or None where it has to be copied.

    The taps are walked with one stride, and so are channels and taps together unless the sum runs over the taps alone.
    """
    shape = tensor(node.operands[1]).shape
    strides = seen.strided(len(shape))[1]
    first = 3 if node.attrs["features_first"] else 2
    tap = group_stride(shape, strides, tuple(range(first, len(shape))))
    return None if tap is None else (*strides[:3], tap)  # type: ignore[return-value]


def product_sizes(node: Node) -> tuple[Size, Size, Size, Size]:
    """Of a `dot_general`: the number of products, of rows and of columns, and the contracted length."""
    left, right = (tensor(v).shape for v in node.operands)
    (batch, rows, depth), columns = operand_axes(node, 0).all, operand_axes(node, 1).free
    count, m, k = (product(tuple(left[a] for a in axes)) for axes in (batch, rows, depth))
    return count, m, product(tuple(right[a] for a in columns)), k


def order_products(graph: Graph) -> Graph:
    """The graph with each operand of a product in an order of axes in which its row-major memory can be read as a matrix.

    Where an operand's groups interleave (`f32[rows, batch, k]`), a transpose stands before the product: a view if the
    memory behind it has the strides, a copy if not.
    """

    def visit(b: Builder, node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
        if node.op.name != "dot_general":
            return None
        groups = [operand_axes(node, k) for k in (0, 1)]
        ordered: list[Value] = []
        batch: list[tuple[int, ...]] = []
        contract: list[tuple[int, ...]] = []
        for x, group in zip(operands, groups, strict=True):
            shape = tensor(x).shape
            if grouped_strides(shape, contiguous_strides(shape), group) is None:
                x = b.transpose(x, perm=(*group.batch, *group.free, *group.contract))
                rank = len(shape)
                group = Groups(tuple(range(len(group.batch))), (), tuple(range(rank - len(group.contract), rank)))
            ordered.append(x)
            batch.append(group.batch)
            contract.append(group.contract)
        return b.emit(node.op, ordered, {"contract": tuple(contract), "batch": tuple(batch)})

    return replay(graph, visit)
