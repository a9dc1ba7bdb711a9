"""The language model: GPT-2's trunk, the final layernorm, and the output layer that is tied to the token embedding."""

import numpy as np

from ..ops import layernorm, output_loss
from .tape import Tape, both
from .trunk import trunk


def language_model(tape, ids, lengths, targets, config):
    """The mean cross-entropy, in nats, of predicting `targets` (N,), the id that follows each of `ids` (N,).

    backward: no argument -> None, the gradients are in tape.grads; wte's is the sum of both its uses.
    """
    x, d_trunk = trunk(tape, ids, lengths, config)
    x, d_ln_f = tape(layernorm, x, *both("ln_f"), epsilon=config.layer_norm_epsilon)
    loss, d_loss = tape(output_loss, x, "wte.weight", targets=targets)

    def backward():
        d_trunk(d_ln_f(d_loss(1.0)))

    return loss, backward


def perplexity(params, config, windows, progress=lambda done, total: None):
    """exp of the mean loss over all predictions in `windows`, each (T + 1,) ids: every id but the first is predicted from those before."""
    total = count = 0
    for done, window in enumerate(windows, start=1):
        ids, targets = window[:-1], window[1:]
        loss, _ = language_model(Tape(params), ids, np.array([len(ids)]), targets, config)
        total += float(loss) * len(ids)
        count += len(ids)
        progress(done, len(windows))
    return float(np.exp(total / count))
