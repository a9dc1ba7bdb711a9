"""The whole chapter, from the command to the last accuracy:
5 epochs of the last-block recipe, all evaluations, final accuracies.

Each run is a separate process, timed from start to end. The runs are `python -m numpygpt.train --recipe book` with the
book's padding and with none; both again with the features (the rows of the frozen blocks) cached on disk by an earlier
run of the same command; the book's script in PyTorch (bench/book.py), run once, with the book's padding; and PyTorch
with numpygpt's shortcuts, with either padding. The limit is the time of the frozen blocks' matrix products, computed
once for each distinct message, at sgemm's rate.
"""

import csv
import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

from numpygpt.api.gpt import load
from numpygpt.system.errors import InputError
from numpygpt.text.batches import encode, padded_length
from numpygpt.text.messages import read_messages
from numpygpt.text.split import balance, split

from .machine import Rates, installed
from .results import Row, Section
from .turns import timed

REPETITIONS = 3
QUICK_STEPS = 20  # PyTorch's steps with --quick

PADDINGS = {"book's padding": "longest", "`--pad none`": "none"}
ON_DISK = ", features on disk"


def measure(options):
    with TemporaryDirectory(prefix="bench-chapter-") as scratch:
        scratch = Path(scratch)
        commands = {what: ["--pad", pad] for what, pad in PADDINGS.items()}
        for what, pad in PADDINGS.items():
            commands[what + ON_DISK] = ["--pad", pad, "--features-cache", scratch / "features"]
            run_numpygpt(options, scratch / f"fill-{pad}", commands[what + ON_DISK])
        runs, pytorch, fair = {what: [] for what in commands}, None, {what: [] for what in PADDINGS}
        for repetition in range(options.repetitions):
            for number, (what, settings) in enumerate(commands.items()):
                runs[what].append(run_numpygpt(options, scratch / f"run-{repetition}-{number}", settings))
            if pytorch is None and installed("torch"):
                pytorch = run_pytorch(options, scratch / "peer.json", QUICK_STEPS if options.quick else None)
            for what, pad in PADDINGS.items():
                if installed("torch"):
                    fair[what].append(run_pytorch(options, scratch / "fair.json", shortcuts=pad))
    rates = Rates()
    peer, notes = ([pytorch["seconds"]], _notes(runs, pytorch, fair)) if pytorch else ([], [])
    rows = []
    for what in commands:
        row = Row(what, "s", [run["seconds"] for run in runs[what]], peer)
        if what in PADDINGS:
            row.fair = [run["seconds"] for run in fair[what]]
            row.limit = products(options, PADDINGS[what]) / rates.products
        rows.append(row)
    return Section("chapter", __doc__, rows, [rates.said(), *notes])


def products(options, pad):
    """Return the floating-point operations of the products of all blocks except the last, once per distinct message."""
    gpt = load(options.model)
    messages = balance(read_messages(options.data, book_quotes=True), 123)
    texts = split(messages, seed=123)[0]["Text"]
    most = gpt.config.n_positions
    lengths = [len(ids) for ids in encode(texts, gpt.encoding, None, most)]
    distinct = {
        ids.tobytes(): len(ids)
        for ids in encode(messages["Text"], gpt.encoding, padded_length(pad, lengths, most), most)
    }
    return sum(distinct.values()) * 24 * gpt.config.n_embd**2 * (gpt.config.n_layer - 1)


def run_numpygpt(options, folder, settings):
    """Run numpygpt.train in `folder`. Return {"seconds", "losses" {step: (training, validation)}, "accuracy"}."""
    command = ["numpygpt.train", "--recipe", "book", "--model", options.model, "--data", options.data, "--out", folder]
    seconds, _ = timed(lambda: _run([*command, *settings]))
    with open(folder / "history.csv", newline="") as file:
        evaluated = [row for row in csv.DictReader(file) if row["train_loss"]]
    losses = {int(row["step"]): (float(row["train_loss"]), float(row["validation_loss"])) for row in evaluated}
    return {
        "seconds": seconds,
        "losses": losses,
        "accuracy": json.loads((folder / "run.json").read_bytes())["accuracy"],
    }


def run_pytorch(options, out, steps=None, shortcuts=None):
    """Run the book's script in PyTorch, and return the figures of `run_numpygpt`.

    With `steps` it stops early, and "seconds" is computed from the measured steps.
    """
    command = ["bench.book", options.model, options.data, out, *(["--steps", steps] if steps else [])]
    command += ["--shortcuts", shortcuts] if shortcuts else []
    seconds, _ = timed(lambda: _run(command))
    report = json.loads(out.read_bytes())
    report["losses"] = {int(step): losses for step, losses in report["losses"].items()}
    if steps:
        rest = seconds - sum(report["step_seconds"]) - sum(report["batch_seconds"])  # start, loading, encoding
        each = median(report["step_seconds"]), median(report["batch_seconds"])
        seconds = rest + report["steps"] * each[0] + report["batches"] * each[1]
    return report | {"seconds": seconds}


def _run(command):
    """Run a module with this Python, with its output on our standard error."""
    finished = subprocess.run([sys.executable, "-m", *map(str, command)], stdout=sys.stderr)
    if finished.returncode:
        raise InputError(f"python -m {command[0]} ended with status {finished.returncode}: see what it says above")


def _notes(runs, pytorch, fair):
    padded = runs["book's padding"] + runs["book's padding" + ON_DISK]
    pairs = [(run, pytorch) for run in padded]
    pairs += [(ours, theirs) for what in PADDINGS for ours in runs[what] for theirs in fair[what]]
    differences = [
        np.subtract(ours["losses"][step], theirs["losses"][step]) for ours, theirs in pairs for step in theirs["losses"]
    ]
    worst = np.abs(differences).max()
    notes = [
        f"Same losses: over runs with the same padding, {2 * len(pytorch['losses'])} evaluation losses each, "
        f"the worst difference from PyTorch's, with and without shortcuts, is {worst:.1e}."
    ]
    if pytorch["accuracy"]:
        notes.append(f"Final accuracies: numpygpt {_shares(padded[0])}; PyTorch {_shares(pytorch)}.")
    else:
        timed_steps, timed_batches = len(pytorch["step_seconds"]), len(pytorch["batch_seconds"])
        notes.append(
            f"PyTorch's time is computed from {timed_steps} timed steps and {timed_batches} timed evaluation batches, "
            f"of {pytorch['steps']} and {pytorch['batches']} (`--quick`), not from a whole run."
        )
    return notes


def _shares(run):
    return ", ".join(f"{name} {share:.2%}" for name, share in run["accuracy"].items())
