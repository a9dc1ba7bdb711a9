"""python -m numpygpt.classify: label new messages with a trained classifier."""

import numpygpt.system.process  # noqa: F401  before NumPy

import argparse
import sys
from itertools import islice
from pathlib import Path

from .api.run import load_run
from .explain.attribution import BASELINES, explain
from .explain.attribution_text import in_terminal
from .ops.softmax import softmax
from .system import command
from .system.errors import InputError
from .text.batches import BATCH
from .text.encodings import checked, text_of
from .text.reading import encoding
from .text.seen import remark


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


def main(argv=None):
    args = arguments(argv)
    clf = load_run(args.run)
    given = "text" in args
    texts = _given(args.text) if given else _read(sys.stdin.buffer, args.encoding or "utf-8", args.keep_empty)
    colour = command.colour()
    of_run = None
    if args.because:
        if not (args.run / "train.csv").is_file():
            raise InputError(f"{args.run} has no train.csv, so --because has no messages. Give a run of numpygpt.train")
        from .api.because import teachers

        of_run = teachers(clf)
    batch = 1 if not given and sys.stdin.isatty() else BATCH
    while some := list(islice(texts, batch)):
        filled = [text for text in some if text]
        probabilities, _ = softmax(clf.logits(filled))
        answers = zip(probabilities.argmax(axis=1), probabilities.max(axis=1), clf.unseen(filled))
        for text in some:
            if not text:
                print(flush=batch == 1)
                continue
            answer, share, unseen = next(answers)
            columns = [clf.labels[answer], f"{share:.4f}", " ".join(text.split()), remark(unseen)]
            print(*filter(None, columns), sep="\t", flush=batch == 1)
            if args.explain:
                progress = command.Progress("explaining", "tokens")
                found = explain(clf, text, args.baseline or "padding", progress=progress)
                progress.clear()
                print(f"\n{in_terminal(found, colour)}\n", flush=batch == 1)
            if of_run:
                print(f"\n{of_run.because(text)}\n", flush=batch == 1)


def _given(texts):
    """Yield the texts. Raise InputError if one is blank."""
    for number, text in enumerate(texts, start=1):
        if not text.strip():
            raise InputError(f"message {number}: there is no text to classify")
        yield text


def _read(file, encoding, keep_empty):
    """Yield the lines of a binary file that have text, and with `keep_empty` an empty text for each blank line."""
    some = False
    for line in checked(text_of(file, encoding, newline="\n"), encoding, "standard input"):
        text = line.rstrip("\r\n") if line.strip() else ""
        if text or keep_empty:
            yield text
        some = some or bool(text)
    if not some:
        raise InputError("standard input has no text: give messages there, one per line, or as arguments")


if __name__ == "__main__":
    command.run(main)
