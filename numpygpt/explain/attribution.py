"""Which tokens led to a classifier's answer: its margin, attributed to the tokens of a message.

    margin = logit of the answer - logit of the runner-up

The answer and the runner-up are always those of the whole message, even where the margin of an interpolated or
shortened message is computed. A maximum over labels would have kinks. This margin is smooth.
"""

from dataclasses import dataclass

import numpy as np

from ..model.classifier import classifier
from ..model.lora import merge
from ..model.shared_prefix import SharedPrefix
from ..model.tape import Tape
from ..model.trunk import blocks
from ..ops.embedding import embedding
from ..ops.layernorm import layernorm
from ..ops.linear import linear
from ..ops.softmax import softmax
from ..system.blas import parallel
from ..system.errors import InputError
from ..system.settings import BASELINES, EXPLAINING, checked
from ..text.tokenizer import token_texts
from ..training.frozen_features import BATCH_ROWS
from .attribution_html import in_notebook
from .attribution_text import visible

STRONGEST = 6  # tokens in the short form
FEWEST, MOST = 8, 512  # points of the integral, doubled from one to the other


@dataclass(repr=False, eq=False)
class Explanation:
    """How much each token that the model read, including padding, contributes to the answer.

    tokens, ids, padding    (T,) each token's text and id, and whether it is padding
    label, runner_up        the two labels of the margin. probability is that of `label`
    logits                  {label: logit}
    margin, baseline_margin the margins of the message and of the baseline. In the baseline, the embedding of every
                            token is that of padding, or zero. Position embeddings are unchanged
    integrated              (T,) integrated gradients, whose sum is margin - baseline_margin + `difference`
    gradient_input          (T,) the margin's gradient with respect to a token's embedding, times that embedding
    deletion                (T,) how much the margin falls when the token is deleted and later tokens move up. NaN for
                            padding, and for the only token of a message
    points                  the number of integration points between baseline and message
    tolerance               the largest accepted |difference|, as a share of |margin - baseline_margin|
    """

    tokens: list[str]
    ids: np.ndarray
    padding: np.ndarray
    label: str
    runner_up: str
    probability: float
    logits: dict[str, float]
    margin: float
    baseline: str
    baseline_margin: float
    integrated: np.ndarray
    gradient_input: np.ndarray
    deletion: np.ndarray
    points: int
    tolerance: float

    @property
    def difference(self) -> float:
        """Return the sum of the integrated gradients, minus (margin - baseline_margin)."""
        return float(self.integrated.sum() - (self.margin - self.baseline_margin))

    @property
    def complete(self) -> bool:
        """Return whether the difference is within the tolerance."""
        return abs(self.difference) <= self.tolerance * abs(self.margin - self.baseline_margin)

    def table(self):
        """Return a pandas.DataFrame with one row for each token."""
        import pandas as pd

        names = ("integrated", "gradient_input", "deletion", "padding")
        return pd.DataFrame({"token": self.tokens} | {name: getattr(self, name) for name in names})

    def sums(self) -> str:
        """Return one sentence on what the integrated gradients add up to, and whether they do."""
        said = (
            f"The margin is {self.margin:+.3f} to {self.runner_up}, and {self.baseline_margin:+.3f} at the baseline; "
            f"integrated gradients miss the difference by {self.difference:.2g}."
        )
        return said if self.complete else f"{said} Do not rely on them: the integral did not converge."

    def __repr__(self):
        own = np.flatnonzero(~self.padding)
        strongest = own[np.argsort(-np.abs(self.integrated[own]), kind="stable")[:STRONGEST]]
        tokens = ", ".join(f"{visible(self.tokens[t])} {self.integrated[t]:+.3f}" for t in strongest)
        return (
            f"Explanation: {self.label}, {self.probability:.2%}. {self.sums()}\nstrongest tokens: {tokens}\n"
            "table() has every token's numbers"
        )

    def _repr_html_(self):
        return in_notebook(self)


