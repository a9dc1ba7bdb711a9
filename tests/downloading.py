"""A server of small files in place of every source of downloads, with all kinds of server faults."""

import hashlib
import io
import random
import threading
import zipfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from numpygpt.checkpoints import published as models
from numpygpt.system import cache, downloads
from numpygpt.text import sms

VOCAB, MERGES, WEIGHTS = "vocab.json", "merges.txt", "model.safetensors"
FILES = {VOCAB: random.Random(1).randbytes(1000), MERGES: random.Random(2).randbytes(500)}
FILES[WEIGHTS] = random.Random(3).randbytes(100_003)
PUBLISHED = {name: (len(content), hashlib.sha256(content).hexdigest()) for name, content in FILES.items()}
SPAM = b"ham\tSee you at five\nspam\tYou have WON\n" * 20


class Server(ThreadingHTTPServer):
    """Serve `contents`, with ranges. A path in `faults` gets those REPLIES in turn, and then always the last one."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.contents, self.faults, self.requests, self.replies = {}, {}, [], dict(REPLIES)
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def asked(self, name):
        """Return the Range of each GET of the file, or None for a request of the whole file."""
        return [part for method, path, part in self.requests if method == "GET" and path.endswith(name)]

    def handle_error(self, request, client):
        pass  # the client disconnected


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.requests.append((self.command, self.path, self.headers["Range"]))
        start = int(self.headers.get("Range", "bytes=0-")[6:-1])
        first, *later = self.server.faults.get(self.path, "honest").split()
        if later:
            self.server.faults[self.path] = " ".join(later)
        content = self.server.contents.get(self.path)
        reply = (404,) if content is None else self.server.replies[first](content, start)
        if isinstance(reply, bytes):
            self.wfile.write(reply)
        else:
            self.answer(*reply)
        self.close_connection = True

    do_HEAD = do_GET

    def answer(self, status, body=b"", headers={}):  # noqa: B006
        self.send_response(status)
        length = {"Content-Length": len(body)} if isinstance(body, bytes) else {}
        for name, value in (length | headers).items():
            if value is not None:
                self.send_header(name, str(value))
        self.end_headers()
        if self.command == "GET":
            for part in [body] if isinstance(body, bytes) else body:
                self.wfile.write(part)

    def log_message(self, *_):
        pass


def span(content, start):
    return {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}


def honest(content, start):
    return (416,) if start >= len(content) > 0 else (206 if start else 200, content[start:], span(content, start))


def breaks(content, start):
    """Send half of the requested bytes, then close the connection."""
    status, body, headers = honest(content, start)
    return status, body[: len(body) // 2], headers | {"Content-Length": len(body)}


def flipped(content):
    return bytes(byte ^ 1 for byte in content)


def chunked(*chunks):
    return 200, b"".join(chunks), {"Content-Length": None, "Transfer-Encoding": "chunked"}


def redirect(code, target, **headers):
    return code, b"", {"Location": target} | {name.replace("_", "-"): value for name, value in headers.items()}


def chunk(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


PAGE = b"<html>Welcome to the hotel</html>"
REPLIES = {  # a server's reply to (content, first requested byte): bytes, or (status, body, headers)
    "honest": honest,
    "breaks": breaks,
    "breaks_then_416": lambda content, start: (416,) if start else breaks(content, start),
    "breaks_with_wrong_bytes": lambda content, start: breaks(flipped(content), start),
    "wrong_bytes": lambda content, start: honest(flipped(content), start),
    "ignores_range": lambda content, start: (200, content),
    "another_part": lambda content, start: (206, content[start + 1 :], span(content, start + 1)),
    "unnamed_part": lambda content, start: (206, content[start:]),
    "no_length": lambda content, start: (200, content, {"Content-Length": None}),
    "length_too_large": lambda content, start: (200, content, {"Content-Length": len(content) + 10}),
    "length_too_small": lambda content, start: (200, content, {"Content-Length": len(content) - 10}),
    "length_nonsense": lambda content, start: (200, content, {"Content-Length": "-many"}),
    "nothing": lambda content, start: (200,),
    "login_page": lambda content, start: (200, PAGE),
    "login_page_no_length": lambda content, start: (200, PAGE, {"Content-Length": None}),
    "hangs_up": lambda content, start: b"",
    "no_http": lambda content, start: b"220 this is no web server\r\n",
    "chunks": lambda content, start: chunked(chunk(content[:99]), chunk(content[99:]), b"0\r\n\r\n"),
    "bad_chunks": lambda content, start: chunked(chunk(b"0123456789abcdef"), b"zz\r\n"),
    "to_bad_url": lambda content, start: redirect(302, "http://[/"),
    "to_bad_port": lambda content, start: redirect(302, "http://127.0.0.1:port/"),
    "to_file": lambda content, start: redirect(302, "file:///etc/hostname"),
    "to_itself": lambda content, start: redirect(302, gpt2(WEIGHTS)),
}
REPLIES |= {str(code): lambda *_, code=code: (code,) for code in (403, 404, 416, 429, 500, 503)}
REPLIES |= {f"elsewhere_{code}": lambda *_, code=code: redirect(code, "/elsewhere") for code in (301, 302, 307)}


def gpt2(name):
    return f"/gpt2/resolve/{models._REVISION}/{name}"


@contextmanager
def posing(monkeypatch, folder):
    """Start a server of small files in place of every source, with an empty cache and no pauses between tries."""
    with Server() as server:
        server.contents = {gpt2(name): content for name, content in FILES.items()} | {"/elsewhere": FILES[WEIGHTS]}
        monkeypatch.setattr(models, "_HUB", server.url)
        monkeypatch.setattr(models, "_OPENAI", server.url + "/openai")
        monkeypatch.setattr(models, "_PUBLISHED", PUBLISHED)
        monkeypatch.setattr(sms, "_URLS", (server.url + "/one.zip", server.url + "/two.zip"))
        monkeypatch.setattr(sms, "_SIZE", len(SPAM))
        monkeypatch.setattr(sms, "_SHA256", hashlib.sha256(SPAM).hexdigest())
        monkeypatch.setattr(sms, "_LONGEST_ZIP", 10_000)
        monkeypatch.setattr(downloads, "_PAUSES", (0, 0, 0))
        monkeypatch.setattr(cache, "_POLL", 0.01)
        monkeypatch.setattr(downloads, "_TIMEOUT", 10)
        monkeypatch.setenv("NUMPYGPT_HOME", str(folder / "cache"))
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield server
        server.shutdown()


def contents(folder):
    return {name: (folder / name).read_bytes() for name in FILES if (folder / name).exists()}


def visible(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def one_line(raised):
    message = str(raised.value)
    assert "\n" not in message
    return message


def zipped(compression=zipfile.ZIP_DEFLATED, **members):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return archive.getvalue()
