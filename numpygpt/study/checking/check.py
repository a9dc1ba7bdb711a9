"""Checks the operation in a learner's file: says the first thing that is wrong and, where it is a gradient, why."""

import ast
from pathlib import Path

import numpy as np

from ...system.errors import InputError
from .. import exercises
from .complex_step import complex_step
from .exercise import is_float
from .judge import Judge, Right, Verdict
from .learner import kept_arrays, products
from .learner_process import LIMIT, does_not_run, nothing_written, run

SEED = 1


def check(path, function=None, described=None, limit=LIMIT):
    """The Verdict on a function of a file. `described`: [Draw] of an operation that is no exercise, else None."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file (python -m numpygpt.exercise NAME writes an exercise)")
    name = function or _function_in(path)
    exercise = exercises.exercise(name) if described is None and name in exercises.NAMES else None
    if exercise is None and described is None:
        raise InputError(f"{path}: {name} is no exercise, so its arguments have to be described (see --help)")
    rng = np.random.default_rng(SEED)
    draws = exercise.draws(rng) if exercise else described
    rights = [right(exercise, draw, rng) for draw in draws] if exercise else None
    facts, arrays, printed, problem = run(path, name, draws, rights, limit)
    verdict = Verdict(False, [problem]) if problem else judged(path, exercise, name, draws, rights, facts, arrays)
    if printed:
        verdict.lines[:0] = [f"{path.name} prints:", *(f"  {line}" for line in printed[:5])]
    return verdict


def judged(path, exercise, name, draws, rights, facts, arrays):
    """The Verdict on what a learner's process found. rights is None where it found the derivatives, too."""
    problem = does_not_run(facts, path, draws) or nothing_written(facts, path)
    if problem is None and rights is None:
        rights, problem = derived(draws, arrays)
    if problem is None:
        return Judge(path, exercise, name, draws, rights, facts["draws"], arrays).verdict()
    return Verdict(False, [problem])


def _function_in(path):
    """The name of the function to check in a file where none is given: the file's own, or else its only one."""
    try:
        nodes = ast.parse(path.read_text(encoding="utf-8")).body
    except (SyntaxError, ValueError):  # the learner's process says so
        return path.stem
    names = [node.name for node in nodes if isinstance(node, ast.FunctionDef)]
    return names[0] if len(names) == 1 else path.stem


def right(exercise, draw, rng):
    """Return the Right of one draw of an exercise: the derivative, not the shipped gradients."""
    reference, arguments = exercise.function, draw.arguments
    if exercise.is_step:
        return Right(None, None, dict(zip(exercise.gradients, reference(**arguments))), {})
    y, back = reference(**arguments)
    dy = rng.standard_normal(np.shape(y))
    arrays = {name: a.astype(complex) for name, a in arguments.items() if is_float(a)}

    def loss(now):
        return (reference(**arguments | now)[0] * dy).sum()

    gradients = {name: complex_step(loss, arrays, name) for name in exercise.wanted(arguments)}
    count = products(reference, arguments, dy[()]) if exercise.asked else None
    kept = {name: a for name, a in kept_arrays(back).items() if is_float(a)}
    return Right(np.asarray(y), dy, gradients, kept, count)


def derived(draws, arrays):
    """(rights, problem) of an operation that is no exercise: its own derivative, if a complex step can find it."""
    rights = []
    for i, draw in enumerate(draws):
        gradients = {n: arrays[f"{i}/derivative/{n}"] for n, a in draw.arguments.items() if is_float(a)}
        for name, derivative in gradients.items():
            along, difference = arrays[f"{i}/differences/{name}"]
            if not abs(along - difference) <= 1e-4 * max(abs(along), abs(difference), np.abs(derivative).max()):
                return None, (
                    f"d{name}: no complex-step derivative can be taken: it gives {along:.6g} where a finite difference "
                    f"gives {difference:.6g}. The forward pass drops imaginary parts (abs, .real) or has a jump"
                )
        y = arrays[f"{i}/y"]
        rights.append(Right(y, arrays[f"{i}/dy"], gradients, {}))
    return rights, None
