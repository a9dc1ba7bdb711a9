from ...ops.gelu import gelu
from ..checking.exercise import Draw, Exercise

HINTS = (
    "Each number goes its own way: dx = dy times dy/dx. y is a product of x/2 and (1 + t), and t depends on x too.",
    "The product rule gives (1 + t)/2 + x/2 dt/dx. By the chain rule dt/dx = dt/du du/dx. tanh's derivative is 1 - "
    "tanh^2, and u is a polynomial.",
)


def draws(rng):
    return [
        Draw(label, dict(x=scale * rng.standard_normal(shape)), {"N": shape[0], "D": shape[1]})
        for label, scale, shape in [
            ("five rows", 1.0, (5, 4)),
            ("one row", 1.0, (1, 3)),
            ("large numbers", 3.0, (3, 6)),
        ]
    ]


EXERCISE = Exercise("gelu", "the chain rule and the product rule, number by number", gelu, HINTS, draws, __name__)


# Known mistakes


def product_rule():
    """The second term of the product rule is missing: t depends on x too, which adds x/2 dt/dx."""
    dx = dy * (1 + t) / 2


def only_the_second_term():
    """The first term of the product rule is missing: (1 + t)/2, from the x in front."""
    dx = dy * x / 2 * (1 - t * t) * du_dx


def inner_derivative():
    """du/dx is missing: by the chain rule dt/dx = (1 - t^2) du/dx."""
    dx = dy * ((1 + t) / 2 + x / 2 * (1 - t * t))


def cube():
    """du/dx lacks the 3: the derivative of CUBIC x^3 is 3 CUBIC x^2."""
    dx = dy * ((1 + t) / 2 + x / 2 * (1 - t * t) * SLOPE * (1 + CUBIC * x * x))


def slope():
    """du/dx lacks the factor SLOPE."""
    dx = dy * ((1 + t) / 2 + x / 2 * (1 - t * t) * (1 + 3 * CUBIC * x * x))


def tanh_derivative():
    """tanh's derivative is written as 1 - t. It is 1 - t^2."""
    dx = dy * ((1 + t) / 2 + x / 2 * (1 - t) * du_dx)


def sigmoid_derivative():
    """tanh's derivative is written as t (1 - t), the form of the sigmoid's. It is 1 - t^2."""
    dx = dy * ((1 + t) / 2 + x / 2 * t * (1 - t) * du_dx)


def tanh_of_the_result():
    """tanh's derivative is written as 1 - u^2. It is 1 - tanh(u)^2, and tanh(u) is t."""
    dx = dy * ((1 + t) / 2 + x / 2 * (1 - u * u) * du_dx)


def half_forgotten():
    """The 1/2 is missing in front of (1 + t): the factor in the forward pass is x/2."""
    dx = dy * ((1 + t) + x / 2 * (1 - t * t) * du_dx)


def all_twice():
    """dx is twice too large. The 1/2 of x/2 is missing."""
    dx = 2 * dx


def erf_form():
    """This is the derivative of the form with erf, Phi(x) + x phi(x). The forward pass is the tanh form, which
    differs in the fourth digit."""
    Phi = (1 + np.vectorize(__import__("math").erf)(x.real / math.sqrt(2))) / 2
    dx = dy * (Phi + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi))


def dy_forgotten():
    """dy is missing. This is dy/dx; multiply it by the incoming gradient."""
    dx = (1 + t) / 2 + x / 2 * (1 - t * t) * du_dx


def relu():
    """This is the gradient of a ReLU: dy where x is positive, 0 elsewhere."""
    dx = dy * (x > 0)
