"""Convolutions and their gradients against PyTorch's, on one thread: milliseconds and ratios.

    python -m benchmarks.convolution [--only resnet]

Both run in one process, warm, f32, in PyTorch's layout [batch, channels, height, width], in alternating blocks; the table gives
medians. A ratio below 1 is ours being faster. Shapes: the one of the design's measurements, residual networks' layers at batch
8 (the block of 64 channels at 56 by 56 first), a first layer, a layer of single pixels, and the digits example's.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks.timing import block, interleaved

BLOCKS, SECONDS = 9, 0.08
Run = Callable[[], Any]


@dataclass(frozen=True)
class Case:
    """A convolution of `batch` square images with square kernels."""

    name: str
    batch: int
    channels: int
    features: int
    size: int
    taps: int
    stride: int = 1
    padding: int = 0

    @property
    def places(self) -> int:
        """Places along one axis."""
        return (self.size + 2 * self.padding - self.taps) // self.stride + 1

    @property
    def flops(self) -> float:
        """Of one pass; each gradient has as many."""
        return 2.0 * self.batch * self.features * self.channels * self.taps**2 * self.places**2


CASES = [
    Case("design 28x28", 64, 32, 64, 28, 3, 1, 1),
    Case("resnet 56x56", 8, 64, 64, 56, 3, 1, 1),
    Case("resnet 28x28, stride 2", 8, 64, 128, 56, 3, 2, 1),
    Case("resnet 14x14", 8, 256, 256, 14, 3, 1, 1),
    Case("resnet 7x7", 8, 512, 512, 7, 3, 1, 1),
    Case("resnet first", 8, 3, 64, 112, 7, 2, 3),
    Case("pixels", 8, 256, 64, 56, 1),
    Case("digits", 64, 32, 32, 8, 3, 1, 1),
]


def runs(library: str, case: Case) -> dict[str, Run]:
    """The forward pass, the gradient with respect to the images, that with respect to the kernels."""
    import numpy as np

    rng = np.random.default_rng(0)
    images = rng.standard_normal((case.batch, case.channels, case.size, case.size)).astype(np.float32)
    kernels = rng.standard_normal((case.features, case.channels, case.taps, case.taps)).astype(np.float32)
    cotangent = rng.standard_normal((case.batch, case.features, case.places, case.places)).astype(np.float32)
    if library == "torch":
        import torch

        x, w, ct = map(torch.tensor, (images, kernels, cotangent))
        steps = [case.stride] * 2, [case.padding] * 2, [1, 1], False, [0, 0], 1

        def back(*which: bool) -> Run:
            return lambda: torch.ops.aten.convolution_backward(ct, x, w, None, *steps, [*which, False])

        forward = torch.nn.functional.conv2d
        return {
            "forward": lambda: forward(x, w, stride=case.stride, padding=case.padding),
            "images": back(True, False),
            "kernels": back(False, True),
        }
    import rustorch

    x, w, ct = map(rustorch.tensor, (images, kernels, cotangent))

    def convolved(x: Any, w: Any) -> Any:
        return rustorch.functional.conv2d(x, w, stride=case.stride, padding=case.padding)

    jitted = rustorch.jit(convolved)
    by_images = rustorch.jit(rustorch.grad(lambda x, w, ct: (convolved(x, w) * ct).sum()))
    by_kernels = rustorch.jit(rustorch.grad(lambda w, x, ct: (convolved(x, w) * ct).sum()))
    return {"forward": lambda: jitted(x, w), "images": lambda: by_images(x, w, ct), "kernels": lambda: by_kernels(w, x, ct)}


def compared(ours: Run, theirs: Run) -> tuple[float, float]:
    """Median milliseconds a call, in alternating blocks."""
    sides = {}
    for name, run in (("ours", ours), ("theirs", theirs)):
        run()
        sides[name] = partial(block, run, max(1, int(SECONDS / block(run, 1))))
    times = interleaved(sides, BLOCKS)
    return statistics.median(times["ours"]) * 1e3, statistics.median(times["theirs"]) * 1e3


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help="cases whose name has this in it")
    options = parser.parse_args()
    os.environ["RUSTORCH_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(1)
    print(f"{'case':24} {'pass':8} {'ours ms':>8} {'GFLOP/s':>8} {'torch ms':>9} {'ratio':>6}")
    for case in CASES:
        if options.only not in case.name:
            continue
        ours, theirs = runs("rustorch", case), runs("torch", case)
        total = [0.0, 0.0]
        for name in ours:
            mine, other = compared(ours[name], theirs[name])
            total = [total[0] + mine, total[1] + other]
            print(f"{case.name:24} {name:8} {mine:8.2f} {case.flops / mine / 1e6:8.0f} {other:9.2f} {mine / other:6.2f}", flush=True)
        print(f"{case.name:24} {'all':8} {total[0]:8.2f} {3 * case.flops / total[0] / 1e6:8.0f} {total[1]:9.2f} {total[0] / total[1]:6.2f}")


if __name__ == "__main__":
    main()
