"""The frozen blocks, run once per distinct message.

What lies below the lowest trainable parameter is a fixed function of the text. Its rows are computed here once, kept,
and every training step and evaluation starts from them.
"""

import hashlib
import math
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

from ..ops.embedding import embedding
from ..system.alone import Alone
from ..system.blas import parallel
from ..system.errors import InputError
from ..system.files import replacing
from ..system.memory import release
from .parameters import fingerprint
from .reading import Reading
from .tape import Tape
from .trunk import trunk

# Rows to a forward pass: enough for the matrix products to run at full speed, and still a small batch
BATCH_ROWS = 1024
# Bytes of rows; more go to a temporary file, of which the system keeps in memory what it has room for
IN_MEMORY = 2 << 30
DIGEST = 32  # bytes of the SHA-256 at the end of a cache file


class FrozenPrefix:
    """The rows that enter block `depth`, of many messages.

    messages   list of (T,) arrays of token ids
    depth      how many blocks are frozen. With 0 nothing is: the "rows" are then the token ids themselves.
    reading    as in `classifier`: it decides which rows are ever read
    progress   called as progress(rows done, rows in all) after every batch
    cache      a folder that keeps the rows for later runs, or None. They are found again by the content of the
               weights, the messages and the code, so that no change of them can go unnoticed.
    ranks      who shares the work: each runs its part of the batches, and receives what the others made

    Raises InputError where neither memory nor the folder for temporary files has room for the rows.
    """

    def __init__(
        self,
        params,
        config,
        messages,
        depth,
        reading=Reading(),
        progress=lambda done, total: None,
        cache=None,
        ranks=Alone(),
    ):
        self.depth = depth
        self.slot, distinct = distinct_messages([ids[:1] for ids in messages] if reading.first_alone else messages)
        # Only the row that is read leaves the last block.
        one_row = depth == config.n_layer and reading.position != "mean"
        self.lengths = np.array([1 if one_row else len(ids) for ids in distinct])
        self.starts = np.cumsum(self.lengths) - self.lengths
        if depth == 0:
            self.rows = np.concatenate(distinct)  # (N,)
            return
        frozen = {name: array for name, array in params.items() if _below(name, depth)}
        shape, dtype = (int(self.lengths.sum()), config.n_embd), params["wte.weight"].dtype
        file = (
            _cache_file(cache, (config, depth, reading, shape, dtype), frozen, distinct) if cache is not None else None
        )
        self.rows = _read(file, shape, dtype) if file is not None else None  # (N, D)
        if not all(ranks.gather(self.rows is not None)):
            if file is not None:
                file.parent.mkdir(parents=True, exist_ok=True)  # before the work: the folder may be impossible
            self.rows = _reserve(shape, dtype)
            self._run(frozen, config, distinct, reading, progress, ranks)
            if file is not None:
                ranks.once(_write, file, self.rows)

    def _run(self, frozen, config, messages, reading, progress, ranks):
        batches = list(_batches(messages))
        tokens = [sum(len(messages[i]) for i in batch) for batch in batches]
        owners = ranks.owners(tokens)
        mine = [batch for batch, owner in zip(batches, owners) if owner == ranks.rank]
        done, total = [], sum(len(messages[i]) for batch in mine for i in batch)

        def run(batch):
            lengths = np.array([len(messages[i]) for i in batch])
            tape = Tape(frozen)
            ids = np.concatenate([messages[i] for i in batch])
            x, _ = tape(embedding, ids, "wte.weight", "wpe.weight", lengths=lengths)
            y, _ = trunk(tape, x, lengths, range(self.depth), config, reading)
            for i, rows in zip(batch, np.split(y, np.cumsum(self.lengths[batch])[:-1])):
                self.rows[self._place(i)] = rows
            done.append(len(ids))
            progress(sum(done), total)

        parallel(run, mine)
        for weights in frozen.values():
            release(weights)
        for batch, owner in zip(batches, owners):
            for i in batch:
                ranks.broadcast(self.rows[self._place(i)], owner)

    def _place(self, i):
        return slice(self.starts[i], self.starts[i] + self.lengths[i])

    def batch(self, indices):
        """(x, lengths): the rows of the messages of these indices, laid end to end."""
        slots = self.slot[indices]
        return np.concatenate([self.rows[self._place(i)] for i in slots]), self.lengths[slots]


def distinct_messages(messages):
    """(slot, distinct): the distinct messages, in order of appearance, and for each message its place among them."""
    slots = {}
    keys = [np.asarray(ids, np.int32).tobytes() for ids in messages]
    slot = np.array([slots.setdefault(key, len(slots)) for key in keys])
    return slot, [np.frombuffer(key, np.int32) for key in slots]


def _below(name, depth):
    return name in ("wte.weight", "wpe.weight") or any(name.startswith(f"h.{n}.") for n in range(depth))


def _batches(messages):
    """Indices of the messages, shortest first (equal lengths share their attention's products), about BATCH_ROWS rows
    at a time."""
    batch, rows = [], 0
    for i in sorted(range(len(messages)), key=lambda i: len(messages[i])):
        if batch and rows + len(messages[i]) > BATCH_ROWS:
            yield batch
            batch, rows = [], 0
        batch.append(i)
        rows += len(messages[i])
    if batch:
        yield batch


def _reserve(shape, dtype):
    """An uninitialised array, in memory or, where it is too large, in a file that vanishes with it.

    The file's room on the disk is taken now: a full disk would otherwise kill the process when a page is written
    (SIGBUS).
    """
    size = math.prod(shape) * dtype.itemsize
    if size <= IN_MEMORY:
        return np.empty(shape, dtype)
    folder = tempfile.gettempdir()
    file = tempfile.TemporaryFile(dir=folder)
    try:
        if size > shutil.disk_usage(folder).free:
            raise OSError
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
    except OSError:
        file.close()
        raise InputError(
            f"what the frozen blocks make of the messages takes {size / 1e9:.1f} GB, and {folder} has no room "
            "for it: set TMPDIR to a folder that has, use fewer messages, or --pad none"
        ) from None
    return np.memmap(file, dtype, "r+", shape=shape)


def _cache_file(folder, settings, frozen, messages):
    """The file in the cache folder for these frozen parameters and messages, and this code."""
    digest = hashlib.sha256(f"{settings} {[len(ids) for ids in messages]} {fingerprint(frozen)}".encode())
    for ids in messages:
        digest.update(ids)
    package = Path(__file__).parents[1]
    for source in sorted([*package.glob("ops/*.py"), *package.glob("model/*.py"), *package.glob("system/pieces.py")]):
        digest.update(source.read_bytes())  # what other code made of them may not be what this makes
    return Path(folder) / f"{digest.hexdigest()}.rows"


def _read(file, shape, dtype):
    """The rows in a cache file, or None where there is none or it is not as it was written."""
    size = math.prod(shape) * dtype.itemsize
    if not file.is_file() or file.stat().st_size != size + DIGEST:
        return None
    content = np.memmap(file, np.uint8, "r")
    if hashlib.sha256(content[:size]).digest() != content[size:].tobytes():
        return None
    return content[:size].view(dtype).reshape(shape)


def _write(file, rows):
    with replacing(file) as stream:
        rows.tofile(stream)
        stream.write(hashlib.sha256(rows).digest())
