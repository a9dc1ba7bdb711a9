"""A disk cache of frozen features. A later run finds them if weights, messages, settings and code are the same."""

import hashlib
import math
from pathlib import Path

import numpy as np

from ..model.parameters import fingerprint
from ..system.files import replacing
from ..system.rows import Rows

CHUNK = 1 << 20  # bytes of a cache file to hash at a time
DIGEST = 32  # bytes of the SHA-256 at the end of a cache file
PACKAGE = Path(__file__).parents[1]


def cache_file(folder, arrays, settings):
    """Return the path in `folder` for the features computed from these arrays {name: array} and settings, a text."""
    digest = hashlib.sha256(f"{settings} {fingerprint(arrays)}".encode())
    sources = [*PACKAGE.glob("ops/*.py"), *PACKAGE.glob("model/*.py"), PACKAGE / "training" / "frozen_features.py"]
    for source in sorted(sources):
        digest.update(source.read_bytes())  # different code may compute different features
    return Path(folder) / f"{digest.hexdigest()}.rows"


def read_features(file, shape, dtype, memory):
    """Return the Rows of a cache file, or None where there is no file or it is damaged."""
    size = math.prod(shape) * dtype.itemsize
    if not file.is_file() or file.stat().st_size != size + DIGEST:
        return None
    stream, digest = open(file, "rb"), hashlib.sha256()
    for begin in range(0, size, CHUNK):
        digest.update(stream.read(min(CHUNK, size - begin)))
    if digest.digest() != stream.read():
        stream.close()
        return None
    rows = Rows(np.empty((0, shape[1]), dtype), stream, kept=shape[0])
    if size > memory:
        return rows
    with stream:
        return Rows(rows.read(0, shape[0]))


def write_features(file, rows, ends):
    """Write all Rows, in pieces that end at the rows `ends`, followed by their SHA-256."""
    digest = hashlib.sha256()
    with replacing(file) as stream:
        for start, stop in zip([0, *ends], ends):
            piece = rows.read(start, stop)
            stream.write(piece)
            digest.update(piece)
        stream.write(digest.digest())
