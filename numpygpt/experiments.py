"""python -m numpygpt.experiments: run the book's additional experiments on any model and data, for one table."""

import numpygpt.system.process  # noqa: F401  before NumPy

import argparse
import csv
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

from .system import command
from .system.errors import InputError
from .system.files import replacing
from .system.settings import FINE_TUNING
from .system.single_process import LAUNCHERS, SingleProcess, launched
from .training.recipes import BOOK


@dataclass(frozen=True)
class Row:
    """One experiment: its number in the book's table, what varies, the options of `train` for that, and the model if
    it needs its own."""

    number: int
    varied: str
    options: str = ""
    model: str | None = None


# Rows 11 and 12 add alpha * A @ B in the book's script, where alpha is not divided by the rank: --alpha is 16 times
# theirs.
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
    Row(18, "loss ignores label 50256, which there is not", "--ignore-index 50256"),
    Row(19, "mean of all positions", "--position mean"),
    Row(20, "one endoftext token after each message, which is read", "--pad end"),
]
OTHER_MODELS = sorted({row.model for row in ROWS if row.model})
SETS = ("training", "validation", "test")


def arguments(argv=None):
    rows = "\n".join(f"  {row.number:2} {row.varied}" + f"\n     {row.options}" * bool(row.options) for row in ROWS)
    parser = command.parser(
        "experiments",
        "Ask the questions of the book's table of additional experiments: first token or last, which layers, "
        "what padding? Each row is numpygpt.train with other options, once for every seed, and becomes a line of "
        "one table. What is finished is kept: the same command goes on where it was interrupted.\n\n"
        f"{rows}\n\n"
        "The messages are balanced and split as in the book's main chapter. The script behind the published table "
        "shuffles them once more, so it trains and tests on other sets, and its accuracies differ from these for "
        "that reason too.",
        [
            "python -m numpygpt.experiments --rows 1,2 --seeds 123-127",
            "python -m numpygpt.experiments --model gpt2 --data sms -- --recipe book",
            "mpiexec -n 4 python -m numpygpt.experiments --seeds 123-127",
        ],
    )
    parser.add_argument(
        "--rows", type=row_numbers, default=f"1-{len(ROWS)}", help="numbers and ranges, separated by commas"
    )
    parser.add_argument(
        "--seeds",
        type=numbers,
        default="123",
        help="one run of each row for every seed, which draws the head and the "
        "order of messages: numbers and ranges, separated by commas",
    )
    parser.add_argument(
        "--model", default="mini", help="as in numpygpt.train, for all rows that do not need a model of their own"
    )
    parser.add_argument(
        "--models",
        nargs="+",
        type=other_model,
        metavar="NAME[=PATH]",
        help="the larger models of rows "
        f"{', '.join(str(row.number) for row in ROWS if row.model)}: {', '.join(OTHER_MODELS)}, in a folder or "
        f"downloaded. "
        "Rows whose model is not given are left out",
    )
    parser.add_argument("--data", default="sample", help="as in numpygpt.train")
    parser.add_argument(
        "--lr", type=command.number(FINE_TUNING["lr"]), help="learning rate (default: numpygpt.train's)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/experiments"),
        help="the folder of the runs, and of the table: experiments.md and experiments.csv",
    )
    parser.add_argument(
        "settings", nargs="*", metavar="-- OPTION …", help="more options of numpygpt.train, for every run"
    )
    return parser.parse_args(argv)


def main(argv=None):
    if launched():
        share_out(argv)
    else:
        run_all(argv, SingleProcess())


def share_out(argv):
    """Under mpiexec the ranks share the runs."""
    from .system.blas import threads  # here: without mpiexec this program does without NumPy
    from .training.ranks import on_every_rank

    def on_this_rank(argv, ranks):
        for name in [name for name in os.environ if name.startswith(LAUNCHERS)]:
            del os.environ[name]  # what a rank starts is none itself
        os.environ["OPENBLAS_NUM_THREADS"] = str(threads())
        run_all(argv, ranks)

    on_every_rank(on_this_rank)(argv)


