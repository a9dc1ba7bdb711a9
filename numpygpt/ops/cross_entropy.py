import numpy as np

from .softmax import softmax


def cross_entropy(logits, targets, needs=(True,)):
    """loss = mean over rows of -log softmax(logits)[target]

    logits (B, C), targets (B,) whole numbers 0…C-1 -> loss, a scalar of logits' dtype. backward: dloss (1.0 unless given) -> dlogits.

    A row's loss is log(sum_j exp(logits[j])) - logits[target]. The first term's derivative by logits[i] is softmax(logits)[i], so
        dlogits = (softmax(logits) - onehot(target)) / B
    """
    B = len(targets)
    each = np.arange(B)
    shifted = logits - logits.real.max(axis=1, keepdims=True)
    loss = (np.log(np.exp(shifted).sum(axis=1)) - shifted[each, targets]).mean()

    def backward(dloss=1.0):
        dlogits, _ = softmax(logits)
        dlogits[each, targets] -= 1
        dlogits *= dloss / B
        return dlogits

    return loss, backward
