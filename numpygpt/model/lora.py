"""LoRA (Hu et al. 2021): the weights stay frozen, and a product of two thin matrices, which learn, is added to each.

    weight' = weight + scale * A @ B        A (in, rank), B (rank, out), scale = alpha / rank

It is a change of variables: the model runs on weight' and knows nothing of A and B, and the gradient that it finds
for weight' is carried on to them here. Every linear layer has a pair; query, key and value, which GPT-2 keeps side by
side in one matrix, have one each; and so has the head. B starts at zero, so that training starts from the model as it
was.
"""

import numpy as np


def _places(config):
    """(adapter, weight, columns): an adapter's name, and where its product is added. In the order of the book's
    script."""
    D = config.n_embd
    for n in range(config.n_layer):
        for i, part in enumerate(("query", "key", "value")):
            yield f"h.{n}.attn.c_attn.{part}", f"h.{n}.attn.c_attn.weight", slice(i * D, (i + 1) * D)
        for layer in ("attn.c_proj", "mlp.c_fc", "mlp.c_proj"):
            yield f"h.{n}.{layer}", f"h.{n}.{layer}.weight", slice(None)
    yield "head", "head.weight", slice(None)


def adapters(params, config, rank, generator):
    """{name: array} of new adapters `….lora_A`, `….lora_B` for all linear layers of params, which has a head.

    A is uniform in ±1/sqrt(rank), drawn from the generator in the order of _places, as in the book's script; B is zero.
    """
    new, bound = {}, rank**-0.5
    for adapter, weight, columns in _places(config):
        fan_in, fan_out = params[weight][:, columns].shape
        new[f"{adapter}.lora_A"] = generator.uniform(-bound, bound, (fan_in, rank))
        new[f"{adapter}.lora_B"] = np.zeros((rank, fan_out), np.float32)
    return new


def adapted_weights(config):
    """The names of the weights that have adapters."""
    return {weight for _, weight, _ in _places(config)}


def merge(params, config, scale):
    """params with every adapter's product added to its weight. backward: grads, with every merged weight's -> the
    adapters' too.

    From weight' = weight + scale * A @ B:     dA = scale * dweight' @ B.T      dB = scale * A.T @ dweight'
    and the gradient of `weight` itself, should it be wanted, is that of weight'.
    """
    merged, dtype = dict(params), np.result_type(*params.values())
    for weight in adapted_weights(config):
        merged[weight] = np.array(params[weight], dtype)  # a copy to be written to
    for adapter, weight, columns in _places(config):
        merged[weight][:, columns] += scale * (params[f"{adapter}.lora_A"] @ params[f"{adapter}.lora_B"])

    def backward(grads):
        result = dict(grads)
        for adapter, weight, columns in _places(config):
            A, B, dweight = params[f"{adapter}.lora_A"], params[f"{adapter}.lora_B"], grads[weight][:, columns]
            result[f"{adapter}.lora_A"] = scale * (dweight @ B.T)
            result[f"{adapter}.lora_B"] = scale * (A.T @ dweight)
        return result

    return merged, backward
