"""What is asked of every op, given its record alone: one function a question, each about one op and one of its samples."""

from __future__ import annotations

import zlib
from functools import reduce
from itertools import product
from typing import Any

import numpy as np

from rustorch.autodiff.jvp import jvp
from rustorch.autodiff.vjp import vjp
from rustorch.ir.analysis import digest
from rustorch.ir.builder import Builder
from rustorch.ir.dims import symbol
from rustorch.ir.dtypes import FLOATS, from_numpy
from rustorch.ir.graph import Graph, Value
from rustorch.ir.op import REGISTRY, IndexMap, Linear, Monoid, Multilinear, NotDifferentiable, OpDef, Sample, Trait
from rustorch.ir.parser import parse
from rustorch.ir.printer import payloads, to_text
from rustorch.ir.rewrite import expansion
from rustorch.ir.types import TensorType, Type, element
from rustorch.ir.verifier import verify
from rustorch.ops import interpret

Array = np.ndarray[Any, Any]

STEP = 1e-6
"""Of central differences: their error is about STEP^2 f''' / 6 + 1e-16 f / STEP, some 1e-9 for values near 1."""
CLOSE = {"float64": 1e-12, "float32": 4e-6}
"""Relative to the largest element: what orders of summation and roundings of compositions may differ by."""


def ops() -> list[OpDef]:
    """All ops of tensor graphs."""
    return [op for op in REGISTRY if Trait.LOOP not in op.traits]


def samples(op: OpDef) -> list[tuple[Sample, tuple[Array, ...]]]:
    """The samples of an op with the arrays they make; the same ones on every run."""
    return [(s, s.make(np.random.default_rng(zlib.crc32(f"{op.name} {s.label}".encode())))) for s in op.samples]


def type_of(array: Array) -> TensorType:
    return TensorType(from_numpy(array.dtype), array.shape)


def graph_of(op: OpDef, arrays: tuple[Array, ...], attrs: dict[str, Any], types: list[Type] | None = None) -> Graph:
    """The op alone, as a graph."""
    b = Builder()
    inputs = [b.input(t) for t in types or [type_of(a) for a in arrays]]
    return verify(b.build(b.emit(op, inputs, attrs), op.name))


def assert_close(actual: list[Array], expected: list[Array], what: str, factor: float = 1.0) -> None:
    """Equal types and shapes; integers and bools equal; floats to CLOSE, NaN and infinities in the same places."""
    assert len(actual) == len(expected), what
    for got, want in zip(actual, expected, strict=True):
        assert (got.dtype, got.shape) == (want.dtype, want.shape), what
        tolerance = CLOSE.get(want.dtype.name, 0.0) * factor
        finite = np.abs(want[np.isfinite(want)]).astype(np.float64) if want.dtype.kind == "f" else np.zeros(0)
        scale = float(min(finite.max(initial=0.0), 100.0))
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * scale, err_msg=what)


# --- Types, text, refusals --------------------------------------------------------------------------------------------


def check_reference(op: OpDef, sample: Sample, arrays: tuple[Array, ...]) -> None:
    """The reference gives what `infer` says (the interpreter compares) and leaves its operands alone."""
    before = [a.copy() for a in arrays]
    interpret(graph_of(op, arrays, sample.attrs), arrays)
    assert all(np.array_equal(x, y, equal_nan=x.dtype.kind == "f") for x, y in zip(arrays, before, strict=True))


def check_text(op: OpDef, sample: Sample, arrays: tuple[Array, ...]) -> None:
    """What prints parses back to the same graph."""
    graph = graph_of(op, arrays, sample.attrs)
    text = to_text(graph)
    again = parse(text, payloads(graph))
    assert to_text(again) == text
    assert digest(again) == digest(graph)


def check_symbolic(op: OpDef, sample: Sample, arrays: tuple[Array, ...]) -> None:
    """With symbols for all sizes above 1 the op infers a type whose sizes come out right."""
    types: list[Type] = [
        TensorType(from_numpy(a.dtype), tuple(symbol(f"n{size}") if size > 1 else size for size in a.shape)) for a in arrays
    ]
    symbolic = interpret(graph_of(op, arrays, sample.attrs, types), arrays)
    assert_close(symbolic, interpret(graph_of(op, arrays, sample.attrs), arrays), op.name)


