"""Optimisers and schedules of learning rates, under the names of `torch.optim`."""

from rustorch.optim import lr_scheduler
from rustorch.optim.algorithms import SGD, Adagrad, Adam, AdamW, RMSprop
from rustorch.optim.optimizer import Optimizer

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop", "lr_scheduler"]
