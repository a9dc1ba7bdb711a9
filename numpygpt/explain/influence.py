"""Which training messages taught a classifier its answer.

A parameter's gradient is a sum over rows of outer products. For a linear layer with inputs x and gradients dy of its
outputs, the weight's gradient is x.T @ dy = sum over rows r of x[r] ⊗ dy[r]. Each message has rows of its own. So the
dot product of two messages' gradients, over all entries of the weight, is

    g·g' = sum over rows r of one and s of the other of (x[r]·x'[s]) (dy[r]·dy'[s])

No gradient is ever formed: memory grows with the rows, not with messages times parameters. A bias has x = 1. A table of
embeddings has a one-hot x, so that x[r]·x'[s] is 1 where two tokens are equal. LoRA's adapters have rows of their own.

Both scores below are in nats: how much a training message z lowers the loss of the answer to another message z'. A
message with a score above 0 speaks for the answer, and one with a score below 0 speaks against it.

TracIn (Pruthi et al. 2020, "Estimating Training Data Influence by Tracing Gradient Descent"). One step of gradient
descent, with rate η on a batch of B messages that has z in it, lowers the loss of z' by about η/B g(z)·g(z'). Each
epoch has z in one batch. So, summed over the epochs whose last parameters were kept:

    score(z) = sum over epochs of η/B g(z)·g(z')

This is an approximation: the parameters move during an epoch, and AdamW rescales the gradients.

Influence functions (Koh and Liang 2017, "Understanding Black-box Predictions via Influence Functions"). Let the
parameters minimise the mean loss over n messages plus λ/2 |θ|², with Hessian H. Training without z moves them by
H⁻¹ g(z) / n to first order, so the loss of z' grows by

    score(z) = g(z')·H⁻¹ g(z) / n
"""

from copy import copy
from dataclasses import replace

import numpy as np

from ..model.classifier import classifier
from ..model.lora import adapted_weights, adapter_rows, merge
from ..model.tape import Tape
from ..ops.cross_entropy import cross_entropy
from ..ops.embedding import embedding
from ..ops.layernorm import layernorm
from ..ops.softmax import softmax
from ..system.blas import one_thread, parallel
from ..training.batch import batch_loss
from ..training.curvature import STEP, hessian, solve
from ..training.frozen_features import BATCH_ROWS, FrozenPrefix, batches

HEAD = frozenset({"head.weight", "head.bias"})
DAMPING = 1e-3  # λ


class RowTape(Tape):
    """A tape that forms no gradient of a parameter, but notes the rows (x, dy) of which each would be the sum."""

    def __init__(self, params, learning):
        super().__init__(params)
        self.learning, self.noted = learning, []

    def __call__(self, op, x, *names, **settings):
        y, backward = super().__call__(op, x, *names, **settings)
        if not self.learning.intersection(names):
            return y, backward
        self.something_learns = True

        def noting(dy):
            self.noted.append((op, x, dy, names, settings))
            return backward(dy)

        return y, noting


def gradient_rows(clf, x, lengths, numbers, start, smoothing=0.0, weights=None):
    """Return {name: (left, right)} and the logits (B, C). A parameter's gradient for a message is left.T @ right of the
    message's rows.

    The arguments are `batch_loss`'s. left is None for ones, and a vector of numbers for one-hot rows.
    """
    params, d_weights = merge(clf.params, clf.config, clf.lora_scale)
    learning = clf.trainable if d_weights is None else clf.trainable | adapted_weights(clf.config)
    tape = RowTape(params, learning)
    with one_thread():
        # Not folded: the folded last block has no linear layer for queries, keys and values, and so no rows of one.
        pooling = replace(clf.pooling, folded=False)
        logits, backward = classifier(tape, x, lengths, clf.config, pooling, start)
        _, (dlogits,) = cross_entropy(logits, numbers, smoothing=smoothing, weights=weights)
        share = len(numbers) if weights is None else float(np.asarray(weights)[numbers].sum())
        backward(dlogits(share))  # of the sum of the losses, so that each message has a gradient of its own
    rows = {}
    for op, x, dy, names, settings in tape.noted:
        if op is embedding:
            positions = np.concatenate([np.arange(T) for T in settings["lengths"]])
            found = zip(names, ((x, dy), (positions, dy)))
        elif op is layernorm:
            xhat, _ = layernorm(x, np.ones_like(x[0]), np.zeros_like(x[0]), **settings)
            found = zip(names, ((None, dy * xhat), (None, dy)))
        else:
            found = [(names[0], (x, dy)), (names[1], (None, dy))]
            if d_weights is not None:
                adapted = adapter_rows(clf.params, clf.config, clf.lora_scale, names[0], x, dy)
                found += [(name, (left, right)) for name, left, right in adapted]
        rows |= {name: pair for name, pair in found if name in clf.trainable}
    return rows, logits


def dot_products(rows, lengths, others):
    """Return g·g' (B,) of each of B messages with the sum of the gradients of `others`, from their gradient_rows."""
    total = np.zeros(len(lengths))
    for name, (left, right) in rows.items():
        other_left, other_right = others[name]
        if left is None:
            each_row = right @ other_right.sum(axis=0)
        else:
            products = right @ other_right.T
            products *= left[:, None] == other_left if left.ndim == 1 else left @ other_left.T
            each_row = products.sum(axis=1)
        per_message = lengths if len(each_row) > len(lengths) else np.ones_like(lengths)
        total += np.add.reduceat(each_row, np.cumsum(per_message) - per_message)
    return total


