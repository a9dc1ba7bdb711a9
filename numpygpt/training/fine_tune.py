"""The fine-tuning loop, with the book's evaluations at the book's moments."""

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

import numpy as np
import pandas as pd

from ..model.parameters import fingerprint
from ..ops.cross_entropy import cross_entropy
from ..system.alone import Alone
from ..system.blas import parallel, threads
from ..system.errors import InputError
from ..system.interrupt import ctrl_c_waits
from ..system.settings import FINE_TUNING, checked
from ..text.batches import batches, encode
from .adamw import AdamW
from .frozen_features import FrozenPrefix
from .ranks import CHECK_EVERY
from .recipes import DEFAULT
from .resume import ANY, ResumeFile
from .rng import Generator, loader_order
from .schedule import SCHEDULES, clip_norm, learning_rate

GRAIN = 2  # messages to a part of a batch, where the bits must not depend on the ranks: a batch of 8 keeps four busy
HALF = 4  # messages to a part that a core takes, of a narrow model: fewer are not worth the calls


@dataclass
class Loader:
    """Batches, arrays (B,) of places in the set, in the order in which a PyTorch DataLoader would give them.

    Each pass draws from the generator.
    """

    prefix: FrozenPrefix
    indices: np.ndarray  # (n,) of the messages in the prefix
    numbers: np.ndarray  # (n,)
    batch_size: int
    generator: Generator
    shuffle: bool = False  # also drops the incomplete last batch, as the book's training loader does

    def __len__(self):
        return len(self.numbers) // self.batch_size if self.shuffle else -(-len(self.numbers) // self.batch_size)

    def __iter__(self):
        return self.batches(self.order())

    def order(self):
        """That of the next pass, (n,): drawn from the generator."""
        return loader_order(self.generator, len(self.numbers), self.shuffle)

    def batches(self, order, done=0):
        """The batches of a pass in this order, but for the first `done`."""
        return iter(batches(order, self.batch_size, drop_last=self.shuffle)[done:])

    def take(self, batch):
        """(x, lengths, numbers of the labels) of a batch or a part of it; x is what enters block prefix.depth."""
        return *self.prefix.batch(self.indices[batch]), self.numbers[batch]

    def lengths(self, batch):
        """(B,) tokens of each message of the batch."""
        return self.prefix.lengths[self.prefix.slot[self.indices[batch]]]


def loaders(
    clf,
    sets: Iterable,
    batch_size: int = 8,
    seed: int = 123,
    progress: Callable[[int, int], None] = lambda done, total: None,
    cache=None,
    ranks=Alone(),
    memory: int | None = None,
) -> list[Loader]:
    """A Loader for each of the sets, DataFrames with columns Label and Text or lists of (text, label); the first is
    for training.

    The frozen blocks run here, once for each distinct message; the other arguments are FrozenPrefix's.
    Raises InputError for a set of another form, and where the training messages do not fill one batch.
    """
    frames = [_frame(part) for part in sets]
    numbers = [clf.numbers(frame["Label"].tolist()) for frame in frames]
    batches(numbers[0], batch_size, drop_last=True)
    ids = (encode(frame["Text"], clf.encoding, clf.pad_to, clf.config.n_positions) for frame in frames)
    messages = chain.from_iterable(ids)  # one by one: there may be many
    prefix = FrozenPrefix(clf.params, clf.config, messages, clf.depth, clf.pooling, progress, cache, ranks, memory)
    generator, ends = Generator(seed), np.cumsum([len(part) for part in numbers])
    return [
        Loader(prefix, np.arange(end - len(part), end), part, batch_size, generator, shuffle=end == ends[0])
        for part, end in zip(numbers, ends)
    ]


def _frame(part):
    """Return a set of messages as a DataFrame with columns Text and Label."""
    if not isinstance(part, pd.DataFrame):
        pairs = list(part)
        for number, pair in enumerate(pairs, start=1):
            if isinstance(pair, str) or not isinstance(pair, Sequence | np.ndarray) or len(pair) != 2:
                raise InputError(f"message {number} of a set is {pair!r}: expected (text, label)")
        return pd.DataFrame(pairs, columns=["Text", "Label"])
    if missing := {"Text", "Label"} - set(part.columns):
        raise InputError(f"a set has no column {' and no column '.join(sorted(missing))}: name its columns so")
    return part


