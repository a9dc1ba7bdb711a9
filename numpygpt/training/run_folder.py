"""The folder that a training run leaves: what was trained, and all that is needed to use it.

    run.json            how to rebuild the classifier: the model, its labels, the padding, …; and the settings of the training
    model.safetensors   the trained parameters; the frozen ones stay where they came from
    history.csv         the loss of every step, the evaluations, the accuracies
    train.csv, validation.csv, test.csv    the three sets
    loss.png, accuracy.png                 the curves, where matplotlib is installed
"""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

from ..checkpoints.load import load_checkpoint
from ..checkpoints.safetensors import open_safetensors, write_safetensors
from ..errors import InputError
from ..files import replacing
from ..model.config import Config
from ..model.lora import merge
from ..model.parameters import fingerprint, random_parameters
from ..text.batches import encode

COLUMNS = ("epoch", "step", "examples", "loss", "train_loss", "validation_loss", "train_accuracy", "validation_accuracy")


def new_folder(out):
    """Make the folder `out`, which must not exist yet, or where that is None, the next free one of runs/001, runs/002, …"""
    folder = Path(out) if out else next(p for p in (Path("runs") / f"{n:03d}" for n in range(1, 10**6)) if not p.exists())
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise InputError(f"{folder} exists: choose another --out, or remove it; a run never overwrites another") from None
    return folder


class History:
    """history.csv, written row by row, so that a run that is interrupted leaves what it had."""

    def __init__(self, folder):
        self.rows = []
        self._file = open(Path(folder) / "history.csv", "w", newline="", buffering=1)
        self._writer = csv.DictWriter(self._file, COLUMNS)
        self._writer.writeheader()

    def add(self, row):
        """Append a row, a dict with some of COLUMNS."""
        self.rows.append(row)
        self._writer.writerow(row)


def base_parameters(config, params, weights, seed):
    """The parameters that a run starts from: the checkpoint's ("pretrained"), or one of INITIALISATIONS."""
    return dict(params) if weights == "pretrained" else random_parameters(config, seed, weights)


def save_run(folder, settings, params, trainable):
    """Write model.safetensors, the trained parameters and the head, and run.json, in this order: a folder with run.json is finished.

    settings   a JSON-able dict with at least the settings that load_run reads back
    """
    kept = {name: array for name, array in params.items() if name in trainable or name.startswith("head.")}
    frozen = {name: array for name, array in params.items() if name not in kept}
    write_safetensors(Path(folder) / "model.safetensors", kept)
    with replacing(Path(folder) / "run.json") as file:
        file.write((json.dumps(settings | {"frozen_sha256": fingerprint(frozen)}, indent=2) + "\n").encode())


@dataclass
class Run:
    """A trained classifier, ready to classify."""

    config: Config
    params: dict
    encoding: object
    labels: list  # names, in the order of the logits
    position: str
    causal: bool
    padded_length: int  # tokens that every message is cut and padded to, or None

    def encode(self, texts):
        """A list of (T,) arrays of token ids, exactly as in training. Raises InputError for a text without tokens."""
        return encode(texts, self.encoding, self.padded_length, self.config.n_positions)


def load_run(folder):
    """The Run that save_run left in `folder`.

    Raises InputError where the folder holds no finished run, a file is damaged, or the model that the run was trained from is gone
    or has changed since: its answers would not be those that were measured.
    """
    folder = Path(folder)
    path = folder / "run.json"
    if not path.is_file():
        raise InputError(f"{folder}: not a finished run (no run.json in it); make one with: python -m numpygpt.train")
    try:
        settings = json.loads(path.read_bytes())
        model, weights, seed = settings["model"], settings["weights"], settings["seed"]
        labels, position, causal = settings["labels"], settings["position"], settings["causal"]
        padded_length, lora_scale, frozen_sha256 = settings["padded_length"], settings["lora_scale"], settings["frozen_sha256"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: damaged ({type(error).__name__}: {error}); train again") from None
    config, params, encoding = load_checkpoint(model)
    params = base_parameters(config, params, weights, seed)
    stored = open_safetensors(folder / "model.safetensors")
    shapes = {name: array.shape for name, array in params.items()}
    shapes |= {"head.weight": (config.n_embd, len(labels)), "head.bias": (len(labels),)}
    for name, tensor in stored.items():
        if name in shapes and tensor.shape != shapes[name]:
            raise InputError(f"{folder / 'model.safetensors'}: {name} is {tensor.shape}, expected {shapes[name]}; train again")
    frozen = {name: array for name, array in params.items() if name not in stored}
    if fingerprint(frozen) != frozen_sha256:
        raise InputError(f"{folder}: the weights of {model} are not those that the run was trained from; train again")
    params |= {name: tensor.read() for name, tensor in stored.items()}
    if lora_scale is not None:
        params, _ = merge(params, config, lora_scale)
    return Run(config, params, encoding, labels, position, causal, padded_length)
