from ..checking.exercise import Draw, Exercise


def lora(x, weight, A, B, scale):
    """y = x @ merged,  merged = weight + scale * A @ B

    x (N, in), weight (in, out), A (in, rank), B (rank, out) -> y (N, out). weight is frozen and needs no function.

    merged is a linear layer's weight, so dx = dy @ merged.T and dmerged = x.T @ dy. It passes on to the two factors:
        dA = scale * dmerged @ B.T        dB = scale * A.T @ dmerged
    """
    merged = weight + scale * A @ B
    y = x @ merged

    def dx(dy):
        return dy @ merged.T

    def dA(dy):
        dmerged = x.T @ dy
        return scale * dmerged @ B.T

    def dB(dy):
        dmerged = x.T @ dy
        return scale * A.T @ dmerged

    return y, (dx, dA, dB)


HINTS = (
    "First the layer as if there were no A and B: what are dx and the gradient of merged?",
    "merged is a sum of weight, which is frozen, and scale times a product. In c = a @ b, da = dc @ b.T and db = "
    "a.T @ dc.",
)


def draws(rng):
    def draw(label, N, i, o, rank, scale):
        normal = rng.standard_normal
        arguments = dict(x=normal((N, i)), weight=normal((i, o)), A=normal((i, rank)), B=normal((rank, o)), scale=scale)
        return Draw(label, arguments, {"scale": scale, "rank": rank, "N": N, "in": i, "out": o})

    return [draw("rank 2", 6, 5, 4, 2, 1.5), draw("rank 1, one row", 1, 3, 4, 1, 0.25), draw("rank 3", 4, 5, 7, 3, 2.5)]


EXERCISE = Exercise(
    "lora",
    "a change of variables: from a weight to its two thin factors",
    lora,
    HINTS,
    draws,
    __name__,
    imports="import numpy as np",
    gradients=("x", "A", "B"),
)


# Known mistakes


def scale_forgotten():
    """scale is missing. merged contains scale * A @ B, so both gradients have the factor scale."""
    dA, dB = x.T @ dy @ B.T, A.T @ (x.T @ dy)


def scale_twice():
    """scale is applied twice. The gradient of merged does not contain it: apply it once."""
    dA, dB = scale**2 * (x.T @ dy @ B.T), scale**2 * (A.T @ (x.T @ dy))


def divided_by_rank():
    """dA and dB are divided by the rank. scale is alpha / rank already."""
    factor = scale / A.shape[1]
    dA, dB = factor * (x.T @ dy @ B.T), factor * (A.T @ (x.T @ dy))


def x_past_the_adapters():
    """dx uses the frozen weight alone. x was multiplied with merged, which includes the adapters."""
    dx = dy @ weight.T


def x_through_the_adapters_only():
    """dx uses the adapters alone. A frozen weight gets no gradient, but passes one on to x."""
    dx = dy @ (scale * A @ B).T


def x_without_scale():
    """dx uses weight + A @ B, without scale. merged is weight + scale * A @ B."""
    dx = dy @ (weight + A @ B).T


def A_with_weight_in_it():
    """dA contains weight. It depends only on x, dy and the other factor, B."""
    dA = scale * (dmerged * weight) @ B.T


def B_without_A():
    """A is missing in dB. B is multiplied with x @ A, so dB = scale * A.T @ dmerged."""
    dB = scale * dmerged[: B.shape[0]]


def sign():
    """The adapters' gradients have the wrong sign."""
    dA, dB = -scale * (x.T @ dy @ B.T), -scale * (A.T @ (x.T @ dy))


def averaged():
    """dA and dB are means over the rows of x. Every row uses the adapters, so their contributions add up."""
    factor = scale / len(x)
    dA, dB = factor * (x.T @ dy @ B.T), factor * (A.T @ (x.T @ dy))
