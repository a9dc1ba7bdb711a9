"""Where an operation would overflow, divide by zero, lose a term or mix messages, if it were written carelessly."""

import numpy as np
import pytest

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
from numpygpt.system import pieces

pytestmark = pytest.mark.filterwarnings("error")


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("far", [30, 1e4])
def test_gelus_tails_are_the_line_and_zero_and_so_are_their_slopes(far):
    y, backward = gelu(np.array([[far, -far]], np.float32))
    assert y.tolist() == [[far, 0]]
    assert backward(np.ones((1, 2), np.float32)).tolist() == [[1, 0]]


def test_gelu_is_the_tanh_form_not_erf():
    y, _ = gelu(np.array([[-3.0, -1.0, 1.0, 3.0]]))
    np.testing.assert_allclose(
        y, [[-0.0036373920817729943, -0.15880800939172324, 0.8411919906082768, 2.996362607918227]], rtol=1e-14
    )


def test_softmax_of_huge_entries_neither_overflows_nor_loses_the_others():
    x = np.array([[3e38, 3e38, -3e38], [1e4, 1e4 - 1, -1e4]], np.float32)
    with np.errstate(over="ignore"):  # -3e38 less 3e38
        y, backward = softmax(x)
    np.testing.assert_allclose(y, [[0.5, 0.5, 0], [1 / (1 + np.exp(-1)), 1 / (1 + np.exp(1)), 0]], rtol=1e-6)
    assert np.isfinite(backward(normal(2, 3))).all()


def test_softmax_gives_minus_infinity_no_weight_and_no_gradient():
    y, backward = softmax(np.array([[1.0, -np.inf, 2.0]]))
    assert y[0, 1] == 0 and y.sum() == 1
    assert backward(normal(1, 3))[0, 1] == 0


def test_cross_entropy_of_hopeless_logits_is_their_distance():
    loss, backward = cross_entropy(np.array([[1e4, 0], [0, 1e4]], np.float32), np.array([1, 1]))
    assert loss == 5e3
    assert backward().tolist() == [[0.5, -0.5], [0, 0]]


def test_rows_of_the_ignored_label_count_neither_in_the_loss_nor_in_its_mean_nor_in_the_gradient():
    logits, targets, kept = normal(5, 3), np.array([2, 0, 2, 1, 0]), [1, 3, 4]
    loss, backward = cross_entropy(logits, targets, ignore_index=2)
    alone, backward_alone = cross_entropy(logits[kept], targets[kept])
    assert loss == pytest.approx(alone, rel=1e-6)
    np.testing.assert_allclose(backward()[kept], backward_alone(), rtol=1e-6)
    assert not backward()[[0, 2]].any()


def test_cross_entropys_backward_scales_with_what_it_is_given():
    _, backward = cross_entropy(normal(3, 4), np.array([0, 3, 1]))
    np.testing.assert_allclose(backward(0.25), backward() / 4, rtol=1e-15)


def test_an_all_equal_row_normalises_to_the_bias_with_finite_gradients():
    x = np.full((2, 48), 0.1, np.float32)
    bias = normal(48).astype(np.float32)
    y, backward = layernorm(x, np.full(48, 2, np.float32), bias)
    np.testing.assert_allclose(y, [bias, bias], atol=1e-5)
    dy = normal(2, 48).astype(np.float32)
    dx, dgain, dbias = backward(dy)
    np.testing.assert_allclose(dx, 2 * (dy - dy.mean(axis=1, keepdims=True)) / np.sqrt(1e-5), rtol=1e-3, atol=0.1)
    np.testing.assert_allclose(dgain, 0, atol=1e-4)


def test_layernorm_uses_the_epsilon_it_is_given():
    y, _ = layernorm(np.array([[1.0, -1.0]]), np.ones(2), np.zeros(2), epsilon=3.0)
    assert y.tolist() == [[0.5, -0.5]]


