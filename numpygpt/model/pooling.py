"""How a classifier reads a message: at which row, and who sees whom."""

from dataclasses import dataclass

import numpy as np

POSITIONS = ("last", "first", "mean")


@dataclass(frozen=True)
class Pooling:
    """position   which row of a message the head reads: "last", "first", or "mean" for the mean of all
    causal     whether a row sees only those before it and itself
    folded     whether the last block computes only the row that is read, where it is one: the same numbers for less
               work. Without, the block is the textbook's, over all rows.
    """

    position: str = "last"
    causal: bool = True
    folded: bool = True

    def rows(self, lengths):
        """(B,) the row of each message, among rows laid end to end, that is read; None where all are."""
        ends = np.cumsum(lengths)
        return {"last": ends - 1, "first": ends - lengths, "mean": None}[self.position]

    @property
    def first_alone(self):
        """Whether only a message's first row can change its answer: under a causal mask the first sees nothing but
        itself."""
        return self.causal and self.position == "first"
