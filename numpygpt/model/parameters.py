"""The flat dict of parameters: GPT-2's own names, to arrays laid out as GPT-2 has them.

Matrices are `[in, out]`, so a linear layer is `x @ weight + bias`. There is no entry for the output layer of the language
model: it is tied to `wte.weight`.
"""

import hashlib

import numpy as np


def parameter_shapes(config):
    """{name: shape} of every parameter of a GPT-2 of this Config, from the embeddings up. D is n_embd."""
    D = config.n_embd
    shapes = {"wte.weight": (config.vocab_size, D), "wpe.weight": (config.n_positions, D)}
    for n in range(config.n_layer):
        shapes |= {
            f"h.{n}.ln_1.weight": (D,),
            f"h.{n}.ln_1.bias": (D,),
            f"h.{n}.attn.c_attn.weight": (D, 3 * D),  # query, key, value side by side
            f"h.{n}.attn.c_attn.bias": (3 * D,),
            f"h.{n}.attn.c_proj.weight": (D, D),
            f"h.{n}.attn.c_proj.bias": (D,),
            f"h.{n}.ln_2.weight": (D,),
            f"h.{n}.ln_2.bias": (D,),
            f"h.{n}.mlp.c_fc.weight": (D, 4 * D),
            f"h.{n}.mlp.c_fc.bias": (4 * D,),
            f"h.{n}.mlp.c_proj.weight": (4 * D, D),
            f"h.{n}.mlp.c_proj.bias": (D,),
        }
    return shapes | {"ln_f.weight": (D,), "ln_f.bias": (D,)}


def random_parameters(config, seed):
    """GPT-2's own initialisation, float32: every matrix normal(0, 0.02), the two that write to the residual stream (both
    `c_proj`) divided by sqrt(2 n_layer) (Radford et al. 2019, section 2.3); biases 0, layernorm gains 1.
    """
    rng = np.random.default_rng(seed)
    params = {}
    for name, shape in parameter_shapes(config).items():
        if name.endswith(".bias"):
            params[name] = np.zeros(shape, np.float32)
        elif len(shape) == 1:
            params[name] = np.ones(shape, np.float32)
        else:
            std = 0.02 / (2 * config.n_layer) ** 0.5 if ".c_proj." in name else 0.02
            params[name] = rng.standard_normal(shape, np.float32) * np.float32(std)
    return params


def fingerprint(params):
    """A SHA-256, in hexadecimal, of all names, shapes and values: equal fingerprints mean equal parameters."""
    digest = hashlib.sha256()
    for name in sorted(params):
        array = np.ascontiguousarray(params[name])
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(array.data)
    return digest.hexdigest()