def test_layernorm_in_float32_survives_a_large_offset():
    x = (1000 + normal(3, 64)).astype(np.float32)
    exact, _ = layernorm(x.astype(np.float64), np.ones(64), np.zeros(64))
    y, _ = layernorm(x, np.ones(64, np.float32), np.zeros(64, np.float32))
    np.testing.assert_allclose(y, exact, atol=1e-3)


def test_an_id_that_comes_often_collects_all_its_gradients():
    ids = np.array([2, 0, 2, 2, 5, 0])
    _, backward = embedding(ids, normal(6, 3), normal(4, 3), np.array([4, 2]))
    dx = normal(6, 3, seed=1)
    _, dwte, dwpe = backward(dx)
    expected = np.zeros((6, 3))
    np.add.at(expected, ids, dx)
    np.testing.assert_allclose(dwte, expected, rtol=1e-14)
    np.testing.assert_allclose(dwpe, [dx[0] + dx[4], dx[1] + dx[5], dx[2], dx[3]], rtol=1e-14)


def test_positions_start_over_in_every_message():
    x, _ = embedding(np.array([0, 1, 0]), np.zeros((2, 1)), np.array([[10.0], [20.0]]), np.array([2, 1]))
    assert x.tolist() == [[10], [20], [10]]


def test_a_message_of_one_token_attends_to_itself_alone():
    qkv = normal(1, 12)
    y, backward = attention(qkv, np.array([1]), n_head=2)
    assert np.array_equal(y, qkv[:, 8:])
    dy = normal(1, 4, seed=1)
    assert np.array_equal(backward(dy), np.concatenate([np.zeros((1, 8)), dy], axis=1))


@pytest.mark.parametrize("causal", [True, False])
def test_a_row_hears_its_own_message_only_and_under_a_causal_mask_nothing_later(causal):
    lengths = np.array([3, 4, 4])
    qkv = normal(11, 12)
    y, backward = attention(qkv, lengths, n_head=2, causal=causal)
    dy = np.zeros((11, 4))
    dy[4] = 1  # the second row of the second message
    heard = np.flatnonzero(backward(dy).any(axis=1)).tolist()
    assert heard == ([3, 4] if causal else [3, 4, 5, 6])
    changed = qkv.copy()
    changed[4] += 1
    differs = np.flatnonzero((attention(changed, lengths, n_head=2, causal=causal)[0] != y).any(axis=1)).tolist()
    assert differs == ([4, 5, 6] if causal else [3, 4, 5, 6])


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("group", [1, 2 * 2 * 3 * 3, 1 << 18])
def test_attention_in_groups_of_messages_is_that_of_each_alone(monkeypatch, causal, group):
    monkeypatch.setattr(pieces, "GROUP", group)
    lengths = np.array([3, 3, 3, 1, 1, 5, 3])
    qkv, dy = normal(19, 12), normal(19, 4, seed=1)
    y, backward = attention(qkv, lengths, n_head=2, causal=causal)
    dqkv = backward(dy)
    for rows in np.split(np.arange(19), np.cumsum(lengths)[:-1]):
        alone, backward = attention(qkv[rows], np.array([len(rows)]), n_head=2, causal=causal)
        np.testing.assert_allclose(y[rows], alone, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(dqkv[rows], backward(dy[rows]), rtol=1e-12, atol=1e-14)


def test_attention_with_one_query_is_that_row_of_attention_with_all():
    lengths, rows = np.array([3, 1, 5]), np.array([1, 3, 8])
    x, weight, bias = normal(9, 6), normal(6, 18, seed=1), normal(18, seed=2)
    y, backward = query_attention(x, weight, bias, lengths, rows, n_head=3)
    qkv, d_linear = linear(x, weight, bias)
    full, d_attention = attention(qkv, lengths, n_head=3, causal=False)
    np.testing.assert_allclose(y, full[rows], rtol=1e-12)
    dy, d_full = normal(3, 6, seed=3), np.zeros((9, 6))
    d_full[rows] = dy
    for ours, theirs in zip(backward(dy), d_linear(d_attention(d_full))):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-13)


