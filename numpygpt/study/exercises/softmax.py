from ...ops.softmax import softmax
from ..checking.exercise import Draw, Exercise

HINTS = (
    "Every output of a row depends on every input of that row, for all share the sum they are divided by. So dx[i] is "
    "a sum over all j of dy[j] times d y[j] / d x[i].",
    "d y[i] / d x[i] = y[i] - y[i]^2, and d y[j] / d x[i] = -y[j] y[i] for another j. In the sum over j, y[i] is a "
    "factor of every term. What remains holds one sum per row.",
)


def draws(rng):
    shapes = [("three axes", (2, 3, 5)), ("one row", (1, 4)), ("square rows", (4, 4))]
    return [Draw(label, dict(x=rng.standard_normal(s)), {"T": s[-1], "rows": s[-2]}) for label, s in shapes]


EXERCISE = Exercise("softmax", "a sum that all outputs share", softmax, HINTS, draws)
