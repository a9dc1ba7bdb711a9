"""Labels that look wrong: planted ones are found, each message is judged by a model that has not seen it, and what is
refused."""

import numpy as np
import pandas as pd
import pytest

from numpygpt import InputError, review
from numpygpt.explain import label_review
from numpygpt.explain.label_review import DUPLICATE, cross_validated, expected_wrong, folds_of
from numpygpt.training.logistic import fit, probabilities, with_ones

RNG = np.random.default_rng(0)


def clusters(count=40, labels=("a", "b", "c"), spread=0.5):
    """(texts, labels, features): `count` messages of each label, around a place of its own."""
    centres = 2 * np.eye(len(labels), 6)
    x = np.concatenate([centre + spread * RNG.standard_normal((count, 6)) for centre in centres])
    return [f"message {i}" for i in range(len(x))], [label for label in labels for _ in range(count)], x


def test_planted_labels_are_found_with_the_correct_suggestion():
    texts, labels, x = clusters()
    wrong = [3, 50, 110]
    given = list(labels)
    for i in wrong:
        given[i] = "a" if labels[i] != "a" else "b"
    suspects, expected = label_review.review(texts, given, x)
    assert sorted(suspects["message"][:3] - 1) == wrong and expected == 3
    for row in suspects.head(3).itertuples():
        assert row.suggested == labels[row.message - 1] and row.label == given[row.message - 1]
        assert row.text == texts[row.message - 1] and row.suggested_probability > row.probability


def test_correct_labels_give_no_suspects():
    suspects, expected = label_review.review(*clusters(spread=0.1))
    assert len(suspects) == 0 and expected == 0


def test_equal_texts_with_different_labels_come_first_and_together():
    texts, labels, x = clusters()
    texts[0], texts[41], x[41] = "Hello  there", "hello there", x[0]
    labels[10] = "c"  # the model alone would put this one first
    suspects, _ = label_review.review(texts, labels, x)
    assert suspects["why"].tolist()[:3] == [DUPLICATE, DUPLICATE, "model"]
    assert set(suspects["message"][:2]) == {1, 42} and suspects["message"][2] == 11


def test_equal_texts_are_in_the_same_fold():
    """With random features and labels, a model that saw a message's double would know its label."""
    rng = np.random.default_rng(3)
    x = np.repeat(rng.standard_normal((40, 60)), 2, axis=0)
    numbers = np.repeat(np.tile([0, 1], 20), 2)
    groups = np.repeat(np.arange(40), 2)
    fold = folds_of(numbers, groups, ["a", "b"])
    assert (fold[::2] == fold[1::2]).all()
    p = cross_validated(x, numbers, 2, fold)
    assert ((p[:, 1] > 0.5) == numbers).mean() < 0.75


def test_folds_have_equal_shares_of_each_label():
    numbers = np.array([0] * 25 + [1] * 10)
    fold = folds_of(numbers, np.arange(35), ["a", "b"])
    assert all((np.bincount(fold[numbers == c], minlength=5) == (5, 2)[c]).all() for c in (0, 1))


@pytest.mark.parametrize(
    "labels, message",
    [
        (["a"] * 8, "every message has the label 'a'"),
        (["a"] * 8 + ["b"] * 3, "label 'b' has 3 different messages, fewer"),
    ],
)
def test_one_class_and_too_few_messages_are_refused(labels, message):
    with pytest.raises(InputError, match=message):
        label_review.review([f"text {i}" for i in range(len(labels))], labels, np.ones((len(labels), 2)))


def test_expected_wrong_counts_confident_disagreements_only():
    p = np.array([[0.9, 0.1], [0.8, 0.2], [0.2, 0.8], [0.1, 0.9], [0.45, 0.55]])
    assert expected_wrong(p, np.array([0, 0, 1, 0, 0])) == 1  # the fourth, but not the fifth, of which nobody is sure


@pytest.mark.parametrize("penalty, C", [(0.1, 3), (0.01, 3), (0.001, 2)])
def test_the_regression_reaches_its_minimum(penalty, C):
    x, numbers = RNG.standard_normal((50, 4)), np.arange(50) % C
    weights = fit(x, numbers, C, penalty)
    p = probabilities(x, weights)
    gradient = with_ones(x).T @ (p - np.eye(C)[numbers]) / 50 + penalty * weights
    assert abs(gradient).max() < 1e-5


def test_the_regression_equals_scikit_learns():
    linear_model = pytest.importorskip("sklearn.linear_model")
    x, numbers = RNG.standard_normal((60, 5)), np.arange(60) % 3
    ones = linear_model.LogisticRegression(C=1 / (60 * 0.01), fit_intercept=False, tol=1e-8, max_iter=5000)
    theirs = ones.fit(with_ones(x), numbers).predict_proba(with_ones(x))
    np.testing.assert_allclose(probabilities(x, fit(x, numbers, 3, 0.01)), theirs, atol=1e-4)


def test_the_order_equals_cleanlabs():
    rank = pytest.importorskip("cleanlab.rank")
    texts, labels, x = clusters(spread=1.2)
    numbers = np.searchsorted(["a", "b", "c"], labels)
    groups = np.unique(texts, return_inverse=True)[1]
    p = cross_validated(x, numbers, 3, folds_of(numbers, groups, ["a", "b", "c"]))
    theirs = rank.get_label_quality_scores(numbers, p, method="normalized_margin").argsort(kind="stable")
    suspects, _ = label_review.review(texts, labels, x)
    assert len(suspects) > 5
    assert (suspects["message"] - 1).tolist() == theirs[: len(suspects)].tolist()


def test_the_command_lists_the_planted_label_first_and_writes_all(tmp_path, capsys):
    from numpygpt.text.messages import read_messages
    from numpygpt.text.sources import find_messages

    frame = read_messages(find_messages("sample")).groupby("Label").head(60).reset_index(drop=True)
    frame.loc[0, "Text"] = frame.loc[1, "Text"]
    frame.loc[0, "Label"], frame.loc[1, "Label"] = "ham", "spam"
    frame.to_csv(tmp_path / "mine.csv", index=False)
    review.main([str(tmp_path / "mine.csv"), "--out", str(tmp_path / "suspects.csv")])
    shown = capsys.readouterr().out
    assert "120 messages" in shown and "Labels expected to be wrong: about " in shown
    assert "2 messages with the same text as another message, and another label" in shown
    written = pd.read_csv(tmp_path / "suspects.csv")
    assert written.columns[:2].tolist() == ["text", "label"] and (written["why"] == DUPLICATE).sum() == 2
    assert written["text"][0] == frame.loc[0, "Text"]
    with pytest.raises(InputError, match="--out would overwrite the messages"):
        review.main([str(tmp_path / "mine.csv"), "--out", str(tmp_path / "mine.csv")])
    with pytest.raises(InputError, match="there is no folder gone"):
        review.main([str(tmp_path / "mine.csv"), "--out", "gone/suspects.csv"])
