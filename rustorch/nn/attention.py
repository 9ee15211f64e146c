"""Attention of several heads as a module."""

from __future__ import annotations

from typing import Any

import rustorch
from rustorch import functional
from rustorch.errors import ArgumentError
from rustorch.nn import init
from rustorch.nn.layers import Linear
from rustorch.nn.module import Module
from rustorch.nn.parameter import Parameter


class MultiheadAttention(Module):
    """softmax(q k^T / sqrt(d)) v in several heads: Vaswani and others, "Attention is all you need", 2017. State names are PyTorch's."""

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if embed_dim <= 0 or num_heads <= 0:
            raise ArgumentError(
                f"embed_dim and num_heads must be greater than 0, got embed_dim={embed_dim} and num_heads={num_heads} instead"
            )
        if embed_dim % num_heads:
            raise ArgumentError("embed_dim must be divisible by num_heads")
        self.embed_dim, self.num_heads, self.dropout, self.batch_first = embed_dim, num_heads, dropout, batch_first
        self.kdim, self.vdim = embed_dim if kdim is None else kdim, embed_dim if vdim is None else vdim
        self.head_dim, self.add_zero_attn = embed_dim // num_heads, add_zero_attn
        self.one_width = self.kdim == embed_dim and self.vdim == embed_dim
        kind = dtype or rustorch.get_default_dtype()

        self.out_proj = Linear(embed_dim, embed_dim, bias, dtype=kind)
        for name, there, *size in (
            ("in_proj_weight", self.one_width, 3 * embed_dim, embed_dim),
            ("q_proj_weight", not self.one_width, embed_dim, embed_dim),
            ("k_proj_weight", not self.one_width, embed_dim, self.kdim),
            ("v_proj_weight", not self.one_width, embed_dim, self.vdim),
            ("in_proj_bias", bias, 3 * embed_dim),
            ("bias_k", add_bias_kv, 1, 1, embed_dim),
            ("bias_v", add_bias_kv, 1, 1, embed_dim),
        ):
            self.register_parameter(name, Parameter(rustorch.zeros(*size, dtype=kind)) if there else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights as Glorot and Bengio say; biases are 0."""
        for name, weight in self._parameters.items():
            if weight is not None and name.endswith("weight"):
                init.xavier_uniform_(weight)
            elif weight is not None and name in ("bias_k", "bias_v"):
                init.xavier_normal_(weight)
        if self._parameters["in_proj_bias"] is not None:
            init.constant_(self._parameters["in_proj_bias"], 0.0)
            init.constant_(self.out_proj.bias, 0.0)

    def forward(
        self,
        query: Any,
        key: Any,
        value: Any,
        key_padding_mask: Any = None,
        need_weights: bool = True,
        attn_mask: Any = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Any, Any]:
        """The output and, unless not needed, the weights. See `functional.multi_head_attention_forward`."""
        turn = self.batch_first and len(query.shape) == 3
        if turn:
            query, key, value = (x.transpose(0, 1) for x in (query, key, value))
        own = self._parameters
        found, weights = functional.multi_head_attention_forward(
            query, key, value, self.embed_dim, self.num_heads, own["in_proj_weight"], own["in_proj_bias"], own["bias_k"], own["bias_v"],
            self.add_zero_attn, self.dropout, self.out_proj.weight, self.out_proj.bias, self.training, key_padding_mask, need_weights,
            attn_mask, not self.one_width, own["q_proj_weight"], own["k_proj_weight"], own["v_proj_weight"],
            average_attn_weights=average_attn_weights, is_causal=is_causal,
        )  # fmt: skip
        return (found.transpose(0, 1) if turn else found), weights
