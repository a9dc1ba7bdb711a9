"""The training messages that speak most for and most against an answer."""

from dataclasses import dataclass
from functools import partial
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from ..system.errors import InputError
from ..system.settings import TEACHERS, checked
from ..training.loader import message_frame
from .influence import HEAD, HeadInfluence, TracIn, influence

if TYPE_CHECKING:
    import pandas as pd

METHODS = {
    "tracin": "TracIn: how much the message lowered the answer's loss during training",
    "head": "influence function of the head: how much the answer's loss would grow without the message",
    "influence": "influence function: how much the answer's loss would grow without the message",
}


@dataclass(frozen=True)
class Because:
    """The scores of all training messages for an answer. Print it for the largest.

    Attributes
    ----------
    text, label : str
        The message and the answer.
    probability : float
        The answer's probability.
    method : str
        "tracin", "head" or "influence".
    table : pandas.DataFrame
        A row for each training message, from the highest score to the lowest: text, label, score in nats. Above 0 the
        message speaks for the answer, below 0 against it.
    k : int
        How many messages are printed on each side.
    """

    text: str
    label: str
    probability: float
    method: str
    table: "pd.DataFrame"
    k: int

    def sides(self):
        """Return [(title, the k rows of the table with the largest scores of that side)]."""
        score = self.table["score"]
        return [
            (f"for {self.label}", self.table[score > 0].head(self.k)),
            (f"against {self.label}", self.table[score < 0].tail(self.k)[::-1]),
        ]

    def __str__(self):
        lines = [METHODS[self.method] + ", in nats"]
        width = max(map(len, self.table["label"]))
        for title, rows in self.sides():
            lines += ["", title if len(rows) else f"{title}: no message"]
            lines += [
                f"{row.score:+11.6f}  {row.label:{width}}  {' '.join(row.text.split())}" for row in rows.itertuples()
            ]
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self):
        rows = []
        for title, side in self.sides():
            rows.append(f"<tr><th colspan=3 style='text-align:left'>{escape(title)}</th></tr>")
            for row in side.itertuples():
                rows.append(
                    f"<tr><td>{row.score:+.6f}</td><td>{escape(row.label)}</td>"
                    f"<td style='text-align:left'>{escape(row.text)}</td></tr>"
                )
        return f"<table><caption>{escape(METHODS[self.method])}, in nats</caption>{''.join(rows)}</table>"


class Teachers:
    """The training messages of a classifier, for many answers.

    Parameters
    ----------
    clf : Classifier
        The trained classifier.
    training : list of (text, label), tuple (texts, labels) or DataFrame
        Its training messages.
    epochs : list of (float, Classifier)
        The rate per message, η/B, and the classifier at the end of each kept epoch. Only TracIn needs them.
    method : {"tracin", "head", "influence"}, optional
        The default is "head" if the head alone is trainable, else "tracin".
    smoothing, weights
        The label smoothing and the labels' weights of the training.
    """

    def __init__(self, clf, training, epochs=(), method=None, smoothing=0.0, weights=None):
        method = method or ("head" if clf.trainable == HEAD else "tracin")
        if method not in list(METHODS):
            raise InputError(f"method {method!r}: use one of {', '.join(METHODS)}")
        frame = message_frame(training)
        self.texts, self.labels = frame["Text"].tolist(), frame["Label"].astype(str).tolist()
        messages, numbers = clf._labelled(self.texts, self.labels)
        self.clf, self.method = clf, method
        if method == "tracin":
            if not epochs:
                raise InputError(
                    "TracIn needs the parameters at the end of each epoch, which `python -m numpygpt.train` keeps if "
                    "they take at most 256 MB. There are none here: use method='head'"
                )
            self.of_answer = TracIn(epochs, messages, numbers, smoothing, weights).scores
        elif method == "head":
            self.of_answer = HeadInfluence(clf, messages, numbers).scores
        else:
            self.of_answer = partial(influence, clf, messages, numbers)

    def because(self, text, k=5, progress=lambda done, total: None) -> Because:
        """Return the scores for the answer to a text.

        progress   called as progress(steps done, the most that are needed)
        """
        import pandas as pd

        checked(TEACHERS, {"k": k})
        (ids,) = self.clf.encode([text])
        answer = self.clf.predict([text]).iloc[0]
        (number,) = self.clf.numbers([answer["label"]])
        scores = self.of_answer(ids, number, progress=progress)
        table = pd.DataFrame({"text": self.texts, "label": self.labels, "score": scores})
        table = table.iloc[np.argsort(-scores, kind="stable")].reset_index(drop=True)
        probability = float(answer.iloc[1 + number])
        return Because(text, str(answer["label"]), probability, self.method, table, k)
