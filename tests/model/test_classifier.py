"""Every shortcut (frozen prefix, folded last block, selected gradients) gives the results of the full computation.

The model is small and float64. No parameter is zero or one, so that a mistake cannot hide.
"""

import sys
from contextlib import nullcontext
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpygpt import Classifier, load
from numpygpt.model.block import block, block_at
from numpygpt.model.classifier import classifier
from numpygpt.model.parameters import parameter_shapes
from numpygpt.model.pooling import Pooling
from numpygpt.model.tape import Tape
from numpygpt.model.trunk import blocks
from numpygpt.ops import gelu as gelu_module
from numpygpt.ops.attention import attention
from numpygpt.ops.embedding import embedding
from numpygpt.ops.layernorm import layernorm
from numpygpt.study.checking.cases import SMALL, random_messages, random_weights
from numpygpt.system import blas
from numpygpt.system.settings import POSITIONS
from numpygpt.text.batches import pack
from numpygpt.training import frozen_features as prefix_module
from numpygpt.training.frozen_features import FrozenPrefix

RNG = np.random.default_rng(7)
PARAMS = random_weights(RNG, parameter_shapes(SMALL) | {"head.weight": (6, 7), "head.bias": (7,)})
MESSAGES = random_messages(RNG)
DLOGITS = RNG.standard_normal((len(MESSAGES), 7))
EACH_WAY = pytest.mark.parametrize("position, causal", [(p, c) for p in POSITIONS for c in (True, False)])
close = partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-13)


def logits_of(messages, position="last", causal=True, tape=None):
    ids, lengths = pack(messages)
    return classifier(tape or Tape(PARAMS), ids, lengths, SMALL, Pooling(position, causal))


def gradients(trainable, position="last", causal=True, tape=Tape):
    tape = tape(PARAMS, trainable)
    return logits_of(MESSAGES, position, causal, tape)[1](DLOGITS)


def one_message_at_a_time(op):
    """Attend over messages of unequal lengths without the tape's table of fast variants."""
    if op is not attention:
        return op

    def each(qkv, lengths, **settings):
        ends = np.cumsum(lengths)
        parts = [attention(qkv[end - T : end], T, **settings) for end, T in zip(ends, lengths)]

        def dqkv(dy):
            return np.concatenate([d(dy[end - T : end]) for end, T, (_, (d,)) in zip(ends, lengths, parts)])

        return np.concatenate([y for y, _ in parts]), (dqkv,)

    return each


class Spy(Tape):
    """A Tape that records the gradients asked of each operation: (its parameters or else its name, gradient)."""

    def __init__(self, params, trainable=frozenset()):
        super().__init__(params, trainable)
        self.asked = []
        Spy.last = self

    def __call__(self, op, x, *names, **settings):
        def spied(*args, **settings):
            y, functions = one_message_at_a_time(op)(*args, **settings)
            return y, tuple(self.noting(names or op.__name__, function) for function in functions)

        return super().__call__(spied, x, *names, **settings)

    def noting(self, what, function):
        def noted(dy):
            self.asked.append((what, function.__name__))
            return function(dy)

        return noted


@EACH_WAY
def test_logits_equal_a_plain_computation_over_all_rows(position, causal):
    ids, lengths = pack(MESSAGES)
    rows, _ = embedding(ids, PARAMS["wte.weight"], PARAMS["wpe.weight"], lengths)
    rows, _ = blocks(Tape(PARAMS), rows, lengths, range(SMALL.n_layer), SMALL, causal)
    rows, _ = layernorm(rows, PARAMS["ln_f.weight"], PARAMS["ln_f.bias"])
    pool = {"last": lambda x: x[-1], "first": lambda x: x[0], "mean": lambda x: x.mean(axis=0)}[position]
    pooled = np.stack([pool(part) for part in np.split(rows, np.cumsum(lengths)[:-1])])
    close(logits_of(MESSAGES, position, causal)[0], pooled @ PARAMS["head.weight"] + PARAMS["head.bias"])


@EACH_WAY
def test_a_message_has_the_same_logits_alone_and_in_a_batch_of_unequal_lengths(position, causal):
    together, _ = logits_of(MESSAGES, position, causal)
    for message, logits in zip(MESSAGES, together):
        close(logits_of([message], position, causal)[0], [logits])


def test_the_last_block_for_one_row_equals_that_row_of_a_full_block():
    lengths = np.array([3, 1, 5])
    rows = np.array([1, 3, 8])
    x, dy = RNG.standard_normal((9, 6)), RNG.standard_normal((3, 6))
    everywhere, one_row = (Tape(PARAMS, frozenset(PARAMS), input_learns=True) for _ in range(2))

    def attend(qkv):
        return everywhere(attention, qkv, lengths=lengths, n_head=SMALL.n_head, causal=False)

    y, backward = block(everywhere, 1, x, attend, SMALL)
    y_at, backward_at = block_at(one_row, 1, x, lengths, rows, SMALL)
    close(y_at, y[rows])
    full_dy = np.zeros((9, 6))
    full_dy[rows] = dy
    close(backward_at(dy), backward(full_dy))
    assert one_row.grads.keys() == everywhere.grads.keys()
    for name, gradient in one_row.grads.items():
        close(gradient, everywhere.grads[name], err_msg=name)


