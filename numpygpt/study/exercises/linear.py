from ...ops.linear import linear
from ..checking.exercise import Draw, Exercise

HINTS = (
    "There are three gradients, and each has the shape of what it belongs to: dx (N, in), dweight (in, out), dbias "
    "(out,). Which product of dy (N, out) with x or weight has that shape?",
    "x[n, i] goes into every output of its row, y[n, o], with the factor weight[i, o]. Add up dy[n, o] weight[i, o] "
    "over o. weight[i, o] goes into y[n, o] of every row n, with the factor x[n, i]. bias[o] goes into every row as "
    "it is.",
)


def draws(rng):
    normal = rng.standard_normal
    return [
        Draw(label, dict(x=normal((N, i)), weight=normal((i, o)), bias=normal(o)), {"N": N, "in": i, "out": o})
        for label, N, i, o in [("five rows", 5, 4, 3), ("one row", 1, 3, 6), ("as wide as it is tall", 6, 4, 4)]
    ]


EXERCISE = Exercise("linear", "a product of matrices, and a bias that every row shares", linear, HINTS, draws)
