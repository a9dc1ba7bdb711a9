import math

import numpy as np

from ..system.pieces import check_lengths
from .softmax import softmax


def query_attention(x, weight, bias, lengths, rows, n_head, needs=(True, True, True)):
    """`attention(linear(x, weight, bias))[rows]`, where the one row of each message sees all rows of its message

    x (N, D), weight (D, 3D), bias (3D,): the layer that makes query, key and value; rows (B,): the row of each
    message that is read -> y (B, D). backward: dy (B, D) -> dx, dweight, dbias.

    No book has this; it stands for those two operations where only one row of each message is read afterwards, as in
    a classifier's last block, and gives the same numbers. With a single query q, neither keys nor values need be
    formed. Head by head,
        q . (x Wk + bk)  =  x . (Wk q) + q . bk
    whose last term is the same for all rows, so softmax drops it: the key's bias has no gradient at all. And the
    weights sum to 1, so
        weights (x Wv + bv)  =  (weights x) Wv + bv
    Two products of T rows become two of one row:
        q = x[rows] Wq + bq     r = Wk q     z = weights x,  weights = softmax(x r / sqrt(d))     y = z Wv + bv
    """
    check_lengths(lengths, len(x))
    sqrt_d = math.sqrt(x.shape[1] // n_head)
    Wq, Wk, Wv = np.split(weight, 3, axis=1)
    bq, _, bv = np.split(bias, 3)
    Wk, Wv = by_head(Wk, n_head), by_head(Wv, n_head)  # (H, D, d) each
    ends = np.cumsum(lengths)
    messages = [x[end - T : end] for end, T in zip(ends, lengths)]  # (T, D) each

    x_read = x[rows]  # (B, D)
    q = by_head(x_read @ Wq + bq, n_head)  # (H, B, d)
    r = (q @ Wk.swapaxes(1, 2)).swapaxes(0, 1)  # (B, H, D)
    looks = [look(message, r[b], sqrt_d) for b, message in enumerate(messages)]
    z = np.stack([z for z, _ in looks], axis=1)  # (H, B, D)
    y = side_by_side(z @ Wv) + bv  # (B, D)

    def backward(dy):
        dy_by_head = by_head(dy, n_head)  # (H, B, d)
        dz = (dy_by_head @ Wv.swapaxes(1, 2)).swapaxes(0, 1)  # (B, H, D)
        pairs = [d_look(dz[b]) for b, (_, d_look) in enumerate(looks)]
        dr = np.stack([dr for _, dr in pairs], axis=1)  # (H, B, D)
        dq = side_by_side(dr @ Wk)  # (B, D)
        dx = dweight = dbias = None
        if needs[0]:
            dx = np.concatenate([dmessage for dmessage, _ in pairs])
            dx[rows] += dq @ Wq.T
        if needs[1]:
            dweight = np.empty_like(weight)
            dWq, dWk, dWv = np.split(dweight, 3, axis=1)  # views: what is written there stands in dweight
            np.matmul(x_read.T, dq, out=dWq)
            np.matmul(dr.swapaxes(1, 2), q, out=by_head(dWk, n_head))
            np.matmul(z.swapaxes(1, 2), dy_by_head, out=by_head(dWv, n_head))
        if needs[2]:
            dbias = np.concatenate([dq.sum(axis=0), np.zeros_like(bq), dy.sum(axis=0)])
        return dx, dweight, dbias

    return y, backward


def look(x, r, sqrt_d):
    """z = weights @ x,  weights = softmax(r @ x.T / sqrt(d)): what one message's query, every head's, finds in its rows

    x (T, D), r (H, D) -> z (H, D). backward: dz -> dx, dr. x is used twice, so dx is a sum of two.
    """
    weights, d_softmax = softmax(r @ x.T / sqrt_d)  # (H, T)
    z = weights @ x

    def backward(dz):
        ds = d_softmax(dz @ x.T) / sqrt_d
        dr = ds @ x
        dx = weights.T @ dz + ds.T @ r
        return dx, dr

    return z, backward


def by_head(a, n_head):
    """a (M, D) as (n_head, M, D / n_head): every head's columns."""
    return a.reshape(len(a), n_head, -1).swapaxes(0, 1)


def side_by_side(a):
    """The way back from by_head."""
    return a.swapaxes(0, 1).reshape(a.shape[1], -1)