def mean_loss(clf, loader: Loader, most: int | None = None, ignore_index: int | None = None, ranks=Alone()) -> float:
    """Return the mean of the losses of the first `most` batches (default: all) of a fresh pass over the loader.

    A batch's loss is the mean over its messages without the ignored label. A batch that has none is left out; where
    every batch has none, the mean is nan. The ranks share the batches.
    """

    def loss(batch):
        x, lengths, numbers = loader.take(batch)
        return float(cross_entropy(clf.batch_logits(x, lengths, loader.prefix.depth), numbers, ignore_index)[0])

    counted = [batch for batch in islice(loader, most) if (loader.numbers[batch] != ignore_index).any()]
    return float(np.mean(map_batches(loss, loader, counted, ranks))) if counted else math.nan


def accuracy(clf, loader: Loader, most: int | None = None, ranks=Alone()) -> float:
    """The share of messages classified rightly in the first `most` batches of a fresh pass over the loader."""

    def right(batch):
        x, lengths, numbers = loader.take(batch)
        return clf.batch_logits(x, lengths, loader.prefix.depth).argmax(axis=1) == numbers

    return float(np.mean(np.concatenate(map_batches(right, loader, islice(loader, most), ranks))))


def map_batches(function, loader: Loader, some: Iterable, ranks=Alone()) -> list:
    """[function(batch) of each of some of the loader's batches], which the ranks share by tokens, and each rank's
    cores."""
    some = list(some)
    return ranks.map(function, some, [loader.lengths(batch).sum() for batch in some], parallel)


def default_lr(config) -> float:
    """Return the default rate: min(1e-3, 5e-5 max(1, 768 / n_embd)^3).

    It is the book's 5e-5 from GPT-2's width of 768 on, and higher for a narrower model.

    The exponent 3 is a choice, with no theory behind it. It makes the rate reach its limit, the 1e-3 that served mini
    best, at a width of 283.
    """
    return min(1e-3, 5e-5 * max(1, 768 / config.n_embd) ** 3)


def _nothing(*_):
    pass


@dataclass
class State:
    """What changes while a classifier is fine-tuned. With all of it a run goes on, bit for bit, where it stood."""

    optimizer: AdamW  # and with it the parameters that learn
    generator: Generator
    epoch: int = 1
    order: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))  # of the epoch's messages
    batch: int = 0  # how many batches of the epoch are done
    step: int = 0  # and of all epochs
    examples: int = 0
    total: dict[str, np.ndarray] = field(default_factory=dict)  # the gradients that wait for an update
    rows: list[dict] = field(default_factory=list)  # the history

    def arrays(self):
        """{name: array} of the parameters and their moments, to be stored, or to be written to."""
        kinds = {"params": self.optimizer.params, "m": self.optimizer.m, "v": self.optimizer.v}
        return {f"{kind}.{name}": array for kind, named in kinds.items() for name, array in named.items()}

    def stored(self):
        """({name: array}, JSON-able dict) of everything."""
        others = {"order": self.order, "generator": self.generator.get_state()}
        others |= {f"total.{name}": gradient for name, gradient in self.total.items()}
        counts = {name: getattr(self, name) for name in _COUNTS}
        return self.arrays() | others, counts | {"t": self.optimizer.t, "rows": self.rows}

    def restore(self, progress, others):
        """Take over what `stored` gave, but for `arrays`, which are written to."""
        for name in _COUNTS:
            setattr(self, name, int(progress[name]))
        self.optimizer.t, self.rows = int(progress["t"]), list(progress["rows"])
        self.order = others["order"]
        self.generator.set_state(others["generator"])
        self.total = {name[6:]: array for name, array in others.items() if name.startswith("total.")}


_COUNTS = ("epoch", "batch", "step", "examples")


