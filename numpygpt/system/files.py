"""Writing files so that a crash, a full disk or Ctrl-C never leaves half of one, and a file that one process holds."""

import errno
import os
import secrets
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    import msvcrt

    fcntl = None


@contextmanager
def replacing(path):
    """An open binary file that becomes `path` when the block ends well, and is removed when it does not.

    What `path` held before stays whole until the last byte of its successor is on the disk. The new file has the
    permissions that any new file gets. Raises OSError as open() and write() do, and for a path without a file's name.
    """
    path = Path(path)
    if not path.name:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    # In the same folder: os.replace must not cross disks.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    file = open(temporary, "xb")
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _sync_folder(folder):
    """Put the names in a folder on the disk, too: else a power cut may bring the file back that was replaced."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        with suppress(OSError):  # not every network's disk can
            os.fsync(descriptor)
        os.close(descriptor)


def lock(file):
    """Whether this process has the lock of the file now; closing it, or the end of the process, gives it back."""
    try:
        if fcntl:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    except (BlockingIOError, PermissionError):  # the latter on Windows
        return False
    return True