@given(st.sets(st.sampled_from(sorted(PARAMS)), min_size=1), st.sampled_from(POSITIONS), st.booleans())
def test_freezing_parameters_changes_no_other_gradient(trainable, position, causal):
    some, full = gradients(frozenset(trainable), position, causal), gradients(frozenset(PARAMS), position, causal)
    assert some.keys() == trainable
    for name in trainable:
        assert np.array_equal(some[name], full[name]), name


@EACH_WAY
@pytest.mark.parametrize(
    "lowest, depth",
    [
        ("head.weight", 2),
        ("ln_f.bias", 2),
        ("h.1.mlp.c_proj.weight", 1),
        ("h.1.ln_1.weight", 1),
        ("h.0.ln_2.bias", 0),
        ("wpe.weight", 0),
    ],
)
def test_a_frozen_prefix_of_any_depth_changes_neither_logits_nor_gradients(
    monkeypatch, position, causal, lowest, depth
):
    monkeypatch.setattr(prefix_module, "BATCH_ROWS", 9)  # several batches
    trainable = frozenset({lowest, "head.bias"})
    tape = Tape(PARAMS, trainable)
    pooling = Pooling(position, causal)
    prefix = FrozenPrefix(PARAMS, SMALL, MESSAGES[::-1], depth, pooling)
    x, lengths = prefix.batch([3, 2, 1, 0])
    logits, backward = classifier(tape, x, lengths, SMALL, pooling, depth)
    backward(DLOGITS)
    close(logits, logits_of(MESSAGES, position, causal)[0])
    whole = gradients(trainable, position, causal)
    assert tape.grads.keys() == whole.keys()
    for name, gradient in tape.grads.items():
        close(gradient, whole[name], err_msg=name)


def test_a_prefix_computes_a_repeated_message_once():
    one, other = np.array([1, 2, 3]), np.array([4, 5])
    done = []
    prefix = FrozenPrefix(
        PARAMS, SMALL, [one, other, one, one, other], 1, progress=lambda *numbers: done.append(numbers)
    )
    assert done[-1] == (5, 5) and prefix.rows.kept == 5
    x, lengths = prefix.batch(np.array([2, 0, 4]))
    assert lengths.tolist() == [3, 3, 2]
    assert np.array_equal(x[:3], x[3:6]) and not np.array_equal(x[3:5], x[6:])


@pytest.mark.parametrize(
    "position, causal, rows", [("last", True, 2), ("first", False, 2), ("first", True, 1), ("mean", True, 5)]
)
def test_a_prefix_keeps_only_the_rows_read_later(position, causal, rows):
    messages = [np.array([1, 2, 3]), np.array([1, 5])]  # both have the same first token
    assert FrozenPrefix(PARAMS, SMALL, messages, SMALL.n_layer, Pooling(position, causal)).rows.kept == rows


def test_backpropagation_stops_at_the_lowest_trainable_parameter():
    gradients(frozenset({"h.1.mlp.c_proj.weight"}), tape=Spy)
    head, ln_f, c_proj = ((f"{layer}.weight", f"{layer}.bias") for layer in ("head", "ln_f", "h.1.mlp.c_proj"))
    assert Spy.last.asked == [(head, "dx"), (ln_f, "dx"), (c_proj, "dweight")]


def test_a_trainable_head_takes_one_backward_step_and_a_frozen_model_none():
    gradients(frozenset({"head.weight", "head.bias"}), tape=Spy)
    assert Spy.last.asked == [(("head.weight", "head.bias"), name) for name in ("dweight", "dbias")]
    assert gradients(frozenset(), tape=Spy) == {}
    assert Spy.last.asked == []


def test_only_gradients_of_trainable_parameters_are_computed():
    trainable = {"h.0.attn.c_attn.bias": "dbias", "h.1.ln_2.weight": "dgain", "head.bias": "dbias"}
    gradients(frozenset(trainable), tape=Spy)
    formed = [(names, name) for names, name in Spy.last.asked if name not in ("dx", "dqkv")]
    assert len(formed) == 3
    assert {trainable[name] for names, _ in formed for name in names if name in trainable} == set(trainable.values())
    assert {name for _, name in formed} == set(trainable.values())


