"""python -m numpygpt.experiments: run the book's additional experiments on any model and data, for one table."""

import argparse
import re
import sys
from pathlib import Path

from .system import command
from .system.settings import FINE_TUNING
from .text.reading import add_options
from .training.experiments import ROWS
from .training.launch import on_every_rank

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
    args = parser.parse_args(argv)
    args.given = sys.argv[1:] if argv is None else argv  # for the table's title
    return args


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


main = on_every_rank(command.main("experiments", arguments))


if __name__ == "__main__":
    command.run(main)
