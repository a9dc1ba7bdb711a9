import numpy as np


def remember(function):
    """Return a function of dy that calls `function` once for several requests with the same dy.

    For work that several gradients of an operation share. It compares values, not identities, so a dy that was changed
    in place counts as another one.
    """
    last: list = []  # dy, function(dy)

    def remembered(dy):
        if not last or not np.array_equal(last[0], dy):
            last[:] = np.copy(dy), function(dy)
        return last[1]

    return remembered