def fine_tune(
    clf,
    training,
    validation,
    *,
    epochs: int = DEFAULT["epochs"],
    batch_size: int = 8,
    lr: float | None = None,
    weight_decay: float = 0.1,
    warmup: float = DEFAULT["warmup"],
    schedule: str = DEFAULT["schedule"],
    clip: float = DEFAULT["clip"],
    label_smoothing: float = DEFAULT["label_smoothing"],
    accumulate: int = 1,
    eval_every: int = 50,
    eval_batches: int = 5,
    ignore_index: int | None = None,
    seed: int = 123,
    report: Callable[[dict], None] = _nothing,
    resume: ResumeFile | None = None,
    ranks=Alone(),
    exact: bool = False,
) -> pd.DataFrame:
    """Train the classifier's trainable parameters in place with AdamW. Return the history, a DataFrame of the rows
    reported.

    training, validation   what `loaders` takes, or two of the Loaders that it made (batch_size and seed are then
                           theirs)
    lr           the peak rate (default: default_lr's)
    warmup, schedule   the rate rises over this share of the updates, then stays ("constant") or falls along a "cosine":
                 see `learning_rate`. The warm-up has round(warmup * updates) updates, where Python's round takes a
                 half to the even number: 0.5 of 5 updates are 2. A small share of few updates is no warm-up.
    clip         the largest norm of an update's gradient
    label_smoothing   from 0 to 1, as in PyTorch's cross_entropy; the losses of evaluations have none
    accumulate   batches to an update. Each batch's loss, the mean over its messages, is divided by `accumulate`, and
                 the gradients add up. The update comes after every `accumulate` batches, and at the end of each epoch.
                 A shorter last group of an epoch is divided by `accumulate` too, so its gradient is smaller. A step is
                 a batch, as in the book.
    eval_every, eval_batches   at steps 0, eval_every, … (after the update) the losses, and after each epoch the
                 accuracies, are averaged over that many batches. A loss is nan where all messages of those batches
                 have the ignored label.
    ignore_index   the number of a label whose messages are left out of the losses: a batch's loss is the mean over its
                 other messages, as in PyTorch's cross_entropy. A batch without other messages adds no gradient, and its
                 row has no loss. A group of such batches alone makes no update, and no step of the schedule, which then
                 ends before its last rate.
    seed         draws the order of the training messages, as PyTorch would
    report       called with one dict for each step {epoch, step, examples, loss}, which at an evaluation has
                 train_loss and validation_loss too; and after each epoch {epoch, step, examples, train_accuracy,
                 validation_accuracy}. A row has no loss where all messages of its batch have the ignored label.
    resume       a file that keeps the run while it goes, and from which it goes on as if it had not been interrupted:
                 with the same weights in the end, bit for bit, and the same reports, the earlier ones first
    ranks        the `training.ranks.Ranks` that do this together: each takes its part of every batch; rank 0 alone
                 reports and saves
    exact        give the same bits with any number of ranks, if each has one BLAS thread: gradients are computed for
                 GRAIN messages at a time, and summed in their order

    Raises InputError for a number outside FINE_TUNING's bounds; where the loss stops being a number, the training
    messages do not fill one batch, there is no message to validate, or all messages of a set are ignored; and where the
    run in the file has other settings, naming the first of them.
    """
    if not hasattr(clf, "batch_loss"):
        raise InputError(f"clf: expected a Classifier, not a {type(clf).__name__}")
    if not isinstance(resume, ResumeFile | None):
        raise InputError(f"resume: expected a ResumeFile, not a {type(resume).__name__}")
    if schedule not in SCHEDULES:
        raise InputError(f"schedule {schedule!r}: use one of {', '.join(SCHEDULES)}")
    lr = default_lr(clf.config) if lr is None else lr
    settings: dict[str, Any] = dict(epochs=epochs, lr=lr, warmup=warmup, clip=clip, label_smoothing=label_smoothing)
    settings |= dict(accumulate=accumulate, eval_every=eval_every, eval_batches=eval_batches)
    settings |= dict(ignore_index=ignore_index, batch_size=batch_size, seed=seed, weight_decay=weight_decay)
    settings = checked(FINE_TUNING, settings) | dict(schedule=schedule, exact=exact)
    batch_size, seed, weight_decay = (settings.pop(name) for name in ("batch_size", "seed", "weight_decay"))
    if isinstance(training, Loader) != isinstance(validation, Loader):
        raise InputError("training, validation: give two Loaders, or two sets of messages")
    if not isinstance(training, Loader):
        training, validation = loaders(clf, (training, validation), batch_size, seed)
    check_sets((training.numbers, validation.numbers), training.batch_size, ignore_index)
    if ranks.rank:
        report = _nothing
    state = State(AdamW(clf.params, clf.trainable, settings["lr"], weight_decay), training.generator)
    with ctrl_c_waits() if resume else nullcontext(lambda: False) as ctrl_c_came:
        if resume:
            same = settings | _identity(training, validation, weight_decay, ranks)
            resume.load(state, same)
        ranks.check_equal("where they begin", lambda: (state.step, _fingerprint(training, validation)))
        for row in state.rows:
            report(row)
        for row in _rows(clf, training, validation, state, ranks, **settings):
            state.rows.append(row)
            report(row)
            if resume and any(ranks.gather(ctrl_c_came())):
                ranks.once(resume.save, state, same)
                raise KeyboardInterrupt
            if resume and not ranks.rank and (resume.due() or "train_accuracy" in row):
                resume.save(state, same)
    return pd.DataFrame(state.rows)


