from ...ops.cross_entropy import cross_entropy
from ..checking.exercise import Draw, Exercise

HINTS = (
    "A row's part of the sum is s log(sum_j exp(logits[j])) - sum_c w[c] q[c] logits[c]. Take the derivative of each "
    "of the two terms. You have met the first one's.",
    "The first term gives s softmax(logits), the second -w q: without smoothing and weights -1 at the target. Then the "
    "mean: what is the sum divided by? dlogits takes dloss, the gradient of the loss itself: multiply by it.",
)


def draws(rng):
    def draw(label, B, C, ignored=(), smoothing=0.0, weights=None):
        logits, targets = 2 * rng.standard_normal((B, C)), rng.integers(0, C, B)
        targets[list(ignored)] = -100
        arguments = dict(logits=logits, targets=targets, ignore_index=-100, smoothing=smoothing, weights=weights)
        return Draw(
            label, arguments, {"B": B, "C": C, "counted": B - len(ignored)}, {"the ignored rows": list(ignored)}
        )

    return [
        draw("four rows", 4, 3),
        draw("one row", 1, 5),
        draw("five rows, one of them ignored", 5, 6, ignored=[1]),
        draw("three rows, smoothed", 3, 4, smoothing=0.3),
        draw("six rows, smoothed, with weights", 6, 4, smoothing=0.3, weights=(0.5, 2.5, 1.5, 4.5)),
    ]


EXERCISE = Exercise(
    "cross_entropy", "a loss: softmax and logarithm at once, and a mean", cross_entropy, HINTS, draws, __name__
)


# Known mistakes


def not_divided():
    """dlogits is not divided by W. The loss is: it is a mean."""
    dlogits = dlogits * W


def divided_by_all_rows():
    """dlogits is divided by all rows' weights. The mean is over the rows that count, without ignored rows."""
    dlogits = dlogits * (W / own.sum())


def divided_by_the_number_of_rows():
    """dlogits is divided by the number of rows. A mean with weights is divided by the sum of the rows' w[target], W."""
    dlogits = dlogits * (W / counts.sum())


def divided_by_the_length_of_targets():
    """dlogits is divided by B, the number of all rows, and not by W: only rows that count are in the mean, each with
    its own weight."""
    dlogits = dlogits * (W / len(targets))


def divided_by_classes():
    """dlogits is divided by the number of logits. The mean is over rows: all classes of a row make one loss."""
    dlogits = dlogits / C


def dloss_forgotten():
    """dloss is missing. dlogits takes the gradient of the loss, and everything is multiplied by it."""
    dlogits = dlogits / dloss


def target_not_subtracted():
    """w q is not subtracted, so the target's 1 is missing: -sum_c w[c] q[c] logits[c] is a term of the loss too."""
    dlogits = s[:, None] * softmax(logits)[0] * counts[:, None] * (dloss / W)


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
    dlogits = difference * (dloss / W)


def through_the_softmax_again():
    """The gradient goes through a softmax once more. softmax(logits) - q is the gradient at the logits already."""
    dlogits = softmax(logits)[1][0](dlogits)


def by_the_probability():
    """This is the derivative by the probabilities, -q / p. It has to go on through the softmax, to the logits, which
    gives p - q."""
    p, _ = softmax(logits)
    q = np.full_like(p, smoothing / C)
    q[rows, targets] += 1 - smoothing
    dlogits = -(q / p) * w * counts[:, None] * (dloss / W)


def target_taken_everywhere():
    """1 is taken off whole columns: difference[:, targets] -= 1 touches every row. Give the number of the row and of
    the column of each entry: difference[rows, targets] -= 1."""
    difference = s[:, None] * softmax(logits)[0]
    difference[:, targets] -= (1 - smoothing) * own
    dlogits = (difference - smoothing / C * w) * counts[:, None] * (dloss / W)


def smoothing_forgotten():
    """smoothing is missing: q = (1 - smoothing) onehot(target) + smoothing / C takes the place of onehot(target)."""
    difference = own[:, None] * softmax(logits)[0]
    difference[rows, targets] -= own
    dlogits = difference * counts[:, None] * (dloss / W)


def smoothing_at_the_target_only():
    """The target's share is 1 - smoothing, but smoothing / C is missing: every class has it in q."""
    difference = s[:, None] * softmax(logits)[0]
    difference[rows, targets] -= (1 - smoothing) * own
    dlogits = difference * counts[:, None] * (dloss / W)


def smoothing_over_the_others():
    """The target lacks its share of smoothing / C: q gives it to every class, the target too."""
    difference = s[:, None] * softmax(logits)[0] - smoothing / C * w
    difference[rows, targets] -= (1 - smoothing - smoothing / C) * own
    dlogits = difference * counts[:, None] * (dloss / W)


def weights_forgotten():
    """The weights are missing. Every term of a row's sum has the weight of its class: softmax(logits) is multiplied by
    s = sum_c w[c] q[c], and q[c] by w[c]."""
    difference = softmax(logits)[0] - smoothing / C
    difference[rows, targets] -= 1 - smoothing
    dlogits = difference * counts[:, None] * (dloss / W)


def weight_of_the_target_for_all():
    """The row is multiplied by w[target]. With smoothing every class has a share of q, and each share its own weight:
    s softmax(logits) - w q."""
    difference = softmax(logits)[0] - smoothing / C
    difference[rows, targets] -= 1 - smoothing
    dlogits = difference * own[:, None] * counts[:, None] * (dloss / W)


def softmax_without_its_weight():
    """softmax(logits) lacks its factor s = sum_c w[c] q[c], which stands in front of the logarithm in the loss."""
    dlogits = dlogits + (1 - s[:, None]) * softmax(logits)[0] * counts[:, None] * (dloss / W)
