import math

from ...ops.dot_product_attention import dot_product_attention
from ..checking.exercise import Draw, Exercise

HINTS = (
    "Go backwards line by line: y = weights @ v has two factors, softmax has its own gradient, and scores = q @ k.T / "
    "sqrt_d has two factors again. dq and dk both need dscores: d_scores computes it for both.",
    "In c = a @ b the gradients are da = dc @ b.T and db = a.T @ dc, here for each message and head: use "
    "transposed(). d_softmax takes dweights and returns dscores. Do not forget the division by sqrt_d.",
)


def draws(rng):
    def draw(label, H, T, d, causal=False):
        q, k, v = rng.standard_normal((3, H, T, d))
        rows = {"the first head": [0]} if H > 1 else {}
        return Draw(label, dict(q=q, k=k, v=v, sqrt_d=math.sqrt(d), causal=causal), {"d": d, "T": T}, rows)

    return [draw("two heads, four tokens", 2, 4, 3), draw("one token", 3, 1, 2), draw("five tokens", 1, 5, 4)]


EXERCISE = Exercise(
    "attention", "three products and a softmax, back through each", dot_product_attention, HINTS, draws, __name__
)


# Known mistakes


def scale_forgotten():
    """1/sqrt(d) is missing. scores are divided by sqrt_d, so dq and dk are divided by it, too."""
    dq, dk = dscores(dy) @ k, transposed(dscores(dy)) @ q


def scale_twice():
    """1/sqrt(d) is applied twice. Divide either dscores, or dq and dk."""
    dq, dk = dscores(dy) @ k / sqrt_d**2, transposed(dscores(dy)) @ q / sqrt_d**2


def scale_multiplied():
    """dq and dk are multiplied by sqrt_d. The forward pass divides by it, so the backward pass divides, too."""
    dq, dk = dscores(dy) @ k * sqrt_d, transposed(dscores(dy)) @ q * sqrt_d


def q_and_k_exchanged():
    """dq and dk are exchanged. In scores = q @ k.T, dq comes from k, and dk from q and the transposed dscores."""
    dq, dk = transposed(dscores(dy)) @ q / sqrt_d, dscores(dy) @ k / sqrt_d


def k_not_transposed():
    """dk uses dscores without a transpose. A key meets every query, down a column of scores: dscores.T @ q."""
    dk = dscores(dy) @ q / sqrt_d


def q_transposed():
    """dq uses the transposed dscores. A query's scores are a row: dscores @ k."""
    dq = transposed(dscores(dy)) @ k / sqrt_d


def v_not_transposed():
    """dv uses weights without a transpose. A value goes to every query, down a column of weights: weights.T @ dy."""
    dv = weights @ dy


def v_without_weights():
    """dv is dy itself. The weight of each value in each row is missing: weights.T @ dy."""
    dv = 1 * dy


def v_from_scores():
    """dv uses the raw scores. It needs the weights, which are the softmax of the scores."""
    dv = transposed(q @ transposed(k) / sqrt_d) @ dy


def softmax_skipped():
    """The softmax is skipped on the way back: dscores is dweights."""
    ds = dy @ transposed(v)
    dq, dk = ds @ k / sqrt_d, transposed(ds) @ q / sqrt_d


def weights_not_multiplied():
    """The weights are not multiplied in the softmax: dscores = weights * (dweights - sum(dweights * weights))."""
    dweights = dy @ transposed(v)
    ds = dweights - (dweights * weights).sum(axis=-1, keepdims=True)
    dq, dk = ds @ k / sqrt_d, transposed(ds) @ q / sqrt_d


def softmax_without_sum():
    """The softmax's sum is missing: dscores = weights * (dweights - sum(dweights * weights)), because a row shares its
    sum."""
    dweights = dy @ transposed(v)
    ds = weights * dweights
    dq, dk = ds @ k / sqrt_d, transposed(ds) @ q / sqrt_d


def softmax_diagonal():
    """The softmax is treated like a sigmoid, weights * (1 - weights): a score also changes its row's other weights."""
    dweights = dy @ transposed(v)
    ds = dweights * weights * (1 - weights)
    dq, dk = ds @ k / sqrt_d, transposed(ds) @ q / sqrt_d


def softmax_down_the_columns():
    """The softmax's sum goes down the columns, over queries. The weights of one query, a row, sum to 1."""
    dweights = dy @ transposed(v)
    ds = weights * (dweights - (dweights * weights).sum(axis=-2, keepdims=True))
    dq, dk = ds @ k / sqrt_d, transposed(ds) @ q / sqrt_d


def weights_from_k():
    """dweights uses k. The weights were multiplied with v: dweights = dy @ v.T."""
    ds = d_softmax(dy @ transposed(k))
    dq, dk = ds @ k / sqrt_d, transposed(ds) @ q / sqrt_d


def order_of_v():
    """dq has the numbers of dv, and dv those of dq: they are exchanged."""
    dq, dv = transposed(weights) @ dy, dscores(dy) @ k / sqrt_d
