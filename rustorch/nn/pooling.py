"""Pooling layers, and windows laid out as columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rustorch import functional
from rustorch.nn.convolution import each
from rustorch.nn.module import Module

Steps = int | Sequence[int]


class _Pooling(Module):
    """A layer that calls the function of its family for its number of dimensions: `max_pool2d`."""

    family: str
    rank = 1

    @property
    def _function(self) -> Any:
        return getattr(functional, f"{self.family}{self.rank}d")


class _MaxPool(_Pooling):
    family = "max_pool"

    def __init__(
        self,
        kernel_size: Steps,
        stride: Steps | None = None,
        padding: Steps = 0,
        dilation: Steps = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation = padding, dilation
        self.return_indices, self.ceil_mode = return_indices, ceil_mode

    def forward(self, input: Any) -> Any:
        """The largest element of each window; with `return_indices`, the places too."""
        return self._function(input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices)

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, dilation={self.dilation}, "
            f"ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPool):
    """The largest element of each window of sequences [batch, channels, length]."""


class MaxPool2d(_MaxPool):
    """The largest element of each window of images [batch, channels, height, width]."""

    rank = 2


class MaxPool3d(_MaxPool):
    """The largest element of each window of volumes [batch, channels, depth, height, width]."""

    rank = 3


class _MaxUnpool(_Pooling):
    family = "max_unpool"

    def __init__(self, kernel_size: Steps, stride: Steps | None = None, padding: Steps = 0) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.padding = (
            each(value, self.rank) for value in (kernel_size, kernel_size if stride is None else stride, padding)
        )

    def forward(self, input: Any, indices: Any, output_size: Sequence[int] | None = None) -> Any:
        """Zeros, with each element of the input at its place."""
        return self._function(input, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    """Back from `MaxPool1d` with its indices: zeros where nothing was largest."""


class MaxUnpool2d(_MaxUnpool):
    """Back from `MaxPool2d` with its indices: zeros where nothing was largest."""

    rank = 2


class MaxUnpool3d(_MaxUnpool):
    """Back from `MaxPool3d` with its indices: zeros where nothing was largest."""

    rank = 3


class _AvgPool(_Pooling):
    family = "avg_pool"

    def __init__(
        self,
        kernel_size: Steps,
        stride: Steps | None = None,
        padding: Steps = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.ceil_mode, self.count_include_pad = padding, ceil_mode, count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input: Any) -> Any:
        """The average of each window."""
        arguments = (self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)
        return self._function(input, *arguments, self.divisor_override)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool1d(_AvgPool):
    """The average of each window of sequences [batch, channels, length]."""

    def __init__(
        self,
        kernel_size: Steps,
        stride: Steps | None = None,
        padding: Steps = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        size, steps, around = (
            (value,) if isinstance(value, int) else value for value in (kernel_size, kernel_size if stride is None else stride, padding)
        )
        super().__init__(size, steps, around, ceil_mode, count_include_pad)

    def forward(self, input: Any) -> Any:
        """The average of each window."""
        return functional.avg_pool1d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)


class AvgPool2d(_AvgPool):
    """The average of each window of images [batch, channels, height, width]."""

    rank = 2


class AvgPool3d(_AvgPool):
    """The average of each window of volumes [batch, channels, depth, height, width]."""

    rank = 3


class _LPPool(_Pooling):
    family = "lp_pool"

    def __init__(self, norm_type: float, kernel_size: Steps, stride: Steps | None = None, ceil_mode: bool = False) -> None:
        super().__init__()
        self.norm_type, self.kernel_size, self.stride, self.ceil_mode = norm_type, kernel_size, stride, ceil_mode

    def forward(self, input: Any) -> Any:
        """(sum of x^p)^(1/p) over each window."""
        return self._function(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)

    def extra_repr(self) -> str:
        return f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, ceil_mode={self.ceil_mode}"


class LPPool1d(_LPPool):
    """The p-norm of each window of sequences."""


class LPPool2d(_LPPool):
    """The p-norm of each window of images."""

    rank = 2


class LPPool3d(_LPPool):
    """The p-norm of each window of volumes."""

    rank = 3


class _Adaptive(_Pooling):
    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__()
        self.output_size, self.return_indices = output_size, return_indices

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class _AdaptiveAvg(_Adaptive):
    family = "adaptive_avg_pool"

    def __init__(self, output_size: Any) -> None:
        super().__init__(output_size)

    def forward(self, input: Any) -> Any:
        """The averages of `output_size` windows."""
        return self._function(input, self.output_size)


class _AdaptiveMax(_Adaptive):
    family = "adaptive_max_pool"

    def forward(self, input: Any) -> Any:
        """The largest elements of `output_size` windows; with `return_indices`, the places too."""
        return self._function(input, self.output_size, self.return_indices)


class AdaptiveAvgPool1d(_AdaptiveAvg):
    """Averages of a given number of windows that cover sequences evenly."""


class AdaptiveAvgPool2d(_AdaptiveAvg):
    """Averages of a given number of windows that cover images evenly; None: as many as elements."""

    rank = 2


class AdaptiveAvgPool3d(_AdaptiveAvg):
    """Averages of a given number of windows that cover volumes evenly; None: as many as elements."""

    rank = 3


class AdaptiveMaxPool1d(_AdaptiveMax):
    """Largest elements of a given number of windows that cover sequences evenly."""


class AdaptiveMaxPool2d(_AdaptiveMax):
    """Largest elements of a given number of windows that cover images evenly; None: as many as elements."""

    rank = 2


class AdaptiveMaxPool3d(_AdaptiveMax):
    """Largest elements of a given number of windows that cover volumes evenly; None: as many as elements."""

    rank = 3


class Unfold(Module):
    """The windows of images as columns."""

    def __init__(self, kernel_size: Steps, dilation: Steps = 1, padding: Steps = 0, stride: Steps = 1) -> None:
        super().__init__()
        self.kernel_size, self.dilation, self.padding, self.stride = kernel_size, dilation, padding, stride

    def forward(self, input: Any) -> Any:
        """[batch, channels · window, windows]."""
        return functional.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, stride={self.stride}"


class Fold(Module):
    """Columns of windows added up to images."""

    def __init__(self, output_size: Steps, kernel_size: Steps, dilation: Steps = 1, padding: Steps = 0, stride: Steps = 1) -> None:
        super().__init__()
        self.output_size, self.kernel_size = output_size, kernel_size
        self.dilation, self.padding, self.stride = dilation, padding, stride

    def forward(self, input: Any) -> Any:
        """[batch, channels, height, width]."""
        return functional.fold(input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return (
            f"output_size={self.output_size}, kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, "
            f"stride={self.stride}"
        )
