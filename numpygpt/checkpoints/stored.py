"""One tensor of an open checkpoint file, whatever the format: shape and type are known, the data still on the disk."""

import math
import mmap
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# What a type is called (safetensors' names, which every format here uses), and how its bytes are read.
# NumPy has no bfloat16: it is the upper half of a float32.
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

MOST_AXES = 32  # an ndarray's limit in NumPy 1
_CHUNK = 1 << 17  # elements converted at a time, so that a load needs hardly more memory than its result


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of an open file, its elements end to end from byte `start`."""

    path: Path
    mapping: mmap.mmap
    stored_as: str  # a key of STORED
    shape: tuple
    start: int

    @property
    def dtype(self):
        """The type that read() gives: float32 for every kind of float, otherwise the stored one."""
        return STORED["F32"] if self.stored_as in ("F64", "F16", "BF16") else STORED[self.stored_as]

    @property
    def nbytes(self):
        return math.prod(self.shape) * STORED[self.stored_as].itemsize

    def verify(self):
        """Raise InputError where the data contradict their checksum. This is the format that has none."""

    def read(self):
        """The tensor as a read-only array: a view of the mapped file where that serves, else a copy.

        A copy is needed where the type changes, and where the data lie unaligned (as in the published GPT-2 files),
        which every later product would pay for.
        """
        stored, count = STORED[self.stored_as], math.prod(self.shape)
        if stored == self.dtype and self.start % stored.itemsize == 0 and count:
            self.verify()
            return np.frombuffer(self.mapping, stored, count, self.start).reshape(self.shape)
        return self.copy()

    def copy(self):
        """The tensor as a read-only array of its own, read through the file:
        the map's pages would count as memory too."""
        self.verify()
        stored, result = STORED[self.stored_as], np.empty(math.prod(self.shape), self.dtype)
        with open(self.path, "rb") as file, np.errstate(over="ignore"):  # a float64 beyond float32 becomes inf
            file.seek(self.start)
            for begin in range(0, len(result), _CHUNK):
                part = result[begin : begin + _CHUNK]
                chunk = np.fromfile(file, stored, len(part))
                part[...] = widened(chunk, self.stored_as)
        result.flags.writeable = False
        return result.reshape(self.shape)


def widened(stored, stored_as):
    """An array of stored numbers with their values: bfloat16, which NumPy lacks,
    as the float32 of which it is the upper half."""
    return (stored.astype(np.uint32) << 16).view(np.float32) if stored_as == "BF16" else stored
