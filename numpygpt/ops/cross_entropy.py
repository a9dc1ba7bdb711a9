import numpy as np

from .softmax import softmax


def cross_entropy(logits, targets, ignore_index=None, needs=(True,)):
    """loss = mean over rows of -log softmax(logits)[target]

    logits (B, C), targets (B,) whole numbers 0…C-1 -> loss, a scalar of logits' dtype. backward: dloss (1.0 unless given) -> dlogits.
    Rows whose target is ignore_index count neither in the sum nor in the mean.

    A row's loss is log(sum_j exp(logits[j])) - logits[target]. The first term's derivative by logits[i] is softmax(logits)[i], so
        dlogits = (softmax(logits) - onehot(target)) / B
    """
    rows = np.flatnonzero(targets != ignore_index) if ignore_index is not None else np.arange(len(targets))
    counted = targets[rows]
    shifted = logits - logits.real.max(axis=1, keepdims=True)
    loss = (np.log(np.exp(shifted).sum(axis=1))[rows] - shifted[rows, counted]).mean()

    def backward(dloss=1.0):
        dlogits, _ = softmax(logits)
        dlogits[rows, counted] -= 1
        dlogits *= dloss / len(rows)
        if len(rows) < len(targets):
            dlogits[targets == ignore_index] = 0
        return dlogits

    return loss, backward
