"""A tiny GPT-2 gives PyTorch's stored logits, loss, gradients and ten training steps (see make_golden.py)."""

from pathlib import Path

import numpy as np
import pytest

from numpygpt.model.classifier import classifier
from numpygpt.model.config import Config
from numpygpt.model.language import language_logits
from numpygpt.model.tape import Tape
from numpygpt.ops.cross_entropy import cross_entropy
from numpygpt.training.adamw import AdamW
from tests.classifiers import classifier_of, loss_of

CONFIG = Config(vocab_size=13, n_positions=8, n_embd=6, n_layer=3, n_head=2)


@pytest.fixture
def golden():
    with np.load(Path(__file__).with_name("golden.npz")) as stored:
        return dict(stored)


def under(golden, folder):
    return {name.removeprefix(f"{folder}/"): array for name, array in golden.items() if name.startswith(f"{folder}/")}


def test_the_trunks_logits_equal_pytorchs_at_every_position(golden):
    params = under(golden, "params")
    logits = language_logits(Tape(params), golden["ids"], golden["lengths"], CONFIG)
    np.testing.assert_allclose(logits, golden["language_logits"], rtol=1e-11, atol=1e-12)


def test_the_classifiers_logits_loss_and_gradients_equal_pytorchs(golden):
    params, grads = under(golden, "params"), under(golden, "grads")
    logits, backward = classifier(Tape(params, frozenset(params)), golden["ids"], golden["lengths"], CONFIG)
    np.testing.assert_allclose(logits, golden["logits"], rtol=1e-11)
    loss, (dlogits,) = cross_entropy(logits, golden["labels"])
    assert loss == pytest.approx(golden["losses"][0], rel=1e-12)
    found = backward(dlogits())
    assert found.keys() == grads.keys()
    for name, gradient in found.items():
        assert np.abs(gradient - grads[name]).max() <= 1e-11 * np.abs(grads[name]).max(), name


def test_ten_training_steps_of_the_last_block_equal_pytorchs(golden):
    params = under(golden, "params")
    messages = np.split(golden["ids"], np.cumsum(golden["lengths"])[:-1])
    clf = classifier_of(params, CONFIG, "last_block")
    optimizer = AdamW(params, clf.trainable, lr=0.01, weight_decay=0.1)
    losses = []
    for _ in range(10):
        loss, grads = loss_of(clf, messages, golden["labels"])
        losses.append(loss)
        optimizer.step(grads)
    assert losses[-1] < losses[0] - 0.3
    np.testing.assert_allclose(losses, golden["losses"], rtol=1e-9)
