"""python -m bench: measure numpygpt beside PyTorch."""

import os
import re
import sys
import textwrap
from pathlib import Path
from tempfile import TemporaryDirectory

from numpygpt.system import command
from numpygpt.system.errors import InputError
from numpygpt.system.settings import Number
from numpygpt.text.sources import find_messages

from . import machine, weights
from .chapter import QUICK_STEPS
from .results import write_section
from .subjects import SUBJECTS, section
from .turns import fresh


def arguments(argv=None):
    summaries = []
    for name, module in SUBJECTS.items():
        said = " ".join(module.__doc__.split("\n\n")[0].split())
        summaries.append(textwrap.fill(said, 78, initial_indent=f"  {name:<11} ", subsequent_indent=" " * 14))
    parser = command.parser(
        "bench",
        "Measure numpygpt beside PyTorch, where that is installed (pip install torch transformers): the same work, "
        "from the same weights, in turns, several times. Prints tables, and writes them to bench/RESULTS.md, each "
        "subject's in the place of its last.\n\n"
        "subjects (all, unless named):\n" + "\n".join(summaries) + "\n\n"
        "On 2 cores all of it takes about three quarters of an hour, half of which is the chapter. "
        "Let nothing else run meanwhile.",
        ["python -m bench step forward", "python -m bench chapter --data SMSSpamCollection --quick"],
    )
    parser.prog = "python -m bench"
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help="what to measure")
    parser.add_argument(
        "--data",
        default="sms",
        help="messages for chapter and neighbour: the UCI file SMSSpamCollection, or sms to download it",
    )
    parser.add_argument(
        "--model", help="a GPT-2 folder (default: one of 124M's sizes with random weights, made for this run)"
    )
    parser.add_argument(
        "--repetitions",
        type=command.number(Number(int, 1)),
        help="how often each side runs (default: 5; language, operations and pretrain 10; memory 2)",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"time {QUICK_STEPS} steps of PyTorch's chapter, instead of one epoch, and compute the rest from them",
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("RESULTS.md"), help="the file of results")
    args = parser.parse_args(argv)
    for name in args.subjects:
        if name not in SUBJECTS:
            parser.error(f"{name}: no such subject; there are {', '.join(SUBJECTS)}")
    args.subjects = args.subjects or list(SUBJECTS)
    return args


def main():
    args = arguments()
    if found := machine.overrides(os.environ):
        print(f"measuring without {', '.join(found)}, set here: each library shall choose for itself", file=sys.stderr)
        clean = {name: value for name, value in os.environ.items() if name not in found}
        os.execve(sys.executable, sys.orig_argv, clean)  # libraries read these variables when loaded, so restart
    if {"chapter", "neighbour"} & set(args.subjects):
        args.data = str(find_messages(args.data))
        if not Path(args.data).is_file():
            raise InputError(
                f"{args.data}: no such file; --data is the UCI file SMSSpamCollection, or sms to download it"
            )
    with TemporaryDirectory(prefix="bench-weights-") as folder:
        args.weights = Path(args.model).name if args.model else weights.NAME
        if not args.model:
            args.model = folder
            fresh(weights.make, folder)
        for subject in args.subjects:
            text = fresh(section, subject, args, command_line())
            write_section(args.out, text)
            print(text, flush=True)


def command_line():
    """Return the given command, with only the names of files, whose folders differ between machines."""
    return " ".join(["python -m bench", *(re.sub(r"[^=]*[/\\]", "", argument) for argument in sys.argv[1:])])


if __name__ == "__main__":
    command.run(main)
