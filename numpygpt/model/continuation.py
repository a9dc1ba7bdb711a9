"""Continue a text token by token, with a cache of the keys and values of all earlier tokens."""

import math

import numpy as np

from ..ops.attention import merge_heads, split_heads
from ..ops.dot_product_attention import dot_product_attention
from ..ops.layernorm import layernorm
from ..ops.softmax import softmax
from ..system.errors import InputError
from .block import block
from .tape import Tape, weight_and_bias


class Cache:
    """The keys and values of a growing text, for every block: all that attention needs of earlier tokens."""

    def __init__(self, config):
        d = config.n_embd // config.n_head
        self.keys = np.empty((config.n_layer, config.n_head, config.n_positions, d), np.float32)
        self.values = np.empty_like(self.keys)
        self.length = 0

    def attend(self, qkv, n):
        """Run attention in block n from T new rows to all rows so far: qkv (T, 3D) -> (T, D)."""
        H, end = self.keys.shape[1], self.length + len(qkv)
        q, k, v = (split_heads(part, len(qkv), H)[0] for part in np.split(qkv, 3, axis=1))  # (H, T, d) each
        self.keys[n, :, self.length : end], self.values[n, :, self.length : end] = k, v
        keys, values = self.keys[n, :, :end], self.values[n, :, :end]
        causal = len(qkv) > 1  # a single new row attends to all rows
        y, _ = dot_product_attention(q, keys, values, math.sqrt(q.shape[-1]), causal=causal)
        return merge_heads(y[None])


def next_logits(params, config, cache, ids):
    """Return the logits (V,) of the token after `ids` (T,), which follow the cache's tokens and are added to the cache.

    You can give all T ids at once (a prompt) or one at a time. The result is the same up to rounding, and each id costs
    one pass of its own row. The caller keeps cache.length + T within config.n_positions.
    """
    tape = Tape(params)
    x = params["wte.weight"][ids] + params["wpe.weight"][cache.length : cache.length + len(ids)]  # (T, D)
    for n in range(config.n_layer):
        x, _ = block(tape, n, x, lambda qkv, n=n: (cache.attend(qkv, n), None), config)
    cache.length += len(ids)
    x, _ = tape(layernorm, x[-1:], *weight_and_bias("ln_f"), epsilon=config.layer_norm_epsilon)
    return (x @ params["wte.weight"].T)[0]


def continuation(params, config, ids, choose):
    """Yield the ids that follow the prompt `ids` (at least one), until the model's positions are full.

    choose   logits (V,) -> id, such as a Sampler or np.argmax

    Raises InputError where a logit is nan, or the largest is infinite.
    """
    cache = Cache(config)
    new = np.asarray(ids)
    while cache.length + len(new) <= config.n_positions:
        logits = next_logits(params, config, cache, new)
        if not np.isfinite(logits.max()):
            raise InputError(
                "the model's output is not finite: its weights are damaged or too large. Load other weights"
            )
        chosen = int(choose(logits))
        yield chosen
        new = np.array([chosen])


class Sampler:
    """Draw an id from softmax(logits / temperature).

    top_k keeps only the k most probable ids. Of these, top_p keeps the fewest ids whose probabilities add up to top_p
    (Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration").
    """

    def __init__(self, temperature=1.0, top_k=None, top_p=None, seed=123):
        self.temperature, self.top_k, self.top_p = temperature, top_k, top_p
        self._rng = np.random.default_rng(seed)

    def __call__(self, logits):
        order = np.argsort(-logits, kind="stable")[: self.top_k]
        below = (logits[order] - logits[order[0]]).astype(np.float64)
        # With a tiny temperature, `below / temperature` may hold -inf, but never nan.
        probabilities, _ = softmax(below / self.temperature)
        if self.top_p is not None:
            kept = np.searchsorted(np.cumsum(probabilities), self.top_p) + 1
            probabilities = probabilities[:kept] / probabilities[:kept].sum()
        return order[self._rng.choice(len(probabilities), p=probabilities)]
