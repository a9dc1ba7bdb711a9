import numpy as np

from ..checking.exercise import Draw, Exercise


def residual(x, weight1, weight2):
    """a = x + tanh(inner1),  inner1 = x @ weight1;    y = a + tanh(inner2),  inner2 = a @ weight2

    x (N, D), weight1 (D, D), weight2 (D, D) -> y (N, D).
    A block of the transformer is built so: attention and MLP, which are much simpler here, are added to what went in.

    tanh' = 1 - tanh^2. a goes two ways, into y as it is and through the second layer, so its gradient is a sum of two:
        dinner2 = dy (1 - tanh(inner2)^2)    da = dy + dinner2 @ weight2.T    dweight2 = a.T @ dinner2
        dinner1 = da (1 - tanh(inner1)^2)    dx = da + dinner1 @ weight1.T    dweight1 = x.T @ dinner1
    """
    inner1 = x @ weight1
    attended = np.tanh(inner1)
    a = x + attended
    inner2 = a @ weight2
    fed = np.tanh(inner2)
    y = a + fed

    def at_layers(dy):
        dinner2 = dy * (1 - fed * fed)
        da = dy + dinner2 @ weight2.T
        dinner1 = da * (1 - attended * attended)
        return dinner2, da, dinner1

    def dx(dy):
        _, da, dinner1 = at_layers(dy)
        return da + dinner1 @ weight1.T

    def dweight1(dy):
        _, _, dinner1 = at_layers(dy)
        return x.T @ dinner1

    def dweight2(dy):
        dinner2, _, _ = at_layers(dy)
        return a.T @ dinner2

    return y, (dx, dweight1, dweight2)


HINTS = (
    "Go backwards: first what y = a + fed gives, then a = x + attended. How many paths lead from a to y, and from x "
    "to a?",
    "Two each: past the layer, and through it. Gradients of two paths add up. Compute both terms of the gradient at "
    "a before you go on to x. at_layers computes what all three gradients share.",
)


def draws(rng):
    def draw(label, N, D):
        x, weight1, weight2 = rng.standard_normal((N, D)), *rng.standard_normal((2, D, D)) / 2
        return Draw(label, dict(x=x, weight1=weight1, weight2=weight2), {"N": N, "D": D})

    return [draw("five rows", 5, 4), draw("one row", 1, 3)]


EXERCISE = Exercise(
    "residual", "gradients add up where a value goes two ways", residual, HINTS, draws, __name__, "import numpy as np"
)


# Known mistakes


def no_second_skip():
    """The path past the second layer is missing. a is also added to fed unchanged, so dy comes back to it. The two
    add up."""
    dinner2, da, dinner1 = at_layers(dy)
    da = dinner2 @ weight2.T
    dinner1 = da * (1 - attended * attended)
    dx = da + dinner1 @ weight1.T
    dweight1 = x.T @ dinner1


def no_first_skip():
    """The path past the first layer is missing. x is also added to attended unchanged, so da comes back to it, and
    adds up."""
    dinner2, da, dinner1 = at_layers(dy)
    dx = dinner1 @ weight1.T


def no_skip_at_all():
    """Both paths past the layers are missing. In a + f(a), the gradient at the sum and the gradient from f add up."""
    dinner2, da, dinner1 = at_layers(dy)
    da = dinner2 @ weight2.T
    dinner1 = da * (1 - attended * attended)
    dx = dinner1 @ weight1.T
    dweight1 = x.T @ dinner1


def first_layer_from_dy():
    """The first layer gets dy. Its result also reaches y through the second layer: it gets da, both terms of it."""
    dinner2, da, dinner1 = at_layers(dy)
    dinner1 = dy * (1 - attended * attended)
    dx = da + dinner1 @ weight1.T
    dweight1 = x.T @ dinner1


def x_from_dy():
    """dx starts from dy, but must start from da. Past the first layer x is in a, which reaches y on two paths."""
    dinner2, da, dinner1 = at_layers(dy)
    dx = dy + dinner1 @ weight1.T


def only_as_it_is():
    """dx is dy. The paths through both layers are missing."""
    dinner2, da, dinner1 = at_layers(dy)
    dx = dy + 0


def second_weight_from_x():
    """dweight2 uses x. The input of the second layer is a."""
    dinner2, da, dinner1 = at_layers(dy)
    dweight2 = x.T @ dinner2


def weights_from_the_sums():
    """The weights' gradients come from dy and da, before tanh's derivative. x @ weight went through tanh."""
    dinner2, da, dinner1 = at_layers(dy)
    dweight1, dweight2 = x.T @ da, a.T @ dy


def no_tanh():
    """tanh's derivative, 1 - tanh^2, is missing in both layers."""
    dinner2, da, dinner1 = at_layers(dy)
    da = dy + dy @ weight2.T
    dx = da + da @ weight1.T
