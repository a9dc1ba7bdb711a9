"""Load pretrained weights, from any source and in any format."""

import json
from pathlib import Path

import numpy as np

from ..model.config import SIZES, Config, read_config
from ..system.errors import InputError
from ..text.tokenizer import load_tokenizer
from .names import check_parameters, deduced_config, to_gpt2
from .published import fetch_model
from .weights import find_weights, open_weights

BUNDLED = {"mini": Path(__file__).parents[1] / "assets" / "mini"}

_HPARAMS = {
    "n_vocab": "vocab_size",
    "n_ctx": "n_positions",
    "n_embd": "n_embd",
    "n_layer": "n_layer",
    "n_head": "n_head",
}


def load_checkpoint(source):
    """Return (Config, {name: float32 array}, tiktoken.Encoding) of a pretrained GPT-2.

    source   a folder or file as in load_weights, or a name in BUNDLED or SIZES; an existing path wins over a name

    The tokenizer comes from vocab.json and merges.txt, or encoder.json and vocab.bpe, in the folder. If these files are
    missing and the vocabulary has 50,257 entries, the tokenizer is GPT-2's own. Raises InputError, naming the file, if
    something is missing, damaged or not GPT-2's.
    """
    path = locate(source)
    config, params = load_weights(path)
    folder = path if path.is_dir() else path.parent
    own = any((folder / name).is_file() for name in ("vocab.json", "encoder.json"))
    encoding = load_tokenizer(folder if own or config.vocab_size != Config.vocab_size else "gpt2")
    if encoding.n_vocab > config.vocab_size:
        raise InputError(
            f"{folder}: the tokenizer has {encoding.n_vocab} entries, but the model's embedding only "
            f"{config.vocab_size}; use the tokenizer that belongs to the model"
        )
    return config, params, encoding


def locate(source):
    """Return the path of a checkpoint: `source` if it exists, otherwise the model of that name, downloaded if needed.

    Raises InputError if there is no such path or name, or the download fails.
    """
    path, name = Path(source), str(source)
    if path.exists():
        return path
    if name in BUNDLED:
        return BUNDLED[name]
    if name in SIZES:
        return fetch_model(name)
    raise InputError(f"{source}: no such folder or file; the models with a name are {', '.join((*BUNDLED, *SIZES))}")


def load_weights(source):
    """Return (Config, {name: float32 array}) of a GPT-2. The arrays are read-only, and views of the file if possible.

    source   a weights file, or a folder that contains one: safetensors, the index of sharded safetensors, the index of
             a TensorFlow checkpoint, or a PyTorch state dict; with Hugging Face's, OpenAI's or the book's tensor names

    The sizes come from config.json, or from OpenAI's hparams.json, in the same folder. Without these files the sizes
    come from the tensors' shapes, and n_head is n_embd / 64, as in every GPT-2 that OpenAI published.

    All names and shapes are checked before any data is read. Raises InputError if a file is damaged, the weights
    contradict the Config, or the output layer is not tied to the token embedding; OSError if a file cannot be read.
    """
    path = Path(source)
    path = find_weights(path) if path.is_dir() else path
    stored = to_gpt2(open_weights(path), path)
    output_layer = stored.pop("lm_head.weight", None)
    if (path.parent / "config.json").is_file():
        config = read_config(path.parent / "config.json")
    elif (path.parent / "hparams.json").is_file():
        config = _read_hparams(path.parent / "hparams.json")
    else:
        config = deduced_config(stored, path)
    check_parameters(stored, config, path)
    if output_layer is not None and not _same(output_layer, stored["wte.weight"]):
        raise InputError(
            f"{path}: the output layer, lm_head.weight, differs from the token embedding, wte.weight; "
            "GPT-2 shares one matrix for both, so this is a classifier or another model"
        )
    return config, {name: tensor.read() for name, tensor in stored.items()}


def _same(output_layer, embedding):
    return tuple(output_layer.shape) == tuple(embedding.shape) and np.array_equal(output_layer.read(), embedding.read())


def _read_hparams(path):
    """Return the Config in OpenAI's hparams.json."""
    try:
        entries = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a JSON file ({error})") from None
    sizes = {ours: entries.get(theirs) for theirs, ours in _HPARAMS.items()} if isinstance(entries, dict) else {}
    if not sizes or not all(type(size) is int and 0 < size < 2**31 for size in sizes.values()):
        raise InputError(
            f"{path}: expected positive whole numbers for {', '.join(_HPARAMS)}, found {str(entries)[:100]!r}"
        )
    if sizes["n_embd"] % sizes["n_head"]:
        raise InputError(f"{path}: n_embd {sizes['n_embd']} is not divisible by n_head {sizes['n_head']}")
    return Config(**sizes)
