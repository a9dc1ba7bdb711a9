"""The run that everybody sees first, `python -m numpygpt.train`: the bundled `mini` on the bundled sample.

PyTorch follows the same recipe (bench/small.py): two blocks, the mean of a message's rows, three epochs, label
smoothing, a cosine, evaluations every 50 steps and at the end. Each batch is padded to its longest message; AdamW is
fused. The next column keeps the frozen block's rows of each message, as numpygpt does. "Whole process" is from the
command to its exit. "Without starting and loading" begins when weights and messages are in memory and encoded.
numpygpt's run also writes the run folder, trains naive Bayes, and draws the curves where matplotlib is installed.

The limit is the blocks' matrix products at sgemm's rate: the frozen block once for each message; the two others forward
in each evaluation, and forward and for two gradients in each step.
"""

import csv
import json
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from numpygpt.api.gpt import load
from numpygpt.system.errors import InputError
from numpygpt.system.settings import SMALLEST
from numpygpt.text.batches import encode
from numpygpt.text.messages import read_messages
from numpygpt.text.selection import select
from numpygpt.text.sources import find_messages
from numpygpt.text.split import shares
from numpygpt.training.recipes import SMALL

from .machine import Rates, installed
from .results import Row, Section
from .step import FAIR
from .turns import in_turns

REPETITIONS = 5
MODEL, DATA = "mini", "sample"
BATCH, EVAL_EVERY, EVAL_BATCHES = 8, 50, 5  # numpygpt.train's defaults


def measure(options):
    sides = {"numpygpt": run_numpygpt}
    if installed("torch"):
        sides |= {"PyTorch": run_pytorch, FAIR: partial(run_pytorch, "--shortcuts", "none")}
    runs = in_turns(sides, options.repetitions, "default")
    rates, whole, later = Rates(), [], []
    for name in ("numpygpt", "PyTorch", FAIR):
        whole.append([seconds for seconds, _ in runs.get(name, [])])
        later.append([seconds for _, (seconds, _) in runs.get(name, [])])
    limit = products() / rates.products
    rows = [
        Row("whole process", "s", *whole, limit=limit),
        Row("without starting and loading", "s", *later, limit=limit),
    ]
    notes = [rates.said()]
    if installed("torch"):
        ours, *others = ([losses for _, (_, losses) in runs[name]] for name in runs)
        worst = max(np.abs(np.subtract(*pair)).max() for other in others for pair in zip(ours, other))
        notes.append(
            f"Same losses: over {len(ours[0])} losses of a run, the worst difference from PyTorch's is {worst:.1e}."
        )
    return Section("default", __doc__, rows, notes)


def run_numpygpt():
    """Run numpygpt.train. Return (seconds without starting and loading, the losses of all steps and evaluations)."""
    with TemporaryDirectory(prefix="bench-default-") as folder:
        out = Path(folder, "run")
        command = ["numpygpt.train", "--model", MODEL, "--data", DATA, "--out", out]
        seconds = seconds_after("results", command)
        with open(out / "history.csv", newline="") as file:
            rows = list(csv.DictReader(file))
    evaluated = [row for row in rows if row["train_loss"]]
    of_steps = [float(row["loss"]) for row in rows if row["loss"]]
    return seconds, of_steps + [float(row[f"{part}_loss"]) for part in ("train", "validation") for row in evaluated]


def run_pytorch(*shortcuts):
    """Run bench/small.py. Return the same."""
    with TemporaryDirectory(prefix="bench-default-") as folder:
        out = Path(folder, "report.json")
        seconds = seconds_after("started", ["bench.pytorch", "small", MODEL, find_messages(DATA), out, *shortcuts])
        report = json.loads(out.read_bytes())
    evaluated = zip(*report["losses"].values())
    return seconds, [*report["step_losses"], *(loss for part in evaluated for loss in part)]


def seconds_after(word, command):
    """Run a module with this Python. Return the seconds from the line that begins with the word to the end."""
    line = [sys.executable, "-m", *map(str, command)]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=sys.stderr, text=True) as process:
        began = None
        for printed in process.stdout:
            if printed.startswith(word):
                began = time.perf_counter()
    if process.returncode or began is None:
        raise InputError(f"python -m {command[0]} ended with status {process.returncode}: see what it says above")
    return time.perf_counter() - began


def products():
    """Return the floating-point operations of the products of the run's blocks.

    A batch of a step or an evaluation counts with the mean length of its set's messages.
    """
    gpt, path = load(MODEL), find_messages(DATA)
    config = gpt.config
    sets, _ = select(read_messages(path), SMALLEST, 123, shares(path))
    tokens = [sum(map(len, encode(part["Text"], gpt.encoding, None, config.n_positions))) for part in sets]
    training, validation = (count / len(part) * BATCH for count, part in zip(tokens, sets[:2]))  # tokens of a batch
    steps = SMALL["epochs"] * (len(sets[0]) // BATCH)
    evaluations = EVAL_BATCHES * (-(-steps // EVAL_EVERY) + SMALL["epochs"])
    learning = 3 * steps * training + evaluations * (training + validation) + sum(tokens)
    return 24 * config.n_embd**2 * ((config.n_layer - 2) * sum(tokens) + 2 * learning)
