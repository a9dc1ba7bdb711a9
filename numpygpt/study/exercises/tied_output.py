import numpy as np

from ..checking.exercise import Draw, Exercise


def tied_output(ids, wte, targets):
    """loss = mean over rows of -log softmax(logits)[target],  logits = x @ wte.T,  x = wte[ids]

    ids (N,), wte (V, D), targets (N,) -> loss, a scalar. ids have no gradient.
    GPT-2's output layer is tied to its token embedding: one matrix wte does both.

    From dlogits = (softmax(logits) - onehot(target)) dloss / N each use gives its gradient, and the two add up:
        as the output layer        dlogits.T @ x
        as the embedding           (dlogits @ wte)[n]  is added to row ids[n]
    """
    x = wte[ids]  # (N, D)
    logits = x @ wte.T  # (N, V)
    shifted = logits - logits.real.max(axis=1, keepdims=True)
    losses = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(ids)), targets]
    loss = losses.mean()

    def dwte(dloss=1.0):
        dlogits = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
        dlogits[np.arange(len(ids)), targets] -= 1
        dlogits *= dloss / len(ids)
        dx = dlogits @ wte
        dwte = dlogits.T @ x
        np.add.at(dwte, ids, dx)
        return dwte

    return loss, (dwte,)


HINTS = (
    "wte is used twice: its rows are copied into x, and the whole matrix makes the logits. What is the gradient of "
    "a matrix that is used twice?",
    "The sum of both uses' gradients. Take dlogits as in cross_entropy, then dx and the output layer's share as in "
    "linear, then the embedding's share from dx, row by row, repeats included.",
)


def draws(rng):
    def draw(label, ids, V, D):
        ids, targets = np.array(ids), rng.integers(0, V, len(ids))
        rows = {"the rows of the tokens that occur": np.unique(ids), "the rows of the targets": np.unique(targets)}
        return Draw(
            label,
            dict(ids=ids, wte=rng.standard_normal((V, D)), targets=targets),
            {"N": len(ids), "V": V, "D": D},
            rows,
        )

    return [draw("a token that occurs twice", [2, 5, 2, 0], 7, 3), draw("one token", [1], 5, 4)]


EXERCISE = Exercise(
    "tied_output", "one matrix that is used twice", tied_output, HINTS, draws, __name__, "import numpy as np"
)


# Known mistakes


def output_only():
    """The tied matrix is counted once, as the output layer. The embedding's share is missing: x is rows of wte, too."""
    dwte = dlogits.T @ x


def embedding_only():
    """The tied matrix is counted once, as the embedding. The output layer's share is missing: dlogits.T @ x."""
    dwte = np.zeros_like(wte)
    np.add.at(dwte, ids, dx)


def overwritten():
    """The embedding's share replaces the output layer's, in the rows of the tokens that occur. Add the two shares."""
    dwte = dlogits.T @ x
    for number, row in zip(ids, dx):
        dwte[number] = row


def repeats_lost():
    """A token that occurs twice is counted once in the embedding's share. dwte[ids] += dx loses repeats: use
    np.add.at."""
    dwte = dlogits.T @ x
    dwte[ids] += dx


def not_divided():
    """The gradient is not divided by the number of rows. The loss is their mean."""
    dwte = dwte * len(ids)


def dloss_forgotten():
    """dloss is missing. dwte takes the gradient of the loss, and everything is multiplied by it."""
    dwte = dwte / dloss


def target_not_subtracted():
    """The 1 at the target is not subtracted. -logits[target] is a term of the loss, too."""
    dlogits[np.arange(len(ids)), targets] += dloss / len(ids)
    dwte = dlogits.T @ x
    np.add.at(dwte, ids, dlogits @ wte)


def by_the_probability():
    """dlogits is the derivative by the probabilities, -1/p at the target. It has to go on through the softmax: p, minus
    1 at the target."""
    rows = np.arange(len(ids))
    p = np.exp(shifted[rows, targets]) / np.exp(shifted).sum(axis=1)
    dlogits = np.zeros_like(logits)
    dlogits[rows, targets] = -dloss / len(ids) / p
    dwte = dlogits.T @ x
    np.add.at(dwte, ids, dlogits @ wte)


def halved():
    """dwte is the mean of both uses' gradients. It must be their sum."""
    dwte = dwte / 2


def embedding_of_the_targets():
    """The embedding's share is added to the targets' rows. x came from the rows of ids."""
    dwte = dlogits.T @ x
    np.add.at(dwte, targets, dx)
