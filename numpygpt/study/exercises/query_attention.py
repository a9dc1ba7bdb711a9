import numpy as np

from ...ops.query_attention import query_attention
from ..checking.exercise import Draw, Exercise

HINTS = (
    "Go backwards through five lines: y = z @ Wv + bv by head, the looks (d_look is given), r = Wk q by head, q = "
    "x_read @ Wq + bq, and x_read = x[rows]. Which rows of x are used twice?",
    "The row that is read is used as the query and as one of the rows that are looked at: two gradients that add "
    "up. dbias has three parts; that of the key's bias is 0, for softmax does not see it. by_head and side_by_side "
    "undo each other.",
    "By head: dz = dy @ Wv.T, d_look gives each message's rows and dr, and r = Wk q gives dq = dr @ Wk. Then\n"
    "    dWq = x_read.T @ dq        dWk = dr.T @ q, head by head        dWv = z.T @ dy, head by head\n"
    "    dx = what the looks give, and dq @ Wq.T added to the rows that were read\n"
    "    dbias = sum of dq, zeros, sum of dy",
)


def draws(rng):
    def draw(label, lengths, H, d):
        normal, lengths, D = rng.standard_normal, np.array(lengths), H * d
        ends = np.cumsum(lengths)
        arguments = dict(x=normal((ends[-1], D)), weight=normal((D, 3 * D)) / 2, bias=normal(3 * D))
        rows = {"the rows that are read": ends - 1}
        sizes = {"d": d, "H": H, "D": D, "N": ends[-1], "B": len(lengths)}
        return Draw(label, dict(**arguments, lengths=lengths, rows=ends - 1, n_head=H), sizes, rows)

    return [draw("three messages, one of a single token", [3, 1, 4], 2, 3), draw("one message", [5], 1, 4)]


EXERCISE = Exercise(
    "query_attention",
    "the query folded into one row: no key and no value is formed",
    query_attention,
    HINTS,
    draws,
    paragraphs=5,
    split={"weight": ("query", "key", "value"), "bias": ("query", "key", "value")},
)
