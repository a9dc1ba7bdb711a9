"""Pretraining: next-token prediction over a stream of documents, with warm-up, cosine decay and clipping.

It can be interrupted, and goes on as if it had not been."""

import math
import threading
from collections import Counter
from contextlib import contextmanager

import numpy as np

from ..model.language import language_model
from ..model.parameters import fingerprint
from ..model.tape import Tape
from ..system.blas import parallel, threads
from ..system.errors import InputError
from ..system.settings import PRETRAINING, checked
from ..system.single_process import SingleProcess
from .adamw import AdamW
from .ranks import CHECK_EVERY
from .resume import ANY, load_state, save_state
from .schedule import clip_norm, learning_rate

PART = 1024  # tokens whose activations are alive at a time, on one core: few enough for its cache


def windows(documents, separator, length, rng):
    """The documents in random order, each followed by the separator, end to end and cut: (windows, length + 1) int32.

    The last id of a window is the first of the next, so that every id but the very first is predicted once. What does
    not fill a window is left out: another part of the text each time. rng: a numpy Generator; None keeps the order.
    """
    order = range(len(documents)) if rng is None else rng.permutation(len(documents))
    stream = np.concatenate([np.append(documents[i], np.int32(separator)) for i in order])
    count = (len(stream) - 1) // length
    starts = np.arange(count)[:, None] * length
    return stream[starts + np.arange(length + 1)]


class OrderedSum:
    """{name: sum over the parts of share * gradient}, to which parts on several cores add while they go back.

    So one set of gradients exists, and on each core the one array that it adds. Floating-point sums depend on their
    order, so it is that of the parts: each part's first addition waits for the first of the part before, its second for
    the second, and so on (all parts add the same names in the same order). Where a part adds twice to one name, as to
    the tied embedding's, its second goes into a sum of its own until the end. Parts must be begun in their order.
    """

    def __init__(self, parts):
        self._sums, self._added, self._changed = {}, [0] * parts, threading.Condition()

    @contextmanager
    def part(self, number, share):
        """`with` this, something to which Tape adds gradients as to a dict."""
        try:
            yield _Part(self, number, share)
        finally:  # also after an error: nobody must wait for this part any more
            self._advance(number, math.inf)

    def grads(self):
        """The sums, when all parts have ended."""
        grads = {}
        for (name, _), gradient in self._sums.items():
            if name in grads:
                grads[name] += gradient
            else:
                grads[name] = gradient
        return grads

    def _advance(self, number, added):
        with self._changed:
            self._added[number] += added
            self._changed.notify_all()

    def add(self, number, key, gradient):
        """The next addition of a part, for its turn."""
        if number:
            with self._changed:
                self._changed.wait_for(lambda: self._added[number - 1] > self._added[number])
        if key in self._sums:
            self._sums[key] += gradient
        else:
            self._sums[key] = gradient
        self._advance(number, 1)


class _Part:
    """Stands in for a tape's {name: gradient}: what is stored goes into the sum."""

    def __init__(self, total, number, share):
        self.total, self.number, self.share, self.times = total, number, share, Counter()

    def __contains__(self, name):
        return False

    def __setitem__(self, name, gradient):
        gradient *= self.share
        self.total.add(self.number, (name, self.times[name]), gradient)
        self.times[name] += 1


