from ..system.late import late_weight


@late_weight
def linear(x, weight, bias, needs=(True, True, True)):
    """y = x @ weight + bias

    x (N, in), weight (in, out), bias (out,) -> y (N, out). backward: dy (N, out) -> dx, dweight, dbias.

    One output is y[n, o] = sum_i x[n, i] weight[i, o] + bias[o]. So x[n, i] reaches the loss through row n of y, each
    y[n, o] with factor weight[i, o]; weight[i, o] through column o, each y[n, o] with factor x[n, i]; bias[o] through
    column o:
        dx = dy @ weight.T        dweight = x.T @ dy        dbias = sum over rows of dy
    """
    y = x @ weight
    y += bias
    if not needs[1]:
        x = None  # only dweight reads it: what is frozen keeps nothing

    def backward(dy):
        dx = dy @ weight.T if needs[0] else None
        dweight = x.T @ dy if needs[1] else None
        dbias = dy.sum(axis=0) if needs[2] else None
        return dx, dweight, dbias

    return y, backward
