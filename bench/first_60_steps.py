"""The first 60 steps of `numpygpt.train --recipe book` at 124M, side by side
with the book's script in PyTorch.

    python -m bench.first_60_steps SMSSpamCollection     # random weights
    python -m bench.first_60_steps SMSSpamCollection --model FOLDER

Needs torch, 4 GB of memory, and about ten minutes of one core. Exits with
status 1 if any loss differs by 1e-3 or more. first_60_steps.txt is such a
table, with random weights made by transformers.
"""

import argparse
import csv
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from numpygpt.system import command
from numpygpt.system.errors import InputError

from . import weights
from .machine import need

STEPS, BOUND = 60, 1e-3


def our_losses(model, data, out):
    """Return (losses of the steps, {step: (training loss, validation loss)}) from the history of numpygpt's run."""
    settings = ["--recipe", "book", "--epochs", "1", "--model", model, "--data", data, "--out", out]
    if status := subprocess.run([sys.executable, "-m", "numpygpt.train", *settings]).returncode:
        raise InputError(f"numpygpt.train ended with status {status}: see what it says above")
    with open(out / "history.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["loss"] and int(row["step"]) < STEPS]
    evaluated = [row for row in rows if row["train_loss"]]
    evaluations = {int(row["step"]): (float(row["train_loss"]), float(row["validation_loss"])) for row in evaluated}
    return [float(row["loss"]) for row in rows], evaluations


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="the UCI file SMSSpamCollection")
    parser.add_argument("--model", help="a Hugging Face folder (default: random weights)")
    args = parser.parse_args()
    need("torch")
    open(args.data).close()  # a missing file is an error now, not after the model is made
    from . import book

    with TemporaryDirectory() as folder:
        folder = Path(folder)
        if args.model is None:
            args.model = folder / "model"
            weights.make(args.model)
        losses, evaluations = our_losses(args.model, args.data, folder / "run")
        print("\nNow the same in PyTorch", flush=True)
        theirs = book.run(args.model, args.data, epochs=1, steps=STEPS)

    print(f"\n{'':<24}{'numpygpt':>12}{'PyTorch':>12}{'difference':>12}")
    differences = []

    def show(label, ours, theirs):
        differences.append(abs(ours - theirs))
        print(f"{label:<24}{ours:>12.6f}{theirs:>12.6f}{ours - theirs:>12.1e}")

    for step, pair in enumerate(zip(losses, theirs["step_losses"], strict=True)):
        show(f"step {step:02d}", *pair)
        both = evaluations.get(step, ()), theirs["losses"].get(step, ())
        for name, *pair in zip(("training", "validation"), *both, strict=step in evaluations):
            show(f"step {step:02d}, {name} loss", *pair)
    print(f"\nlargest difference of {len(differences)} losses: {max(differences):.1e} (allowed: below {BOUND:.0e})")
    if max(differences) >= BOUND:
        sys.exit(1)


if __name__ == "__main__":
    command.run(main)
