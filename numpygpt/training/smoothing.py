"""Label smoothing: a loss that does not ask for certainty."""

import numpy as np

from ..ops.cross_entropy import cross_entropy


def smoothed_cross_entropy(logits, targets, smoothing):
    """loss = (1 - smoothing) * cross_entropy to the targets + smoothing * its mean over all labels as targets

    logits (B, C), targets (B,) whole numbers 0…C-1 -> loss, a scalar of logits' dtype. backward: no argument ->
    dlogits. It is least where a target has the probability 1 - smoothing + smoothing / C, so logits need not grow for
    ever (Szegedy et al. 2016, "Rethinking the Inception architecture", section 7; PyTorch's label_smoothing).
    """
    loss, d_loss = cross_entropy(logits, targets)
    if smoothing == 0:
        return loss, d_loss
    B, C = logits.shape
    spread, d_spread = cross_entropy(np.repeat(logits, C, axis=0), np.tile(np.arange(C), B))

    def backward():
        return (1 - smoothing) * d_loss() + smoothing * d_spread().reshape(B, C, C).sum(axis=1)

    return (1 - smoothing) * loss + smoothing * spread, backward
