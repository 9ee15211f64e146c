"""Convolutions, scans and sorting in a page and in its numbers."""

from __future__ import annotations

from typing import Any

import rustorch
import rustorch.functional as F


def network(x: Any, w: Any) -> Any:
    pooled = F.max_pool2d(F.conv2d(x, w, padding=1), 2)
    return pooled.sum(dim=(1, 2, 3)).sort()[0].cumsum(0)


def test_steps_and_costs() -> None:
    found = rustorch.inspect(network)(rustorch.ones(5, 3, 8, 8), rustorch.ones(4, 3, 3, 3))
    kinds = [kernel.kind for kernel in found.kernels]
    assert [kind for kind in kinds if kind != "kernel"] == ["convolution", "sort", "scan"]
    costs = {kernel.kind: kernel.cost for kernel in found.kernels}
    assert costs["convolution"].flops == 2 * (5 * 4 * 8 * 8) * (3 * 3 * 3)
    assert costs["scan"].flops == 5
    assert costs["sort"].written == 5 * (4 + 8)
    assert "1 convolution" in str(found)
    assert found.to_html().startswith("<!doctype html>")
    for text in (found.to_dot(), found.to_json()):
        assert "conv_general" in text
