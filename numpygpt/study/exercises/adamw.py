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
    __name__,
    imports="import numpy as np",
    gradients=("p", "m", "v"),
    is_step=True,
)


# Known mistakes


def decay_in_the_moments():
    """Weight decay is added to the gradient, and so gets into the moments. That is Adam with L2 regularization,
    which rescales the decay of each number. AdamW subtracts it from p directly."""
    h = g + weight_decay * p
    new_m = beta1 * m + (1 - beta1) * h
    new_v = beta2 * v + (1 - beta2) * h * h
    new_p = p - lr * new_m / (1 - beta1**t) / (np.sqrt(new_v / (1 - beta2**t)) + eps)


def no_decay():
    """There is no weight decay: p (1 - lr weight_decay)."""
    new_p = p - lr * step


def decay_without_lr():
    """Weight decay is not multiplied by lr: p (1 - lr weight_decay)."""
    new_p = p * (1 - weight_decay) - lr * step


def decay_afterwards():
    """Weight decay is applied after the step, to the new p. It comes first."""
    new_p = (p - lr * step) * (1 - lr * weight_decay)


def no_bias_correction():
    """The bias correction is missing. m and v start at 0, so divide them by 1 - beta^t."""
    new_p = decayed - lr * new_m / (np.sqrt(new_v) + eps)


def first_moment_uncorrected():
    """The bias correction of m is missing: m / (1 - beta1^t)."""
    new_p = decayed - lr * new_m / (np.sqrt(new_v / (1 - beta2**t)) + eps)


def second_moment_uncorrected():
    """The bias correction of v is missing: v / (1 - beta2^t)."""
    new_p = decayed - lr * new_m / (1 - beta1**t) / (np.sqrt(new_v) + eps)


def steps_from_zero():
    """The step count is one too high. The first step has t = 1: use t unchanged."""
    new_p = decayed - lr * new_m / (1 - beta1 ** (t + 1)) / (np.sqrt(new_v / (1 - beta2 ** (t + 1))) + eps)


def moments_kept_corrected():
    """m and v are returned with their bias correction. Only the step uses it: return m and v undivided."""
    new_m, new_v = new_m / (1 - beta1**t), new_v / (1 - beta2**t)


def eps_in_the_root():
    """eps is inside the square root. Add it to the root."""
    new_p = decayed - lr * new_m / (1 - beta1**t) / np.sqrt(new_v / (1 - beta2**t) + eps)


def eps_forgotten():
    """eps is missing in the divisor."""
    new_p = decayed - lr * new_m / (1 - beta1**t) / np.sqrt(new_v / (1 - beta2**t))


def no_root():
    """The square root is missing: the step is divided by the root of v."""
    new_p = decayed - lr * new_m / (1 - beta1**t) / (new_v / (1 - beta2**t) + eps)


def not_squared():
    """v is a mean of the gradients. It must be a mean of their squares."""
    new_v = beta2 * v + (1 - beta2) * g
    new_p = decayed - lr * new_m / (1 - beta1**t) / (np.sqrt(np.abs(new_v) / (1 - beta2**t)) + eps)


def betas_exchanged():
    """The betas are exchanged: beta1 is for m, beta2 for v."""
    new_m = beta2 * m + (1 - beta2) * g
    new_v = beta1 * v + (1 - beta1) * g * g
    new_p = decayed - lr * new_m / (1 - beta2**t) / (np.sqrt(new_v / (1 - beta1**t)) + eps)


def shares_exchanged():
    """The shares are exchanged. The old mean keeps the share beta; the new number gets 1 - beta."""
    new_m = (1 - beta1) * m + beta1 * g
    new_v = (1 - beta2) * v + beta2 * g * g
    new_p = decayed - lr * new_m / (1 - beta1**t) / (np.sqrt(new_v / (1 - beta2**t)) + eps)


def gradient_for_moment():
    """The step uses the gradient of this step alone. It must use m, the mean of recent gradients."""
    new_p = decayed - lr * g / (1 - beta1**t) / (np.sqrt(new_v / (1 - beta2**t)) + eps)


def uphill():
    """The step has the wrong sign. Subtract it: the loss falls against the gradient."""
    new_p = decayed + lr * step
