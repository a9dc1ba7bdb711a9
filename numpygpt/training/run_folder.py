"""The folder that a training run leaves: what was trained, and all that is needed to use it.

run.json            how to rebuild the classifier: the model, its labels, the padding, …; and the settings of the
training
model.safetensors   the trained parameters; the frozen ones stay where they came from
history.csv         the loss of every step, the evaluations, the accuracies
train.csv, validation.csv, test.csv    the three sets
evaluation.json     the figures of the trained classifier on test.csv: Evaluation.to_dict()
curves.png          the curves, where matplotlib is installed
settings.json       what the run was begun with; it is there from the beginning
resume.safetensors  where it stands, until it is finished
"""

import csv
import hashlib
import json
import os
from contextlib import suppress
from dataclasses import asdict
from itertools import count
from pathlib import Path

from ..checkpoints.safetensors import write_safetensors
from ..model.parameters import fingerprint
from ..system.errors import InputError
from ..system.files import lock, replacing
from .evaluation import Evaluation

RESUME = "resume.safetensors"

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
DECIDING = ("weights", "seed", "labels", "position", "causal", "padded_length", "lora_scale", "config")


def new_folder(out):
    """Make the folder `out`, which must not exist yet, or where that is None, the next free one of runs/001,
    runs/002, …"""
    for folder in [Path(out)] if out else (Path("runs") / f"{n:03d}" for n in count(1)):
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            pass
    raise InputError(f"{out} exists: choose another --out, or remove it; a run never overwrites another")


def begin_run(folder, settings: dict, held) -> None:
    """Write settings.json: from here on the run can be resumed. `held`, an ExitStack, keeps other processes off."""
    with replacing(Path(folder) / "settings.json") as file:
        file.write((json.dumps(settings, indent=2) + "\n").encode())
    _hold(folder, held)


def begun_run(folder) -> dict:
    """The settings of a run that was begun and is not finished. Raises InputError where there is none."""
    folder = Path(folder)
    try:
        settings = json.loads((folder / "settings.json").read_bytes())
        if not isinstance(settings, dict):
            raise ValueError("no JSON object")
    except (FileNotFoundError, NotADirectoryError):
        kind = "a run" if (folder / "run.json").exists() else "no run"
        raise InputError(f"{folder} holds {kind} that could go on: give a folder that numpygpt.train began") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{folder / 'settings.json'}: damaged ({error}); train again") from None
    if (folder / "run.json").exists() and not (folder / RESUME).exists():
        raise InputError(f"{folder} is finished: there is nothing to go on with")
    return settings


def reopen_run(folder, held) -> None:
    """Make the folder of a run that goes on what it was: without what a killed process left half-written, and not
    finished. `held` as in begin_run. Raises InputError where another process is at the run."""
    _hold(folder, held)
    for leftover in [*Path(folder).glob(".*.tmp"), Path(folder) / "run.json"]:
        leftover.unlink(missing_ok=True)


def _hold(folder, held):
    file = held.enter_context(open(Path(folder) / "settings.json", "rb"))
    with suppress(OSError):  # not every network's disk has locks
        if not lock(file):
            raise InputError(f"{folder} is being trained by another process: wait for its end, or end it")


class History:
    """history.csv, written row by row, so that a run that is interrupted leaves what it had."""

    def __init__(self, folder):
        self.path = Path(folder) / "history.csv"
        self._write("w", csv.DictWriter.writeheader)

    def add(self, row):
        """Append a row, a dict with some of COLUMNS."""
        self._write("a", lambda writer: writer.writerow(row))

    def sync(self):
        """Put all rows on the disk, as a power cut needs it."""
        with open(self.path, "r+b") as file:
            os.fsync(file.fileno())

    def _write(self, mode, write):
        with open(
            self.path, mode, newline=""
        ) as file:  # opened each time: nothing is left open, or unwritten, by an error
            write(csv.DictWriter(file, COLUMNS))


def write_evaluation(folder, evaluation: Evaluation) -> None:
    """evaluation.json, of the answers to the test set."""
    with replacing(Path(folder) / "evaluation.json") as file:
        file.write((json.dumps(evaluation.to_dict(), indent=2) + "\n").encode())


def save_run(folder, clf, settings: dict) -> None:
    """Write model.safetensors, the trained parameters and the head, and run.json, in this order: a folder with
    run.json is finished.

    settings   a JSON-able dict of what else shall stand in run.json

    Raises InputError for other settings, and where the folder has a run already.
    """
    folder = Path(folder)
    try:
        json.dumps({**settings})
    except (TypeError, ValueError) as error:
        raise InputError(f"settings: expected a dict that can be kept as JSON ({error})") from None
    if (folder / "run.json").exists():
        raise InputError(
            f"{folder} holds a run already: name another folder, or remove it; a run never overwrites another"
        )
    folder.mkdir(parents=True, exist_ok=True)
    kept = {name: a for name, a in clf.params.items() if name in clf.trainable or name.startswith("head.")}
    frozen = {name: array for name, array in clf.params.items() if name not in kept}
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
    with replacing(folder / "run.json") as file:
        file.write((json.dumps(settings, indent=2) + "\n").encode())


def run_sha256(settings, trained):
    """Of all in the folder that decides an answer: damage to it cannot go unnoticed, and load_run need not know its
    kinds."""
    deciding = json.dumps([settings[key] for key in DECIDING])
    return hashlib.sha256((deciding + fingerprint(trained)).encode()).hexdigest()


def recipe_of(folder) -> str | None:
    """Return the recipe that a finished run was trained with, or None for the default's. `load_run` has read the file
    before."""
    return json.loads((Path(folder) / "run.json").read_bytes()).get("recipe")
