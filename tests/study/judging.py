"""What the check of a file finds, without its process: quick enough for hundreds of them."""

from functools import cache
from pathlib import Path

from numpygpt.study import exercises
from numpygpt.study.checking import check, learner, learner_process
from numpygpt.study.checking.exercise import built


@cache
def drawn(name):
    """(exercise, draws, rights), as a check has them."""
    exercise = exercises.exercise(name)
    return exercise, *check.drawn(exercise, None)


def verdict(name, text):
    """The check's verdict on a text in place of a file."""
    exercise, draws, rights = drawn(name)
    source, function, arrays = learner.Source(f"{name}.py", Path.cwd()), built(text, name), {}
    given = [learner_process.handed(draw, right, i) for i, (draw, right) in enumerate(zip(draws, rights))]
    facts = learner.facts_of_draws(function, source, given, [], arrays)
    return check.judged(source.label, exercise, name, draws, rights, facts, arrays)


def own_files(folder):
    """The solutions of all exercises as a learner's files, for those that are made of others."""
    for name in exercises.NAMES:
        exercise = exercises.exercise(name)
        if name != "block":
            (folder / f"{name}.py").write_text(exercise.solution_text(), encoding="utf-8")
