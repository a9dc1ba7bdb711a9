"""Run the book's additional experiments, and write their table."""

import csv
import io
import os
import shlex
import sys

from ..system.files import write_file
from ..system.single_process import LAUNCHERS, launched
from ..text.reading import as_options
from ..training.experiments import ROWS, SETS, Run, summaries
from ..training.recipes import BOOK


def run(args, ranks):
    if launched():
        from ..system.blas import threads  # without mpiexec this process does not load NumPy

        for name in [name for name in os.environ if name.startswith(LAUNCHERS)]:
            del os.environ[name]  # the processes that a rank starts are not ranks
        os.environ["OPENBLAS_NUM_THREADS"] = str(threads())
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
    title = "python -m numpygpt.experiments " + shlex.join(args.given)
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
        write_file(out / name, text)
