import numpy as np

from ...ops.attention import attention
from ..checking.exercise import Draw, Exercise

HINTS = (
    "Go backwards line by line: y = rows(weights @ v) has two factors, softmax its own backward, scores = q @ k.T / "
    "sqrt(d) two factors again. heads() of dy brings it into the shape of weights @ v.",
    "In c = a @ b the gradients are da = dc @ b.T and db = a.T @ dc, here for each message and head: use "
    "transposed(). d_softmax takes dweights and returns dscores. Do not forget the division by sqrt(d). At the end "
    "rows() of each part, side by side in the order of qkv.",
)
DOCSTRING = """In each message and head: y = weights @ v,  weights = softmax(scores),  scores = q @ k.T / sqrt(d)

qkv (N, 3D): query, key and value of every row side by side, each n_head heads of d = D / n_head
-> y (N, D). backward: dy (N, D) -> dqkv (N, 3D). All messages have the same length T here; a row attends
to all rows of its message."""


def draws(rng):
    def draw(label, messages, T, H, d):
        N, D = messages * T, H * d
        arguments = dict(qkv=rng.standard_normal((N, 3 * D)), lengths=np.full(messages, T), n_head=H)
        rows = {
            "the first row of each message": np.arange(0, N, T),
            "the last row of each message": np.arange(T - 1, N, T),
        }
        return Draw(label, arguments, {"d": d, "H": H, "D": D, "T": T, "N": N}, rows)

    return [
        draw("two messages of four tokens", 2, 4, 2, 3),
        draw("one message of one token", 1, 1, 3, 2),
        draw("one message of five tokens", 1, 5, 1, 4),
    ]


EXERCISE = Exercise(
    "attention",
    "three products and a softmax, back through each",
    attention,
    HINTS,
    draws,
    without=("causal",),
    docstring=DOCSTRING,
    split={"qkv": ("q", "k", "v")},
)
