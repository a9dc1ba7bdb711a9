import numpy as np

from ...ops.pool import mean_rows
from ..checking.exercise import Draw, Exercise

HINTS = (
    "A message's T rows became one. With what factor did each of them enter?",
    "With 1/T. So each of the T rows gets the same gradient. np.repeat(a, lengths, axis=0) repeats row b lengths[b] "
    "times.",
    "y[b] = (x[first] + … + x[last]) / T, so each of message b's rows gets dy[b] / T.",
)
DOCSTRING = """y[b] = the mean of message b's rows

x (N, D), lengths (B,), each message's number of rows -> y (B, D). backward: dy (B, D) -> dx (N, D)."""


def draws(rng):
    def draw(label, lengths, D):
        N, B = sum(lengths), len(lengths)
        return Draw(label, dict(x=rng.standard_normal((N, D)), lengths=np.array(lengths)), {"N": N, "B": B, "D": D})

    return [
        draw("three messages, one of a single token", [4, 1, 2], 5),
        draw("one message of one token", [1], 3),
        draw("two messages", [2, 3], 4),
    ]


EXERCISE = Exercise("mean_rows", "a mean, and who shares it", mean_rows, HINTS, draws, docstring=DOCSTRING)
