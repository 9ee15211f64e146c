"""Attention: values averaged by how well queries and keys agree."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rustorch.errors import ArgumentError, ShapeError, compose
from rustorch.frontend.emit import (
    Builder,
    TensorType,
    Value,
    broadcast_to,
    convert,
    dtype_of,
    matmul,
    operation,
    random_key,
    reshape,
    shape_of,
)
from rustorch.functional.activation import softmax_op
from rustorch.functional.dropout import check_probability, dropped
from rustorch.functional.layer import linear
from rustorch.functional.words import known
from rustorch.ir.dtypes import bool_, i64


@operation(name="scaled_dot_product_attention")
def attention_op(
    b: Builder,
    query: Value,
    key: Value,
    value: Value,
    mask: Value | None,
    drawn: Value | None,
    dropout_p: float,
    is_causal: bool,
    scale: float | None,
) -> tuple[Value, Value]:
    """softmax(q k^T scale + mask) v, and the weights. Rows in which nothing is allowed give 0."""
    width = known(shape_of(query)[-1])
    factor = 1 / math.sqrt(width) if scale is None else scale
    rank = len(shape_of(key))
    turned = b.transpose(key, perm=(*range(rank - 2), rank - 1, rank - 2))
    scores = matmul(b, b.mul(query, factor), turned)
    shape = shape_of(scores)
    allowed: Value | None = None
    if is_causal:
        places = TensorType(i64, shape)
        allowed = b.le(b.iota(type=places, axis=len(shape) - 1), b.iota(type=places, axis=len(shape) - 2))
    if mask is not None:
        if dtype_of(mask) is bool_:
            mask = broadcast_to(b, mask, shape)
            allowed = mask if allowed is None else b.and_(allowed, mask)
        else:
            scores = b.add(scores, broadcast_to(b, convert(b, mask, dtype_of(scores)), shape))
    if allowed is not None:
        scores = b.select(allowed, scores, b.const(-math.inf, scores))
    weights = softmax_op.emit(b, scores, -1, None)
    if allowed is not None:  # a row of nothing but -inf: 0 / 0
        some = broadcast_to(b, b.reshape(b.reduce_or(allowed, axes=(len(shape) - 1,)), shape=(*shape[:-1], 1)), shape)
        weights = b.select(some, weights, b.const(0.0, weights))
    if drawn is not None:
        weights = dropped(b, weights, drawn, dropout_p)
    return matmul(b, weights, value), weights


def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """softmax(query key^T / sqrt(width) + mask) value: query [..., l, e], key [..., s, e], value [..., s, v].

    A bool mask says what takes part, one of numbers is added. `is_causal`: query i sees keys 0 to i. With `enable_gqa` keys and values
    have fewer heads (dimension -3), each of which serves several queries'.
    """
    if is_causal and attn_mask is not None:
        raise ArgumentError("_scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True")
    if enable_gqa:
        heads, fewer = query.shape[-3], key.shape[-3]
        if heads % fewer:
            raise ShapeError(compose("enable_gqa: the query's heads must be a multiple of the key's", f"found {heads} and {fewer}"))
        key, value = (x.repeat_interleave(heads // x.shape[-3], -3) for x in (key, value))
    check_probability(dropout_p)
    drawn = random_key(_count(query, key)) if dropout_p > 0 else None
    return attention_op(query, key, value, attn_mask, drawn, float(dropout_p), is_causal, scale)[0]


def _count(query: Any, key: Any) -> int:
    lead = np.broadcast_shapes(query.shape[:-2], key.shape[:-2])
    return int(np.prod(lead)) * int(query.shape[-2]) * int(key.shape[-2])


@operation(name="heads")
def _heads(b: Builder, input: Value, count: int) -> Value:
    """[l, n, h d] as [n, h, l, d]."""
    length, batch, width = shape_of(input)
    apart = reshape(b, input, (length, batch, count, width // count))
    turned: Value = b.transpose(apart, perm=(1, 2, 0, 3))
    return turned


@operation(name="joined_heads")
def _joined(b: Builder, input: Value) -> Value:
    """[n, h, l, d] as [l, n, h d]."""
    batch, count, length, width = shape_of(input)
    return reshape(b, b.transpose(input, perm=(2, 0, 1, 3)), (length, batch, count * width))


@operation(name="extended")
def _extended(b: Builder, input: Value, row: Value | None, zeros: bool) -> Value:
    """[l, n, e] with a row [1, 1, e] behind, and one of zeros."""
    _length, batch, width = shape_of(input)
    parts = [input]
    if row is not None:
        parts.append(broadcast_to(b, row, (1, batch, width)))
    if zeros:
        parts.append(b.const(0.0, TensorType(dtype_of(input), (1, batch, width))))
    joined: Value = b.concat(*parts, axis=0)
    return joined


@operation(name="merged_mask")
def _merged_mask(b: Builder, mask: Value | None, padding: Value | None, shape: tuple[int, ...], more: int, like: Value) -> Value:
    """Both masks as numbers to add, [n, h, l, s]: bools are what does not take part; `more` keys at the end are always seen."""
    batch, heads, length, keys = shape
    total: Value = b.const(0.0, TensorType(dtype_of(like), shape))
    seen = keys - more
    for x, dims in ((mask, (2, 3)), (padding, (0, 3))):
        if x is None:
            continue
        if dtype_of(x) is bool_:
            x = b.select(x, *(b.const(v, TensorType(dtype_of(like), shape_of(x))) for v in (-math.inf, 0.0)))
        x = convert(b, x, dtype_of(like))
        if len(shape_of(x)) == 3:
            x = reshape(b, x, (batch, heads, length, seen))
        else:
            x = b.broadcast_to(x, shape=(batch, heads, length, seen), dims=dims)
        if more:
            x = b.pad(x, low=(0,) * 4, high=(0, 0, 0, more), value=0.0)
        total = b.add(total, x)
    return total


def multi_head_attention_forward(
    query: Any,
    key: Any,
    value: Any,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Any,
    in_proj_bias: Any,
    bias_k: Any,
    bias_v: Any,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Any,
    out_proj_bias: Any,
    training: bool = True,
    key_padding_mask: Any = None,
    need_weights: bool = True,
    attn_mask: Any = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Any = None,
    k_proj_weight: Any = None,
    v_proj_weight: Any = None,
    static_k: Any = None,
    static_v: Any = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Any, Any]:
    """Attention of several heads (Vaswani and others, 2017): query [l, n, e] or [l, e], key and value [s, n, e]; and the weights.

    Rows of masks and their bools are PyTorch's: True is what does *not* take part.
    """
    if static_k is not None or static_v is not None:
        raise ArgumentError(compose("static_k and static_v are not taken", todo="call scaled_dot_product_attention with them"))
    if is_causal and attn_mask is None:
        raise ArgumentError("Need attn_mask if specifying the is_causal hint.")
    batched = len(query.shape) == 3
    if not batched:
        query, key, value = (x.unsqueeze(1) for x in (query, key, value))
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    length, batch, width = query.shape
    if width != embed_dim_to_check:
        raise ShapeError(f"was expecting embedding dimension of {embed_dim_to_check}, but got {width}")
    if width % num_heads:
        raise ShapeError(f"embed_dim {width} not divisible by num_heads {num_heads}")
    if use_separate_proj_weight:
        weights = [q_proj_weight, k_proj_weight, v_proj_weight]
    else:
        weights = [in_proj_weight[k * width : (k + 1) * width] for k in range(3)]
    biases = [None] * 3 if in_proj_bias is None else [in_proj_bias[k * width : (k + 1) * width] for k in range(3)]
    q, k, v = (linear(x, w, c) for x, w, c in zip((query, key, value), weights, biases, strict=True))
    more = (bias_k is not None) + add_zero_attn
    if more:
        k, v = (_extended(x, row, add_zero_attn) for x, row in ((k, bias_k), (v, bias_v)))
    q, k, v = (_heads(x, num_heads) for x in (q, k, v))
    mask = None
    if attn_mask is not None or key_padding_mask is not None:
        shape = (int(batch), num_heads, int(length), int(k.shape[2]))
        mask = _merged_mask(attn_mask, key_padding_mask, shape, more, q)
    check_probability(dropout_p)
    drawn = random_key(q.shape[:3].numel() * int(k.shape[2])) if training and dropout_p > 0 else None
    found, scores = attention_op(q, k, v, mask, drawn, float(dropout_p), False, None)
    out = linear(_joined(found), out_proj_weight, out_proj_bias)
    out = out if batched else out.squeeze(1)
    if not need_weights:
        return out, None
    scores = scores.mean(1) if average_attn_weights else scores
    return out, scores if batched else scores.squeeze(0)