def _rows(
    clf,
    training,
    validation,
    state,
    ranks,
    *,
    epochs,
    lr,
    warmup,
    schedule,
    clip,
    label_smoothing,
    accumulate,
    eval_every,
    eval_batches,
    ignore_index,
    exact,
):
    """Train from where `state` stands to the end. Yields fine_tune's rows, each when the state is whole again."""
    optimizer, updates = state.optimizer, epochs * math.ceil(len(training) / accumulate)
    grain = GRAIN if exact else HALF if clf.narrow and ranks.size == 1 else None

    def mean(some):
        return clf.batch_loss(*training.take(some), training.prefix.depth, smoothing=label_smoothing)

    for epoch in range(state.epoch, epochs + 1):
        if state.batch == 0:
            state.order = training.order()
        for batch in training.batches(state.order, state.batch):
            state.batch += 1
            state.examples += len(batch)
            row: dict[str, float] = {"epoch": epoch, "step": state.step, "examples": state.examples}
            counted = batch[training.numbers[batch] != ignore_index]
            if len(counted):
                row["loss"], grads = ranks.gradient(mean, counted, training.lengths(counted), grain)
                if not math.isfinite(row["loss"]):
                    raise InputError(
                        f"the loss became {row['loss']} at step {state.step}: lower the learning rate (now {lr:g}) or "
                        f"look at the weights"
                    )
                state.total = _add(state.total, grads, 1 / accumulate)
                del grads  # its memory is the next step's
            if state.total and (state.batch % accumulate == 0 or state.batch == len(training)):
                clip_norm(state.total, clip)
                optimizer.lr = learning_rate(optimizer.t, updates, lr, round(warmup * updates), schedule)
                optimizer.step(state.total)
                state.total = {}
            if state.step % CHECK_EVERY == 0:
                ranks.check_equal("their parameters", lambda: fingerprint(optimizer.params))
            if state.step % eval_every == 0:
                row["train_loss"] = mean_loss(clf, training, eval_batches, ignore_index, ranks)
                row["validation_loss"] = mean_loss(clf, validation, eval_batches, ignore_index, ranks)
            state.step += 1
            yield row
        accuracies = {
            "train_accuracy": accuracy(clf, training, eval_batches, ranks),
            "validation_accuracy": accuracy(clf, validation, eval_batches, ranks),
        }
        state.epoch, state.batch = epoch + 1, 0
        yield {"epoch": epoch, "step": state.step - 1, "examples": state.examples} | accuracies


def _identity(training, validation, weight_decay, ranks):
    """What besides the settings must be the same for a run to go on with the same bits."""
    return {
        "batch_size": training.batch_size,
        "weight_decay": weight_decay,
        "messages": _fingerprint(training, validation),
        "OPENBLAS_NUM_THREADS": threads() if ranks.size == 1 else ANY,
    }


def _fingerprint(training, validation):
    """Of the messages of both sets."""
    messages = {"slot": training.prefix.slot, "lengths": training.prefix.lengths}
    return fingerprint(messages | {"training": training.numbers, "validation": validation.numbers})


def check_sets(numbers, batch_size: int, ignore_index: int | None) -> None:
    """Raise InputError where the labels' numbers of the two sets, to train and to validate, cannot be trained with.

    The first does not fill one batch, the second is empty, or every message of a set has the ignored label.
    """
    batches(numbers[0], batch_size, drop_last=True)
    if not len(numbers[1]):
        raise InputError("the validation set is empty: give it at least one message")
    if any((part == ignore_index).all() for part in numbers):
        raise InputError(f"every message of a set has the ignored label {ignore_index}: ignore another, or none")


def _add(total, grads, factor):
    """total + factor * grads, in the memory of grads."""
    for name, gradient in grads.items():
        if factor != 1:
            gradient *= factor
        if name in total:
            gradient += total[name]
    return grads
