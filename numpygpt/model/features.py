"""What GPT-2 makes of a message at every depth, as one row of numbers: the input of any other classifier."""

import numpy as np

from ..ops.embedding import embedding
from ..ops.layernorm import layernorm
from ..ops.pool import mean_rows
from .trunk import blocks


def features(tape, ids, lengths, config):
    """(B, (n_layer + 1) D) of B messages, token ids (N,) laid end to end: side by side, the mean of a message's rows as
    they enter the first block and as they leave each.

    Before the mean each row is normalised (mean 0, variance 1): rows grow from block to block, and by how much would
    otherwise decide which depth counts.
    """
    x, _ = tape(embedding, ids, "wte.weight", "wpe.weight", lengths=lengths)  # (N, D)
    gain, bias = np.ones(config.n_embd, x.dtype), np.zeros(config.n_embd, x.dtype)

    def read(x):
        xhat, _ = layernorm(x, gain, bias, config.layer_norm_epsilon)
        return mean_rows(xhat, lengths)[0]  # (B, D)

    means = [read(x)]
    for n in range(config.n_layer):
        x, _ = blocks(tape, x, lengths, range(n, n + 1), config)
        means.append(read(x))
    return np.concatenate(means, axis=1)
