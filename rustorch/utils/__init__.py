"""What does not belong to tensors: checkpoints."""

from rustorch.utils import checkpoint

__all__ = ["checkpoint"]
