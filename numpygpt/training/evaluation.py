"""Measure a classifier on messages with known labels."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import BinaryIO

import numpy as np

from ..ops.cross_entropy import cross_entropy
from ..ops.softmax import softmax
from ..system.errors import InputError
from ..system.single_process import SingleProcess
from ..text.batches import BATCH
from ..text.messages import quoted
from .batch import batch_logits
from .evaluation_text import in_brief, in_full, in_notebook, summary
from .loader import Loader
from .measures import map_batches
from .naive_bayes import NaiveBayes

AT_ONCE = 8 * BATCH  # messages in memory at a time
MISTAKES = 10  # how many of the most confident mistakes to keep
EDGES = np.linspace(0, 1, 11)  # of the calibration bins
Z = 1.959963984540054  # a normal variable is within ±Z with probability 95 %


def wilson(right: int, total: int) -> tuple[float, float]:
    """Return Wilson's (1927) 95 % interval for a share, observed as `right` of `total`. It stays within 0 … 1.

    It holds all shares p that are less than Z standard deviations, sqrt(p (1 - p) / total), from the observed share.
    """
    seen, spread = right / total, Z * Z / total
    middle = seen + spread / 2
    half = math.sqrt(spread * (seen * (1 - seen) + spread / 4))
    return max(0.0, (middle - half) / (1 + spread)), min(1.0, (middle + half) / (1 + spread))


class Evaluation:
    """The figures of a classifier's answers. `Classifier.evaluate` returns one; print() shows it as text.

    Its size does not depend on the number of messages.

    Parameters
    ----------
    labels : list of str
        The labels' names, in the order of the logits.
    naive_bayes : NaiveBayes, optional
        A baseline that answers the same messages.
    training_texts : iterable of str, optional
        The texts that the classifier was trained on, to count those among the messages.

    Attributes
    ----------
    labels : list of str
        The labels' names, in the order of the logits.
    confusion : (C, C) int ndarray
        The number of messages with each label (row) and answer (column).
    mistakes : list of dict
        The most confident mistakes, at most ten: {"text", "label", "prediction", "probability"}.
    naive_bayes : Evaluation or None
        The baseline's figures.
    repeated : int or None
        The messages that occur word for word among the training texts. None if no training texts were given.
    right_repeated : int
        The right answers among the repeated messages.

    Examples
    --------
    >>> import numpy as np
    >>> evaluation = Evaluation(["ham", "spam"])
    >>> logits = np.array([[3.0, -1.0], [1.0, 0.5], [0.0, 2.0]])
    >>> _ = evaluation.add(["Hi", "You won", "Win now"], np.array([0, 1, 1]), logits)
    >>> evaluation.confusion.tolist()
    [[1, 0], [1, 1]]
    >>> print(f"{evaluation.accuracy:.1%}, recall of spam {evaluation.recall[1]:.0%}")
    66.7%, recall of spam 50%
    """

    def __init__(
        self, labels: Sequence[str], naive_bayes: NaiveBayes | None = None, training_texts: Iterable[str] = ()
    ):
        self.labels, self._naive_bayes = list(labels), naive_bayes
        self.naive_bayes = Evaluation(labels) if naive_bayes else None
        self.confusion = np.zeros((len(labels), len(labels)), int)
        self.mistakes: list[dict] = []
        self._training_texts, self.right_repeated = frozenset(training_texts), 0
        self.repeated: int | None = 0 if self._training_texts else None
        self._nats = 0.0
        self._bins = np.zeros((3, len(EDGES) - 1))  # of each bin: messages, sum of their confidences, right answers

    def add(self, texts: Sequence[str], numbers: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """Add the answers to some texts.

        Parameters
        ----------
        texts : sequence of str
            B texts.
        numbers : (B,) int ndarray
            The index of each text's label in `labels`.
        logits : (B, C) ndarray
            The answers.

        Returns
        -------
        (B, C) float64 ndarray
            The probabilities.
        """
        if self.naive_bayes and self._naive_bayes:
            self.naive_bayes.add(texts, numbers, self._naive_bayes.logits(texts))
        logits = logits.astype(np.float64)
        probabilities, _ = softmax(logits)
        answers, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
        np.add.at(self.confusion, (numbers, answers), 1)
        if self.repeated is not None:
            repeated = np.array([text in self._training_texts for text in texts], bool)
            self.repeated += int(repeated.sum())
            self.right_repeated += int((answers == numbers)[repeated].sum())
        self._nats += len(numbers) * float(cross_entropy(logits, numbers)[0])
        bins = np.searchsorted(EDGES[1:-1], confidence)
        for row, weights in zip(self._bins, (np.ones(len(bins)), confidence, answers == numbers)):
            row += np.bincount(bins, weights, len(row))
        wrong = [
            {
                "text": texts[i],
                "label": self.labels[numbers[i]],
                "prediction": self.labels[answers[i]],
                "probability": float(confidence[i]),
            }
            for i in np.flatnonzero(answers != numbers).tolist()
        ]
        self.mistakes = sorted(self.mistakes + wrong, key=lambda mistake: -mistake["probability"])[:MISTAKES]
        return probabilities

    @property
    def messages(self) -> int:
        """The number of messages."""
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float:
        """The share of correct answers, 0 to 1."""
        return int(self.confusion.trace()) / self.messages

    @property
    def accuracy_without_repeated(self) -> float | None:
        """The accuracy on messages that do not occur among the training texts. None if there are none, or unknown."""
        if self.repeated is None:
            return None
        others = self.messages - self.repeated
        return (int(self.confusion.trace()) - self.right_repeated) / others if others else None

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of the accuracy."""
        return wilson(int(self.confusion.trace()), self.messages)

    @property
    def support(self) -> np.ndarray:
        """(C,) The number of messages with each label."""
        return self.confusion.sum(axis=1)

    @property
    def precision(self) -> np.ndarray:
        """(C,) The share of messages answered with a label that have it; 0 where no message was answered with it."""
        return _ratio(self.confusion.diagonal(), self.confusion.sum(axis=0))

    @property
    def recall(self) -> np.ndarray:
        """(C,) The share of a label's messages that were answered with it; 0 where the label has no messages."""
        return _ratio(self.confusion.diagonal(), self.support)

    @property
    def f1(self) -> np.ndarray:
        """(C,) The harmonic mean of precision and recall."""
        return _ratio(2 * self.confusion.diagonal(), self.confusion.sum(axis=0) + self.support)

    @property
    def macro(self) -> dict[str, float]:
        """The means of precision, recall and F1 over the labels that occur, as labels or as answers."""
        occurs = self.confusion.sum(axis=0) + self.support > 0
        values = {"precision": self.precision, "recall": self.recall, "f1": self.f1}
        return {name: float(value[occurs].mean()) for name, value in values.items()}

    @property
    def log_loss(self) -> float:
        """The mean of -log(probability of the correct label), in nats."""
        return self._nats / self.messages

    @property
    def calibration(self) -> list[dict]:
        """The answers in ten bins by confidence, the probability of the answer. Empty bins are left out.

        A bin is {"above", "to", "messages", "confidence", "accuracy"}. For a calibrated classifier the last two, the
        bin's mean confidence and its accuracy, agree.
        """
        bins = zip(EDGES, EDGES[1:], *self._bins)
        return [
            {"above": float(low), "to": float(high), "messages": int(n), "confidence": sure / n, "accuracy": right / n}
            for low, high, n, sure, right in bins
            if n
        ]

    @property
    def calibration_error(self) -> float:
        """The expected calibration error: the mean over all messages of |confidence - accuracy| of their bin."""
        _, sure, right = self._bins
        return float(np.abs(sure - right).sum() / self.messages)

    def to_dict(self) -> dict:
        """Return all figures as a dict that JSON can store."""
        per_label = zip(self.labels, self.precision, self.recall, self.f1, self.support)
        return {
            "messages": self.messages,
            "accuracy": self.accuracy,
            "interval": list(self.interval),
            "repeated": self.repeated,
            "accuracy_without_repeated": self.accuracy_without_repeated,
            "labels": [
                {"label": label, "precision": float(p), "recall": float(r), "f1": float(f), "support": int(n)}
                for label, p, r, f, n in per_label
            ],
            "macro": self.macro,
            "confusion": self.confusion.tolist(),
            "log_loss": self.log_loss,
            "calibration": self.calibration,
            "calibration_error": self.calibration_error,
            "mistakes": self.mistakes,
            "naive_bayes": self.naive_bayes
            and {"accuracy": self.naive_bayes.accuracy, "interval": list(self.naive_bayes.interval)},
        }

    def summary(self) -> str:
        """Return the first lines of the text: the accuracy, beside naive Bayes' accuracy, and each label's figures."""
        return summary(self)

    def __repr__(self) -> str:
        return in_brief(self)

    def _repr_html_(self):
        return in_notebook(self)

    def __str__(self) -> str:
        return in_full(self)


