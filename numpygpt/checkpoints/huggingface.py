"""A checkpoint folder as Hugging Face's transformers has it: config.json, model.safetensors, vocab.json, merges.txt."""

import json
import re
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..files import replacing
from ..model.config import config_json, read_config
from ..text.tokenizer import tokenizer_files
from .names import check_parameters, from_hugging_face
from .safetensors import open_safetensors, write_safetensors

_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"  # lists the shards of a model too large for one file


def load_folder(folder):
    """(Config, {name: float32 array}) of the GPT-2 in `folder`; arrays are read-only, views of the file where they can be.

    Raises InputError where a file is damaged, the weights are not those of the Config, or the output layer is not tied to
    the token embedding, and OSError where a file cannot be read. All names and shapes are checked before any data is read.
    """
    folder = Path(folder)
    config = read_config(folder / "config.json")
    if (folder / _WEIGHTS).exists():
        source, stored = folder / _WEIGHTS, open_safetensors(folder / _WEIGHTS)
    elif (folder / _INDEX).exists():
        source, stored = folder / _INDEX, _open_shards(folder)
    else:
        raise InputError(f"{folder}: neither {_WEIGHTS} nor {_INDEX} is in it; a checkpoint folder needs one of them")
    stored = from_hugging_face(stored, source)
    output_layer = stored.pop("lm_head.weight", None)
    check_parameters(stored, config, source)
    if output_layer is not None and not np.array_equal(output_layer.read(), stored["wte.weight"].read()):
        raise InputError(f"{source}: lm_head.weight differs from wte.weight; GPT-2's output layer is tied to its embedding")
    return config, {name: tensor.read() for name, tensor in stored.items()}


def save_folder(folder, config, params, encoding=None, dtype=np.float32):
    """Write the model, and its tiktoken.Encoding where there is one, so that load_folder and transformers can load it.

    dtype   np.float32, or np.float16 for half the size

    Each file is replaced whole or not at all, and none unless the weights could be written. Raises InputError where a weight
    does not fit dtype or the encoding is not of GPT-2's kind, and OSError where the folder cannot be written.
    """
    folder = Path(folder)
    texts = {"config.json": config_json(config)} | (tokenizer_files(encoding) if encoding else {})
    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(folder / _WEIGHTS, params, {"format": "pt"}, dtype)  # transformers insists on this entry
    for name, text in texts.items():
        with replacing(folder / name) as file:
            file.write(text.encode())


def _open_shards(folder):
    """{name: StoredTensor} of what the index lists, each from the shard that it names."""
    path = folder / _INDEX
    try:
        index = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a JSON file ({error})") from None
    files = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(files, dict):
        raise InputError(f"{path}: expected a JSON object whose weight_map maps tensors to files")
    for name, file in files.items():
        # A plain name only: an index must not lead out of its folder.
        if not isinstance(file, str) or not re.fullmatch(r"[\w.-]+\.safetensors", file):
            raise InputError(f"{path}: {name[:100]!r} lies in {str(file)[:100]!r}, expected the name of a .safetensors file")
    shards = {}
    for file in sorted(set(files.values())):
        if not (folder / file).exists():
            raise InputError(f"{path}: it lists the shard {file}, which is not in the folder; copy or download it too")
        shards[file] = open_safetensors(folder / file)
    for name, file in files.items():
        if name not in shards[file]:
            raise InputError(f"{folder / file}: tensor {name[:100]!r} is not in it, although {_INDEX} says so")
    return {name: shards[file][name] for name, file in files.items()}
