import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpygpt.system.errors import InputError
from numpygpt.training.label_weights import label_weights


@given(numbers=st.lists(st.integers(0, 4), min_size=1, max_size=30), ignored=st.none() | st.integers(0, 4))
def test_balanced_weights_give_every_label_the_same_total(numbers, ignored):
    numbers = np.array(numbers)
    w = label_weights("balanced", numbers, 5, ignored)
    counted = numbers[numbers != ignored]
    if len(counted):
        present = np.unique(counted)
        totals = [w[label] * (counted == label).sum() for label in present]
        assert (
            totals == pytest.approx([len(counted) / 5] * len(present)) and not w[np.setdiff1d(range(5), present)].any()
        )


def test_balanced_weights_equal_scikit_learns():
    weights = pytest.importorskip("sklearn.utils.class_weight")
    numbers = np.array([0] * 7 + [1] + [2] * 3)
    expected = weights.compute_class_weight("balanced", classes=np.arange(3), y=numbers)
    np.testing.assert_allclose(label_weights("balanced", numbers, 3), expected)


def test_label_weights_accept_only_none_and_balanced():
    assert label_weights(None, np.array([0]), 2) is None
    with pytest.raises(InputError, match="label_weights 'equal': use 'balanced' or None"):
        label_weights("equal", np.array([0]), 2)
