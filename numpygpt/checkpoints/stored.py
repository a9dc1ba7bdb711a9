"""Represent one tensor of an open checkpoint file in any format. Its data stay on disk until they are read."""

import math
import mmap
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..system.errors import InputError

# The names of types (safetensors' names, used for every format here), and how to read their bytes. NumPy has no
# bfloat16: a bfloat16 is the upper half of a float32.
STORED = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}

MOST_AXES = 32  # the limit of NumPy 1
_CHUNK = 1 << 17  # elements converted at a time, so that loading needs little more memory than its result


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of an open file. Its elements are contiguous from byte `start`."""

    path: Path
    mapping: mmap.mmap
    stored_as: str  # a key of STORED
    shape: tuple
    start: int

    @property
    def dtype(self):
        """Return the type of read(): float32 for every kind of float, otherwise the stored type."""
        return STORED["F32"] if self.stored_as in ("F64", "F16", "BF16") else STORED[self.stored_as]

    @property
    def nbytes(self):
        return math.prod(self.shape) * STORED[self.stored_as].itemsize

    def verify(self):
        """Raise InputError if the data do not match their checksum. Formats with checksums override this method."""

    def read(self):
        """Return the tensor as a read-only array: a view of the memory-mapped file if possible, otherwise a copy.

        A copy is needed to change the type. It is also needed for unaligned data (as in the published GPT-2 files),
        which would slow down every later matrix product.
        """
        stored, count = STORED[self.stored_as], math.prod(self.shape)
        if stored == self.dtype and self.start % stored.itemsize == 0 and count:
            self.verify()
            return np.frombuffer(self.mapping, stored, count, self.start).reshape(self.shape)
        return self.copy()

    def copy(self):
        """Return the tensor as a new read-only array. Read it through the file: pages of the map count as memory."""
        self.verify()
        stored, result = STORED[self.stored_as], np.empty(math.prod(self.shape), self.dtype)
        with open(self.path, "rb") as file, np.errstate(over="ignore"):  # large float64 values become inf
            file.seek(self.start)
            for begin in range(0, len(result), _CHUNK):
                part = result[begin : begin + _CHUNK]
                chunk = np.fromfile(file, stored, len(part))
                if len(chunk) < len(part):
                    raise InputError(f"{self.path} is shorter than it was when it was opened. Load it again")
                part[...] = widened(chunk, self.stored_as)
        result.flags.writeable = False
        return result.reshape(self.shape)


def widened(stored, stored_as):
    """Return the values of stored numbers. Widen bfloat16, which NumPy lacks, to float32."""
    return (stored.astype(np.uint32) << 16).view(np.float32) if stored_as == "BF16" else stored
