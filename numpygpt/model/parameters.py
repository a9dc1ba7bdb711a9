"""The flat dict of parameters: GPT-2's own names and array layouts.

Matrices are `[in, out]`, so a linear layer is `x @ weight + bias`. The language model's output layer has no entry of
its own, because it is tied to `wte.weight`.
"""

import hashlib

import numpy as np

from ..system.memory import release


def parameter_shapes(config):
    """Return {name: shape} of every parameter of a GPT-2 with this Config, from the embeddings up. D is n_embd."""
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


def random_parameters(config, seed, how="random"):
    """Return random float32 parameters. Layernorm gains are 1 and layernorm biases are 0.

    how   "random": GPT-2's own initialisation. Matrices are normal(0, 0.02); the two that write to the residual stream
          (both `c_proj`) are divided by sqrt(2 n_layer) (Radford et al. 2019, section 2.3). Biases are 0.
          "pytorch": the initialisation of PyTorch's layers, which the book's untrained model has. Embeddings are
          normal(0, 1); linear layers, including their biases, are uniform in ±1/sqrt(in).
    """
    # A saved run depends on these numbers. RandomState draws the same ones in every version of NumPy.
    rng = np.random.RandomState(seed % 2**32)
    params, shapes = {}, parameter_shapes(config)
    for name, shape in shapes.items():
        layer, kind = name.rsplit(".", 1)
        if how == "pytorch" and ".c_" in name:
            fan_in = shapes[f"{layer}.weight"][0]
            params[name] = rng.uniform(-(fan_in**-0.5), fan_in**-0.5, shape).astype(np.float32)
        elif kind == "bias":
            params[name] = np.zeros(shape, np.float32)
        elif len(shape) == 1:
            params[name] = np.ones(shape, np.float32)
        else:
            std = 1 if how == "pytorch" else 0.02 / (2 * config.n_layer) ** 0.5 if ".c_proj." in name else 0.02
            params[name] = (std * rng.standard_normal(shape)).astype(np.float32)
    return params


def fingerprint(params):
    """Return the SHA-256, in hexadecimal, of all names, dtypes, shapes and values. Equal parameters have equal ones."""
    digest = hashlib.sha256()
    for name in sorted(params):
        array = np.ascontiguousarray(params[name])
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(array.data)
        release(params[name])  # so that only one array of a memory-mapped model is in memory at a time
    return digest.hexdigest()
