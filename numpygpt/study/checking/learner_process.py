"""A learner's file, run in a process of its own: what is handed over, what comes back, and what may stop it."""

import json
import os
import pickle
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from ..exercises import NAMES
from .exercise import is_float

LIMIT = 10  # seconds for all draws together
NOT_COMPLEX = (
    "the check runs the forward pass with complex numbers; np.zeros(shape) and float() drop the imaginary part, "
    "np.zeros_like(x) keeps it"
)
FORGOTTEN = "the function ends without `return`, so its gradient is None"
START = 60  # seconds more, in which a busy machine starts Python


def handed(draw, right, seed):
    """What the learner's process gets to know of a draw."""
    dy = right.dy if right else None
    counted = right is not None and right.products is not None
    has_backward = right is None or right.y is not None
    gradients = right.gradients if right else None
    return dict(arguments=draw.arguments, dy=dy, right=gradients, seed=seed, backward=has_backward, count=counted)


def run(path, name, draws, rights, limit):
    """(facts, arrays, printed lines, problem) of a learner's process, which ends after `limit` seconds."""
    given = [handed(draw, right, i) for i, (draw, right) in enumerate(zip(draws, rights or [None] * len(draws)))]
    derive = [n for n, a in draws[0].arguments.items() if is_float(a)] if rights is None else []
    job = dict(path=str(path), function=name, draws=given, derive=derive, limit=limit)
    root = Path(__file__).parents[3]
    env = dict(os.environ, OPENBLAS_NUM_THREADS="1", PYTHONIOENCODING="utf-8", PYTHONDONTWRITEBYTECODE="1")
    env["PYTHONPATH"] = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.npz")
        command = [sys.executable, "-W", "ignore", "-m", f"{__package__}.learner", str(report)]
        most = limit + START
        try:
            done = subprocess.run(command, input=pickle.dumps(job), capture_output=True, env=env, timeout=most)
        except subprocess.TimeoutExpired:
            return None, {}, [], f"{path.name}: gave no answer within {most} seconds. Is the machine busy?"
        printed = done.stdout.decode("utf-8", "replace").splitlines()
        if report.exists():
            with np.load(report) as arrays:
                arrays = dict(arrays)
            return json.loads(str(arrays.pop("facts"))), arrays, printed, None
        stack = Path(f"{report}.stack")
        stack = stack.read_text(encoding="utf-8") if stack.exists() else ""
        if "Timeout" in stack:
            return None, {}, printed, _still_runs(stack, path, limit)
        message = done.stderr.decode("utf-8", "replace").strip().splitlines()
        why = f" ({message[-1]})" if message else ""
        return None, {}, printed, f"{path.name}: ended without a result, with status {done.returncode}{why}"


def _still_runs(stack, path, limit):
    at = [line for line in stack.splitlines() if f'{path.name}"' in line]
    line = f", at line {at[0].split('line ')[1].split()[0]}" if at else ""
    return f"{path.name}{line}: still runs after {limit} seconds, the limit for all draws. Does a loop not end?"


def does_not_run(facts, label, draws):
    """What stopped the file or the function, with the learner's line."""
    if "defined" in facts:
        has = f"it has {', '.join(facts['defined'])}" if facts["defined"] else "it has none"
        return f"{label}: there is no function {facts['no_function']} ({has})"
    for draw, fact in zip([None, *draws], [facts, *facts.get("draws", ())]):
        if "fails" in fact:
            return error_at(fact["fails"], f" ({draw.label})" if draw else "")
        if "not_complex" in fact:
            return error_at(fact["not_complex"], f" ({NOT_COMPLEX})")
        if "random" in fact:
            return f"{label}: two runs on the same arguments give different results. Make what is random an argument"
        if fact.get("y", {"type": "array"})["type"] not in ("array", "number"):
            return f"{label}: the result is a {fact['y']['type']}, not an array"
        if "no_pair" in fact:
            return f"{label}: {fact['no_pair']}. Return the result and its gradient functions: return y, (dx, …)"


def error_at(place, told=""):
    """Return one message on an error and the learner's line."""
    file, number, text, function, message = place
    line = f", line {number}" if number else ""
    inside = f", in {function}" if function and function != "<module>" else ""
    missing = re.search("No module named '(.*)'", message)
    if missing and missing[1] in NAMES:
        first = f"write it first: python -m numpygpt.exercise {missing[1]}"
        return f"{file}{line}: {missing[1]}.py is missing beside it; {first}"
    return f"{file}{line}{inside}: {message}{told}" + (f"\n    {text}" if text else "")


def on_one_line(message):
    """Return a message of error_at on one line: the learner's line comes after a colon."""
    return ": ".join(line.strip() for line in message.splitlines())


def nothing_written(facts, label):
    """What is said where no gradient is written yet, or a return is missing."""
    gradients = [gradient for fact in facts["draws"] for gradient in fact["gradients"]]
    line = next((g["forgotten"] for g in gradients if "forgotten" in g), None)
    if line and len(facts["draws"][0]["gradients"]) == 1:
        return f"{label}, line {line}: {FORGOTTEN}"
    if all(g["type"] == "None" for fact in facts["draws"] for g in fact["gradients"]):
        if unused := facts["draws"][0].get("unused"):
            return f"{label}: every gradient is None. {used_nowhere(unused)}"
        return f"{label}: nothing is written yet: every gradient is None. Write one, and check again"


def used_nowhere(unused):
    """Return a sentence on what is written and not returned."""
    (name, line), *_ = unused
    return f"{name}, line {line}, is written, but used nowhere: return it"
