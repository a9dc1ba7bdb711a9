"""The learning-rate schedule, and gradient clipping."""

import math

import numpy as np

from ..system.errors import InputError


def learning_rate(step, steps, peak, warmup, schedule="cosine"):
    """Return the learning rate of update `step`, 0 to steps - 1.

    step < warmup:   peak (step + 1) / warmup, so the last update of the warm-up has the peak rate
    "constant":      peak
    "cosine":        peak (0.1 + 0.45 (1 + cos(pi done))), done = (step - warmup) / (steps - warmup)

    The cosine is Brown et al.'s (2020, appendix B). It reaches a tenth of the peak at `step = steps`, one update after
    the last. Without warm-up, the last of 3 updates has 0.325 of the peak, and the last of 100 updates has 0.1002.

    >>> [round(learning_rate(step, steps=4, peak=1.0, warmup=2), 3) for step in range(4)]
    [0.5, 1.0, 1.0, 0.55]
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    if schedule == "constant":
        return peak
    done = (step - warmup) / max(1, steps - warmup)
    return peak * (0.1 + 0.45 * (1 + math.cos(math.pi * done)))


def default_lr(config) -> float:
    """Return the default rate: min(1e-3, 5e-5 max(1, 768 / n_embd)^3).

    From GPT-2's width of 768 on, the rate is the book's 5e-5. A narrower model gets a higher rate.

    The exponent 3 is a choice without a theory behind it. With it the rate reaches its limit, 1e-3, at a width of 283.
    1e-3 is the best rate for mini.

    >>> from numpygpt.model.config import SIZES
    >>> default_lr(SIZES["gpt2"])
    5e-05
    """
    return min(1e-3, 5e-5 * max(1, 768 / config.n_embd) ** 3)


def clip_norm(grads, limit):
    """Scale all gradients in place so that their common norm is at most `limit`.

    Raises InputError for a read-only gradient, before anything has changed.
    """
    if math.isinf(limit):
        return
    for name, g in grads.items():
        if not g.flags.writeable:
            raise InputError(f"clip_norm: the gradient of {name} is read-only. Give a copy: np.array(gradient)")
    # The bits of np.vdot depend on the number of BLAS threads, and those of a plain sum on the order of the names.
    norm = math.sqrt(math.fsum(float(np.sum(g * g)) for g in grads.values()))
    if norm > limit:
        for g in grads.values():
            g *= limit / norm
