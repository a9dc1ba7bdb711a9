"""The language model: GPT-2's blocks, the final layernorm, and the output layer that is tied to the token embedding."""

from ..ops.embedding import embedding
from ..ops.layernorm import layernorm
from ..ops.output_loss import output_loss
from .tape import weight_and_bias
from .trunk import blocks


def language_model(tape, ids, lengths, targets, config):
    """Return the mean cross-entropy, in nats, of predicting `targets` (N,), the id that follows each of `ids` (N,).

    backward, which can be called once: no argument -> {name: gradient}. The gradient of wte is the sum over its two
    uses, as token embedding and as output layer.
    """
    x, d_embedding = tape(embedding, ids, "wte.weight", "wpe.weight", lengths=lengths)
    x, d_blocks = blocks(tape, x, lengths, range(config.n_layer), config)
    x, d_ln_f = tape(layernorm, x, *weight_and_bias("ln_f"), epsilon=config.layer_norm_epsilon)
    loss, d_output = tape(output_loss, x, "wte.weight", targets=targets)

    def backward():
        d_embedding(d_blocks(d_ln_f(d_output(1.0))))

    return loss, tape.backward_once(backward)


def language_logits(tape, ids, lengths, config):
    """Return the logits (N, V) of the id that follows each of `ids` (N,)."""
    x, _ = tape(embedding, ids, "wte.weight", "wpe.weight", lengths=lengths)
    x, _ = blocks(tape, x, lengths, range(config.n_layer), config)
    x, _ = tape(layernorm, x, *weight_and_bias("ln_f"), epsilon=config.layer_norm_epsilon)
    return x @ tape.params["wte.weight"].T
