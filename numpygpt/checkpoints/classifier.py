"""Read a text classifier that transformers or `python -m numpygpt.export` saved: its weights, labels and reading."""

from dataclasses import dataclass

import numpy as np

from ..model.config import Config
from ..system.errors import InputError
from ..system.files import read_json
from ..system.settings import POSITIONS
from ..text.tokenizer import around
from .exported import OWN_TYPE
from .load import open_checkpoint, tokenizer_of


@dataclass(frozen=True)
class StoredClassifier:
    """A classifier's parts. `params` includes head.weight and head.bias."""

    config: Config
    params: dict
    encoding: object
    labels: list
    position: str
    causal: bool
    pad_to: int | str | None


def load_classifier(folder):
    """Return the StoredClassifier in a folder.

    folder   an exported folder, or one with a GPT2ForSequenceClassification that transformers saved, or with a PEFT
             adapter that makes one

    The latter reads the last token of messages of their own lengths. Older exports, which have no entries of their own
    in config.json, are known by their tokenizer's configuration. Raises InputError, naming the folder, if it holds
    another model, or a classifier that numpygpt does not compute.
    """
    checkpoint = open_checkpoint(folder)
    path = checkpoint.folder / "config.json"
    if not checkpoint.head or not path.is_file():
        what = checkpoint.kind or "a model without a classifier's head"
        raise InputError(f"{folder}: {what}, not a text classifier with label names; train one with --model {folder}")
    entries, encoding = read_json(path), tokenizer_of(checkpoint)
    if entries.get("model_type") == OWN_TYPE:
        position, causal, pad_to = _own_reading(path, entries)
    else:
        causal = True
        position, pad_to = _as_transformers(folder, checkpoint, entries, encoding)
    weight, bias = _head(checkpoint)
    labels = _labels(path, entries, len(bias))
    params = checkpoint.params() | {"head.weight": weight, "head.bias": bias}
    return StoredClassifier(checkpoint.config, params, encoding, labels, position, causal, pad_to)


def _own_reading(path, entries):
    """Return (position, causal, padding) that an export wrote."""
    position, causal, padding = found = [entries.get(key) for key in ("position", "causal", "padding")]
    if position not in POSITIONS or type(causal) is not bool or not (padding in (None, "end") or type(padding) is int):
        raise InputError(f"{path}: expected position, causal and padding as numpygpt.export writes them, found {found}")
    return found


def _as_transformers(folder, checkpoint, entries, encoding):
    """Return (position, padding) of a GPT-2 of transformers, which an older version may have exported."""
    path = folder / "tokenizer_config.json"
    tokenizer = read_json(path) if path.is_file() else {}
    # transformers writes its version into every config.json, this program does not.
    ours = "transformers_version" not in entries and tokenizer.get("split_special_tokens") is True
    if entries.get("problem_type") not in (None, "single_label_classification"):
        raise InputError(
            f"{folder}: problem_type is {entries['problem_type']!r}; numpygpt computes only one label a text"
        )
    if around(encoding) == ((), ()) and not tokenizer.get("add_bos_token"):
        pad_to = None
    elif around(encoding) == ((), (encoding.eot_token,)):
        pad_to = "end"
    else:
        raise InputError(f"{folder}: its tokenizer puts special tokens around each text, which numpygpt does not")
    if ours and tokenizer.get("model_input_names") == ["input_ids"]:
        pad_to = tokenizer.get("model_max_length")
    if set(checkpoint.head) == {"classifier.weight", "classifier.bias"} and ours:
        return "mean", pad_to
    if set(checkpoint.head) != {"score.weight"}:
        raise InputError(
            f"{folder}: {checkpoint.kind} with {', '.join(checkpoint.head)}; of transformers' classifiers, numpygpt "
            "computes only GPT2ForSequenceClassification"
        )
    return "last", pad_to


def _head(checkpoint):
    """Return (weight (D, C), bias (C,)) of the head, which is stored as [C, D] and may have no bias."""
    [weight] = [tensor for name, tensor in checkpoint.head.items() if name.endswith(".weight")]
    count = weight.shape[0] if weight.shape else 0
    biases = [tensor for name, tensor in checkpoint.head.items() if name.endswith(".bias")]
    shapes = [(count, checkpoint.config.n_embd), *[(count,)] * len(biases)]
    for tensor, shape in zip([weight, *biases], shapes):
        if tuple(tensor.shape) != shape or count < 2 or tensor.dtype.kind != "f":
            raise InputError(
                f"{checkpoint.path}: the head has {tensor.dtype} of shape {tuple(tensor.shape)}, expected floats for "
                f"two labels or more and {checkpoint.config.n_embd} columns"
            )
    bias = biases[0].read() if biases else np.zeros(count, np.float32)
    return np.ascontiguousarray(weight.read().T), bias


def _labels(path, entries, count):
    """Return the label names in config.json, or those that transformers gives to nameless ones."""
    names = entries.get("id2label") or {str(number): f"LABEL_{number}" for number in range(count)}
    if not isinstance(names, dict) or sorted(names) != sorted(map(str, range(count))):
        raise InputError(f"{path}: id2label must name the labels 0 to {count - 1}, found {str(names)[:100]}")
    return [str(names[str(number)]) for number in range(count)]
