import math

import numpy as np

SLOPE = math.sqrt(2 / math.pi)
CUBIC = 0.044715


def gelu(x):
    """y = x/2 (1 + t),  t = tanh(u),  u = SLOPE (x + CUBIC x^3)

    x (N, D) -> y (N, D). This is the tanh form of Hendrycks and Gimpel 2016, "Gaussian Error Linear Units", with which
    GPT-2 was trained. The form with erf differs in the fourth digit.

    dt/du = 1 - t^2 and du/dx = SLOPE (1 + 3 CUBIC x^2), so the product rule gives
        dx = dy ( (1 + t)/2  +  x/2 (1 - t^2) du/dx )
    """
    u = SLOPE * (x + CUBIC * x * x * x)
    t = np.tanh(u)
    y = x / 2 * (1 + t)

    def dx(dy):
        du_dx = SLOPE * (1 + 3 * CUBIC * x * x)
        return dy * ((1 + t) / 2 + x / 2 * (1 - t * t) * du_dx)

    return y, (dx,)
