from ..system.pieces import mean_of_slices
from .cross_entropy import cross_entropy


@mean_of_slices
def output_loss(x, wte, targets, needs=(True, True)):
    """loss = cross_entropy(logits, targets),  logits = x @ wte.T: the language model's output layer, and its loss

    x (N, D), wte (V, D), targets (N,) the ids that follow -> loss, the mean over rows. backward: dloss (1.0 unless
    given) -> dx, dwte. The output layer is tied to the token embedding: both are the matrix wte, whose gradient is
    the sum of what each use gives.

    The layer is linear, without a bias, so with dlogits (N, V) from cross_entropy
        dx = dlogits @ wte        dwte = dlogits.T @ x
    With V = 50,257 the logits are the largest array of all, so `mean_of_slices` calls this for some of the rows at a
    time.
    """
    logits = x @ wte.T  # (N, V)
    loss, d_cross_entropy = cross_entropy(logits, targets)

    def backward(dloss=1.0):
        dlogits = d_cross_entropy(dloss)
        dx = dlogits @ wte if needs[0] else None
        dwte = dlogits.T @ x if needs[1] else None
        return dx, dwte

    return loss, backward
