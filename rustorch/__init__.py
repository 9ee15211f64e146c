"""Gradients as native code: PyTorch's manners in front of one optimising compiler."""

from rustorch.version import VERSION as __version__

__all__ = ["__version__"]
