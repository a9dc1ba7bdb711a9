"""Files from the network into the cache folder: resumed where a connection broke, verified before they get their name.

A file grows as `.NAME.HASH.partial` beside its place and is renamed when its length and SHA-256 are
right. So a file under its own name was whole once, whatever happened since, and what an interrupted
process left is continued by the next.
"""

import functools
import hashlib
import http.client
import os
import re
import sys
import time
import urllib.request
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from .errors import InputError
from .files import lock, replacing

_TIMEOUT = 30  # seconds without a byte after which a connection counts as broken
_PAUSES = (1, 2, 4)  # seconds before each further try
_POLL = 0.2  # seconds between looks at a lock that another process holds, and between two states of the progress line
_CHUNK = 1 << 18  # bytes


class Unavailable(Exception):
    """Why a source does not give the file: a part of a line for the user."""


class _Passing(Unavailable):
    """A reason that may be gone at the next try."""


class _Unreached(_Passing):
    """No connection: offline, most likely."""


class _NoSuchPart(_Passing):
    """The rest of the file is not to be had, but the whole may be."""


def cache_folder():
    """Where downloads are kept: NUMPYGPT_HOME, else `numpygpt` in the platform's folder for a user's caches."""
    if os.environ.get("NUMPYGPT_HOME"):
        return Path(os.environ["NUMPYGPT_HOME"]).expanduser().absolute()
    try:
        if sys.platform == "win32":
            caches = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
        elif sys.platform == "darwin":
            caches = Path.home() / "Library" / "Caches"
        else:
            caches = os.environ.get("XDG_CACHE_HOME", "")
            if not os.path.isabs(caches):  # a relative one is to be ignored: XDG Base Directory Specification
                caches = Path.home() / ".cache"
    except RuntimeError:
        raise InputError("no home folder to keep downloads in; set NUMPYGPT_HOME to a folder for them") from None
    return Path(caches) / "numpygpt"


def is_verified(path, size, sha256):
    """Whether the file is there with this length and SHA-256, which is computed only once for a state of the file.

    Raises InputError where it cannot be read.
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
            f"{path}: cannot be read ({error.strerror}); change its permissions or set NUMPYGPT_HOME"
        ) from None
    _remember(path, sha256)
    return True


@contextmanager
def exclusive(folder):
    """Inside the block `folder` exists and no other process is inside such a block for it; until then this one waits.

    The lock, on an empty file that stays, is the operating system's: it ends with its process, however that ends.
    Raises InputError where the folder cannot be locked, and for an OSError in the block.
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
            f"{folder}: cannot keep downloads there ({error.strerror or error}); set NUMPYGPT_HOME to another folder"
        ) from None


def first_of(urls, fetch):
    """fetch(url) of the first url for which it does not raise Unavailable;
    else Unavailable, with the reason of each."""
    reasons = []
    for url in urls:
        try:
            return fetch(url)
        except Unavailable as error:
            reasons.append(f"{urlsplit(url).netloc}: {error}")
    raise Unavailable("; ".join(reasons))


def download(path, urls, size, sha256):
    """Make `path` the file with this length and SHA-256, from the first of the urls that gives it.

    Call it inside exclusive(path.parent). What was received of the file is kept for the next call, and
    what `path` held stays, until the whole is verified. Raises Unavailable with the reasons, and OSError
    where the folder cannot be written.
    """
    partial = path.with_name(f".{path.name}.{sha256[:8]}.partial")
    if not sys.stderr.isatty():
        print(f"downloading {path.name} ({size / 1e6:.1f} MB) to {path.parent}", file=sys.stderr)
    first_of(urls, lambda url: _complete(partial, url, path.name, size, sha256))
    os.replace(partial, path)
    _remember(path, sha256)


def announced(url):
    """(bytes, SHA-256) of a large file, as the Hugging Face hub announces
    them in the answer that redirects to its content.

    Raises Unavailable where it does not.
    """

    def head():
        with _open(urllib.request.Request(url, method="HEAD"), _Stay) as reply:
            return reply.headers

    headers = _again(head)
    sha256, size = headers.get("X-Linked-Etag", "").strip('"'), headers.get("X-Linked-Size", "")
    if not re.fullmatch("[0-9a-f]{64}", sha256) or not re.fullmatch("[0-9]{1,15}", size):
        raise Unavailable("it does not say which length and SHA-256 the file has")
    return int(size), sha256


def get(url, limit):
    """The content at url, which nothing vouches for yet.
    Raises Unavailable, also where it is longer than `limit` bytes."""

    def attempt():
        content = b""
        with _open(urllib.request.Request(url)) as reply:
            length = _number(reply.headers.get("Content-Length"))
            while chunk := _read(reply, min(_CHUNK, limit + 1 - len(content))):
                content += chunk
        if len(content) > limit:
            raise Unavailable(f"it sends more than {limit} bytes")
        if length is not None and len(content) < length:
            raise _Passing(f"the connection broke after {len(content)} of {length} bytes")
        return content

    return _again(attempt)


