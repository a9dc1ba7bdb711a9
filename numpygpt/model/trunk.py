"""GPT-2 between the embeddings and the output layer: block after block."""

import numpy as np

from ..ops.attention import attention
from ..ops.pool import take_rows
from .block import block, block_at


def blocks(tape, x, lengths, numbers, config, causal=True):
    """Run the rows x (N, D) through the blocks of these numbers, a range. backward: dy -> dx, to be called once."""

    def attend(qkv):
        return tape(attention, qkv, lengths=lengths, n_head=config.n_head, causal=causal)

    d_blocks = {}
    for n in numbers:
        x, d_blocks[n] = block(tape, n, x, attend, config)

    def backward(dx):
        for n in reversed(numbers):
            dx = d_blocks.pop(n)(dx)  # pop frees the block's activations, whose memory the next gradients can use
        return dx

    return x, backward


def trunk(tape, x, lengths, numbers, config, pooling):
    """Run the blocks of these numbers, a range, for the rows that a classifier reads. backward: dy -> dx, once.

    If the last block is among them and the pooling reads one row, the result is that row of each message, (B, D). If
    only the first row of each message matters, the blocks run for that row alone.
    """
    rows, last = pooling.rows(lengths), config.n_layer - 1
    only_first = pooling.first_alone and len(x) > len(lengths)
    if only_first:
        x, d_first = tape(take_rows, x, rows=rows)
        lengths, rows = np.ones_like(lengths), np.arange(len(lengths))

    reads_rows = rows is not None and last in numbers
    folded = reads_rows and pooling.folded
    x, d_blocks = blocks(tape, x, lengths, numbers[:-1] if folded else numbers, config, pooling.causal)
    if folded:
        x, d_read = block_at(tape, last, x, lengths, rows, config)
    elif reads_rows:
        x, d_read = tape(take_rows, x, rows=rows)

    def backward(dx):
        if reads_rows:
            dx = d_read(dx)
        dx = d_blocks(dx)
        return d_first(dx) if only_first else dx

    return x, backward
