import numpy as np

from ...ops.pool import take_rows
from ..checking.exercise import Draw, Exercise

HINTS = (
    "dx has the shape of x. Which rows of x are in the result, and where?",
    "A row that was read was copied once: its gradient is that of the copy. A row that was not read changes nothing.",
    "The rows that were read get dy, in the order of `rows`; all others are 0.",
)
DOCSTRING = """y = x[rows], one row of each message

x (N, D), rows (B,) all different -> y (B, D). backward: dy (B, D) -> dx (N, D)."""


def draws(rng):
    def draw(label, N, rows, D):
        B = len(rows)
        return Draw(label, dict(x=rng.standard_normal((N, D)), rows=np.array(rows)), {"N": N, "B": B, "D": D})

    return [draw("the last row of each message", 7, [2, 3, 6], 4), draw("rows in any order", 8, [5, 1], 3)]


EXERCISE = Exercise(
    "take_rows", "the row that is read, and those that are not", take_rows, HINTS, draws, docstring=DOCSTRING
)
