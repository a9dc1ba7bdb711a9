"""Cross-entropy without its options: what lesson 2 asks for before it asks for the shipped function."""

import numpy as np


def plain_loss(logits, targets):
    """loss = mean over rows of -log p[target],  p = softmax(logits)

    logits (B, C), targets (B,) whole numbers 0…C-1 -> loss, a scalar

        dlogits = dloss (p - onehot(target)) / B
    """
    B, rows = len(logits), np.arange(len(logits))
    e = np.exp(logits - logits.real.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    loss = -np.log(p[rows, targets]).sum() / B

    def dlogits(dloss):
        dlogits = p.copy()
        dlogits[rows, targets] -= 1
        return dlogits * dloss / B

    return loss, (dlogits,)
