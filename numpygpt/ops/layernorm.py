import numpy as np


def layernorm(x, gain, bias, epsilon=1e-5, needs=(True, True, True)):
    """y = gain * xhat + bias, where xhat = (x - mean) * rstd,  rstd = 1 / sqrt(variance + epsilon),  row by row

    x (N, D), gain (D,), bias (D,) -> y (N, D). backward: dy (N, D) -> dx, dgain, dbias. The variance is the biased one (over D),
    as in Ba, Kiros and Hinton 2016, "Layer Normalization".

    gain and bias act on a column, so each sums its column. With g = gain * dy, the gradient at xhat, a row's x reaches it in three ways:
    directly, through the mean, and through rstd. Now d mean / d x[j] = 1/D and d rstd / d x[j] = -rstd^2 xhat[j] / D, so
        dx[j] = rstd * ( g[j]  -  mean(g)  -  xhat[j] * mean(g * xhat) )
    where mean(xhat) = 0 removed the part that goes through the mean inside the variance.
    """
    D = x.shape[1]
    xhat = x - x.mean(axis=1, keepdims=True)
    variance = np.einsum("nd,nd->n", xhat, xhat)[:, None] / D  # (N, 1)
    rstd = 1 / np.sqrt(variance + epsilon)
    xhat *= rstd
    y = xhat * gain
    y += bias

    def backward(dy):
        dx = dgain = dbias = None
        if needs[0]:
            g = dy * gain
            dx = g - g.mean(axis=1, keepdims=True)
            dx -= xhat * (np.einsum("nd,nd->n", g, xhat)[:, None] / D)
            dx *= rstd
        if needs[1]:
            dgain = np.einsum("nd,nd->d", dy, xhat)
        if needs[2]:
            dbias = dy.sum(axis=0)
        return dx, dgain, dbias

    return y, backward
