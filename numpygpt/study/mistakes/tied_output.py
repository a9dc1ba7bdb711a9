def output_only():
    """The tied matrix is counted once, as the output layer. The embedding's share is missing: x is rows of wte, too."""
    dwte = dlogits.T @ x


def embedding_only():
    """The tied matrix is counted once, as the embedding. The output layer's share is missing: dlogits.T @ x."""
    dwte = np.zeros_like(wte)
    np.add.at(dwte, ids, dx)


def overwritten():
    """The embedding's share is put in place of the output layer's, in the rows of the tokens that occur: the two add
    up."""
    dwte = dlogits.T @ x
    for number, row in zip(ids, dx):
        dwte[number] = row


def repeats_lost():
    """A token that occurs twice is counted once in the embedding's share: dwte[ids] += dx loses repeats; use
    np.add.at."""
    dwte = dlogits.T @ x
    dwte[ids] += dx


def not_divided():
    """The gradient is not divided by the number of rows: the loss is their mean."""
    dwte = dwte * len(ids)


def dloss_forgotten():
    """dloss is left out: backward is handed the gradient of the loss, and everything is multiplied by it."""
    dwte = dwte / dloss


def target_not_subtracted():
    """The 1 at the target is not taken off: -logits[target] is a term of the loss, too."""
    dlogits[np.arange(len(ids)), targets] += dloss / len(ids)
    dwte = dlogits.T @ x
    np.add.at(dwte, ids, dlogits @ wte)


def halved():
    """The mean of both uses' gradients is taken: they add up."""
    dwte = dwte / 2


def embedding_of_the_targets():
    """The embedding's share is added to the targets' rows. x came from the rows of ids."""
    dwte = dlogits.T @ x
    np.add.at(dwte, targets, dx)
