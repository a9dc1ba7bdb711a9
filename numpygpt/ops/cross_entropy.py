import numpy as np

from numpygpt.ops.softmax import softmax


def cross_entropy(logits, targets, ignore_index=None, smoothing=0.0, weights=None):
    """loss = (sum over rows of -sum_c w[c] q[c] log softmax(logits)[c]) / W,  W = sum over rows of w[target]

    logits (B, C), targets (B,) whole numbers 0…C-1, weights w (C,) -> loss, a scalar. Here
        q = (1 - smoothing) onehot(target) + smoothing / C
    Without weights every w[c] is 1, so the loss is a mean over rows. Without smoothing a row's loss is
    -log softmax(logits)[target], times w[target]. With it the loss is smallest at a probability below 1, so logits need
    not grow without end (Szegedy et al. 2016, "Rethinking the Inception Architecture", section 7). Rows whose target is
    ignore_index count neither in the sum nor in W. All this is PyTorch's definition. Raises ValueError for any other
    target outside 0…C-1, and where W is 0: no row counts.

    With s = sum_c w[c] q[c], a row's part of the sum is s log(sum_j exp(logits[j])) - sum_c w[c] q[c] logits[c]. The
    logarithm has the derivative softmax(logits)[i] by logits[i], so in each of the rows that count
        dlogits = (s softmax(logits) - w q) / W
    """
    targets, C = np.asarray(targets), logits.shape[1]
    counts = np.full(len(targets), True) if ignore_index is None else targets != ignore_index  # (B,)
    wrong = targets[counts & ((targets < 0) | (targets >= C))]
    if len(wrong):
        raise ValueError(f"target {wrong[0]} is negative or too large: there are {C} classes, numbered from 0")
    rows, targets = np.arange(len(targets)), np.where(counts, targets, 0)
    w = np.ones(C, logits.real.dtype) if weights is None else np.asarray(weights, logits.real.dtype)
    own = w[targets]  # (B,)
    s = own + smoothing * (w.mean() - own)  # (B,)
    W = own[counts].sum()
    if not W > 0:
        raise ValueError("no row is left to take the mean of")
    shifted = logits - logits.real.max(axis=1, keepdims=True)
    losses = s * np.log(np.exp(shifted).sum(axis=1)) - (1 - smoothing) * own * shifted[rows, targets]  # (B,)
    if smoothing:
        losses = losses - smoothing * (w * shifted).mean(axis=1)
    loss = losses[counts].sum() / W

    def dlogits(dloss=1.0):
        difference, _ = softmax(logits)
        if weights is not None:
            difference *= s[:, None]
        difference[rows, targets] -= (1 - smoothing) * own
        if smoothing:
            difference -= smoothing / C * w
        dlogits = difference * (dloss / W)
        dlogits[~counts] = 0
        return dlogits

    return loss, (dlogits,)
