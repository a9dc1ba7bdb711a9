import numpy as np

from ...ops.embedding import embedding
from ..checking.exercise import Draw, Exercise

HINTS = (
    "No arithmetic is done on a row of a table: it is copied. What is the gradient of a number that was copied to "
    "several places?",
    "The sum of the gradients at those places. ids tells which row of wte went to place n, positions which row of "
    "wpe. A row that went nowhere has gradient 0. Take care that a token that occurs twice is counted twice: "
    "dwte[ids] += dx does not do that.",
)


def draws(rng):
    def draw(label, lengths, ids, V, P, D):
        ids, lengths = np.array(ids), np.array(lengths)
        tables = dict(wte=rng.standard_normal((V, D)), wpe=rng.standard_normal((P, D)))
        numbers, counts = np.unique(ids, return_counts=True)
        rows = {
            "the rows of tokens that occur more than once": numbers[counts > 1],
            "the rows of tokens that do not occur": np.setdiff1d(np.arange(V), ids),
        }
        return Draw(label, dict(ids=ids, **tables, lengths=lengths), {"V": V, "D": D, "N": len(ids)}, rows)

    return [
        draw("three messages, one of a single token", [3, 1, 4], [2, 5, 2, 0, 3, 2, 1, 5], 7, 6, 5),
        draw("one message of one token", [1], [3], 5, 2, 4),
        draw("one message", [4], [1, 1, 4, 0], 6, 5, 3),
    ]


EXERCISE = Exercise("embedding", "a row that is copied to several places", embedding, HINTS, draws, __name__)


# Known mistakes


def token_repeats_lost():
    """A token that occurs twice is counted once: dwte[ids] += dx reads, adds and writes all at once, so only its last
    place is left. Add place by place, or use np.add.at."""
    dwte = np.zeros_like(wte)
    dwte[ids] += dx


def first_place_only():
    """A token that occurs twice has the gradient of its first place only. Add the gradients of all its places."""
    dwte = np.zeros_like(wte)
    numbers, first = np.unique(ids, return_index=True)
    dwte[numbers] = dx[first]


def token_repeats_averaged():
    """A token that occurs twice has the mean of its places' gradients. It must have their sum."""
    dwte = dwte / np.maximum(np.bincount(ids, minlength=len(wte)), 1)[:, None]


def position_repeats_lost():
    """Positions repeat in every message, but count once here: dwpe[positions] += dx loses the repeats."""
    dwpe = np.zeros_like(wpe)
    dwpe[positions] += dx


def positions_averaged():
    """A position has the mean of its places' gradients over the messages. It must have their sum."""
    dwpe = dwpe / np.maximum(np.bincount(positions, minlength=len(wpe)), 1)[:, None]


def positions_go_on():
    """Positions continue across messages. They start from 0 in each message."""
    dwpe = np.zeros_like(wpe)
    for position, row in zip(range(len(wpe)), dx):
        dwpe[position] += row


def positions_by_token():
    """dwpe is summed by token. Row p of wpe went to the places where positions is p, not ids."""
    dwpe = np.zeros_like(wpe)
    for number, row in zip(ids, dx):
        dwpe[number % len(wpe)] += row


def tokens_by_position():
    """dwte is summed by position. Row v of wte went to the places where ids is v."""
    dwte = np.zeros_like(wte)
    for number, row in zip(positions, dx):
        dwte[number] += row


def times_the_table():
    """dwte is multiplied by the table. A copy has the factor 1."""
    dwte = dwte * wte
