def scale_forgotten():
    """scale is forgotten: A @ B enters the weight with this factor, so what comes back has it, too."""
    dA, dB = dA / scale, dB / scale


def scale_twice():
    """scale is applied twice. The gradient of merged does not hold it yet: once is enough."""
    dA, dB = scale * dA, scale * dB


def divided_by_rank():
    """It is divided by the rank once more: scale is alpha / rank already."""
    rank = A.shape[1]
    dA, dB = dA / rank, dB / rank


def x_past_the_adapters():
    """dx is made with the frozen weight alone. x was multiplied with merged, adapters included."""
    dx = dy @ weight.T


def x_through_the_adapters_only():
    """dx is made with the adapters alone. Frozen means that weight gets no gradient, not that none goes through it."""
    dx = dy @ (scale * A @ B).T


def x_without_scale():
    """dx is made with weight + A @ B: scale is missing in it."""
    dx = dy @ (weight + A @ B).T


def A_with_weight_in_it():
    """dA is made as if B were multiplied with weight: only x, dy and the other factor, B, are in it."""
    dA = scale * (dmerged * weight) @ B.T


def B_without_A():
    """dB leaves A out: B is multiplied with x @ A, not with a sum of x."""
    dB = scale * dmerged[: B.shape[0]]


def sign():
    """The adapters' gradients have the wrong sign."""
    dA, dB = -dA, -dB


def averaged():
    """The adapters' gradients are a mean over the rows of x: every row used them, so their contributions add up."""
    dA, dB = dA / len(x), dB / len(x)
