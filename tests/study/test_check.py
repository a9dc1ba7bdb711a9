"""A check of a learner's file ends with a clear message, whatever the file does, and never changes it."""

import textwrap
from contextlib import nullcontext

import numpy as np
import pytest

from numpygpt.study import exercises
from numpygpt.study.checking.check import check
from numpygpt.study.checking.described import draws
from numpygpt.system.errors import InputError
from tests.study.judging import in_this_process

LINEAR = """
import numpy as np


def linear(x, weight, bias):
    y = x @ weight + bias

    def backward(dy):
        {}

    return y, backward
"""
RIGHT = "return dy @ weight.T, x.T @ dy, dy.sum(axis=0)"


def lines_of(folder, text, limit=10, name="linear.py", process=False, **described):
    """Check a file, in a process of its own only if `process`, since a start takes most of the time."""
    path = folder / name
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    with nullcontext() if process else in_this_process():
        verdict = check(path, limit=limit, **described)
    assert path.read_text(encoding="utf-8") == textwrap.dedent(text), "the learner's file is never changed"
    assert [p.name for p in folder.iterdir()] == [name], "the check leaves no other file"
    return verdict


def said(folder, backward, **settings):
    """Check `linear` with these lines for its backward, which must fail. Return all messages."""
    verdict = lines_of(folder, LINEAR.format(backward.replace("\n", "\n        ")), **settings)
    assert not verdict.holds
    return "\n".join(verdict.lines)


def test_a_correct_file_passes_and_shows_every_gradient(tmp_path):
    verdict = lines_of(tmp_path, LINEAR.format(RIGHT))
    assert verdict.holds
    assert [line.split()[0] for line in verdict.lines] == ["gradient", "dx", "dweight", "dbias", "linear"]


def test_a_wrong_gradient_shows_its_digits_worst_entry_and_cause(tmp_path):
    text = said(tmp_path, "return dy @ weight.T, x.T @ dy * (1 + 1e-7), dy.mean(axis=0)")
    rows = {line.split()[0]: line.split() for line in text.splitlines()[:4]}
    assert int(rows["dx"][2]) >= 13 and int(rows["dweight"][2]) in (6, 7) and rows["dbias"][2] == "0"
    assert "dx holds, dweight is wrong, dbias is wrong" in text and "mean of dy over the rows" in text
    assert "dweight is 1.0000001 times what it should be" in text


@pytest.mark.parametrize(
    "backward, words",
    [
        ("return None", "nothing is written yet"),
        ("return (", "linear.py, line 9: SyntaxError"),
        ("pass", "nothing is written yet"),
        ("...", "nothing is written yet"),
        ("dx = dy @ weight.T\n(dx, x.T @ dy, dy.sum(0))", "linear.py, line 10: the function ends without `return`"),
        ("return dy @ weigth.T, x.T @ dy, dy.sum(axis=0)", "line 9, in backward: NameError: name 'weigth'"),
        ("raise SystemExit(3)", "line 9, in backward: SystemExit: 3"),
        ("return dy @ weight.T, x.T @ dy", "backward returns 2 results, not 3: return dx, dweight, dbias"),
        ("return dy @ weight.T", "backward returns 1 result, not 3"),
        ("return [dy @ weight.T, x.T @ dy, dy.sum(axis=0)]", "backward returns a list"),
        ("return dy @ weight.T, None, dy.sum(axis=0)", "dx holds, dweight is not written yet, dbias holds"),
        ("return dy @ weight.T, (x.T @ dy).tolist(), dy.sum(axis=0)", "dweight is a list, not an array"),
        ("return dy @ weight.T, dy.T @ x, dy.sum(axis=0)", "it is transposed, and right otherwise"),
        ("return dy @ weight.T, x.T @ dy, dy", "dbias has shape (5, 3), not (3,): the sum over axis 0 is missing"),
        ("return dy @ weight.T, x.T @ dy, dy.sum()", "dbias has shape (), not (3,): summed over an axis too many?"),
        ("return (dy @ weight.T).astype('f4'), x.T @ dy, dy.sum(axis=0)", "dx is float32"),
        ("return dy @ weight.T, x.T @ dy / 0, dy.sum(axis=0)", "dweight[0, 0] is"),
        ("x[0] = 0\n" + RIGHT, "x was written to"),
        ("dy *= 1.0\ndy += 1\n" + RIGHT, "dy was written to"),
        ("return x, x.T @ dy, dy.sum(axis=0)", "dx is a view of x"),
        ("return dy @ weight.T, x.T @ dy, dy.sum(0, keepdims=True)", "right, the axes are not. Is it keepdims=True?"),
        ("dx = dy @ weight.T\nreturn None, None, None", "dx, line 9, is written, but used nowhere: return it"),
        ("dx = dy @ weight.T\nreturn None, x.T @ dy, dy.sum(0)", "dx, line 9, is written, but used nowhere: return it"),
        ("weight -= x.T @ dy\nreturn None", "weight gets a value in backward, and is a name of its own there"),
        ("dx = np.empty_like(x)\ndx[0] = 0\nreturn dx, x.T @ dy, dy.sum(0)", "np.empty is not filled everywhere"),
    ],
)  # fmt: skip
def test_every_unusable_backward_gets_one_message(tmp_path, backward, words):
    text = said(tmp_path, backward)
    assert words in text
    assert "Traceback" not in text and "learner" not in text


