"""python -m numpygpt.serve: a page that classifies what is typed, and shows why."""

import numpygpt.system.process  # noqa: F401  before NumPy

import os
import sys
from pathlib import Path

from .api.run import load_run
from .explain.served import Served
from .explain.server import Server
from .system import command
from .system.errors import InputError
from .system.settings import Number


def arguments(argv=None):
    parser = command.parser(
        "serve",
        "Serve a page at this machine's own address, where a message that is typed gets its label: with the\n"
        "probabilities, the tokens shaded by what they contribute, and how the answer comes about token by token.\n"
        "Ctrl-C ends it.\n\n"
        'JSON beneath it, for scripts. Each answer is an object; an error has status 4xx or 5xx and an "error".\n'
        '  POST /api/classify  {"text"}  label, runner_up, margin, probabilities, logits\n'
        '  POST /api/explain   {"text", "baseline"}  of each token: integrated,\n'
        "                      gradient_input, deletion; their sum, difference, complete;\n"
        "                      baseline is padding or zero\n"
        '  POST /api/curve     {"text"}  probabilities of each label after each token\n'
        "  GET  /api/model     the run's labels, and how it reads a message\n"
        "  GET  /api/evaluation  how good the run is on its test messages\n"
        "The first three also say the tokens that were read, how many of the last are padding, and in note whether "
        "the message was cut. A body has at most 64 KB.",
        [
            "python -m numpygpt.serve runs/001",
            "python -m numpygpt.serve runs/001 --port 0",
            'curl --json \'{"text": "call now"}\' http://127.0.0.1:8000/api/classify',
        ],
    )
    parser.add_argument("run", type=Path, help="the run folder that numpygpt.train left")
    parser.add_argument(
        "--port", type=command.number(Number(int, 0, 65535)), default=8000, help="0 for any that is free"
    )
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen at: this machine's own alone")
    return parser.parse_args(argv)


def main(argv=None):
    args = arguments(argv)
    served = Served(load_run(args.run), args.run)
    try:
        server = Server(served, args.host, args.port)
    except OSError as error:
        where = f"{args.host}, port {args.port}"
        raise InputError(f"{where}: {error.strerror}; choose another --port, or 0 for any that is free") from None
    if not args.host.startswith("127.") and args.host != "localhost":
        print("warning: whoever reaches this machine can use the page: no password, no encryption", file=sys.stderr)
    try:
        print(f"{args.run} is served at {server.address} (Ctrl-C ends it)", flush=True)
        server.serve_forever()
    except KeyboardInterrupt:
        print(file=sys.stderr)
        os._exit(0)  # at once: an answer that is being computed would be waited for


if __name__ == "__main__":
    command.run(main)
