"""The fine-tuning loop, with the book's evaluations at the book's moments."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pandas as pd

from ..model.prefix import FrozenPrefix
from ..ops.cross_entropy import cross_entropy
from ..system.errors import InputError
from ..text.batches import batches
from .adamw import AdamW
from .recipes import DEFAULT
from .rng import Generator, loader_order
from .schedule import SCHEDULES, clip_norm, learning_rate
from .text_classifier import Classifier


@dataclass
class Loader:
    """Batches (x, lengths, numbers of the labels), in the order in which a PyTorch DataLoader would give them.

    x is what enters block prefix.depth. Each pass draws from the generator.
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
        order = loader_order(self.generator, len(self.numbers), self.shuffle)
        for batch in batches(order, self.batch_size, drop_last=self.shuffle):
            yield *self.prefix.batch(self.indices[batch]), self.numbers[batch]


def loaders(
    clf: Classifier,
    sets: Iterable,
    batch_size: int = 8,
    seed: int = 123,
    progress: Callable[[int, int], None] = lambda done, total: None,
    cache=None,
) -> list[Loader]:
    """A Loader for each of the sets, DataFrames with columns Label and Text or lists of (text, label); the first is
    for training.

    The frozen blocks run here, once for each distinct message; `progress` and `cache` are FrozenPrefix's.
    Raises InputError where the training messages do not fill one batch.
    """
    texts, numbers = [], []
    for part in sets:
        frame = part if isinstance(part, pd.DataFrame) else pd.DataFrame(list(part), columns=["Text", "Label"])
        texts.append(clf.encode(frame["Text"].tolist()))
        numbers.append(clf.numbers(frame["Label"].tolist()))
    batches(np.arange(len(texts[0])), batch_size, drop_last=True)
    prefix = FrozenPrefix(clf.params, clf.config, sum(texts, []), clf.depth, clf.reading, progress, cache)
    generator, ends = Generator(seed), np.cumsum([len(part) for part in numbers])
    return [
        Loader(prefix, np.arange(end - len(part), end), part, batch_size, generator, shuffle=end == ends[0])
        for part, end in zip(numbers, ends)
    ]


def mean_loss(clf: Classifier, loader: Loader, most: int | None = None, ignore_index: int | None = None) -> float:
    """The mean of the losses of the first `most` batches (all, unless told) of a fresh pass over the loader; ignored
    ones left out."""
    losses = [
        float(cross_entropy(clf.batch_logits(x, lengths, loader.prefix.depth), numbers, ignore_index)[0])
        for x, lengths, numbers in islice(loader, most)
        if (numbers != ignore_index).any()
    ]
    return float(np.mean(losses)) if losses else math.nan


def accuracy(clf: Classifier, loader: Loader, most: int | None = None) -> float:
    """The share of messages classified rightly in the first `most` batches of a fresh pass over the loader."""
    right = [
        clf.batch_logits(x, lengths, loader.prefix.depth).argmax(axis=1) == numbers
        for x, lengths, numbers in islice(loader, most)
    ]
    return float(np.mean(np.concatenate(right)))


def default_lr(config) -> float:
    """The book's 5e-5 for GPT-2's widths. A narrower model needs more: this rule gives the 4e-4 that served mini
    best."""
    return 5e-5 * max(1, 768 / config.n_embd) ** 1.5