def check_refusals(op: OpDef) -> None:
    """Every error sample raises its class and says its words."""
    for refusal in op.errors:
        try:
            op.infer(*refusal.operands, **refusal.attrs)
        except refusal.error as error:
            assert refusal.words in str(error), f"{op.name}: {refusal.words!r} is not in: {error}"
        else:
            raise AssertionError(f"{op.name} takes {refusal.operands} {refusal.attrs}")


# --- The other definitions of an op agree with its reference ----------------------------------------------------------


def check_expansion(op: OpDef, sample: Sample, arrays: tuple[Array, ...]) -> None:
    """The definition by other ops gives the reference's numbers."""
    graph = graph_of(op, arrays, sample.attrs)
    expanded = expansion(graph.nodes[0])
    if expanded is not None:
        assert_close(interpret(verify(expanded), arrays), interpret(graph, arrays), f"{op.name} {sample.label}")


def check_lowering(op: OpDef, sample: Sample, arrays: tuple[Array, ...]) -> None:
    """What code generation is told agrees with the reference: index maps read the right elements, monoids combine to it."""
    graph = graph_of(op, arrays, sample.attrs)
    expected = interpret(graph, arrays)[0]
    if isinstance(op.lower, IndexMap):
        (access,) = op.lower.access(graph.outputs[0].type, [v.type for v in graph.inputs], sample.attrs)
        actual = np.empty_like(expected)
        for place in np.ndindex(*expected.shape):
            actual[place] = arrays[0][tuple(offset if axis is None else stride * place[axis] + offset for axis, stride, offset in access)]
        assert_close([actual], [expected], f"{op.name} {sample.label}")
    if isinstance(op.lower, Monoid):
        combine, (x,), axes = REGISTRY[op.lower.combine].reference, arrays, sample.attrs["axes"]
        neutral = np.full(expected.shape, op.lower.identity(from_numpy(x.dtype)), x.dtype)
        rows: Any = np.moveaxis(x, axes, range(len(axes))).reshape(-1, *expected.shape) if x.size else []
        with np.errstate(all="ignore"):
            assert_close([np.asarray(reduce(combine, rows, neutral))], [expected], f"{op.name} {sample.label}")


def check_batch(op: OpDef, sample: Sample, arrays: tuple[Array, ...]) -> None:
    """The op on stacked operands is the stack of the op on each, whichever operands are stacked."""
    if op.batch is None:
        assert op.operands == 0, f"{op.name} has operands and no batch rule"
        return
    many = [sample.make(np.random.default_rng(seed)) for seed in range(3)]
    for batched in product((False, True), repeat=min(len(arrays), 3)):
        if not any(batched) or len(arrays) > 3:
            continue
        stacked = [np.stack([row[i] for row in many]) if yes else arrays[i] for i, yes in enumerate(batched)]
        b = Builder()
        found = op.batch(b, [b.input(type_of(a)) for a in stacked], list(batched), sample.attrs)
        outputs = [found] if isinstance(found, Value) else list(found)
        actual = interpret(verify(b.build(outputs, op.name)), stacked)
        graph = graph_of(op, arrays, sample.attrs)
        singles = [interpret(graph, [row[i] if yes else arrays[i] for i, yes in enumerate(batched)]) for row in many]
        assert_close(actual, [np.stack(parts) for parts in zip(*singles, strict=True)], f"{op.name} {sample.label} batched {batched}")


# --- Derivatives ------------------------------------------------------------------------------------------------------


def smooth(op: OpDef) -> list[tuple[Sample, tuple[Array, ...]]]:
    """The samples that derivatives are checked on: differentiable, with f64 operands and a float result."""
    return [
        (s, arrays)
        for s, arrays in samples(op)
        if s.differentiable and followed(arrays) and any(element(v.type) in FLOATS for v in graph_of(op, arrays, s.attrs).outputs)
    ]


def followed(arrays: tuple[Array, ...]) -> list[int]:
    """The operands that may have derivatives."""
    return [i for i, a in enumerate(arrays) if a.dtype == np.float64]


def directions(arrays: list[Array] | tuple[Array, ...], seed: int) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.uniform(-1, 1, a.shape)) for a in arrays]


def inner(xs: list[Array], ys: list[Array]) -> float:
    return float(sum(np.sum(x * y) for x, y in zip(xs, ys, strict=True)))


def moved(arrays: tuple[Array, ...], wrt: list[int], along: list[Array], step: float) -> list[Array]:
    """The arrays, those of `wrt` moved."""
    shift = dict(zip(wrt, along, strict=True))
    return [a + step * shift[i] if i in shift else a for i, a in enumerate(arrays)]


