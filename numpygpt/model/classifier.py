"""The classifier: GPT-2's trunk, the final layernorm at one position of the message (or the mean of all), and a new head."""

from ..ops import layernorm, linear, mean_rows
from .tape import both
from .trunk import trunk


def classifier(tape, x, lengths, config, depth=0, position="last", causal=True):
    """logits (B, C) of B messages. backward: dlogits -> None, the gradients are in tape.grads.

    x       token ids (N,), or, with the lowest `depth` blocks already run by a FrozenPrefix, its rows
    position   which row of a message the head reads: "last", "first", or "mean" for the mean of all, after the layernorm
    causal  whether a row sees only those before it. With position "first" and a causal mask, `x` must be `readable` rows.
    """
    x, d_trunk = trunk(tape, x, lengths, config, depth, None, position, causal)
    x, d_ln_f = tape(layernorm, x, *both("ln_f"), epsilon=config.layer_norm_epsilon)
    if position == "mean":
        x, d_mean = tape(mean_rows, x, lengths=lengths)  # (B, D)
    logits, d_head = tape(linear, x, *both("head"))  # (B, C)

    def backward(dlogits):
        dx = d_head(dlogits)
        if position == "mean":
            dx = d_mean(dx)
        d_trunk(d_ln_f(dx))

    return logits, backward
