"""The recorder notes each line's values in time, and tracing always ends."""

import sys

import numpy as np
import pytest

from numpygpt.study.trace.recorder import Recorder, _value


def in_place(x):
    y = x * 2
    y += 1
    y[0] = 7
    total = np.zeros(1)
    for row in y:
        total[0] += row
    if len(x) > 99:
        never = x

        return never
    return y, total


def pair(x):
    kept, unused, shared = x + 1, x + 2, x + 3
    result = unused * 3

    def inner(dy):
        return dy * shared

    def dx(dy):
        product = dy * kept
        return product * 1

    def dz(dy):
        return inner(dy)

    return result, (dx, dz)


FACTOR = 2.5


def outermost(x):
    scaled = FACTOR * x
    y, _ = in_place(scaled)
    return y


def failing(x):
    y = x / 2
    raise ValueError(y)


def recorded(function, *arguments):
    with Recorder(lambda code: code.co_filename == __file__) as recorder:
        result = function(*arguments)
    return recorder.calls[0], result


def at(call, text):
    """Return the values that the line with this text made."""
    (number,) = [n for n, line in enumerate(call.function.lines, call.function.first) if text in line]
    return call.lines.get(number)


def test_a_recorded_value_ignores_later_writes_to_the_array():
    call, _ = recorded(in_place, np.array([1.0, 2.0]))
    assert np.array_equal(at(call, "y = x * 2")[0]["y"], [2, 4])
    assert np.array_equal(at(call, "y += 1")[0]["y"], [3, 5])
    assert np.array_equal(at(call, "y[0] = 7")[0]["y"], [7, 5])


def test_a_loop_has_a_value_for_each_pass():
    call, _ = recorded(in_place, np.array([1.0, 2.0]))
    assert [float(made["row"]) for made in at(call, "for row")] == [7, 5]
    assert [made["total"].tolist() for made in at(call, "total[0] += row")] == [[7], [12]]


def test_a_branch_not_taken_has_no_value():
    call, _ = recorded(in_place, np.array([1.0, 2.0]))
    assert at(call, "never = x") is None


def test_a_call_records_its_calling_line_and_constants():
    call, _ = recorded(outermost, np.array([1.0]))
    (inner,) = call.calls
    assert "in_place(" in call.function.lines[inner.called_from - call.function.first] and call.called_from is None
    assert call.constants == {"FACTOR": FACTOR} and inner.constants == {}


def test_a_returned_expression_has_a_value_and_arrays_kept_for_backward_are_known():
    call, (_, (dx, dz)) = recorded(pair, np.array([1.0]))
    assert list(call.functions) == ["dx", "dz"] and call.functions["dz"].name == "dz"
    assert call.kept == {"dx": ["kept"], "dz": ["shared"]} and not call.function.nested
    back, found = recorded(dx, np.array([5.0]))
    assert back.function.nested and back.function.outer == "pair"
    assert np.array_equal(at(back, "return product * 1")[0]["dx"], found)


def test_an_empty_array_has_no_value_to_show():
    assert _value(np.empty(0)) is None


def test_tracing_ends_after_an_error():
    before = sys.gettrace()
    with pytest.raises(ValueError, match="0.5"), Recorder(lambda code: code.co_filename == __file__) as recorder:
        failing(np.array(1.0))
    assert sys.gettrace() is before
    assert at(recorder.calls[0], "y = x / 2")[0]["y"] == 0.5


def test_a_debuggers_tracing_continues_afterwards():
    seen = []

    def debugger(frame, event, argument):
        seen.append(frame.f_code.co_name)

    before = sys.gettrace()
    sys.settrace(debugger)
    try:
        recorded(pair, np.array([1.0]))
        after = sys.gettrace()
        pair(np.array([1.0]))
    finally:
        sys.settrace(before)
    assert after is debugger and "pair" in seen
