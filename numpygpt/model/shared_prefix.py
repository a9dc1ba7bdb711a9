"""The rows of messages that begin like another one: the rows of their common beginning are computed once."""

import math

import numpy as np

from ..ops.attention import merge_heads, split_heads
from ..ops.dot_product_attention import dot_product_attention
from ..ops.layernorm import layernorm
from .block import block
from .tape import Tape, weight_and_bias


class SharedPrefix:
    """The final rows of a message of ids (T,), with the keys and values of every block, under a causal mask.

    There a row depends on its own and earlier tokens only. So messages that begin with the same tokens have the same
    rows there, and their later rows need only these keys and values of them.
    """

    def __init__(self, params, config, ids):
        self.params, self.config = params, config
        self.kept = []  # of each block: keys and values (H, T, d)
        (self.rows,) = self.rows_from(0, ids[None])  # (T, D)

    def rows_from(self, start, messages):
        """Return the final rows (n, L - start, D) of n messages (n, L) from token `start` on.

        Before it, the messages have the tokens of this one.
        """
        params, config, tape = self.params, self.config, Tape(self.params)
        n, L = messages.shape
        x = (params["wte.weight"][messages[:, start:]] + params["wpe.weight"][start:L]).reshape(-1, config.n_embd)
        for number in range(config.n_layer):
            x, _ = block(tape, number, x, lambda qkv, b=number: (self._attend(qkv, b, n, start), None), config)
        x, _ = tape(layernorm, x, *weight_and_bias("ln_f"), epsilon=config.layer_norm_epsilon)
        return x.reshape(n, L - start, -1)

    def _attend(self, qkv, number, n, start):
        """Run attention in a block from the messages' rows to all rows up to them: qkv (n S, 3D) -> (n S, D)."""
        q, k, v = (split_heads(part, len(qkv) // n, self.config.n_head) for part in np.split(qkv, 3, axis=1))
        if len(self.kept) == number:  # the rows of the message itself
            self.kept.append((k[0], v[0]))

        def attended(q, *new):
            k, v = (np.concatenate([old[:, :start], part], 1) for old, part in zip(self.kept[number], new))
            return dot_product_attention(q, k, v, math.sqrt(q.shape[-1]), causal=True)[0]

        return merge_heads(np.stack([attended(*message) for message in zip(q, k, v)]))
