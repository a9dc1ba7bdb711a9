import math

import numpy as np

from numpygpt.ops.dot_product_attention import dot_product_attention
from numpygpt.ops.pool import check_lengths
from numpygpt.ops.remember import remember


def query_attention(x, weight, bias, lengths, rows, n_head):
    """y = attention(linear(x, weight, bias))[rows],  where each of these rows sees all rows of its message

    x (N, D), weight (D, 3D), bias (3D,), rows (B,) one row number of each message -> y (B, D). A special case of the
    two operations, in which only one query row per message is used, as in the last block of a classifier.

    With a single query q, neither keys nor values need to be formed. In each head,
        q . (x Wk + bk)  =  x . (Wk q) + q . bk
    The last term is the same for all rows, so softmax drops it, and the key's bias has the gradient 0. The weights sum
    to 1, so
        weights (x Wv + bv)  =  (weights x) Wv + bv
    Two products of T rows become two products of one row. With weight = [Wq Wk Wv] and bias = [bq bk bv]:
        q = x[rows] Wq + bq     r = q Wk.T     z = weights x,  weights = softmax(r x.T / sqrt(d))     y = z Wv + bv
    The middle step is `dot_product_attention` with query r and with x as keys and values. Backward, in reverse order:
        dz = dy Wv.T        dr, dkeys, dvalues from dot_product_attention        dq = dr Wk
        dx = dkeys + dvalues,  and dq Wq.T more at x[rows]
        dWq = x[rows].T dq        dWk = dr.T q        dWv = z.T dy
        dbq = sum of dq           dbk = 0             dbv = sum of dy
    """
    check_lengths(lengths, len(x))
    sqrt_d = math.sqrt(x.shape[1] // n_head)
    Wq, Wk, Wv = np.split(weight, 3, axis=1)
    bq, _, bv = np.split(bias, 3)
    Wk, Wv = by_head(Wk, n_head), by_head(Wv, n_head)  # (H, D, d) each
    messages = np.split(x, np.cumsum(lengths)[:-1])  # (T, D) each

    x_read = x[rows]  # (B, D)
    q = by_head(x_read @ Wq + bq, n_head)  # (H, B, d)
    r = (q @ Wk.swapaxes(1, 2)).swapaxes(0, 1)  # (B, H, D)
    found = [dot_product_attention(r[b], message, message, sqrt_d) for b, message in enumerate(messages)]
    z = np.stack([z for z, _ in found], axis=1)  # (H, B, D)
    y = side_by_side(z @ Wv) + bv  # (B, D)
    d_found = [functions for _, functions in found]

    def d_query(dy):
        dz = (by_head(dy, n_head) @ Wv.swapaxes(1, 2)).swapaxes(0, 1)  # (B, H, D)
        dr = np.stack([d_r(dz[b]) for b, (d_r, _, _) in enumerate(d_found)], axis=1)  # (H, B, D)
        dq = side_by_side(dr @ Wk)  # (B, D)
        return dz, dr, dq

    shared = remember(d_query)  # all three gradients need it

    def dx(dy):
        dz, _, dq = shared(dy)
        dx = np.concatenate([dkeys(dz[b]) + dvalues(dz[b]) for b, (_, dkeys, dvalues) in enumerate(d_found)])
        dx[rows] += dq @ Wq.T
        return dx

    def dweight(dy):
        _, dr, dq = shared(dy)
        dWk = [dr[h].T @ q[h] for h in range(n_head)]  # (D, d) each
        dWv = [z[h].T @ dy_head for h, dy_head in enumerate(by_head(dy, n_head))]
        return np.concatenate([x_read.T @ dq, *dWk, *dWv], axis=1)  # (D, 3D)

    def dbias(dy):
        _, _, dq = shared(dy)
        dbq = dq.sum(axis=0)
        return np.concatenate([dbq, np.zeros_like(dbq), dy.sum(axis=0)])

    return y, (dx, dweight, dbias)


def by_head(a, n_head):
    """Return a (M, D) as (n_head, M, D / n_head): the columns of each head."""
    return a.reshape(len(a), n_head, -1).swapaxes(0, 1)


def side_by_side(a):
    """Undo by_head: return a (H, M, d) as (M, H * d)."""
    return a.swapaxes(0, 1).reshape(a.shape[1], -1)
