import numpy as np


def softmax(x):
    """y[i] = exp(x[i]) / sum_j exp(x[j]),  along the last axis

    x (..., T) -> y (..., T). Adding a constant to a row of x changes nothing, so the largest entry of each row is
    subtracted first, and exp cannot overflow. An entry of -inf gets weight 0.

    y[i] depends on x[i] directly, and on every x[j] through the sum: d y[j] / d x[i] = y[j] * ((i == j) - y[i]), so
        dx[i] = y[i] * ( dy[i] - sum_j dy[j] y[j] )
    """
    y = np.exp(x - x.real.max(axis=-1, keepdims=True))
    y /= y.sum(axis=-1, keepdims=True)

    def dx(dy):
        return y * (dy - (dy * y).sum(axis=-1, keepdims=True))

    return y, (dx,)
