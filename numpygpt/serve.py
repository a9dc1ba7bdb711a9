"""python -m numpygpt.serve: a page that classifies messages as you type, and explains each answer."""

from pathlib import Path

from .system import command
from .system.settings import Number


def arguments(argv=None):
    parser = command.parser(
        "serve",
        "Serve a page on this machine that classifies the messages you type. It shows the probabilities, how much\n"
        "each token contributes, and how the answer changes from token to token. Stop it with Ctrl-C.\n\n"
        'Scripts can use JSON. Each response is an object. Errors have status 4xx or 5xx and an "error".\n'
        '  POST /api/classify  {"text"}  label, runner_up, margin, probabilities, logits\n'
        '  POST /api/explain   {"text", "baseline"}  of each token: integrated,\n'
        "                      gradient_input, deletion; their sum, difference, complete;\n"
        "                      baseline is padding or zero\n"
        '  POST /api/curve     {"text"}  probabilities of each label after each token\n'
        '  POST /api/because   {"text"}  the training messages that speak most for\n'
        "                      and against the answer\n"
        "  GET  /api/model     the run's labels, padding and pooling\n"
        "  GET  /api/evaluation  the run's accuracy on its test messages\n"
        "The requests with a text also return the tokens that were read, how many of them are padding, and unseen, "
        "the share of the message's tokens that no training message had. A note says if that share is at least half, "
        "or if the message was cut. A request body has at most 64 KB.",
        [
            "python -m numpygpt.serve runs/001",
            "python -m numpygpt.serve runs/001 --port 0",
            'curl --json \'{"text": "call now"}\' http://127.0.0.1:8000/api/classify',
        ],
    )
    parser.add_argument("run", type=Path, help="a run folder of numpygpt.train, or an exported classifier")
    parser.add_argument("--port", type=command.number(Number(int, 0, 65535)), default=8000, help="0: any free port")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen at; 127.0.0.1 is only this machine")
    return parser.parse_args(argv)


main = command.main("serve", arguments)


if __name__ == "__main__":
    command.run(main)
