"""Special functions, under the names of `torch.special`."""

from rustorch import erf, expm1, log1p, logit, logsumexp, round, sigmoid, sinc, xlogy
from rustorch.frontend.compositions import entr, xlog1py
from rustorch.functional import log_softmax, softmax

expit = sigmoid

__all__ = [
    "entr", "erf", "expit", "expm1", "log1p", "log_softmax", "logit", "logsumexp", "round", "sigmoid", "sinc", "softmax", "xlog1py",
    "xlogy",
]  # fmt: skip
