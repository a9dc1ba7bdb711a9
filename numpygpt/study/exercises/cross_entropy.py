from ...ops.cross_entropy import cross_entropy
from ..checking.exercise import Draw, Exercise

HINTS = (
    "A row's loss is log(sum_j exp(logits[j])) - sum_c q[c] logits[c]. Take the derivative of each of the two terms. "
    "You have met the first one's.",
    "The first term gives softmax(logits), the second -q: without smoothing -1 at the target. Then the mean: how many "
    "rows count? dlogits takes dloss, the gradient of the loss itself: multiply everything by it.",
)


def draws(rng):
    def draw(label, B, C, ignored=(), smoothing=0.0):
        logits, targets = 2 * rng.standard_normal((B, C)), rng.integers(0, C, B)
        targets[list(ignored)] = -100
        arguments = dict(logits=logits, targets=targets, ignore_index=-100, smoothing=smoothing)
        return Draw(
            label, arguments, {"B": B, "C": C, "counted": B - len(ignored)}, {"the ignored rows": list(ignored)}
        )

    return [
        draw("four rows", 4, 3),
        draw("one row", 1, 5),
        draw("five rows, one of them ignored", 5, 6, ignored=[1]),
        draw("three rows, smoothed", 3, 4, smoothing=0.3),
    ]


EXERCISE = Exercise(
    "cross_entropy", "a loss: softmax and logarithm at once, and a mean", cross_entropy, HINTS, draws, __name__
)


# Known mistakes


def not_divided():
    """dlogits is not divided by the number of rows. The loss is their mean."""
    dlogits = dlogits * B


def divided_by_all_rows():
    """dlogits is divided by the number of all rows. The mean is over the B rows that count, without ignored rows."""
    dlogits = dlogits * (B / len(logits))


def divided_by_classes():
    """dlogits is divided by the number of logits. The mean is over rows: all classes of a row make one loss."""
    dlogits = dlogits / C


def dloss_forgotten():
    """dloss is missing. dlogits takes the gradient of the loss, and everything is multiplied by it."""
    dlogits = dlogits / dloss


def target_not_subtracted():
    """q is not subtracted, so the target's 1 is missing: -sum_c q[c] logits[c] is a term of the loss too."""
    dlogits = softmax(logits)[0] * counts[:, None] * (dloss / B)


def only_the_target():
    """Only the target's logit gets a gradient. Every logit is in log(sum_j exp(logits[j])), so all of a row do."""
    only = np.zeros_like(dlogits)
    only[rows, targets] = dlogits[rows, targets]
    dlogits = only


def sign():
    """The sign is wrong: it is softmax minus q, and not the other way round."""
    dlogits = -dlogits


def ignored_rows_counted():
    """A row whose target is ignored has a gradient. That row is not in the loss, so its gradient is 0."""
    dlogits = difference * (dloss / B)


def through_the_softmax_again():
    """The gradient goes through a softmax once more. softmax(logits) - q is the gradient at the logits already."""
    dlogits = softmax(logits)[1][0](dlogits)


def target_taken_everywhere():
    """1 is taken off whole columns: difference[:, targets] -= 1 touches every row. Give the number of the row and of
    the column of each entry: difference[rows, targets] -= 1."""
    difference, _ = softmax(logits)
    difference[:, targets] -= 1 - smoothing
    dlogits = (difference - smoothing / C) * counts[:, None] * (dloss / B)


def smoothing_forgotten():
    """smoothing is missing: q = (1 - smoothing) onehot(target) + smoothing / C takes the place of onehot(target)."""
    difference, _ = softmax(logits)
    difference[rows, targets] -= 1
    dlogits = difference * counts[:, None] * (dloss / B)


def smoothing_at_the_target_only():
    """The target's share is 1 - smoothing, but smoothing / C is missing: every class has it in q."""
    difference, _ = softmax(logits)
    difference[rows, targets] -= 1 - smoothing
    dlogits = difference * counts[:, None] * (dloss / B)


def smoothing_over_the_others():
    """The target lacks its share of smoothing / C: q gives it to every class, the target too."""
    difference, _ = softmax(logits)
    difference -= smoothing / C
    difference[rows, targets] -= 1 - smoothing - smoothing / C
    dlogits = difference * counts[:, None] * (dloss / B)
