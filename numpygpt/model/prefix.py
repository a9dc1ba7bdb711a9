"""The frozen blocks, run once per distinct message.

What lies below the lowest trainable parameter is a fixed function of the text. Its rows are computed here once, kept, and every
training step and evaluation starts from them.
"""

import numpy as np

from .trunk import readable, trunk
from .walk import Walk

BATCH_ROWS = 1024  # rows to a forward pass: enough for the matrix products to run at full speed, and still a small batch


class FrozenPrefix:
    """The rows that enter block `depth`, of many messages.

    messages   list of (T,) arrays of token ids
    depth      how many blocks are frozen. With 0 nothing is: the "rows" are then the token ids themselves.
    position, causal   as in `classifier`: they decide which rows are ever read
    progress   called as progress(rows done, rows in all) after every batch
    """

    def __init__(self, params, config, messages, depth, position="last", causal=True, progress=lambda done, total: None):
        messages = readable(messages, position, causal)
        slots = {}
        self.slot = np.array([slots.setdefault(np.asarray(ids, np.int32).tobytes(), len(slots)) for ids in messages])
        distinct = [np.frombuffer(key, np.int32) for key in slots]
        one_row = depth == config.n_layer and position != "mean"  # only the row that is read leaves the last block
        self.lengths = np.array([1 if one_row else len(ids) for ids in distinct])
        self.starts = np.cumsum(self.lengths) - self.lengths
        if depth == 0:
            self.rows = np.concatenate(distinct)  # (N,)
            return
        self.rows = np.empty((self.lengths.sum(), config.n_embd), params["wte.weight"].dtype)  # (N, D)
        done, total = 0, sum(map(len, distinct))
        for batch in _batches(distinct):
            lengths = np.array([len(distinct[i]) for i in batch])
            ids = np.concatenate([distinct[i] for i in batch])
            y, _ = trunk(Walk(params), ids, lengths, config, 0, depth, position, causal)
            ends = np.cumsum(self.lengths[batch])
            for i, end in zip(batch, ends):
                self.rows[self._place(i)] = y[end - self.lengths[i] : end]
            done += len(ids)
            progress(done, total)

    def _place(self, i):
        return slice(self.starts[i], self.starts[i] + self.lengths[i])

    def batch(self, indices):
        """(x, lengths): the rows of the messages of these indices, laid end to end, for `classifier(..., depth)`."""
        slots = self.slot[indices]
        return np.concatenate([self.rows[self._place(i)] for i in slots]), self.lengths[slots]


def _batches(messages):
    """Indices of the messages, shortest first (equal lengths share their attention's products), about BATCH_ROWS rows at a time."""
    batch, rows = [], 0
    for i in sorted(range(len(messages)), key=lambda i: len(messages[i])):
        if batch and rows + len(messages[i]) > BATCH_ROWS:
            yield batch
            batch, rows = [], 0
        batch.append(i)
        rows += len(messages[i])
    if batch:
        yield batch
