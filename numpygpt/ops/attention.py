import math

import numpy as np

from ..system.pieces import by_message
from .softmax import softmax


@by_message
def attention(qkv, lengths, n_head, causal=True, needs=(True,)):
    """In each message and head: y = weights @ v,  weights = softmax(scores),  scores = q @ k.T / sqrt(d)

    qkv (N, 3D): query, key and value of every row side by side, each n_head heads of d = D / n_head -> y (N, D).
    backward: dy -> dqkv. A row attends to the rows of its own message only; with `causal`, to itself and those before
    (Vaswani et al. 2017, section 3.2). `by_message` calls this with messages of one length T at a time.

    Going back, each product gives the gradient of either factor by the other:
        dv = weights.T @ dy       dweights = dy @ v.T       dscores = softmax's backward of dweights
        dq = dscores @ k / sqrt(d)        dk = dscores.T @ q / sqrt(d)
    """
    T, sqrt_d = lengths[0], math.sqrt(qkv.shape[1] // 3 // n_head)
    q, k, v = (heads(part, T, n_head) for part in np.split(qkv, 3, axis=1))  # (messages, H, T, d) each
    scores = q @ transposed(k) / sqrt_d  # (messages, H, T, T)
    if causal:
        # exp(-inf) = 0: no weight on what comes later
        scores += np.triu(np.full((T, T), -np.inf, scores.real.dtype), 1)
    weights, d_softmax = softmax(scores)
    y = rows(weights @ v)  # (N, D)

    def backward(dy):
        dy = heads(dy, T, n_head)
        dv = transposed(weights) @ dy
        dweights = dy @ transposed(v)
        dscores = d_softmax(dweights)
        dq = dscores @ k / sqrt_d
        dk = transposed(dscores) @ q / sqrt_d
        return np.concatenate([rows(dq), rows(dk), rows(dv)], axis=1)  # dqkv (N, 3D)

    return y, backward


def heads(x, T, n_head):
    """x (messages * T, D) as (messages, n_head, T, D / n_head)."""
    return x.reshape(-1, T, n_head, x.shape[1] // n_head).swapaxes(1, 2)


def rows(x):
    """The way back from heads: (messages, H, T, d) as (messages * T, H * d)."""
    messages, H, T, d = x.shape
    return x.swapaxes(1, 2).reshape(messages * T, H * d)


def transposed(x):
    """Every matrix of x (…, rows, columns) transposed."""
    return x.swapaxes(-1, -2)
