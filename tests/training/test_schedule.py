"""Learning-rate schedules and gradient clipping."""

import math

import numpy as np
import pytest

from numpygpt.training.schedule import clip_norm, learning_rate


def test_the_learning_rate_warms_up_linearly_and_decays_by_a_cosine_to_a_tenth():
    rates = np.array([learning_rate(step, 110, 2.0, 10) for step in range(110)])
    np.testing.assert_allclose(rates[:11], [0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.0])
    assert (np.diff(rates[10:]) < 0).all()
    assert learning_rate(60, 110, 2.0, 10) == pytest.approx(1.1)  # halfway, the mean of 2 and 0.2
    assert learning_rate(110, 110, 2.0, 10) == pytest.approx(0.2)
    np.testing.assert_allclose(rates[10:60] + [learning_rate(120 - step, 110, 2.0, 10) for step in range(10, 60)], 2.2)


def test_a_schedule_may_have_no_warmup_or_only_warmup():
    assert learning_rate(0, 5, 2.0, 0) == 2.0
    assert [learning_rate(step, 3, 2.0, 4) for step in range(3)] == [0.5, 1.0, 1.5]


def test_clipping_scales_all_gradients_by_one_factor():
    grads = {"a": np.array([[3.0, 0.0]]), "b": np.array([4.0])}
    clip_norm(grads, 2.5)
    assert grads["a"].tolist() == [[1.5, 0.0]] and grads["b"].tolist() == [2.0]
    clip_norm(grads, 100.0)
    clip_norm(grads, math.inf)
    assert grads["b"].tolist() == [2.0], "a small gradient is left as it is"


def test_a_constant_rate_stays_constant_after_warmup():
    assert [learning_rate(step, 5, 2.0, 2, "constant") for step in range(5)] == [1.0, 2.0, 2.0, 2.0, 2.0]
