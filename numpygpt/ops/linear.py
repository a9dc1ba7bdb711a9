def linear(x, weight, bias):
    """y = x @ weight + bias

    x (N, in), weight (in, out), bias (out,) -> y (N, out).

    Each output is y[n, o] = sum_i x[n, i] weight[i, o] + bias[o].
    x[n, i] reaches the loss through row n of y, with the factor weight[i, o] at y[n, o].
    weight[i, o] reaches the loss through column o of y, with the factor x[n, i] at y[n, o].
    bias[o] reaches the loss through column o of y, with the factor 1. So
        dx = dy @ weight.T        dweight = x.T @ dy        dbias = sum of dy over its rows
    """
    y = x @ weight + bias

    def dx(dy):
        return dy @ weight.T

    def dweight(dy):
        return x.T @ dy

    def dbias(dy):
        return dy.sum(axis=0)

    return y, (dx, dweight, dbias)
