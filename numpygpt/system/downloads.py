"""Download files into the cache folder: resume broken downloads, and verify every file before it gets its name.

A download is written to `.NAME.HASH.partial`, next to its destination. It is renamed once its length and SHA-256 are
right, so a file under its own name was complete once. The next process resumes what an interrupted one left behind.
"""

import functools
import hashlib
import http.client
import io
import os
import re
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from .command import Progress
from .errors import InputError
from .files import lock, replacing

_TIMEOUT = 30  # seconds without a byte before a connection counts as broken
_PAUSES = (1, 2, 4)  # seconds before each further try
_POLL = 0.2  # seconds between two attempts to take a lock that another process holds
_CHUNK = 1 << 18  # bytes
_REDIRECTS = (301, 302, 303, 307, 308)


class Unavailable(Exception):
    """The reason why a source does not provide a file, as part of a line for the user.

    retry   whether another try may succeed
    """

    def __init__(self, reason, retry=False):
        super().__init__(reason)
        self.retry = retry


def cache_folder():
    """Return the folder for downloads: NUMPYGPT_HOME, or else `numpygpt` in the platform's cache folder."""
    if os.environ.get("NUMPYGPT_HOME"):
        return Path(os.environ["NUMPYGPT_HOME"]).expanduser().absolute()
    try:
        if sys.platform == "win32":
            caches = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
        elif sys.platform == "darwin":
            caches = Path.home() / "Library" / "Caches"
        else:
            caches = os.environ.get("XDG_CACHE_HOME", "")
            if not os.path.isabs(caches):  # the XDG Base Directory Specification ignores relative paths
                caches = Path.home() / ".cache"
    except RuntimeError:
        raise InputError("there is no home folder for downloads; set NUMPYGPT_HOME to a folder for them") from None
    return Path(caches) / "numpygpt"


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
        if _digest(path) != sha256:
            return False
    except OSError as error:
        raise InputError(
            f"{path}: cannot read the file ({error.strerror}); change its permissions or set NUMPYGPT_HOME"
        ) from None
    _remember(path, sha256)
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


def first_of(urls, fetch):
    """Return fetch(url) of the first URL that works. Raises Unavailable with the reason of each URL if none does."""
    reasons = []
    for url in urls:
        try:
            return fetch(url)
        except Unavailable as error:
            reasons.append(f"{urlsplit(url).netloc}: {error}")
    raise Unavailable("; ".join(reasons))


def download(path, urls, size, sha256):
    """Download `path`, of this length and SHA-256, from the first URL that provides it.

    Call this inside exclusive(path.parent). An interrupted download is resumed by the next call. The old content of
    `path` stays until the new file is verified. Raises Unavailable with the reasons, and OSError if the folder cannot
    be written.
    """
    partial = path.with_name(f".{path.name}.{sha256[:8]}.partial")
    print(f"downloading {path.name} ({size / 1e6:.1f} MB) to {path.parent}", file=sys.stderr)
    first_of(urls, lambda url: _complete(partial, url, size, sha256))
    os.replace(partial, path)
    _remember(path, sha256)


def announced(url):
    """Return (bytes, SHA-256) of a large file, from the headers with which the Hugging Face hub redirects to it.

    Raises Unavailable if the headers are missing.
    """
    with _retry(lambda: _open(url, _REDIRECTS, "HEAD")) as reply:
        sha256, size = reply.headers.get("X-Linked-Etag", "").strip('"'), _number(reply.headers.get("X-Linked-Size"))
    if size is None or not re.fullmatch("[0-9a-f]{64}", sha256):
        raise Unavailable("it does not say which length and SHA-256 the file has")
    return size, sha256


def get(url, limit):
    """Return the unverified content at a URL. Raises Unavailable, also if the content exceeds `limit` bytes."""
    with io.BytesIO() as file:
        _retry(lambda: _append(file, url, limit=limit), file.tell)
        return file.getvalue()


def _complete(partial, url, size, sha256):
    """Complete the partial file from the URL and verify it. Raises Unavailable."""
    if partial.is_file() and partial.stat().st_size > size:
        partial.unlink()
    for _ in range(2):
        with open(partial, "ab") as file:
            start = _retry(lambda: _append(file, url, size), file.tell)
            file.flush()
            os.fsync(file.fileno())
        if _digest(partial) == sha256:
            return
        partial.unlink()
        if start == 0:
            break  # One connection sent the whole file. Otherwise an earlier part may be wrong: start again, once.
    raise Unavailable("its file is not the published one (the SHA-256 differs)")


