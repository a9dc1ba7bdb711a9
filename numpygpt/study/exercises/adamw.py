import numpy as np

from ..checking.exercise import Draw, Exercise


def adamw(p, g, m, v, t, lr, weight_decay, beta1, beta2, eps):
    """One step of AdamW: Adam with decoupled weight decay, at step t = 1, 2, …

    p, the parameter, g, its gradient, m and v, the means of recent gradients and of their squares: all of one shape.
    Returns the new p, m and v; writes to none of its inputs. m and v start at 0, which makes them too small at first.

        p = p (1 - lr weight_decay)
        m = beta1 m + (1 - beta1) g
        v = beta2 v + (1 - beta2) g^2
        p = p - lr m / (1 - beta1^t)  /  ( sqrt(v / (1 - beta2^t)) + eps )
    """
    decayed = p * (1 - lr * weight_decay)
    new_m = beta1 * m + (1 - beta1) * g
    new_v = beta2 * v + (1 - beta2) * g * g
    step = new_m / (1 - beta1**t) / (np.sqrt(new_v / (1 - beta2**t)) + eps)
    new_p = decayed - lr * step
    return new_p, new_m, new_v


HINTS = (
    "Four lines: the decay, the two means, the step. Decoupled means that the decay touches p only, and no mean.",
    "Each mean keeps a share beta of itself and takes a share 1 - beta of the new. As they start at 0, they are too "
    "small by the factor 1 - beta^t, which divides them in the step, but not in what is kept. eps stands outside "
    "the square root.",
)


def draws(rng):
    def draw(label, shape, t, started):
        p, g, m = rng.standard_normal((3, *shape))
        v = rng.uniform(0.1, 1, shape)
        numbers = dict(lr=0.1, weight_decay=0.3, beta1=0.8, beta2=0.9, eps=0.01)
        return Draw(label, dict(p=p, g=g, m=m * started, v=v * started, t=t, **numbers), {"t": t, **numbers})

    return [draw("the first step", (3, 4), 1, 0), draw("the third step", (5,), 3, 1)]


EXERCISE = Exercise(
    "adamw",
    "not a gradient, but what is done with it: decay, moments and their bias",
    adamw,
    HINTS,
    draws,
    gradients=("p", "m", "v"),
    is_step=True,
)
