import math

import numpy as np

from numpygpt.ops.dot_product_attention import dot_product_attention


def attention(qkv, T, n_head, causal=True):
    """In each message and head: y = softmax(q @ k.T / sqrt(d)) @ v,  the `dot_product_attention` of its rows

    qkv (N, 3D) -> y (N, D). A row of qkv holds a token's query, key and value side by side, each made of n_head heads
    of width d = D / n_head. All messages have T rows. A row attends to the rows of its own message; with `causal`, to
    itself and earlier ones.

    Splitting and merging heads only moves numbers, so their gradients move back the same way:
        dqkv = merge_heads(dq), merge_heads(dk), merge_heads(dv)  side by side
    """
    d = qkv.shape[1] // 3 // n_head
    q, k, v = (split_heads(part, T, n_head) for part in np.split(qkv, 3, axis=1))  # (messages, H, T, d) each
    attended, (dq, dk, dv) = dot_product_attention(q, k, v, math.sqrt(d), causal)
    y = merge_heads(attended)  # (N, D)

    def dqkv(dy):
        dattended = split_heads(dy, T, n_head)
        parts = [dq(dattended), dk(dattended), dv(dattended)]
        return np.concatenate([merge_heads(part) for part in parts], axis=1)  # (N, 3D)

    return y, (dqkv,)


def split_heads(x, T, n_head):
    """Return x (messages * T, D) as (messages, n_head, T, D / n_head)."""
    return x.reshape(-1, T, n_head, x.shape[1] // n_head).swapaxes(1, 2)


def merge_heads(x):
    """Undo split_heads: return x (messages, H, T, d) as (messages * T, H * d)."""
    messages, H, T, d = x.shape
    return x.swapaxes(1, 2).reshape(messages * T, H * d)