class Pretraining:
    """Trains all of `params` in place.

    documents   list of (T,) int32 arrays; separator the id between them
    steps, batch_size, context   updates in all, windows to an update, tokens to a window
    lr, warmup, weight_decay, clip   see `learning_rate`, AdamW, `clip_norm`; only matrices decay
    ranks, exact   as in `fine_tune`; the windows of a part have at most PART tokens
    Raises InputError for a number outside PRETRAINING's bounds, or where the text does not fill a batch.

    The batch of a step depends on the seed and the step alone, and its gradient on no number of threads, so a run that
    is saved and resumed is, bit for bit, the run that was not interrupted.
    """

    def __init__(
        self,
        params,
        config,
        documents,
        separator,
        *,
        steps,
        batch_size,
        context,
        lr,
        warmup,
        weight_decay,
        clip,
        seed,
        ranks=SingleProcess(),
        exact=False,
    ):
        self.params, self.config, self.documents, self.separator = params, config, documents, separator
        numbers = dict(steps=steps, batch_size=batch_size, context=context, lr=lr, warmup=warmup)
        checked(PRETRAINING, numbers | dict(weight_decay=weight_decay, clip=clip, seed=seed))
        self.steps, self.batch_size, self.context, self.lr = steps, batch_size, context, lr
        self.warmup, self.clip, self.seed = warmup, clip, seed
        self.ranks, self.exact = ranks, exact
        self.per_epoch = len(windows(documents, separator, context, None)) // batch_size
        if not self.per_epoch:
            raise InputError(
                f"the text does not fill one batch of {batch_size} windows of {context} tokens: use smaller ones"
            )
        matrices = {name for name, array in params.items() if array.ndim == 2}
        self.optimizers = [
            AdamW(params, matrices, lr, weight_decay, (0.9, 0.95)),
            AdamW(params, params.keys() - matrices, lr, 0, (0.9, 0.95)),
        ]
        self.done = 0
        self.losses = []  # of every step
        self.history = []  # rows for the caller's use, JSON-able; saved and resumed with the rest
        self._epoch = None

    def step(self):
        """One update; returns the loss before it. Raises InputError where that is no number."""
        epoch, place = divmod(self.done, self.per_epoch)
        if epoch != self._epoch:
            self._epoch = epoch
            self._windows = windows(
                self.documents, self.separator, self.context, np.random.default_rng([self.seed, epoch])
            )
        batch = self._windows[place * self.batch_size : (place + 1) * self.batch_size]
        grain = max(1, PART // self.context) if self.exact else None
        loss, grads = self.ranks.gradient(self._gradients, batch, [self.context] * len(batch), grain)
        if not np.isfinite(loss):
            raise InputError(f"the loss became {loss} at step {self.done}: lower the learning rate (now {self.lr:g})")
        clip_norm(grads, self.clip)
        for optimizer in self.optimizers:
            optimizer.lr = learning_rate(self.done, self.steps, self.lr, self.warmup)
            optimizer.step({name: grads[name] for name in optimizer.params})
        if self.done % CHECK_EVERY == 0:
            self.ranks.check_equal("their parameters", lambda: fingerprint(self.params))
        self.done += 1
        self.losses.append(loss)
        return loss

    def _gradients(self, batch):
        """(loss, {name: gradient}) of a batch of windows. They are independent, so they are taken in parts, one a
        core; the gradient of the batch's mean loss is the sum of the parts', weighted by their shares of the windows.
        """
        parts = self._parts(batch)
        total = OrderedSum(len(parts))

        def part_loss(number):
            part = parts[number]
            share = len(part) / len(batch)
            with total.part(number, share) as grads:
                tape = Tape(self.params, self.params.keys())
                tape.grads = grads
                lengths = np.full(len(part), self.context)
                loss, backward = language_model(tape, part[:, :-1].ravel(), lengths, part[:, 1:].ravel(), self.config)
                backward()
            return float(loss) * share

        return sum(parallel(part_loss, range(len(parts)))), total.grads()

    def _parts(self, batch):
        """The batch in parts of about PART tokens, however many cores there are: so their sum is always the same."""
        return np.array_split(batch, math.ceil(len(batch) / max(1, PART // self.context)))

    def _threads(self):
        """One part alone is not shared out: its products use all threads, and their last bits depend on how many."""
        parts = self._parts(np.empty(self.batch_size))
        return {"OPENBLAS_NUM_THREADS": threads() if self.ranks.size == 1 else ANY} if len(parts) == 1 else {}

    def _state(self):
        state = {f"params.{name}": array for name, array in self.params.items()}
        for optimizer in self.optimizers:
            state |= {f"m.{name}": array for name, array in optimizer.m.items()}
            state |= {f"v.{name}": array for name, array in optimizer.v.items()}
        return state

    def save(self, path, settings):
        """Write all that `resume` needs to one file; `settings`, JSON-able, is what must be the same when going on."""
        progress = {"done": self.done, "losses": self.losses, "history": self.history}
        save_state(path, self._state(), progress, settings | self._threads())

    def resume(self, path, settings):
        """Go on from a file of `save`. Raises InputError where its settings are others, naming the first difference."""
        progress, _ = load_state(path, self._state(), settings | self._threads())
        try:
            self.done = int(progress["done"])
            self.losses, self.history = list(progress["losses"]), list(progress["history"])
        except (KeyError, ValueError, TypeError):
            raise InputError(f"{path}: damaged; remove it to start anew") from None
        for optimizer in self.optimizers:
            optimizer.t = self.done


def perplexity(params, config, windows, ranks):
    """Return exp of the mean loss over all predictions in `windows`, (T + 1,) ids each: every id except the first is
    predicted from the ids before it. The ranks share the windows."""

    def loss(window):
        ids, targets = window[:-1], window[1:]
        return float(language_model(Tape(params), ids, np.array([len(ids)]), targets, config)[0])

    lengths = [len(window) - 1 for window in windows]
    losses = ranks.map(loss, windows, lengths)
    return float(np.exp(np.dot(losses, lengths) / sum(lengths)))