def test_the_keys_bias_has_no_gradient_because_softmax_ignores_a_constant():
    x, weight, bias = normal(5, 6), normal(6, 18, seed=1), normal(18, seed=2)
    qkv, d_linear = linear(x, weight, bias)
    _, d_attention = attention(qkv, np.array([2, 3]), n_head=2)
    _, _, dbias = d_linear(d_attention(normal(5, 6, seed=3)))
    np.testing.assert_allclose(dbias[6:12], 0, atol=1e-14)
    _, backward = query_attention(x, weight, bias, np.array([2, 3]), np.array([1, 4]), n_head=2)
    assert not backward(normal(2, 6))[2][6:12].any()


def test_layernorm_in_pieces_is_layernorm_of_the_whole_and_its_parameters_gradients_are_sums(monkeypatch):
    x, gain, bias, dy = normal(7, 3), normal(3, seed=1), normal(3, seed=2), normal(7, 3, seed=3)
    y, backward = layernorm(x, gain, bias)
    expected = backward(dy)
    monkeypatch.setattr(pieces, "PIECE", 2 * 3 * 8)  # two rows
    pieced, backward = layernorm(x, gain, bias)
    assert np.array_equal(pieced, y)
    for _ in range(2):  # called again it gives the same
        for ours, whole in zip(backward(dy), expected):
            np.testing.assert_allclose(ours, whole, rtol=1e-13)
    _, backward = layernorm(x, gain, bias, needs=(True, False, True))
    dx, dgain, dbias = backward(dy)
    assert dgain is None and np.array_equal(dx, expected[0])
    np.testing.assert_allclose(dbias, expected[2], rtol=1e-13)


@pytest.mark.parametrize("lengths", [[2, 2], [5, 1], [5, 0], [], [6, -1]])
@pytest.mark.parametrize("op", ["attention", "query_attention", "mean_rows"])
def test_lengths_that_are_not_those_of_the_rows_are_an_error(op, lengths):
    x, lengths = normal(5, 6), np.array(lengths, int)
    with pytest.raises(ValueError, match="lengths must be at least 1 and sum to the 5 rows"):
        if op == "attention":
            attention(x, lengths, n_head=1)
        elif op == "query_attention":
            query_attention(x, normal(6, 18), normal(18), lengths, np.cumsum(lengths) - 1, n_head=2)
        else:
            mean_rows(x, lengths)


def test_gelu_in_pieces_is_gelu_of_the_whole(monkeypatch):
    x, dy = normal(7, 3), normal(7, 3, seed=1)
    y, backward = gelu(x)
    dx = backward(dy)
    monkeypatch.setattr(pieces, "PIECE", 2 * 3 * 8)  # two rows
    pieced, backward = gelu(x)
    assert np.array_equal(pieced, y) and np.array_equal(backward(dy), dx)


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_the_output_loss_in_slices_is_that_of_the_whole(monkeypatch, rows):
    x, wte, targets = normal(5, 3), normal(4, 3, seed=1), np.array([0, 3, 3, 1, 2])
    logits = x @ wte.T
    expected, d_loss = cross_entropy(logits, targets)
    dlogits = d_loss(0.3)
    monkeypatch.setattr(pieces, "SLICE", rows * 4)
    loss, backward = output_loss(x, wte, targets)
    dx, dwte = backward(0.3)
    np.testing.assert_allclose(loss, expected, rtol=1e-14)
    np.testing.assert_allclose(dx, dlogits @ wte, rtol=1e-12)
    np.testing.assert_allclose(dwte, dlogits.T @ x, rtol=1e-12)


def test_the_mean_of_rows_is_each_messages_own():
    x = np.array([[1.0], [3.0], [10.0]])
    y, backward = mean_rows(x, np.array([2, 1]))
    assert y.tolist() == [[2], [10]]
    assert backward(np.array([[1.0], [5.0]])).tolist() == [[0.5], [0.5], [5]]