@pytest.mark.parametrize(
    "backward, words",
    [
        ("import os; os._exit(7)", "linear.py: ended without a result, with status 7"),
        ("while True: pass", "linear.py, at line 9: still runs after 2 seconds"),
    ],
)
def test_a_process_without_a_result_gets_one_message(tmp_path, backward, words):
    (line,) = said(tmp_path, backward, limit=2, process=True).splitlines()
    assert line.startswith(words)


@pytest.mark.parametrize(
    "backward, words",
    [
        (
            "return dy @ weight",
            "in `dy @ weight` dy has shape (5, 3) and weight has shape (4, 3): 3 and 4 must be equal",
        ),
        (
            "return dy @ weight.T * bias",
            "`dy @ weight.T * bias` dy @ weight.T has shape (5, 4) and bias has shape (3,)",
        ),
        (
            "return np.concatenate([dy, x])",
            "in `np.concatenate([dy, x])` dy has shape (5, 3) and x has shape (5, 4): all",
        ),
        ("return backward @ x", "in `backward @ x` backward is a function: call it, as in backward(dy)"),
        ("dx = x + 0\ndx[0] = dy\nreturn dx", "in `dx[0] = dy` dx[0] has shape (4,) and dy has shape (5, 3)"),
        ("return dy.reshape(7, -1)", "in `dy.reshape(7, -1)` dy has shape (5, 3): cannot reshape"),
        ("raise ValueError('own words')", "line 9, in backward: ValueError: own words"),
    ],
)
def test_arrays_of_a_wrong_shape_are_named_with_it(tmp_path, backward, words):
    text = said(tmp_path, backward)
    assert words in text and "linear.py, line " in text


def test_float64_gradients_of_float32_inputs_pass_with_a_remark(tmp_path):
    verdict = lines_of(
        tmp_path, LINEAR.format("return dy @ weight.T, np.zeros(weight.shape) + x.T @ dy, dy.sum(axis=0)")
    )
    assert verdict.holds and "Note: dweight is float64 where the inputs are float32" in verdict.messages[0]


def test_a_changed_forward_pass_is_reported_before_any_gradient(tmp_path):
    text = LINEAR.format(RIGHT).replace("+ bias", "- bias")
    verdict = lines_of(tmp_path, text)
    assert len(verdict.lines) == 1 and "the forward pass has changed" in verdict.lines[0]


def test_writing_to_an_array_of_the_forward_pass_fails(tmp_path):
    text = LINEAR.format(f"kept[0] *= 2\n        {RIGHT}")
    text = text.replace("    def backward", "    kept = 1 * x\n\n    def backward")
    assert "kept was written to" in lines_of(tmp_path, text).lines[0]


def test_a_files_output_is_shown_and_does_not_stop_the_check(tmp_path):
    verdict = lines_of(tmp_path, LINEAR.format(f"print('here', dy.shape); {RIGHT}"), process=True)
    assert verdict.holds and verdict.lines[0] == "linear.py prints:" and "here (5, 3)" in verdict.lines[1]


def test_a_file_without_the_function_is_told_its_own_functions(tmp_path):
    text = LINEAR.format(RIGHT).replace("def linear", "def liner") + "\n\ndef other(x):\n    return x\n"
    assert "no function linear (it has liner, other)" in lines_of(tmp_path, text).lines[0]


def test_a_file_that_fails_on_import_is_reported_with_its_line(tmp_path):
    assert "linear.py, line 1: ModuleNotFoundError" in lines_of(tmp_path, "import no_such_module_at_all\n").lines[0]


FUNCTIONS = exercises.exercise("linear").solution_text()


@pytest.mark.parametrize(
    "returned, words",
    [
        ("y", "linear.py: returned ndarray. Return the result and its gradient functions: return y, (dx, …)"),
        ("y, dx, dweight, dbias", "linear.py: returned 4 things. Return the result"),
        ("y, (dx(y), dweight(y), dbias(y))", "is not made of functions (dx, and not dx(dy))"),
        ("y, (dx)", "the operation returns 1 function, not 3: return dx, dweight, dbias"),
        ("y, (dx, dx, dbias)", "the operation returns dx twice, and no dweight: return dx, dweight, dbias"),
    ],
)
def test_a_wrong_return_of_the_operation_is_told_as_it_is(tmp_path, returned, words):
    text = FUNCTIONS.replace("return y, (dx, dweight, dbias)", f"return {returned}")
    assert words in lines_of(tmp_path, text).lines[0]


