"""Load the classifier of a finished training run."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ..checkpoints.classifier import load_classifier
from ..checkpoints.kinds import parent_of
from ..checkpoints.safetensors import read_safetensors
from ..model.lora import adapted_weights, merge
from ..model.parameters import fingerprint
from ..system.errors import InputError
from ..system.files import path_of
from ..training.run_folder import DECIDING, SEEN_TOKENS, run_sha256
from .classifier import Classifier
from .gpt import GPT, load


def load_run(folder: str | Path) -> Classifier:
    """Load the Classifier that a run folder, or an exported folder, holds.

    Parameters
    ----------
    folder : str or Path
        A folder that `python -m numpygpt.train` or `Classifier.save` wrote; one that `python -m numpygpt.export` wrote;
        or one with a GPT2ForSequenceClassification of transformers.

    Returns
    -------
    Classifier
        Trainable are the saved parameters, including the head. LoRA's products are added to their weights, and these
        weights are trainable. Of an exported classifier, only the head is trainable.

    Raises
    ------
    InputError
        If the folder holds no finished run, a file is damaged, or the pretrained model of the run is missing or has
        changed. Its answers would differ from the measured ones.

    Examples
    --------
    >>> import numpygpt, tempfile
    >>> clf = numpygpt.Classifier(numpygpt.load("mini"), ["ham", "spam"])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     clf.save(folder)
    ...     again = numpygpt.load_run(folder)
    >>> bool((again.logits(["Hello there"]) == clf.logits(["Hello there"])).all())
    True
    """
    folder = path_of(folder)
    path = folder / "run.json"
    if not path.is_file():
        if any((folder / name).is_file() for name in ("config.json", "adapter_config.json")):
            return _exported(folder)
        if folder.is_file():
            raise InputError(f"{folder}: not a finished run but a file. Train from weights with numpygpt.train --model")
        if below := parent_of(folder, "run", ("run.json", "config.json")):
            raise InputError(f"{folder}: not a finished run but {below}")
        raise InputError(f"{folder}: not a finished run (it has no run.json). Make one with: python -m numpygpt.train")
    try:
        settings = json.loads(path.read_bytes())
        model, frozen_sha256, sha256 = str(settings["model"]), settings["frozen_sha256"], settings["sha256"]
        weights, seed, labels, position, causal, pad_to, lora_scale, sizes = (settings[key] for key in DECIDING)
        heads = sizes["n_head"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path} is damaged ({type(error).__name__}: {error}). Train again") from None
    trained = read_safetensors(folder / "model.safetensors")
    if run_sha256(settings, trained) != sha256:
        raise InputError(f"{folder}: run.json or model.safetensors has changed since the training. Train again")
    seen = trained.pop(SEEN_TOKENS, None)
    try:
        gpt = load(model, weights, seed, heads)
    except InputError as error:
        raise InputError(
            f'{folder} needs the model that it was trained from. {error}. If the model moved, correct "model" in {path}'
        ) from None
    frozen = {name: array for name, array in gpt.params.items() if name not in trained}
    if asdict(gpt.config) != sizes or fingerprint(frozen) != frozen_sha256:
        raise InputError(
            f"{folder}: the weights of {model} have changed since the training. Restore them or train again"
        )
    clf = Classifier(gpt, labels, "head", pad=pad_to, position=position, causal=causal)
    if seen is not None:
        clf.seen_tokens = np.unpackbits(seen, count=clf.config.vocab_size).astype(bool)
    clf.params |= {name: array.copy() for name, array in trained.items()}
    clf._run, clf._unmerged = folder, (clf.params, lora_scale)
    if lora_scale is None:
        clf._trainable = frozenset(trained)
    else:
        merged, _ = merge(clf.params, clf.config, lora_scale)
        clf.params = {name: array for name, array in merged.items() if ".lora_" not in name}
        clf._trainable = frozenset(adapted_weights(clf.config) | {"head.bias"})
    return clf


def _exported(folder):
    """Return the Classifier of a folder that transformers can load."""
    stored = load_classifier(folder)
    params = {name: array for name, array in stored.params.items() if not name.startswith("head.")}
    gpt = GPT(stored.config, params, stored.encoding, str(folder))
    clf = Classifier(gpt, stored.labels, "head", pad=stored.pad_to, position=stored.position, causal=stored.causal)
    clf.params |= {name: np.array(stored.params[name]) for name in ("head.weight", "head.bias")}
    return clf