def explain(clf, text, baseline="padding", tolerance=0.01, progress=lambda done, total: None) -> Explanation:
    """Explain a Classifier's answer to a text. Return an Explanation.

    progress   called as progress(rows done, rows known to be needed)

    Integrated gradients (Sundararajan et al. 2017): with x the token embeddings and b the baseline's,
        integrated[t] = (x[t] - b[t]) . integral over a from 0 to 1 of d margin / d x[t] at b + a (x - b)
    The integral is computed by Gauss-Legendre quadrature. The number of points doubles until the sum is within the
    tolerance, or reaches MOST. The result is never rescaled.

    Raises InputError for a text without tokens, an unknown baseline or a tolerance that is no share.
    """
    checked(EXPLAINING, {"tolerance": tolerance})
    if baseline not in BASELINES:
        raise InputError(f"baseline {baseline!r}: use one of {', '.join(BASELINES)}")
    (ids,) = clf.encode([text])
    params, _ = merge(clf.params, clf.config, clf.lora_scale)
    logits = _logits(clf, params, ids[None])[0]
    margin = _Margin(clf, params, logits, progress)
    wte, places = params["wte.weight"], params["wpe.weight"][: len(ids)]
    x = wte[ids]
    b = np.broadcast_to(wte[clf.encoding.eot_token], x.shape) if baseline == "padding" else np.zeros_like(x)

    (at_baseline, at_message), gradients = margin.on_the_way(b, x, places, np.array([0.0, 1.0]), np.eye(2))
    points = FEWEST
    while True:
        nodes, weights = np.polynomial.legendre.leggauss(points)  # from -1 to 1
        _, (mean,) = margin.on_the_way(b, x, places, (1 + nodes) / 2, weights[None] / 2)
        integrated = (mean * (x - b)).sum(axis=1)
        missing = integrated.sum() - (at_message - at_baseline)
        if abs(missing) <= tolerance * abs(at_message - at_baseline) or points == MOST:
            break
        points *= 2

    padding = ids == clf.encoding.eot_token  # a message's own text has none: there it is ordinary characters
    answer, runner_up = clf.labels[margin.answer], clf.labels[margin.runner_up]
    return Explanation(
        tokens=token_texts(clf.encoding, ids),
        ids=ids,
        padding=padding,
        label=answer,
        runner_up=runner_up,
        probability=float(softmax(logits)[0][margin.answer]),
        logits=dict(zip(clf.labels, logits.tolist())),
        margin=float(at_message),
        baseline=baseline,
        baseline_margin=float(at_baseline),
        integrated=integrated,
        gradient_input=(gradients[1] * x).sum(axis=1),
        deletion=at_message - _without_each(clf, margin, ids, padding),
        points=points,
        tolerance=tolerance,
    )


