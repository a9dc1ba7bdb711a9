import numpy as np


def softmax(x):
    """y[i] = exp(x[i]) / sum_j exp(x[j]),  along the last axis

    x (..., T) -> y (..., T). backward: dy -> dx. Adding a constant to a row of x changes nothing, so its largest
    entry is taken off first and exp cannot overflow. An entry of -inf gets weight 0.

    y[i] reaches the loss directly and through the sum that divides all: d y[j] / d x[i] = y[j] * ((i == j) - y[i]), so
        dx[i] = y[i] * ( dy[i] - sum_j dy[j] y[j] )
    """
    y = np.exp(x - x.real.max(axis=-1, keepdims=True))
    y /= y.sum(axis=-1, keepdims=True)

    def backward(dy):
        dx = y * (dy - (dy * y).sum(axis=-1, keepdims=True))
        return dx

    return y, backward
