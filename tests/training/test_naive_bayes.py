import math

import numpy as np
import pytest

from numpygpt.text.messages import read_messages
from numpygpt.text.sources import SAMPLE
from numpygpt.training.naive_bayes import NaiveBayes

AWKWARD = [
    "",
    "a b c",
    "ÄPFEL äpfel Äpfel",
    "don't x-ray £900 5 55",
    "under_score 'quoted'",
    "unseen zzz",
    "日本語 テキスト",
]


def test_naive_bayes_follows_laplaces_rule():
    bayes = NaiveBayes([("win Win cash", "spam"), ("home soon", "ham"), ("home", "ham")], ["ham", "spam"])
    likely = math.log(2 / 3) + math.log((2 + 1) / (3 + 4)), math.log(1 / 3) + math.log((0 + 1) / (3 + 4))
    np.testing.assert_allclose(bayes.logits(["HOME, unknown a"]), [likely], rtol=1e-14)
    np.testing.assert_allclose(bayes.logits([""]), np.log([[2 / 3, 1 / 3]]), rtol=1e-14)
    assert bayes.logits([]).shape == (0, 2)


def test_a_label_without_messages_is_never_the_answer():
    bayes = NaiveBayes([("win", "spam"), ("home", "ham")], ["ham", "order", "spam"])
    assert bayes.logits(["parcel"])[0, 1] == -math.inf


def test_naive_bayes_equals_scikit_learns():
    pytest.importorskip("sklearn")
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.naive_bayes import MultinomialNB

    frame = read_messages(SAMPLE)
    texts = frame["Text"].tolist() + AWKWARD
    labels = [f"{label} {i % 2}" for i, label in enumerate([*frame["Label"], *["ham"] * len(AWKWARD)])]  # four labels
    counter = CountVectorizer()
    theirs = MultinomialNB().fit(counter.fit_transform(texts[::2]), labels[::2])
    ours = NaiveBayes(zip(texts[::2], labels[::2]), sorted(set(labels[::2])))
    assert list(theirs.classes_) == sorted(set(labels[::2]))
    assert ours.vocabulary.keys() == counter.vocabulary_.keys()
    np.testing.assert_allclose(ours.logits(texts), theirs.predict_joint_log_proba(counter.transform(texts)), rtol=1e-12)
