"""python -m numpygpt.trace: one message forward and back through the code, with the values of every line."""

import numpygpt.system.process  # noqa: F401  before NumPy

from pathlib import Path
from shutil import get_terminal_size

from .api.classifier import Classifier
from .api.gpt import load
from .api.run import load_run
from .model.trainable import trainable_names
from .study.checking.check import file_and_function
from .study.trace.own import step_of_file
from .study.trace.page import check_new, page, save
from .study.trace.terminal import in_terminal, listed, step_in_terminal
from .system import command
from .system.errors import InputError

MESSAGE = "Your parcel is held. Pay the fee now and your parcel is sent."


def arguments(argv=None):
    parser = command.parser(
        "trace",
        "Follow one message through the model, forward to the loss and back, and write a page about it. The page has "
        "a map of the model and a tour with questions. It shows the code of every operation, with the values that each "
        "line computed. It checks each gradient against the same derivative, found by changing one number and running "
        "all later steps again.",
        [
            "python -m numpygpt.trace",
            'python -m numpygpt.trace "Home at six?" --label ham --run runs/001',
            "python -m numpygpt.trace --op layernorm",
            "python -m numpygpt.trace --file layernorm.py",
            "python -m numpygpt.trace --file layernorm.py --op",
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
    parser.add_argument(
        "--file",
        metavar="FILE[:FUNCTION]",
        help="trace the operation in a file of yours, an exercise or one with `# gradcheck:` lines (see gradcheck "
        "--help): its lines, its numbers, and beside each wrong array the right one. With --op, print it",
    )
    return parser.parse_args(argv)


def main(argv=None):
    args = arguments(argv)
    if args.file is not None:
        show_file(args)
        return
    if args.op is not None:
        refuse_others(args, "--op prints one operation", "op")
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


def show_file(args):
    """Trace the operation in a file of the user's."""
    if args.op:
        raise InputError("--file traces an operation of yours: omit the name after --op")
    refuse_others(args, "--file traces an operation of yours", "file", "out" if args.op is None else "op")
    if args.op is None:
        check_new(args.out)
    step = step_of_file(*file_and_function(args.file))
    if args.op is not None:
        print(step_in_terminal(step, get_terminal_size().columns, command.colour()))
        return
    step.save(args.out)
    wrong = len(step.beside)
    verdict = next(line for line in reversed(step.said) if not line.startswith("Stuck?"))
    found = f"{wrong} of its arrays {'are' if wrong > 1 else 'is'} wrong" if wrong else verdict
    print(f"{args.out}: {step.kind}; {found}; open it in a browser")


def refuse_others(args, what, *allowed):
    """Raise InputError for an argument that is given and would have no effect."""
    plain = arguments([])
    for name, value in vars(args).items():
        if name not in allowed and value != getattr(plain, name):
            raise InputError(f"{what}: omit {'the text' if name == 'text' else f'--{name}'}")


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
