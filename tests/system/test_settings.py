"""Every number a user may set has bounds, which functions and commands share."""

import math
from inspect import signature

import numpy as np
import pytest

from numpygpt import generate, pretrain, train
from numpygpt.api.classifier import Classifier
from numpygpt.api.gpt import GPT
from numpygpt.explain.attribution import explain
from numpygpt.explain.because import Teachers
from numpygpt.system.errors import InputError
from numpygpt.system.settings import (
    CLASSIFIER,
    EXPLAINING,
    FINE_TUNING,
    OPTIMIZER,
    PRETRAINING,
    SAMPLING,
    TEACHERS,
    Number,
    checked,
)
from numpygpt.training.adamw import AdamW
from numpygpt.training.fine_tune import fine_tune
from numpygpt.training.pretraining import Pretraining


@pytest.mark.parametrize(
    "function, numbers",
    [
        (Classifier, CLASSIFIER),
        (fine_tune, FINE_TUNING),
        (Pretraining, PRETRAINING),
        (GPT.stream, SAMPLING),
        (explain, EXPLAINING),
        (Teachers.because, TEACHERS),
        (AdamW, OPTIMIZER),
    ],
)
def test_every_number_of_a_function_has_bounds_that_include_its_default(function, numbers):
    parameters = signature(function).parameters
    for name, number in numbers.items():
        default = parameters[name].default
        assert default in (parameters[name].empty, None) or default in number, name  # None: the recipe decides
    others = {name for name, parameter in parameters.items() if type(parameter.default) in (int, float)}
    assert others <= numbers.keys()


@pytest.mark.parametrize(
    "arguments, numbers",
    [
        (lambda *more: train.arguments(more), CLASSIFIER | FINE_TUNING),
        (lambda *more: generate.arguments(more), SAMPLING),
        (lambda *more: pretrain.arguments(["text.txt", "--out", "new", *more]), PRETRAINING),
    ],
)
def test_commands_and_functions_refuse_the_same_numbers(arguments, numbers, capsys):
    for name, number in numbers.items():
        if number.low == -math.inf:
            continue
        with pytest.raises(SystemExit):
            arguments(f"--{name.replace('_', '-')}={number.low - 1}")
        assert f"expected {number}, got '{number.low - 1}'" in capsys.readouterr().err


def test_a_valid_number_is_returned_as_a_python_number():
    numbers = {"count": Number(int, 1), "share": Number(float, 0, 1, above=True), "none": Number(int, optional=True)}
    values = checked(numbers, {"count": np.int8(1), "share": 1, "none": None})
    assert values == {"count": 1, "share": 1.0, "none": None}
    assert [type(value) for value in values.values()] == [int, float, type(None)]


@pytest.mark.parametrize(
    "number, outside",
    [
        (Number(int, 1), [0, 1.0, True, None, "1", math.nan, np.float32(1), [1]]),
        (Number(float, 0, 1, above=True), [0, 1.1, -0.0, math.nan, "1", None, 1j, False, 10**400]),
        (Number(float, 0, above=True), [10**400, np.ones((40, 40))]),
    ],
)
def test_an_invalid_number_is_refused_by_name_in_one_line(number, outside):
    for value in outside:
        with pytest.raises(InputError, match=f"^it: expected {number}, got ") as raised:
            checked({"it": number}, {"it": value})
        assert "\n" not in str(raised.value)
