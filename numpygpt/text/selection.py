"""Choose which messages of a file are used, make the three sets of them, and say what was left out."""

from dataclasses import dataclass

import numpy as np

from ..system.errors import InputError
from ..system.settings import ALL, FEWEST, SMALLEST
from .split import SHARES, balance, split


@dataclass(frozen=True)
class Selection:
    """Which part of a file is used.

    counts   {label: messages in the file}, sorted by label
    most     the number of messages of a label that are used at most
    rarest   the label that decided `most`, or None
    """

    counts: dict
    most: int
    rarest: str | None = None

    @property
    def complete(self):
        """Whether all messages are used."""
        return max(self.counts.values()) <= self.most

    def __str__(self):
        used, total = sum(min(count, self.most) for count in self.counts.values()), sum(self.counts.values())
        which = f"at most {self.most:,} of each label"
        if self.rarest is not None:
            which = f"{self.most:,} of each label, because {self.rarest!r} has only {self.most:,}"
        return f"{used:,} of {total:,} messages are used: {which}"

    def warning(self, confusion, precision):
        """Return a sentence on the precision where labels are as frequent as in the file.

        confusion, precision   (C, C) and (C,), measured on the selected messages

        There, each label's row of the confusion matrix counts with the label's share of the file.
        """
        shares = np.array(list(self.counts.values())) / sum(self.counts.values())
        answers = shares[:, None] * confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
        there = answers.diagonal() / np.where(answers.any(axis=0), answers.sum(axis=0), 1)
        worst = int((there - precision).argmin())
        label = list(self.counts)[worst]
        return (
            "These messages are balanced, but the file is not. Where labels are as frequent as in the file, precision "
            f"is lower: here {precision[worst]:.2%} of the answers {label!r} are right, there about {there[worst]:.2%} "
            f"would be ({label!r} has {shares[worst]:.1%} of the file)"
        )


def select(frame, how=SMALLEST, seed=123, shares=SHARES):
    """Choose messages and split them. Return ((training, validation, test) frames, the Selection).

    how   "smallest": of each label as many as the rarest has, shuffled and cut together, as in the book
          a number: at most so many of each label, and each label is split by itself
          "none": all messages, and each label is split by itself
    shares   of the messages, for training and for validation

    Raises InputError, naming the labels, where a label has no message in one of the sets.
    """
    counts = frame["Label"].value_counts().sort_index().to_dict()
    if how == SMALLEST:
        rarest = min(counts, key=lambda label: counts[label])
        chosen = Selection(counts, counts[rarest], rarest)
    else:
        chosen = Selection(counts, max(counts.values()) if how == ALL else how)
    used = frame if how == ALL else balance(frame, seed, chosen.most)
    try:
        return split(used, *shares, seed, stratified=how != SMALLEST), chosen
    except InputError as error:
        if how != SMALLEST:
            raise InputError(f"{error}, at least {FEWEST} of each label, or remove the rare ones") from None
        about = "" if chosen.complete else f"{chosen}. "
        raise InputError(
            f"{about}{error}, remove rare labels, or pass --balance none, which splits each label by itself and needs "
            f"{FEWEST} messages of it"
        ) from None
