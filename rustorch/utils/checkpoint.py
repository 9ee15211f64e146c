"""Checkpoints: memory for time. See `checkpoint`."""

from rustorch.frontend.checkpoint import CheckpointError, checkpoint, checkpoint_sequential

__all__ = ["CheckpointError", "checkpoint", "checkpoint_sequential"]
