import numpy as np


def layernorm(x, gain, bias, epsilon=1e-5):
    """y = gain * xhat + bias,  xhat = (x - mean) * rstd,  rstd = 1 / sqrt(variance + epsilon),  row by row

    x (N, D), gain (D,), bias (D,) -> y (N, D). The variance is the biased one (divided by D), as in Ba, Kiros and
    Hinton 2016, "Layer Normalization". GPT-2's epsilon is 1e-5.

    gain[j] and bias[j] act on column j, so each sums over its column:
        dgain = sum of dy * xhat over rows        dbias = sum of dy over rows
    The gradient at xhat is g = gain * dy. x[j] reaches its row of xhat in three ways: directly, through the mean, and
    through rstd. As d mean / d x[j] = 1/D and d rstd / d x[j] = -rstd^2 xhat[j] / D,
        dx[j] = rstd * ( g[j]  -  mean(g)  -  xhat[j] * mean(g * xhat) )
    The variance also depends on the mean, but that path adds nothing, because mean(xhat) = 0.
    """
    centred = x - x.mean(axis=1, keepdims=True)
    variance = (centred * centred).mean(axis=1, keepdims=True)  # (N, 1)
    rstd = 1 / np.sqrt(variance + epsilon)
    xhat = centred * rstd
    y = gain * xhat + bias

    def dx(dy):
        g = gain * dy
        return rstd * (g - g.mean(axis=1, keepdims=True) - xhat * (g * xhat).mean(axis=1, keepdims=True))

    def dgain(dy):
        return (dy * xhat).sum(axis=0)

    def dbias(dy):
        return dy.sum(axis=0)

    return y, (dx, dgain, dbias)
