"""Check a learner's text in this process, which is fast enough for hundreds of texts."""

import ast
import faulthandler
import io
import linecache
import subprocess
import sys
import textwrap
import warnings
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

from numpygpt.study import exercises
from numpygpt.study.checking import check, errors, learner, learner_process
from numpygpt.study.checking.exercise import built


@cache
def drawn(name):
    """Return (exercise, draws, rights), as a check draws them."""
    exercise = exercises.exercise(name)
    return exercise, *check.drawn(exercise, None)


def verdict_with_places(name, text):
    """Return the verdict on a text with the places of mistakes. Python gets the text as from a notebook's cell."""
    lines = text.splitlines(keepends=True)
    linecache.cache[f"<{name}>"] = len(text), None, lines, f"<{name}>"
    try:
        return verdict(name, text)
    finally:
        del linecache.cache[f"<{name}>"]


def verdict(name, text):
    """Return the check's verdict on a text."""
    exercise, draws, rights = drawn(name)
    source, function, arrays = errors.Source(f"{name}.py", Path.cwd()), built(text, name), {}
    given = [learner_process.handed(draw, right, i) for i, (draw, right) in enumerate(zip(draws, rights))]
    facts = learner.facts_of_draws(function, source, given, [], arrays)
    return check.judged(source.label, exercise, name, draws, rights, facts, arrays)


@contextmanager
def in_this_process():
    """Run a learner's file here, where a check starts a process."""

    def run(command, input, **_):
        with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            patch.setattr(sys, "argv", command[-2:])
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(input)))
            patch.setattr(sys, "path", sys.path.copy())
            patch.setattr(sys, "dont_write_bytecode", True)
            patch.setattr(faulthandler, "dump_traceback_later", lambda *_, **__: None)  # it would end the tests
            learner.main()
        return subprocess.CompletedProcess(command, 0, b"", b"")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "run", run)
        yield


def learners_files(tmp_path_factory):
    """Put all solutions on the path as a learner's files, for exercises that import others."""
    folder = tmp_path_factory.mktemp("own")
    for name in exercises.NAMES:
        exercise = exercises.exercise(name)
        if name != "block":
            (folder / f"{name}.py").write_text(exercise.solution_text(), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield
    for name in exercises.NAMES:
        sys.modules.pop(name, None)


def outside(name, body):
    """Return a learner's complete text with these lines: one `backward` that returns all gradients, or a step."""
    tree = ast.parse(exercises.exercise(name).solution_text())
    function = next(f for f in tree.body if getattr(f, "name", None) == name)
    gradients = [f for f in function.body if isinstance(f, ast.FunctionDef)]
    body = ast.parse(textwrap.dedent(body)).body
    if not gradients:
        function.body = body
    else:
        backward = ast.FunctionDef("backward", gradients[-1].args, body, [])
        y = function.body[-1].value.elts[0]
        function.body[-1:] = [backward, ast.Return(ast.Tuple([y, ast.Name("backward")]))]
    return ast.unparse(ast.fix_missing_locations(tree))
