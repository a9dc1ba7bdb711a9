"""The rows of the table of experiments: how each is run, what it measures, and the summary over seeds."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

from ..system.errors import InputError
from ..system.files import write_file

SETS = ("training", "validation", "test")


@dataclass(frozen=True)
class Row:
    """One experiment: its number in the book's table, what varies, and the options of `train` for it.

    `model` is None for a row that runs with any model.
    """

    number: int
    varied: str
    options: str = ""
    model: str | None = None


# The book's script adds alpha * A @ B and does not divide alpha by the rank. Rows 11 and 12 have 16 times its --alpha.
ROWS = [
    Row(1, "reference: last token, last block, padded to the longest"),
    Row(2, "first token", "--position first"),
    Row(3, "only the head learns", "--trainable head"),
    Row(4, "last two blocks", "--trainable last_two_blocks"),
    Row(5, "all layers", "--trainable all"),
    Row(6, "gpt2-medium", "", "gpt2-medium"),
    Row(7, "gpt2-large", "", "gpt2-large"),
    Row(8, "gpt2-xl", "", "gpt2-xl"),
    Row(9, "gpt2-xl, all layers", "--trainable all", "gpt2-xl"),
    Row(10, "random weights, all layers", "--weights pytorch --trainable all"),
    Row(11, "LoRA of rank 16, counted 16 times", "--trainable lora --rank 16 --alpha 256"),
    Row(12, "gpt2-xl, LoRA of rank 16, counted 8 times", "--trainable lora --rank 16 --alpha 128", "gpt2-xl"),
    Row(13, "padded to the context length", "--pad context"),
    Row(14, "no padding, batches of 1", "--pad none --batch-size 1"),
    Row(15, "no padding, batches of 1, 8 to an update", "--pad none --batch-size 1 --accumulate 8"),
    Row(16, "no padding: last token of the message itself", "--pad none"),
    Row(17, "no causal mask", "--no-causal"),
    Row(18, "loss ignores label 50256, which no message has", "--ignore-index 50256"),
    Row(19, "mean of all positions", "--position mean"),
    Row(20, "one endoftext token after each message, which is read", "--pad end"),
]


@dataclass(frozen=True)
class Run:
    """One row with one seed, and its folder.

    A finished run's folder holds run.json, which `train` writes, and experiment.json, written after it.
    """

    row: Row
    seed: int
    out: Path
    arguments: tuple  # of train, all except --out

    @property
    def folder(self):
        return self.out / f"row-{self.row.number:02}-seed-{self.seed}"

    def result(self):
        """Return what a finished run measured, or None for an unfinished one.

        The result is a dict with accuracy, trained_parameters, seconds, peak_bytes (None if unknown). Raises InputError
        where the folder's run has other arguments, or its files are damaged.
        """
        try:
            experiment = json.loads((self.folder / "experiment.json").read_bytes())
            run = json.loads((self.folder / "run.json").read_bytes())
            made_with, result = experiment["arguments"], {"peak_bytes": experiment["peak_bytes"]}
            result |= {key: run[key] for key in ("accuracy", "trained_parameters", "seconds")}
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{self.folder} is damaged ({type(error).__name__}: {error}). Delete it, and the same command runs it "
                "again"
            ) from None
        if made_with != list(self.arguments):
            raise InputError(
                f"{self.folder} was run with {shlex.join(made_with)}. Choose another --out or delete the folder"
            )
        return result

    def perform(self):
        """Run the experiment, or resume it. Return None, or one line that says why it failed.

        It runs in a process of its own, whose peak of memory is measured. A resumed run's peak is that of its last
        process.
        """
        begun, finished = ((self.folder / name).exists() for name in ("settings.json", "run.json"))
        if self.folder.exists() and (finished or not begun):
            shutil.rmtree(self.folder)  # it finished but its peak was not written, or there is nothing to resume
            begun = False
        log = self.folder.with_suffix(".log")
        place = ["--resume" if begun else "--out", str(self.folder)]
        status, peak_bytes = run_process([sys.executable, "-m", "numpygpt.train", *self.arguments, *place], log)
        if status:
            last_line = log.read_text(encoding="utf-8", errors="replace").rstrip().split("\n")[-1]
            return f"{f'ended by signal {-status}' if status < 0 else last_line} (see {log})"
        write_file(
            self.folder / "experiment.json",
            json.dumps({"arguments": self.arguments, "peak_bytes": peak_bytes}, indent=2),
        )
        return None


def run_process(command_line, log):
    """Run a command, with its output in the file `log`. Return (exit status, peak of resident memory in bytes).

    The peak is None on Windows. Linux counts a process from its fork on, so the peak is at least what this process
    holds. That is little, as long as this process does not load NumPy.
    """
    with open(log, "wb") as file, subprocess.Popen(command_line, stdout=file, stderr=subprocess.STDOUT) as process:
        try:
            if not hasattr(os, "wait4"):
                return process.wait(), None
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        process.returncode = os.waitstatus_to_exitcode(status)
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2): macOS counts bytes
    return process.returncode, usage.ru_maxrss * unit


def summaries(results):
    """Return the table, a list of {column: value}, from {Run: result or None}. Rows without a finished run are left
    out."""
    table = []
    for row in sorted({run.row for run in results}, key=lambda row: row.number):
        found = [result for run, result in results.items() if run.row == row and result]
        if not found:
            continue
        summary = {"row": row.number, "varied": row.varied, "options": row.options, "seeds": len(found)}
        summary["trained_parameters"] = found[0]["trained_parameters"]
        for name in SETS:
            shares = [100 * result["accuracy"][name] for result in found]
            summary[f"{name}_mean"] = round(mean(shares), 2)
            summary[f"{name}_spread"] = round(stdev(shares), 2) if len(shares) > 1 else None
        summary["seconds"] = round(mean(result["seconds"] for result in found), 1)
        peaks = [result["peak_bytes"] for result in found]
        summary["peak_mb"] = None if None in peaks else round(max(peaks) / 1e6)
        table.append(summary)
    return table
