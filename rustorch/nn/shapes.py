"""Modules that arrange and compare: padding, resampling, pixels and channels, distances, bilinear maps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import rustorch
from rustorch import functional
from rustorch.nn import init
from rustorch.nn.convolution import each
from rustorch.nn.layers import draw_rows
from rustorch.nn.module import Module
from rustorch.nn.parameter import Parameter


class _Pad(Module):
    """Elements set around the last dimensions: one number for all sides, or two a dimension, the last dimension first."""

    rank, mode, value = 1, "constant", 0.0

    def __init__(self, padding: int | Sequence[int]) -> None:
        super().__init__()
        self.padding = each(padding, 2 * self.rank)

    def forward(self, input: Any) -> Any:
        """See `functional.pad`."""
        return functional.pad(input, self.padding, self.mode, self.value if self.mode == "constant" else None)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Pad):
    """A number around."""

    def __init__(self, padding: int | Sequence[int], value: float) -> None:
        super().__init__(padding)
        self.value = value

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad):
    """A number around the last dimension."""


class ConstantPad2d(_ConstantPad):
    """A number around the last two dimensions."""

    rank = 2


class ConstantPad3d(_ConstantPad):
    """A number around the last three dimensions."""

    rank = 3


class ZeroPad1d(_Pad):
    """Zeros around the last dimension."""


class ZeroPad2d(_Pad):
    """Zeros around the last two dimensions."""

    rank = 2


class ZeroPad3d(_Pad):
    """Zeros around the last three dimensions."""

    rank = 3


class ReflectionPad1d(_Pad):
    """The last dimension reflected at its ends."""

    mode = "reflect"


class ReflectionPad2d(ReflectionPad1d):
    """The last two dimensions reflected at their ends."""

    rank = 2


class ReflectionPad3d(ReflectionPad1d):
    """The last three dimensions reflected at their ends."""

    rank = 3


class ReplicationPad1d(_Pad):
    """The ends of the last dimension repeated."""

    mode = "replicate"


class ReplicationPad2d(ReplicationPad1d):
    """The ends of the last two dimensions repeated."""

    rank = 2


class ReplicationPad3d(ReplicationPad1d):
    """The ends of the last three dimensions repeated."""

    rank = 3


class CircularPad1d(_Pad):
    """The other end of the last dimension set on."""

    mode = "circular"


class CircularPad2d(CircularPad1d):
    """The other ends of the last two dimensions set on."""

    rank = 2


class CircularPad3d(CircularPad1d):
    """The other ends of the last three dimensions set on."""

    rank = 3


class Upsample(Module):
    """Images in another size."""

    def __init__(
        self,
        size: Any = None,
        scale_factor: Any = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        super().__init__()
        self.size, self.scale_factor, self.mode = size, scale_factor, mode
        self.align_corners, self.recompute_scale_factor = align_corners, recompute_scale_factor

    def forward(self, input: Any) -> Any:
        """See `functional.interpolate`."""
        return functional.interpolate(
            input, self.size, self.scale_factor, self.mode, self.align_corners, self.recompute_scale_factor
        )

    def extra_repr(self) -> str:
        what = f"scale_factor={self.scale_factor}" if self.scale_factor is not None else f"size={self.size}"
        return f"{what}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """Images in another size, by the nearest element."""

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, "nearest")


class UpsamplingBilinear2d(Upsample):
    """Images in another size, bilinear, with corners on each other."""

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, "bilinear", align_corners=True)


class PixelShuffle(Module):
    """[…, c r², h, w] as […, c, h r, w r]."""

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        self.upscale_factor = upscale_factor

    def forward(self, input: Any) -> Any:
        """See `functional.pixel_shuffle`."""
        return functional.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """[…, c, h r, w r] as […, c r², h, w]."""

    def __init__(self, downscale_factor: int) -> None:
        super().__init__()
        self.downscale_factor = downscale_factor

    def forward(self, input: Any) -> Any:
        """See `functional.pixel_unshuffle`."""
        return functional.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"


class ChannelShuffle(Module):
    """The channels of groups taken in turn."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, input: Any) -> Any:
        """See `functional.channel_shuffle`."""
        return functional.channel_shuffle(input, self.groups)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"


class CosineSimilarity(Module):
    """The cosine of two vectors along a dimension."""

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__()
        self.dim, self.eps = dim, eps

    def forward(self, x1: Any, x2: Any) -> Any:
        """See `functional.cosine_similarity`."""
        return functional.cosine_similarity(x1, x2, self.dim, self.eps)


class PairwiseDistance(Module):
    """The p-norm of differences over the last dimension."""

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__()
        self.norm, self.eps, self.keepdim = p, eps, keepdim

    def forward(self, x1: Any, x2: Any) -> Any:
        """See `functional.pairwise_distance`."""
        return functional.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)


class Bilinear(Module):
    """x1 W x2 + b for each matrix of a weight [out, in1, in2]."""

    def __init__(
        self, in1_features: int, in2_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.in1_features, self.in2_features, self.out_features = in1_features, in2_features, out_features
        kind = dtype or rustorch.get_default_dtype()
        self.weight = Parameter(rustorch.zeros(out_features, in1_features, in2_features, dtype=kind))
        self.register_parameter("bias", Parameter(rustorch.zeros(out_features, dtype=kind)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights and biases uniformly within 1 / sqrt(in1)."""
        bound = 1 / math.sqrt(self.in1_features)
        init.uniform_(self.weight, -bound, bound)
        if self._parameters["bias"] is not None:
            init.uniform_(self._parameters["bias"], -bound, bound)

    def forward(self, input1: Any, input2: Any) -> Any:
        """See `functional.bilinear`."""
        return functional.bilinear(input1, input2, self.weight, self._parameters["bias"])

    def extra_repr(self) -> str:
        features = f"in1_features={self.in1_features}, in2_features={self.in2_features}, out_features={self.out_features}"
        return f"{features}, bias={self._parameters['bias'] is not None}"


class EmbeddingBag(Module):
    """A table of rows, of which each bag of indices gives the sum, mean or maximum."""

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        _weight: Any = None,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim, self.mode = num_embeddings, embedding_dim, mode
        self.max_norm, self.norm_type, self.scale_grad_by_freq, self.sparse = max_norm, norm_type, scale_grad_by_freq, sparse
        self.include_last_offset, self.padding_idx = include_last_offset, padding_idx
        kind = dtype or rustorch.get_default_dtype()
        self.weight = Parameter(rustorch.zeros(num_embeddings, embedding_dim, dtype=kind) if _weight is None else _weight)
        if _weight is None:
            self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw normal rows; that of the padding is 0."""
        draw_rows(self.weight, self.padding_idx)

    def forward(self, input: Any, offsets: Any = None, per_sample_weights: Any = None) -> Any:
        """See `functional.embedding_bag`."""
        return functional.embedding_bag(
            input, self.weight, offsets, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.mode, self.sparse,
            per_sample_weights, self.include_last_offset, self.padding_idx,
        )  # fmt: skip

    def extra_repr(self) -> str:
        return f"{self.num_embeddings}, {self.embedding_dim}, mode={self.mode!r}"