def _ratio(part, whole):
    """Return part / whole, and 0 where whole is 0, as scikit-learn does."""
    return np.divide(part, whole, out=np.zeros(len(whole)), where=whole > 0)


def evaluate(
    clf,
    messages: Iterable[tuple[str, str]],
    naive_bayes: NaiveBayes | None = None,
    predictions: BinaryIO | None = None,
    report: Callable[[int], None] = lambda done: None,
    ranks=SingleProcess(),
    training_texts: Iterable[str] = (),
) -> Evaluation:
    """Return the classifier's Evaluation on any number of (text, label), which are read lazily.

    naive_bayes  a baseline to measure on the same messages
    predictions  a file for the answers as CSV: text, label, prediction, P(…) of each label, and the share of the
                 text's tokens that no training message had, where that is known
    report       called at intervals with the number of finished messages
    ranks        the `training.ranks.Ranks` that share the messages
    training_texts   the texts that the classifier was trained on

    Raises InputError for an empty text, for an unknown label, and where there are no messages.
    """
    evaluation, done = Evaluation(clf.labels, naive_bayes, training_texts), 0
    known = clf.seen_tokens is not None
    if predictions:
        names = [f"P({label})" for label in clf.labels] + ["unseen"] * known
        predictions.write(_row(["text", "label", "prediction", *names]))
    for texts, labels in _parts(messages, AT_ONCE * ranks.size):
        for number, text in enumerate(texts, start=done + 1):
            if not isinstance(text, str):
                raise InputError(f"message {number} is {text!r}: expected a text")
        if "" in texts:
            raise InputError(f"message {done + texts.index('') + 1} is empty: there is nothing to classify")
        numbers = clf.numbers(labels)
        count = math.ceil(len(texts) / ranks.size)
        shares = [texts[start : start + count] for start in range(0, len(texts), count)]
        logits = ranks.map(clf.logits, shares, [sum(map(len, share)) for share in shares])
        probabilities = evaluation.add(texts, numbers, np.concatenate(logits))
        if predictions:
            answers = [clf.labels[number] for number in probabilities.argmax(axis=1)]
            numbers = np.column_stack([probabilities, clf.unseen(texts)]) if known else probabilities
            rows = zip(texts, labels, answers, numbers)
            predictions.writelines(_row([*fields, *(f"{p:.6g}" for p in shares)]) for *fields, shares in rows)
        done += len(texts)
        report(done)
    if not done:
        raise InputError("there are no messages to evaluate")
    return evaluation


