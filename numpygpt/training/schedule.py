"""The learning rate from step to step, and a limit on the gradient."""

import math

import numpy as np

SCHEDULES = ("constant", "cosine")


def learning_rate(step, steps, peak, warmup, schedule="cosine"):
    """Linear warm-up over `warmup` steps; then the peak, or half a cosine to a tenth (Brown et al. 2020, app. B)."""
    if step < warmup:
        return peak * (step + 1) / warmup
    if schedule == "constant":
        return peak
    done = (step - warmup) / max(1, steps - warmup)
    return peak * (0.1 + 0.45 * (1 + math.cos(math.pi * done)))


def clip_norm(grads, limit):
    """Scale all gradients in place so that their common norm is at most `limit`."""
    if math.isinf(limit):
        return
    # np.vdot's bits would depend on the BLAS's threads, a plain sum's on the order of the names
    norm = math.sqrt(math.fsum(float(np.sum(g * g)) for g in grads.values()))
    if norm > limit:
        for g in grads.values():
            g *= limit / norm
