"""Work on large arrays in chunks of their rows that fit a core's cache, on all cores."""

import threading

import numpy as np

from .blas import parallel

CHUNK = 1 << 20  # bytes of an array in a chunk: few enough for the cache, enough to hide the cost of Python's calls
CHUNK_IN_PLACE = 1 << 19  # the same where five arrays are worked on at once
BUNDLE = 1 << 17  # numbers that one core updates before it takes the next: small tensors together


def chunks(x, size=None):
    """Return slices of consecutive rows that together are x, each of about `size` bytes (default: CHUNK)."""
    step = max(1, (size or CHUNK) // max(1, x[:1].nbytes))
    return [slice(start, start + step) for start in range(0, len(x), step)]


def each_chunk(function, groups):
    """Call function(*parts) for matching chunks of each group of equally shaped arrays, on all cores.

    For work done in place: no two calls get the same rows.
    """
    parallel(lambda bundle: [function(*(array[rows] for array in group)) for group, rows in bundle], _bundles(groups))


def _bundles(groups):
    bundle, numbers = [], 0
    for group in groups:
        # Slices of rows, because a flat view would be a copy if an array is not in C order.
        for rows in chunks(group[0], CHUNK_IN_PLACE):
            bundle.append((group, rows))
            numbers += group[0][rows].size
            if numbers >= BUNDLE:
                yield bundle
                bundle, numbers = [], 0
    yield bundle


def scratch(like):
    """Return an uninitialised array like `like`. The next call in the same thread reuses its memory."""
    buffer = getattr(_of_thread, "buffer", None)
    if buffer is None or buffer.nbytes < like.nbytes:
        buffer = _of_thread.buffer = np.empty(like.nbytes, np.uint8)
    return buffer[: like.nbytes].view(like.dtype).reshape(like.shape)


_of_thread = threading.local()
