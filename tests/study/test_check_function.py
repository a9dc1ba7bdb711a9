"""numpygpt.check on functions of this process, in a notebook or a test."""

import functools
import importlib
import linecache
import sys

import numpy as np
import pytest

import numpygpt
from numpygpt.ops.embedding import embedding
from numpygpt.ops.linear import linear as shipped_linear
from numpygpt.study import exercises
from numpygpt.study.checking.check import check
from numpygpt.study.checking.exercise import built
from numpygpt.system.errors import InputError

RNG = np.random.default_rng(0)
X, FACTOR = RNG.standard_normal((3, 4)), RNG.standard_normal(4)


def scale(x, factor):
    def dx(dy):
        return dy * factor

    def dfactor(dy):
        return (dy * x).sum(axis=0)

    return x * factor, (dx, dfactor)


def averaged(x, factor):
    return x * factor, lambda dy: (dy * factor, (dy * x).mean(axis=0))


def test_a_check_of_either_form_is_true_or_false_and_prints_its_table():
    right, wrong = numpygpt.check(scale, x=X, factor=FACTOR), numpygpt.check(averaged, x=X, factor=FACTOR)
    assert right and not wrong
    assert repr(right).splitlines()[-1] == "scale holds: every gradient to 1e-10 or better"
    assert repr(wrong).splitlines()[0].split() == ["gradient", "shape", "digits", "worst", "entry", "yours", "right"]
    assert "dfactor is right but for the factor 1/x.shape[0]" in repr(wrong)


def test_a_notebook_shows_a_table_and_escapes_the_learners_text():
    html = numpygpt.check(averaged, x=X, factor=FACTOR)._repr_html_()
    assert html.count("<tr") == 3 and "dfactor is right but for" in html and "<b>first wrong: dfactor" in html
    assert html.count("background:") == 1, "the wrong row"

    def scale(x):
        raise ValueError("<b>&")

    assert "ValueError: &lt;b&gt;&amp;" in numpygpt.check(scale, x=X)._repr_html_()


def test_require_raises_the_table_of_a_wrong_gradient():
    numpygpt.check(scale, x=X, factor=FACTOR).require()
    with pytest.raises(AssertionError, match="dfactor is right but for the factor"):
        numpygpt.check(averaged, x=X, factor=FACTOR).require()


def test_a_function_named_like_an_exercise_needs_no_arguments():
    assert numpygpt.check(shipped_linear)
    exercise = exercises.exercise("linear")
    _, message, text = exercise.mistakes[0]
    wrong = built(text, "linear")
    normal = RNG.standard_normal
    sample = dict(x=normal((5, 4)), weight=normal((4, 3)), bias=normal(3))
    for found in (numpygpt.check(wrong), numpygpt.check(wrong, **sample)):
        assert not found and message in repr(found)


