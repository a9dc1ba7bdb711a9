"""Other people's names for GPT-2's tensors, turned into ours, and the check that all of them are there.

Every function takes {name: tensor}, where a tensor need only have `shape` and `dtype`: it may still lie on the disk.
"""

import re

from ..errors import InputError
from ..model.parameters import parameter_shapes

# The causal masks, which older files carry along. They are constants, not parameters (`attn.c_attn.bias` is one).
_MASK = re.compile(r"h\.\d+\.attn\.(bias|masked_bias)")

_BLOCK = re.compile(r"h\.(\d{1,4})\.")

_LISTED = 3  # tensors named in an error; the rest are counted


def from_hugging_face(tensors, source):
    """The tensors of a Hugging Face GPT-2, without the `transformer.` that newer files put first, and without masks.

    `lm_head.weight` stays, where there is one. Raises InputError where a tensor occurs with and without the prefix.
    """
    named = {}
    for name, tensor in tensors.items():
        name = name.removeprefix("transformer.")
        if name in named:
            raise InputError(f"{source}: {name} occurs twice, with and without the prefix transformer.")
        if not (_MASK.fullmatch(name) and len(tensor.shape) in (0, 4)):
            named[name] = tensor
    return named


def check_parameters(tensors, config, source):
    """Raise InputError unless the tensors are exactly the parameters of a GPT-2 of this Config.

    The error names `source`, and either the size in the Config that the tensors contradict, or the tensors that are missing,
    unknown, of another shape or no floats.
    """
    for key, found in _sizes(tensors).items():
        if getattr(config, key) != found:
            raise InputError(f"{source}: {key} is {getattr(config, key)} in the configuration, but {found} in the weights")
    problems = []
    shapes = parameter_shapes(config)
    for name, shape in shapes.items():
        if name not in tensors:
            problems.append(f"{name} is missing")
        elif tuple(tensors[name].shape) != shape:
            problems.append(f"{name} has shape {tuple(tensors[name].shape)}, expected {shape}")
        elif tensors[name].dtype.kind != "f":
            problems.append(f"{name} is {tensors[name].dtype}, expected floats")
    problems += [f"{name[:100]!r} is not a parameter of GPT-2" for name in tensors if name not in shapes]
    if problems:
        more = f"; and {len(problems) - _LISTED} more" if len(problems) > _LISTED else ""
        raise InputError(f"{source}: {'; '.join(problems[:_LISTED])}{more}")


def _sizes(tensors):
    """The sizes of a Config that tensors show at a glance: the highest numbered block and the embeddings' shapes."""
    sizes = {"n_layer": max((int(match[1]) + 1 for match in map(_BLOCK.match, tensors) if match), default=0)}
    if "wte.weight" in tensors and len(tensors["wte.weight"].shape) == 2:
        sizes["vocab_size"], sizes["n_embd"] = tensors["wte.weight"].shape
    if "wpe.weight" in tensors and len(tensors["wpe.weight"].shape) == 2:
        sizes["n_positions"] = tensors["wpe.weight"].shape[0]
    return sizes
