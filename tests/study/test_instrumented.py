"""Instrumenting compares an operation's intermediates in any form of code, and never changes its results."""

import functools
import inspect

import numpy as np
import pytest

import numpygpt
from numpygpt.study.checking.instrumented import instrumented
from numpygpt.study.checking.probes import Recording

X = np.random.default_rng(0).standard_normal((3, 4))
CALLS = []


def decorated(function):
    @functools.wraps(function)
    def outer(*arguments, **named):
        return function(*arguments, **named)

    return outer


@decorated
def with_decorator(x, factor: "any text" = 2.0, *, more=None):  # noqa: F722
    """A docstring."""
    h: np.ndarray = factor * x

    def dx(dy):
        dh = 3 * dy
        return factor * dh

    return h, (dx,)


def closure(factor):
    def op(x):
        h = factor * x
        count = 0

        def dx(dy):
            nonlocal count
            count += 1
            dh = 3 * dy
            return factor * dh

        return h, (dx,)

    return op


def with_branches(x):
    h = x * 2
    if len(x) > 1:
        h = h + 1

    def dx(dy):
        try:
            with np.errstate(all="ignore"):
                dh = 3 * dy
        except ValueError:
            dh = None
        out = 2 * dh
        del dh
        return out

    return h, (dx,)


def with_match(x):
    h = x * 2

    def dx(dy):
        match len(x):
            case 3:
                out = 3 * dy
            case _:
                out = dy
        return 2 * out

    return h, (dx,)


def with_global(x):
    CALLS.append(1)
    h = 2 * x

    def dx(dy):
        CALLS.append(2)
        dh = 3 * dy
        return 2 * dh

    return h, (dx,)


def with_loops(x):
    h = np.zeros_like(x)
    for i in range(len(x)):
        row = 2 * x[i]
        h[i] = row

    def dx(dy):
        found = np.zeros_like(x)
        for i in range(len(x)):
            drow = 3 * dy[i]
            found[i] = 2 * drow
        return found

    return h, (dx,)


@pytest.mark.parametrize(
    "function, place",
    [
        (with_decorator, "dh"),
        (closure(2.0), "dh"),
        (with_branches, "dh"),
        (with_match, "dx"),
        (with_global, "dh"),
        (with_loops, "dx"),
    ],
)
def test_a_mistake_is_found_in_any_form_of_code(function, place):
    found = repr(numpygpt.check(function, x=X))
    (said,) = [line for line in found.splitlines() if line.startswith("first wrong")]
    lines, first = inspect.getsourcelines(function)
    wrong = next(i for i, line in enumerate(lines, first) if "3 * dy" in line)
    if place == "dh":
        assert said == f"first wrong: dh, line {wrong}"
    else:
        assert said.startswith(f"first wrong: {place}, line")


def test_instrumenting_keeps_an_operations_results_and_error_lines():
    probe = Recording({})
    y, (dx,) = instrumented(with_decorator).built(probe)(X)
    assert np.array_equal(y, 2 * X) and np.array_equal(dx(X), 6 * X)
    (line,) = probe.values["dx", "dh"]
    assert "dh = 3 * dy" in inspect.getsource(inspect.getmodule(with_decorator)).splitlines()[line - 1]
    with pytest.raises(TypeError) as error:
        dx(None)
    assert error.traceback[-1].lineno + 1 == line


def test_a_function_without_source_text_is_not_instrumented():
    assert instrumented(np.tanh) is None and instrumented(lambda x: x) is None
