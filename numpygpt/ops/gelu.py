import math

import numpy as np

from ..system.pieces import each_piece

SLOPE = math.sqrt(2 / math.pi)
CUBIC = 0.044715


def gelu(x, needs=(True,)):
    """y = x/2 * (1 + tanh(u)),  u = SLOPE * (x + CUBIC * x^3)

    x (N, D) -> y (N, D). backward: dy -> dx. The tanh form of Hendrycks and Gimpel 2016, "Gaussian Error Linear Units", with which
    GPT-2 was trained; the form with erf differs in the fourth digit.

    With t = tanh(u), dt/du = 1 - t^2 and du/dx = SLOPE * (1 + 3 CUBIC x^2), the product rule gives
        dx = dy * ( (1 + t)/2  +  x/2 * (1 - t^2) * SLOPE * (1 + 3 CUBIC x^2) )
    """
    y = np.empty_like(x)
    t = np.empty_like(x) if needs[0] else None

    def forward(rows):
        xs = x[rows]
        u = xs * xs
        u *= SLOPE * CUBIC
        u += SLOPE
        u *= xs
        ts = np.tanh(u, out=u if t is None else t[rows])
        ys = np.add(ts, 1, out=y[rows])
        ys *= xs
        ys *= 0.5

    each_piece(forward, x)

    def backward(dy):
        dx = np.empty_like(x)

        def piece_backward(rows):
            xs, ts = x[rows], t[rows]
            slope = xs * xs  # becomes du/dx, then x (1 - t^2) du/dx, then twice dy/dx
            slope *= 3 * SLOPE * CUBIC
            slope += SLOPE
            slope *= xs
            slope *= 1 - ts * ts
            slope += ts
            slope += 1
            slope *= 0.5
            np.multiply(slope, dy[rows], out=dx[rows])

        each_piece(piece_backward, x)
        return dx

    return y, backward