def fine_tune(
    clf: Classifier,
    training,
    validation,
    *,
    epochs: int = 5,
    batch_size: int = 8,
    lr: float | None = None,
    weight_decay: float = 0.1,
    warmup: float = DEFAULT["warmup"],
    schedule: str = DEFAULT["schedule"],
    clip: float = DEFAULT["clip"],
    accumulate: int = 1,
    eval_every: int = 50,
    eval_batches: int = 5,
    ignore_index: int | None = None,
    seed: int = 123,
    report: Callable[[dict], None] = lambda row: None,
) -> pd.DataFrame:
    """Train the classifier's trainable parameters in place with AdamW. Returns the history, a DataFrame of the rows
    reported.

    training, validation   what `loaders` takes, or two of the Loaders that it made (batch_size and seed are then
                           theirs)
    lr           default_lr's, unless told
    warmup, schedule   the rate rises over this share of the updates, then is "constant" or falls to a tenth as a
                       "cosine"
    clip         the largest norm of an update's gradient
    accumulate   batches to an update: each one's loss is divided by that many, the gradients add up, and the update
                 comes after every so-manieth batch and after the last of an epoch. A step is a batch, as in the book.
    eval_every, eval_batches   at steps 0, eval_every, … (after the update) the losses, and after each epoch the
                           accuracies, are averaged over that many batches
    ignore_index   the number of a label whose messages are left out of the losses; a batch of nothing else is no update
    seed         draws the order of the training messages, as PyTorch would
    report       called with one dict for each step {epoch, step, examples, loss}, which at an evaluation has
                 train_loss and validation_loss too; and after each epoch {epoch, step, examples, train_accuracy,
                 validation_accuracy}

    Raises InputError where the loss stops being a number, the training messages do not fill one batch, or all are
    ignored.
    """
    if schedule not in SCHEDULES:
        raise InputError(f"schedule {schedule!r}: use one of {', '.join(SCHEDULES)}")
    if not isinstance(training, Loader):
        training, validation = loaders(clf, (training, validation), batch_size, seed)
    check_not_all_ignored((training, validation), ignore_index)
    rows: list[dict] = []

    def add(row):
        rows.append(row)
        report(row)

    lr = default_lr(clf.config) if lr is None else lr
    optimizer = AdamW(clf.params, clf.trainable, lr, weight_decay)
    updates, done = epochs * math.ceil(len(training) / accumulate), 0
    step = examples = 0
    for epoch in range(1, epochs + 1):
        total: dict[str, np.ndarray] = {}
        for batch, (x, lengths, numbers) in enumerate(training, start=1):
            examples += len(numbers)
            row: dict[str, float] = {"epoch": epoch, "step": step, "examples": examples}
            if (numbers != ignore_index).any():
                row["loss"], grads = clf.batch_loss(x, lengths, numbers, training.prefix.depth, ignore_index)
                if not math.isfinite(row["loss"]):
                    raise InputError(
                        f"the loss became {row['loss']} at step {step}: lower the learning rate (now {lr:g}) or "
                        f"look at the weights"
                    )
                total = _add(total, grads, 1 / accumulate)
            if total and (batch % accumulate == 0 or batch == len(training)):
                clip_norm(total, clip)
                optimizer.lr = learning_rate(done, updates, lr, round(warmup * updates), schedule)
                optimizer.step(total)
                total, done = {}, done + 1
            if step % eval_every == 0:
                row["train_loss"] = mean_loss(clf, training, eval_batches, ignore_index)
                row["validation_loss"] = mean_loss(clf, validation, eval_batches, ignore_index)
            add(row)
            step += 1
        accuracies = {
            "train_accuracy": accuracy(clf, training, eval_batches),
            "validation_accuracy": accuracy(clf, validation, eval_batches),
        }
        add({"epoch": epoch, "step": step - 1, "examples": examples} | accuracies)
    return pd.DataFrame(rows)


def check_not_all_ignored(sets: Iterable[Loader], ignore_index: int | None) -> None:
    """Raise InputError where every message of one of the sets has the label to ignore: there is no mean of nothing."""
    for loader in sets:
        if (loader.numbers == ignore_index).all():
            raise InputError(f"every message of a set has the ignored label {ignore_index}: ignore another, or none")


def _add(total, grads, factor):
    """total + factor * grads, in the memory of grads."""
    for name, gradient in grads.items():
        if factor != 1:
            gradient *= factor
        if name in total:
            gradient += total[name]
    return grads