def floats(found: list[Array]) -> list[Array]:
    return [a for a in found if a.dtype.kind == "f"]


def check_forward(op: OpDef, sample: Sample, arrays: tuple[Array, ...]) -> None:
    """The jvp is the limit of difference quotients."""
    wrt, graph = followed(arrays), graph_of(op, arrays, sample.attrs)
    along = directions([arrays[i] for i in wrt], 1)
    ahead = floats(interpret(graph, moved(arrays, wrt, along, STEP)))
    behind = floats(interpret(graph, moved(arrays, wrt, along, -STEP)))
    tangents = interpret(verify(jvp(graph, wrt)), [*arrays, *along])[len(graph.outputs) :]
    for tangent, p, q in zip(tangents, ahead, behind, strict=True):
        np.testing.assert_allclose(tangent, (p - q) / (2 * STEP), rtol=1e-6, atol=1e-7, err_msg=f"{op.name} {sample.label}")


def check_reverse(op: OpDef, sample: Sample, arrays: tuple[Array, ...]) -> None:
    """The vjp is the transpose of the jvp: <u, J t> = <J' u, t>."""
    wrt, graph = followed(arrays), graph_of(op, arrays, sample.attrs)
    along = directions([arrays[i] for i in wrt], 1)
    tangents = interpret(jvp(graph, wrt), [*arrays, *along])[len(graph.outputs) :]
    cotangents = directions(tangents, 2)
    gradients = interpret(verify(vjp(graph, wrt)), [*arrays, *cotangents])[len(graph.outputs) :]
    np.testing.assert_allclose(
        inner(cotangents, tangents), inner(gradients, along), rtol=1e-11, atol=1e-12, err_msg=f"{op.name} {sample.label}"
    )


def check_transposes(op: OpDef, sample: Sample, arrays: tuple[Array, ...]) -> None:
    """The rules of a linear record, each by itself: <u, op(… 0, t, 0 …)> = <rule(u), t>; of a multilinear one, <u, op(… x, t, x …)>."""
    form = op.derivative
    assert isinstance(form, (Linear, Multilinear))
    u = directions(interpret(graph_of(op, arrays, sample.attrs), arrays), 1)[0]
    for i in followed(arrays):
        rule = form.transposes[i] if form.transposes else None
        if isinstance(rule, NotDifferentiable):
            continue
        (t,) = directions([arrays[i]], 2)
        still = [a if isinstance(form, Multilinear) or k not in followed(arrays) else np.zeros_like(a) for k, a in enumerate(arrays)]
        ahead = interpret(graph_of(op, arrays, sample.attrs), [t if k == i else a for k, a in enumerate(still)])
        b = Builder()
        operands = [b.input(type_of(a)) for a in arrays]
        ct = b.input(type_of(u))
        if rule is not None:
            back = rule(b, ct, *operands, **sample.attrs)
        else:
            assert isinstance(form, Linear)
            assert form.each is not None
            back = form.each(b, i, ct, *operands, **sample.attrs)
        pulled = interpret(verify(b.build([back])), [*arrays, u])
        np.testing.assert_allclose(inner([u], ahead), inner(pulled, [t]), rtol=1e-11, atol=1e-12, err_msg=f"{op.name} {sample.label}")


def check_second_order(op: OpDef, sample: Sample, arrays: tuple[Array, ...]) -> None:
    """The vjp of the vjp is the limit of difference quotients of gradients."""
    wrt, graph = followed(arrays), graph_of(op, arrays, sample.attrs)
    cotangents = directions(floats(interpret(graph, arrays)), 2)
    pulled = vjp(graph, wrt)
    gradients = Graph("gradients", pulled.inputs, pulled.nodes, pulled.outputs[len(graph.outputs) :])
    second = verify(vjp(gradients, wrt))
    weights = directions([arrays[i] for i in wrt], 3)
    curvature = interpret(second, [*arrays, *cotangents, *weights])[len(wrt) :]
    along = directions([arrays[i] for i in wrt], 4)
    ahead = interpret(gradients, [*moved(arrays, wrt, along, STEP), *cotangents])
    behind = interpret(gradients, [*moved(arrays, wrt, along, -STEP), *cotangents])
    quotient = (inner(ahead, weights) - inner(behind, weights)) / (2 * STEP)
    np.testing.assert_allclose(inner(curvature, along), quotient, rtol=1e-5, atol=1e-6, err_msg=f"{op.name} {sample.label}")
