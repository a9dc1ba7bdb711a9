import numpy as np

from ..system.pieces import by_rows


@by_rows
def layernorm(x, gain, bias, epsilon=1e-5, needs=(True, True, True)):
    """y = gain * xhat + bias,  xhat = (x - mean) * rstd,  rstd = 1 / sqrt(variance + epsilon),  row by row

    x (N, D), gain (D,), bias (D,) -> y (N, D). backward: dy (N, D) -> dx, dgain, dbias. The variance is the biased
    one (over D), as in Ba, Kiros and Hinton 2016, "Layer Normalization".

    gain and bias act on a column, so each sums its column. With g = gain * dy, the gradient at xhat, x reaches a row
    of xhat in three ways: directly, through the mean, and through rstd. As d mean / d x[j] = 1/D and
    d rstd / d x[j] = -rstd^2 xhat[j] / D,
        dx[j] = rstd * ( g[j]  -  mean(g)  -  xhat[j] * mean(g * xhat) )
    where mean(xhat) = 0 removed the part that goes through the mean inside the variance.
    """
    centred = x - x.mean(axis=1, keepdims=True)
    variance = (centred * centred).mean(axis=1, keepdims=True)  # (N, 1)
    rstd = 1 / np.sqrt(variance + epsilon)
    xhat = centred * rstd
    y = gain * xhat + bias

    def backward(dy):
        dx = dgain = dbias = None
        if needs[0]:
            g = gain * dy
            dx = rstd * (g - g.mean(axis=1, keepdims=True) - xhat * (g * xhat).mean(axis=1, keepdims=True))
        if needs[1]:
            dgain = (dy * xhat).sum(axis=0)
        if needs[2]:
            dbias = dy.sum(axis=0)
        return dx, dgain, dbias

    return y, backward
