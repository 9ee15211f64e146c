"""Transforms of functions, as `torch.func` and JAX have them."""

from rustorch.frontend.batching import vmap
from rustorch.frontend.transforms import grad, grad_and_value, hessian, jacfwd, jacrev, jvp, value_and_grad, vjp

__all__ = ["grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp", "value_and_grad", "vjp", "vmap"]
