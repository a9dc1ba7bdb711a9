import numpy as np

from ...ops.pool import take_rows
from ..checking.exercise import Draw, Exercise

HINTS = (
    "dx has the shape of x. Which rows of x are in the result, and where?",
    "A row that was read was copied once: its gradient is that of the copy. A row that was not read changes nothing.",
    "The rows that were read get dy, in the order of `rows`; all others are 0.",
)


def draws(rng):
    def draw(label, N, rows, D):
        B = len(rows)
        return Draw(label, dict(x=rng.standard_normal((N, D)), rows=np.array(rows)), {"N": N, "B": B, "D": D})

    return [draw("the last row of each message", 7, [2, 3, 6], 4), draw("rows in any order", 8, [5, 1], 3)]


EXERCISE = Exercise("take_rows", "the row that is read, and those that are not", take_rows, HINTS, draws, __name__)


# Known mistakes


def first_places():
    """dy is put into the first rows. It belongs to the rows that were read: dx[rows] = dy."""
    dx = np.zeros_like(x)
    dx[: len(rows)] = dy


def sorted_rows():
    """dy is put into the rows in rising order. y[b] came from x[rows[b]], so dy[b] goes to rows[b]."""
    dx = np.zeros_like(x)
    dx[np.sort(rows)] = dy


def one_too_early():
    """dy is one row too early: rows are counted from 0."""
    dx = np.zeros_like(x)
    dx[rows - 1] = dy


def others_are_x():
    """The other rows hold x. A row that was not read has gradient 0."""
    dx = x.copy()
    dx[rows] = dy


def divided():
    """dy is divided by the number of rows. There is no mean here: the gradient of a copy goes back unchanged."""
    dx = dx / len(rows)


def shared_by_all():
    """Every row gets the sum of dy. Only the rows that were read get a gradient, each its own row of dy."""
    dx = np.zeros_like(x) + dy.sum(axis=0)
