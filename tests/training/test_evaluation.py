"""The figures of an evaluation equal hand calculations and scikit-learn's."""

import io
import json

import numpy as np
import pandas as pd
import pytest

import numpygpt
from numpygpt.ops.softmax import softmax
from numpygpt.system.errors import InputError
from numpygpt.training import evaluation
from numpygpt.training.evaluation import MISTAKES, Evaluation, evaluate, wilson
from numpygpt.training.naive_bayes import NaiveBayes

LABELS = ["bad", "fair", "good"]


def logits_of(*probabilities):
    return np.log(np.array(probabilities) + 1e-99)


def evaluation_of(numbers, probabilities, labels=LABELS):
    found = Evaluation(labels)
    found.add([f"message {i}" for i in range(len(numbers))], np.array(numbers), logits_of(*probabilities))
    return found


BY_HAND = evaluation_of(
    [0, 0, 0, 2, 2], [(0.7, 0.2, 0.1), (0.6, 0.2, 0.2), (0.05, 0.9, 0.05), (0.1, 0.1, 0.8), (0.5, 0.1, 0.4)]
)


@pytest.mark.parametrize(
    "right, total, low, high",
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_interval_equals_newcombes_table(right, total, low, high):
    """Newcombe (1998), Two-sided confidence intervals for the single proportion, table I, method 3."""
    assert wilson(right, total) == pytest.approx((low, high), abs=5e-5)
    assert wilson(total - right, total) == pytest.approx((1 - high, 1 - low), abs=5e-5)
    assert 0 <= wilson(right, total)[0] and wilson(total, total)[1] <= 1


def test_the_figures_equal_hand_calculations():
    found = BY_HAND
    assert found.messages == 5 and found.accuracy == 3 / 5 and found.interval == wilson(3, 5)
    assert found.confusion.tolist() == [[2, 1, 0], [0, 0, 0], [1, 0, 1]]
    assert found.support.tolist() == [3, 0, 2]
    np.testing.assert_allclose(found.precision, [2 / 3, 0, 1])
    np.testing.assert_allclose(found.recall, [2 / 3, 0, 1 / 2])
    np.testing.assert_allclose(found.f1, [2 / 3, 0, 2 / 3])
    assert found.macro == pytest.approx({"precision": 5 / 9, "recall": 7 / 18, "f1": 4 / 9})
    assert found.log_loss == pytest.approx(-np.log([0.7, 0.6, 0.05, 0.8, 0.4]).mean())
    assert [(row["messages"], row["confidence"], row["accuracy"]) for row in found.calibration] == [
        (1, pytest.approx(0.5), 0),
        (1, pytest.approx(0.6), 1),
        (1, pytest.approx(0.7), 1),
        (1, pytest.approx(0.8), 1),
        (1, pytest.approx(0.9), 0),
    ]
    assert found.calibration_error == pytest.approx((0.5 + 0.4 + 0.3 + 0.2 + 0.9) / 5)
    assert [(m["text"], m["label"], m["prediction"]) for m in found.mistakes] == [
        ("message 2", "bad", "fair"),
        ("message 4", "good", "bad"),
    ]
    assert [m["probability"] for m in found.mistakes] == pytest.approx([0.9, 0.5])


def test_a_macro_average_excludes_a_label_without_messages():
    found = evaluation_of([0, 1], [(0.9, 0.1, 0), (0.2, 0.8, 0)])
    assert found.macro == {"precision": 1, "recall": 1, "f1": 1}


def drawn(count=997, labels=6, seed=3):
    """Draw (label numbers, logits) whose answers are often correct."""
    rng = np.random.default_rng(seed)
    numbers = rng.integers(0, labels - 1, count)  # the last label never occurs
    logits = rng.standard_normal((count, labels)).astype(np.float32) * 2
    logits[np.arange(count), numbers] += 2
    return numbers, logits


def test_adding_parts_gives_the_whole_evaluation():
    numbers, logits = drawn()
    labels, texts = [f"label {i}" for i in range(6)], [f"text {i}" for i in range(len(numbers))]
    whole, parts = Evaluation(labels), Evaluation(labels)
    whole.add(texts, numbers, logits)
    for start in range(0, len(texts), 100):
        part = slice(start, start + 100)
        parts.add(texts[part], numbers[part], logits[part])
    np.testing.assert_array_equal(parts.confusion, whole.confusion)
    assert len(whole.mistakes) == MISTAKES and parts.mistakes == whole.mistakes
    assert parts.log_loss == pytest.approx(whole.log_loss, rel=1e-12)
    for mine, theirs in zip(parts.calibration, whole.calibration, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-12)


def test_every_figure_equals_scikit_learns():
    pytest.importorskip("sklearn")
    from sklearn import metrics
    from sklearn.calibration import calibration_curve

    numbers, logits = drawn()
    found = Evaluation([f"label {i}" for i in range(6)])
    probabilities = found.add(["text"] * len(numbers), numbers, logits)
    np.testing.assert_allclose(probabilities, softmax(logits.astype(float))[0], rtol=1e-12)
    answers, every = probabilities.argmax(axis=1), list(range(6))
    assert found.accuracy == metrics.accuracy_score(numbers, answers)
    np.testing.assert_array_equal(found.confusion, metrics.confusion_matrix(numbers, answers, labels=every))
    theirs = metrics.precision_recall_fscore_support(numbers, answers, labels=every, zero_division=0)
    for mine, other in zip((found.precision, found.recall, found.f1, found.support), theirs):
        np.testing.assert_allclose(mine, other, rtol=1e-12)
    theirs = metrics.precision_recall_fscore_support(numbers, answers, average="macro", zero_division=0)
    np.testing.assert_allclose(list(found.macro.values()), theirs[:3], rtol=1e-12)
    assert found.log_loss == pytest.approx(metrics.log_loss(numbers, probabilities, labels=every), rel=1e-12)
    right, confidence = answers == numbers, probabilities.max(axis=1)
    shares, means = calibration_curve(right, confidence, n_bins=10, strategy="uniform")
    np.testing.assert_allclose([row["accuracy"] for row in found.calibration], shares, rtol=1e-12)
    np.testing.assert_allclose([row["confidence"] for row in found.calibration], means, rtol=1e-12)
    counts = [row["messages"] for row in found.calibration]
    assert found.calibration_error == pytest.approx(np.dot(counts, np.abs(shares - means)) / len(numbers), rel=1e-12)


def test_a_confidence_on_a_bin_edge_falls_in_the_lower_bin():
    found = evaluation_of([0], [(0.5, 0.5)], labels=["a", "b"])
    assert [(row["above"], row["to"]) for row in found.calibration] == [(0.4, 0.5)]


def test_an_evaluation_prints_within_80_columns_with_one_line_per_text():
    found = Evaluation(LABELS, NaiveBayes([("win", "bad"), ("home", "good")], LABELS))
    found.add(
        ["two\nlines, and so many words of them that it has to be cut " * 2], np.array([0]), logits_of([0.1, 0.9, 0])
    )
    shown = str(found)
    assert "bad      0     1     0\n" in shown and "fair 0.9000 bad  two lines, and" in shown
    assert "naive Bayes on word counts: 100.00%" in shown
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert str(evaluation_of([0], [(0.9, 0.1, 0)])).endswith("no mistakes")
    many = [f"label number {i}" for i in range(9)]
    shown = str(evaluation_of([3], [np.eye(9)[4] * 0.5 + 0.01], many))
    assert "3 label number 3  0  0  0  0  1  0  0  0  0\n" in shown
    assert all(len(line) <= 80 for line in shown.splitlines())


@pytest.mark.parametrize("length, shown", [(63, "w" * 63), (64, "w" * 62 + "…")])
def test_a_long_text_of_a_mistake_is_cut_to_a_line_of_80_columns(length, shown):
    found = Evaluation(LABELS)
    found.add(["w" * length], np.array([0]), logits_of((0.1, 0.9, 0)))
    last = str(found).splitlines()[-1]
    assert last == f"fair 0.9000 bad  {shown}" and len(last) <= 80


def test_a_wide_confusion_matrix_is_replaced_by_the_most_frequent_mistakes():
    labels = [f"label number {i}" for i in range(40)]
    found = Evaluation(labels)
    found.confusion += 7 * np.eye(40, dtype=int)
    found.confusion[3, 30], found.confusion[31, 2] = 2, 1234
    shown = str(found).split("\n\n")
    assert (
        "the most frequent mistakes: messages, correct label, answer\n"
        + ("   1,234  label number 31, label number 2\n       2  label number 3, label number 30")
        in shown
    )


@pytest.mark.parametrize("count, shown", [(20, True), (21, False)])
def test_a_notebook_shows_the_confusion_matrix_of_at_most_twenty_labels(count, shown):
    found = Evaluation([f"label {i}" for i in range(count)])
    found.confusion += np.eye(count, dtype=int)
    assert ("answer label 0" in found._repr_html_()) == shown


def test_an_evaluations_dict_is_json_with_every_figure():
    kept = json.loads(json.dumps(BY_HAND.to_dict(), allow_nan=False))
    assert kept["messages"] == 5 and kept["naive_bayes"] is None and kept["confusion"][2] == [1, 0, 1]
    assert kept["labels"][0] == {
        "label": "bad",
        "precision": pytest.approx(2 / 3),
        "recall": pytest.approx(2 / 3),
        "f1": pytest.approx(2 / 3),
        "support": 3,
    }


@pytest.fixture(scope="module")
def clf():
    return numpygpt.Classifier(numpygpt.load("mini", weights="random"), ["ham", "a,b"], "head")


def test_evaluation_uses_the_answers_of_predict(clf, monkeypatch):
    monkeypatch.setattr(evaluation, "AT_ONCE", 16)
    texts = [f"message, {'x' * (i % 7)} {i}" for i in range(25)]
    labels = ["ham", "a,b"] * (len(texts) // 2) + ["ham"] * (len(texts) % 2)
    expected = clf.predict(texts)
    found = clf.evaluate(iter(texts), iter(labels))
    assert found.messages == len(texts) and found.naive_bayes is None
    assert found.accuracy == np.mean(expected["label"] == labels)
    file, done = io.BytesIO(), []
    assert str(evaluate(clf, zip(texts, labels), predictions=file, report=done.append)) == str(found)
    assert done == [16, 25]
    written = pd.read_csv(io.BytesIO(file.getvalue()))
    assert list(written.columns) == ["text", "label", "prediction", "P(ham)", "P(a,b)"]
    assert written["text"].tolist() == texts and written["label"].tolist() == labels
    assert written["prediction"].tolist() == expected["label"].tolist()
    np.testing.assert_allclose(written[["P(ham)", "P(a,b)"]], expected[["ham", "a,b"]], rtol=1e-4)


@pytest.mark.parametrize(
    "texts, labels, message",
    [
        ([], [], "no messages"),
        (["hi"] * 20 + [""], ["ham"] * 21, "message 21 is empty"),
        (["hi"], ["eggs"], "unknown label 'eggs'"),
        (["hi"], [], "numbers of texts and labels differ"),
        (["hi"], ["ham"] * 2, "numbers of texts and labels differ"),
    ],
)
def test_messages_that_cannot_be_evaluated_are_refused(clf, monkeypatch, texts, labels, message):
    monkeypatch.setattr(evaluation, "AT_ONCE", 16)
    with pytest.raises(InputError, match=message):
        clf.evaluate(texts, labels)


def test_the_accuracy_is_also_reported_without_messages_of_the_training_set():
    evaluation = Evaluation(["ham", "spam"], training_texts=["seen", "seen too", "not asked"])
    logits = np.array([[2.0, 0], [0, 2], [2, 0], [0, 2]])
    evaluation.add(["seen", "new", "seen too", "new too"], np.array([0, 0, 1, 1]), logits)
    assert (evaluation.repeated, evaluation.right_repeated) == (2, 1)
    assert evaluation.accuracy == evaluation.accuracy_without_repeated == 0.5
    assert "Also in the training set: 2 of these 4 messages. Accuracy on the other 2: 50.00%" in str(evaluation)
    assert evaluation.to_dict()["repeated"] == 2
    only = Evaluation(["ham", "spam"], training_texts=["seen"])
    only.add(["seen"], np.array([0]), logits[:1])
    assert only.accuracy_without_repeated is None and "1 of these 1 message." in only.summary()
    assert "training set" not in str(BY_HAND)
    assert BY_HAND.to_dict()["repeated"] is BY_HAND.to_dict()["accuracy_without_repeated"] is None  # nobody knows
