"""Optimisers and schedules of learning rates, under the names of `torch.optim`."""

from rustorch.optim import lr_scheduler, swa_utils
from rustorch.optim.algorithms import SGD, Adagrad, Adam, AdamW, RMSprop
from rustorch.optim.more import ASGD, Adadelta, Adamax, NAdam, RAdam, Rprop
from rustorch.optim.optimizer import Optimizer

__all__ = [
    "ASGD", "SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "Optimizer", "RAdam", "RMSprop", "Rprop", "lr_scheduler",
    "swa_utils",
]  # fmt: skip
