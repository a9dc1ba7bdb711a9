"""Load pretrained weights, from any source and in any format."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..model.config import SIZES, Config, read_config
from ..system.errors import InputError, Note
from ..system.files import path_of, read_json
from ..text.tokenizer import has_tokenizer, load_tokenizer
from .adapter import adapter_folder, base_of, merged
from .names import OUTPUT, check_parameters, deduced_config, to_gpt2, unwrapped, without_head
from .weights import find_weights, open_weights

BUNDLED = {"mini": Path(__file__).parents[1] / "assets" / "mini"}

# Names of the sizes in OpenAI's hparams.json, and in the model_args of nanoGPT's ckpt.pt
_HPARAMS = {
    "n_vocab": "vocab_size",
    "n_ctx": "n_positions",
    "n_embd": "n_embd",
    "n_layer": "n_layer",
    "n_head": "n_head",
}
_MODEL_ARGS = {"vocab_size": "vocab_size", "block_size": "n_positions"} | {
    name: name for name in ("n_embd", "n_layer", "n_head")
}

_UNTIED = "a language model with an output layer of its own"
_NANOGPT_VOCABULARY = 50304  # GPT-2's 50,257 entries, and rows without a token up to a multiple of 64


@dataclass(frozen=True)
class Checkpoint:
    """An opened checkpoint, whose names and shapes are checked and whose data are not read yet.

    path      the weights file
    folder    the folder with config.json and the tokenizer
    config    the sizes of the model
    tensors   {name: tensor} of the parameters
    head      {name: tensor} of the head of a classifier or other model, under its own names
    kind      what the model with this head is, or ""
    """

    path: Path
    folder: Path
    config: Config
    tensors: dict
    head: dict
    kind: str

    def params(self):
        """Return {name: read-only float32 array} of the parameters."""
        return {name: tensor.read() for name, tensor in self.tensors.items()}


def load_checkpoint(source, heads=None, base=None):
    """Return (Config, {name: float32 array}, tiktoken.Encoding) of a pretrained GPT-2.

    source   a folder or file as in load_weights, or a name in BUNDLED or SIZES; an existing path wins over a name
    heads    the number of heads, where no file tells it
    base     the base model of a PEFT adapter, instead of the one that the adapter names

    The tokenizer comes from the folder: see load_tokenizer. If there is no tokenizer file and the vocabulary has 50,257
    entries, the tokenizer is GPT-2's own, which a Note says. Raises InputError, naming the file, if something is
    missing, damaged or not GPT-2's.
    """
    checkpoint = open_checkpoint(locate(source), heads, base)
    return checkpoint.config, weights_of(checkpoint), tokenizer_of(checkpoint)


def tokenizer_of(checkpoint):
    """Return the tiktoken.Encoding of a Checkpoint: see load_checkpoint. An adapter's own wins over its base's."""
    config, own = checkpoint.config, checkpoint.path.parent
    folder = own if has_tokenizer(own) else checkpoint.folder
    if not has_tokenizer(folder) and config.vocab_size in (Config.vocab_size, _NANOGPT_VOCABULARY):
        warnings.warn(f"{folder}: there is no tokenizer, so GPT-2's own is used", Note, 3)
        return load_tokenizer("gpt2")
    encoding = load_tokenizer(folder)
    if encoding.n_vocab > config.vocab_size:
        raise InputError(
            f"{folder}: the tokenizer has {encoding.n_vocab} entries, but the model's embedding only "
            f"{config.vocab_size}; use the tokenizer that belongs to the model"
        )
    return encoding


def locate(source):
    """Return the path of a checkpoint: `source` if it exists, otherwise the model of that name, downloaded if needed.

    Raises InputError if there is no such path or name, or the download fails.
    """
    path, name = path_of(source), str(source)
    if path.exists():
        return path
    if name in BUNDLED:
        return BUNDLED[name]
    if name in SIZES:
        from .published import fetch_model

        return fetch_model(name)
    raise InputError(f"{source}: no such folder or file; the models with a name are {', '.join((*BUNDLED, *SIZES))}")


def load_weights(source, heads=None):
    """Return (Config, {name: float32 array}) of a GPT-2. The arrays are read-only, and views of the file if possible.

    source, heads   as in open_checkpoint

    A Note says if a head was set aside. Raises InputError like open_checkpoint.
    """
    checkpoint = open_checkpoint(source, heads)
    return checkpoint.config, weights_of(checkpoint)


def weights_of(checkpoint, language=True):
    """Return the parameters of a Checkpoint. A Note says if a head was set aside.

    language   whether the caller may compute next tokens. Then an output layer of the model's own is an InputError
    """
    if language and OUTPUT in checkpoint.head:
        raise InputError(
            f"{checkpoint.path}: the output layer, {OUTPUT}, differs from the token embedding, wte.weight; "
            "GPT-2 shares one matrix for both, so numpygpt cannot compute this language model"
        )
    if checkpoint.head:
        warnings.warn(
            f"{checkpoint.path}: {checkpoint.kind}; its head ({', '.join(checkpoint.head)}) is set aside", Note, 3
        )
    return checkpoint.params()


def open_checkpoint(source, heads=None, base=None):
    """Return the Checkpoint of a GPT-2, with any head.

    source   a weights file, or a folder that contains one: safetensors, the index of sharded safetensors, the index of
             a TensorFlow checkpoint, or a PyTorch state dict; with the tensor names of Hugging Face, OpenAI, nanoGPT or
             the book; or the folder of a PEFT adapter, which is merged into its base
    heads    the number of heads, where no file tells it
    base     the base model of an adapter, instead of the one that the adapter names

    The sizes come from nanoGPT's model_args in the file, or from config.json or OpenAI's hparams.json in the same
    folder. Without these, the sizes come from the tensors' shapes and `heads`, which a Note says.

    All names and shapes are checked before any data is read. Raises InputError if a file is damaged, the weights
    contradict the Config; OSError if a file cannot be read.
    """
    path = Path(source)
    if folder := adapter_folder(path):
        below = open_checkpoint(locate(base or base_of(folder)), heads)
        tensors, head, path = merged(folder, below.tensors, below.head)
        check_parameters(tensors, below.config, path)
        kind = without_head(head)[2] or _UNTIED
        return Checkpoint(path, below.folder, below.config, tensors, head, kind)
    if base is not None:
        raise InputError(f"{path}: not a PEFT adapter, so it has no base; omit --base")
    path = find_weights(path) if path.is_dir() else path
    opened, settings = open_weights(path)
    inside, around = unwrapped(opened, path)
    stored, head, kind = without_head(to_gpt2(inside, path))
    output_layer = stored.pop(OUTPUT, None)
    config = _config(path, stored, settings, heads)
    if heads not in (None, config.n_head):
        raise InputError(f"{path}: the number of heads is {config.n_head}, not {heads}")
    check_parameters(stored, config, path)
    if output_layer is not None and not _same(output_layer, stored["wte.weight"]):
        head, kind = {OUTPUT: output_layer} | head, _UNTIED
    if around:
        head, kind = head | around, "a model with a GPT-2 in it"
    return Checkpoint(path, path.parent, config, stored, head, kind)


def _same(output_layer, embedding):
    return tuple(output_layer.shape) == tuple(embedding.shape) and np.array_equal(output_layer.read(), embedding.read())


def _config(path, stored, settings, heads):
    if "model_args" in settings:
        warnings.warn(
            f"{path}: a checkpoint of nanoGPT, which computes GELU with erf; numpygpt's GELU, as in GPT-2, uses tanh "
            "and differs by at most 0.0005",
            Note,
            4,
        )
        return _sizes(f"{path}, model_args", settings["model_args"], _MODEL_ARGS)
    if (path.parent / "config.json").is_file():
        return read_config(path.parent / "config.json")
    if (path.parent / "hparams.json").is_file():
        return _sizes(path.parent / "hparams.json", read_json(path.parent / "hparams.json"), _HPARAMS)
    config = deduced_config(stored, path, heads)
    width = config.n_embd // config.n_head
    warnings.warn(f"{path}: the shapes tell the sizes; heads: {config.n_head}, each of {width} columns", Note, 4)
    return config


def _sizes(where, entries, names):
    """Return the Config of the sizes in `entries` under other names, {theirs: ours}."""
    sizes = {ours: entries.get(theirs) for theirs, ours in names.items()} if isinstance(entries, dict) else {}
    if not sizes or not all(type(size) is int and 0 < size < 2**31 for size in sizes.values()):
        raise InputError(
            f"{where}: expected positive whole numbers for {', '.join(names)}, found {str(entries)[:100]!r}"
        )
    if sizes["n_embd"] % sizes["n_head"]:
        raise InputError(f"{where}: n_embd {sizes['n_embd']} is not divisible by n_head {sizes['n_head']}")
    return Config(**sizes)
