"""One operation in the terminal: every operation has its example, its lines with their numbers, and a check that
holds.
"""

import numpy as np
import pytest

from numpygpt.model import block, classifier, language, trunk
from numpygpt.study.trace.check import operation_checks
from numpygpt.study.trace.operation import examples, in_terminal, trace_operation
from numpygpt.study.trace.words import WORDS
from numpygpt.system.errors import InputError


def test_every_operation_of_the_model_has_an_example_and_words():
    used = {
        name
        for module in (block, classifier, language, trunk)
        for name, value in vars(module).items()
        if getattr(value, "__module__", "").startswith("numpygpt.ops.")
    }
    assert used | {"softmax", "dot_product_attention", "cross_entropy"} == set(examples())
    assert set(WORDS) == {*examples(), "sum_1", "sum_2", "tokens", "update"}


@pytest.mark.parametrize("name", examples())
def test_every_gradient_of_an_example_holds(name):
    step = trace_operation(*examples()[name])
    found = operation_checks(step)
    assert {check.argument for check in found} == set(step.gradients)
    assert all(check.holds for check in found), found


@pytest.mark.parametrize("name", examples())
def test_what_is_printed_has_the_operations_lines_and_their_values(name):
    op, _ = examples()[name]
    text, step = in_terminal(name), trace_operation(*examples()[name])
    function = step.forward[0].function
    for number, line in enumerate(function.lines, function.first):
        in_doc = function.doc[0] <= number <= function.doc[1]
        assert in_doc or not line.strip() or f"{number:>4}  {line}" in text
    assert "WRONG" not in text and "the check" in text
    assert max(map(len, text.splitlines())) <= 140


def test_layernorms_numbers_are_printed_whole():
    text, step = in_terminal("layernorm"), trace_operation(*examples()["layernorm"])
    for row in step["xhat"]:
        assert all(f"{number:.4f}" in text for number in row)
    assert np.allclose(step["xhat"].mean(axis=1), 0)


def test_an_unknown_operation_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match="layernorm"):
        in_terminal("layrenorm")
