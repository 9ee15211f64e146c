"""Dropout of whole channels, and dropout that keeps mean and variance."""

from __future__ import annotations

from typing import Any

from rustorch import functional
from rustorch.nn.layers import Dropout


class Dropout1d(Dropout):
    """While training, whole channels of sequences 0 with probability `p`."""

    def forward(self, input: Any) -> Any:
        """The input, without some channels while training."""
        return functional.dropout1d(input, self.p, self.training, self.inplace)


class Dropout2d(Dropout):
    """While training, whole channels of images 0 with probability `p`."""

    def forward(self, input: Any) -> Any:
        """The input, without some channels while training."""
        return functional.dropout2d(input, self.p, self.training, self.inplace)


class Dropout3d(Dropout):
    """While training, whole channels of volumes 0 with probability `p`."""

    def forward(self, input: Any) -> Any:
        """The input, without some channels while training."""
        return functional.dropout3d(input, self.p, self.training, self.inplace)


class AlphaDropout(Dropout):
    """Dropout for networks with selu: mean 0 and variance 1 stay."""

    def forward(self, input: Any) -> Any:
        """The input, with some elements switched off while training."""
        return functional.alpha_dropout(input, self.p, self.training, self.inplace)


class FeatureAlphaDropout(Dropout):
    """`AlphaDropout` of whole channels."""

    def forward(self, input: Any) -> Any:
        """The input, with some channels switched off while training."""
        return functional.feature_alpha_dropout(input, self.p, self.training, self.inplace)
