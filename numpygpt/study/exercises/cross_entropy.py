import numpy as np

from ...ops.cross_entropy import cross_entropy
from ..checking.exercise import Draw, Exercise

HINTS = (
    "A row's loss is log(sum_j exp(logits[j])) - logits[target]. Take the derivative of each of the two terms. The "
    "first one's is something you have met.",
    "The first term gives softmax(logits), the second -1 at the target. Then the mean: how many rows count? And "
    "backward is handed dloss, the gradient of the loss itself: all is to be multiplied by it.",
)


def draws(rng):
    def draw(label, B, C, **ignored):
        logits, targets = 2 * rng.standard_normal((B, C)), rng.integers(0, C, B)
        if ignored:
            targets[1] = ignored["ignore_index"]
        counted = B - sum(targets == ignored.get("ignore_index", -1))
        rows = {"the rows that are ignored": np.flatnonzero(targets == ignored["ignore_index"])} if ignored else {}
        return Draw(
            label, dict(logits=logits, targets=targets, **ignored), {"B": B, "C": C, "len(rows)": counted}, rows
        )

    return [
        draw("four rows", 4, 3),
        draw("one row", 1, 5),
        draw("five rows, one of them ignored", 5, 6, ignore_index=-100),
    ]


EXERCISE = Exercise("cross_entropy", "a loss: softmax and logarithm at once, and a mean", cross_entropy, HINTS, draws)
