"""Products that are worked out where they are read: the same numbers as worked out at once."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from numpygpt.ops.linear import linear
from numpygpt.system.late import FEW_ROWS, LATE, Product

SIZES = st.integers(1, 5)


@given(SIZES, SIZES, SIZES, st.slices(5))
def test_rows_of_a_product_are_those_of_the_whole(M, K, n, rows):
    rng = np.random.default_rng(123)
    a, b = rng.standard_normal((M, K)), rng.standard_normal((K, n))
    np.testing.assert_allclose(Product(a, b)[rows], (a @ b)[rows], rtol=1e-12, atol=1e-12)


def test_few_rows_give_linears_weight_a_late_gradient_and_many_an_array():
    rng = np.random.default_rng(123)
    weight, bias = rng.standard_normal((3, 4)), rng.standard_normal(4)
    for N, kind in ((FEW_ROWS, Product), (FEW_ROWS + 1, np.ndarray)):
        x, dy = rng.standard_normal((N, 3)), rng.standard_normal((N, 4))
        now, late = (linear(x, weight, bias, needs=(True, wanted, True))[1](dy) for wanted in (True, LATE))
        assert type(late[1]) is kind
        for gradient, same in zip(now, (late[0], late[1][:], late[2])):
            np.testing.assert_array_equal(gradient, same)
