"""The trace of a learner's operation shows its lines and values, and the correct array beside each wrong one."""

import json
import linecache
import re

import numpy as np
import pytest

import numpygpt
from numpygpt import trace as command
from numpygpt.study import exercises
from numpygpt.study.checking import check
from numpygpt.study.checking.exercise import built
from numpygpt.study.trace.page import operation_page
from numpygpt.study.trace.terminal import step_in_terminal
from numpygpt.system.errors import InputError
from tests.study.judging import outside
from tests.study.plants import SOLUTIONS

WRONG = outside("attention", SOLUTIONS["attention"][0]).replace("(dweights * weights).sum", "dweights.sum")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "attention.py").write_text(WRONG)
    return tmp_path


@pytest.fixture
def wrong():
    """Check a function that is in no file, as in a notebook."""
    linecache.cache["<attention>"] = len(WRONG), None, WRONG.splitlines(keepends=True), "<attention>"
    yield numpygpt.check(built(WRONG, "attention"))
    del linecache.cache["<attention>"]


def data_of(step):
    return json.loads(re.search(r'id="data"[^>]*>(.*?)</script>', operation_page(step), re.S)[1])


def marked(data):
    """Return {name: numbers of wrong entries} of all values shown beside the correct array."""
    found = {}
    for call in [*data["steps"][0]["calls"], *data["steps"][0]["back"]]:
        for run in call["runs"]:
            for made in run["lines"].values():
                found |= {value[0]: value[3] for values in made for value in values if len(value) > 2}
    return found


def test_only_wrong_arrays_are_shown_beside_the_correct_ones(wrong):
    step = wrong.trace()
    assert set(marked(data_of(step))) == {"dscores", "dq", "dk"}
    names, given, right = step.beside[0]
    assert names == {"dscores"} and np.array_equal(step["dscores"], given) and not np.allclose(given, right)
    assert [name for name in ("dv", "dweights") if name in step.names()] == ["dv", "dweights"]


def test_the_page_has_the_learners_lines_and_the_checks_messages_but_no_solution(wrong):
    data = data_of(wrong.trace())
    forward, backward, why = data["steps"][0]["words"]
    assert not forward and not backward and any(text.startswith("first wrong: dscores, line") for text in why)
    assert "dweights.sum" in "".join(line for function in data["functions"] for line in function["lines"])
    assert [function["formulas"] for function in data["functions"] if function["name"] == "attention"] == [[]]


def test_only_the_wrong_entries_are_marked():
    def linear(x, weight, bias):
        def backward(dy):
            dx = dy @ weight.T
            dx[0, 1] += 1
            return dx, x.T @ dy, 2 * dy.sum(axis=0)

        return x @ weight + bias, backward

    data = data_of(numpygpt.check(linear).trace())
    assert marked(data) == {"dx": [1], "backward[2]": [0, 1, 2]}


def test_a_correct_operation_is_shown_without_comparison():
    def double(x):
        def dx(dy):
            return 2 * dy

        return 2 * x, (dx,)

    step = numpygpt.check(double, x=np.ones((2, 3))).trace()
    assert not step.beside and not marked(data_of(step)) and "double holds" in step.said[-1]


def test_the_command_prints_or_writes_the_page_without_overwriting(folder, capsys):
    command.main(["--file", "attention.py", "--out", "mine.html"])
    assert "3 of its arrays are wrong" in capsys.readouterr().out and (folder / "mine.html").stat().st_size > 1000
    with pytest.raises(InputError, match="mine.html exists"):
        command.main(["--file", "attention.py", "--out", "mine.html"])
    command.main(["--file", "attention.py", "--op"])
    text = capsys.readouterr().out
    assert "first wrong: dscores, line" in text and "wrong where * is, in 32 of 32 entries" in text
    assert text.count(", right = ") == 3 and max(map(len, text.splitlines())) <= 80


def test_a_step_of_an_optimizer_is_traced_too(folder, capsys):
    text = exercises.exercise("adamw").solution_text().replace("decayed - lr", "decayed + lr")
    (folder / "adamw.py").write_text(text)
    command.main(["--file", "adamw.py", "--op"])
    shown = capsys.readouterr().out
    assert "first wrong: p, line" in shown and shown.count("wrong where * is") == 1 and "new_p, right = " in shown


def test_the_terminal_marks_the_wrong_entries(wrong):
    step = wrong.trace()
    names, given, right = step.beside[0]
    step.beside[0] = names, given, np.where(np.arange(given.size).reshape(given.shape) == 0, right, given)
    assert "wrong where * is, in 1 of 32 entries" in step_in_terminal(step, 80)


def test_a_learners_own_file_describes_its_arguments(folder, capsys):
    text = "# gradcheck: x=(2,3)\ndef double(x):\n    def dx(dy):\n        return 3 * dy\n\n    return 2 * x, (dx,)\n"
    (folder / "mine.py").write_text(text)
    command.main(["--file", "mine.py:double", "--op"])
    assert "dx is 3/2 times what it should be" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--file", "nothing.py"], "no such file"),
        (["--file", "attention.py", "hello"], "omit the text"),
        (["--file", "attention.py", "--run", "runs/001"], "omit --run"),
        (["--file", "attention.py", "--op", "--out", "a.html"], "omit --out"),
        (["--file", "."], "a folder; name a Python file in it"),
        (["--file", "mine.py"], "mine is no exercise; describe its arguments on lines with `# gradcheck:`"),
        (["--file", "attention.py", "--op", "softmax"], "omit the name after --op"),
        (["--file", "broken.py"], "there is nothing to trace. broken.py"),
        (["--file", "softmax.py"], r"softmax.py, line 1: SyntaxError.*: def softmax\(:$"),
        (["--file", "gelu.py"], "gelu.py, at line 1: still runs after 1 seconds"),
    ],
)
def test_an_untraceable_file_is_refused_in_one_line(folder, monkeypatch, arguments, words):
    monkeypatch.setattr(check.judged_file, "__defaults__", (None, None, 1))
    (folder / "broken.py").write_text("# gradcheck: x=(2,3)\ndef broken(x):\n    return x @ x, None\n")
    (folder / "mine.py").write_text("def mine(x):\n    return 2 * x, lambda dy: 2 * dy\n")
    (folder / "softmax.py").write_text("def softmax(:\n")
    (folder / "gelu.py").write_text("while True: pass\n")
    with pytest.raises(InputError, match=words):
        command.main(arguments)
    assert not (folder / "trace.html").exists()


def test_the_command_tells_the_verdict_where_an_operation_fails(folder, capsys):
    text = exercises.exercise("linear").solution_text()
    (folder / "linear.py").write_text(text.replace("return dy.sum(axis=0)", "return yd.sum(axis=0)"))
    command.main(["--file", "linear.py"])
    assert "linear; dx holds, dweight holds, dbias is wrong; open it" in capsys.readouterr().out
