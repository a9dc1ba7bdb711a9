"""Where a fine-tuning run stands."""

from dataclasses import dataclass, field

import numpy as np

from .adamw import AdamW
from .rng import Generator


@dataclass
class State:
    """What changes while a classifier is fine-tuned. A run that restores it continues bit for bit."""

    optimizer: AdamW  # with the parameters that learn
    generator: Generator
    epoch: int = 1
    order: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))  # of the epoch's messages
    batch: int = 0  # batches of the epoch that are done
    step: int = 0  # batches of all epochs that are done
    examples: int = 0  # messages of all epochs that are done
    grads: dict[str, np.ndarray] = field(default_factory=dict)  # gradients that wait for an update
    rows: list[dict] = field(default_factory=list)  # the history

    def batches(self, loader):
        """Yield the batches of the epoch that are not done, and count them."""
        if self.batch == 0:
            self.order = loader.order()
        for batch in loader.batches(self.order, self.batch):
            self.batch += 1
            self.examples += len(batch)
            yield batch

    def add(self, loss, grads, share=1.0):
        """Add share * grads, in the memory of grads, to the gradients that wait for an update. Return the loss."""
        for name, gradient in grads.items():
            if share != 1:
                gradient *= share
            if name in self.grads:
                gradient += self.grads[name]
        self.grads = grads or self.grads
        return loss

    def arrays(self):
        """Return {name: array} of the parameters and their moments, to be stored, or to be written to."""
        kinds = {"params": self.optimizer.params, "m": self.optimizer.m, "v": self.optimizer.v}
        return {f"{kind}.{name}": array for kind, named in kinds.items() for name, array in named.items()}

    def stored(self):
        """Return ({name: array}, JSON-able dict) of everything."""
        others = {"order": self.order, "generator": self.generator.get_state()}
        others |= {f"total.{name}": gradient for name, gradient in self.grads.items()}
        counts = {name: getattr(self, name) for name in _COUNTS}
        return self.arrays() | others, counts | {"t": self.optimizer.t, "rows": self.rows}

    def restore(self, progress, others):
        """Take over what `stored` returned, except `arrays`, which are written to."""
        for name in _COUNTS:
            setattr(self, name, int(progress[name]))
        self.optimizer.t, self.rows = int(progress["t"]), list(progress["rows"])
        self.order = others["order"]
        self.generator.set_state(others["generator"])
        self.grads = {name[6:]: array for name, array in others.items() if name.startswith("total.")}


_COUNTS = ("epoch", "batch", "step", "examples")
