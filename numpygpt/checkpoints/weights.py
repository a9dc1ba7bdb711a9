"""Find the weights file in a checkpoint folder and open its tensors. The content decides the format, not the name."""

import os
import re
from pathlib import Path

from ..system.errors import InputError
from ..system.files import read_json
from . import pytorch, tensorflow
from .kinds import kind_of_file, kind_of_folder
from .safetensors import open_safetensors

# The names that transformers looks for, in its order. An index lists the shards of a model too large for one file.
_CUSTOMARY = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
_INDEX = ".index.json"
_SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})(\.safetensors|\.bin)")
_SUFFIXES = {
    ".safetensors": open_safetensors,
    ".bin": pytorch.open_saved,
    ".pth": pytorch.open_saved,
    ".pt": pytorch.open_saved,
}


def find_weights(folder):
    """Return the path of the folder's weights file: one with a customary name, otherwise the only file with weights.

    If there are several TensorFlow checkpoints, return the one that the file `checkpoint` names. Raises InputError if
    there are no weights, or several files and no rule to choose one.
    """
    folder = Path(folder)
    if (folder / "run.json").is_file():  # its model.safetensors has only the trained parameters
        raise InputError(f"{folder}: {kind_of_folder(folder)}")
    for name in _CUSTOMARY:
        if (folder / name).is_file():
            return folder / name
    found = [path for path in sorted(folder.iterdir()) if path.is_file() and _has_weights(path)]
    if len(found) > 1 and (folder / "checkpoint").is_file():
        newest = re.match(rb'model_checkpoint_path: "([\w.-]+)"', (folder / "checkpoint").read_bytes())
        found = [path for path in found if newest and path.name == newest[1].decode() + ".index"] or found
    if not found:
        kind = kind_of_folder(folder) or (
            "the folder has no weights; expected a safetensors file, a TensorFlow checkpoint or a PyTorch state dict"
        )
        raise InputError(f"{folder}: {kind}")
    if len(found) > 1:
        raise InputError(
            f"{folder}: several files have weights: {', '.join(path.name for path in found[:5])}; name the file to read"
        )
    return found[0]


def _has_weights(path):
    """Return whether the file has weights, or lists them. The first of several shards stands for all."""
    shard = _SHARD.fullmatch(path.name)
    return (not shard or int(shard[2]) <= 1) and (path.name.endswith(_INDEX) or bool(_opener(path)))


def open_weights(path):
    """Return ({name: StoredTensor}, settings) of a weights file, or of all shards in an index or beside one shard.

    settings   the plain values that a PyTorch file has beside its state dict, such as nanoGPT's model_args

    Raises InputError if a file is damaged.
    """
    path = Path(path)
    if path.name.endswith(_INDEX):
        return _open_index(path), {}
    if _SHARD.fullmatch(path.name):
        return _open_shards(path), {}
    return _open(path)


def _open(path):
    opener = _opener(path)
    kind = None if opener else kind_of_file(path)
    if kind:
        raise InputError(f"{path}: {kind}")
    opener = opener or _SUFFIXES.get(path.suffix)  # the suffix selects the error for a damaged file
    if opener is None:
        raise InputError(
            f"{path}: unknown format; expected a safetensors file, a TensorFlow checkpoint's index or a PyTorch "
            "state dict"
        )
    found = opener(path)
    return found if opener is pytorch.open_saved else (found, {})


def _opener(path):
    """Return the function that opens a file with this content, or None."""
    if path.suffix == ".distcp":  # its content looks like a file of torch.save
        return None
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(len(pytorch.LEGACY_START))
        file.seek(max(size - len(tensorflow.MAGIC), 0))
        end = file.read()
    if start.startswith((pytorch.ZIP_START, pytorch.LEGACY_START)):
        return pytorch.open_saved
    if end == tensorflow.MAGIC:
        return tensorflow.open_tensorflow
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= size - 8:
        return open_safetensors
    return None


def _open_index(path):
    """Return {name: StoredTensor} of the tensors in an index, each from its shard."""
    files = read_json(path).get("weight_map")
    if not isinstance(files, dict):
        raise InputError(f"{path}: expected a JSON object whose weight_map maps tensors to files")
    for name, file in files.items():
        # Accept only plain names: an index must not refer to another folder or to another index.
        if not isinstance(file, str) or not re.fullmatch(r"[\w.-]+\.(safetensors|bin)", file):
            raise InputError(
                f"{path}: {name[:100]!r} is in {str(file)[:100]!r}, expected the name of a .safetensors or .bin file"
            )
    shards = {}
    for file in sorted(set(files.values())):
        if not (path.parent / file).exists():
            raise InputError(f"{path}: its shard {file} is missing in the folder; copy or download it too")
        shards[file], _ = _open(path.parent / file)
    for name, file in files.items():
        if name not in shards[file]:
            raise InputError(
                f"{path.parent / file}: tensor {name[:100]!r}, listed in {path.name}, is missing; download both again"
            )
    return {name: shards[file][name] for name, file in files.items()}


def _open_shards(path):
    """Return {name: StoredTensor} of all shards beside one, which need no index: their names count them."""
    stem, _, count, suffix = _SHARD.fullmatch(path.name).groups()
    tensors = {}
    for number in range(1, int(count) + 1):
        shard = path.with_name(f"{stem}-{number:05}-of-{count}{suffix}")
        if not shard.is_file():
            raise InputError(f"{path}: its shard {shard.name} is missing in the folder; copy or download it too")
        found, _ = _open(shard)
        if tensors.keys() & found.keys():
            raise InputError(f"{shard}: tensor {min(tensors.keys() & found.keys())[:100]!r} is in another shard, too")
        tensors |= found
    return tensors
