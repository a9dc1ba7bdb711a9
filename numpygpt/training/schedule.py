"""The learning rate from step to step, and a limit on the gradient."""

import math

import numpy as np

SCHEDULES = ("constant", "cosine")


def learning_rate(step, steps, peak, warmup, schedule="cosine"):
    """Return the rate of update `step`, 0 to steps - 1.

    step < warmup:   peak (step + 1) / warmup, so that the last update of the warm-up has the peak
    "constant":      peak
    "cosine":        peak (0.1 + 0.45 (1 + cos(pi done))), done = (step - warmup) / (steps - warmup)

    The cosine is Brown et al.'s (2020, appendix B). It reaches a tenth of the peak at `step = steps`, one update after
    the last. Without warm-up the last of 3 updates has 0.325 of the peak, and the last of 100 has 0.1002.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    if schedule == "constant":
        return peak
    done = (step - warmup) / max(1, steps - warmup)
    return peak * (0.1 + 0.45 * (1 + math.cos(math.pi * done)))


def default_lr(config) -> float:
    """Return the default rate: min(1e-3, 5e-5 max(1, 768 / n_embd)^3).

    It is the book's 5e-5 from GPT-2's width of 768 on, and higher for a narrower model.

    The exponent 3 is a choice, with no theory behind it. It makes the rate reach its limit, the 1e-3 that served mini
    best, at a width of 283.
    """
    return min(1e-3, 5e-5 * max(1, 768 / config.n_embd) ** 3)


def clip_norm(grads, limit):
    """Scale all gradients in place so that their common norm is at most `limit`."""
    if math.isinf(limit):
        return
    # np.vdot's bits would depend on the BLAS's threads, a plain sum's on the order of the names
    norm = math.sqrt(math.fsum(float(np.sum(g * g)) for g in grads.values()))
    if norm > limit:
        for g in grads.values():
            g *= limit / norm
