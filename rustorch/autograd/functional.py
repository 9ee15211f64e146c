"""Derivatives of functions: Jacobians, Hessians, and their products with vectors."""

from rustorch.frontend.functional import hessian, hvp, jacobian, jvp, vhp, vjp

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]
