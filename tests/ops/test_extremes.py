"""Extreme inputs, at which a careless operation would overflow, divide by zero, lose a term or mix messages."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpygpt.model import fast
from numpygpt.model.tape import Tape
from numpygpt.ops.attention import attention
from numpygpt.ops.cross_entropy import cross_entropy
from numpygpt.ops.embedding import embedding
from numpygpt.ops.gelu import gelu
from numpygpt.ops.layernorm import layernorm
from numpygpt.ops.linear import linear
from numpygpt.ops.output_loss import output_loss
from numpygpt.ops.pool import mean_rows
from numpygpt.ops.query_attention import query_attention
from numpygpt.ops.softmax import softmax
from numpygpt.system import chunks

pytestmark = pytest.mark.filterwarnings("error")


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("far", [30, 1e4])
def test_gelus_tails_and_their_slopes_are_the_identitys_and_zero(far):
    y, (dx,) = gelu(np.array([[far, -far]], np.float32))
    assert y.tolist() == [[far, 0]]
    assert dx(np.ones((1, 2), np.float32)).tolist() == [[1, 0]]


def test_gelu_is_the_tanh_form_not_erf():
    y, _ = gelu(np.array([[-3.0, -1.0, 1.0, 3.0]]))
    np.testing.assert_allclose(
        y, [[-0.0036373920817729943, -0.15880800939172324, 0.8411919906082768, 2.996362607918227]], rtol=1e-14
    )


def test_softmax_of_huge_entries_does_not_overflow():
    x = np.array([[3e38, 3e38, -3e38], [1e4, 1e4 - 1, -1e4]], np.float32)
    with np.errstate(over="ignore"):  # -3e38 - 3e38
        y, (dx,) = softmax(x)
    np.testing.assert_allclose(y, [[0.5, 0.5, 0], [1 / (1 + np.exp(-1)), 1 / (1 + np.exp(1)), 0]], rtol=1e-6)
    assert np.isfinite(dx(normal(2, 3))).all()


def test_softmax_gives_minus_infinity_zero_weight_and_zero_gradient():
    y, (dx,) = softmax(np.array([[1.0, -np.inf, 2.0]]))
    assert y[0, 1] == 0 and y.sum() == 1
    assert dx(normal(1, 3))[0, 1] == 0


def test_cross_entropy_of_extreme_logits_is_their_difference():
    loss, (dlogits,) = cross_entropy(np.array([[1e4, 0], [0, 1e4]], np.float32), np.array([1, 1]))
    assert loss == 5e3
    assert dlogits().tolist() == [[0.5, -0.5], [0, 0]]


def test_cross_entropy_excludes_rows_of_the_ignored_label_from_loss_mean_and_gradient():
    logits, targets, kept = normal(5, 3), np.array([2, 0, 2, 1, 0]), [1, 3, 4]
    loss, (dlogits,) = cross_entropy(logits, targets, ignore_index=2)
    alone, (dlogits_alone,) = cross_entropy(logits[kept], targets[kept])
    assert loss == pytest.approx(alone, rel=1e-6)
    np.testing.assert_allclose(dlogits()[kept], dlogits_alone(), rtol=1e-6)
    assert not dlogits()[[0, 2]].any()


def test_cross_entropys_gradient_scales_with_dloss():
    _, (dlogits,) = cross_entropy(normal(3, 4), np.array([0, 3, 1]))
    np.testing.assert_allclose(dlogits(0.25), dlogits() / 4, rtol=1e-15)


def test_layernorm_of_a_constant_row_is_the_bias_with_finite_gradients():
    x = np.full((2, 48), 0.1, np.float32)
    bias = normal(48).astype(np.float32)
    y, (dx, dgain, _) = layernorm(x, np.full(48, 2, np.float32), bias)
    np.testing.assert_allclose(y, [bias, bias], atol=1e-5)
    dy = normal(2, 48).astype(np.float32)
    np.testing.assert_allclose(dx(dy), 2 * (dy - dy.mean(axis=1, keepdims=True)) / np.sqrt(1e-5), rtol=1e-3, atol=0.1)
    np.testing.assert_allclose(dgain(dy), 0, atol=1e-4)


def test_layernorm_uses_the_given_epsilon():
    y, _ = layernorm(np.array([[1.0, -1.0]]), np.ones(2), np.zeros(2), epsilon=3.0)
    assert y.tolist() == [[0.5, -0.5]]


def test_layernorm_in_float32_survives_a_large_offset():
    x = (1000 + normal(3, 64)).astype(np.float32)
    exact, _ = layernorm(x.astype(np.float64), np.ones(64), np.zeros(64))
    y, _ = layernorm(x, np.ones(64, np.float32), np.zeros(64, np.float32))
    np.testing.assert_allclose(y, exact, atol=1e-3)


def test_embedding_sums_the_gradients_of_a_repeated_id():
    ids = np.array([2, 0, 2, 2, 5, 0])
    _, (dwte, dwpe) = embedding(ids, normal(6, 3), normal(4, 3), np.array([4, 2]))
    dx = normal(6, 3, seed=1)
    expected = np.zeros((6, 3))
    np.add.at(expected, ids, dx)
    np.testing.assert_allclose(dwte(dx), expected, rtol=1e-14)
    np.testing.assert_allclose(dwpe(dx), [dx[0] + dx[4], dx[1] + dx[5], dx[2], dx[3]], rtol=1e-14)


def test_embedding_restarts_positions_in_every_message():
    x, _ = embedding(np.array([0, 1, 0]), np.zeros((2, 1)), np.array([[10.0], [20.0]]), np.array([2, 1]))
    assert x.tolist() == [[10], [20], [10]]


def test_a_message_of_one_token_attends_only_to_itself():
    qkv = normal(1, 12)
    y, (dqkv,) = attention(qkv, 1, 2)
    assert np.array_equal(y, qkv[:, 8:])
    dy = normal(1, 4, seed=1)
    assert np.array_equal(dqkv(dy), np.concatenate([np.zeros((1, 8)), dy], axis=1))


@pytest.mark.parametrize("causal", [True, False])
def test_a_row_attends_only_to_its_own_message_and_causally_only_to_earlier_rows(causal):
    qkv = normal(12, 12)
    y, (dqkv,) = attention(qkv, T=4, n_head=2, causal=causal)
    dy = np.zeros((12, 4))
    dy[5] = 1  # the second row of the second message
    reached = np.flatnonzero(dqkv(dy).any(axis=1)).tolist()
    assert reached == ([4, 5] if causal else [4, 5, 6, 7])
    changed = qkv.copy()
    changed[5] += 1
    differs = np.flatnonzero((attention(changed, 4, 2, causal)[0] != y).any(axis=1)).tolist()
    assert differs == ([5, 6, 7] if causal else [4, 5, 6, 7])


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("group", [1, 2 * 2 * 3 * 3, 1 << 18])
def test_attention_of_unequal_lengths_equals_attention_of_each_message_alone(monkeypatch, causal, group):
    monkeypatch.setattr(fast, "GROUP", group)
    lengths = np.array([3, 3, 3, 1, 1, 5, 3])
    qkv, dy = normal(19, 12), normal(19, 4, seed=1)
    y, backward = on_tape(attention, qkv, lengths=lengths, n_head=2, causal=causal)
    dx, _ = backward(dy)
    for rows in np.split(np.arange(19), np.cumsum(lengths)[:-1]):
        alone, (dqkv,) = attention(qkv[rows], len(rows), 2, causal)
        np.testing.assert_allclose(y[rows], alone, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(dx[rows], dqkv(dy[rows]), rtol=1e-12, atol=1e-14)


def test_query_attention_equals_that_row_of_full_attention():
    lengths, rows = np.array([3, 1, 5]), np.array([1, 3, 8])
    x, weight, bias = normal(9, 6), normal(6, 18, seed=1), normal(18, seed=2)
    y, functions = query_attention(x, weight, bias, lengths, rows, n_head=3)
    qkv, d_linear = linear(x, weight, bias)
    full, d_attention = on_tape(attention, qkv, lengths=lengths, n_head=3, causal=False)
    np.testing.assert_allclose(y, full[rows], rtol=1e-12)
    dy, d_full = normal(3, 6, seed=3), np.zeros((9, 6))
    d_full[rows] = dy
    dqkv, _ = d_attention(d_full)
    for ours, theirs in zip(functions, d_linear):
        np.testing.assert_allclose(ours(dy), theirs(dqkv), rtol=1e-10, atol=1e-13)


def test_the_keys_bias_has_zero_gradient_because_softmax_ignores_a_constant():
    x, weight, bias = normal(6, 6), normal(6, 18, seed=1), normal(18, seed=2)
    qkv, (_, _, dbias) = linear(x, weight, bias)
    _, (dqkv,) = attention(qkv, T=3, n_head=2)
    np.testing.assert_allclose(dbias(dqkv(normal(6, 6, seed=3)))[6:12], 0, atol=1e-14)
    _, (_, _, dbias) = query_attention(x, weight, bias, np.array([2, 4]), np.array([1, 5]), n_head=2)
    assert not dbias(normal(2, 6))[6:12].any()


@pytest.mark.parametrize("lengths", [[2, 2], [5, 1], [5, 0], [], [6, -1]])
@pytest.mark.parametrize("op", ["attention", "query_attention", "mean_rows"])
def test_lengths_that_do_not_sum_to_the_rows_raise(op, lengths):
    x, lengths = normal(5, 6), np.array(lengths, int)
    with pytest.raises(ValueError, match="lengths must be at least 1 and sum to the 5 rows"):
        if op == "attention":
            on_tape(attention, x, lengths=lengths, n_head=1, causal=True)
        elif op == "query_attention":
            query_attention(x, normal(6, 18), normal(18), lengths, np.cumsum(lengths) - 1, n_head=2)
        else:
            mean_rows(x, lengths)


@pytest.mark.parametrize("target", [-100, -1, 3, 4])
@pytest.mark.parametrize("C", [3, 200])
def test_a_target_outside_the_classes_raises(target, C):
    target = target if target < 0 else target - 3 + C
    logits, targets = normal(2, C), np.array([0, target])
    for call in (
        lambda: cross_entropy(logits, targets),
        lambda: cross_entropy(logits, targets, ignore_index=1, smoothing=0.1),
        lambda: output_loss(normal(2, 4), normal(C, 4), targets),
    ):
        with pytest.raises(ValueError, match=f"target {target} is negative or too large: there are {C} classes"):
            call()
    loss, (dlogits,) = cross_entropy(logits, targets, ignore_index=target)
    assert np.isfinite(loss) and not dlogits()[1].any(), "PyTorch's ignored label may be -100"


def test_cross_entropy_without_a_counted_row_raises():
    with pytest.raises(ValueError, match="no row is left"):
        cross_entropy(normal(2, 3), np.array([1, 1]), ignore_index=1)
    with pytest.raises(ValueError, match="no row is left"):
        cross_entropy(normal(2, 3), np.array([1, 1]), weights=[1, 0, 1])


@pytest.mark.parametrize("ids", [[0, -1], [0, 6]])
def test_an_id_outside_the_vocabulary_raises(ids):
    with pytest.raises(IndexError):
        embedding(np.array(ids), normal(6, 3), normal(4, 3), np.array([2]))


@given(B=st.integers(1, 5), C=st.integers(1, 6), smoothing=st.floats(0, 1), weighted=st.booleans())
def test_label_smoothing_and_class_weights_follow_their_definition(B, C, smoothing, weighted):
    rng = np.random.default_rng(B + C)
    logits, targets = 2 * rng.standard_normal((B, C)), rng.integers(0, C, B)
    w = rng.uniform(0.1, 9, C) if weighted else np.ones(C)
    q = (1 - smoothing) * np.eye(C)[targets] + smoothing / C
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    loss, _ = cross_entropy(logits, targets, smoothing=smoothing, weights=w if weighted else None)
    assert loss == pytest.approx(-(w * q * log_probabilities).sum() / w[targets].sum(), rel=1e-12)


@pytest.mark.parametrize("ignored", [None, 1])
def test_a_class_weight_repeats_rows_and_equal_weights_change_nothing(ignored):
    logits, targets, weights = normal(4, 3).astype(np.float32), np.array([0, 2, 1, 2]), np.array([3, 1, 2])
    repeated = np.repeat(np.arange(4), weights[targets])
    loss, (dlogits,) = cross_entropy(logits, targets, ignored, weights=weights)
    again, (d_again,) = cross_entropy(logits[repeated], targets[repeated], ignored)
    assert loss == pytest.approx(again, rel=1e-6) and loss.dtype == dlogits().dtype == np.float32
    summed = np.zeros((4, 3), np.float32)
    np.add.at(summed, repeated, d_again())
    np.testing.assert_allclose(dlogits(), summed, atol=1e-7)
    plain, (d_plain,) = cross_entropy(logits, targets, ignored, smoothing=0.3)
    ones, (d_ones,) = cross_entropy(logits, targets, ignored, smoothing=0.3, weights=np.ones(3))
    assert plain == ones and (d_plain() == d_ones()).all()


def on_tape(op, x, *params, **settings):
    """Run an operation on a tape. Return (y, backward), where backward(dy) -> (dx, [gradient of each parameter])."""
    names = [str(i) for i in range(len(params))]
    tape = Tape(dict(zip(names, params)), frozenset(names), input_learns=True)
    y, backward = tape(op, x, *names, **settings)
    return y, lambda dy: (backward(dy), [tape.grads[name] for name in names])


@pytest.mark.parametrize("op, params", [(layernorm, (normal(3, seed=1), normal(3, seed=2))), (gelu, ())])
def test_chunks_give_the_results_and_gradients_of_the_whole(monkeypatch, op, params):
    x, dy = normal(7, 3), normal(7, 3, seed=3)
    y, functions = op(x, *params)
    monkeypatch.setattr(chunks, "CHUNK", 2 * 3 * 8)  # two rows
    chunked, backward = on_tape(op, x, *params)
    dx, dparams = backward(dy)
    assert np.array_equal(chunked, y)
    for ours, function in zip([dx, *dparams], functions):
        np.testing.assert_allclose(ours, function(dy), rtol=1e-13)


def test_chunks_compute_only_the_wanted_gradients(monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK", 2 * 3 * 8)
    params = {"gain": normal(3, seed=1), "bias": normal(3, seed=2)}
    x, dy = normal(7, 3), normal(7, 3, seed=3)
    _, (_, dgain, _) = layernorm(x, *params.values())
    tape = Tape(params, frozenset({"gain"}))
    _, backward = tape(layernorm, x, "gain", "bias")
    assert isinstance(backward(dy), float), "no parameter below is trainable, so dx is not computed"
    assert tape.grads.keys() == {"gain"}
    np.testing.assert_allclose(tape.grads["gain"], dgain(dy), rtol=1e-13)


def test_mean_rows_averages_each_message_separately():
    x = np.array([[1.0], [3.0], [10.0]])
    y, (dx,) = mean_rows(x, np.array([2, 1]))
    assert y.tolist() == [[2], [10]]
    assert dx(np.array([[1.0], [5.0]])).tolist() == [[0.5], [0.5], [5]]
