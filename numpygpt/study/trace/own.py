"""A learner's own operation in the trace: its lines, its numbers, and beside each wrong array the right one."""

import sys

import numpy as np

from ...system.errors import InputError
from .. import exercises
from ..checking import described
from ..checking.calls import gradients_of, name_of
from ..checking.check import SEED, existing, function_in, judged_file
from ..checking.errors import Source
from ..checking.exercise import is_float
from ..checking.grammar import described_in
from ..checking.learner import Stop, loaded
from ..checking.learner_process import does_not_run, on_one_line
from .recorder import Recorder
from .source import forget
from .trace import WATCHED, Step


def step_of_file(path, function=None) -> Step:
    """Return the Step of the operation in a file: an exercise, or one with `# gradcheck:` lines. Raises InputError."""
    path = existing(path).resolve()
    texts, name = described_in(path), function or function_in(path)
    if not texts and name not in exercises.NAMES:
        raise InputError(
            f"{path.name}: {name} is no exercise; describe its arguments on lines with `# gradcheck:` "
            "(see python -m numpygpt.gradcheck --help)"
        )
    draws = described.draws(texts, np.random.default_rng(SEED)) if texts else None
    found = judged_file(path, name, draws)  # in a process of its own, which ends if a loop does not
    if found[1] is None:
        raise nothing_to_trace(found[0])
    sys.path.insert(0, str(path.parent))  # the file may import others of its folder
    try:
        return own_step(loaded(path, name, Source(path.name, path.parent)), *found)
    except Stop as stop:
        raise InputError(on_one_line(does_not_run(stop.args[0] | {"draws": []}, path.name, []))) from None
    finally:
        sys.path.remove(str(path.parent))


def own_step(function, verdict, judge) -> Step:
    """Return the Step of a function of this process, from what its check found. Raises InputError if it fails."""
    name = name_of(function)
    if judge is None:
        raise nothing_to_trace(verdict)
    if not hasattr(function, "__code__"):
        raise InputError(f"{name}: only a function that returns its result and gradient functions can be traced")
    number = judge.shown_draw()
    draw, right = judge.draws[number], judge.rights[number]
    file = function.__code__.co_filename
    forget(file)
    copies = {n: np.array(a) if isinstance(a, np.ndarray) else a for n, a in draw.arguments.items()}
    with Recorder(lambda code: code.co_filename in WATCHED | {file}) as recorder:
        result = function(**copies)
        if not judge.is_step:
            gradients_of(result[1], np.array(right.dy)[()], catch=True)
    if not recorder.calls:
        raise InputError(f"{name}: its text is not at hand, so its lines cannot be shown")
    forward, *backward = recorder.calls
    at = judge.at(number) or {}
    gradients = {n: judge.given(number, n) for n in at if not judge.is_step and judge.problem(number, n) is None}
    arrays = {n: a for n, a in draw.arguments.items() if is_float(a)}
    settings = {n: a for n, a in draw.arguments.items() if n not in arrays}
    step = Step(
        name, function, arrays, {}, settings, result[0], 0, list(gradients), gradients, [forward], backward or None
    )
    step.dy, step.beside = right.dy, judge.beside(number)
    lines = [line for message in verdict.messages for line in message.splitlines() if not line.startswith(" ")]
    step.said = [f"The arguments: {draw.label}.", *lines]
    return step


def nothing_to_trace(verdict):
    """Return the InputError for a function that does not run."""
    return InputError(f"there is nothing to trace. {on_one_line(verdict.messages[-1])}")
