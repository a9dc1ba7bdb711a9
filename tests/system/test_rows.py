"""Rows in memory and in a file, and the folder of that file."""

import sys
import tempfile
import threading

import numpy as np
import pytest

from numpygpt.system import rows as rows_module
from numpygpt.system.errors import InputError
from numpygpt.system.rows import disk_folder, reserve


def test_rows_written_by_several_threads_are_read_back_from_memory_and_file():
    rows = reserve(np.arange(10, 101, 10), 3, np.dtype(np.float32), 35 * 3 * 4)
    assert (len(rows.memory), rows.kept) == (30, 100)
    expected = np.random.default_rng(0).standard_normal((100, 3), np.float32)
    threads = [threading.Thread(target=rows.write, args=(i, expected[i : i + 10])) for i in range(0, 100, 10)]
    for thread in reversed(threads):
        thread.start()
    for thread in threads:
        thread.join()
    for start, stop in [(0, 10), (29, 30), (30, 31), (35, 48), (99, 100)]:
        assert np.array_equal(rows.read(start, stop), expected[start:stop])
        assert not isinstance(rows.read(start, stop).base, np.memmap)


@pytest.mark.parametrize("fits, kept", [(9, 0), (10, 10), (29, 20), (1000, 100)])
def test_a_piece_of_rows_is_never_split(fits, kept, monkeypatch):
    monkeypatch.setattr(rows_module, "disk_folder", lambda: None)
    rows = reserve(np.arange(10, 101, 10), 3, np.dtype(np.float32), fits * 3 * 4)
    assert rows.kept == len(rows.memory) == kept


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux what lies in memory")
def test_a_folder_in_memory_is_not_used_as_a_disk(monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/dev/shm")
    assert disk_folder() in ("/var/tmp", None)
    monkeypatch.setattr(rows_module, "_in_memory", lambda folder: False)
    assert disk_folder() == "/dev/shm"


def test_a_truncated_file_of_rows_is_an_error():
    rows = reserve(np.arange(10, 31, 10), 3, np.dtype(np.float32), 10 * 3 * 4)
    for start in range(0, 30, 10):
        rows.write(start, np.ones((10, 3), np.float32))
    rows.file.truncate(5 * 3 * 4)
    with pytest.raises(InputError, match="shorter than it was"):
        rows.read(10, 20)
