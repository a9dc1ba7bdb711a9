"""The right array beside a wrong one, in the trace of a learner's own operation."""

import numpy as np

from ..checking.complex_step import BOUND, entry_errors


def right_of(name, value, beside):
    """Return the right numbers of a value that a line of the backward pass made, or None if it is not wrong.

    beside   [(names, numbers, right numbers)] of what is wrong: the value is it if it has one of the names and the
             numbers
    """
    return next((right for names, given, right in beside if name in names and np.array_equal(value, given)), None)


def wrong_entries(value, right):
    """Return an array of the value's shape that is true where it is wrong."""
    return ~(entry_errors(np.asarray(value), right) <= BOUND)  # true for a NaN, too
