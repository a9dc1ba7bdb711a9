"""Merge a LoRA adapter that PEFT saved into the weights of its base model.

adapter_config.json names the base. adapter_model.safetensors has, for each adapted matrix W [in, out], the matrices
A [r, in] and B [out, r]. The merged matrix is W + (B A)ᵀ · alpha / r. The file may also hold whole tensors that replace
the base's, such as a classifier's head.
"""

import re
from pathlib import Path

import numpy as np

from ..model.config import SIZES
from ..system.errors import InputError
from ..system.files import read_json
from .derived import Derived
from .names import MATRICES, OUTPUT, without_head
from .weights import open_weights

DESCRIPTION = "adapter_config.json"
_FILES = ("adapter_model.safetensors", "adapter_model.bin")
_NAME = re.compile(
    r"base_model\.model\.(?:transformer\.)?(.+?)(?:\.base_layer|\.lora_([AB])(?:\.default)?)?\.(weight|bias)"
)

# The settings of other kinds of adapter, and the values that mean plain LoRA
_PLAIN = {"peft_type": ("LORA",), "use_dora": (None, False), "alpha_pattern": (None, {}), "rank_pattern": (None, {})}


def adapter_folder(path):
    """Return the folder of the PEFT adapter at `path`, the folder itself or its weights file, or None."""
    folder = path if path.is_dir() else path.parent
    if not (folder / DESCRIPTION).is_file() or not (path.is_dir() or path.name in _FILES):
        return None
    return folder


def base_of(folder):
    """Return the path or name of the base model that an adapter names.

    A relative path may start at the adapter's folder, at its parent or at the current folder. Raises InputError if the
    base is neither there nor one of the published models.
    """
    name = read_json(folder / DESCRIPTION).get("base_model_name_or_path")
    if isinstance(name, str) and name:
        for path in (folder / name, folder.parent / name, Path(name)):
            if path.exists():
                return path
        published = name.removeprefix("openai-community/")
        if published in SIZES:
            return published
    raise InputError(
        f"{folder}: a PEFT adapter, whose base model {str(name)[:100]!r} is not here; merge it first: "
        f"python -m numpygpt.convert {folder} MERGED --base BASE"
    )


def merged(folder, tensors, head):
    """Return ({name: tensor}, {name: tensor} of the head, path of the adapter's weights).

    tensors, head   those of the base

    Raises InputError if the adapter is not plain LoRA on GPT-2's matrices, or does not fit the base.
    """
    config = read_json(folder / DESCRIPTION)
    for key, allowed in _PLAIN.items():
        if config.get(key) not in allowed:
            _refuse(folder, f"{key} is {config.get(key)!r}")
    alpha, rank = config.get("lora_alpha"), config.get("r")
    if type(rank) is not int or rank < 1 or type(alpha) not in (int, float):
        raise InputError(f"{folder / DESCRIPTION}: expected numbers r and lora_alpha, found {rank!r} and {alpha!r}")
    scale = alpha / (rank**0.5 if config.get("use_rslora") else rank)
    path = next((folder / name for name in _FILES if (folder / name).is_file()), None)
    if path is None:
        raise InputError(f"{folder}: a PEFT adapter without {' or '.join(_FILES)}; copy or download it too")
    factors, replaced = {}, {}
    for name, tensor in open_weights(path)[0].items():
        match = _NAME.fullmatch(name)
        if not match:
            _refuse(folder, f"it has {name[:100]!r}")
        module, factor, kind = match.groups()
        if factor:
            factors.setdefault(f"{module}.{kind}", {})[factor] = tensor
        else:
            replaced[f"{module}.{kind}"] = tensor
    parameters, own_head, _ = without_head(replaced)
    for name in [*parameters, *factors]:
        if name not in tensors or name in factors and not MATRICES.fullmatch(name):
            _refuse(folder, f"it adapts {name[:100]}")
    adapted = {name: _sum(path, name, tensors[name], pair, scale) for name, pair in factors.items()}
    own_head = own_head or head
    if "wte.weight" in parameters and OUTPUT not in own_head:  # the output layer stays the base's embedding
        own_head = {OUTPUT: tensors["wte.weight"]} | own_head
    return tensors | parameters | adapted, own_head, path


def _sum(path, name, weight, pair, scale):
    """Return the tensor weight + (B A)ᵀ · scale."""
    first, second = pair.get("A"), pair.get("B")
    shapes = [tuple(tensor.shape) if tensor else None for tensor in (first, second)]
    rank = shapes[0][0] if shapes[0] else 0
    if shapes != [(rank, weight.shape[0]), (weight.shape[1], rank)]:
        raise InputError(
            f"{path}: A and B of {name} have the shapes {shapes[0]} and {shapes[1]}, which do not fit its base's "
            f"{tuple(weight.shape)}"
        )

    def read():
        array = weight.read() + np.float32(scale) * (second.read() @ first.read()).T
        array.flags.writeable = False
        return array

    return Derived(tuple(weight.shape), weight.dtype, read)


def _refuse(folder, reason):
    raise InputError(
        f"{folder}: a PEFT adapter that numpygpt cannot merge ({reason}); merge it first: with PEFT, "
        "model.merge_and_unload().save_pretrained(FOLDER)"
    )
