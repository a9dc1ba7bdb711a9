"""A check finds the line of a planted mistake in each exercise, and accuses no correct line."""

import ast
from time import process_time

import numpy as np
import pytest

from numpygpt.study import exercises
from tests.study.judging import learners_files, outside, verdict_with_places
from tests.study.other_forms import RIGHT, WRONG
from tests.study.plants import SOLUTIONS

PLANTS = [(name, *plant) for name, (_, plants) in SOLUTIONS.items() for plant in plants]


@pytest.fixture(autouse=True, scope="module")
def a_learners_files(tmp_path_factory):
    yield from learners_files(tmp_path_factory)


def planted(text, name, mistake):
    """Return (the text with a mistake in the last line that gives `name` a value, the line's number)."""
    lines = text.splitlines()
    number = max(i for i, line in enumerate(lines) if line.strip().startswith(f"{name} = "))
    indent = lines[number][: -len(lines[number].lstrip())]
    lines[number] = f"{indent}{name} = {ast.unparse(ast.parse(mistake))}"
    return "\n".join(lines) + "\n", number + 1


def first(found):
    """Return the first line below the table, without what may go into the array that is wrong."""
    return found.messages[0].splitlines()[0].partition(", or what")[0] if found.messages else ""


def test_at_least_40_mistakes_are_planted():
    assert len(PLANTS) >= 40


@pytest.mark.parametrize("name", SOLUTIONS)
def test_the_solutions_pass_with_every_intermediate(name):
    found = verdict_with_places(name, outside(name, SOLUTIONS[name][0]))
    assert found.holds and not any(row.wrong_in for row in found.rows)
    assert all(word not in line for line in found.lines for word in ("first wrong", "is not the gradient"))


@pytest.mark.parametrize("name, made, mistake", PLANTS, ids=[f"{n}-{m}-{i}" for i, (n, m, _) in enumerate(PLANTS)])
def test_a_mistake_is_reported_at_its_line_within_3_seconds(name, made, mistake):
    text, line = planted(outside(name, SOLUTIONS[name][0]), made, mistake)
    before = process_time()  # of this process: the machine may be busy
    found = verdict_with_places(name, text)
    assert process_time() - before < 3 and not found.holds
    assert first(found) == f"first wrong: {made}, line {line}", found.lines


@pytest.mark.parametrize("name, body", RIGHT, ids=[f"{name} {i}" for i, (name, _) in enumerate(RIGHT)])
def test_no_line_of_a_correct_solution_in_another_form_is_accused(name, body):
    found = verdict_with_places(name, outside(name, body))
    assert found.holds and not any(row.wrong_in for row in found.rows), found.lines
    assert all(word not in line for line in found.lines for word in ("first wrong", "is not the gradient"))


@pytest.mark.parametrize("name, body, made, mistake, words", WRONG, ids=[f"{w[0]} {i}" for i, w in enumerate(WRONG)])
def test_a_name_with_another_meaning_is_not_accused_beside_a_mistake(name, body, made, mistake, words):
    text, line = planted(outside(name, body), made, mistake)
    found = verdict_with_places(name, text)
    assert first(found).startswith(words) and first(found).endswith(f" {line}"), found.lines


def test_an_earlier_array_that_may_be_wrong_too_is_told_beside_the_first_wrong_one():
    body = SOLUTIONS["attention"][0].replace("(dweights * weights).sum(", "dweights.mean(")
    body = body.replace(" / sqrt_d", "")  # so that the right dscores mend neither dq nor dk
    found = verdict_with_places("attention", outside("attention", body))
    assert first(found).startswith("first wrong: dq, line ")
    assert (
        found.messages[1].startswith("dscores, line ")
        and "is not the gradient with respect to scores" in (found.messages[1])
    )


def test_uncompared_inputs_of_a_wrong_array_are_named():
    body = dict(RIGHT[4:5])["attention"]
    text, line = planted(outside("attention", body), "ds", "weights * g / sqrt_d")
    found = verdict_with_places("attention", text)
    said = f"first wrong: dq, line {line + 1}, or what goes into it and is not compared: "
    assert found.messages[0].startswith(said) and f"ds (line {line})" in found.messages[0]


def test_an_intermediate_is_compared_before_anything_that_uses_it_is_written():
    text = exercises.exercise("attention").text()
    body = "dweights = dy @ transposed(v)\n        return {}"
    for returned, state in (("d_softmax(dweights)", "holds"), ("d_softmax(dweights) ** 2", None)):
        written = text.replace("def d_scores(dy):\n        ...", f"def d_scores(dy):\n        {body.format(returned)}")
        found = verdict_with_places(
            "attention",
            written.replace("def dv(dy):\n        ...", "def dv(dy):\n        return transposed(weights) @ dy"),
        )
        assert found.messages[-1].startswith(
            "dweights holds, " + (f"d_scores {state}, " if state else "dq is not written")
        )


@pytest.mark.parametrize("mistake", ["dweights / 0", "weights * dweights + np.nan", "np.ones_like(weights) * dy.sum()"])
def test_wrong_intermediates_that_are_not_finite_or_should_be_zero_are_reported(mistake):
    """With one token the weights are 1, and dscores is 0."""
    text, line = planted(outside("attention", SOLUTIONS["attention"][0]), "dscores", mistake)
    with np.errstate(all="ignore"):
        assert first(verdict_with_places("attention", text)) == f"first wrong: dscores, line {line}"
