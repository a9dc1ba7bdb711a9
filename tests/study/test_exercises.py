"""Each exercise: nothing written is rejected, the shipped lines pass, each known mistake is told by its own message."""

import textwrap

import numpy as np
import pytest

from numpygpt.study import exercise_text, exercises
from numpygpt.study.exercise import built
from numpygpt.study.judge import spoiled_gradients
from numpygpt.study.signs import close
from tests.study.judging import drawn, verdict
from tests.study.outside_solutions import SOLUTIONS

SOLUTIONS = [s for s in SOLUTIONS if s[0] in exercises.NAMES]
EACH = pytest.mark.parametrize("name", exercises.NAMES)


@EACH
def test_an_untouched_exercise_is_rejected(name):
    found = verdict(name, exercises.exercise(name).text())
    assert not found.holds and "nothing is written yet" in found.lines[-1]


@EACH
def test_the_shipped_lines_pass(name):
    found = verdict(name, exercises.exercise(name).solution_text())
    assert found.holds, found.lines


@EACH
def test_the_exercise_is_what_the_shipped_operation_computes(name):
    exercise, draws, rights = drawn(name)
    for draw, right in zip(draws, rights):
        y, backward = exercise.function(**draw.arguments, **dict.fromkeys(exercise.without, False))
        np.testing.assert_allclose(y, right.y, rtol=1e-12, atol=1e-14)
        gradients = backward(right.dy[()])
        gradients = gradients if isinstance(gradients, tuple) else (gradients,)
        shipped = [g for n, g in zip(draw.arguments, gradients) if n in right.gradients]
        for ours, theirs in zip(right.gradients.values(), shipped, strict=True):
            np.testing.assert_allclose(theirs, ours, rtol=1e-11, atol=1e-13)


@EACH
def test_the_file_stands_by_itself_and_does_not_hold_the_solution(name):
    exercise = exercises.exercise(name)
    imports = {line for line in exercise.text().splitlines() if line.startswith(("import", "from"))}
    assert imports <= {"import math", "import numpy as np"}
    for line in exercise.parts.solution.splitlines():
        assert line.strip().startswith("return") or line not in exercise.text()


@EACH
def test_each_known_mistake_is_rejected_with_its_own_message_alone(name):
    mistakes = exercises.exercise(name).mistakes()
    messages = [message for _, message, _ in mistakes]
    assert len(set(messages)) == len(messages) >= 5
    for mistake, message, text in mistakes:
        found = verdict(name, text)
        shown = [m for m in messages if any(m in line for line in found.lines)]
        assert not found.holds and shown == [message], (mistake, found.lines)


@EACH
def test_no_two_known_mistakes_give_the_same_numbers(name):
    exercise, draws, rights = drawn(name)
    numbers = {
        mistake: spoiled_gradients(exercise, built(text, name), draws, rights)
        for mistake, _, text in exercise.mistakes()
    }

    def same(a, b):
        return all(g.keys() == h.keys() and all(close(g[n], h[n]) for n in g) for g, h in zip(a, b))

    for one in numbers:
        assert [other for other in numbers if same(numbers[one], numbers[other])] == [one]


@EACH
def test_hints_say_more_each_time_and_show_no_line_of_the_solution(name):
    exercise = exercises.exercise(name)
    hints = [exercise.hint(number) for number in (1, 2, 3)]
    assert all(len(hint) > 40 for hint in hints) and len(set(hints)) == 3
    for line in exercise.parts.solution.splitlines():
        assert line.strip() not in "\n".join(hints[:2]) or len(line.strip()) < 20


def outside(name, body):
    """A learner's whole text with these lines for its backward pass."""
    exercise = exercises.exercise(name)
    body = textwrap.dedent(body).strip()
    return exercise_text.filled(exercise.parts, exercise.parts.above_all, "", body)


@pytest.mark.parametrize("name, words, body", SOLUTIONS, ids=[f"{n} {i}" for i, (n, _, _) in enumerate(SOLUTIONS)])
def test_wrong_solutions_from_outside_are_rejected(name, words, body):
    assert not verdict(name, outside(name, body)).holds


def test_the_cause_is_named_for_most_wrong_solutions_from_outside():
    named = [
        any(words in line for line in verdict(name, outside(name, body)).lines if ": " in line)
        for name, words, body in SOLUTIONS
    ]
    assert sum(named) >= 0.7 * len(SOLUTIONS), [s[:2] for s, n in zip(SOLUTIONS, named) if not n]
