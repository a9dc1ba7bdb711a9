"""Download files: resume broken downloads, and verify every file before it gets its name.

A download is written to `.NAME.HASH.partial`, next to its destination. It is renamed once its length and SHA-256 are
right, so a file under its own name was complete once. The next process resumes what an interrupted one left behind.
"""

import functools
import http.client
import os
import re
import sys
import time
import urllib.request
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from .cache import digest, remember
from .command import Progress

_TIMEOUT = 30  # seconds without a byte before a connection counts as broken
_PAUSES = (1, 2, 4)  # seconds before each further try
_CHUNK = 1 << 18  # bytes


class Unavailable(Exception):
    """The reason why a source does not provide a file, as part of a line for the user.

    retry   whether another try may succeed
    """

    def __init__(self, reason, retry=False):
        super().__init__(reason)
        self.retry = retry


def first_of(urls, fetch):
    """Return fetch(url) of the first URL that works. Raises Unavailable with the reason of each URL if none does."""
    reasons: list = []
    for url in urls:
        try:
            return fetch(url)
        except Unavailable as error:
            reasons.append(str(error))
    said = [reason if reason not in reasons[:i] else "likewise" for i, reason in enumerate(reasons)]
    raise Unavailable("; ".join(f"{urlsplit(url).netloc}: {reason}" for url, reason in zip(urls, said)))


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
    remember(path, sha256)


def announced(url):
    """Return (bytes, SHA-256) of a large file, from the headers with which the Hugging Face hub redirects to it.

    Raises Unavailable if the headers are missing.
    """
    with _retry(lambda: _open(url, (301, 302, 303, 307, 308), "HEAD")) as reply:
        sha256, size = reply.headers.get("X-Linked-Etag", "").strip('"'), _number(reply.headers.get("X-Linked-Size"))
    if size is None or not re.fullmatch("[0-9a-f]{64}", sha256):
        raise Unavailable("it does not say which length and SHA-256 the file has")
    return size, sha256


def get(url, limit):
    """Return the unverified content at a URL. Raises Unavailable, also if the content exceeds `limit` bytes."""

    def attempt():
        content = b""
        with _open(url) as reply:
            length = _number(reply.headers.get("Content-Length"))
            while chunk := _read(reply, limit + 1 - len(content)):
                content += chunk
        if len(content) > limit:
            raise Unavailable(f"it sends more than {limit} bytes")
        if length not in (None, len(content)):
            raise Unavailable(f"the connection broke after {len(content)} of {length} bytes", retry=True)
        return content

    return _retry(attempt)


def _complete(partial, url, size, sha256):
    """Complete the partial file from the URL and verify it. Raises Unavailable."""
    with open(partial, "ab") as file:
        _retry(lambda: _append(file, url, size, sha256), file.tell)


def _append(file, url, size, sha256):
    """Append the missing bytes to `file` over one connection, and verify it. Raises Unavailable."""
    start = file.seek(0, os.SEEK_END)
    if start < size:
        _receive(file, start, url, size)
    file.flush()
    os.fsync(file.fileno())
    if digest(file.name) != sha256:
        file.truncate(0)
        # One connection that sent the whole file sends it again. Otherwise an earlier part may be wrong.
        raise Unavailable("its file is not the published one (the SHA-256 differs)", retry=start > 0)


def _receive(file, start, url, size):
    progress = Progress(urlsplit(url).path.rpartition("/")[2], "kB", start / 1e3)
    with _open(url, (416,), **({"Range": f"bytes={start}-"} if start else {})) as reply:
        sent = re.fullmatch(f"bytes {start}-[0-9]+/([0-9]+|[*])", reply.headers.get("Content-Range", ""))
        if reply.status == 416 or (reply.status == 206 and not sent):
            file.truncate(0)
            raise Unavailable(f"it does not send the missing part (HTTP {reply.status})", retry=True)
        position, length = (start, _number(sent[1])) if sent else (0, _number(reply.headers.get("Content-Length")))
        if length not in (None, size):
            raise Unavailable(f"its file has {length} bytes, expected {size}")
        try:
            while position != size:
                chunk = _read(reply, size - position)
                if not chunk:
                    raise Unavailable(f"the connection broke after {position} of {size} bytes", retry=True)
                # A server that ignores Range sends the beginning again. The file keeps its own beginning: a login page
                # with status 200 must not delete an hour's download.
                file.write(chunk[max(0, start - position) :])
                position += len(chunk)
                progress(position / 1e3, size / 1e3)
        finally:
            progress.clear()


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


def _number(text):
    return int(text) if text and re.fullmatch("[0-9]{1,15}", text) else None


def _brief(error):
    return " ".join(str(getattr(error, "strerror", None) or error).split())[:100] or type(error).__name__
