"""One spelling per meaning: constants on the right, no movement that moves nothing, successive movements joined.

    func @f(%x: f32[2, 3]) -> f32[2, 3] {
      %0 = transpose %x {perm = [1, 0]} : f32[3, 2]
      %1 = transpose %0 {perm = [1, 0]} : f32[2, 3]
      %2 = add 1.0, %1 : f32[2, 3]
      return %2
    }
    // becomes
    func @f(%x: f32[2, 3]) -> f32[2, 3] {
      %0 = add %x, 1.0 : f32[2, 3]
      return %0
    }
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rustorch.ir.builder import Builder
from rustorch.ir.dtypes import FLOATS
from rustorch.ir.graph import Graph, Node, Value
from rustorch.ir.op import Trait
from rustorch.ir.pattern import AnyRule, FunctionRule, Log, rewrite, splat
from rustorch.ir.types import DType, TensorType, element
from rustorch.ops.contraction import free
from rustorch.ops.family import others
from rustorch.passes import dead_code


def run(graph: Graph, log: Log | None = None) -> Graph:
    """The graph in canonical form."""
    return dead_code.run(rewrite(graph, RULES, log))


def shape_of(value: Value) -> tuple[Any, ...]:
    """The sizes of a tensor."""
    assert isinstance(value.type, TensorType)
    return value.type.shape


def _behind(b: Builder, value: Value, op: str) -> Node | None:
    """The node that made a value, if it is of this op."""
    node = b.producer(value)
    return node if node is not None and node.op.name == op else None


# --- Arithmetic -------------------------------------------------------------------------------------------------------


def _constant_right(b: Builder, node: Node) -> Value | None:
    """c + x is x + c, for every commutative op."""
    if Trait.COMMUTATIVE not in node.op.traits or len(node.operands) != 2:
        return None
    left, right = (_behind(b, v, "const") is not None for v in node.operands)
    return b.emit(node.op, node.operands[::-1], node.attrs)[0] if left and not right else None


def _subtracted_constant(b: Builder, node: Node) -> Value | None:
    """x - c is x + -c, to the bit."""
    number = splat(b, node.operands[1])
    if number is None or splat(b, node.operands[0]) is not None:
        return None
    sum_: Value = b.add(node.operands[0], b.const(_negative(number, node.results[0]), node.results[0]))
    return sum_


def _negative(number: Any, like: Value) -> Any:
    """-number; the smallest integer is its own negative."""
    dtype = element(like.type)
    if dtype in FLOATS:
        return -number
    return number if number == -(1 << (dtype.bits - 1)) else -number


def _times_minus_one(b: Builder, node: Node) -> Value | None:
    """x * -1 is -x."""
    negated: Value | None = b.neg(node.operands[0]) if splat(b, node.operands[1]) == -1 else None
    return negated


# --- Movement ---------------------------------------------------------------------------------------------------------


def _of_splat(b: Builder, node: Node) -> Value | None:
    """Movement of a repeated number."""
    number = splat(b, node.operands[0])
    return None if number is None else b.const(number, node.results[0])


def _reshape(b: Builder, node: Node) -> Value | None:
    (x,) = node.operands
    if x.type is node.results[0].type:
        return x
    inner = _behind(b, x, "reshape")
    moved: Value | None = b.reshape(inner.operands[0], shape=node.attrs["shape"]) if inner is not None else None
    return moved


def _transpose(b: Builder, node: Node) -> Value | None:
    (x,), perm = node.operands, node.attrs["perm"]
    if perm == tuple(range(len(perm))):
        return x
    inner = _behind(b, x, "transpose")
    if inner is not None:
        moved: Value = b.transpose(inner.operands[0], perm=tuple(inner.attrs["perm"][p] for p in perm))
        return moved
    return _transposed_product(b, node)


def _transposed_product(b: Builder, node: Node) -> Value | None:
    """(x y)ᵀ is yᵀ xᵀ: where the right operand's free axes are moved before the left's, the operands change places."""
    product = _behind(b, node.operands[0], "dot_general")
    if product is None:
        return None
    lhs, rhs = product.operands
    contract, batch = product.attrs["contract"], product.attrs["batch"]
    groups, left = len(batch[0]), len(free(len(shape_of(lhs)), contract[0], batch[0]))
    rank = len(node.attrs["perm"])
    if node.attrs["perm"] != (*range(groups), *range(groups + left, rank), *range(groups, groups + left)):
        return None
    swapped: Value = b.dot_general(rhs, lhs, contract=contract[::-1], batch=batch[::-1])
    return swapped


def _broadcast(b: Builder, node: Node) -> Value | None:
    (x,), shape, dims = node.operands, node.attrs["shape"], node.attrs["dims"]
    if x.type is node.results[0].type:
        return x
    inner = _behind(b, x, "broadcast_to")
    if inner is None:
        return None
    joined = tuple(dims[k] for k in inner.attrs["dims"])
    moved: Value = b.broadcast_to(inner.operands[0], shape=shape, dims=joined)
    return moved


def _slice(b: Builder, node: Node) -> Value | None:
    (x,), attrs = node.operands, node.attrs
    if x.type is node.results[0].type and all(stride == 1 for stride in attrs["strides"]):
        return x
    inner = _behind(b, x, "slice")
    if inner is None:
        return None
    # element i is x[start + stride * (inner start + inner stride * i)]
    outer, within = (_ranges(n) for n in (node, inner))
    starts, limits, strides = [], [], []
    for (start, limit, stride), (base, _, step) in zip(outer, within, strict=True):
        starts.append(base + start * step)
        limits.append(base + start * step if limit == start else base + (limit - 1) * step + 1)
        strides.append(stride * step)
    moved: Value = b.slice(inner.operands[0], starts=tuple(starts), limits=tuple(limits), strides=tuple(strides))
    return moved if moved.type is node.results[0].type else None


def _ranges(node: Node) -> list[tuple[Any, Any, int]]:
    return list(zip(node.attrs["starts"], node.attrs["limits"], node.attrs["strides"], strict=True))


def _pad(b: Builder, node: Node) -> Value | None:
    """Nothing is added."""
    return node.operands[0] if node.operands[0].type is node.results[0].type else None


def _flip(b: Builder, node: Node) -> Value | None:
    (x,), axes = node.operands, node.attrs["axes"]
    turned = tuple(sorted(a for a in axes if shape_of(x)[a] != 1))
    if not turned:
        return x
    inner = _behind(b, x, "flip")
    if inner is not None:
        moved: Value = b.flip(inner.operands[0], axes=tuple(sorted(set(turned) ^ set(inner.attrs["axes"]))))
        return moved
    changed: Value | None = b.flip(x, axes=turned) if turned != axes else None
    return changed


def _concat(b: Builder, node: Node) -> Value | None:
    """Parts without elements are left out; one part is itself."""
    axis = node.attrs["axis"]
    parts = [v for v in node.operands if shape_of(v)[axis] != 0] or list(node.operands[:1])
    if len(parts) == 1:
        return parts[0]
    joined: Value | None = b.concat(*parts, axis=axis) if len(parts) < len(node.operands) else None
    return joined


# --- Conversions ------------------------------------------------------------------------------------------------------

# For each element type, those that hold all of its values.
_WIDER = {"bool": {"i32", "i64", "f32", "f64"}, "i32": {"i64", "f64"}, "i64": set[str](), "f32": {"f64"}, "f64": set[str]()}


def _convert(b: Builder, node: Node) -> Value | None:
    (x,), target = node.operands, element(node.results[0].type)
    if element(x.type) is target:
        return x
    inner = _behind(b, x, "convert")
    if inner is None:
        return None
    source, middle = element(inner.operands[0].type), element(x.type)
    if middle.short not in _WIDER[source.short] or not _keeps(source, middle, target):
        return None
    converted: Value = b.convert(inner.operands[0], dtype=target)
    return converted


def _keeps(source: DType, middle: DType, target: DType) -> bool:
    """Whether a conversion in two steps is the one in one step: back to the source, or on to a type that holds it too."""
    return target is source or target.short in _WIDER[source.short]


def _bitcast(b: Builder, node: Node) -> Value | None:
    (x,), target = node.operands, element(node.results[0].type)
    if element(x.type) is target:
        return x
    inner = _behind(b, x, "bitcast")
    cast: Value | None = b.bitcast(inner.operands[0], dtype=target) if inner is not None else None
    return cast


# --- Reductions and products ------------------------------------------------------------------------------------------

_JOINABLE = ("reduce_max", "reduce_min", "reduce_and", "reduce_or")
"""Reductions whose result does not depend on the order of combination, for any element type."""


def _reduction(b: Builder, node: Node) -> Value | None:
    (x,), axes, name = node.operands, node.attrs["axes"], node.op.name
    exact = name in _JOINABLE or element(x.type) not in FLOATS
    if all(shape_of(x)[a] == 1 for a in axes):
        kept: Value = b.reshape(x, shape=shape_of(node.results[0]))
        if name == "reduce_sum" and not exact:
            kept = b.add(kept, 0.0)  # sums start at 0.0, so that of -0.0 is 0.0
        return kept
    inner = _behind(b, x, name)
    if inner is None or not exact:
        return None
    left = others(len(shape_of(inner.operands[0])), inner.attrs["axes"])
    joined = tuple(sorted((*inner.attrs["axes"], *(left[a] for a in axes))))
    return b.emit(node.op, inner.operands, {"axes": joined})[0]


def _sum_of_splat(b: Builder, node: Node) -> Value | None:
    """n times a number, where every partial sum is exact."""
    number, (x,) = splat(b, node.operands[0]), node.operands
    count: Any = 1
    for axis in node.attrs["axes"]:
        count = count * shape_of(x)[axis]
    if number is None or not isinstance(count, int):
        return None
    dtype = element(x.type)
    if dtype in FLOATS:
        exact = float(number).is_integer() and abs(number) * count <= 2 ** (24 if dtype.bits == 32 else 53)
        return b.const(number * count + 0.0, node.results[0]) if exact and not _is_negative_zero(number) else None
    wrapped = (number * count + (1 << (dtype.bits - 1))) % (1 << dtype.bits) - (1 << (dtype.bits - 1))
    return b.const(wrapped, node.results[0])


def _is_negative_zero(number: float) -> bool:
    return number == 0 and str(number).startswith("-")


def _extreme_of_splat(b: Builder, node: Node) -> Value | None:
    """The largest of equal numbers is that number, where there is one at all."""
    sizes = [shape_of(node.operands[0])[a] for a in node.attrs["axes"]]
    return _of_splat(b, node) if all(isinstance(s, int) and s > 0 for s in sizes) else None


def _product(b: Builder, node: Node) -> Value | None:
    """A transposed operand is read through its permutation, where its free axes stay in order."""
    contract, batch = list(node.attrs["contract"]), list(node.attrs["batch"])
    operands = list(node.operands)
    for side in (0, 1):
        inner = _behind(b, operands[side], "transpose")
        if inner is None:
            continue
        perm = inner.attrs["perm"]
        kept = [perm[a] for a in free(len(perm), contract[side], batch[side])]
        if kept != sorted(kept):
            continue
        contract[side] = tuple(perm[a] for a in contract[side])
        batch[side] = tuple(perm[a] for a in batch[side])
        operands[side] = inner.operands[0]
    if operands == list(node.operands):
        return None
    product: Value = b.dot_general(*operands, contract=tuple(contract), batch=tuple(batch))
    return product


def _rules(name: str, ops: Sequence[str], function: Callable[[Builder, Node], Value | None]) -> list[FunctionRule]:
    return [FunctionRule(name, op, function) for op in ops]


RULES: tuple[AnyRule, ...] = (
    FunctionRule("constant-right", None, _constant_right),
    FunctionRule("sub-constant", "sub", _subtracted_constant),
    FunctionRule("mul-minus-one", "mul", _times_minus_one),
    *_rules("movement-of-splat", ("reshape", "transpose", "broadcast_to", "slice", "flip"), _of_splat),
    FunctionRule("reshape", "reshape", _reshape),
    FunctionRule("transpose", "transpose", _transpose),
    FunctionRule("broadcast", "broadcast_to", _broadcast),
    FunctionRule("slice", "slice", _slice),
    FunctionRule("pad", "pad", _pad),
    FunctionRule("flip", "flip", _flip),
    FunctionRule("concat", "concat", _concat),
    FunctionRule("convert", "convert", _convert),
    FunctionRule("bitcast", "bitcast", _bitcast),
    *_rules("reduction", ("reduce_sum", "reduce_prod", *_JOINABLE), _reduction),
    FunctionRule("sum-of-splat", "reduce_sum", _sum_of_splat),
    *_rules("extreme-of-splat", _JOINABLE, _extreme_of_splat),
    FunctionRule("product-of-transpose", "dot_general", _product),
)
