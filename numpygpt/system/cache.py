"""The folder for downloads: where it is, its lock, and which of its files are verified."""

import hashlib
import os
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from .errors import InputError
from .files import lock, write_file

_POLL = 0.2  # seconds between two attempts to take a lock that another process holds


def cache_folder():
    """Return the folder for downloads: NUMPYGPT_HOME, or else `numpygpt` in the platform's cache folder."""
    if os.environ.get("NUMPYGPT_HOME"):
        return Path(os.environ["NUMPYGPT_HOME"]).expanduser().absolute()
    variable, in_home = {"win32": ("LOCALAPPDATA", "AppData/Local"), "darwin": ("", "Library/Caches")}.get(
        sys.platform, ("XDG_CACHE_HOME", ".cache")
    )
    caches = os.environ.get(variable, "")
    try:  # the XDG Base Directory Specification ignores relative paths
        return (Path(caches) if os.path.isabs(caches) else Path.home() / in_home) / "numpygpt"
    except RuntimeError:
        raise InputError("there is no home folder for downloads; set NUMPYGPT_HOME to a folder for them") from None


def is_verified(path, size, sha256):
    """Return whether the file exists with this length and SHA-256. Compute the hash once for each state of the file.

    Raises InputError if the file cannot be read.
    """
    record = _record(path)
    try:
        if not path.is_file() or path.stat().st_size != size:
            return False
        if record.is_file() and record.read_bytes() == _state(path, sha256):
            return True
        if digest(path) != sha256:
            return False
    except OSError as error:
        raise InputError(
            f"{path}: cannot read the file ({error.strerror}); change its permissions or set NUMPYGPT_HOME"
        ) from None
    remember(path, sha256)
    return True


@contextmanager
def exclusive(folder):
    """Create `folder` and lock it for the duration of the block. Wait while another process holds the lock.

    The operating system holds the lock, on an empty file that is never deleted. The lock ends with its process, even if
    that process is killed. Raises InputError if the folder cannot be locked, and for any OSError in the block.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / ".lock", "ab") as file:
            if not lock(file):
                print(f"waiting for another process that downloads to {folder}", file=sys.stderr)
                while not lock(file):
                    time.sleep(_POLL)
            yield
    except OSError as error:
        raise InputError(
            f"{folder}: cannot store downloads there ({error.strerror or error}); set NUMPYGPT_HOME to another folder"
        ) from None


def _record(path):
    """Return the path of the file that records in which state `path` was verified."""
    return path.with_name(f".{path.name}.verified")


def _state(path, sha256):
    found = path.stat()
    return f"{sha256} {found.st_size} {found.st_mtime_ns}\n".encode()


def remember(path, sha256):
    """Record that the file, as it is now, has this SHA-256."""
    try:
        write_file(_record(path), _state(path, sha256))
    except OSError:
        pass  # a read-only folder: the hash is computed again next time


def digest(path):
    """Return the SHA-256 of a file, in hexadecimal."""
    sha256 = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            sha256.update(chunk)
    return sha256.hexdigest()
