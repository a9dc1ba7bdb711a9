"""The folder that a training run leaves: what was trained, and all that is needed to use it.

run.json            how to rebuild the classifier: the model, its labels, the padding, …; and the settings of the training
model.safetensors   the trained parameters; the frozen ones stay where they came from
history.csv         the loss of every step, the evaluations, the accuracies
train.csv, validation.csv, test.csv    the three sets
loss.png, accuracy.png                 the curves, where matplotlib is installed
"""

import csv
import hashlib
import json
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

from ..checkpoints.load import load_checkpoint
from ..checkpoints.safetensors import read_safetensors, write_safetensors
from ..model.config import Config
from ..model.lora import merge
from ..model.parameters import fingerprint, random_parameters
from ..system.errors import InputError
from ..system.files import replacing
from ..text.batches import encode

COLUMNS = (
    "epoch",
    "step",
    "examples",
    "loss",
    "train_loss",
    "validation_loss",
    "train_accuracy",
    "validation_accuracy",
)

# The settings that decide what a trained classifier answers, besides where its model now lies.
_DECIDING = ("weights", "seed", "labels", "position", "causal", "padded_length", "lora_scale", "config")


def new_folder(out):
    """Make the folder `out`, which must not exist yet, or where that is None, the next free one of runs/001, runs/002, …"""
    for folder in [Path(out)] if out else (Path("runs") / f"{n:03d}" for n in count(1)):
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            pass
    raise InputError(f"{out} exists: choose another --out, or remove it; a run never overwrites another")


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


def save_run(folder, settings, config, params, trainable):
    """Write model.safetensors, the trained parameters and the head, and run.json, in this order: a folder with run.json is finished.

    settings   a JSON-able dict with "model" and all of _DECIDING, but for the sizes, which are added here
    """
    kept = {name: array for name, array in params.items() if name in trainable or name.startswith("head.")}
    frozen = {name: array for name, array in params.items() if name not in kept}
    write_safetensors(Path(folder) / "model.safetensors", kept)
    settings = settings | {"config": asdict(config), "frozen_sha256": fingerprint(frozen)}
    settings["sha256"] = _sha256(settings, kept)
    with replacing(Path(folder) / "run.json") as file:
        file.write((json.dumps(settings, indent=2) + "\n").encode())


def _sha256(settings, trained):
    """Of all in the folder that decides an answer: damage to it cannot go unnoticed, and load_run need not know its kinds."""
    deciding = json.dumps([settings[key] for key in _DECIDING])
    return hashlib.sha256((deciding + fingerprint(trained)).encode()).hexdigest()


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
        model, frozen_sha256, sha256 = str(settings["model"]), settings["frozen_sha256"], settings["sha256"]
        weights, seed, labels, position, causal, padded_length, lora_scale, sizes = (settings[key] for key in _DECIDING)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: damaged ({type(error).__name__}: {error}); train again") from None
    trained = read_safetensors(folder / "model.safetensors")
    if _sha256(settings, trained) != sha256:
        raise InputError(f"{folder}: run.json or model.safetensors is not what the training wrote; train again")
    try:
        config, params, encoding = load_checkpoint(model)
    except InputError as error:
        raise InputError(
            f'{folder} needs the model that it was trained from. {error}. If it moved, correct "model" in {path}'
        ) from None
    params = base_parameters(config, params, weights, seed)
    frozen = {name: array for name, array in params.items() if name not in trained}
    if asdict(config) != sizes or fingerprint(frozen) != frozen_sha256:
        raise InputError(f"{folder}: the weights of {model} are not those that the run was trained from; train again")
    params |= trained
    if lora_scale is not None:
        params, _ = merge(params, config, lora_scale)
    return Run(config, params, encoding, labels, position, causal, padded_length)