class TracIn:
    """TracIn's scores, for many answers: the frozen blocks run once over the n training messages.

    epochs   [(η/B, classifier with the parameters at the end of that epoch)]
    messages, numbers   the training messages' token ids, and their label numbers (n,)
    smoothing, weights   of the training's cross_entropy
    """

    def __init__(self, epochs, messages, numbers, smoothing=0.0, weights=None):
        clf = epochs[0][1]
        self.epochs, self.numbers, self.loss = epochs, np.asarray(numbers), (smoothing, weights)
        self.prefix = FrozenPrefix(clf.params, clf.config, messages, clf.frozen_blocks, clf.pooling)

    def scores(self, ids, number, progress=lambda done, total: None):
        """Return the scores (n,) for the label `number` of the message `ids`."""
        done, total = [], len(self.epochs) * len(self.numbers)

        def noted(part):
            done.append(len(part))
            progress(sum(done), total)

        return sum(rate * self._of_epoch(clf, ids, number, noted) for rate, clf in self.epochs)

    def _of_epoch(self, clf, ids, number, noted):
        """Return g(z)·g(z') (n,) with the parameters of this classifier."""
        depth = self.prefix.depth
        alone = FrozenPrefix(clf.params, clf.config, [ids], depth, clf.pooling)
        of_answer, _ = gradient_rows(clf, *alone.batch(np.array([0])), np.array([number]), depth)

        def of_part(part):
            x, lengths = self.prefix.batch(part)
            rows, _ = gradient_rows(clf, x, lengths, self.numbers[part], depth, *self.loss)
            noted(part)
            return dot_products(rows, lengths, of_answer)

        return of_all(of_part, self.prefix)


def influence(clf, messages, numbers, ids, number, damping=DAMPING, progress=lambda done, total: None):
    """Return the influence function's scores (n,) of n training messages for the label `number` of the message `ids`.

    θ are the trainable parameters. Raises InputError where the Hessian has a negative curvature that λ does not
    outweigh.
    """
    clf = copy(clf)
    clf.params = {name: array.astype(np.float64) for name, array in clf.params.items()}
    prefix = FrozenPrefix(clf.params, clf.config, [ids], clf.frozen_blocks, clf.pooling)
    _, of_answer = batch_loss(clf, *prefix.batch(np.array([0])), np.array([number]), prefix.depth)
    v = solve(hessian(clf, messages, numbers), of_answer, damping, progress=progress)
    return along(clf, messages, numbers, v) / len(messages)


class HeadInfluence:
    """The influence function's scores where θ is the head alone, for many answers.

    The logits are x @ weight + bias, so the Hessian is known. With a one beside the numbers of x, for the bias, and
    the probabilities p of a message, H is the mean over messages of

        H v = x ⊗ (diag(p) - p ⊗ p) (x @ v)
    """

    def __init__(self, clf, messages, numbers, damping=DAMPING):
        self.clf, self.damping = copy(clf), damping
        self.clf.params = {name: array.astype(np.float64) for name, array in clf.params.items()}
        self.clf._trainable = HEAD
        numbers = np.asarray(numbers)
        self.x, self.dy, self.p = self._rows(messages, numbers)

    def _rows(self, messages, numbers):
        """Return what the head reads, with a one beside it (n, D + 1), the logits' gradients (n, C), and p (n, C)."""
        clf = self.clf
        prefix = FrozenPrefix(clf.params, clf.config, messages, clf.frozen_blocks, clf.pooling)

        def of_part(part):
            rows, logits = gradient_rows(clf, *prefix.batch(part), numbers[part], prefix.depth)
            x, dy = rows["head.weight"]
            return np.hstack([x, np.ones((len(x), 1)), dy, softmax(logits)[0]])

        C = len(clf.params["head.bias"])
        return np.split(of_all(of_part, prefix), [-2 * C, -C], axis=1)

    def scores(self, ids, number, progress=lambda done, total: None):
        x, dy, _ = self._rows([ids], np.array([number]))
        v = solve(self._product, {"head": x.T @ dy}, self.damping, progress=progress)["head"]
        return ((self.x @ v) * self.dy).sum(axis=1) / len(self.x)

    def _product(self, v):
        moved = self.x @ v["head"]
        moved = self.p * (moved - (self.p * moved).sum(axis=1, keepdims=True))
        return {"head": self.x.T @ moved / len(self.x)}


def along(clf, messages, numbers, v):
    """Return g(z)·v (n,) of each message z: the derivative of its loss in the direction v, from one forward pass.

    v   {name: array} of the trainable parameters. It is a complex step again: Im loss(θ + i h v) / h.
    """
    prefix = FrozenPrefix(clf.params, clf.config, messages, clf.frozen_blocks, clf.pooling)
    params = clf.params | {name: clf.params[name] + 1j * STEP * array for name, array in v.items()}
    params, _ = merge(params, clf.config, clf.lora_scale)

    def losses(part):
        x, lengths = prefix.batch(part)
        with one_thread():
            logits, _ = classifier(Tape(params), x, lengths, clf.config, clf.pooling, prefix.depth)
        each = [cross_entropy(row[None], [number])[0] for row, number in zip(logits, numbers[part])]
        return np.array(each).imag / STEP

    return of_all(losses, prefix)


def of_all(function, prefix):
    """Return function(numbers of some messages), an array with a row for each of them, of all messages of a prefix.

    The cores share the messages, in batches of similar lengths.
    """
    parts = list(batches(prefix.lengths[prefix.slot], BATCH_ROWS))
    found = np.concatenate(parallel(function, parts))
    return found[np.argsort(np.concatenate(parts))]
