def scale_forgotten():
    """1/sqrt(d) is forgotten: scores are divided by it, so what goes back to q and to k is, too."""
    dq, dk = dscores @ k, transposed(dscores) @ q


def scale_twice():
    """1/sqrt(d) is applied twice. Once for q and once for k is right; dscores itself is not divided before."""
    dq, dk = dscores @ k / sqrt_d / sqrt_d, transposed(dscores) @ q / sqrt_d / sqrt_d


def scale_multiplied():
    """It is multiplied by sqrt(d) where the forward pass divides: it has to be divided here, too."""
    dq, dk = dscores @ k * sqrt_d, transposed(dscores) @ q * sqrt_d


def q_and_k_exchanged():
    """dq and dk are exchanged. In scores = q @ k.T, dq is made with k, and dk with q and the transposed dscores."""
    dq, dk = dk, dq


def k_not_transposed():
    """dk is made with dscores as it is. A key is read by every query, down a column of scores: dscores.T @ q."""
    dk = dscores @ q / sqrt_d


def q_transposed():
    """dq is made with dscores transposed. A query's scores are a row: dscores @ k."""
    dq = transposed(dscores) @ k / sqrt_d


def v_not_transposed():
    """dv is made with weights as they are. A value is read by every query, down a column of weights: weights.T @ dy."""
    dv = weights @ dy


def v_without_weights():
    """dv is dy itself: the weights with which each value enters each row are missing."""
    dv = dy


def v_from_scores():
    """dv is made with the raw scores in place of the softmax's weights."""
    dv = transposed(q @ transposed(k) / sqrt_d) @ dy


def softmax_skipped():
    """The softmax is skipped on the way back: dscores is dweights."""
    dq, dk = dweights @ k / sqrt_d, transposed(dweights) @ q / sqrt_d


def weights_not_multiplied():
    """The weights are not multiplied in the softmax: dscores = weights * (dweights - sum(dweights * weights))."""
    dscores = dweights - (dweights * weights).sum(axis=-1, keepdims=True)
    dq, dk = dscores @ k / sqrt_d, transposed(dscores) @ q / sqrt_d


def softmax_without_sum():
    """The softmax's sum is missing: dscores = weights * (dweights - sum(dweights * weights)), for each row shares its
    sum."""
    dscores = weights * dweights
    dq, dk = dscores @ k / sqrt_d, transposed(dscores) @ q / sqrt_d


def softmax_diagonal():
    """The softmax is treated like a sigmoid, weights * (1 - weights): a score also changes its row's other weights."""
    dscores = dweights * weights * (1 - weights)
    dq, dk = dscores @ k / sqrt_d, transposed(dscores) @ q / sqrt_d


def softmax_down_the_columns():
    """The softmax's sum goes down the columns, over queries. The weights of one query, a row, sum to 1."""
    dscores = weights * (dweights - (dweights * weights).sum(axis=-2, keepdims=True))
    dq, dk = dscores @ k / sqrt_d, transposed(dscores) @ q / sqrt_d


def weights_from_k():
    """dweights is made with k in place of v: the weights were multiplied with v."""
    dscores = d_softmax(dy @ transposed(k))
    dq, dk = dscores @ k / sqrt_d, transposed(dscores) @ q / sqrt_d


def order_of_v():
    """The three parts are in another order: qkv is query, key, value."""
    dq, dk, dv = dv, dk, dq
