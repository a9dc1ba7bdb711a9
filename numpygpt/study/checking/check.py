"""Checks a learner's operation: says the first thing that is wrong and, where it is a gradient, why."""

import ast
import inspect
import warnings
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np

from ...system.errors import InputError
from .. import exercises
from .calls import kept_arrays, name_of, products
from .complex_step import complex_step
from .errors import Source
from .exercise import Draw, is_float, sizes_of
from .judge import Judge, Right
from .learner import facts_of_draws
from .learner_process import LIMIT, does_not_run, handed, nothing_written, run
from .verdict import Verdict

SEED = 1
MOST = 20_000  # entries of sample arguments


def check(path, function=None, described=None, limit=LIMIT):
    """The Verdict on a function of a file. `described`: [Draw] of an operation that is no exercise, else None."""
    return judged_file(path, function, described, limit)[0]


def judged_file(path, function=None, described=None, limit=LIMIT):
    """(Verdict, Judge) of a function of a file. The Judge is None where the function does not run."""
    path = existing(path)
    name = function or function_in(path)
    exercise = exercises.exercise(name) if described is None and name in exercises.NAMES else None
    if exercise is None and described is None:
        raise InputError(f"{path}: {name} is no exercise, so its arguments have to be described (see --help)")
    draws, rights = drawn(exercise, described)
    facts, arrays, printed, problem = run(path, name, draws, rights, limit)
    verdict, judge = Verdict(False, [problem]), None
    if not problem:
        verdict, judge = _judged(path.name, exercise, name, draws, rights, facts, arrays)
    verdict.printed = prints(path.name, printed)
    return verdict, judge


def prints(label, lines):
    """The first lines that a learner's code printed, with a title. The check calls it many times."""
    return [f"{label} prints:", *(f"  {line}" for line in lines[:5])] if lines else []


def existing(path):
    """Return the Path of a learner's file. Raises InputError where there is none."""
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: a folder; name a Python file in it")
    if not path.is_file():
        raise InputError(f"{path}: no such file (python -m numpygpt.exercise NAME writes an exercise)")
    return path


def check_function(function, arguments):
    """(Verdict, Judge) of a function of this process, on sample arguments or, of an exercise, on the exercise's own.

    The Judge is None where the function does not run. Raises InputError where there is nothing to call it with.
    """
    if not callable(function):
        raise InputError(f"check takes a function, and {function!r} is none")
    source = Source.of(function)
    name = name_of(function)
    exercise = exercises.exercise(name) if name in exercises.NAMES else None
    if exercise is None and not arguments:
        raise InputError(f"{name} is no exercise: give sample arguments, as in check({name}, x=numpy.ones((2, 3)))")
    if arguments and exercise is not None and not _fits(exercise.function, arguments):
        exercise = None  # another operation of the same name
    draws, rights = drawn(exercise, [_sample(name, arguments)] if arguments else None)
    if not _fits(function, draws[0].arguments):
        given = ", ".join(draws[0].arguments)
        raise InputError(f"{name}{inspect.signature(function)} cannot be called with the arguments {given}")
    arrays = {}
    with warnings.catch_warnings(), redirect_stdout(StringIO()) as printed:
        warnings.simplefilter("ignore")  # numbers that are not finite have their own message
        derive = [] if rights else [n for n, a in draws[0].arguments.items() if is_float(a)]
        given = [handed(draw, right, i) for i, (draw, right) in enumerate(zip(draws, rights or [None]))]
        facts = facts_of_draws(function, source, given, derive, arrays)
        verdict, judge = _judged(source.label, exercise, name, draws, rights, facts, arrays)
    verdict.printed = prints(name, printed.getvalue().splitlines())
    return verdict, judge


def _fits(function, arguments):
    """Whether a function can be called with these arguments, as far as its signature tells."""
    try:
        inspect.signature(function).bind(**arguments)
    except TypeError:
        return False
    except ValueError:  # a function of C without a signature
        return True
    return True


def _sample(name, arguments):
    """The Draw of sample arguments, floats in double precision. Raises InputError."""
    arguments = {n: np.asarray(a, np.float64) if is_float(a) else a for n, a in arguments.items()}
    floats = {n: a for n, a in arguments.items() if is_float(a)}
    if not floats:
        raise InputError(
            f"check({name}, …): no argument is a NumPy array of floats, so there is no gradient to check; "
            "give one, as in x=numpy.ones((2, 3)). Whole numbers have no gradient"
        )
    if (entries := sum(a.size for a in floats.values())) > MOST:
        raise InputError(
            f"check({name}, …): the check runs the forward pass once for each entry, and {', '.join(floats)} have "
            f"{entries:,}; give smaller arrays, with at most {MOST:,} entries together"
        )
    for n, a in floats.items():
        if not a.size or not np.isfinite(a).all():
            raise InputError(f"check({name}, …): {n} is empty or has entries that are not finite")
    return Draw("your arguments", arguments, sizes_of(arguments))


def drawn(exercise, given):
    """Return ([Draw], [Right]): of an exercise, or the draws that are given, and None where no exercise knows."""
    rng = np.random.default_rng(SEED)
    draws = exercise.draws(rng) if given is None else given
    return draws, [right(exercise, draw, rng) for draw in draws] if exercise else None


def judged(label, exercise, name, draws, rights, facts, arrays):
    """The Verdict on what a learner's code did. rights is None where the derivatives are among the arrays."""
    return _judged(label, exercise, name, draws, rights, facts, arrays)[0]


def _judged(label, exercise, name, draws, rights, facts, arrays):
    """(Verdict, Judge)."""
    problem = does_not_run(facts, label, draws) or nothing_written(facts, label)
    if problem is None and rights is None:
        rights, problem = derived(draws, arrays)
    if problem is None:
        judge = Judge(label, exercise, name, draws, rights, facts["draws"], arrays)
        return judge.verdict(), judge
    return Verdict(False, [problem]), None


def file_and_function(text):
    """(path, function or None) of FILE or FILE:FUNCTION."""
    path, colon, function = text.rpartition(":")
    return (Path(path), function) if colon and function.isidentifier() and path else (Path(text), None)


def function_in(path):
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