def run_all(argv, ranks):
    args = arguments(argv)
    models = {None: args.model} | dict(args.models or ())
    rows = [row for row in ROWS if row.number in args.rows]
    lacking = [row for row in rows if row.model not in models]
    notes = [f"Row {row.number} is left out: it needs --models {row.model}, or {row.model}=PATH." for row in lacking]
    book = [f"--{name.replace('_', '-')}={value}" for name, value in BOOK.items()]
    shared = ["--data", args.data, *book, *(["--lr", str(args.lr)] if args.lr else []), *args.settings]
    runs = [
        Run(row, seed, args.out, ("--model", models[row.model], *shared, *row.options.split(), "--seed", str(seed)))
        for seed in args.seeds
        for row in rows
        if row not in lacking
    ]
    title = "python -m numpygpt.experiments " + shlex.join(sys.argv[1:] if argv is None else argv)
    unfinished = [(place, run) for place, run in enumerate(runs, start=1) if run.result() is None]
    ranks.once(lambda: args.out.mkdir(parents=True, exist_ok=True))

    def save():
        save_table(args.out, title, summaries({run: run.result() for run in runs}), notes)

    def perform(place_and_run):
        place, run = place_and_run
        print(f"{place} of {len(runs)}: row {run.row.number}, {run.row.varied}, seed {run.seed}: ", end="", flush=True)
        failure = run.perform()
        if failure:
            notes.append(f"Row {run.row.number}, seed {run.seed} failed: {failure}")
        print(failure or brief(run.result()), flush=True)
        if not ranks.rank:
            save()
        return failure

    failed = any(ranks.map(perform, unfinished, [1] * len(unfinished)))
    notes = list(dict.fromkeys(note for some in ranks.gather(notes) for note in some))
    if not ranks.rank:
        save()
        print("\n" + (args.out / "experiments.md").read_text(encoding="utf-8"))
    if failed:
        sys.exit(1)


@dataclass(frozen=True)
class Run:
    """One row with one seed, and its folder. A finished one has train's run.json, and experiment.json, written after
    it."""

    row: Row
    seed: int
    out: Path
    arguments: tuple  # of train, all but --out

    @property
    def folder(self):
        return self.out / f"row-{self.row.number:02}-seed-{self.seed}"

    def result(self):
        """What a finished run has measured: a dict with accuracy, trained_parameters, seconds, peak_bytes (None if
        unknown); else None.

        Raises InputError where the folder's run was made with other arguments, or its files are damaged.
        """
        try:
            experiment = json.loads((self.folder / "experiment.json").read_bytes())
            run = json.loads((self.folder / "run.json").read_bytes())
            made_with, peak_bytes = experiment["arguments"], experiment["peak_bytes"]
            result = {key: run[key] for key in ("accuracy", "trained_parameters", "seconds")} | {
                "peak_bytes": peak_bytes
            }
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{self.folder}: damaged ({type(error).__name__}: {error}); remove it, and it is run again"
            ) from None
        if made_with != list(self.arguments):
            raise InputError(f"{self.folder} was run with {shlex.join(made_with)}: choose another --out, or remove it")
        return result

    def perform(self):
        """Run it, or what is left of it, in a process of its own, so that its peak of memory is its own too (of what
        was left). Returns None, or in one line why it failed."""
        begun, finished = ((self.folder / name).exists() for name in ("settings.json", "run.json"))
        if self.folder.exists() and (finished or not begun):
            shutil.rmtree(self.folder)  # its peak was not written, or there is nothing to go on with
            begun = False
        log = self.folder.with_suffix(".log")
        place = ["--resume" if begun else "--out", str(self.folder)]
        command_line = [sys.executable, "-m", "numpygpt.train", *self.arguments, *place]
        status, peak_bytes = run_process(command_line, log)
        if status:
            last_line = log.read_text(encoding="utf-8", errors="replace").rstrip().split("\n")[-1]
            return f"{f'ended by signal {-status}' if status < 0 else last_line} (see {log})"
        with replacing(self.folder / "experiment.json") as file:
            file.write(json.dumps({"arguments": self.arguments, "peak_bytes": peak_bytes}, indent=2).encode())
        return None