def test_at_most_nine_frames_lead_from_the_loss_to_gelus_formula(monkeypatch):
    clf, depth = Classifier(load("mini"), ["ham", "spam"], "all"), []

    def tanh(u):
        frame, names = sys._getframe(1), []
        while frame and "loss" not in names:
            names.append(frame.f_code.co_name)
            frame = frame.f_back
        depth.append(names)
        return np.tanh(u)

    monkeypatch.setattr(gelu_module, "np", SimpleNamespace(tanh=tanh))
    clf.loss(["Home at six?"], ["ham"])
    assert depth and len(depth[0]) <= 9, depth[0]


def test_a_used_tape_is_refused():
    tape = Tape(PARAMS, frozenset(PARAMS))
    logits_of(MESSAGES, tape=tape)[1](DLOGITS)
    with pytest.raises(RuntimeError, match="use a new Tape"):
        logits_of(MESSAGES, tape=tape)


@pytest.mark.parametrize("position", POSITIONS)
def test_gradients_computed_on_another_core_have_the_same_bits(monkeypatch, position):
    expected = gradients(frozenset(PARAMS), position)
    monkeypatch.setattr(blas, "threads", lambda: 2)
    started, start = [], blas.start
    monkeypatch.setattr(blas, "start", lambda *args: started.append(start(*args)) or started[-1])
    with blas.one_thread():
        found = gradients(frozenset(PARAMS), position)
    assert any(started) and found.keys() == expected.keys()
    for name, gradient in found.items():
        assert np.array_equal(gradient, expected[name]), name


def scale(x, w):
    return x * w, (lambda dy: dy * w, lambda dy: (dy * x).sum(keepdims=True))


def test_a_parameter_used_twice_gets_the_sum_of_both_gradients():
    tape = Tape({"w": np.array([2.0])}, frozenset({"w"}), input_learns=True)
    x, first = tape(scale, np.array([3.0]), "w")
    _, second = tape(scale, x, "w")
    first(second(np.array([1.0])))
    assert tape.grads["w"] == 2 * 2 * 3  # d(3 w^2)/dw


@EACH_WAY
def test_the_textbook_last_block_gives_the_folded_blocks_logits_and_gradients(position, causal):
    ids, lengths = pack(MESSAGES)
    found = []
    for folded in (True, False):
        logits, backward = classifier(
            Tape(PARAMS, frozenset(PARAMS)), ids, lengths, SMALL, Pooling(position, causal, folded)
        )
        found.append({"logits": logits} | backward(DLOGITS))
    for name, array in found[0].items():
        close(array, found[1][name], err_msg=name)


def test_calling_a_models_backward_twice_raises():
    tape = Tape(PARAMS, frozenset(PARAMS))
    _, backward = logits_of(MESSAGES, tape=tape)
    once = {name: gradient.copy() for name, gradient in backward(DLOGITS).items()}
    with pytest.raises(RuntimeError, match="run the forward pass again"):
        backward(DLOGITS)
    assert all(np.array_equal(once[name], gradient) for name, gradient in tape.grads.items())


def test_the_gradient_of_the_input_rows_is_returned_on_request():
    """Attribution needs only this gradient, so it is also returned where no parameter is trainable."""
    x, lengths, dy = RNG.standard_normal((9, 6)), np.array([3, 1, 5]), RNG.standard_normal((9, 6))
    y, backward = blocks(Tape(PARAMS, input_learns=True), x, lengths, range(2), SMALL)
    direction = RNG.standard_normal(x.shape)
    moved, _ = blocks(Tape(PARAMS), x + 1e-30j * direction, lengths, range(2), SMALL)
    expected = (moved * dy).sum().imag / 1e-30
    assert (backward(dy) * direction).sum() == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize("idle_core", [False, True])
def test_each_gradient_is_passed_on_once_when_complete_and_not_kept(idle_core, monkeypatch):
    expected = gradients(frozenset(PARAMS), "last")
    found = {}

    def finished(gradient):
        (name,) = gradient
        assert name not in found
        found.update(gradient)

    monkeypatch.setattr(blas, "threads", lambda: 2)
    tape = Tape(PARAMS, frozenset(PARAMS), finished=finished)
    with blas.one_thread() if idle_core else nullcontext():
        _, backward = logits_of(MESSAGES, tape=tape)
        kept = backward(DLOGITS)
    assert not kept and found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert np.array_equal(found[name], gradient), name


def test_the_gradient_of_a_parameter_used_twice_is_passed_on_after_its_last_use():
    found = []
    tape = Tape({"w": np.array([2.0])}, frozenset({"w"}), input_learns=True, finished=found.append)
    x, first = tape(scale, np.array([3.0]), "w")
    _, second = tape(scale, x, "w")
    dx = second(np.array([1.0]))
    assert not found, "an update now would change the parameter that the first use still reads"
    first(dx)
    assert found == [{"w": np.array([2.0 * 2 * 3])}]
