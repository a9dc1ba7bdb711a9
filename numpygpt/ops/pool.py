import numpy as np


def take_rows(x, rows):
    """y = x[rows],  one row of each message

    x (N, D), rows (B,) row numbers, all different -> y (B, D).

    A row that was taken receives its gradient. The other rows do not reach y:
        dx[rows] = dy,  and 0 elsewhere
    """
    y = x[rows]

    def dx(dy):
        dx = np.zeros(x.shape, dy.dtype)
        dx[rows] = dy
        return dx

    return y, (dx,)


def mean_rows(x, lengths):
    """y[b] = the mean of the rows of message b

    x (N, D), lengths (B,) -> y (B, D).

    Each of the T rows of message b has the weight 1/T, so it receives dy[b] / T:
        dx[n] = dy[b] / T
    """
    check_lengths(lengths, len(x))
    T = np.asarray(lengths, x.real.dtype)[:, None]  # (B, 1)
    starts = np.cumsum(lengths) - lengths
    y = np.add.reduceat(x, starts, axis=0) / T

    def dx(dy):
        return np.repeat(dy / T, lengths, axis=0)

    return y, (dx,)


def check_lengths(lengths, N):
    """Raise ValueError unless `lengths` are the lengths of messages that together have N rows."""
    if len(lengths) == 0 or min(lengths) < 1 or sum(lengths) != N:
        raise ValueError(
            f"lengths must be at least 1 and sum to the {N} rows, got {list(map(int, lengths[:9]))}, sum {sum(lengths)}"
        )
