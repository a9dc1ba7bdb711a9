"""The classifier: the embeddings, GPT-2's blocks, the final layernorm at the row that is read (or the mean of all),
and a new head."""

from ..ops.embedding import embedding
from ..ops.layernorm import layernorm
from ..ops.linear import linear
from ..ops.pool import mean_rows
from .reading import Reading
from .tape import both
from .trunk import trunk


def classifier(tape, ids, lengths, config, reading=Reading()):
    """logits (B, C) of B messages, token ids (N,) laid end to end. backward, which can be called once: dlogits ->
    {name: gradient}."""
    x, d_embedding = tape(embedding, ids, "wte.weight", "wpe.weight", lengths=lengths)
    logits, d_upper = upper(tape, x, lengths, 0, config, reading)
    return logits, tape.way_back(lambda dlogits: d_embedding(d_upper(dlogits)))


def classifier_above(tape, x, lengths, start, config, reading=Reading()):
    """The same from block `start` up: x (N, D) are the rows that enter it, as a FrozenPrefix keeps them."""
    logits, d_upper = upper(tape, x, lengths, start, config, reading)
    return logits, tape.way_back(d_upper)


def upper(tape, x, lengths, start, config, reading):
    """logits (B, C) of the rows x (N, D) that enter block `start`. backward: dlogits -> dx."""
    x, d_trunk = trunk(tape, x, lengths, range(start, config.n_layer), config, reading)
    x, d_ln_f = tape(layernorm, x, *both("ln_f"), epsilon=config.layer_norm_epsilon)
    if reading.position == "mean":
        x, d_mean = tape(mean_rows, x, lengths=lengths)  # (B, D)
    logits, d_head = tape(linear, x, *both("head"))  # (B, C)

    def backward(dlogits):
        dx = d_head(dlogits)
        if reading.position == "mean":
            dx = d_mean(dx)
        return d_trunk(d_ln_f(dx))

    return logits, backward
