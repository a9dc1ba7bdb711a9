from ..checking.exercise import Draw, Exercise


def lora(x, weight, A, B, scale):
    """y = x @ merged,  merged = weight + scale * A @ B

    x (N, in), weight (in, out), frozen, A (in, rank), B (rank, out) -> y (N, out).
    backward: dy (N, out) -> dx, None (weight is frozen), dA, dB.

    merged is a linear layer's weight, so dx = dy @ merged.T and dmerged = x.T @ dy. That is carried on to its factors:
        dA = scale * dmerged @ B.T        dB = scale * A.T @ dmerged
    """
    merged = weight + scale * A @ B
    y = x @ merged

    def backward(dy):
        dmerged = x.T @ dy
        dx = dy @ merged.T
        dA = scale * dmerged @ B.T
        dB = scale * A.T @ dmerged
        return dx, None, dA, dB

    return y, backward


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
    gradients=("x", "A", "B"),
)
