import numpy as np

from .softmax import softmax


def cross_entropy(logits, targets, ignore_index=None, needs=(True,)):
    """loss = mean over rows of -log softmax(logits)[target]

    logits (B, C), targets (B,) whole numbers 0…C-1 -> loss, a scalar of logits' dtype. backward: dloss (1.0 unless
    given) -> dlogits. Rows whose target is ignore_index count neither in the sum nor in the mean. Raises ValueError
    where that leaves none.

    A row's loss is log(sum_j exp(logits[j])) - logits[target]. The first term's derivative by logits[i] is
    softmax(logits)[i], so
        dlogits = (softmax(logits) - onehot(target)) / B
    """
    rows = np.arange(len(targets)) if ignore_index is None else np.flatnonzero(targets != ignore_index)
    if len(rows) == 0:
        raise ValueError("no row is left to take the mean of")
    targets = targets[rows]
    shifted = logits - logits.real.max(axis=1, keepdims=True)
    losses = np.log(np.exp(shifted).sum(axis=1))[rows] - shifted[rows, targets]
    loss = losses.mean()

    def backward(dloss=1.0):
        probabilities, _ = softmax(logits[rows])
        probabilities[np.arange(len(rows)), targets] -= 1
        dlogits = np.zeros_like(logits)
        dlogits[rows] = probabilities * (dloss / len(rows))
        return dlogits

    return loss, backward