def _append(file, url, size=None, limit=None):
    """Append the missing bytes to `file` over one connection. Return the number of bytes that it had before.

    size    the length of the complete file, or None if it is unknown; then give `limit`, the largest length allowed
    """
    start = file.seek(0, os.SEEK_END)
    if start == size:
        return start
    with _open(url, (416,), **({"Range": f"bytes={start}-"} if start else {})) as reply:
        sent = re.fullmatch(f"bytes {start}-[0-9]+/([0-9]+|[*])", reply.headers.get("Content-Range", ""))
        if reply.status == 416 or (reply.status == 206 and not sent):
            file.truncate(0)
            raise Unavailable(f"it does not send the missing part (HTTP {reply.status})", retry=True)
        position, length = (start, sent[1]) if sent else (0, reply.headers.get("Content-Length"))
        length = _number(length)
        if size is not None and length not in (None, size):
            raise Unavailable(f"its file has {length} bytes, expected {size}")
        size, progress = size or length, Progress(urlsplit(url).path.rpartition("/")[2], "kB", position / 1e3)
        try:
            while position != size:
                chunk = _read(reply, (size or limit + 1) - position)
                if not chunk and size is None:
                    break
                if not chunk:
                    raise Unavailable(f"the connection broke after {position} of {size} bytes", retry=True)
                # A server that ignores Range sends the beginning again. The file keeps its own beginning: a login page
                # with status 200 must not delete an hour's download.
                file.write(chunk[max(0, start - position) :])
                position += len(chunk)
                if limit is not None and position > limit:
                    raise Unavailable(f"it sends more than {limit} bytes")
                progress(position / 1e3, (size or limit) / 1e3)
        finally:
            progress.clear()
    return start


def _retry(attempt, position=lambda: 0):
    """Return attempt(), which is repeated after growing pauses while its error may pass.

    Progress of position() makes any error worth a retry and resets the pauses. Without progress, an unreachable server
    fails at once: offline users should not wait.
    """
    furthest = first = position()
    pauses = iter(_PAUSES)
    while True:
        try:
            return attempt()
        except Unavailable as error:
            if position() > furthest:
                furthest, pauses = position(), iter(_PAUSES)
            pause = next(pauses, None)
            if pause is None or not (error.retry or furthest > first):
                raise
            time.sleep(pause)


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        """Follow no redirect: urllib then raises an HTTPError, which has the headers."""


_opener = functools.cache(urllib.request.build_opener)  # building one reads the system's certificates


def _open(url, accepted=(), method="GET", **headers):
    """Return the reply to a request, also if its status is an `accepted` error. Raises only Unavailable.

    GET follows redirects, HEAD does not. Proxies come from the environment.
    """
    # Some servers reject urllib's own User-Agent.
    request = urllib.request.Request(url, method=method, headers={"User-Agent": "numpygpt"} | headers)
    try:
        return _opener(*[_Stay] * (method == "HEAD")).open(request, timeout=_TIMEOUT)
    except HTTPError as error:
        if error.code in accepted:
            return error
        error.close()
        passing = error.code in (408, 429) or error.code >= 500
        raise Unavailable(f"it answers HTTP {error.code}", passing) from None
    except URLError as error:
        raise Unavailable(f"it cannot be reached, {_brief(error.reason)}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: it redirects to an invalid URL
        raise Unavailable(f"it gives no valid answer, {_brief(error)}", retry=True) from None


def _read(reply, most):
    """Return at least one byte, or none at the end and where the connection breaks."""
    try:
        return reply.read1(min(_CHUNK, most))
    except (OSError, http.client.HTTPException):
        return b""


def _record(path):
    """Return the path of the file that records in which state `path` was verified."""
    return path.with_name(f".{path.name}.verified")


def _state(path, sha256):
    found = path.stat()
    return f"{sha256} {found.st_size} {found.st_mtime_ns}\n".encode()


def _remember(path, sha256):
    try:
        with replacing(_record(path)) as file:
            file.write(_state(path, sha256))
    except OSError:
        pass  # a read-only folder: the hash is computed again next time


def _digest(path):
    sha256 = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            sha256.update(chunk)
    return sha256.hexdigest()


def _number(text):
    return int(text) if text and re.fullmatch("[0-9]{1,15}", text) else None


def _brief(error):
    return " ".join(str(error).split())[:100] or type(error).__name__
