"""Gradients clipped, and parameters as one vector: `torch.nn.utils`."""

from rustorch.nn.utils.gradients import clip_grad_norm_, clip_grad_value_, get_total_norm
from rustorch.nn.utils.vectors import parameters_to_vector, vector_to_parameters

__all__ = ["clip_grad_norm_", "clip_grad_value_", "get_total_norm", "parameters_to_vector", "vector_to_parameters"]
