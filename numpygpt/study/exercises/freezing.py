import numpy as np

from ...ops.linear import linear
from ..checking.exercise import Draw, Exercise

IMPORTS = """import numpy as np

from numpygpt.ops.linear import linear"""


def freezing(x, weight1, bias1, weight2, bias2, learns):
    """y = h @ weight2 + bias2,  h = tanh(x @ weight1 + bias1): two layers, of which some parameters are frozen

    x (N, in), weight1 (in, hidden), bias1 (hidden,), weight2 (hidden, out), bias2 (out,) -> y (N, out).
    learns: five times True or False, for x, weight1, bias1, weight2, bias2. An operation returns one function per
    gradient. Call the functions of what learns, and no others: that is all the model's tape does. backward returns dx,
    dweight1, dbias1, dweight2, dbias2, each None if it is not asked for. Form no product of matrices in vain.

    A frozen weight still passes a gradient down, so backpropagation goes through weight2 whether it learns or not. It
    ends at the lowest trainable argument. If x, weight1 and bias1 are frozen, nobody needs dh, and it is 0.0.
    """
    u, d_layer1 = linear(x, weight1, bias1)
    h = np.tanh(u)
    y, d_layer2 = linear(h, weight2, bias2)

    def backward(dy):
        dh = d_layer2[0](dy) if any(learns[:3]) else 0.0
        dweight2 = d_layer2[1](dy) if learns[3] else None
        dbias2 = d_layer2[2](dy) if learns[4] else None
        du = dh * (1 - h * h)
        dx = d_layer1[0](du) if learns[0] else None
        dweight1 = d_layer1[1](du) if learns[1] else None
        dbias1 = d_layer1[2](du) if learns[2] else None
        return dx, dweight1, dbias1, dweight2, dbias2

    return y, backward


HINTS = (
    "Write it first as if everything learned. Then ask for each function: who needs its result?",
    "A parameter's own function is called only if that parameter learns. The function that leads down, d_layer2[0], is "
    "called if anything below learns, whether weight2 itself does or not.",
)


def draws(rng):
    def draw(label, *learns):
        N, i, hidden, out = 5, 4, 3, 2
        normal = rng.standard_normal
        weights = dict(
            weight1=normal((i, hidden)), bias1=normal(hidden), weight2=normal((hidden, out)), bias2=normal(out)
        )
        sizes = {"N": N, "in": i, "hidden": hidden, "out": out}
        return Draw(label, dict(x=normal((N, i)), **weights, learns=learns), sizes)

    return [
        draw("all learn", True, True, True, True, True),
        draw("only the second layer learns", False, False, False, True, True),
        draw("only the first weight learns", False, True, False, False, False),
        draw("the second weight is frozen", False, True, True, False, True),
    ]


EXERCISE = Exercise(
    "freezing",
    "which gradients freezing saves, and which it does not",
    freezing,
    HINTS,
    draws,
    __name__,
    imports=IMPORTS,
    gradients=("x", "weight1", "bias1", "weight2", "bias2"),
    asked="learns",
)


# Known mistakes


def frozen_stops_the_way():
    """A frozen weight2 stops backpropagation. Frozen, it has no gradient, but passes one on to what learns below it."""
    if not learns[3] and any(learns[:3]):
        dweight1 = np.zeros_like(weight1) if learns[1] else None
        dbias1 = np.zeros_like(bias1) if learns[2] else None


def no_tanh():
    """tanh's derivative, 1 - h^2, is missing on the way down."""
    if any(learns[:3]):
        du = dy @ weight2.T
        dx = du @ weight1.T if learns[0] else None
        dweight1 = x.T @ du if learns[1] else None
        dbias1 = du.sum(axis=0) if learns[2] else None


def tanh_not_squared():
    """tanh's derivative is taken to be 1 - h; it is 1 - h^2."""
    if any(learns[:3]):
        du = (dy @ weight2.T) * (1 - h)
        dx = du @ weight1.T if learns[0] else None
        dweight1 = x.T @ du if learns[1] else None
        dbias1 = du.sum(axis=0) if learns[2] else None


def weight2_left_out():
    """The way down leaves weight2 out. Frozen or not, h was multiplied with it: d_h."""
    if any(learns[:3]):
        du = dy.sum(axis=1, keepdims=True) * (1 - h * h)
        dx = du @ weight1.T if learns[0] else None
        dweight1 = x.T @ du if learns[1] else None
        dbias1 = du.sum(axis=0) if learns[2] else None


def second_weight_before_tanh():
    """dweight2 is made with what went into tanh: weight2 was multiplied with h, which came out of it."""
    if learns[3]:
        dweight2 = (x @ weight1 + bias1).T @ dy


def bias_averaged():
    """dbias1 and dbias2 are means over the rows. Each row used them, so their contributions add up."""
    if learns[2]:
        dbias1 = dbias1 / len(x)
    if learns[4]:
        dbias2 = dbias2 / len(x)
