import numpy as np

from numpygpt.ops.remember import remember
from numpygpt.ops.softmax import softmax


def dot_product_attention(q, k, v, sqrt_d, causal=False):
    """y = weights @ v,  weights = softmax(scores),  scores = q @ k.T / sqrt_d

    q (..., Q, d) queries, k (..., T, d) keys, v (..., T, d) values -> y (..., Q, d). Row i of the weights says how much
    query i takes of each value (Vaswani et al. 2017, section 3.2.1). With `causal`, the queries belong to the last Q of
    the T tokens, and each sees the keys of its own token and of earlier ones.

    Each product passes a gradient to both its factors:
        dv = weights.T @ dy             dweights = dy @ v.T
        dscores = softmax's dx(dweights)
        dq = dscores @ k / sqrt_d       dk = dscores.T @ q / sqrt_d
    """
    scores = q @ transposed(k) / sqrt_d  # (..., Q, T)
    if causal:
        Q, T = scores.shape[-2:]
        scores = scores + np.triu(np.full((Q, T), -np.inf, scores.real.dtype), 1 + T - Q)  # exp(-inf) = 0: no weight
    weights, (d_softmax,) = softmax(scores)
    y = weights @ v

    def d_scores(dy):
        dweights = dy @ transposed(v)
        return d_softmax(dweights)

    dscores = remember(d_scores)  # dq and dk both need it

    def dq(dy):
        return dscores(dy) @ k / sqrt_d

    def dk(dy):
        return transposed(dscores(dy)) @ q / sqrt_d

    def dv(dy):
        return transposed(weights) @ dy

    return y, (dq, dk, dv)


def transposed(x):
    """Return every matrix of x (..., rows, columns) transposed."""
    return x.swapaxes(-1, -2)
