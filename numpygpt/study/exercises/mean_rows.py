import numpy as np

from ...ops.pool import mean_rows
from ..checking.exercise import Draw, Exercise

HINTS = (
    "A message's T rows became one. With what factor did each of them enter?",
    "With 1/T. So each of the T rows gets the same gradient. np.repeat(a, lengths, axis=0) repeats row b lengths[b] "
    "times.",
    "y[b] = (x[first] + … + x[last]) / T, so each of message b's rows gets dy[b] / T.",
)


def draws(rng):
    def draw(label, lengths, D):
        N, B = sum(lengths), len(lengths)
        return Draw(label, dict(x=rng.standard_normal((N, D)), lengths=np.array(lengths)), {"N": N, "B": B, "D": D})

    return [
        draw("three messages, one of a single token", [4, 1, 2], 5),
        draw("one message of one token", [1], 3),
        draw("two messages", [2, 3], 4),
    ]


EXERCISE = Exercise("mean_rows", "a mean, whose rows share its gradient", mean_rows, HINTS, draws, __name__)


# Known mistakes


def not_divided():
    """dx is not divided by the message's number of rows: each of the T rows has the weight 1/T in the mean."""
    dx = np.repeat(dy, lengths, axis=0)


def divided_by_all_rows():
    """dx is divided by N, the rows of all messages. Each message is a mean of its own T rows."""
    dx = np.repeat(dy, lengths, axis=0) / len(x)


def divided_by_messages():
    """dx is divided by the number of messages. A row of y is the mean over its message's rows, not over messages."""
    dx = np.repeat(dy, lengths, axis=0) / len(lengths)


def multiplied():
    """dx is multiplied by the number of rows: the factor is 1/T."""
    dx = np.repeat(dy * T, lengths, axis=0)


def divided_twice():
    """dx is divided by T twice."""
    dx = np.repeat(dy / T / T, lengths, axis=0)


def last_row_only():
    """Only the last row of each message gets a gradient. All rows are in the mean."""
    dx = np.zeros_like(x)
    dx[np.cumsum(lengths) - 1] = dy / T


def one_length_for_all():
    """dx is divided by the mean length of all messages. Each message has its own."""
    dx = np.repeat(dy, lengths, axis=0) / (len(x) / len(lengths))
