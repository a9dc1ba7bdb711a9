import math

import numpy as np

from ..system.blas import parallel
from .softmax import softmax

GROUP = 1 << 18  # entries of one group's attention weights: 1 MiB in float32, about a core's second-level cache


def attention(qkv, lengths, n_head, causal=True, needs=(True,)):
    """In each message, each head: y = weights @ v,  weights = softmax(q @ k.T / sqrt(d)),  d = D / n_head

    qkv (N, 3D): query, key and value of every row side by side, each n_head heads of d -> y (N, D). backward: dy (N, D) -> dqkv.
    A row attends to the rows of its own message only; with `causal`, to itself and those before (Vaswani et al. 2017, section 3.2).

    With s the scaled scores, going back from y = weights @ v through weights = softmax(s) to s = q @ k.T / sqrt(d):
        dv = weights.T @ dy      dweights = dy @ v.T      ds = softmax's backward
        dq = ds @ k / sqrt(d)    dk = ds.T @ q / sqrt(d)
    """
    N, D = qkv.shape[0], qkv.shape[1] // 3
    scale = 1 / math.sqrt(D // n_head)
    y = np.empty((N, D), qkv.dtype)

    def forward(group):
        rows, T = group
        q, k, v = (split_heads(part, T, n_head) for part in np.split(qkv[rows], 3, axis=1))  # (messages, H, T, d) each
        s = q @ k.swapaxes(-1, -2)  # (messages, H, T, T)
        s *= scale
        if causal:
            s += np.triu(np.full((T, T), -np.inf, s.real.dtype), 1)
        weights, d_softmax = softmax(s, out=s)
        np.matmul(weights, v, out=split_heads(y[rows], T, n_head))
        return (rows, T, q, k, v, weights, d_softmax) if needs[0] else None

    kept = parallel(forward, groups(lengths, n_head))

    def backward(dy):
        dqkv = np.empty_like(qkv)

        def group_backward(group):
            rows, T, q, k, v, weights, d_softmax = group
            dys = split_heads(dy[rows], T, n_head)
            dq, dk, dv = (split_heads(part, T, n_head) for part in np.split(dqkv[rows], 3, axis=1))
            np.matmul(weights.swapaxes(-1, -2), dys, out=dv)
            ds = d_softmax(dys @ v.swapaxes(-1, -2))
            ds *= scale
            np.matmul(ds, k, out=dq)
            np.matmul(ds.swapaxes(-1, -2), q, out=dk)

        parallel(group_backward, kept)
        return dqkv

    return y, backward


def split_heads(x, T, n_head):
    """x (messages * T, D) seen as (messages, n_head, T, D / n_head), without a copy."""
    return x.reshape(-1, T, n_head, x.shape[1] // n_head).swapaxes(1, 2)


def groups(lengths, n_head):
    """(rows, T) for runs of neighbouring messages of one length T, as many at a time as their attention weights stay in cache:
    a batch padded to one length is then a few large products, and messages of their own lengths are one product each.
    """
    start = first = 0
    while first < len(lengths):
        T = int(lengths[first])
        most = first + max(1, GROUP // (n_head * T * T))
        last = first + 1
        while last < min(most, len(lengths)) and lengths[last] == T:
            last += 1
        yield slice(start, start + (last - first) * T), T
        start, first = start + (last - first) * T, last
