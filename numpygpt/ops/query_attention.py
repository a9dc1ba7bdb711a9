import math

import numpy as np

from .softmax import softmax


def query_attention(x, weight, bias, lengths, rows, n_head, needs=(True, True, True)):
    """`attention(linear(x, weight, bias))` at one row of each message, which attends to all rows of its message

    x (N, D), weight (D, 3D), bias (3D,): the layer that makes query, key and value; rows (B,): the query's row in each message
    -> y (B, D). backward: dy (B, D) -> dx, dweight, dbias.

    A classifier reads one row of the last block. With a single query q the keys need not be formed: head by head,
        q . (x Wk + bk) = x . (Wk q) + q . bk,
    where the last term is one number for all rows, so softmax drops it and the key's bias has no gradient at all. Nor the values:
    the weights p sum to 1, so p (x Wv + bv) = (p x) Wv + bv. Two products of T rows become two of one row:
        q = x[rows] Wq + bq     r = Wk q     p = softmax(x r / sqrt(d))     z = p x     y = z Wv + bv
    and backward, in reverse:
        dWv = z.T dy,  dbv = sum dy,  dz = dy Wv.T     dx = p.T dz,  dp = dz x.T     ds = softmax's backward / sqrt(d)
        dx += ds.T r,  dr = ds x     dWk = dr.T q,  dq = dr Wk     dWq = x[rows].T dq,  dbq = sum dq,  dx[rows] += dq Wq.T
    """
    B, D = len(lengths), x.shape[1]
    d = D // n_head
    scale = 1 / math.sqrt(d)
    Wq, Wk, Wv = np.split(weight, 3, axis=1)
    bq, _, bv = np.split(bias, 3)
    Wk, Wv = (W.reshape(D, n_head, d).swapaxes(0, 1) for W in (Wk, Wv))  # (H, D, d), a view
    ends = np.cumsum(lengths)
    messages = [slice(end - T, end) for end, T in zip(ends, lengths)]

    q = (x[rows] @ Wq + bq).reshape(B, n_head, d)
    r = (q.swapaxes(0, 1) @ Wk.swapaxes(1, 2)).swapaxes(0, 1)  # (B, H, D)
    z = np.empty((B, n_head, D), x.dtype)
    kept = []
    for b, message in enumerate(messages):
        p, d_softmax = softmax(r[b] @ x[message].T * scale)  # (H, T)
        np.matmul(p, x[message], out=z[b])
        kept.append((p, d_softmax))
    y = (z.swapaxes(0, 1) @ Wv).swapaxes(0, 1).reshape(B, D) + bv

    def backward(dy):
        dyh = dy.reshape(B, n_head, d).swapaxes(0, 1)  # (H, B, d)
        dz = (dyh @ Wv.swapaxes(1, 2)).swapaxes(0, 1)  # (B, H, D)
        dr = np.empty_like(r)
        dx = np.empty_like(x) if needs[0] else None
        for b, message in enumerate(messages):
            p, d_softmax = kept[b]
            ds = d_softmax(dz[b] @ x[message].T)
            ds *= scale
            np.matmul(ds, x[message], out=dr[b])
            if needs[0]:
                np.matmul(p.T, dz[b], out=dx[message])
                dx[message] += ds.T @ r[b]
        drh = dr.swapaxes(0, 1)  # (H, B, D)
        dq = (drh @ Wk).swapaxes(0, 1).reshape(B, D)
        if needs[0]:
            dx[rows] += dq @ Wq.T
        dweight = dbias = None
        if needs[1]:
            dweight = np.empty_like(weight)
            dWq, dWk, dWv = np.split(dweight, 3, axis=1)
            np.matmul(x[rows].T, dq, out=dWq)
            np.matmul(drh.swapaxes(1, 2), q.swapaxes(0, 1), out=dWk.reshape(D, n_head, d).swapaxes(0, 1))
            np.matmul(z.transpose(1, 2, 0), dyh, out=dWv.reshape(D, n_head, d).swapaxes(0, 1))
        if needs[2]:
            dbias = np.concatenate([dq.sum(axis=0), np.zeros(D, x.dtype), dy.sum(axis=0)])
        return dx, dweight, dbias

    return y, backward
