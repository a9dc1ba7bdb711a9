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
        for label, N, i, o in [("five rows", 5, 4, 3), ("one row", 1, 3, 6), ("a square weight", 6, 4, 4)]
    ]


EXERCISE = Exercise("linear", "a product of matrices, and a bias that every row shares", linear, HINTS, draws, __name__)


# Known mistakes


def x_by_itself():
    """dbias is the mean of dy over the rows. bias is added to every row, so it gets the sum of what comes back from
    them."""
    dbias = dy.mean(axis=0)


def bias_over_columns():
    """dbias is one number for all outputs. Each output has its own bias: sum over the rows only."""
    dbias = np.full_like(bias, dy.sum())


def bias_of_one_row():
    """dbias is dy's last row. bias is added to every row, so all rows' dy are summed."""
    dbias = dy[-1].copy()


def weight_divided_by_rows():
    """dweight is divided by N. The mean over rows, if there is one, belongs to the loss, and is in dy already."""
    dweight = x.T @ dy / len(x)


def weight_without_x():
    """dweight sums dy over the rows and leaves x out: weight[i, o] enters y[n, o] with the factor x[n, i]."""
    dweight = np.ones_like(x).T @ dy


def x_without_weight():
    """dx sums dy over the outputs and leaves weight out: x[n, i] enters y[n, o] with the factor weight[i, o]."""
    dx = dy @ np.ones_like(weight).T


def weight_of_the_result():
    """dweight contains y. weight was multiplied with x alone: x.T @ dy."""
    dweight = x.T @ (dy * y)


def sign():
    """dx has the wrong sign. -dx is the direction that lowers the loss; the gradient points uphill."""
    dx = -(dy @ weight.T)
