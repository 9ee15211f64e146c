"""Native convolutions of shapes that the samples are too small for: blocks, panels, levels, operands read through views."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from rustorch.codegen.emit_driver import ConvolutionCall
from rustorch.codegen.target import LEVELS, host_level, target
from rustorch.compiler import compile_graph
from rustorch.config import config
from rustorch.ir.builder import Builder
from rustorch.ir.dims import symbol
from rustorch.ir.dtypes import f32, f64
from rustorch.ops import interpret
from rustorch.runtime import threads
from tests.codegen.execution import generated

Shape = tuple[int, ...]
TOLERANCE = {f32: 2e-6, f64: 1e-14}
"""Relative to the largest element: sums of up to 5,000 terms in chains of 384."""
RUNNABLE = list(LEVELS)[: list(LEVELS).index(host_level()) + 1]


def attributes(rank: int, **given: Any) -> dict[str, Any]:
    ones, zeros = (1,) * rank, (0,) * rank
    return {"stride": ones, "low": zeros, "high": zeros, "spread": ones, "dilation": ones, "features_first": False, **given}


CASES: dict[str, tuple[Shape, Shape, dict[str, Any]]] = {
    "two blocks of the sum": ((2, 1, 64, 13, 56), (1, 29, 64, 3, 3), {"low": (1, 1), "high": (1, 1)}),
    "a kernel larger than the cache": ((3, 1, 300, 7, 7), (1, 412, 300, 3, 3), {"low": (1, 1), "high": (1, 1)}),
    "phases": ((2, 1, 3, 61, 60), (1, 16, 3, 7, 7), {"low": (3, 3), "high": (3, 3), "stride": (2, 3)}),
    "read in place": ((2, 2, 40, 17, 19), (2, 33, 40, 1, 1), {}),
    "three axes": ((4, 1, 3, 5, 6, 7), (1, 6, 3, 3, 2, 3), {"low": (1, 0, 1), "high": (1, 1, 1), "stride": (1, 2, 3)}),
    "images share panels": ((8, 2, 24, 7, 7), (2, 9, 24, 3, 3), {"low": (1, 1), "high": (1, 1)}),
    "images share panels, read in place": ((8, 1, 24, 5, 7), (1, 9, 24, 1, 1), {}),
    "images share panels, stride": ((19, 1, 3, 9, 9), (1, 9, 3, 3, 3), {"stride": (2, 2)}),
    "zeros between elements": ((2, 1, 20, 9, 8), (1, 7, 20, 3, 4), {"spread": (2, 3), "low": (1, 2), "high": (2, 3)}),
    "zeros between, dilated": ((2, 2, 5, 9, 8), (2, 7, 5, 3, 2), {"spread": (2, 3), "dilation": (3, 2), "low": (-1, 3), "high": (2, 1)}),
    "zeros between, few taps": ((2, 1, 5, 9, 8), (1, 7, 5, 1, 1), {"spread": (3, 2), "high": (2, 1)}),
    "zeros between, one axis dense": (
        (2, 1, 5, 9, 8), (1, 7, 5, 3, 3), {"spread": (1, 2), "stride": (2, 1), "low": (1, 1), "high": (1, 1)}
    ),
    "zeros between, not to be split": (
        (2, 1, 5, 9, 8), (1, 7, 5, 3, 3), {"spread": (2, 2), "dilation": (2, 1), "low": (2, 2), "high": (2, 2)}
    ),
    "kernel's gradient": ((64, 1, 3, 17, 31), (1, 33, 3, 17, 31), {"features_first": True, "low": (1, 1), "high": (1, 1)}),
    "kernel's gradient, stride 2": (
        (64, 1, 3, 57, 57), (1, 64, 3, 28, 28), {"features_first": True, "low": (1, 1), "dilation": (2, 2)}
    ),
    "kernel's gradient, blocks of channels": (
        (300, 1, 2, 9, 70), (1, 5, 2, 9, 70), {"features_first": True, "low": (2, 2), "high": (2, 2)}
    ),
}  # fmt: skip


@pytest.fixture(params=RUNNABLE)
def level(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(config, "isa", request.param)
    return str(request.param)


def compared(b: Builder, result: Any, shapes: list[Shape], dtype: Any) -> None:
    graph = b.build([result], f"conv_{config.isa}")
    rng = np.random.default_rng(1)
    arrays = [rng.standard_normal(shape).astype(dtype.numpy) for shape in shapes]
    (actual,), (expected,) = compile_graph(graph).run(arrays), interpret(graph, arrays)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=TOLERANCE[dtype] * np.abs(expected).max())


@pytest.mark.parametrize("dtype", [f32, f64], ids=str)
@pytest.mark.parametrize("case", CASES)
def test_native(case: str, dtype: Any, level: str) -> None:
    image, kernel, given = CASES[case]
    b = Builder()
    x, w = b.input(dtype[image]), b.input(dtype[kernel])
    # The product tells the levels' graphs apart: compiled code is found by the graph's text alone.
    scaled = b.mul(x, float(1 + RUNNABLE.index(level)))
    compared(b, b.conv_general(scaled, w, **attributes(len(image) - 3, **given)), [image, kernel], dtype)


def test_operands_are_read_through_views() -> None:
    """An image that is transposed, flipped, strided and repeated, and a kernel whose taps have no one stride."""
    b = Builder()
    x, w = b.input(f64[9, 12, 2]), b.input(f64[3, 2, 6, 3])
    image = b.flip(b.transpose(x, perm=(2, 1, 0)), axes=(2,))
    image = b.slice(image, starts=(0, 1, 0), limits=(2, 12, 9), strides=(1, 2, 1))
    image = b.broadcast_to(image, shape=(4, 1, 2, 6, 9), dims=(2, 3, 4))
    kernel = b.slice(b.transpose(w, perm=(0, 1, 3, 2)), starts=(0, 0, 0, 0), limits=(3, 2, 3, 6), strides=(1, 1, 2, 2))
    kernel = b.broadcast_to(kernel, shape=(1, 3, 2, 2, 3), dims=(1, 2, 3, 4))
    compared(b, b.conv_general(image, kernel, **attributes(2, low=(1, 1))), [(9, 12, 2), (3, 2, 6, 3)], f64)


@pytest.mark.parametrize("features_first", [False, True])
def test_symbolic_sizes(features_first: bool) -> None:
    n, h, k = symbol("n"), symbol("h"), symbol("k")
    b = Builder()
    x, w = b.input(f64[n, 1, 3, h, 8]), b.input(f64[1, 5, 3, k, 3])
    attrs = attributes(2, low=(1, 1), high=(2, 1), stride=(2, 1), features_first=features_first)
    compared(b, b.conv_general(x, w, **attrs), [(6, 1, 3, 11, 8), (1, 5, 3, 4, 3)], f64)


def test_an_element_has_the_same_bits_wherever_it_stands() -> None:
    """The sum of an element depends on its terms alone: one image of a batch, some features, and rows of places are parts of the whole."""
    rng = np.random.default_rng(2)
    x, w = rng.standard_normal((3, 1, 50, 11, 40)).astype(np.float32), rng.standard_normal((1, 40, 50, 3, 3)).astype(np.float32)

    def run(x: Any, w: Any) -> Any:
        b = Builder()
        found = b.conv_general(b.input(f32[x.shape]), b.input(f32[w.shape]), **attributes(2))
        return compile_graph(b.build([found], "conv")).run([x, w])[0]

    whole = run(x, w)
    np.testing.assert_array_equal(run(x[1:2], np.ascontiguousarray(w[:, 7:10])), whole[1:2, :, 7:10])
    np.testing.assert_array_equal(run(np.ascontiguousarray(x[..., 2:9, 5:31]), w), whole[..., 2:7, 5:29])


SHARED: dict[str, tuple[Shape, Shape, dict[str, Any]]] = {
    "images": ((7, 2, 16, 20, 33), (2, 24, 16, 3, 3), {"low": (1, 1), "high": (1, 1)}),
    "images that share panels": ((13, 1, 40, 7, 7), (1, 64, 40, 3, 3), {"low": (1, 1), "high": (1, 1)}),
    "kernel's gradient": ((37, 1, 9, 20, 33), (1, 24, 9, 20, 33), {"features_first": True, "low": (1, 1), "high": (1, 1)}),
    "kernel's gradient, groups": ((19, 2, 9, 20, 33), (2, 24, 9, 18, 31), {"features_first": True}),
}


@pytest.mark.parametrize("case", SHARED)
def test_any_number_of_threads_gives_the_same_bits(case: str) -> None:
    image, kernel, given = SHARED[case]
    b = Builder()
    x, w = b.input(f32[image]), b.input(f32[kernel])
    graph = b.build([b.conv_general(x, w, **attributes(len(image) - 3, **given))], "shared")
    rng = np.random.default_rng(3)
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in (image, kernel)]
    assert re.search(r"call void @test\.rt_conv_f32_\w+\.run", generated(graph, config.isa.replace("host", host_level())).llvm)
    compiled = compile_graph(graph)
    before, found = threads.get_num_threads(), []
    try:
        for count in (1, 2, 3, 7):
            threads.set_num_threads(count)
            found.append(compiled.run(arrays)[0])
    finally:
        threads.set_num_threads(before)
    np.testing.assert_allclose(found[0], interpret(graph, arrays)[0], rtol=0, atol=2e-6 * np.abs(found[0]).max())
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)


def test_two_images_are_two_tasks_with_two_workspaces() -> None:
    b = Builder()
    x, w = b.input(f32[2, 1, 32, 40, 40]), b.input(f32[1, 32, 32, 3, 3])
    code = generated(b.build([b.conv_general(x, w, **attributes(2))], "shared"))
    (call,) = code.calls
    assert isinstance(call, ConvolutionCall) and call.share is not None and call.share.most == 2
    assert code.memory.arena_bytes == 2 * call.apart


def test_levels_are_what_they_are_called() -> None:
    assert [target(name).level for name in RUNNABLE] == RUNNABLE
