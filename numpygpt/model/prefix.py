"""The frozen blocks, run once per distinct message.

What lies below the lowest trainable parameter is a fixed function of the text. Its rows are computed here once, kept,
and every training step and evaluation starts from them.
"""

import hashlib
import math
import threading
import warnings
from array import array
from pathlib import Path

import numpy as np

from ..ops.embedding import embedding
from ..system.alone import Alone
from ..system.blas import one_thread, parallel
from ..system.errors import Note
from ..system.files import replacing
from ..system.memory import free_memory, release
from ..system.rows import Rows, reserve
from .parameters import fingerprint
from .pooling import Pooling
from .tape import Tape
from .trunk import trunk

# Rows to a forward pass: enough for the matrix products to run at full speed, and still a small batch
BATCH_ROWS = 1024
# Bytes of rows from which on batches have a quarter of that: there may be no room for so many, and who makes one
# message's rows again makes its batch's. Memory and disk must not decide about it, for the last bits depend on it.
LARGE = 4 << 30
CHUNK = 1 << 20  # bytes of a cache file that are checked at a time
DIGEST = 32  # bytes of the SHA-256 at the end of a cache file


class FrozenPrefix:
    """The rows that enter block `depth`, of many messages.

    messages   (T,) arrays of token ids
    depth      how many blocks are frozen. With 0 nothing is: the "rows" are then the token ids themselves.
    pooling    as in `classifier`: it decides which rows are ever read
    progress   called as progress(rows done, rows in all) after every batch
    cache      a folder that keeps the rows for later runs, or None. They are found again by the content of the
               weights, the messages and the code, so that no change of them can go unnoticed.
    ranks      who shares the work: each runs its part of the batches, and receives what the others made
    memory     how many bytes messages and rows may take; by default half of what is free. What is more goes to a file
               for the time; and what no disk has room for either is made again whenever it is asked for. The rows are
               the same, bit for bit.
    """

    def __init__(
        self,
        params,
        config,
        messages,
        depth,
        pooling=Pooling(),
        progress=lambda done, total: None,
        cache=None,
        ranks=Alone(),
        memory=None,
    ):
        memory = free_memory() // (2 * ranks.size) if memory is None else memory
        self.depth, self.config, self.pooling = depth, config, pooling
        self.slot, self.ids, self.counts = distinct_messages(
            (ids[:1] for ids in messages) if pooling.first_alone else messages
        )
        self.first_ids = np.cumsum(self.counts) - self.counts
        # Only the row that is read leaves the last block.
        one_row = depth == config.n_layer and pooling.position != "mean"
        self.lengths = np.ones_like(self.counts) if one_row else self.counts
        shape, dtype = (int(self.lengths.sum()), config.n_embd), params["wte.weight"].dtype
        size = math.prod(shape) * dtype.itemsize
        self.batches = list(_batches(self.counts, BATCH_ROWS if size < LARGE else BATCH_ROWS // 4))
        order = np.concatenate(self.batches)
        self.starts = np.empty_like(self.lengths)
        self.starts[order] = np.cumsum(self.lengths[order]) - self.lengths[order]
        self.batch_of = np.empty_like(self.lengths)
        self.batch_of[order] = np.repeat(np.arange(len(self.batches)), [len(batch) for batch in self.batches])
        if depth == 0:
            return
        self.frozen = {name: array for name, array in params.items() if _below(name, depth)}
        ends = np.cumsum([self.lengths[batch].sum() for batch in self.batches])
        memory -= self.ids.nbytes
        file = self._cache_file(cache, shape, dtype) if cache is not None else None
        self.rows = _read(file, shape, dtype, memory) if file is not None else None
        if not all(ranks.gather(self.rows is not None)):
            if file is not None:
                file.parent.mkdir(parents=True, exist_ok=True)  # before the work: the folder may be impossible
            self.rows = reserve(ends, config.n_embd, dtype, memory)
            self.rows.kept = min(ranks.gather(self.rows.kept))
            if self.rows.kept < shape[0]:
                _note_no_room(size, 1 - self.rows.kept / shape[0])
            self._run(progress, ranks)
            if file is not None and self.rows.kept == shape[0]:
                ranks.once(_write, file, self.rows, ends)
        for weights in self.frozen.values():
            release(weights)
        if self.rows.kept == shape[0]:
            self.ids = self.frozen = None  # for nothing is made again

    def batch(self, indices):
        """(x, lengths): the rows of the messages of these indices, laid end to end."""
        slots = self.slot[indices]
        if self.depth == 0:
            return np.concatenate([self._ids(i) for i in slots]), self.lengths[slots]
        lacking = sorted({self.batch_of[i] for i in slots if self.starts[i] >= self.rows.kept})
        made = dict(zip(lacking, parallel(self._make, lacking)))

        def rows(i):
            start, stop = self.starts[i], self.starts[i] + self.lengths[i]
            if start < self.rows.kept:
                return self.rows.read(start, stop)
            first = self.starts[self.batches[self.batch_of[i]][0]]
            return made[self.batch_of[i]][start - first : stop - first]

        return np.concatenate([rows(i) for i in slots]), self.lengths[slots]

    def _run(self, progress, ranks):
        """Make all rows that are kept."""
        first = [self.starts[batch[0]] for batch in self.batches]
        kept = [n for n in range(len(self.batches)) if first[n] < self.rows.kept]
        tokens = [int(self.counts[self.batches[n]].sum()) for n in kept]
        owners = ranks.owners(tokens)
        mine = [n for n, owner in zip(kept, owners) if owner == ranks.rank]
        done, total, one_at_a_time = 0, sum(tokens[n] for n in mine), threading.Lock()

        def run(number):
            nonlocal done
            self.rows.write(first[number], self._make(number))
            with one_at_a_time:
                done += tokens[number]
                progress(done, total)

        parallel(run, mine)
        if ranks.size > 1:
            for number, owner in zip(kept, owners):
                rows = self.rows.read(first[number], first[number] + self.lengths[self.batches[number]].sum())
                ranks.broadcast(rows, owner)
                self.rows.write(first[number], rows)

    def _make(self, number):
        """The rows of a batch. Products take one thread, whatever runs beside: their last bits depend on that."""
        batch = self.batches[number]
        lengths, tape = self.counts[batch], Tape(self.frozen)
        ids = np.concatenate([self._ids(i) for i in batch])
        with one_thread():
            x, _ = tape(embedding, ids, "wte.weight", "wpe.weight", lengths=lengths)
            return trunk(tape, x, lengths, range(self.depth), self.config, self.pooling)[0]

    def _ids(self, i):
        return self.ids[self.first_ids[i] : self.first_ids[i] + self.counts[i]]

    def _cache_file(self, folder, shape, dtype):
        """The file in the cache folder for these frozen parameters and messages, and this code."""
        content = fingerprint(self.frozen | {"ids": self.ids, "counts": self.counts})
        digest = hashlib.sha256(f"{self.config} {self.depth} {self.pooling} {shape} {dtype} {content}".encode())
        package = Path(__file__).parents[1]
        sources = [*package.glob("ops/*.py"), *package.glob("model/*.py"), *package.glob("system/pieces.py")]
        for source in sorted(sources):
            digest.update(source.read_bytes())  # what other code made of them may not be what this makes
        return Path(folder) / f"{digest.hexdigest()}.rows"


def distinct_messages(messages):
    """(slot, ids, counts): the token ids of the distinct messages laid end to end, in order of appearance, how many
    each has, and for each message its place among them."""
    places, slot, ids, counts = {}, [], array("i"), []
    for message in messages:
        message = np.ascontiguousarray(message, np.int32)
        key = hashlib.blake2b(message, digest_size=16).digest()  # the message itself would be there twice
        if key not in places:
            places[key] = len(places)
            ids.frombytes(message.tobytes())
            counts.append(len(message))
        slot.append(places[key])
    return np.array(slot), np.frombuffer(ids, np.int32), np.array(counts)


def _note_no_room(size, share):
    warnings.warn(
        f"what the frozen blocks make of the messages takes {size / 1e9:.1f} GB. For {share:.0%} of it neither memory "
        "nor disk has room: there they run again for every batch, which is slow; set TMPDIR to a folder on a larger "
        "disk, or pad less (--pad end)",
        Note,
        stacklevel=3,
    )


def _below(name, depth):
    return name in ("wte.weight", "wpe.weight") or any(name.startswith(f"h.{n}.") for n in range(depth))


def _batches(counts, most):
    """Numbers of the messages, shortest first (equal lengths share their attention's products), as many at a time as
    have `most` rows together."""
    batch, rows = [], 0
    for i in np.argsort(counts, kind="stable"):
        if batch and rows + counts[i] > most:
            yield np.array(batch)
            batch, rows = [], 0
        batch.append(i)
        rows += counts[i]
    yield np.array(batch)


def _read(file, shape, dtype, memory):
    """The Rows in a cache file, or None where there is none or it is not as it was written."""
    size = math.prod(shape) * dtype.itemsize
    if not file.is_file() or file.stat().st_size != size + DIGEST:
        return None
    stream, digest = open(file, "rb"), hashlib.sha256()
    for begin in range(0, size, CHUNK):
        digest.update(stream.read(min(CHUNK, size - begin)))
    if digest.digest() != stream.read():
        stream.close()
        return None
    if size > memory:
        return Rows(np.empty((0, shape[1]), dtype), stream, kept=shape[0])
    with stream:
        stream.seek(0)
        return Rows(np.fromfile(stream, dtype, math.prod(shape)).reshape(shape))


def _write(file, rows, ends):
    digest = hashlib.sha256()
    with replacing(file) as stream:
        for start, stop in zip([0, *ends], ends):
            piece = rows.read(start, stop)
            stream.write(piece)
            digest.update(piece)
        stream.write(digest.digest())
