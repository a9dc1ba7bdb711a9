"""Fine-tuning of the last block of GPT-2 124M, from the command to the last accuracy: 5 epochs and all evaluations.

Each run is a separate process, timed from start to end. `train --recipe book` pads the messages as the book does, and
is run once. `train --model gpt2 --data sms` is the default for this model: no padding, and the last token of the
message. It is repeated, also with the features (the rows of the frozen blocks) cached on disk by an earlier run.
PyTorch is the book's script (bench/book.py), run once; its time is computed from one of its five epochs, or from
20 steps with `--quick`. The next column is PyTorch with numpygpt's shortcuts, run whole, with the row's padding. The
limit is the time of the frozen blocks' matrix products, computed once for each distinct message, at sgemm's rate. Peak
memory is the largest resident set of the same processes.
"""

import csv
import json
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

from numpygpt.api.gpt import load
from numpygpt.system.command import Progress
from numpygpt.system.errors import InputError
from numpygpt.text.batches import encode, padded_length
from numpygpt.text.messages import read_messages
from numpygpt.text.split import balance, split
from numpygpt.training.experiments import run_process
from numpygpt.training.recipes import BOOK as RECIPE

from .machine import Rates, installed
from .results import Row, Section, last_line
from .turns import timed

REPETITIONS = 5
QUICK_STEPS = 20  # PyTorch's steps with --quick

BOOK, DEFAULT = "`train --recipe book`", "`train --model gpt2 --data sms`"
COMMANDS = {BOOK: ("--recipe", "book"), DEFAULT: ()}
PADDINGS = {BOOK: "longest", DEFAULT: "none"}
ON_DISK = f"{DEFAULT}, features on disk"


def measure(options):
    runs, fair, pytorch = defaultdict(list), defaultdict(list), None
    with TemporaryDirectory(prefix="bench-chapter-") as scratch:
        scratch = Path(scratch)
        commands = COMMANDS | {ON_DISK: (*COMMANDS[DEFAULT], "--features-cache", scratch / "features")}
        run_numpygpt(options, scratch / "fill", commands[ON_DISK])
        order = [BOOK, *(options.repetitions * [DEFAULT, ON_DISK])]
        progress = Progress("chapter", "runs")
        for done, what in enumerate(order):
            progress(done, len(order))
            runs[what].append(run_numpygpt(options, scratch / f"run-{done}", commands[what]))
            if what in PADDINGS and installed("torch"):
                fair[what].append(run_pytorch(options, scratch / "fair.json", shortcuts=PADDINGS[what]))
        if installed("torch"):
            epoch = fair[BOOK][0]["steps"] // RECIPE["epochs"]
            pytorch = run_pytorch(options, scratch / "peer.json", QUICK_STEPS if options.quick else epoch)
        progress.clear()
    rates = Rates()
    peer, notes = ([pytorch], _notes(runs, pytorch, fair)) if pytorch else ([], [])

    def row(what, unit, figure):
        return Row(what, unit, *([run[figure] for run in some] for some in (runs[what], peer, fair[what])))

    rows = [row(what, "s", "seconds") for what in commands]
    for each in rows[: len(PADDINGS)]:
        each.limit = products(options, PADDINGS[each.what]) / rates.products
    if runs[BOOK][0]["peak"] is not None:
        peaks = [row(what, "GB", "peak") for what in PADDINGS]
        rows += [replace(each, what=f"{each.what}, peak memory") for each in peaks]
    return Section("chapter", __doc__, rows, [rates.said(), *notes])


def products(options, pad):
    """Return the floating-point operations of the products of all blocks except the last, once per distinct message."""
    gpt = load(options.model)
    messages = balance(read_messages(options.data, book_quotes=pad == "longest"), 123)
    texts = split(messages, seed=123)[0]["Text"]
    most = gpt.config.n_positions
    lengths = [len(ids) for ids in encode(texts, gpt.encoding, None, most)]
    distinct = {
        ids.tobytes(): len(ids)
        for ids in encode(messages["Text"], gpt.encoding, padded_length(pad, lengths, most), most)
    }
    return sum(distinct.values()) * 24 * gpt.config.n_embd**2 * (gpt.config.n_layer - 1)


def run_numpygpt(options, folder, settings):
    """Run numpygpt.train in `folder`.

    Return {"seconds", "peak" (GB), "losses" {step: (training, validation)}, "accuracy"}.
    """
    command = ["numpygpt.train", "--model", options.model, "--data", options.data, "--out", folder]
    seconds, peak = timed(lambda: _run([*command, *settings]))
    with open(folder / "history.csv", newline="") as file:
        evaluated = [row for row in csv.DictReader(file) if row["train_loss"]]
    losses = {int(row["step"]): (float(row["train_loss"]), float(row["validation_loss"])) for row in evaluated}
    accuracy = json.loads((folder / "run.json").read_bytes())["accuracy"]
    return {"seconds": seconds, "peak": peak, "losses": losses, "accuracy": accuracy}


def run_pytorch(options, out, steps=None, shortcuts=None):
    """Run the book's script in PyTorch, and return the figures of `run_numpygpt`.

    With `steps` it stops early, and "seconds" is computed from the measured steps.
    """
    command = ["bench.pytorch", "book", options.model, options.data, out, *(["--steps", steps] if steps else [])]
    command += ["--shortcuts", shortcuts] if shortcuts else []
    seconds, peak = timed(lambda: _run(command))
    report = json.loads(out.read_bytes())
    report["losses"] = {int(step): losses for step, losses in report["losses"].items()}
    if steps:
        rest = seconds - sum(report["step_seconds"]) - sum(report["batch_seconds"])  # start, loading, encoding
        each = median(report["step_seconds"]), median(report["batch_seconds"])
        seconds = rest + report["steps"] * each[0] + report["batches"] * each[1]
    return report | {"seconds": seconds, "peak": peak}


def _run(command):
    """Run a module with this Python. Return the peak of its memory in GB, or None on Windows."""
    with TemporaryDirectory(prefix="bench-log-") as folder:
        log = Path(folder, "log")
        status, peak = run_process([sys.executable, "-m", *map(str, command)], log)
        if status:
            raise InputError(f"python -m {command[0]} ended with status {status}: {last_line(log)}")
    return peak and peak / 1e9


def _notes(runs, pytorch, fair):
    pairs = [(run, pytorch) for run in runs[BOOK]]
    pairs += [(ours, theirs) for what in PADDINGS for ours in runs[what] for theirs in fair[what]]
    differences = [
        np.subtract(ours["losses"][step], theirs["losses"][step]) for ours, theirs in pairs for step in theirs["losses"]
    ]
    worst = np.abs(differences).max()
    compared = 2 * len(fair[BOOK][0]["losses"])
    timed_steps, timed_batches = len(pytorch["step_seconds"]), len(pytorch["batch_seconds"])
    notes = [
        f"Same losses: over runs with the same padding, {compared} evaluation losses each, "
        f"the worst difference from PyTorch's, with and without shortcuts, is {worst:.1e}.",
        f"PyTorch's time is computed from {timed_steps} timed steps and {timed_batches} timed evaluation batches, "
        f"of {pytorch['steps']} and {pytorch['batches']}, not from a whole run.",
    ]
    for what in PADDINGS:
        notes.append(
            f"Final accuracies of {what}: numpygpt {_shares(runs[what][0])}; PyTorch {_shares(fair[what][0])}."
        )
    return notes


def _shares(run):
    return ", ".join(f"{name} {share:.2%}" for name, share in run["accuracy"].items())
