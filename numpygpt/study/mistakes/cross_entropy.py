def not_divided():
    """dlogits is not divided by the number of rows: the loss is their mean."""
    dlogits[rows] = probabilities * dloss


def divided_by_all_rows():
    """dlogits is divided by all rows. The mean is over those that count, len(rows): the ignored ones are not in
    it."""
    dlogits[rows] = probabilities * (dloss / len(logits))


def divided_by_classes():
    """dlogits is divided by the number of logits. The mean is over the rows: all of a row's classes make one loss."""
    dlogits[rows] = probabilities * (dloss / probabilities.size)


def dloss_forgotten():
    """dloss is left out: backward is handed the gradient of the loss, and everything is multiplied by it."""
    dlogits[rows] = probabilities / len(rows)


def target_not_subtracted():
    """The 1 at the target is not taken off: -logits[target] is a term of the loss too."""
    probabilities[np.arange(len(rows)), targets] += 1
    dlogits[rows] = probabilities * (dloss / len(rows))


def only_the_target():
    """Only the target's logit gets a gradient. Every logit is in log(sum_j exp(logits[j])), so all of a row do."""
    dlogits[rows] = 0
    at_target = probabilities[np.arange(len(rows)), targets]
    dlogits[rows, targets] = at_target * (dloss / len(rows))


def sign():
    """The sign is wrong: softmax minus the one at the target, and not the other way round."""
    dlogits[rows] = -probabilities * (dloss / len(rows))


def ignored_rows_counted():
    """A row whose target is ignored gets a gradient: it is not in the loss, so its gradient is 0."""
    dlogits = softmax(logits)[0]
    dlogits[rows, targets] -= 1
    dlogits *= dloss / len(rows)


def through_the_softmax_again():
    """The gradient goes through a softmax once more. probabilities - onehot is the gradient at the logits already."""
    y, d_softmax = softmax(logits[rows])
    dlogits[rows] = d_softmax(probabilities) * (dloss / len(rows))


def target_taken_everywhere():
    """1 is taken off whole columns: probabilities[:, targets] -= 1 touches every row. Give the number of the row and of
    the column of each entry: probabilities[np.arange(len(rows)), targets] -= 1."""
    probabilities, _ = softmax(logits[rows])
    probabilities[:, targets] -= 1
    dlogits[rows] = probabilities * (dloss / len(rows))
