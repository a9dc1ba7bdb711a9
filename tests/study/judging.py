"""What the check of a file finds, without its process: quick enough for hundreds of them."""

from functools import cache
from pathlib import Path

import numpy as np

from numpygpt.study import exercises
from numpygpt.study.checking import check, learner, learner_process
from numpygpt.study.checking.exercise import built


@cache
def drawn(name):
    """(exercise, draws, rights), as a check has them."""
    exercise, rng = exercises.exercise(name), np.random.default_rng(check.SEED)
    draws = exercise.draws(rng)
    return exercise, draws, [check.right(exercise, draw, rng) for draw in draws]


def verdict(name, text):
    """The check's verdict on a text in place of a file."""
    exercise, draws, rights = drawn(name)
    path, function, arrays = Path(f"{name}.py"), built(text, name), {}
    facts = [
        learner.facts_of(function, path, learner_process.handed(draw, right, i), arrays, str(i), [])
        for i, (draw, right) in enumerate(zip(draws, rights))
    ]
    return check.judged(path, exercise, name, draws, rights, {"draws": facts}, arrays)


def own_files(folder):
    """The solutions of all exercises as a learner's files, for those that are made of others."""
    for name in exercises.NAMES:
        exercise = exercises.exercise(name)
        if name != "block":
            (folder / f"{name}.py").write_text(exercise.solution_text(), encoding="utf-8")
