"""Serve a classifier at a web address: a page and a JSON interface, with Python's http.server, for one user."""

import ipaddress
import json
import os
import re
import select
import socket
import socketserver
import sys
import threading
from base64 import b64encode
from contextlib import contextmanager
from hashlib import sha256
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from ..system.errors import InputError
from ..system.pages import template
from ..system.settings import BASELINES

LIMIT = 64 << 10  # most bytes of a request's body
WAITING = 128  # most requests in work or waiting; further ones are refused
PATIENCE = 20  # seconds after which a silent connection is closed

GET = {"/api/model", "/api/evaluation"}
POST = {  # path: the fields of its request, {name: type or allowed values}
    "/api/classify": {"text": str},
    "/api/explain": {"text": str, "baseline": BASELINES},
    "/api/curve": {"text": str},
    "/api/because": {"text": str},
}


class Server(ThreadingHTTPServer):
    """Answer requests at http://host:port/ for a Served run. With port 0, the system chooses a free port.

    Each connection has a thread. A lock lets the model answer one request at a time. Raises OSError if the address
    cannot be used.
    """

    request_queue_size = WAITING  # connections that the system holds until they are accepted; Python's default is 5
    allow_reuse_address = os.name != "nt"  # on Windows, two servers could then share one port

    def __init__(self, served, host="127.0.0.1", port=8000):
        self.served, self.host = served, host
        self.lock, self.places = threading.Lock(), threading.BoundedSemaphore(WAITING)
        page = template(Path(__file__).with_name("serve.html"))
        self.page = page.encode()
        # The page may load nothing, and may run only its own style and script, which the policy names by their hashes.
        allowed = [f"{tag}-src '{_hash(page, tag)}'" for tag in ("style", "script")]
        self.policy = "; ".join(["default-src 'none'", *allowed, "connect-src 'self'", "img-src data:"])
        self.policy += "; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        super().__init__((host, port), Handler)

    def server_bind(self):
        socketserver.TCPServer.server_bind(
            self
        )  # HTTPServer's method looks up the host's full name, which may take seconds

    @property
    def address(self) -> str:
        return f"http://{self.host}:{self.server_address[1]}/"

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):  # the client has left
            super().handle_error(request, client_address)


class Refusal(Exception):
    """An error response: status, one line of text, and headers."""

    def __init__(self, status, message, **headers):
        super().__init__(message)
        self.status, self.headers = status, headers


class Handler(BaseHTTPRequestHandler):
    """Read, check and answer one request."""

    timeout = PATIENCE
    server_version, sys_version = "numpygpt", ""

    def do_GET(self):
        try:
            content = self._body() if self.command == "POST" else b""
            self._check_sender()
            path = self.path.partition("?")[0]
            if path == "/":
                self._check_method("GET")
                self._send(200, "text/html", self.server.page)
            else:
                self._send_json(200, self._answer(path, content))
        except Refusal as refusal:
            self._send_json(refusal.status, {"error": str(refusal)}, **refusal.headers)
        except InputError as error:
            self._send_json(400, {"error": str(error)})
        except (ConnectionError, TimeoutError):  # the client has left
            raise
        except Exception:
            self._send_json(500, {"error": "the server failed; the traceback is in its terminal"})
            raise

    do_HEAD = do_POST = do_GET

    def _answer(self, path, content):
        name = path.removeprefix("/api/")
        if path in GET:
            self._check_method("GET")
            request = {}
        elif path in POST:
            self._check_method("POST")
            request = _request(content, POST[path])
        else:
            raise Refusal(404, f"{path} does not exist; use /, {', '.join([*sorted(GET), *POST])}")
        with self._turn():
            return getattr(self.server.served, name)(**request)

    def _check_sender(self):
        """Refuse requests from pages of other sites.

        Such a page may point its own host name to this machine and read the answers (DNS rebinding). The Host header
        then has that name. Or it may send a request without reading the answer. The Origin header then has its address.
        """
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        if not _is_ours(host, self.server.host):
            raise Refusal(403, f"this server has another name than {host!r}; use {self.server.address}")
        if origin not in (None, f"http://{host}"):
            raise Refusal(403, f"pages at {origin} may not use this server")

    def _check_method(self, method):
        if self.command != method and (self.command, method) != ("HEAD", "GET"):
            raise Refusal(405, f"{self.path} takes {method}, not {self.command}", Allow=method)

    def _body(self):
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch("[0-9]{1,15}", length):
            raise Refusal(411, "the request needs a Content-Length header")
        if int(length) > LIMIT:
            self.rfile.read(min(int(length), 16 * LIMIT))  # a client that is still sending would miss the answer
            raise Refusal(413, f"the request has {int(length):,} bytes; send at most {LIMIT:,}")
        content = self.rfile.read(int(length))
        if self.headers.get_content_type() != "application/json":
            raise Refusal(415, "expected JSON, and Content-Type: application/json")
        return content

    @contextmanager
    def _turn(self):
        """Return a context in which this request alone uses the model."""
        if not self.server.places.acquire(blocking=False):
            raise Refusal(503, f"{WAITING} requests are waiting already; try again later", **{"Retry-After": "1"})
        try:
            with self.server.lock:
                self.server.served.going = self._going
                self._going()
                yield
        finally:
            self.server.places.release()

    def _going(self):
        """Raise ConnectionError if the client has closed the connection."""
        readable, _, _ = select.select([self.connection], [], [], 0)
        if readable and not self.connection.recv(1, socket.MSG_PEEK):
            raise ConnectionAbortedError

    def _send_json(self, status, answer, **headers):
        self._send(status, "application/json", json.dumps(answer, allow_nan=False).encode(), **headers)

    def _send(self, status, kind, content, **headers):
        self.send_response(status)
        always = {
            "Content-Type": f"{kind}; charset=utf-8",
            "Content-Length": str(len(content)),
            "Content-Security-Policy": self.server.policy,
            "Cross-Origin-Resource-Policy": "same-origin",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
        }
        for name, value in (always | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def send_error(self, code, message=None, explain=None):
        """Send an error that http.server found, such as an unknown method, in the form of all other errors."""
        self.close_connection = True
        status = 405 if code == 501 else code
        self._send_json(status, {"error": message or HTTPStatus(status).phrase})

    def log_message(self, format, *args):
        pass  # messages are private, and a line for each request would hide the errors


def _request(content, fields):
    """Return the checked fields of a JSON object."""
    try:
        request = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, f"not JSON: {error}") from None
    if not isinstance(request, dict) or "text" not in request:
        raise Refusal(400, 'expected a JSON object with a "text"')
    for name, value in request.items():
        if name not in fields:
            raise Refusal(400, f"unknown field {json.dumps(name[:100])}; use {', '.join(fields)}")
        if fields[name] is str and not isinstance(value, str):
            raise Refusal(400, f"{name} must be a string")
        if fields[name] is not str and value not in fields[name]:
            raise Refusal(400, f"{name} must be one of {', '.join(fields[name])}")
    return request


def _is_ours(host, listening):
    """Return whether a Host header names this server, localhost, or an IP address, which no one else can point here."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        if name in ("localhost", listening):
            return True
        ipaddress.ip_address(name)
        return True
    except ValueError:
        return False


def _hash(page, tag):
    """Return the hash of the page's only element with this tag, in the form of a Content-Security-Policy."""
    content = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)[1]
    return "sha256-" + b64encode(sha256(content.encode()).digest()).decode()
