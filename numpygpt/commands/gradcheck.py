"""Check every hand-written gradient, or those of a file of the user's."""

import json
import sys
from dataclasses import asdict
from time import sleep, strftime

import numpy as np

from ..study.checking import check, described, progress
from ..study.checking.grammar import described_in
from ..study.checking.verdict import Verdict
from ..system.errors import InputError


def run(args):
    if args.file is None:
        holds = check_everything()
    elif args.json:
        described_as = [text for text in args.arguments if "=" in text]
        files = [args.file, *(text for text in args.arguments if "=" not in text)]
        holds = all([show_json(file, described_as) for file in files])
    else:
        path, function = check.file_and_function(args.file)
        holds = check_file(path, function, args.arguments)
        if args.watch:
            watch(path, lambda: check_file(path, function, args.arguments))
    if not holds:
        sys.exit(1)


def verdict_of(path, function, texts):
    texts = texts or described_in(path)
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
    from ..study.checking.cases import CHECKS  # all models

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
