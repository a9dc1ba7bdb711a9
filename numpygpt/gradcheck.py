"""python -m numpygpt.gradcheck: check every hand-written gradient, or those of a file of yours."""

import numpygpt.system.process  # noqa: F401  before NumPy

import json
import sys
from dataclasses import asdict
from time import sleep, strftime

import numpy as np

from .study.checking import check, described, progress
from .study.checking.verdict import Verdict
from .system import command
from .system.errors import InputError


def arguments(argv=None):
    parser = command.parser(
        "gradcheck",
        "Check every hand-written gradient against the complex-step derivative: of each operation, then of whole "
        "models. With FILE, check the operation in a file of yours: an exercise (python -m numpygpt.exercise), or any "
        "function of one of the forms\n"
        "\n"
        "    y, (dx, dweight, …) = f(x, weight, …)   a function of dy per float array\n"
        "    y, backward = f(x, weight, …)           a function of dy for all gradients\n"
        "\n"
        "In the first form each gradient is checked as soon as it is written. Arrays on the way are checked, too: "
        "`dscores` belongs to the forward pass's `scores`. The first wrong one is named with its line. The file runs "
        "in its own process and is never changed. `numpygpt.check` is the same for a notebook or a test. If the "
        "operation is no exercise, describe its arguments on the command line, or in "
        f"the file on lines with `{described.MARK}`:\n"
        "\n"
        f"{described.GRAMMAR}\n"
        "\n"
        "A complex step is f(x + ih): it adds a tiny imaginary number to one input. By Taylor's series its imaginary "
        "part is h f'(x), up to h^3, so Im f(x + ih) / h is the derivative. Unlike a finite difference it subtracts "
        "no two nearly equal numbers, so h can be 1e-30 and the derivative is right to the last digits.",
        [
            "python -m numpygpt.gradcheck",
            "python -m numpygpt.gradcheck layernorm.py --watch",
            "python -m numpygpt.gradcheck mine.py:scale 'x=(5,7)' 'factor=(7,)'",
            "python -m numpygpt.gradcheck --json class/*/layernorm.py > results.jsonl",
        ],
    )
    parser.add_argument("file", nargs="?", metavar="FILE[:FUNCTION]", help="the file to check, all of numpygpt if none")
    parser.add_argument("arguments", nargs="*", metavar="NAME=…", help="the function's arguments, if it is no exercise")
    parser.add_argument("--watch", action="store_true", help="check again whenever the file is saved; Ctrl-C ends it")
    parser.add_argument(
        "--json",
        action="store_true",
        help="print a line of JSON for each FILE, of which there may be many, with the table and the messages",
    )
    given = parser.parse_args(argv)
    if not given.file and (given.watch or given.json):
        parser.error(f"--{'watch' if given.watch else 'json'} needs a FILE")
    if given.watch and given.json:
        parser.error("--json checks once: omit --watch")
    return given


def main(argv=None):
    given = arguments(argv)
    if given.file is None:
        holds = check_everything()
    elif given.json:
        described_as = [text for text in given.arguments if "=" in text]
        files = [given.file, *(text for text in given.arguments if "=" not in text)]
        holds = all([show_json(file, described_as) for file in files])
    else:
        path, function = check.file_and_function(given.file)
        holds = check_file(path, function, given.arguments)
        if given.watch:
            watch(path, lambda: check_file(path, function, given.arguments))
    if not holds:
        sys.exit(1)


def verdict_of(path, function, texts):
    texts = texts or described.described_in(path)
    draws = described.draws(texts, np.random.default_rng(check.SEED)) if texts else None
    return check.check(path, function, draws)


def check_file(path, function, texts):
    verdict = verdict_of(path, function, texts)
    print("\n".join(verdict.lines), flush=True)
    if verdict.holds and not texts and (following := progress.next_after(path, function)):
        print(following, flush=True)
    return verdict.holds


def show_json(file, texts):
    """Print the verdict on a file as a line of JSON. A file that cannot be checked does not stop the others."""
    try:
        verdict = verdict_of(*check.file_and_function(file), texts)
    except InputError as error:
        verdict = Verdict(False, [str(error)])
    text = json.dumps({"file": file} | asdict(verdict))
    print(json.dumps(json.loads(text, parse_constant=lambda number: None)), flush=True)  # JSON has no NaN
    return verdict.holds


def watch(path, run):
    """run() whenever the file is saved, until Ctrl-C. What is wrong with the file is said, and ends nothing."""
    seen = _state(path)
    print(f"watching {path}; Ctrl-C ends it", flush=True)
    while True:
        sleep(0.2)
        now = _state(path)
        if now is None or now == seen:  # an editor may take a file away and put it back
            continue
        seen = now
        print(f"\n{strftime('%H:%M:%S')} saved", flush=True)
        try:
            run()
        except InputError as error:
            print(f"error: {error}", flush=True)


def _state(path):
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_size


def check_everything():
    """Check numpygpt itself, print a row for each gradient, and return whether all hold."""
    from .study.checking.cases import CHECKS  # all models

    wrong = []
    for title, bound, check_these in CHECKS:
        print(f"{title + f', at most {bound:.0e}':<40}{'numbers':>10}{'largest relative error':>26}")
        numbers, errors = {}, {}
        for row, count, error in check_these():
            numbers[row] = numbers.get(row, 0) + count
            errors.setdefault(row, []).append(error)
        for row, found in errors.items():
            holds = all(error <= bound for error in found)  # false for a NaN, too
            wrong += [] if holds else [row]
            print(f"  {row:<38}{numbers[row]:>10,}{max(found):>26.1e}{'' if holds else '  WRONG'}")
        print(flush=True)
    print(f"wrong: {', '.join(wrong)}" if wrong else "all gradients correct")
    return not wrong


if __name__ == "__main__":
    command.run(main)