def evaluate_loader(
    clf, loader: Loader, texts: Sequence[str], naive_bayes: NaiveBayes, ranks, training_texts: Iterable[str]
) -> Evaluation:
    """Return the classifier's Evaluation on an unshuffled Loader, which has the frozen blocks' output."""

    def logits(batch):
        x, lengths, _ = loader.take(batch)
        return batch_logits(clf, x, lengths, loader.prefix.depth)

    evaluation = Evaluation(clf.labels, naive_bayes, training_texts)
    evaluation.add(texts, loader.numbers, np.concatenate(map_batches(logits, loader, loader, ranks)))
    return evaluation


def count_messages(clf, messages: Iterable[tuple[str, str]], where) -> int:
    """Return the number of messages. Raise InputError now, not after an hour, for labels that `evaluate` refuses.

    where   the file of the messages, for the error
    """
    count = 0
    for _, labels in _parts(messages):
        try:
            count += len(clf.numbers(labels))
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
    return count


def _parts(messages: Iterable[tuple[str, str]], count=AT_ONCE) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    stream = iter(messages)
    while some := list(islice(stream, count)):
        texts, labels = zip(*some)
        yield texts, tuple(map(str, labels))


def _row(fields):
    return (",".join(map(quoted, fields)) + "\n").encode()
