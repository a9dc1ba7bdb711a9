"""The classifier: the embeddings, GPT-2's blocks, the final layernorm, pooling, and a new head."""

from ..ops.embedding import embedding
from ..ops.layernorm import layernorm
from ..ops.linear import linear
from ..ops.pool import mean_rows
from .pooling import Pooling
from .tape import weight_and_bias
from .trunk import trunk


def classifier(tape, x, lengths, config, pooling=Pooling(), start=0):
    """Return the logits (B, C) of B messages. backward, which can be called once: dlogits -> {name: gradient}.

    x   token ids (N,) laid end to end; or the rows (N, D) that enter block `start`, as a FrozenPrefix keeps them
    """
    from_ids = x.ndim == 1
    if from_ids:
        x, d_embedding = tape(embedding, x, "wte.weight", "wpe.weight", lengths=lengths)
    x, d_trunk = trunk(tape, x, lengths, range(start, config.n_layer), config, pooling)
    x, d_ln_f = tape(layernorm, x, *weight_and_bias("ln_f"), epsilon=config.layer_norm_epsilon)
    if pooling.position == "mean":
        x, d_mean = tape(mean_rows, x, lengths=lengths)  # (B, D)
    logits, d_head = tape(linear, x, *weight_and_bias("head"))  # (B, C)

    def backward(dlogits):
        dx = d_head(dlogits)
        if pooling.position == "mean":
            dx = d_mean(dx)
        dx = d_trunk(d_ln_f(dx))
        return d_embedding(dx) if from_ids else dx

    return logits, tape.backward_once(backward)
