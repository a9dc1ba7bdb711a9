"""Label smoothing: its loss by its definition, its gradient by complex step."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpygpt.ops.cross_entropy import cross_entropy
from numpygpt.study.checking.complex_step import relative_errors
from numpygpt.training.smoothing import smoothed_cross_entropy


def rows(B, C):
    rng = np.random.default_rng(B + C)
    return 2 * rng.standard_normal((B, C)), rng.integers(0, C, B)


@given(B=st.integers(1, 5), C=st.integers(1, 6), smoothing=st.floats(0, 1))
def test_the_target_is_wanted_with_what_is_left_and_every_label_with_its_share(B, C, smoothing):
    logits, targets = rows(B, C)
    wanted = (1 - smoothing) * np.eye(C)[targets] + smoothing / C
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    loss, _ = smoothed_cross_entropy(logits, targets, smoothing)
    assert loss == pytest.approx(-(wanted * log_probabilities).sum(axis=1).mean(), rel=1e-12)


@given(B=st.integers(1, 5), C=st.integers(2, 6), smoothing=st.sampled_from([0.0, 0.1, 0.5, 0.9]))
def test_its_gradient_is_the_complex_step_derivative(B, C, smoothing):
    logits, targets = rows(B, C)
    _, backward = smoothed_cross_entropy(logits, targets, smoothing)
    errors = relative_errors(
        lambda arrays: smoothed_cross_entropy(arrays["logits"], targets, smoothing)[0],
        {"logits": logits},
        {"logits": backward()},
    )
    assert errors["logits"] < 1e-12


def test_without_smoothing_it_is_the_cross_entropy_bit_for_bit():
    logits, targets = rows(5, 3)
    (loss, backward), (expected, d_loss) = smoothed_cross_entropy(logits, targets, 0.0), cross_entropy(logits, targets)
    assert loss == expected and np.array_equal(backward(), d_loss())
