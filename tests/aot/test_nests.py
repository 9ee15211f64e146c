"""Packages of functions that convolve, pool, sort and scan: what they call travels with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rustorch
import rustorch.functional as F
from rustorch.aot import export, load

f64 = rustorch.f64


def network(x: Any, w: Any) -> Any:
    pooled = F.max_pool2d(F.conv2d(x, w, stride=2, padding=1), 2)
    return (pooled.sum(dim=(1, 2, 3)).sort()[0].cumsum(0) ** 2).sum()


@pytest.mark.parametrize("batch", [3, "n"])
def test_value_and_gradient(batch: Any, tmp_path: Path) -> None:
    package = export(network, {"x": f64[batch, 3, 8, 8], "w": f64[4, 3, 3, 3]}, ["value_and_grad"], name="network")
    library: Any = load(package.save(tmp_path / "network"))
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal((3, 3, 8, 8)), rng.standard_normal((4, 3, 3, 3))
    value, *gradients = library.value_and_grad(x, w)
    expected, (by_x, by_w) = rustorch.value_and_grad(network, argnums=(0, 1))(rustorch.tensor(x), rustorch.tensor(w))
    np.testing.assert_allclose(value, expected.numpy(), rtol=1e-12)
    for mine, other in zip(gradients, (by_x, by_w), strict=True):
        np.testing.assert_allclose(mine, other.numpy(), rtol=1e-11, atol=1e-11)
