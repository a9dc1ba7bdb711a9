"""python -m numpygpt.experiments: run the book's additional experiments on any model and data, for one table."""

import numpygpt.system.process  # noqa: F401  before NumPy

import argparse
import csv
import io
import os
import re
import shlex
import sys
from pathlib import Path

from .system import command
from .system.files import replacing
from .system.settings import FINE_TUNING
from .system.single_process import LAUNCHERS, SingleProcess, launched
from .text.reading import add_options, as_options
from .training.experiments import ROWS, SETS, Run, summaries
from .training.recipes import BOOK

OTHER_MODELS = sorted({row.model for row in ROWS if row.model})


def arguments(argv=None):
    rows = "\n".join(f"  {row.number:2} {row.varied}" + f"\n     {row.options}" * bool(row.options) for row in ROWS)
    parser = command.parser(
        "experiments",
        "Run the book's additional experiments: first token or last, which layers, what padding? Each row is "
        "numpygpt.train with other options, run once for every seed. The results make one table. Finished runs are "
        "kept: give the same command again to continue an interrupted table.\n\n"
        f"{rows}\n\n"
        "numpygpt.train balances and splits the messages. The script behind the book's published table shuffles "
        "them once more, so it trains and tests on other sets. This is one reason why its accuracies differ.",
        [
            "python -m numpygpt.experiments --rows 1,2 --seeds 123-127",
            "python -m numpygpt.experiments --model gpt2 --data sms -- --recipe book",
            "mpiexec -n 4 python -m numpygpt.experiments --seeds 123-127",
        ],
    )
    parser.add_argument("--rows", type=row_numbers, default=f"1-{len(ROWS)}", help="numbers and ranges, as in 1,4-6")
    parser.add_argument(
        "--seeds",
        type=numbers,
        default="123",
        help="seeds of the head and of the order of messages; each row runs once for every seed",
    )
    parser.add_argument("--model", default="mini", help="as in numpygpt.train, for rows without a model of their own")
    parser.add_argument(
        "--models",
        nargs="+",
        type=other_model,
        metavar="NAME[=PATH]",
        help=f"the larger models of rows {', '.join(str(row.number) for row in ROWS if row.model)}: "
        f"{', '.join(OTHER_MODELS)}, each from a folder or downloaded. Rows whose model is not given are left out",
    )
    parser.add_argument("--data", default="sample", help="as in numpygpt.train")
    add_options(parser)
    parser.add_argument("--lr", type=command.number(FINE_TUNING["lr"]), help="as in numpygpt.train")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/experiments"),
        help="the folder for the runs and the table (experiments.md and experiments.csv)",
    )
    parser.add_argument("settings", nargs="*", metavar="-- OPTION …", help="options of numpygpt.train, for every run")
    return parser.parse_args(argv)


def main(argv=None):
    if launched():
        share_out(argv)
    else:
        run_all(argv, SingleProcess())


def share_out(argv):
    """Share the runs among the ranks of mpiexec."""
    from .system.blas import threads  # imported here, because without mpiexec this process does not load NumPy
    from .training.ranks import on_every_rank

    def on_this_rank(argv, ranks):
        for name in [name for name in os.environ if name.startswith(LAUNCHERS)]:
            del os.environ[name]  # the processes that a rank starts are not ranks
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
    shared = [
        "--data",
        args.data,
        *as_options(args),
        *book,
        *(["--lr", str(args.lr)] if args.lr else []),
        *args.settings,
    ]
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


def brief(result):
    """Return the measurements of one run as one line."""
    accuracies = " / ".join(f"{result['accuracy'][name]:.2%}" for name in SETS)
    peak = f", {result['peak_bytes'] / 1e6:,.0f} MB" if result["peak_bytes"] else ""
    return f"{accuracies}, {result['seconds']:.1f} s{peak}"


def markdown(table):
    """Return the lines of a Markdown table of `summaries`. Its columns also line up when read as plain text."""
    sets = [f"{name}, %" for name in SETS]
    heads = ("row", "what varies", "seeds", "trained parameters", *sets, "seconds", "peak MB")
    cells = [
        (str(row["row"]), row["varied"], str(row["seeds"]), f"{row['trained_parameters']:,}")
        + tuple(share(row[f"{name}_mean"], row[f"{name}_spread"]) for name in SETS)
        + (f"{row['seconds']:.1f}", "" if row["peak_mb"] is None else f"{row['peak_mb']:,}")
        for row in table
    ]
    widths = [max(map(len, column)) for column in zip(heads, *cells)]
    # Words stand on the left of their column, numbers on the right.
    rule = ["-" * width if i == 1 else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    return [
        "| " + " | ".join(f"{text:{'<>'[i != 1]}{width}}" for i, (text, width) in enumerate(zip(row, widths))) + " |"
        for row in (heads, rule, *cells)
    ]


def share(mean, spread):
    return f"{mean:.2f}" if spread is None else f"{mean:.2f} ± {spread:.2f}"


def save_table(out, title, table, notes):
    """Write experiments.md, with the command that made it, and experiments.csv to the folder `out`."""
    about = [
        f"    {title}",
        "",
        *markdown(table),
        "",
        "Accuracies: mean ± standard deviation over the seeds. Seconds: mean. numpygpt.train balances and splits the",
        "messages. The book's published table of these experiments comes from a script that shuffles them once more",
        "before the split, and so uses other sets.",
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
    """Parse an option's text, for argparse: "1,4-6" -> [1, 4, 5, 6], sorted, without duplicates."""
    found = set()
    for part in text.split(","):
        bounds = re.fullmatch(r"\s*([0-9]{1,9})\s*(?:-\s*([0-9]{1,9})\s*)?", part)
        first, last = (int(bounds[1]), int(bounds[2] or bounds[1])) if bounds else (1, 0)
        if not first <= last < first + 1000:
            raise argparse.ArgumentTypeError(f"expected numbers and ranges such as 1,4-6, got {text!r}")
        found |= set(range(first, last + 1))
    return sorted(found)


def row_numbers(text):
    """Parse an option's text, for argparse, as numbers of ROWS."""
    found = numbers(text)
    unknown = set(found) - {row.number for row in ROWS}
    if unknown:
        raise argparse.ArgumentTypeError(f"the rows are 1 to {len(ROWS)}, got {min(unknown)}")
    return found


def other_model(text):
    """Parse an option's text, for argparse: "gpt2-xl=PATH" -> ("gpt2-xl", "PATH"). `train` downloads a name without a
    path."""
    name, _, folder = text.partition("=")
    if name not in OTHER_MODELS:
        raise argparse.ArgumentTypeError(
            f"expected NAME or NAME=PATH, with a NAME of {', '.join(OTHER_MODELS)}, got {text!r}"
        )
    return name, folder or name


if __name__ == "__main__":
    command.run(main)
