"""Serve a page that classifies messages."""

import os
import sys

from ..api.because import teachers
from ..api.run import load_run
from ..explain.served import Served
from ..explain.server import Server
from ..system.errors import InputError


def run(args):
    clf = load_run(args.run)
    served = Served(clf, args.run, lambda: teachers(clf))
    try:
        server = Server(served, args.host, args.port)
    except OSError as error:
        where = f"{args.host}, port {args.port}"
        raise InputError(f"{where}: {error.strerror}; choose another --port, or 0 for any free port") from None
    if not args.host.startswith("127.") and args.host != "localhost":
        print(
            "warning: anyone who can reach this machine can use the page. There is no password and no encryption",
            file=sys.stderr,
        )
    try:
        print(f"{args.run} is served at {server.address} (stop with Ctrl-C)", flush=True)
        server.serve_forever()
    except KeyboardInterrupt:
        print(file=sys.stderr)
        os._exit(0)  # at once: a normal exit waits for answers that are being computed
