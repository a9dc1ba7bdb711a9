"""GPT-2 without an output layer: the embeddings, then block after block."""

from functools import partial

import numpy as np

from ..ops import attention, embedding
from .block import block, block_at

POSITIONS = ("last", "first", "mean")


def trunk(tape, x, lengths, config, start=0, stop=None, position=None, causal=True):
    """From what enters block `start` to what enters block `stop` (all blocks, unless told).

    x is ids (N,) where start is 0, else rows (N, D). The result is rows (N, D), or, after the last block with position "last" or
    "first", only the one row of each message that is read there, (B, D); start == n_layer then gives x back.
    backward, which can be called once: dy -> dx, or None where nothing below is trainable.
    """
    stop = config.n_layer if stop is None else stop
    attend = partial(attention, lengths=lengths, n_head=config.n_head, causal=causal)
    steps = []
    if start == 0:
        x, step = tape(embedding, x, "wte.weight", "wpe.weight", lengths=lengths)
        steps.append(step)
    for n in range(start, stop):
        if n == config.n_layer - 1 and position in ("last", "first"):
            x, step = block_at(tape, n, x, lengths, rows_read(lengths, position), config)
        else:
            x, step = block(tape, n, x, config, attend)
        steps.append(step)

    def backward(dx):
        while steps:
            dx = steps.pop()(
                dx
            )  # and with it go the block's activations, whose memory the gradients of the next can have
        return dx

    return x, backward


def rows_read(lengths, position):
    """(B,) the row of each message, among rows laid end to end, that stands "last" or "first"."""
    ends = np.cumsum(lengths)
    return ends - 1 if position == "last" else ends - lengths


def readable(messages, position, causal):
    """The part of each message that can change its answer: under a causal mask the first position sees one token, itself."""
    return [ids[:1] for ids in messages] if causal and position == "first" else messages