def test_a_function_of_another_name_than_the_returned_one_is_told(tmp_path):
    text = FUNCTIONS.replace("def dx(dy)", "def dx(dy):\n        ...\n\n    def d_x(dy)")
    lines = lines_of(tmp_path, text).lines
    line = text[: text.index("def d_x")].count("\n") + 1
    assert f"d_x, line {line}, is written, but used nowhere: return it" in lines


SCALE = '''
# gradcheck: x=(5,7) factor=(7,)
def scale(x, factor):
    """y = x * factor"""
    y = x * factor

    def backward(dy):
        return {}

    return y, backward
'''


def scaled(*texts):
    return draws(texts, np.random.default_rng(0))


def test_a_learners_own_operation_is_checked_by_its_derivative(tmp_path):
    settings = dict(name="mine.py", described=scaled("x=(5,7)", "factor=(7,)"))
    assert lines_of(tmp_path, SCALE.format("dy * factor, (dy * x).sum(axis=0)"), **settings).holds
    wrong = lines_of(tmp_path, SCALE.format("dy * factor, (dy * x).mean(axis=0)"), **settings)
    assert not wrong.holds and "dfactor is right but for the factor 1/x.shape[0] (x.shape[0] = 5, 5, 5)." in wrong.lines


def test_several_functions_in_a_file_are_distinguished_by_name(tmp_path):
    text = """
        def scale(x, factor):
            def dfactor(dy):
                return (dy * x).sum(axis=0)

            def dx(dy):
                return {}

            return x * factor, (dfactor, dx)
    """
    settings = dict(name="mine.py", described=scaled("x=(5,7)", "factor=(7,)"))
    assert lines_of(tmp_path, text.format("dy * factor"), **settings).holds
    for empty in ("None", "dy * facto"):
        last = lines_of(tmp_path, text.format(empty), **settings).lines[-1]
        assert last == f"dx {'is not written yet' if empty == 'None' else 'is wrong'}, dfactor holds"


def test_a_function_without_return_is_not_called_unwritten(tmp_path):
    text = LINEAR.replace(
        "def backward(dy):\n        {}", "def dx(dy):\n        {}\n\n    def dweight(dy):\n        ..."
    )
    text = text.replace("y, backward", "y, (dx, dweight, lambda dy: dy.sum(axis=0))")
    lines = lines_of(tmp_path, text.format("dx = dy @ weight.T")).lines
    assert "dx, line 9: the function ends without `return`, so its gradient is None" in lines
    assert "dx is wrong, dweight is not written yet, dbias holds" in lines


def test_a_result_that_is_no_array_and_a_real_only_forward_pass_are_reported(tmp_path):
    text = "import numpy as np\n" + SCALE.format("dy * factor, (dy * x).sum(axis=0)")
    settings = dict(name="mine.py", described=scaled("x=(5,7)", "factor=(7,)"))
    lines = lines_of(tmp_path, text.replace("return y, backward", "return {}, backward"), **settings).lines
    assert lines == ["mine.py: the result is a dict, not an array"]
    text = "import math\n" + text.replace("y = x * factor\n\n", "y = x * factor * math.exp(x[0, 0])\n\n")
    (line,) = lines_of(tmp_path, text, **settings).lines
    assert "mine.py, line 7, in scale: " in line and "the check runs the forward pass with complex numbers" in line


def test_an_operation_that_drops_imaginary_parts_is_not_called_wrong(tmp_path):
    text = "import numpy as np\n" + SCALE.format("dy * factor, (dy * x).sum(axis=0)")
    text = text.replace("y = x * factor\n\n", "y = np.abs(x * factor)\n\n")
    verdict = lines_of(tmp_path, text, name="mine.py", described=scaled("x=(5,7)", "factor=(7,)"))
    assert "no complex-step derivative can be taken" in verdict.lines[-1]


def test_an_operation_outside_the_exercises_needs_a_description(tmp_path):
    (tmp_path / "mine.py").write_text(SCALE)
    with pytest.raises(InputError, match="scale is no exercise, so its arguments have to be described"):
        check(tmp_path / "mine.py")


def test_dy_returned_as_it_came_is_told(tmp_path):
    text = exercises.exercise("gelu").solution_text()
    start = text.index("    def dx(dy):")
    text = text[:start] + "    def dx(dy):\n        return dy\n" + text[text.index("\n    return y", start) :]
    assert "dx has the numbers of dy, unchanged." in lines_of(tmp_path, text, name="gelu.py").lines


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="nothing.py: no such file"):
        check(tmp_path / "nothing.py")


@pytest.mark.parametrize("text", ["x", "x=", "x=(5", "2=(5,)", "x=(5,)<a"])
def test_an_empty_description_is_refused(text):
    with pytest.raises(InputError, match="describes no argument"):
        scaled(text)


def test_a_description_without_floats_is_refused():
    with pytest.raises(InputError, match="no gradient to check"):
        scaled("ids=(5,)<4", "n=2", "lengths=[2,3]")


def test_every_exercise_is_listed_and_has_known_mistakes():
    assert all(exercises.exercise(name).name == name for name in exercises.NAMES)