def test_a_file_and_a_function_get_the_same_answer(tmp_path, monkeypatch):
    _, _, text = exercises.exercise("gelu").mistakes[3]
    (tmp_path / "gelu.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("gelu", None)
    found = numpygpt.check(importlib.import_module("gelu").gelu)
    assert repr(found) == "\n".join(check(tmp_path / "gelu.py").lines)
    sys.modules.pop("gelu")


def test_a_different_function_of_an_exercises_name_is_checked_by_its_derivative():
    def linear(x, factor):
        return scale(x, factor)

    assert numpygpt.check(linear, x=X, factor=FACTOR)
    with pytest.raises(InputError, match="linear.*cannot be called with the arguments x, weight, bias"):
        numpygpt.check(linear)


def test_integers_and_python_numbers_have_no_gradient():
    ids, lengths = np.array([0, 2, 0]), np.array([3])
    found = numpygpt.check(embedding, ids=ids, wte=RNG.standard_normal((4, 2)), wpe=X[:, :2], lengths=lengths)
    assert found and repr(found).count("dw") == 2


def test_arguments_are_checked_in_double_precision_and_not_modified():
    x = X.astype(np.float32)
    x.flags.writeable = False
    assert numpygpt.check(scale, x=x, factor=FACTOR)


def test_an_exception_in_a_learners_function_is_reported_with_its_line():
    def broken(x):
        return x @ x.T, lambda dy: dy @ nothing  # noqa: F821

    text = repr(numpygpt.check(broken, x=X))
    assert "test_check_function.py, line " in text and "NameError: name 'nothing' is not defined" in text


@pytest.mark.parametrize(
    "end, words",
    [
        ("dx", "dx is right but for the factor dy: multiply by the gradient that the function takes."),
        ("dx * dloss / 2", "dx as returned, line"),
    ],
)
def test_a_missing_incoming_gradient_of_a_loss_and_a_local_of_the_gradients_name_are_told(end, words):
    name, text = (
        "<square>",
        (
            "def square(x):\n    def dx(dloss):\n        dx = 1 * x\n        return {}\n\n"
            "    return (x * x).sum() / 2, (dx,)\n"
        ),
    )
    text = text.format(end)
    linecache.cache[name] = len(text), None, text.splitlines(keepends=True), name
    namespace = {}
    exec(compile(text, name, "exec"), namespace)
    assert words in repr(numpygpt.check(namespace["square"], x=X))
    del linecache.cache[name]


def test_prints_are_shown_once_and_with_the_verdict(capsys):
    def double(x):
        print("here", x.shape)
        return 2 * x, lambda dy: 2 * dy

    assert repr(numpygpt.check(double, x=X)).startswith("double prints:\n  here (3, 4)\n")
    assert capsys.readouterr().out == ""


def test_mistakes_in_an_optimizers_step_have_their_lines(tmp_path, monkeypatch):
    exercise = exercises.exercise("adamw")
    (tmp_path / "adamw.py").write_text(exercise.solution_text().replace("decayed - lr", "decayed + lr"))
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("adamw", None)
    lines = (tmp_path / "adamw.py").read_text().splitlines()
    number = next(i for i, line in enumerate(lines, 1) if "decayed + lr" in line)
    assert f"first wrong: p, line {number}\n    new_p = " in repr(
        numpygpt.check(importlib.import_module("adamw").adamw)
    )
    sys.modules.pop("adamw")


class Doubling:
    factor = 2.0

    def op(self, x):
        h = self.factor * x

        def dx(dy):
            dh = 3 * dy * h
            return self.factor * dh

        return h * h, (dx,)


def test_mistakes_in_a_method_have_their_lines():
    assert "first wrong: dh, line" in repr(numpygpt.check(Doubling().op, x=X))


def test_a_random_forward_pass_and_a_gradient_of_a_python_number_are_reported():
    def dropout(x):
        kept = np.random.rand(*x.shape) > 0.5
        return x * kept, lambda dy: dy * kept

    assert "two runs on the same arguments give different results" in repr(numpygpt.check(dropout, x=X))

    def times(x, a):
        return a * x, (lambda dy: a * dy, lambda dy: (dy * x).sum())

    assert "if you give it as an array: a=np.array(…)" in repr(numpygpt.check(times, x=X, a=0.5))
    assert numpygpt.check(times, x=X, a=np.array(0.5))


class Gradient:
    """What is called like a function and has no name of its own."""

    def __init__(self, function):
        self.function = function

    def __call__(self, dy):
        return self.function(dy)


def test_any_callable_can_be_checked():
    def double(x, factor=2):
        return factor * x, (Gradient(lambda dy: factor * dy),)

    assert numpygpt.check(double, x=X)
    assert numpygpt.check(functools.partial(double, factor=3), x=X)
    assert numpygpt.check(functools.wraps(double)(lambda x: double(x)), x=X)
    assert numpygpt.check(Gradient(double), dy=X)


@pytest.mark.parametrize(
    "function, arguments, words",
    [
        (scale, {}, "scale is no exercise: give sample arguments"),
        ("layernorm", {}, "check takes a function, and 'layernorm' is none"),
        (scale, dict(x=X), r"scale\(x, factor\) cannot be called with the arguments x"),
        (scale, dict(x=[1.0], factor=2.0), "no argument is a NumPy array of floats"),
        (scale, dict(x=np.ones((200, 101)), factor=np.ones(101)), "x, factor have 20,301; give smaller arrays"),
        (scale, dict(x=X * np.inf, factor=FACTOR), "x is empty or has entries that are not finite"),
    ],
)
def test_unusable_arguments_are_refused(function, arguments, words):
    with pytest.raises(InputError, match=words):
        numpygpt.check(function, **arguments)
