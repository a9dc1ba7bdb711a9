import numpy as np

from ..system.pieces import check_lengths


def take_rows(x, rows, needs=(True,)):
    """y = x[rows], one row of each message

    x (N, D), rows (B,) all different -> y (B, D). backward: dy -> dx, which is dy in those rows and 0 elsewhere.
    """
    y = x[rows]

    def backward(dy):
        dx = np.zeros_like(x)
        dx[rows] = dy
        return dx

    return y, backward


def mean_rows(x, lengths, needs=(True,)):
    """y[b] = the mean of message b's rows

    x (N, D), lengths (B,) -> y (B, D). backward: dy -> dx: each of a message's T rows entered with the factor 1/T, so
    gets dy[b] / T.
    """
    check_lengths(lengths, len(x))
    T = np.asarray(lengths, x.real.dtype)[:, None]  # (B, 1)
    starts = np.cumsum(lengths) - lengths
    y = np.add.reduceat(x, starts, axis=0) / T

    def backward(dy):
        dx = np.repeat(dy / T, lengths, axis=0)
        return dx

    return y, backward
