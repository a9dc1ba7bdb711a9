"""Replace files atomically, so that a crash, a full disk or Ctrl-C never leaves half a file; lock them; read JSON."""

import errno
import json
import os
import secrets
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import InputError

try:
    import fcntl
except ImportError:  # Windows
    import msvcrt

    fcntl = None


def path_of(source):
    """Return the Path that a text or a path names. Raises InputError for anything else, and for an empty text."""
    if not isinstance(source, str | os.PathLike) or source == "":
        raise InputError(f"expected the name of a file or folder, got {source!r}")
    return Path(source)


def check_new_file(path):
    """Raise InputError where no file can have this name: a folder has it, or its own folder is missing.

    For a command that computes for a while before it writes.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file")
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}")


@contextmanager
def replacing(path):
    """Open a binary file that becomes `path` if the block succeeds, and is deleted if the block raises.

    The old content of `path` stays complete until the last byte of the new file is on disk. The new file gets the usual
    permissions of a new file. Raises OSError like open() and write(), and for a path without a file name.
    """
    path = Path(path)
    if not path.name:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    # The temporary file is in the same folder because os.replace cannot move files between disks.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        file = open(temporary, "xb")
    except OSError as error:
        error.filename = str(path)  # the name that the user knows
        raise
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


def write_file(path, content):
    """Make `path` a file of this text, in UTF-8, or of these bytes, as with `replacing`."""
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def _sync_folder(folder):
    """Sync the directory, so that the rename survives a power cut."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        with suppress(OSError):  # some network disks do not support it
            os.fsync(descriptor)
        os.close(descriptor)


def lock(file):
    """Try to lock the open file. Return whether it worked. Closing the file or ending the process frees the lock."""
    try:
        if fcntl:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    except (BlockingIOError, PermissionError):  # the latter on Windows
        return False
    return True


def read_json(path):
    """Return the JSON object in a file. Raises InputError if the file holds something else."""
    try:
        content = json.loads(Path(path).read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a JSON file ({error})") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a JSON object, found a {type(content).__name__}")
    return content
