import numpy as np

from ..checking.exercise import Draw, Exercise


def residual(x, weight1, weight2):
    """a = x + attended,  attended = tanh(x @ weight1);    y = a + fed,  fed = tanh(a @ weight2)

    x (N, D), weight1 (D, D), weight2 (D, D) -> y (N, D). backward: dy (N, D) -> dx, dweight1, dweight2.
    A block of the transformer is built so: attention and MLP, which are much simpler here, are added to what went in.

    tanh' = 1 - tanh^2. a goes two ways, into y as it is and through the second layer, so its gradient is a sum of two:
        dfed = dy (1 - fed^2)              da = dy + dfed @ weight2.T              dweight2 = a.T @ dfed
        dattended = da (1 - attended^2)    dx = da + dattended @ weight1.T         dweight1 = x.T @ dattended
    """
    attended = np.tanh(x @ weight1)
    a = x + attended
    fed = np.tanh(a @ weight2)
    y = a + fed

    def backward(dy):
        dfed = dy * (1 - fed * fed)
        da = dy + dfed @ weight2.T
        dattended = da * (1 - attended * attended)
        dx = da + dattended @ weight1.T
        dweight1 = x.T @ dattended
        dweight2 = a.T @ dfed
        return dx, dweight1, dweight2

    return y, backward


HINTS = (
    "Go backwards: first what y = a + fed gives, then a = x + attended. How many ways lead from a to y, and from x "
    "to a?",
    "Two each: as it is, and through the layer. Gradients of two ways add up. Find the gradient at a completely, "
    "both its terms, before you go on below it.",
)


def draws(rng):
    def draw(label, N, D):
        x, weight1, weight2 = rng.standard_normal((N, D)), *rng.standard_normal((2, D, D)) / 2
        return Draw(label, dict(x=x, weight1=weight1, weight2=weight2), {"N": N, "D": D})

    return [draw("five rows", 5, 4), draw("one row", 1, 3)]


EXERCISE = Exercise("residual", "gradients add up where a value goes two ways", residual, HINTS, draws)
