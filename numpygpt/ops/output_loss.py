import numpy as np

from .cross_entropy import cross_entropy

SLICE = 1 << 24  # logits held at a time: 64 MiB in float32


def output_loss(x, wte, targets, needs=(True, True)):
    """loss = cross_entropy(x @ wte.T, targets): the language model's output layer, tied to the token embedding, and its loss

    x (N, D), wte (V, D), targets (N,) the ids that follow -> loss, the mean over rows. backward: dloss (1.0 unless given) -> dx, dwte.

    With V = 50,257 the logits (N, V) would be the largest array of all, so they exist for a slice of the rows at a time, and each
    slice's gradients are formed while it is there: dlogits from cross_entropy, then, the layer being linear,
        dx = dlogits @ wte        dwte = dlogits.T @ x, summed over the slices
    """
    loss = np.zeros((), x.dtype)  # an array, whose dtype stays: NumPy 1 makes float64 of a float32 scalar times a float
    dx = np.empty_like(x) if needs[0] else None
    dwte = np.empty_like(wte) if needs[1] else None
    step = max(1, SLICE // len(wte))
    for start in range(0, len(x), step):
        rows = slice(start, start + step)
        slice_loss, d_loss = cross_entropy(x[rows] @ wte.T, targets[rows])
        share = len(x[rows]) / len(x)  # of the mean over all rows
        loss += slice_loss * share
        if any(needs):
            dlogits = d_loss(share)  # (rows, V)
        if needs[0]:
            np.matmul(dlogits, wte, out=dx[rows])
        if needs[1] and start == 0:
            np.matmul(dlogits.T, x[rows], out=dwte)
        elif needs[1]:
            dwte += dlogits.T @ x[rows]

    def backward(dloss=1.0):
        for gradient in (dx, dwte):
            if gradient is not None and dloss != 1.0:
                gradient *= dloss
        return dx, dwte

    return loss[()], backward
