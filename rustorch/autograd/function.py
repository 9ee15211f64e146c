"""Operations with a derivative of one's own: `Function`, and what belongs to it."""

from rustorch.frontend.function import Function, FunctionCtx, once_differentiable

__all__ = ["Function", "FunctionCtx", "once_differentiable"]