def _complete(partial, url, name, size, sha256):
    """Make `partial` the whole file, from what it already has and what url gives."""
    if partial.is_file() and partial.stat().st_size > size:
        partial.unlink()
    for _ in range(2):
        with open(partial, "ab") as file:
            start = _again(lambda: _continue(file, url, name, size), file.tell)
            file.flush()
            os.fsync(file.fileno())
        if _digest(partial) == sha256:
            return
        partial.unlink()
        if start == 0:
            break  # it came in one piece, otherwise the fault may lie in an earlier one: once more, from the beginning
    raise Unavailable("it sends another content than was published (the SHA-256 differs)")


def _continue(file, url, name, size):
    """Append to `file` what it lacks, over one connection; the number of bytes that it had before."""
    start = file.tell()
    if start == size:
        return start
    try:
        with _open(urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})) as reply:
            position = _first_byte(reply, start, size)
            with _progress(name, position, size) as show:
                while position < size:
                    chunk = _read(reply, min(_CHUNK, size - position))
                    if not chunk:
                        raise _Passing(f"the connection broke after {position} of {size} bytes")
                    # A server that ignores Range sends the beginning again. What we have of it stays: an answer that
                    # only poses as the file (a hotel's login page) must not cost what an hour has brought.
                    file.write(chunk[max(0, start - position) :])
                    position += len(chunk)
                    show(position)
        return start
    except _NoSuchPart:
        file.truncate(0)
        file.seek(0)
        raise


def _first_byte(reply, start, size):
    """At which byte of the file the reply begins, after a look at the length that it announces for the whole."""
    if reply.status != 206:
        position, length = 0, reply.headers.get("Content-Length")
    elif sent := re.fullmatch(f"bytes {start}-[0-9]+/([0-9]+|[*])", reply.headers.get("Content-Range", "")):
        position, length = start, sent[1]
    else:
        raise _NoSuchPart("it sends another part of the file than was asked for")
    if _number(length) not in (None, size):
        raise Unavailable(f"its file has {length} bytes, expected {size}")
    return position


def _again(attempt, position=lambda: 0):
    """attempt(), again after ever longer pauses while it fails for a reason that may pass.

    A try that brings position() further than ever starts the pauses afresh. A server that was of no help yet and is not
    reached is not waited for: who is offline wants to know at once.
    """
    furthest = first = position()
    pauses = iter(_PAUSES)
    while True:
        try:
            return attempt()
        except _Passing as error:
            if position() > furthest:
                furthest, pauses = position(), iter(_PAUSES)
            pause = next(pauses, None)
            if pause is None or (isinstance(error, _Unreached) and furthest == first):
                raise
            time.sleep(pause)


class _Stay(urllib.request.HTTPRedirectHandler):
    """Makes an answer that redirects an answer like any other."""

    def http_error_302(self, request, reply, code, message, headers):
        return reply

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


_opener = functools.cache(urllib.request.build_opener)  # reads the system's certificates each time it makes one


def _open(request, *handlers):
    """The reply to a request, redirects followed. Raises Unavailable, and nothing else."""
    request.add_header("User-Agent", "numpygpt")  # some servers turn urllib's own away
    try:
        return _opener(*handlers).open(request, timeout=_TIMEOUT)
    except HTTPError as error:
        error.close()
        if error.code == 416:
            raise _NoSuchPart("it answers HTTP 416") from None
        kind = _Passing if error.code in (408, 429) or error.code >= 500 else Unavailable
        raise kind(f"it answers HTTP {error.code}") from None
    except URLError as error:
        raise _Unreached(f"it cannot be reached, {_brief(error.reason)}") from None
    except (
        OSError,
        http.client.HTTPException,
        ValueError,
    ) as error:  # ValueError: it redirects to something that is no URL
        raise _Passing(f"it gives no valid answer, {_brief(error)}") from None


def _read(reply, limit):
    """At least one byte and at most `limit`; none at the end, or where the connection broke."""
    try:
        return reply.read1(limit)
    except (OSError, http.client.HTTPException):
        return b""


@contextmanager
def _progress(name, first, size):
    """A function to call with the number of bytes that are there;
    on a terminal it shows them, the rate and the time left."""
    began, shown = time.monotonic(), 0

    def show(position):
        nonlocal shown
        now = time.monotonic()
        if now - shown < _POLL and position < size:
            return
        shown = now
        rate = (position - first) / max(now - began, 1e-3)
        left = timedelta(seconds=round((size - position) / rate))
        line = f"{name}: {position / 1e6:.1f} of {size / 1e6:.1f} MB, {rate / 1e6:.1f} MB/s, {left} left"
        print(f"\r{line:<78}", end="", file=sys.stderr, flush=True)

    if not sys.stderr.isatty():
        yield lambda position: None
        return
    try:
        yield show
    finally:
        print(file=sys.stderr)


def _record(path):
    """The file beside `path` that says in which state it was verified."""
    return path.with_name(f".{path.name}.verified")


def _state(path, sha256):
    found = path.stat()
    return f"{sha256} {found.st_size} {found.st_mtime_ns}\n".encode()


def _remember(path, sha256):
    try:
        with replacing(_record(path)) as file:
            file.write(_state(path, sha256))
    except OSError:
        pass  # a folder that may only be read: the hash is computed again the next time


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
