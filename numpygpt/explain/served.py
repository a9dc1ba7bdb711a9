"""The answers of numpygpt.serve: a run's classifier, with results that JSON can hold."""

from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np

from ..ops.softmax import softmax
from ..system.errors import InputError
from ..text.seen import remark
from ..text.split import SplitSet
from ..text.tokenizer import encode_message, token_texts
from ..training.evaluation import evaluate
from ..training.naive_bayes import NaiveBayes
from .attribution import after_each_token, explain
from .because import METHODS
from .colours import colours

EXAMPLES, SHORT = 5, 300  # test messages of each label to be tried, of at most so many characters,
LOOKED_AT = 1000  # from the first of them


class Served:
    """A classifier that `numpygpt.load_run` returned, and its run folder. Each method's result is JSON-able.

    teachers   a function that returns the run's Teachers; called once, when `because` is asked for the first time
    going   called now and then during long work. A server sets it to raise an error once the client has hung up

    Raises InputError for a text without anything to read.
    """

    def __init__(self, clf, folder, teachers=None):
        self.clf, self.folder = clf, Path(folder)
        self.teachers = cache(teachers or self._no_teachers)
        self.test = self.folder / "test.csv"
        self.going = lambda: None
        self._evaluation: dict | None = None

    def model(self) -> dict:
        """Return what the page shows about the run at its start."""
        clf, config = self.clf, self.clf.config
        return {
            "run": self.folder.resolve().name,
            "model": Path(clf.gpt.source).name,
            "blocks": config.n_layer,
            "width": config.n_embd,
            "heads": config.n_head,
            "labels": clf.labels,
            "colours": colours(clf.labels),
            "position": clf.pooling.position,
            "causal": clf.pooling.causal,
            "padding": clf.pad_to,
            "examples": self._examples(),
            "evaluation": self.test.exists(),
            "because": (self.folder / "train.csv").exists(),
        }

    def evaluation(self) -> dict:
        """Return the figures of the run, and of naive Bayes, on the test messages. They are computed once."""
        if self._evaluation is None:
            if not self.test.exists():
                raise InputError(f"{self.folder} has no test.csv")
            train_csv, labels = self.folder / "train.csv", self.clf.labels
            training = list(SplitSet(train_csv, labels)) if train_csv.exists() else []
            naive_bayes = NaiveBayes(training, labels) if training else None
            trained_on, messages = [text for text, _ in training], SplitSet(self.test, labels)
            evaluation = evaluate(
                self.clf, messages, naive_bayes, report=lambda done: self.going(), training_texts=trained_on
            )
            self._evaluation = evaluation.to_dict()
        return self._evaluation

    def classify(self, text: str) -> dict:
        """Return the answer, its margin, the probabilities and logits of all labels, and the tokens that were read."""
        clf, read = self.clf, self._read(text)
        logits = clf.logits([text])[0].astype(np.float64)
        answer, runner_up = np.argsort(-logits, kind="stable")[:2].tolist()
        return {
            "label": clf.labels[answer],
            "runner_up": clf.labels[runner_up],
            "margin": logits[answer] - logits[runner_up],
            "probabilities": dict(zip(clf.labels, softmax(logits)[0].tolist())),
            "logits": dict(zip(clf.labels, logits.tolist())),
        } | read

    def explain(self, text: str, baseline: str = "padding") -> dict:
        """Return how much each token contributes to the margin: see `numpygpt.explain.attribution.Explanation`."""
        read = self._read(text)
        found = explain(self.clf, text, baseline, progress=lambda done, total: self.going())
        return {
            "label": found.label,
            "runner_up": found.runner_up,
            "margin": found.margin,
            "baseline": found.baseline,
            "baseline_margin": found.baseline_margin,
            "integrated": found.integrated.tolist(),
            "gradient_input": found.gradient_input.tolist(),
            "deletion": [None if np.isnan(lost) else lost for lost in found.deletion.tolist()],
            "sum": float(found.integrated.sum()),
            "difference": found.difference,
            "complete": found.complete,
            "points": found.points,
        } | read

    def curve(self, text: str) -> dict:
        """Return {label: its probabilities, if the model's input ended after each token}."""
        read = self._read(text)
        logits = after_each_token(self.clf, text, progress=lambda done, total: self.going())
        probabilities, _ = softmax(logits.astype(np.float64))
        return {"probabilities": dict(zip(self.clf.labels, probabilities.T.tolist()))} | read

    def because(self, text: str) -> dict:
        """Return the training messages that speak most for and most against the answer: see `Classifier.because`."""
        read = self._read(text)
        found = self.teachers().because(text, progress=lambda done, total: self.going())
        sides = [
            {"title": title, "messages": rows[["text", "label", "score"]].to_dict("records")}
            for title, rows in found.sides()
        ]
        return {"label": found.label, "method": METHODS[found.method], "sides": sides} | read

    def _no_teachers(self):
        raise InputError(f"the training messages of {self.folder} are not known")

    def _examples(self):
        """Return {label: a few test messages with this label}, as examples for the page."""
        found: dict[str, list[str]] = {label: [] for label in self.clf.labels}
        messages = SplitSet(self.test, self.clf.labels) if self.test.exists() else ()
        for text, label in islice(messages, LOOKED_AT):
            if len(found[label]) < EXAMPLES and len(text) <= SHORT:
                found[label].append(text)
        return {label: texts for label, texts in found.items() if texts}

    def _read(self, text):
        """Return the tokens of a text that the model reads."""
        if not text.strip():
            raise InputError("there is no text to classify")
        (ids,) = self.clf.encode([text])
        own, whole = int((ids != self.clf.encoding.eot_token).sum()), len(encode_message(self.clf.encoding, text))
        cut = f"Cut: this run reads the first {own:,} of the message's {whole:,} tokens."
        unseen = self.clf.unseen([text])[0]
        warning = f"{remark(unseen)}. Do not rely on the answer."
        notes = [cut] * (own < whole) + [warning] * bool(remark(unseen))
        return {
            "tokens": token_texts(self.clf.encoding, ids),
            "ids": ids.tolist(),
            "padding": len(ids) - own,
            "unseen": None if np.isnan(unseen) else unseen,
            "note": " ".join(notes) or None,
        }