def run_process(command_line, log):
    """(exit status, peak of resident memory in bytes) of a command whose output goes to the file `log`; no peak,
    None, on Windows.

    Linux counts a process from its fork on, so the peak is at least what this one holds: little, as long as it does
    not load NumPy.
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
    """The table as a list of {column: value}, a row for each Row that has finished runs, from {Run: result or None}."""
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


def markdown(table):
    """The lines of a Markdown table of `summaries`, in columns that line up also when they are read as plain text."""
    heads = (
        "row",
        "what varies",
        "seeds",
        "trained parameters",
        *(f"{name}, %" for name in SETS),
        "seconds",
        "peak MB",
    )
    cells = [
        (str(row["row"]), row["varied"], str(row["seeds"]), f"{row['trained_parameters']:,}")
        + tuple(f"{row[f'{name}_mean']:.2f}" + spread(row[f"{name}_spread"]) for name in SETS)
        + (f"{row['seconds']:.1f}", "" if row["peak_mb"] is None else f"{row['peak_mb']:,}")
        for row in table
    ]
    widths = [max(map(len, column)) for column in zip(heads, *cells)]
    rule = [
        "-" * width if i == 1 else "-" * (width - 1) + ":" for i, width in enumerate(widths)
    ]  # words left, numbers right
    columns = [(str.ljust if i == 1 else str.rjust, width) for i, width in enumerate(widths)]
    return [
        "| " + " | ".join(align(text, width) for text, (align, width) in zip(row, columns)) + " |"
        for row in (heads, rule, *cells)
    ]


def spread(value):
    return "" if value is None else f" ± {value:.2f}"


def brief(result):
    """The measurements of one run, in a line."""
    accuracies = " / ".join(f"{result['accuracy'][name]:.2%}" for name in SETS)
    return f"{accuracies}, {result['seconds']:.1f} s" + (
        f", {result['peak_bytes'] / 1e6:,.0f} MB" if result["peak_bytes"] else ""
    )


def save_table(out, title, table, notes):
    """Write experiments.md, with the command that made it, and experiments.csv to the folder `out`."""
    about = [
        f"    {title}",
        "",
        *markdown(table),
        "",
        "Accuracies: mean ± standard deviation over the seeds. Seconds: mean. Sets: balanced and split as in "
        "the book's main chapter; the",
        "published table of these experiments comes from a script that shuffles once more before the split, and "
        "so from other sets.",
        *([""] if notes else []),
        *(f"- {note}" for note in notes),
    ]
    sheet = io.StringIO(newline="")
    if table:
        writer = csv.DictWriter(sheet, table[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)
    for name, text in (("experiments.md", "\n".join([*about, ""])), ("experiments.csv", sheet.getvalue())):
        with replacing(out / name) as file:
            file.write(text.encode())


def numbers(text):
    """An argparse type: "1,4-6" -> [1, 4, 5, 6], sorted, each once."""
    found = set()
    for part in text.split(","):
        bounds = re.fullmatch(r"\s*([0-9]{1,9})\s*(?:-\s*([0-9]{1,9})\s*)?", part)
        first, last = (int(bounds[1]), int(bounds[2] or bounds[1])) if bounds else (1, 0)
        if not first <= last < first + 1000:
            raise argparse.ArgumentTypeError(f"expected numbers and ranges such as 1,4-6, got {text!r}")
        found |= set(range(first, last + 1))
    return sorted(found)


def row_numbers(text):
    """An argparse type: numbers of ROWS."""
    found = numbers(text)
    unknown = set(found) - {row.number for row in ROWS}
    if unknown:
        raise argparse.ArgumentTypeError(f"the rows are 1 to {len(ROWS)}, got {min(unknown)}")
    return found


def other_model(text):
    """An argparse type: "gpt2-xl=PATH" -> ("gpt2-xl", "PATH"). A name alone is what train shall download."""
    name, _, folder = text.partition("=")
    if name not in OTHER_MODELS:
        raise argparse.ArgumentTypeError(
            f"expected NAME or NAME=PATH, with a NAME of {', '.join(OTHER_MODELS)}, got {text!r}"
        )
    return name, folder or name


if __name__ == "__main__":
    command.run(main)
