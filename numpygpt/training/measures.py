"""The loss and the accuracy of a classifier on some batches, as the book measures them while it trains."""

import math
from collections.abc import Iterable
from itertools import islice

import numpy as np

from ..ops.cross_entropy import cross_entropy
from ..system.blas import parallel
from .batch import batch_logits
from .loader import Loader


def mean_loss(clf, loader: Loader, ranks, most: int | None = None, ignore_index: int | None = None) -> float:
    """Return the mean of the losses of the first `most` batches (default: all) of a fresh pass over the loader.

    A batch's loss is the mean over its messages without the ignored label. A batch with only ignored messages is left
    out. If every batch is left out, the mean is nan. The ranks share the batches.
    """

    def loss(batch):
        x, lengths, numbers = loader.take(batch)
        logits = batch_logits(clf, x, lengths, loader.prefix.depth)
        return float(cross_entropy(logits, numbers, ignore_index)[0])

    counted = [batch for batch in islice(loader, most) if (loader.numbers[batch] != ignore_index).any()]
    return float(np.mean(map_batches(loss, loader, counted, ranks))) if counted else math.nan


def accuracy(clf, loader: Loader, ranks, most: int | None = None) -> float:
    """Return the share of correct answers in the first `most` batches (default: all) of a fresh pass over a loader."""

    def right(batch):
        x, lengths, numbers = loader.take(batch)
        return batch_logits(clf, x, lengths, loader.prefix.depth).argmax(axis=1) == numbers

    return float(np.mean(np.concatenate(map_batches(right, loader, islice(loader, most), ranks))))


def map_batches(function, loader: Loader, some: Iterable, ranks) -> list:
    """Return [function(batch)] for some of the loader's batches. Ranks and cores share the batches, by tokens."""
    some = list(some)
    return ranks.map(function, some, [loader.lengths(batch).sum() for batch in some], parallel)
