"""A product that is worked out piece by piece, where it is read.

A weight's gradient is as large as the weight. Where few rows reach the weight, it is the product of two thin matrices
(of rank 8, for 8 rows): to make each piece of it in a core's cache, just before that piece of the weight is updated,
takes less time than to write it all to memory and to read it again.
"""

from functools import wraps

LATE = "late"  # instead of True among an operation's `needs`: the gradient may come as a Product
FEW_ROWS = 64  # with more, the product itself is the work, and is best done at once


class Product:
    """a @ b, of two matrices: `product[rows]`, for a slice, is an array of those rows."""

    def __init__(self, a, b):
        self.a, self.b = a, b

    def __getitem__(self, rows):
        return self.a[rows] @ self.b


def late_weight(op):
    """`linear`, whose dweight is a Product where `needs` says LATE of it and the rows are few."""

    @wraps(op)
    def maybe_late(x, weight, bias, needs=(True, True, True)):
        if needs[1] is not LATE or len(x) > FEW_ROWS:
            return op(x, weight, bias, needs=needs)
        y, op_backward = op(x, weight, bias, needs=(needs[0], False, needs[2]))

        def backward(dy):
            dx, _, dbias = op_backward(dy)
            return dx, Product(x.T, dy), dbias

        return y, backward

    return maybe_late
