"""Every operation has formulas, which name the gradients its code returns and which browsers can display."""

import doctest
import re
from xml.dom import minidom

import numpy as np
import pytest

from numpygpt.study import exercises, formulas, mathml
from numpygpt.study.formulas import FORMULAS, formula
from numpygpt.study.trace.operation import examples, trace_operation

EXERCISES = {name: exercises.exercise(name) for name in exercises.NAMES}
LINES = [(name, line) for name, f in FORMULAS.items() for line in f.forward_latex() + f.backward_latex()]


def test_every_operation_every_exercise_and_adamw_have_formulas():
    wanted = {*examples(), *(exercise.function.__name__ for exercise in EXERCISES.values()), "AdamW"}
    assert set(FORMULAS) == wanted


@pytest.mark.parametrize("name", sorted(examples().keys() - {"freezing"}))  # its example freezes some parameters
def test_an_operation_has_a_formula_for_each_gradient_function(name):
    gradients = trace_operation(*examples()[name]).gradients
    assert list(formula(name).gradients) == [f"d{argument}" for argument in gradients]


@pytest.mark.parametrize("name", EXERCISES)
def test_an_exercise_has_a_formula_for_each_requested_gradient(name):
    exercise = EXERCISES[name]
    draw = exercise.draws(np.random.default_rng(0))[0]
    wanted = [] if exercise.is_step else [f"d{argument}" for argument in exercise.wanted(draw.arguments)]
    assert list(formula(exercise.function).gradients) == wanted


@pytest.mark.parametrize("name", FORMULAS)
def test_a_gradients_line_begins_with_its_name(name):
    for gradient, line in FORMULAS[name].gradients.items():
        assert re.sub(r"[{}]", "", line).startswith(gradient)


def test_a_formula_uses_only_defined_names():
    given = {"dy", "dloss", "positions", "scale", "lr", "decay"}
    for name, f in FORMULAS.items():
        lines = f.forward_latex() + f.backward_latex()
        made = {word for line in lines for word in words(re.split(r" = |leftarrow", line)[0])}
        upstream = {"dx"} if name == "embedding" else set()
        unknown = words(" ".join(lines)) - made - set(f.shapes) - given - upstream
        assert not {word for word in unknown if word not in "_".join(f.shapes)}, name


def words(line):
    """Return the names of more than one letter in LaTeX."""
    return set(re.findall(r"\\mathit\{(\w+)\}", line))


def sizes(shape):
    return [part.strip() for part in shape.split(",") if part.strip()]


def bound(shapes, arrays):
    """Return {letter: size} of the arrays, whose sizes must agree."""
    known = {}
    for name, array in arrays.items():
        letters, shape = sizes(shapes[name]), list(np.shape(array))
        if letters and letters[0] == "...":
            letters, shape = letters[1:], shape[len(shape) - len(letters) + 1 :]
        assert len(letters) == len(shape), name
        for letter, size in zip(letters, shape):
            times, base = re.fullmatch(r"(\d*)(\w+)", letter).groups()
            assert known.setdefault(base, size // int(times or 1)) * int(times or 1) == size, (name, letter)
    return known


def cases():
    for name, (op, arguments) in examples().items():
        if name != "adamw":  # a class, whose exercise is among the others
            yield pytest.param(op, arguments, id=name)
    for name, exercise in EXERCISES.items():
        for draw in exercise.draws(np.random.default_rng(0)):
            yield pytest.param(exercise.function, draw.arguments, id=f"{name}, {draw.label}")


@pytest.mark.parametrize("function, arguments", list(cases()))
def test_a_formulas_shapes_equal_those_of_the_arrays(function, arguments):
    shapes = formula(function).shapes
    arrays = {name: value for name, value in arguments.items() if name in shapes and value is not None}
    assert set(arrays) >= {
        name for name, value in arguments.items() if np.asarray(value).dtype.kind == "f" and np.ndim(value)
    }
    result = function(**arguments)[0]
    bound(shapes, arrays | {list(shapes)[-1]: result} if len(shapes) > len(arrays) else arrays)


def test_the_test_of_shapes_finds_a_wrong_shape():
    with pytest.raises(AssertionError):
        bound({"x": "N, D", "y": "D, N"}, {"x": np.ones((2, 3)), "y": np.ones((2, 3))})


@pytest.mark.parametrize("name, line", LINES)
def test_every_formula_becomes_well_formed_mathml(name, line):
    root = minidom.parseString(mathml.mathml(line)).documentElement
    assert root.tagName == "math"
    for tag, children in (("mfrac", 2), ("msub", 2), ("msup", 2), ("munder", 2), ("msubsup", 3), ("msqrt", 1)):
        assert all(len(node.childNodes) == children for node in root.getElementsByTagName(tag)), line


@pytest.mark.parametrize("line", [r"\alphabet", "{x", r"\frac{x}", "x}", "x^2^3", r"\left( x", "x & y", r"\text{a"])
def test_unsupported_latex_is_an_error(line):
    with pytest.raises(ValueError):
        mathml.mathml(line)


def test_latex_words_become_names_and_commands_are_kept():
    assert formulas.latex(r"dq = \frac{dscores @ k}{\sqrt{d}}") == (
        r"\mathit{dq} = \frac{\mathit{dscores} \cdot k}{\sqrt{d}}"
    )
    assert formulas.latex(r"n \text{ in words}") == r"n \text{ in words}"


def test_the_examples_of_the_formulas_run():
    for module in (formulas, mathml):
        assert doctest.testmod(module).failed == 0


def python_of(text):
    """Convert a formula without indices to Python."""
    text = text.replace(r"\left", "").replace(r"\right", "").replace(r"^\top", ".T").replace(r"\, ", "* ")
    text = re.sub(r"\\sum_n (\w+)_n\b(?: \* (\w+)_n\b)?", lambda f: f"({f[1]} * {f[2] or 1}).sum(axis=0)", text)
    text = re.sub(r"\^(\d)", r"**\1", text).replace(r"\tanh", "tanh").replace(r"\sqrt{d}", "sqrt_d")
    return re.sub(r"\\frac\{([^{}]*)\}\{([^{}]*)\}", r"(\1) / (\2)", text)


# {operation: number of lines without indices}
WITHOUT_INDICES = {"linear": 4, "lora": 6, "residual": 10, "dot_product_attention": 6, "output_loss": 3, "layernorm": 4}


@pytest.mark.parametrize("name, count", WITHOUT_INDICES.items())
def test_a_formula_without_indices_gives_the_values_of_the_code(name, count):
    op, arguments = examples().get(name) or (
        EXERCISES[name].function,
        EXERCISES[name].draws(np.random.default_rng(0))[0].arguments,
    )
    step, f = trace_operation(op, arguments), formula(name)
    found = arguments | {known: step[known] for known in step.names()} | {"tanh": np.tanh}
    found |= {f"d{argument}": gradient for argument, gradient in step.gradients.items()}
    found["dscores"] = found.get("d_scores")
    evaluated = 0
    for line in (*f.forward, *f.shared, *f.gradients.values()):
        left, right = line.split(" = ", 1)
        code = python_of(right)
        if left in found and "\\" not in code and not re.search("mean|softmax", code):
            assert np.allclose(eval(code, dict(found)), found[left]), line
            evaluated += 1
    assert evaluated == count
