"""GPT-2's hidden states at every depth as one feature vector per message, for any other classifier."""

import numpy as np

from ..ops.embedding import embedding
from ..ops.layernorm import layernorm
from ..ops.pool import mean_rows
from .trunk import blocks


def features(tape, ids, lengths, config):
    """Return features (B, (n_layer + 1) D) of B messages, given as token ids (N,) laid end to end.

    They are the means of a message's rows before the first block and after each block, side by side. Each row is
    normalised (mean 0, variance 1) before the mean. Otherwise the blocks with the largest rows would dominate, because
    rows grow from block to block.
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
