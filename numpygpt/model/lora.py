"""LoRA (Hu et al. 2021): the weights stay frozen, and a trainable low-rank product is added to each of them.

    weight' = weight + scale * A @ B        A (in, rank), B (rank, out), scale = alpha / rank

LoRA is a change of variables. The model runs on weight' and does not see A and B; this file turns the gradient of
weight' into their gradients. Every linear layer has a pair of A and B, including the head. Query, key and value share
one matrix in GPT-2, and have a pair each. B starts at zero, so that training starts from the unchanged model.
"""

import numpy as np


def _places(config):
    """Yield (adapter, weight, columns): an adapter's name, and the columns of the weight to which its product is added.

    The order is that of the book's script.
    """
    D = config.n_embd
    for n in range(config.n_layer):
        for i, part in enumerate(("query", "key", "value")):
            yield f"h.{n}.attn.c_attn.{part}", f"h.{n}.attn.c_attn.weight", slice(i * D, (i + 1) * D)
        for layer in ("attn.c_proj", "mlp.c_fc", "mlp.c_proj"):
            yield f"h.{n}.{layer}", f"h.{n}.{layer}.weight", slice(None)
    yield "head", "head.weight", slice(None)


def adapters(params, config, rank, generator):
    """Return {name: array} of new adapters `….lora_A`, `….lora_B` for all linear layers of params, including the head.

    A is uniform in ±1/sqrt(rank), drawn from the generator in the order of the book's script. B is zero.
    """
    new, bound = {}, rank**-0.5
    for adapter, weight, columns in _places(config):
        fan_in, fan_out = params[weight][:, columns].shape
        new[f"{adapter}.lora_A"] = generator.uniform(-bound, bound, (fan_in, rank))
        new[f"{adapter}.lora_B"] = np.zeros((rank, fan_out), np.float32)
    return new


def adapted_weights(config):
    """Return the names of the weights that have adapters."""
    return {weight for _, weight, _ in _places(config)}


def merge(params, config, scale):
    """Return params with every adapter's product added to its weight. backward: grads -> grads with the adapters'.

    weight' = weight + scale * A @ B:     dA = scale * dweight' @ B.T      dB = scale * A.T @ dweight'
    The gradient of `weight` itself equals that of weight'. With scale None, there are no adapters: the result is
    (params, None).
    """
    if scale is None:
        return params, None
    merged, dtype = dict(params), np.result_type(*params.values())
    for weight in adapted_weights(config):
        merged[weight] = np.array(params[weight], dtype)  # a writable copy
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


def adapter_rows(params, config, scale, weight, x, dy):
    """Yield (name, left, right) of both adapters of a weight, of which the layer's rows are x, and dy their gradients.

    dweight' = x.T @ dy, so `merge`'s formulas are     dA = x.T @ (scale * dy @ B.T)      dB = (scale * x @ A).T @ dy
    Each gradient is left.T @ right: a sum over rows of outer products.
    """
    for adapter, adapted, columns in _places(config):
        if adapted == weight:
            A, B = params[f"{adapter}.lora_A"], params[f"{adapter}.lora_B"]
            yield f"{adapter}.lora_A", x, scale * dy[:, columns] @ B.T
            yield f"{adapter}.lora_B", scale * x @ A, dy[:, columns]
