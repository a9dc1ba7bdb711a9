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


EXERCISE = Exercise("embedding", "a row that is copied to several places", embedding, HINTS, draws)
