"""More rows than memory may hold: the first of them there, the next in a file, and none mapped into memory."""

import os
import shutil
import tempfile
import threading
from pathlib import Path

import numpy as np

from .errors import InputError


class Rows:
    """`kept` rows of `width` numbers, to be written and read in pieces.

    memory   (N, width) array of the first rows; a piece lies whole in it or behind it
    file     an open binary file of the others, end to end from byte 0 on; or None
    first    the number of the row at the file's byte 0

    Several threads may use it at once.
    """

    def __init__(self, memory, file=None, first=0, kept=None):
        self.memory, self.file, self.first = memory, file, first
        self.kept = len(memory) if kept is None else kept
        self._at_work = threading.Lock()  # a file has one position

    def write(self, start, rows):
        if start < len(self.memory):
            self.memory[start : start + len(rows)] = rows
            return
        with self._at_work:
            self._seek(start)
            self.file.write(np.ascontiguousarray(rows))

    def read(self, start, stop):
        """Rows start … stop - 1: a view of what is in memory, or an array of their own."""
        if start < len(self.memory):
            return self.memory[start:stop]
        rows = np.empty((stop - start, self.memory.shape[1]), self.memory.dtype)
        with self._at_work:
            self._seek(start)
            if self.file.readinto(rows) != rows.nbytes:
                raise InputError(
                    "a file of frozen features is shorter than it was: another program has cut it; run again"
                )
        return rows

    def _seek(self, row):
        self.file.seek((row - self.first) * self.memory.shape[1] * self.memory.itemsize)


def reserve(ends, width, dtype, memory):
    """Rows, uninitialised, for pieces that end at the rows `ends`, increasing: of the first as many as `memory` bytes
    hold, of the next as many as a temporary file has room for, which vanishes with it. The rest is not kept.

    The file's room is taken now where the system can: a disk that is full later is an error when a piece is written.
    """
    size = width * np.dtype(dtype).itemsize

    def whole_pieces(room):
        return int(max(ends[ends * size <= room], default=0))

    in_memory = whole_pieces(memory)
    rows = np.empty((in_memory, width), dtype)
    folder = disk_folder()
    # A tenth of the disk is for all others.
    kept = whole_pieces(in_memory * size + shutil.disk_usage(folder).free * 9 // 10) if folder else in_memory
    if kept == in_memory:
        return Rows(rows)
    file = tempfile.TemporaryFile(dir=folder)
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), 0, (kept - in_memory) * size)
        except OSError:  # there is less room than the disk says: a quota
            file.close()
            return Rows(rows)
    return Rows(rows, file, in_memory, kept)


def disk_folder():
    """The folder for temporary files, or where that one lies in memory /var/tmp, which the system keeps on a disk;
    None where neither is on one."""
    for folder in (tempfile.gettempdir(), "/var/tmp"):
        if os.path.isdir(folder) and not _in_memory(folder):
            return folder
    return None


def _in_memory(folder):
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/self/mounts").read_text().splitlines()]
    except OSError:  # no Linux
        return False
    folder = Path(folder).resolve()
    places = [(len(place), kind) for place, kind in mounts if folder.is_relative_to(place)]
    return max(places, default=(0, ""))[1] in ("tmpfs", "ramfs")
