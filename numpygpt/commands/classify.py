"""Label new messages with a trained classifier."""

import sys
from itertools import islice

from ..api.run import load_run
from ..explain.attribution import explain
from ..explain.attribution_text import in_terminal
from ..ops.softmax import softmax
from ..system import command
from ..system.errors import InputError
from ..text.batches import BATCH
from ..text.encodings import checked, text_of
from ..text.seen import remark


def run(args):
    clf = load_run(args.run)
    given = "text" in args
    texts = _given(args.text) if given else _read(sys.stdin.buffer, args.encoding or "utf-8", args.keep_empty)
    colour = command.colour()
    of_run = None
    if args.because:
        if not (args.run / "train.csv").is_file():
            raise InputError(f"{args.run} has no train.csv, so --because has no messages. Give a run of numpygpt.train")
        from ..api.because import teachers

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
                progress = command.Progress("comparing", "messages")
                found = of_run.because(text, progress=progress)
                progress.clear()
                print(f"\n{found}\n", flush=batch == 1)


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
