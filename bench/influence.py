"""Do the scores of training messages predict the effect of removing them? Newton's method trains the head of `mini` to
its optimum on the 700 training messages of the sample's first 1,000 with λ = 0.001, and again without each of 50 of
them.

For each of ten test messages: Spearman's rank correlation, over the 50 messages, of the score and the change of the
loss of the test message's answer. TracIn follows one checkpoint here, the optimum. Seconds are of one answer's scores
for all training messages: the head's influence function, and TracIn of the default run at the end of one epoch.
"""

import time
from pathlib import Path

import numpy as np

from numpygpt.api.classifier import Classifier
from numpygpt.api.gpt import load
from numpygpt.explain.influence import DAMPING, HeadInfluence, TracIn
from numpygpt.ops.softmax import softmax
from numpygpt.system import command
from numpygpt.system.settings import SMALLEST
from numpygpt.text.messages import read_messages
from numpygpt.text.selection import select
from numpygpt.text.sources import find_messages
from numpygpt.training.frozen_features import FrozenPrefix

REPETITIONS = 1
MESSAGES = 1000  # the first of the sample, of which 700 train
LEFT_OUT, ANSWERS = 50, 10


def main():
    clf, training, test = head_of("mini"), *sets()
    influences, tracins, seconds = correlations(clf, training, test, LEFT_OUT, ANSWERS)
    print(f"influence function  Spearman {_range(influences)}   {seconds:.1f} s an answer")
    print(f"TracIn              Spearman {_range(tracins)}")
    learning = Classifier(load("mini"), clf.labels)
    tracin = TracIn([(1e-3 / 8, learning)], *training)
    start = time.perf_counter()
    tracin.scores(test[0][0], test[1][0])
    print(f"TracIn of two blocks, one epoch: {time.perf_counter() - start:.1f} s an answer")


def _range(values):
    return f"{np.median(values):.3f} (lowest {min(values):.3f}, highest {max(values):.3f})"


def head_of(model):
    """Return a Classifier of the sample's labels whose head alone is trainable, in float64."""
    clf = Classifier(load(model), ["ham", "spam"], "head", position="mean")
    clf.params = {name: array.astype(np.float64) for name, array in clf.params.items()}
    return clf


def sets():
    """Return ((messages, label numbers) of the training set, the same of the test set)."""
    clf = head_of("mini")
    messages = read_messages(Path(find_messages("sample")))[:MESSAGES]
    (training, _, test), _ = select(messages, SMALLEST, 123)
    return [(clf.encode(part["Text"].tolist()), clf.numbers(part["Label"])) for part in (training, test)]


def correlations(clf, training, test, left_out, answers):
    """Return Spearman's correlations of both methods, one for each answer, and the seconds of an influence function."""
    messages, numbers = training
    x, tested = (features(clf, part) for part in (messages, test[0][:answers]))
    best = newton(x, numbers, np.zeros((x.shape[1], len(clf.labels))))
    clf.params["head.weight"], clf.params["head.bias"] = best[:-1].copy(), best[-1].copy()
    answer = (tested @ best).argmax(axis=1)
    before = losses(tested @ best, answer)
    chosen = np.random.default_rng(123).choice(len(messages), left_out, replace=False)
    after = []
    for i in chosen:
        kept = np.arange(len(messages)) != i
        after.append(losses(tested @ newton(x[kept], numbers[kept], best, len(messages)), answer))
    changes = np.array(after) - before  # (left_out, answers)
    found = {"influence": [], "tracin": []}
    tracin, start = TracIn([(1.0, clf)], messages, numbers), time.perf_counter()
    of_head = HeadInfluence(clf, messages, numbers)
    for ids, label in zip(test[0], answer):
        found["influence"].append(of_head.scores(ids, label))
    seconds = (time.perf_counter() - start) / answers
    for ids, label in zip(test[0], answer):
        found["tracin"].append(tracin.scores(ids, label))
    ranks = {
        name: [spearman(scores[chosen], changes[:, j]) for j, scores in enumerate(each)] for name, each in found.items()
    }
    return ranks["influence"], ranks["tracin"], seconds


def features(clf, messages):
    """Return the rows (n, D + 1) that the head reads, with a one for its bias."""
    from numpygpt.model.classifier import classifier
    from numpygpt.model.tape import Tape

    D = clf.config.n_embd
    params = clf.params | {"head.weight": np.eye(D), "head.bias": np.zeros(D)}
    prefix = FrozenPrefix(params, clf.config, messages, clf.config.n_layer, clf.pooling)
    parts = np.array_split(np.arange(len(messages)), -(-len(messages) // 32))
    rows = [classifier(Tape(params), *prefix.batch(p), clf.config, clf.pooling, clf.config.n_layer)[0] for p in parts]
    return np.hstack([np.concatenate(rows), np.ones((len(messages), 1))])


def newton(x, numbers, weights, n=None):
    """Return the weights (D + 1, C) that minimise the sum of the losses / n + λ/2 |weights|²."""
    D, C, n = x.shape[1], weights.shape[1], n or len(x)
    for _ in range(50):
        p, _ = softmax(x @ weights)
        gradient = x.T @ (p - np.eye(C)[numbers]) / n + DAMPING * weights
        if abs(gradient).max() < 1e-10:
            return weights
        hessian = np.zeros((D, C, D, C))
        for a in range(C):
            for b in range(C):
                hessian[:, a, :, b] = (x * (p[:, a] * ((a == b) - p[:, b]))[:, None]).T @ x / n
        system = hessian.reshape(D * C, D * C) + DAMPING * np.eye(D * C)
        step = np.linalg.solve(system, gradient.ravel()).reshape(D, C)
        size = 1.0
        while size > 1e-6 and objective(x, numbers, weights - size * step, n) > objective(x, numbers, weights, n):
            size /= 2
        weights = weights - size * step
    raise RuntimeError(f"Newton's method did not converge: the largest gradient is {abs(gradient).max():.1e}")


def objective(x, numbers, weights, n):
    return losses(x @ weights, numbers).sum() / n + DAMPING / 2 * (weights**2).sum()


def losses(logits, numbers):
    """Return -log softmax (N,) at the label numbers."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(numbers)), numbers]


def spearman(a, b):
    """Return the correlation of the ranks."""
    return float(np.corrcoef(np.argsort(np.argsort(a)), np.argsort(np.argsort(b)))[0, 1])


if __name__ == "__main__":
    command.run(main)
