from dataclasses import replace

from . import attention

HINTS = (
    "It is attention with a mask: a row sees itself and earlier rows. The mask adds a constant, -inf, to scores. Which "
    "gradients does a constant change?",
    "None: the gradient of a sum with a constant passes through unchanged. Later rows get 0, because their weight is "
    "0. So use the weights and the d_softmax of the forward pass, which contain the mask.",
)


def draws(rng):
    every = attention.draws(rng)
    return [replace(draw, arguments=draw.arguments | dict(causal=True)) for draw in every]


EXERCISE = replace(
    attention.EXERCISE,
    name="causal_attention",
    teaches="a mask needs no gradient of its own, and decides all others",
    hints=HINTS,
    draws=draws,
    mistakes_in=__name__,
)


# Known mistakes


def mask_forgotten():
    """The mask is missing: the weights were computed again without it. Use the weights of the forward pass."""
    full, (d_full,) = softmax(q @ transposed(k) / sqrt_d)
    ds = d_full(dy @ transposed(v))
    dq, dk, dv = ds @ k / sqrt_d, transposed(ds) @ q / sqrt_d, transposed(full) @ dy


def mask_the_wrong_way():
    """The mask is the wrong way round: each row sees itself and later rows. It must see itself and earlier rows."""
    mask = np.tril(np.full(weights.shape[-2:], -np.inf), -1)
    seen, (d_seen,) = softmax(q @ transposed(k) / sqrt_d + mask)
    ds = d_seen(dy @ transposed(v))
    dq, dk, dv = ds @ k / sqrt_d, transposed(ds) @ q / sqrt_d, transposed(seen) @ dy


def own_row_masked():
    """A row's own score is masked, too. A row sees itself: only later rows are masked."""
    ds = np.tril(dscores(dy), -1)
    dq, dk, dv = ds @ k / sqrt_d, transposed(ds) @ q / sqrt_d, transposed(np.tril(weights, -1)) @ dy


def masked_after_the_softmax():
    """The mask is applied to the weights after a softmax over all rows, so they no longer sum to 1. Add the mask to
    scores."""
    full, (d_full,) = softmax(q @ transposed(k) / sqrt_d)
    ds = d_full(np.tril(dy @ transposed(v)))
    dq, dk, dv = ds @ k / sqrt_d, transposed(ds) @ q / sqrt_d, transposed(np.tril(full)) @ dy


def scale_forgotten():
    """1/sqrt(d) is forgotten: scores are divided by it, so what goes back to q and to k is, too."""
    dq, dk = dscores(dy) @ k, transposed(dscores(dy)) @ q


def q_and_k_exchanged():
    """dq and dk are exchanged. In scores = q @ k.T, dq is made with k, and dk with q and the transposed dscores."""
    dq, dk = transposed(dscores(dy)) @ q / sqrt_d, dscores(dy) @ k / sqrt_d


def k_not_transposed():
    """dk is made with dscores as it is, so that a key would receive gradients from earlier rows only: dscores.T @ q."""
    dk = dscores(dy) @ q / sqrt_d


def v_not_transposed():
    """dv is made with weights as they are. A value is read by later rows, down a column of weights: weights.T @ dy."""
    dv = weights @ dy


def softmax_skipped():
    """The softmax is skipped on the way back: dscores is dweights, masked."""
    ds = np.tril(dy @ transposed(v))
    dq, dk = ds @ k / sqrt_d, transposed(ds) @ q / sqrt_d


def softmax_without_sum():
    """The softmax's sum is missing: dscores = weights * (dweights - sum(dweights * weights)), for each row shares its
    sum."""
    ds = weights * (dy @ transposed(v))
    dq, dk = ds @ k / sqrt_d, transposed(ds) @ q / sqrt_d
