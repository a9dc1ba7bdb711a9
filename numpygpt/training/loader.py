"""Batches of messages, in a PyTorch DataLoader's order, as rows from the frozen blocks."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from ..system.errors import InputError, counted
from ..system.single_process import SingleProcess
from ..text.batches import encode
from ..text.columns import usual_places
from ..text.seen import noting
from .frozen_features import FrozenPrefix
from .rng import Generator, loader_order


@dataclass
class Loader:
    """Batches, arrays (B,) of positions in the set, in the order of a PyTorch DataLoader.

    Each pass draws random numbers from the generator.
    """

    prefix: FrozenPrefix
    indices: np.ndarray  # (n,) indices of the set's messages in the prefix
    numbers: np.ndarray  # (n,) label numbers
    batch_size: int
    generator: Generator
    shuffle: bool = False  # also drops the incomplete last batch, as the book's training loader does
    seen: np.ndarray | None = None  # (V,) whether a message of the training set has the token, if known

    def __len__(self):
        return len(self.numbers) // self.batch_size if self.shuffle else -(-len(self.numbers) // self.batch_size)

    def __iter__(self):
        return self.batches(self.order())

    def order(self):
        """Draw the message order (n,) of the next epoch."""
        return loader_order(self.generator, len(self.numbers), self.shuffle)

    def batches(self, order, done=0):
        """Return the batches of an epoch in this order, without the first `done`."""
        return iter(batches(order, self.batch_size, drop_last=self.shuffle)[done:])

    def take(self, batch):
        """Return (x, lengths, label numbers) of a batch or a part of it. x is the input of block prefix.depth."""
        return *self.prefix.batch(self.indices[batch]), self.numbers[batch]

    def lengths(self, batch):
        """Return the number of tokens (B,) of each message of the batch."""
        return self.prefix.lengths[self.prefix.slot[self.indices[batch]]]


def loaders(
    clf,
    sets: Iterable,
    batch_size: int = 8,
    seed: int = 123,
    progress: Callable[[int, int], None] = lambda done, total: None,
    cache=None,
    ranks=SingleProcess(),
    memory: int | None = None,
) -> list[Loader]:
    """Run the frozen blocks once for each distinct message, and return a Loader for each set.

    Parameters
    ----------
    clf : Classifier
        The classifier to train or to measure.
    sets : iterable of list of (text, label), tuple (texts, labels) or DataFrame
        The sets of messages. A DataFrame's columns have names that need no option in a file, such as text and label, in
        any case. The first set is for training, so it is shuffled.
    batch_size : int
        Messages in a batch.
    seed : int
        Draws the order of messages, as PyTorch draws it.
    progress, cache, ranks, memory
        As in `FrozenPrefix`.

    Returns
    -------
    list of Loader
        One per set. `fine_tune` takes the first two.

    Raises
    ------
    InputError
        If a set has another form, a label is unknown, or the training messages do not fill one batch.

    Examples
    --------
    >>> import numpygpt
    >>> clf = numpygpt.Classifier(numpygpt.load("mini"), ["ham", "spam"])
    >>> messages = [("See you at six", "ham"), ("You have won a prize", "spam")] * 8
    >>> training, validation = loaders(clf, [messages, messages[:2]])
    >>> len(training), len(validation)
    (2, 1)
    """
    frames = [message_frame(part) for part in sets]
    numbers = [clf.numbers(frame["Label"].tolist()) for frame in frames]
    batches(numbers[0], batch_size, drop_last=True)
    ids = [encode(frame["Text"], clf.encoding, clf.pad_to, clf.config.n_positions) for frame in frames]
    seen = np.zeros(clf.config.vocab_size, bool)
    messages = chain(noting(ids[0], seen), *ids[1:])  # lazily, because there may be many
    prefix = FrozenPrefix(
        clf.params, clf.config, messages, clf.frozen_blocks, clf.pooling, progress, cache, ranks, memory
    )
    generator, ends = Generator(seed), np.cumsum([len(part) for part in numbers])
    return [
        Loader(prefix, np.arange(end - len(part), end), part, batch_size, generator, end == ends[0], seen)
        for part, end in zip(numbers, ends)
    ]


def message_frame(part):
    """Return a set of messages, in any form that `loaders` takes, as a DataFrame with columns Text and Label."""
    import pandas as pd

    if isinstance(part, pd.DataFrame):
        return pd.DataFrame({name: part.iloc[:, _place(part, name)].tolist() for name in ("Text", "Label")})
    if _two_columns(part):
        texts, labels = map(list, part)
        if len(texts) != len(labels):
            raise InputError(
                f"{counted(len(texts), 'text')} and {counted(len(labels), 'label')} of a set: expected equally many"
            )
        return pd.DataFrame({"Text": texts, "Label": labels})
    if not isinstance(part, Iterable):
        raise InputError(f"a set of messages is {part!r:.60}: expected a list of (text, label)")
    pairs = list(part)
    for number, pair in enumerate(pairs, start=1):
        if isinstance(pair, str) or not isinstance(pair, Sequence | np.ndarray) or len(pair) != 2:
            raise InputError(
                f"message {number} of a set is {pair!r:.60}: expected (text, label), or for the whole set a "
                "tuple of a list of texts and a list of labels"
            )
    return pd.DataFrame(pairs, columns=["Text", "Label"])


def _place(frame, name):
    """Return the place of the column Text or Label: the column of that name, or else with a usual one."""
    names = list(map(str, frame.columns))
    places = [i for i, other in enumerate(names) if other == name] or usual_places(names, name.lower())
    if len(places) != 1:
        found = f"{len(places)} columns that may be {name}" if places else f"no column {name}"
        raise InputError(f"a set has {found}: {', '.join(map(repr, names)):.200}. Rename one to {name!r}")
    return places[0]


def _two_columns(part):
    """Return whether a set is a tuple of a list of texts and a list of labels: lists, arrays or columns of a frame."""
    import pandas as pd

    return (
        isinstance(part, tuple) and len(part) == 2 and all(isinstance(c, list | np.ndarray | pd.Series) for c in part)
    )


def batches(order, batch_size, drop_last):
    """Cut an order of messages (N,) into arrays of batch_size. Drop a smaller last array if drop_last is true.

    Raises InputError if no array is left.
    """
    if drop_last and not len(order):
        raise InputError("the training set is empty. Give it messages and their labels")
    if drop_last and len(order) < batch_size:
        given = "1 training message does" if len(order) == 1 else f"{len(order)} training messages do"
        raise InputError(f"{given} not fill one batch of {batch_size}: use a smaller batch")
    end = len(order) - len(order) % batch_size if drop_last else len(order)
    return [order[start : start + batch_size] for start in range(0, end, batch_size)]


def check_sets(numbers, batch_size: int, ignore_index: int | None) -> None:
    """Raise InputError where the label numbers of a training set, and of a validation set if given, cannot be used.

    That is where the training set does not fill one batch, the validation set is empty, or every message of a set has
    the ignored label.
    """
    batches(numbers[0], batch_size, drop_last=True)
    if not all(map(len, numbers)):
        raise InputError("the validation set is empty. Give it at least one message")
    if any((part == ignore_index).all() for part in numbers):
        raise InputError(f"every message of a set has the ignored label {ignore_index}. Ignore another label, or none")
