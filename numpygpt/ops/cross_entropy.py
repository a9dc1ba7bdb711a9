import numpy as np

from numpygpt.ops.softmax import softmax


def cross_entropy(logits, targets, ignore_index=None, smoothing=0.0):
    """loss = mean over rows of -sum_c q[c] log softmax(logits)[c],  q = (1 - smoothing) onehot(target) + smoothing / C

    logits (B, C), targets (B,) whole numbers 0…C-1 -> loss, a scalar. Without smoothing a row's loss is
    -log softmax(logits)[target]. With it the loss is smallest at a probability below 1, so logits need not grow without
    end (Szegedy et al. 2016, "Rethinking the Inception Architecture", section 7). Rows whose target is ignore_index
    count neither in the sum nor in the mean, as in PyTorch. Raises ValueError for any other target outside 0…C-1, and
    where no row counts.

    As q sums to 1, a row's loss is log(sum_j exp(logits[j])) - sum_c q[c] logits[c]. The first term has the derivative
    softmax(logits)[i] by logits[i], so in each of the B rows that count,
        dlogits = (softmax(logits) - q) / B
    """
    targets, C = np.asarray(targets), logits.shape[1]
    counts = np.full(len(targets), True) if ignore_index is None else targets != ignore_index  # (B,)
    B = int(counts.sum())
    if B == 0:
        raise ValueError("no row is left to take the mean of")
    wrong = targets[counts & ((targets < 0) | (targets >= C))]
    if len(wrong):
        raise ValueError(f"target {wrong[0]} is negative or too large: there are {C} classes, numbered from 0")
    rows, targets = np.arange(len(targets)), np.where(counts, targets, 0)
    shifted = logits - logits.real.max(axis=1, keepdims=True)
    losses = np.log(np.exp(shifted).sum(axis=1)) - (1 - smoothing) * shifted[rows, targets]  # (B,)
    if smoothing:
        losses = losses - smoothing * shifted.mean(axis=1)
    loss = losses[counts].mean()

    def dlogits(dloss=1.0):
        difference, _ = softmax(logits)
        difference[rows, targets] -= 1 - smoothing
        if smoothing:
            difference -= smoothing / C
        dlogits = difference * (dloss / B)
        dlogits[~counts] = 0
        return dlogits

    return loss, (dlogits,)
