"""The output of the frozen blocks, computed once per distinct message.

The blocks below the lowest trainable parameter are a fixed function of the text. This module computes their output once
and stores it. Every training step and every evaluation starts from the stored output.
"""

import math
import threading
import warnings

import numpy as np

from ..model.pooling import Pooling
from ..model.tape import Tape
from ..model.trunk import trunk
from ..ops.embedding import embedding
from ..system.blas import one_thread, parallel
from ..system.errors import Note
from ..system.memory import free_memory, release
from ..system.rows import reserve
from ..system.single_process import SingleProcess
from ..text.distinct import DistinctMessages
from .feature_cache import cache_file, read_features, write_features

# Rows in a forward pass: enough for full-speed matrix products, in a batch that is still small
BATCH_ROWS = 1024
# If all rows together have this size or more, in bytes, batches have a quarter of BATCH_ROWS. Rows that find no room
# are recomputed on demand, and recomputing one message recomputes its whole batch. The size of a batch must not depend
# on the free memory or the free disk space, because the last bits of the rows depend on it.
LARGE = 4 << 30


class FrozenPrefix:
    """The rows that enter block `depth`, for many messages.

    messages   (T,) arrays of token ids
    depth      the number of frozen blocks. With 0 the "rows" are the token ids themselves.
    pooling    as in `classifier`; it decides which rows are used
    progress   called as progress(tokens done, all tokens) after every batch
    cache      a folder that stores the rows for later runs, or None. Its key is the content of weights, messages and
               code.
    ranks      the Ranks that share the work: each rank computes its part of the batches and receives the other rows
    memory     bytes for messages and rows; by default half of the free memory. Further rows are spilled to a temporary
               file. Rows that fit neither in memory nor on disk are recomputed on demand. The rows are the same in all
               cases, bit for bit.
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
        ranks=SingleProcess(),
        memory=None,
    ):
        memory = free_memory() // (2 * ranks.size) if memory is None else memory
        self.depth, self.config, self.pooling = depth, config, pooling
        self.messages = DistinctMessages((ids[:1] for ids in messages) if pooling.first_alone else messages)
        self.slot, counts = self.messages.slot, self.messages.counts
        # If the last block is frozen too, it returns only the row that is read.
        one_row = depth == config.n_layer and pooling.position != "mean"
        self.lengths = np.ones_like(counts) if one_row else counts
        if depth == 0:
            return
        self.frozen = {name: array for name, array in params.items() if _below(name, depth)}
        shape, dtype = (int(self.lengths.sum()), config.n_embd), params["wte.weight"].dtype
        size = math.prod(shape) * dtype.itemsize
        self.batches = list(batches(counts, BATCH_ROWS if size < LARGE else BATCH_ROWS // 4))
        self.starts, self.batch_of = self._places()
        ends = np.cumsum([self.lengths[batch].sum() for batch in self.batches])
        memory -= self.messages.ids.nbytes
        file = None
        if cache is not None:
            arrays = self.frozen | {"ids": self.messages.ids, "counts": counts}
            file = cache_file(cache, arrays, f"{config} {depth} {pooling} {shape} {dtype}")
        self.rows = read_features(file, shape, dtype, memory) if file is not None else None
        if not all(ranks.gather(self.rows is not None)):
            if file is not None:
                file.parent.mkdir(parents=True, exist_ok=True)  # before the long computation, because this may fail
            self.rows = reserve(ends, config.n_embd, dtype, memory)
            self.rows.kept = min(ranks.gather(self.rows.kept))
            if self.rows.kept < shape[0]:
                _note_no_room(size, 1 - self.rows.kept / shape[0])
            self._compute_all(progress, ranks)
            if file is not None and self.rows.kept == shape[0]:
                ranks.once(write_features, file, self.rows, ends)
        for weights in self.frozen.values():
            release(weights)
        if self.rows.kept == shape[0]:
            self.messages = self.frozen = None  # nothing will be recomputed

    def batch(self, indices):
        """Return (x, lengths): the rows of the messages with these indices, laid end to end."""
        slots = self.slot[indices]
        if self.depth == 0:
            return np.concatenate([self.messages.ids_of(i) for i in slots]), self.lengths[slots]
        missing = sorted({self.batch_of[i] for i in slots if self.starts[i] >= self.rows.kept})
        computed = dict(zip(missing, parallel(self._compute, missing)))

        def rows(i):
            start, stop = self.starts[i], self.starts[i] + self.lengths[i]
            if start < self.rows.kept:
                return self.rows.read(start, stop)
            first = self.starts[self.batches[self.batch_of[i]][0]]
            return computed[self.batch_of[i]][start - first : stop - first]

        return np.concatenate([rows(i) for i in slots]), self.lengths[slots]

    def _places(self):
        """Return each distinct message's first row and its batch. Rows are stored batch after batch."""
        order = np.concatenate(self.batches)
        starts, batch_of = np.empty_like(self.lengths), np.empty_like(self.lengths)
        starts[order] = np.cumsum(self.lengths[order]) - self.lengths[order]
        batch_of[order] = np.repeat(np.arange(len(self.batches)), [len(batch) for batch in self.batches])
        return starts, batch_of

    def _compute_all(self, progress, ranks):
        """Compute all rows that find room. Each rank computes its part of the batches."""
        first = [self.starts[batch[0]] for batch in self.batches]
        kept = [n for n in range(len(self.batches)) if first[n] < self.rows.kept]
        tokens = [int(self.messages.counts[self.batches[n]].sum()) for n in kept]
        owners = ranks.owners(tokens)
        mine = [n for n, owner in zip(kept, owners) if owner == ranks.rank]
        done, total, one_at_a_time = 0, sum(tokens[n] for n in mine), threading.Lock()

        def run(number):
            nonlocal done
            self.rows.write(first[number], self._compute(number))
            with one_at_a_time:
                done += tokens[number]
                progress(done, total)

        parallel(run, mine)
        if ranks.size > 1:
            for number, owner in zip(kept, owners):
                rows = self.rows.read(first[number], first[number] + self.lengths[self.batches[number]].sum())
                ranks.broadcast(rows, owner)
                self.rows.write(first[number], rows)

    def _compute(self, number):
        """Return the rows of a batch, computed with one thread per product: the last bits depend on the number of
        threads."""
        batch = self.batches[number]
        lengths, tape = self.messages.counts[batch], Tape(self.frozen)
        ids = np.concatenate([self.messages.ids_of(i) for i in batch])
        with one_thread():
            x, _ = tape(embedding, ids, "wte.weight", "wpe.weight", lengths=lengths)
            return trunk(tape, x, lengths, range(self.depth), self.config, self.pooling)[0]


def _note_no_room(size, share):
    warnings.warn(
        f"the rows of the frozen blocks take {size / 1e9:.1f} GB, and {share:.0%} of them fit neither in memory nor on "
        "disk. They are recomputed for every batch, which is slow. Set TMPDIR to a folder on a larger disk, or pad "
        "less (--pad end)",
        Note,
        stacklevel=3,
    )


def _below(name, depth):
    return name in ("wte.weight", "wpe.weight") or any(name.startswith(f"h.{n}.") for n in range(depth))


def batches(counts, most):
    """Yield batches of message numbers, at most `most` rows each, shortest first: equal lengths share products."""
    batch, rows = [], 0
    for i in np.argsort(counts, kind="stable"):
        if batch and rows + counts[i] > most:
            yield np.array(batch)
            batch, rows = [], 0
        batch.append(i)
        rows += counts[i]
    yield np.array(batch)
