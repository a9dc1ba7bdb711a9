from ...ops.layernorm import layernorm
from ..checking.exercise import Draw, Exercise

HINTS = (
    "Go step by step against the forward pass. gain and bias are shared by all rows. Then, with g = gain * dy the "
    "gradient at xhat: in how many ways does one x[j] of a row reach that row's xhat?",
    "In three: directly, through the mean, and through rstd. So dx is rstd times a sum of three terms; the second and "
    "the third each hold a mean over the row. d mean / d x[j] = 1/D and d rstd / d x[j] = -rstd^2 xhat[j] / D.",
)


def draws(rng):
    normal = rng.standard_normal

    def draw(label, N, D):
        gain, x = rng.uniform(1.5, 2.5, D), 1 + rng.uniform(0.5, 3, (N, 1)) * normal((N, D))
        return Draw(label, dict(x=x, gain=gain, bias=normal(D)), {"N": N, "D": D})

    return [draw("four rows", 4, 6), draw("one row", 1, 5), draw("as many rows as columns", 5, 5)]


EXERCISE = Exercise("layernorm", "one number that reaches a row in three ways", layernorm, HINTS, draws)
