import numpy as np

from ..checking.exercise import Draw, Exercise


def tied_output(ids, wte, targets):
    """loss = mean over rows of -log softmax(logits)[target],  logits = x @ wte.T,  x = wte[ids]

    ids (N,), wte (V, D), targets (N,) -> loss, a scalar. backward: dloss (1.0 unless given) -> None, for ids, and dwte.
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

    def backward(dloss=1.0):
        dlogits = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
        dlogits[np.arange(len(ids)), targets] -= 1
        dlogits *= dloss / len(ids)
        dx = dlogits @ wte
        dwte = dlogits.T @ x
        np.add.at(dwte, ids, dx)
        return None, dwte

    return loss, backward


HINTS = (
    "wte is used twice: rows of it are copied into x, and all of it makes the logits. What does a matrix that is "
    "used twice get?",
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


EXERCISE = Exercise("tied_output", "one matrix that is used twice", tied_output, HINTS, draws)