class _Margin:
    """The margin between the two labels that lead in `logits` (C,)."""

    def __init__(self, clf, params, logits, progress):
        self.clf, self.params, self.progress = clf, params, progress
        self.answer, self.runner_up = np.argsort(-logits, kind="stable")[:2]
        self.done, self.total = [], 0

    def of_rows(self, rows):
        """Return margins (n,) and gradients (n, T, D) of n messages of equal length. rows (n, T, D) enter block 0."""
        n, T, D = rows.shape
        tape = Tape(self.params, input_learns=True)
        logits, backward = classifier(tape, rows.reshape(n * T, D), np.full(n, T), self.clf.config, self.clf.pooling)
        dlogits = np.zeros_like(logits)
        dlogits[:, self.answer], dlogits[:, self.runner_up] = 1, -1
        backward(dlogits)
        return self.between(logits), tape.dinput.reshape(n, T, D)

    def on_the_way(self, b, x, places, shares, weights):
        """Return margins (n,) and weights @ gradients at b + share * (x - b), for n shares. weights is (m, n)."""
        step = x - b

        def run(some):
            margins, gradients = self.of_rows(b + shares[some, None, None].astype(x.dtype) * step + places)
            return margins, np.tensordot(weights[:, some], gradients, 1)

        margins, sums = zip(*self.each(run, _chunks(len(shares), len(x))))
        return np.concatenate(margins), sum(sums)

    def of_messages(self, messages):
        """Return the margins (n,) of n messages of token ids, all of the same length."""

        def run(some):
            return self.between(_logits(self.clf, self.params, messages[some]))

        return np.concatenate(self.each(run, _chunks(*messages.shape)))

    def of_shortened(self, ids, messages):
        """Like `of_messages`, for a causal classifier, and messages (n, L) that lack token 0, 1, … of `ids`.

        Message t begins with the first t tokens of `ids`, whose rows are computed once. Neighbours form one batch, with
        the rows that all of them share left out; but each keeps its last row.
        """
        params, prefix = self.params, SharedPrefix(self.params, self.clf.config, ids)
        n, L = messages.shape

        def run(some):
            start = min(some.start, L - 1)
            rows = prefix.rows_from(start, messages[some])  # (n, L - start, D)
            read = rows[:, -1]
            if self.clf.pooling.position == "mean":
                read = (prefix.rows[:start].sum(axis=0) + rows.sum(axis=1)) / np.asarray(L, rows.dtype)
            return self.between(linear(read, params["head.weight"], params["head.bias"])[0])

        parts, first = [], 0
        while first < n:
            length = max(1, L - first)
            some = slice(first, min(n, first + max(1, BATCH_ROWS // length)))
            parts.append((some, (some.stop - first) * length))
            first = some.stop
        return np.concatenate(self.each(run, parts))

    def between(self, logits):
        return logits[:, self.answer] - logits[:, self.runner_up]

    def each(self, run, parts):
        """Return [run(some)] for parts (some, number of rows). Report the progress in rows."""
        self.total += sum(rows for _, rows in parts)

        def noted(part):
            some, rows = part
            result = run(some)
            self.done.append(rows)
            self.progress(sum(self.done), self.total)
            return result

        return parallel(noted, parts)


def _chunks(count, T):
    """Return parts (slice, number of rows) of `count` messages of T tokens, of about BATCH_ROWS rows each."""
    size = max(1, BATCH_ROWS // T)
    return [(slice(start, start + size), min(size, count - start) * T) for start in range(0, count, size)]


def _logits(clf, params, messages):
    """Return the logits (n, C) of n messages of token ids, all of the same length."""
    n, T = messages.shape
    return classifier(Tape(params), messages.ravel(), np.full(n, T), clf.config, clf.pooling)[0]


def _without_each(clf, margin, ids, padding):
    """Return (T,) the margin without each token. NaN for padding and for the only token.

    A message that is padded to a fixed length gets one more padding token.
    """
    own = int((~padding).sum())
    found = np.full(len(ids), np.nan)
    if own > 1:
        messages = np.stack([np.delete(ids, t) for t in range(own)])
        if isinstance(clf.pad_to, int):
            messages = np.pad(messages, ((0, 0), (0, 1)), constant_values=clf.encoding.eot_token)
        alike = (
            clf.pooling.causal and not clf.pooling.first_alone
        )  # where only the first row counts, no other is computed
        found[:own] = margin.of_shortened(ids, messages) if alike else margin.of_messages(messages)
    return found


def after_each_token(clf, text, progress=lambda done, total: None) -> np.ndarray:
    """Return (T, C): row t holds the logits if the model's input ended at token t. progress is as in `explain`.

    In a message padded to a fixed length, padding tokens count as tokens. Where one <|endoftext|> follows the message,
    it follows each shortened message, and has no row of its own.
    """
    (ids,) = clf.encode([text])
    params, _ = merge(clf.params, clf.config, clf.lora_scale)
    if clf.pad_to != "end" and clf.pooling.position != "first" and clf.pooling.causal:
        return _at_every_row(clf, params, ids)
    ends, last = ([clf.encoding.eot_token], len(ids) - 1) if clf.pad_to == "end" else ([], len(ids))
    parts = [np.append(ids[:t], ends).astype(ids.dtype) for t in range(1, last + 1)]
    done = []

    def run(part):
        logits = _logits(clf, params, part[None])
        done.append(len(part))
        progress(sum(done), sum(map(len, parts)))
        return logits

    return np.concatenate(parallel(run, parts))


def _at_every_row(clf, params, ids):
    """Apply the head to every row, or to the mean of the rows up to it.

    Under a causal mask, a row sees exactly what it would see if the message ended there.
    """
    tape, lengths = Tape(params), np.array([len(ids)])
    x, _ = tape(embedding, ids, "wte.weight", "wpe.weight", lengths=lengths)
    x, _ = blocks(tape, x, lengths, range(clf.config.n_layer), clf.config)
    x, _ = tape(layernorm, x, "ln_f.weight", "ln_f.bias", epsilon=clf.config.layer_norm_epsilon)
    if clf.pooling.position == "mean":
        x = np.cumsum(x, axis=0) / np.arange(1, len(x) + 1, dtype=x.dtype)[:, None]
    return tape(linear, x, "head.weight", "head.bias")[0]
