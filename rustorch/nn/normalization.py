"""Layers that normalise parts of their input."""

from __future__ import annotations

import warnings
from typing import Any

from rustorch import functional
from rustorch.errors import ArgumentError, ShapeError
from rustorch.nn.layers import Affine, BatchNorm1d
from rustorch.nn.module import Module


class BatchNorm3d(BatchNorm1d):
    """`BatchNorm1d` of volumes: the batch and the three dimensions of space are averaged over."""

    ranks = (5,)


class GroupNorm(Affine):
    """Mean 0 and variance 1 over groups of channels, times a weight, plus a bias."""

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if num_channels % num_groups:
            raise ArgumentError(f"num_channels ({num_channels}) must be divisible by num_groups ({num_groups})")
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine
        self._take_affine((num_channels,), affine, affine and bias, device, dtype)

    def forward(self, input: Any) -> Any:
        """The input, normalized."""
        own = self._parameters
        return functional.group_norm(input, self.num_groups, own["weight"], own["bias"], self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, bias={self.bias is not None}"


class _InstanceNorm(BatchNorm1d):
    """Running statistics, a weight and a bias, all of them left out unless asked for."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype)

    def forward(self, input: Any) -> Any:
        """The input, normalized; one element of a batch may come without the batch dimension."""
        alone, batched = (rank for rank in sorted(self.ranks))
        if input.ndim not in self.ranks:
            raise ShapeError(f"expected {alone}D or {batched}D input (got {input.ndim}D input)")
        axis = input.ndim - batched + 1
        if input.shape[axis] != self.num_features:
            if self.affine:
                raise ArgumentError(
                    f"expected input's size at dim={axis} to match num_features ({self.num_features}), but got: {input.shape[axis]}."
                )
            warnings.warn(
                f"input's size at dim={axis} does not match num_features. You can silence this warning by not passing in num_features, "
                "which is not used because affine=False",
                stacklevel=2,
            )
        own, seen = self._parameters, self._buffers
        x = input if input.ndim == batched else input.unsqueeze(0)
        stats = self.training or not self.track_running_stats
        found = functional.instance_norm(
            x, seen["running_mean"], seen["running_var"], own["weight"], own["bias"], stats,
            0.0 if self.momentum is None else self.momentum, self.eps,
        )  # fmt: skip
        return found if input.ndim == batched else found.squeeze(0)

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, bias={self.affine}, "
            f"track_running_stats={self.track_running_stats}"
        )


class InstanceNorm1d(_InstanceNorm):
    """Mean 0 and variance 1 over each channel of each sequence."""

    ranks = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    """Mean 0 and variance 1 over each channel of each image."""

    ranks = (3, 4)


class InstanceNorm3d(_InstanceNorm):
    """Mean 0 and variance 1 over each channel of each volume."""

    ranks = (4, 5)


class LocalResponseNorm(Module):
    """x, divided by a power of the average square over neighbouring channels."""

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, input: Any) -> Any:
        """The input, normalized."""
        return functional.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
