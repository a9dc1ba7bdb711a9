"""Pretraining: next-token prediction on a stream of documents, with warm-up, cosine decay and gradient clipping.

An interrupted run can be resumed, bit for bit.
"""

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
from ..system.settings import PART, PRETRAINING, checked
from ..system.single_process import SingleProcess
from .adamw import AdamW
from .ranks import CHECK_EVERY
from .resume import ANY, load_state, save_state
from .schedule import clip_norm, learning_rate


def windows(documents, separator, length, rng):
    """Lay the documents end to end, each followed by the separator, and cut them: (windows, length + 1) int32.

    The last id of a window is the first id of the next window, so every id except the very first is predicted once. The
    rest that does not fill a window is left out. It differs from epoch to epoch, because the order is random.
    rng: a NumPy Generator that shuffles the documents; None keeps their order.
    """
    order = range(len(documents)) if rng is None else rng.permutation(len(documents))
    stream = np.concatenate([np.append(documents[i], np.int32(separator)) for i in order])
    count = (len(stream) - 1) // length
    starts = np.arange(count)[:, None] * length
    return stream[starts + np.arange(length + 1)]


class OrderedSum:
    """{name: sum over the parts of share * gradient}. Parts on several cores add to it during backpropagation.

    So memory holds one set of gradients, and on each core one array to add. The result of a floating-point sum depends
    on its order, which here is the order of the parts: each part's first addition waits for the first addition of the
    part before, its second for the second, and so on. All parts add the same names in the same order. Where a part adds
    twice to one name, such as the tied embedding's, the second addition goes into a separate sum until the end. Parts
    must be started in order.
    """

    def __init__(self, parts):
        self._sums, self._added, self._changed = {}, [0] * parts, threading.Condition()

    @contextmanager
    def part(self, number, share):
        """Give, as a context manager, an object to which a Tape adds gradients as to a dict."""
        try:
            yield _Part(self, number, share)
        finally:  # also after an error, so that no other part waits for this one
            self._advance(number, math.inf)

    def grads(self):
        """Return the sums, after all parts have ended."""
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
        """Make the next addition of a part, when it is its turn."""
        if number:
            with self._changed:
                self._changed.wait_for(lambda: self._added[number - 1] > self._added[number])
        if key in self._sums:
            self._sums[key] += gradient
        else:
            self._sums[key] = gradient
        self._advance(number, 1)


class _Part:
    """A replacement for a tape's {name: gradient} that adds each stored gradient to the sum."""

    def __init__(self, total, number, share):
        self.total, self.number, self.share, self.times = total, number, share, Counter()

    def __contains__(self, name):
        return False

    def __setitem__(self, name, gradient):
        gradient *= self.share
        self.total.add(self.number, (name, self.times[name]), gradient)
        self.times[name] += 1


class Pretraining:
    """Train all of `params` in place.

    documents   list of (T,) int32 arrays
    separator   the id between documents
    steps, batch_size, context   number of updates, windows per update, tokens per window
    lr, warmup, weight_decay, clip   see `learning_rate`, AdamW, `clip_norm`; only matrices decay
    ranks, exact   as in `fine_tune`; the windows of a part have at most PART tokens
    Raises InputError for a number outside PRETRAINING's bounds, or where the text does not fill a batch.

    The batch of a step depends only on the seed and the step, and its gradient does not depend on the number of
    threads. So a resumed run gives the same bits as an uninterrupted run.
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
                f"the text does not fill one batch of {batch_size} windows of {context} tokens. Use smaller ones"
            )
        matrices = {name for name, array in params.items() if array.ndim == 2}
        self.optimizers = [
            AdamW(params, matrices, lr, weight_decay, (0.9, 0.95)),
            AdamW(params, params.keys() - matrices, lr, 0, (0.9, 0.95)),
        ]
        self.done = 0
        self.losses = []  # the loss of every step
        self.history = []  # the caller's rows, JSON-able, saved and restored with the run
        self._epoch = None

    def step(self):
        """Make one update. Return the loss before it. Raises InputError where the loss is not finite."""
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
            raise InputError(f"the loss became {loss} at step {self.done}. Lower the learning rate (now {self.lr:g})")
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
        """Return (loss, {name: gradient}) of the mean loss of a batch of windows.

        The windows are independent, so each core takes a part of them. The batch's gradient is the sum of the parts'
        gradients, weighted by their shares of the windows.
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
        """Return the batch in parts of about PART tokens. Parts, and so sums, do not depend on the number of cores."""
        return np.array_split(batch, math.ceil(len(batch) / max(1, PART // self.context)))

    def _threads(self):
        """Return the thread count if results depend on it.

        A single part is not shared among cores: its products use all threads, whose number decides their last bits.
        """
        parts = self._parts(np.empty(self.batch_size))
        return {"OPENBLAS_NUM_THREADS": threads() if self.ranks.size == 1 else ANY} if len(parts) == 1 else {}

    def _state(self):
        state = {f"params.{name}": array for name, array in self.params.items()}
        for optimizer in self.optimizers:
            state |= {f"sum.{name}": array for name, array in optimizer.m.items()}
            state |= {f"sum_of_squares.{name}": array for name, array in optimizer.v.items()}
        return state

    def save(self, path, settings):
        """Write everything that `resume` needs to one file. `settings`, JSON-able, must be the same on resuming."""
        progress = {"done": self.done, "losses": self.losses, "history": self.history}
        save_state(path, self._state(), progress, settings | self._threads())

    def resume(self, path, settings):
        """Restore the run from a file of `save`. Raises InputError where a setting differs, naming the first."""
        progress, _ = load_state(path, self._state(), settings | self._threads())
        try:
            self.done = int(progress["done"])
            self.losses, self.history = list(progress["losses"]), list(progress["history"])
        except (KeyError, ValueError, TypeError):
            raise InputError(f"{path} is damaged. Delete it to start again") from None
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
