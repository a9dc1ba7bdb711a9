"""The state of a fine-tuning run."""

from dataclasses import dataclass, field

import numpy as np

from .adamw import AdamW
from .rng import Generator


@dataclass
class State:
    """Everything that changes during fine-tuning. A run that restores its State continues bit for bit."""

    optimizer: AdamW  # holds the trained parameters
    generator: Generator
    epoch: int = 1
    order: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))  # message order of the epoch
    batch: int = 0  # finished batches of the epoch
    step: int = 0  # finished batches of all epochs
    examples: int = 0  # messages in finished batches of all epochs
    grads: dict[str, np.ndarray] = field(default_factory=dict)  # gradients accumulated since the last update
    rows: list[dict] = field(default_factory=list)  # the history

    def batches(self, loader):
        """Yield the remaining batches of the epoch, and count them."""
        if self.batch == 0:
            self.order = loader.order()
        for batch in loader.batches(self.order, self.batch):
            self.batch += 1
            self.examples += len(batch)
            yield batch

    def add(self, loss, grads, share=1.0):
        """Add share * grads to the accumulated gradients, reusing the memory of `grads`. Return the loss."""
        for name, gradient in grads.items():
            if share != 1:
                gradient *= share
            if name in self.grads:
                gradient += self.grads[name]
        self.grads = grads or self.grads
        return loss

    def arrays(self):
        """Return {name: array} of the parameters and their moments: the arrays themselves, to be stored or restored."""
        kinds = {"params": self.optimizer.params, "sum": self.optimizer.m, "sum_of_squares": self.optimizer.v}
        return {f"{kind}.{name}": array for kind, named in kinds.items() for name, array in named.items()}

    def stored(self):
        """Return the whole state as ({name: array}, JSON-able dict)."""
        others = {"order": self.order, "generator": self.generator.get_state()}
        others |= {f"total.{name}": gradient for name, gradient in self.grads.items()}
        counts = {name: getattr(self, name) for name in _COUNTS}
        return self.arrays() | others, counts | {"t": self.optimizer.t, "rows": self.rows}

    def restore(self, progress, others):
        """Restore what `stored` returned. The caller has copied the `arrays` back already."""
        for name in _COUNTS:
            setattr(self, name, int(progress[name]))
        self.optimizer.t, self.rows = int(progress["t"]), list(progress["rows"])
        self.order = others["order"]
        self.generator.set_state(others["generator"])
        self.grads = {name[6:]: array for name, array in others.items() if name.startswith("total.")}


_COUNTS = ("epoch", "batch", "step", "examples")
