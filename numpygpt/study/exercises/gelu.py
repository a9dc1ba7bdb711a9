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


EXERCISE = Exercise("gelu", "the chain rule and the product rule, number by number", gelu, HINTS, draws)
