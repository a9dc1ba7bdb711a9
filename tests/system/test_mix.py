"""y = b y + a x in place: OpenBLAS's one pass where it can be, NumPy's three elsewhere, with the same numbers."""

import numpy as np
import pytest

from numpygpt.system import blas

ARRAYS = {
    "float32": np.linspace(-2, 2, 35, dtype=np.float32).reshape(5, 7),
    "float64": np.linspace(-2, 2, 35).reshape(5, 7),
    "complex": np.linspace(-2, 2, 35).reshape(5, 7) * (1 + 2j),
    "columns": np.linspace(-2, 2, 70).reshape(5, 14)[:, ::2],
    "transposed": np.linspace(-2, 2, 35).reshape(7, 5).T,
    "empty": np.empty((0, 7)),
    "scalar": np.array(0.5),
}


@pytest.mark.parametrize("x", ARRAYS.values(), ids=ARRAYS)
@pytest.mark.parametrize("y", ARRAYS.values(), ids=ARRAYS)
def test_mixing_is_what_the_formula_says_for_any_kind_and_order_of_arrays(x, y):
    if y.shape != x.shape or not np.can_cast(x.dtype, y.dtype):
        pytest.skip("not to be mixed")
    whole = np.zeros((5, 20), y.dtype)  # what lies around y must stay
    around = whole[:, 1:15:2] if y.shape == (5, 7) else np.empty_like(y)
    for target in (y.copy(), around):
        target[...] = y
        before = x.copy()
        blas.mix(target, 0.75, x, -0.125)
        np.testing.assert_allclose(target, 0.75 * y - 0.125 * x, rtol=1e-6, atol=1e-7)
        assert np.array_equal(x, before) and not whole[:, 0::2].any()


def test_numpy_mixes_where_there_is_no_openblas(monkeypatch):
    x, y = ARRAYS["float32"], ARRAYS["float32"].copy()
    monkeypatch.setattr(blas, "_axpby", dict)
    blas.mix(y, 0.75, x, -0.125)
    np.testing.assert_allclose(y, 0.625 * x, rtol=1e-6)


def test_openblas_does_it_in_numpys_wheels():
    if "OpenBLAS" not in blas.describe():
        pytest.skip("another library")
    assert set(blas._axpby()) == {np.dtype(np.float32), np.dtype(np.float64)}
