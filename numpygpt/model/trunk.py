"""GPT-2 between the embeddings and the output layer: block after block."""

from functools import partial

import numpy as np

from ..ops.attention import attention
from ..ops.pool import take_rows
from .block import block, block_at


def blocks(tape, x, lengths, numbers, config, causal=True):
    """The rows x (N, D), through the blocks of these numbers, a range. backward, which can be called once: dy -> dx."""
    attend = partial(attention, lengths=lengths, n_head=config.n_head, causal=causal)
    d_blocks = {}
    for n in numbers:
        x, d_blocks[n] = block(tape, n, x, attend, config)

    def backward(dx):
        for n in reversed(numbers):
            # pop: with it go the block's activations, whose memory the next gradients can have
            dx = d_blocks.pop(n)(dx)
        return dx

    return x, backward


def trunk(tape, x, lengths, numbers, config, reading):
    """The same, down to what a classifier reads: where the last block is among the numbers and the Reading is of one
    row, the result is that row of each message, (B, D).
    """
    if reading.first_alone and len(x) > len(lengths):
        x, d_first = tape(take_rows, x, rows=reading.rows(lengths))
        y, d_trunk = trunk(tape, x, np.ones_like(lengths), numbers, config, reading)
        return y, lambda dy: d_first(d_trunk(dy))

    rows, last = reading.rows(lengths), config.n_layer - 1
    if rows is None or last not in numbers:
        return blocks(tape, x, lengths, numbers, config, reading.causal)
    whole = numbers[:-1] if reading.folded else numbers
    x, d_blocks = blocks(tape, x, lengths, whole, config, reading.causal)
    if reading.folded:
        y, d_read = block_at(tape, last, x, lengths, rows, config)
    else:
        y, d_read = tape(take_rows, x, rows=rows)
    return y, lambda dy: d_blocks(d_read(dy))
