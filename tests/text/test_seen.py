"""The tokens of the training messages are noted, kept in the run folder, and used in a remark on unseen ones."""

import numpy as np
import pytest

import numpygpt
from numpygpt.api.run import load_run
from numpygpt.text.seen import remark, unseen_share
from numpygpt.training.loader import loaders


@pytest.fixture
def gpt(made):
    return numpygpt.load(str(made / "model"))


def fitted(gpt, texts, **settings):
    clf = numpygpt.Classifier(gpt, ["ham", "spam"], "head", **settings)
    numpygpt.fine_tune(clf, list(zip(texts, ["ham", "spam"] * 4)), epochs=1)
    return clf


@pytest.mark.parametrize("pad", ["none", "end", 12])
def test_only_tokens_of_training_messages_are_noted(gpt, pad):
    clf = numpygpt.Classifier(gpt, ["ham", "spam"], "head", pad=pad)
    assert np.isnan(clf.unseen(["win"])).all()
    training, validation = [("win £", "spam"), ("home", "ham")] * 4, [("你", "ham")]
    numpygpt.fine_tune(clf, training, validation, epochs=1)
    own = {token for text, _ in training for token in gpt.encode(text)}
    assert set(np.flatnonzero(clf.seen_tokens)) - {gpt.encoding.eot_token} == own
    expected = [np.mean([token not in own for token in gpt.encode(text)]) for text in ("win", "win 你", "你", "a home")]
    assert clf.unseen(["win", "win 你", "你", "a home"]) == pytest.approx(expected)
    assert expected[0] == 0 and expected[2] == 1 and 0 < expected[1] < 1


def test_a_second_training_adds_its_tokens_and_a_run_keeps_them(gpt, tmp_path):
    clf = fitted(gpt, ["win"] * 8)
    assert clf.unseen(["win", "home"]).tolist() == [0, 1]
    numpygpt.fine_tune(clf, [("home", "ham"), ("home", "spam")] * 4, epochs=1)
    assert clf.unseen(["win", "home", "你"]).tolist() == [0, 0, 1]
    clf.save(tmp_path / "run")
    again = load_run(tmp_path / "run")
    assert np.array_equal(again.seen_tokens, clf.seen_tokens) and "seen_tokens" not in again.params
    assert again.trainable == clf.trainable


def test_a_classifier_without_known_training_messages_makes_no_remark(gpt, tmp_path):
    numpygpt.Classifier(gpt, ["ham", "spam"]).save(tmp_path / "run")
    assert np.isnan(load_run(tmp_path / "run").unseen(["win", "你"])).all()


def test_loaders_note_the_tokens_of_the_training_set(gpt):
    clf = numpygpt.Classifier(gpt, ["ham", "spam"])
    training, _ = loaders(clf, [[("win", "spam")] * 8, [("home", "ham")]])
    assert unseen_share(np.array(gpt.encode("win")), -1, training.seen) == 0
    assert unseen_share(np.array(gpt.encode("home")), -1, training.seen) == 1


@pytest.mark.parametrize("share, said", [(0.5, "50%"), (1.0, "100%"), (0.49, None), (0.0, None), (np.nan, None)])
def test_a_remark_needs_at_least_half_unseen_tokens(share, said):
    assert remark(share) == (said and f"{said} of its tokens occur in no training message")
