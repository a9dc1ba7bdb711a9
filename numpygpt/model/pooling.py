"""How a classifier pools a message: which row it reads, and whether attention is causal."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Pooling:
    """How a classifier pools the rows of a message.

    position   which row of a message the head reads: "last", "first", or "mean" for the mean of all rows
    causal     whether a row attends only to itself and earlier rows
    folded     whether the last block computes only the row that the head reads: the same numbers with less work. If
               False, the last block computes all rows, as in the textbook.
    """

    position: str = "last"
    causal: bool = True
    folded: bool = True

    def rows(self, lengths):
        """Return the row (B,) of each message that the head reads, among rows laid end to end; None for all rows."""
        ends = np.cumsum(lengths)
        return {"last": ends - 1, "first": ends - lengths, "mean": None}[self.position]

    @property
    def first_alone(self):
        """Whether only a message's first row can change its answer.

        It is so if the head reads the first row and attention is causal: the first row attends only to itself.
        """
        return self.causal and self.position == "first"
