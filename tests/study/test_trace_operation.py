"""The trace of one operation in the terminal: each has an example, its lines with values, and a passing check."""

import re

import numpy as np
import pytest

from numpygpt.model import block, classifier, language, trunk
from numpygpt.study.trace.check import operation_checks
from numpygpt.study.trace.operation import examples, trace_operation
from numpygpt.study.trace.terminal import in_terminal, listed
from numpygpt.study.trace.words import WORDS, words_of
from numpygpt.system.errors import InputError


def test_every_operation_of_the_model_has_an_example_and_an_explanation():
    used = {
        name
        for module in (block, classifier, language, trunk)
        for name, value in vars(module).items()
        if getattr(value, "__module__", "").startswith("numpygpt.ops.")
    }
    inner, more = {"softmax", "dot_product_attention", "cross_entropy"}, {"residual", "freezing", "adamw"}
    assert used | inner | more == set(examples())
    assert set(WORDS) == {op.__name__ for op, _ in examples().values()} | {"sum_1", "sum_2", "tokens"}


@pytest.mark.parametrize("name", examples())
def test_every_gradient_of_an_example_is_correct(name):
    step = trace_operation(*examples()[name])
    found = operation_checks(step)
    assert {check.argument for check in found} == set(step.gradients)
    assert all(check.holds for check in found), found


@pytest.mark.parametrize("name", examples())
def test_the_output_has_the_operations_lines_and_values(name):
    text, step = in_terminal(name, 130), trace_operation(*examples()[name])
    function = step.forward[0].function
    for number, line in enumerate(function.lines, function.first):
        in_doc = function.doc[0] <= number <= function.doc[1]
        assert in_doc or not line.strip() or f"{number:>4}  {line}" in text
    assert "WRONG" not in text and ("the check" in text) == bool(step.gradients)


@pytest.mark.parametrize("name", examples())
def test_the_output_fits_80_columns_without_losing_code(name):
    narrow, wide = in_terminal(name, 80), in_terminal(name, 130)
    assert max(map(len, narrow.splitlines())) <= 80
    for line in wide.splitlines():
        if line[:4].strip().isdigit():
            assert " ".join(line.replace("#", "").split()) in " ".join(narrow.replace("#", "").split())


def test_requested_colours_change_no_word():
    plain, coloured = in_terminal("softmax", 80), in_terminal("softmax", 80, colour=True)
    assert "\x1b" not in plain and "\x1b[1msoftmax, forward\x1b[0m" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain


def test_an_inner_function_is_titled_with_its_calling_line():
    text = in_terminal("dot_product_attention", 80)
    number = re.search(r"^ *(\d+)  +weights, \(d_softmax,\) = softmax\(scores\)", text, re.MULTILINE)[1]
    assert f"\nsoftmax, called in line {number}\n" in text
    assert "\ndx of linear, called in line 27\n" in in_terminal("freezing", 80)


def test_a_repeated_call_is_printed_once():
    assert in_terminal("residual", 80).count("def at_layers(dy)") == 1


def test_the_traced_adamw_is_the_shipped_one_with_a_first_step_of_the_rate():
    text, step = in_terminal("adamw", 80), trace_operation(*examples()["adamw"])
    assert "squares = np.multiply(g, g, out=scratch(v), dtype=v.dtype)" in text and "\nmove, called in line" in text
    p, g = (step.arguments[name] for name in "pg")
    assert np.allclose(step.result, p * (1 - 0.1 * 0.01) - 0.1 * np.sign(g), atol=1e-5)


def test_the_list_describes_each_operation():
    lines = listed(80).splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == list(examples())
    assert all(len(line.split()) > 3 for line in lines if not line.startswith(" "))
    assert {"residual", "adamw", "freezing"} <= set(examples())


def test_layernorms_values_are_printed_completely():
    text, step = in_terminal("layernorm", 80), trace_operation(*examples()["layernorm"])
    for row in step["xhat"]:
        assert all(f"{number:.4f}" in text for number in row)
    assert np.allclose(step["xhat"].mean(axis=1), 0)


def test_an_unknown_operation_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match="layernorm"):
        in_terminal("layrenorm", 80)


@pytest.mark.parametrize("name", ["attention", "gelu", "layernorm", "softmax", "cross_entropy", "embedding"])
def test_the_explanation_of_a_step_has_its_values(name):
    (*_, last) = words_of(trace_operation(*examples()[name]))[2]
    assert last.startswith("Here ") and re.search(r"\d", last)


def test_a_gradient_not_computed_has_no_values():
    step = trace_operation(*examples()["softmax"])
    step.gradients.clear()
    assert not any(text.startswith("Here") for text in words_of(step)[2])
