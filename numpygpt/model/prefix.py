"""The frozen blocks, run once per distinct message.

What lies below the lowest trainable parameter is a fixed function of the text. Its rows are computed here once, kept, and every
training step and evaluation starts from them.
"""

import hashlib
import math
import tempfile
from pathlib import Path

import numpy as np

from ..system.blas import parallel
from ..system.errors import InputError
from ..system.files import replacing
from ..system.memory import release
from .parameters import fingerprint
from .tape import Tape
from .trunk import readable, trunk

BATCH_ROWS = (
    1024  # rows to a forward pass: enough for the matrix products to run at full speed, and still a small batch
)
IN_MEMORY = (
    2 << 30
)  # bytes of rows; more go to a temporary file, of which the system keeps in memory what it has room for


class FrozenPrefix:
    """The rows that enter block `depth`, of many messages.

    messages   list of (T,) arrays of token ids
    depth      how many blocks are frozen. With 0 nothing is: the "rows" are then the token ids themselves.
    position, causal   as in `classifier`: they decide which rows are ever read
    progress   called as progress(rows done, rows in all) after every batch
    cache      a folder that keeps the rows for later runs, or None. They are found again by the content of the weights and messages,
               so that no change of either can go unnoticed.
    """

    def __init__(
        self,
        params,
        config,
        messages,
        depth,
        position="last",
        causal=True,
        progress=lambda done, total: None,
        cache=None,
    ):
        slots = {}
        keys = [np.asarray(ids, np.int32).tobytes() for ids in readable(messages, position, causal)]
        self.slot = np.array([slots.setdefault(key, len(slots)) for key in keys])
        distinct = [np.frombuffer(key, np.int32) for key in slots]
        one_row = depth == config.n_layer and position != "mean"  # only the row that is read leaves the last block
        self.lengths = np.array([1 if one_row else len(ids) for ids in distinct])
        self.starts = np.cumsum(self.lengths) - self.lengths
        if depth == 0:
            self.rows = np.concatenate(distinct)  # (N,)
            return

        read = {name: params[name] for name in ("wte.weight", "wpe.weight")}
        read |= {name: params[name] for n in range(depth) for name in params if name.startswith(f"h.{n}.")}
        shape, dtype = (int(self.lengths.sum()), config.n_embd), params["wte.weight"].dtype
        file = None
        if cache is not None:
            key = f"{config} {depth} {position if one_row else ''} {causal} {[len(ids) for ids in distinct]} {fingerprint(read)}"
            file = Path(cache) / f"{hashlib.sha256(key.encode() + b''.join(slots)).hexdigest()}.rows"
            if file.exists():
                self.rows = _stored(file, shape, dtype)
                return
            file.parent.mkdir(parents=True, exist_ok=True)
        self.rows = _empty(shape, dtype)  # (N, D)
        done, total = [], sum(map(len, distinct))

        def run(batch):
            lengths = np.array([len(distinct[i]) for i in batch])
            ids = np.concatenate([distinct[i] for i in batch])
            y, _ = trunk(Tape(params), ids, lengths, config, 0, depth, position, causal)
            for i, rows in zip(batch, np.split(y, np.cumsum(self.lengths[batch])[:-1])):
                self.rows[self._place(i)] = rows
            done.append(len(ids))
            progress(sum(done), total)

        parallel(run, _batches(distinct))
        for weights in read.values():
            release(weights)
        if file is not None:
            with replacing(file) as stream:
                self.rows.tofile(stream)

    def _place(self, i):
        return slice(self.starts[i], self.starts[i] + self.lengths[i])

    def batch(self, indices):
        """(x, lengths): the rows of the messages of these indices, laid end to end, for `classifier(..., depth)`."""
        slots = self.slot[indices]
        return np.concatenate([self.rows[self._place(i)] for i in slots]), self.lengths[slots]


def _stored(file, shape, dtype):
    if file.stat().st_size != math.prod(shape) * dtype.itemsize:
        raise InputError(
            f"{file}: damaged, not {shape[0]} rows of {shape[1]} numbers; remove it, and it will be made again"
        )
    return np.memmap(file, dtype, "r", shape=shape)


def _empty(shape, dtype):
    """An uninitialised array, in memory or, where it is too large, in a file that vanishes with it."""
    if math.prod(shape) * dtype.itemsize <= IN_MEMORY:
        return np.empty(shape, dtype)
    return np.memmap(tempfile.TemporaryFile(), dtype, "w+", shape=shape)


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
