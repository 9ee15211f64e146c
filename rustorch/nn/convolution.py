"""Convolutional layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import rustorch
from rustorch import functional
from rustorch.errors import ArgumentError
from rustorch.nn import init
from rustorch.nn.module import Module
from rustorch.nn.parameter import Parameter

_MODES = ("zeros", "reflect", "replicate", "circular")


def each(value: int | Sequence[int], count: int) -> tuple[int, ...]:
    """One number for all of `count` sides or dimensions, or the numbers that are given."""
    return (value,) * count if isinstance(value, int) else tuple(value)


class _Convolution(Module):
    """What all convolutions have: a weight, a bias, and how the weight moves."""

    rank: int
    transposed = False
    padding: Any
    bias: Any

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int],
        padding: str | int | Sequence[int],
        dilation: int | Sequence[int],
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any,
        dtype: Any,
    ) -> None:
        super().__init__()
        rank = self.rank
        if groups <= 0:
            raise ArgumentError("groups must be a positive integer")
        if in_channels % groups:
            raise ArgumentError("in_channels must be divisible by groups")
        if out_channels % groups:
            raise ArgumentError("out_channels must be divisible by groups")
        if padding_mode not in _MODES:
            raise ArgumentError(f"padding_mode must be one of {set(_MODES)}, but got padding_mode='{padding_mode}'")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.stride, self.dilation = each(kernel_size, rank), each(stride, rank), each(dilation, rank)
        if isinstance(padding, str):
            if padding not in ("valid", "same"):
                raise ArgumentError(f"Invalid padding string {padding!r}, should be one of {{'valid', 'same'}}")
            if padding == "same" and any(s != 1 for s in self.stride):
                raise ArgumentError("padding='same' is not supported for strided convolutions")
        self.padding = padding if isinstance(padding, str) else each(padding, rank)
        self.padding_mode = padding_mode
        sides = (in_channels, out_channels // groups) if self.transposed else (out_channels, in_channels // groups)
        self.weight = Parameter(rustorch.zeros(*sides, *self.kernel_size, dtype=dtype, device=device))
        if bias:
            self.bias = Parameter(rustorch.zeros(out_channels, dtype=dtype, device=device))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew: uniform in ±1/sqrt(number of products in a sum)."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan = math.prod(self.weight.shape[1:])
            if fan:
                init.uniform_(self.bias, -1 / math.sqrt(fan), 1 / math.sqrt(fan))

    def extra_repr(self) -> str:
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"]
        zeros, ones = (0,) * self.rank, (1,) * self.rank
        extra = getattr(self, "output_padding", zeros)
        named = [("padding", self.padding, zeros), ("dilation", self.dilation, ones), ("output_padding", extra, zeros)]
        parts += [f"{name}={value}" for name, value, usual in (*named, ("groups", self.groups, 1)) if value != usual]
        if self.bias is None:
            parts.append("bias=False")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode}")
        return ", ".join(parts)


class _Plain(_Convolution):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: str | int | Sequence[int] = 0,
        dilation: int | Sequence[int] | bool = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if isinstance(dilation, bool):  # the older spelling has the bias in sixth place: Conv2d(3, 16, (3, 3), (1, 1), (1, 1), True)
            bias, dilation = dilation, 1
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype
        )  # fmt: skip

    def forward(self, input: Any) -> Any:
        """The convolved input."""
        own = self._parameters
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            input, padding = self._extended(input), 0
        convolve = (functional.conv1d, functional.conv2d, functional.conv3d)[self.rank - 1]
        return convolve(input, own["weight"], own["bias"], self.stride, padding, self.dilation, self.groups)

    def _extended(self, input: Any) -> Any:
        """The input with elements of its own around it, in all dimensions of space."""
        if self.padding == "same":
            whole = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True)]
            sides = [(n // 2, n - n // 2) for n in whole]
        else:
            sides = [(0, 0) if isinstance(self.padding, str) else (n, n) for n in self.padding]
        around = [n for side in reversed(sides) for n in side]
        return functional.pad(input, around, self.padding_mode) if any(around) else input


class Conv1d(_Plain):
    """A weight [out_channels, in_channels / groups, taps] moved over sequences [batch, in_channels, length], plus a bias."""

    rank = 1


class Conv2d(_Plain):
    """A weight [out_channels, in_channels / groups, rows, columns] moved over images [batch, in_channels, height, width], plus a bias."""

    rank = 2


class Conv3d(_Plain):
    """`Conv2d` of volumes [batch, in_channels, depth, height, width]."""

    rank = 3


class _Transposed(_Convolution):
    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        output_padding: int | Sequence[int] = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | Sequence[int] = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if padding_mode != "zeros":
            raise ArgumentError(f'Only "zeros" padding mode is supported for {type(self).__name__}')
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype
        )  # fmt: skip
        self.output_padding = each(output_padding, self.rank)

    def forward(self, input: Any, output_size: Sequence[int] | None = None) -> Any:
        """Each element of the input spread over the places of the weight. `output_size`: that of the result's last dimensions."""
        own = self._parameters
        extra = self.output_padding if output_size is None else self._missing(input, tuple(output_size))
        convolve = (functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d)[self.rank - 1]
        return convolve(input, own["weight"], own["bias"], self.stride, self.padding, extra, self.groups, self.dilation)

    def _missing(self, input: Any, size: tuple[int, ...]) -> tuple[int, ...]:
        """The output padding that gives an output of a size."""
        rank = self.rank
        if len(size) == input.ndim:
            size = size[-rank:]
        if len(size) != rank:
            raise ArgumentError(
                f"ConvTranspose{rank}D: for {input.ndim}D input, output_size must have {rank} or {input.ndim} elements (got {len(size)})"
            )
        reach = [d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel_size, strict=True)]
        inside = [int(p) for p in self.padding]
        least = [(n - 1) * s - 2 * p + k for n, s, p, k in zip(input.shape[-rank:], self.stride, inside, reach, strict=True)]
        most = [n + s - 1 for n, s in zip(least, self.stride, strict=True)]
        if any(not lo <= n <= hi for lo, n, hi in zip(least, size, most, strict=True)):
            raise ArgumentError(
                f"requested an output size of {size}, but valid sizes range from {least} to {most} "
                f"(for an input of {rustorch.Size(input.shape[-rank:])})"
            )
        return tuple(n - lo for n, lo in zip(size, least, strict=True))


class ConvTranspose1d(_Transposed):
    """The transpose of `Conv1d`: a weight [in_channels, out_channels / groups, taps] spreads each element."""

    rank = 1


class ConvTranspose2d(_Transposed):
    """The transpose of `Conv2d`."""

    rank = 2


class ConvTranspose3d(_Transposed):
    """The transpose of `Conv3d`."""

    rank = 3
