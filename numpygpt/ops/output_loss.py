from numpygpt.ops.cross_entropy import cross_entropy
from numpygpt.ops.remember import remember


def output_loss(x, wte, targets):
    """loss = cross_entropy(logits, targets),  logits = x @ wte.T: the output layer of the language model, and its loss

    x (N, D), wte (V, D), targets (N,) the ids that follow -> loss, the mean over rows. The output layer is tied to the
    token embedding: both use the matrix wte, whose gradient is the sum over its two uses.

    The layer is linear, without a bias, so with dlogits (N, V) from cross_entropy
        dx = dlogits @ wte        dwte = dlogits.T @ x
    """
    logits = x @ wte.T  # (N, V)
    loss, (d_logits,) = cross_entropy(logits, targets)
    dlogits = remember(d_logits)  # dx and dwte both need it

    def dx(dloss=1.0):
        return dlogits(dloss) @ wte

    def dwte(dloss=1.0):
        return dlogits(dloss).T @ x

    return loss, (dx, dwte)
