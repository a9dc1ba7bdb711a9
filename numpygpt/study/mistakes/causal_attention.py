def mask_forgotten():
    """The mask is forgotten: weights are computed anew from scores without it. Use those of the forward pass."""
    full, d_full = softmax(q @ transposed(k) / sqrt_d)
    dscores = d_full(dweights)
    dq, dk, dv = dscores @ k / sqrt_d, transposed(dscores) @ q / sqrt_d, transposed(full) @ dy


def mask_the_wrong_way():
    """The mask is the wrong way round: a row gets what comes from those before it, and sees those after it."""
    mask = np.tril(np.full((T, T), -np.inf), -1)
    seen, d_seen = softmax(q @ transposed(k) / sqrt_d + mask.astype(q.dtype))
    dscores = d_seen(dweights)
    dq, dk, dv = dscores @ k / sqrt_d, transposed(dscores) @ q / sqrt_d, transposed(seen) @ dy


def own_row_masked():
    """A row's own score is masked on the way back, too. A row sees itself: only what comes later is masked."""
    dscores = np.tril(dscores, -1)
    dq, dk, dv = dscores @ k / sqrt_d, transposed(dscores) @ q / sqrt_d, transposed(np.tril(weights, -1)) @ dy


def masked_after_the_softmax():
    """The mask is put on the weights after a softmax over all rows, so they no longer sum to 1. It is added to
    scores."""
    full, d_full = softmax(q @ transposed(k) / sqrt_d)
    dscores = d_full(np.tril(dweights))
    dq, dk, dv = dscores @ k / sqrt_d, transposed(dscores) @ q / sqrt_d, transposed(np.tril(full)) @ dy


def scale_forgotten():
    """1/sqrt(d) is forgotten: scores are divided by it, so what goes back to q and to k is, too."""
    dq, dk = dscores @ k, transposed(dscores) @ q


def q_and_k_exchanged():
    """dq and dk are exchanged. In scores = q @ k.T, dq is made with k, and dk with q and the transposed dscores."""
    dq, dk = dk, dq


def k_not_transposed():
    """dk is made with dscores as it is, so that a key would hear of earlier rows only: dscores.T @ q."""
    dk = dscores @ q / sqrt_d


def v_not_transposed():
    """dv is made with weights as they are. A value is read by later rows, down a column of weights: weights.T @ dy."""
    dv = weights @ dy


def softmax_skipped():
    """The softmax is skipped on the way back: dscores is dweights, masked."""
    dscores = np.tril(dweights)
    dq, dk = dscores @ k / sqrt_d, transposed(dscores) @ q / sqrt_d


def softmax_without_sum():
    """The softmax's sum is missing: dscores = weights * (dweights - sum(dweights * weights)), for each row shares its
    sum."""
    dscores = weights * dweights
    dq, dk = dscores @ k / sqrt_d, transposed(dscores) @ q / sqrt_d
