"""python -m numpygpt.classify: label new messages with a trained classifier."""

import argparse
from pathlib import Path

from .system import command
from .system.settings import BASELINES
from .text.reading import encoding


def arguments(argv=None):
    parser = command.parser(
        "classify",
        "Label messages with a classifier from numpygpt.train. Print one line for each message: label, probability "
        "and text, separated by tabs. A fourth column says so if at least half of a message's tokens occur in no "
        "training message: then do not rely on the answer.\n\n"
        "With --explain, also print how much each token contributes to the margin, which is the answer's logit minus "
        "the runner-up's. Integrated gradients follow the margin's gradient from a baseline to the message, and sum "
        "to the margin's change. As a check, the last column shows how much the margin falls without the token.",
        [
            'python -m numpygpt.classify runs/001 "You have won a prize" "Home at six?"',
            "python -m numpygpt.classify runs/001 < messages.txt",
            'python -m numpygpt.classify runs/001 --explain "You have won a prize"',
        ],
    )
    parser.add_argument("run", type=Path, help="a run folder of numpygpt.train, or an exported classifier")
    parser.add_argument(
        "text",
        nargs="*",
        default=argparse.SUPPRESS,
        help="messages, after -- if one begins with a dash (default: read standard input, one message per line)",
    )
    parser.add_argument(
        "--keep-empty",
        action="store_true",
        help="print an empty line for each blank line of standard input, so that the lines of input and output agree "
        "(default: blank lines are skipped)",
    )
    parser.add_argument(
        "--encoding", type=encoding, help="standard input's encoding, such as utf-16 or latin-1 (default: utf-8)"
    )
    parser.add_argument("--explain", action="store_true", help="show how much each token contributes to the answer")
    parser.add_argument(
        "--baseline",
        choices=BASELINES,
        help="where --explain starts: every token's embedding is that of padding (default), or zero",
    )
    parser.add_argument(
        "--because",
        action="store_true",
        help="show the training messages that speak most for and most against each answer, by how much they lowered "
        "its loss during training (TracIn; for a run that trained the head alone, its influence function)",
    )
    args = parser.parse_intermixed_args(argv)
    if args.baseline and not args.explain:
        parser.error("--baseline needs --explain")
    if "text" in args and (args.encoding or args.keep_empty):
        parser.error("--encoding and --keep-empty are for standard input: leave them out, or the messages")
    return args


main = command.main("classify", arguments)


if __name__ == "__main__":
    command.run(main)
