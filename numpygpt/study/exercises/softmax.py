from ...ops.softmax import softmax
from ..checking.exercise import Draw, Exercise

HINTS = (
    "Every output of a row depends on every input of that row, for all share the sum they are divided by. So dx[i] is "
    "a sum over all j of dy[j] times d y[j] / d x[i].",
    "d y[i] / d x[i] = y[i] - y[i]^2, and d y[j] / d x[i] = -y[j] y[i] for another j. In the sum over j, y[i] is a "
    "factor of every term. What remains holds one sum per row.",
)


def draws(rng):
    shapes = [("three axes", (2, 3, 5)), ("one row", (1, 4)), ("four rows of four numbers", (4, 4))]
    return [Draw(label, dict(x=rng.standard_normal(s)), {"T": s[-1], "rows": s[-2]}) for label, s in shapes]


EXERCISE = Exercise("softmax", "a sum that all outputs share", softmax, HINTS, draws, __name__)


# Known mistakes


def only_the_diagonal():
    """Only dy[i] d y[i] / d x[i] is counted, y (1 - y) as for a sigmoid. x[i] also reaches every other y[j],
    through the sum that divides the whole row: the derivatives off the diagonal, -y[i] y[j], are missing."""
    dx = dy * y * (1 - y)


def sum_without_the_weights():
    """dy is not multiplied by y in the sum: the softmax's own weights belong there, sum_j dy[j] y[j]."""
    dx = y * (dy - dy.sum(axis=-1, keepdims=True))


def mean_for_sum():
    """The sum over the row of dy[j] y[j] is a mean here. The weights y sum to 1 already, so do not divide by T."""
    dx = y * (dy - (dy * y).mean(axis=-1, keepdims=True))


def sum_over_everything():
    """The sum of dy[j] y[j] goes over all rows. Each row is its own softmax: sum along the last axis, and keep it."""
    dx = y * (dy - (dy * y).sum())


def sum_over_the_wrong_axis():
    """The sum of dy[j] y[j] goes down the rows (axis -2). The softmax is along the last axis."""
    dx = y * (dy - (dy * y).sum(axis=-2, keepdims=True))


def no_sum():
    """dx is y * dy. The path through the sum, which divides the whole row, is missing."""
    dx = y * dy


def no_weight_in_front():
    """y[i] is missing in front: dx[i] = y[i] * (dy[i] - sum_j dy[j] y[j])."""
    dx = dy - (dy * y).sum(axis=-1, keepdims=True)


def of_the_logarithm():
    """This is the gradient of log(softmax(x)): dy - y * sum(dy). The result here is the softmax itself."""
    dx = dy - y * dy.sum(axis=-1, keepdims=True)


def plus_the_sum():
    """The sum is added. d y[j] / d x[i] = -y[i] y[j], so the sum is subtracted."""
    dx = y * (dy + (dy * y).sum(axis=-1, keepdims=True))
