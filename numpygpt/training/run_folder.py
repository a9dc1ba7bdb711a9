"""The folder that a training run writes: the trained parameters, and everything needed to use them.

run.json            how to rebuild the classifier (the model, labels, padding, …), and the settings of the training
model.safetensors   the trained parameters; the frozen parameters stay in the pretrained model's files. Its tensor
                    seen_tokens, where it has one, has a bit for each token: whether a training message had it
history.csv         the loss of every step, the evaluations, the accuracies
train.csv, validation.csv, test.csv    the three sets
evaluation.json     the trained classifier's figures on test.csv: Evaluation.to_dict()
curves.png          the curves, where matplotlib is installed
epoch_N.safetensors    the trained parameters at the end of the last epochs, for `classify --because` (256 MB at most)
settings.json       the settings that the run started with, written at the start
resume.safetensors  the training state, until the run is finished
"""

import csv
import hashlib
import json
import os
from contextlib import suppress
from dataclasses import asdict
from itertools import count
from pathlib import Path

import numpy as np

from ..checkpoints.safetensors import write_safetensors
from ..model.parameters import fingerprint
from ..system.errors import InputError
from ..system.files import lock, write_file
from .evaluation import Evaluation

RESUME = "resume.safetensors"
SEEN_TOKENS = "seen_tokens"

COLUMNS = "epoch step examples loss train_loss validation_loss train_accuracy validation_accuracy".split()

# The settings that decide a trained classifier's answers. The path of its model is not among them: it may move.
DECIDING = ("weights", "seed", "labels", "position", "causal", "padded_length", "lora_scale", "config")


def new_folder(out):
    """Create the folder `out`, which must not exist. With None, create the next free one of runs/001, runs/002, …"""
    for folder in [Path(out)] if out else (Path("runs") / f"{n:03d}" for n in count(1)):
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            pass
    raise InputError(f"{out} already exists. Choose another --out or delete it")


def begin_run(folder, settings: dict, held) -> None:
    """Write settings.json, after which the run can be resumed.

    `held`, an ExitStack, locks the folder against other processes.
    """
    write_file(Path(folder) / "settings.json", json.dumps(settings, indent=2) + "\n")
    _hold(folder, held)


def begun_run(folder) -> dict:
    """Return the settings of an unfinished run. Raises InputError where the folder has none."""
    folder = Path(folder)
    try:
        settings = json.loads((folder / "settings.json").read_bytes())
        if not isinstance(settings, dict):
            raise ValueError("no JSON object")
    except (FileNotFoundError, NotADirectoryError):
        kind = "a run that cannot" if (folder / "run.json").exists() else "no run to"
        raise InputError(f"{folder} holds {kind} be resumed. Give a folder that numpygpt.train created") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{folder / 'settings.json'} is damaged ({error}). Train again") from None
    if (folder / "run.json").exists() and not (folder / RESUME).exists():
        raise InputError(f"{folder} is finished: there is nothing to resume")
    return settings


def reopen_run(folder, held) -> None:
    """Prepare an interrupted run for resuming: delete temporary files and `run.json`.

    `held` is begin_run's. Raises InputError where another process trains the run.
    """
    _hold(folder, held)
    for leftover in [*Path(folder).glob(".*.tmp"), Path(folder) / "run.json"]:
        leftover.unlink(missing_ok=True)


def _hold(folder, held):
    file = held.enter_context(open(Path(folder) / "settings.json", "rb"))
    with suppress(OSError):  # some network disks have no locks
        if not lock(file):
            raise InputError(f"{folder} is being trained by another process. Wait until it ends, or end it")


class History:
    """history.csv, written row by row, so that an interrupted run keeps its rows."""

    def __init__(self, folder):
        self.path = Path(folder) / "history.csv"
        self._write("w", csv.DictWriter.writeheader)

    def add(self, row):
        """Append a row, a dict with some of COLUMNS."""
        self._write("a", lambda writer: writer.writerow(row))

    def sync(self):
        """Sync the file to disk, so that its rows survive a power cut."""
        with open(self.path, "r+b") as file:
            os.fsync(file.fileno())

    def _write(self, mode, write):
        # Opened for each row: an error leaves no open file and no unwritten row.
        with open(self.path, mode, newline="") as file:
            write(csv.DictWriter(file, COLUMNS))


def write_evaluation(folder, evaluation: Evaluation) -> None:
    """Write the Evaluation on the test set to evaluation.json."""
    write_file(Path(folder) / "evaluation.json", json.dumps(evaluation.to_dict(), indent=2) + "\n")


def save_run(folder, clf, settings: dict) -> None:
    """Write model.safetensors, with the trained parameters and the head, and then run.json, which marks a finished run.

    settings   a JSON-able dict of further entries of run.json

    Raises InputError where `settings` is not JSON-able, or the folder already holds a run.
    """
    folder = Path(folder)
    try:
        json.dumps({**settings})
    except (TypeError, ValueError) as error:
        raise InputError(f"settings: expected a dict that JSON can store ({error})") from None
    if (folder / "run.json").exists():
        raise InputError(f"{folder} already holds a run. Choose another folder or delete it")
    folder.mkdir(parents=True, exist_ok=True)
    kept = {name: a for name, a in clf.params.items() if name in clf.trainable or name.startswith("head.")}
    frozen = {name: array for name, array in clf.params.items() if name not in kept}
    if clf.seen_tokens is not None:
        kept[SEEN_TOKENS] = np.packbits(clf.seen_tokens)
    write_safetensors(folder / "model.safetensors", kept)
    source = Path(clf.gpt.source)
    settings = settings | {
        "model": str(source.resolve()) if source.exists() else clf.gpt.source,
        "weights": clf.gpt.weights,
        "seed": clf.gpt.seed,
        "labels": clf.labels,
        "position": clf.pooling.position,
        "causal": clf.pooling.causal,
        "padded_length": clf.pad_to,
        "lora_scale": clf.lora_scale,
        "config": asdict(clf.config),
        "frozen_sha256": fingerprint(frozen),
    }
    settings["sha256"] = run_sha256(settings, kept)
    write_file(folder / "run.json", json.dumps(settings, indent=2) + "\n")


def run_sha256(settings, trained):
    """Return the SHA-256 of everything in the folder that decides an answer.

    load_run compares it, and so notices any damage.
    """
    deciding = json.dumps([settings[key] for key in DECIDING])
    return hashlib.sha256((deciding + fingerprint(trained)).encode()).hexdigest()


def recipe_of(folder) -> str | None:
    """Return the recipe of a finished run, or None for the default. Call `load_run` first, which checks the file.

    An exported classifier has none.
    """
    if not (Path(folder) / "run.json").exists():
        return None
    return json.loads((Path(folder) / "run.json").read_bytes()).get("recipe")
