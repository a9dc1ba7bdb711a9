"""python -m numpygpt.trace: one message forward and back through the code, with the values of every line."""

import numpygpt.system.process  # noqa: F401  before NumPy

from pathlib import Path
from shutil import get_terminal_size

from .api.classifier import Classifier
from .api.gpt import load
from .api.run import load_run
from .model.trainable import trainable_names
from .study.trace.page import check_new, page, save
from .study.trace.terminal import in_terminal, listed
from .system import command
from .system.errors import InputError

MESSAGE = "Your parcel is held. Pay the fee now and your parcel is sent."


def arguments(argv=None):
    parser = command.parser(
        "trace",
        "Follow one message through the model, forward to the loss and back, and write a page about it. The page "
        "shows the code of every operation, with the values that each line computed. It checks each gradient against "
        "the same derivative, found by changing one number and running all later steps again.",
        [
            "python -m numpygpt.trace",
            'python -m numpygpt.trace "Home at six?" --label ham --run runs/001',
            "python -m numpygpt.trace --op layernorm",
        ],
    )
    parser.add_argument("text", nargs="?", default=MESSAGE, help="the message")
    parser.add_argument("--label", help="its label (default: the classifier's last label, spam)")
    parser.add_argument(
        "--run",
        type=Path,
        help="a run folder of numpygpt.train (default: an untrained head on --model, at one "
        "<|endoftext|> after the message)",
    )
    parser.add_argument("--model", default="mini", help="any GPT-2, as for numpygpt.train")
    command.add_heads(parser)
    parser.add_argument(
        "--language", action="store_true", help="trace the language model's loss instead of a classifier's"
    )
    parser.add_argument("--trainable", default="all", help="which parameters are trained, as for numpygpt.train")
    parser.add_argument(
        "--folded", action="store_true", help="compute the last block only for the row that is read, as in training"
    )
    parser.add_argument("--out", type=Path, default=Path("trace.html"), help="the file to write")
    parser.add_argument(
        "--op",
        nargs="?",
        const="",
        metavar="NAME",
        help="print one operation on a tiny example instead of writing a page; without a NAME, list the operations",
    )
    return parser.parse_args(argv)


def main(argv=None):
    args = arguments(argv)
    if args.op is not None:
        width = get_terminal_size().columns
        print(in_terminal(args.op, width, command.colour()) if args.op else listed(width))
        return
    check_new(args.out)
    if args.language:
        if args.run or args.label or args.folded:
            raise InputError("--language has no classifier: omit --run, --label and --folded")
        trace = load(args.model, heads=args.heads).trace(args.text, args.trainable)
    else:
        clf = classifier_of(args)
        trace = clf.trace(args.text, args.label or clf.labels[-1], folded=args.folded)
    progress = command.Progress("checking the gradients", "steps")
    text = page(trace, progress)
    progress.clear()
    save(args.out, text)
    print(f"{args.out}: loss {trace.loss:.6f}, {len(trace.steps)} steps forward and back; open it in a browser")


def classifier_of(args):
    """Return the Classifier to trace: the run's, or an untrained head on the model."""
    if args.run is None:
        return Classifier(
            load(args.model, heads=args.heads), ["ham", "spam"], args.trainable, pad="end", position="last"
        )
    if args.model != "mini":
        raise InputError("--run has its own model: omit --model")
    clf = load_run(args.run)
    clf._trainable = trainable_names(args.trainable, clf.params, clf.config)
    return clf


if __name__ == "__main__":
    command.run(main)
